"""Which columns an exported table has, and how they come out of the words of a record."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import assert_never

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from adapters.tape.census import GAP_NAMES
from adapters.tape.codec import Records
from adapters.tape.documents import TapeInstrument
from engine.bars import FloatColumn, IntColumn
from engine.kernels import layout

_MICRO = Decimal("1e-6")
_E12 = Decimal("1e-12")
_EXACT_INTEGERS = 2**53
_EXACT_POWERS = 22  # 10**22 is the greatest power of ten that is a double


class Unit(StrEnum):
    """What one of an integer stands for."""

    TICK = "tick"
    MICRO_TICK = "micro-tick"
    LOT = "lot"
    E12 = "1e-12"


class Whole(msgspec.Struct, frozen=True):
    """A word as it is; null where it is `missing`."""

    name: str
    field: str
    missing: int | None = None


class Real(msgspec.Struct, frozen=True):
    """A word in real units; null where it is `missing`."""

    name: str
    field: str
    unit: Unit
    missing: int | None = None


class Flag(msgspec.Struct, frozen=True):
    """Whether a flag is set."""

    name: str
    mask: int


class Side(msgspec.Struct, frozen=True):
    """One of two words by the flag SELL; null with SIDE_UNKNOWN."""

    name: str
    unset: str
    set: str


class Reason(msgspec.Struct, frozen=True):
    """Why there is a gap, as a name."""

    name: str


Column = Whole | Real | Flag | Side | Reason


class Table(msgspec.Struct, frozen=True):
    """A table's kind of records and its columns after seq, times, symbol and source."""

    kind: int
    columns: tuple[Column, ...]


def _price(name: str, field: str) -> tuple[Real, Whole]:
    return Real(name, field, Unit.TICK), Whole(f"{name}_ticks", field)


def _size(name: str, field: str) -> tuple[Real, Whole]:
    return Real(name, field, Unit.LOT), Whole(f"{name}_lots", field)


def _mark(name: str, field: str) -> tuple[Real, Whole]:
    return Real(f"{name}_price", field, Unit.MICRO_TICK, 0), Whole(f"{name}_micro_ticks", field, 0)


def _rate(name: str, field: str) -> tuple[Real, Whole]:
    return Real(name, field, Unit.E12), Whole(f"{name}_e12", field)


TABLES = {
    "levels": Table(layout.LEVEL, (
        Side("side", "bid", "ask"), *_price("price", "a"), *_size("size", "b"), Flag("is_snapshot", layout.SNAPSHOT),
        Flag("is_last", layout.LAST), Whole("update_id", "c"), Whole("previous_update_id", "d", -1),
        Whole("first_update_id", "e", 0),
    )),
    "prints": Table(layout.PRINT, (
        Side("side", "buy", "sell"), *_price("price", "a"), *_size("size", "b"), Whole("trade_id", "c"),
    )),
    "quotes": Table(layout.QUOTE, (
        *_price("bid_price", "a"), *_size("bid_size", "b"), *_price("ask_price", "c"), *_size("ask_size", "d"),
        Whole("update_id", "e"),
    )),
    "marks": Table(layout.MARK, (
        *_mark("mark", "a"), *_mark("index", "b"), *_rate("funding_rate", "c"), Whole("next_funding_ns", "d", 0),
    )),
    "funding": Table(layout.FUNDING, (*_rate("rate", "a"), *_mark("mark", "b"))),
    "gaps": Table(layout.GAP, (Reason("reason"), Whole("records_lost", "b", -1), Whole("from_ns", "c", 0))),
    "bars": Table(layout.BAR, (
        *_price("open", "a"), *_price("high", "b"), *_price("low", "c"), *_price("close", "d"), *_size("volume", "e"),
    )),
    "interest": Table(layout.INTEREST, (*_size("interest", "a"),)),
    "liquidations": Table(layout.FORCED, (
        Side("side", "buy", "sell"), *_price("price", "a"), *_size("size", "b"),
    )),
}  # fmt: skip


class Markets:
    """Symbols and units by the number that records carry."""

    def __init__(self, instruments: tuple[TapeInstrument, ...]) -> None:
        self.instruments = instruments
        self._symbols = pl.Series([*(instrument.symbol for instrument in instruments), None], dtype=pl.String)

    def frame(self, table: Table, records: Records, seqs: IntColumn) -> pl.DataFrame:
        """Return records of the table's kind as its rows. Their instruments are known, or `ALL_INSTRUMENTS`."""
        numbers = np.minimum(records["instrument"], len(self.instruments)).astype(np.int64)
        columns = {
            "seq": pl.Series(seqs),
            "ts_exchange_ns": pl.Series(records["ts_exchange_ns"]),
            "ts_receive_ns": pl.Series(records["ts_receive_ns"]),
            "symbol": self._symbols.gather(numbers),
            "source": pl.Series(records["source"]),
        }
        for column in table.columns:
            columns[column.name] = self._series(column, records, numbers)
        return pl.DataFrame(columns)

    def _series(self, column: Column, records: Records, numbers: IntColumn) -> pl.Series:
        match column:
            case Whole(field=field, missing=missing):
                return _without(pl.Series(records[field]), records[field], missing)
            case Real(field=field, unit=unit, missing=missing):
                return _without(pl.Series(self._real(records[field], numbers, unit)), records[field], missing)
            case Flag(mask=mask):
                return pl.Series((records["flags"] & mask) != 0)
            case Side(unset=unset, set=word):
                sides = pl.Series([unset, word, None], dtype=pl.String)
                places = ((records["flags"] & layout.SELL) != 0).astype(np.int64)
                places[(records["flags"] & layout.SIDE_UNKNOWN) != 0] = 2
                return sides.gather(places)
            case Reason():
                return pl.Series(
                    [GAP_NAMES.get(reason, str(reason)) for reason in records["a"].tolist()], dtype=pl.String
                )
            case _:
                assert_never(column)

    def _real(self, values: IntColumn, numbers: IntColumn, unit: Unit) -> FloatColumn:
        real = np.empty(len(values))
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            real[chosen] = nearest_doubles(values[chosen], _size_of(unit, self.instruments[number]))
        return real


def nearest_doubles(values: IntColumn, unit: Decimal) -> FloatColumn:
    """Return values × unit, each the double nearest to that decimal.

    A quotient of two doubles that are exact rounds once; where they would not be, each one is worked out alone.
    """
    decimals = max(0, -int(unit.as_tuple().exponent))
    steps = int(unit.scaleb(decimals))
    most = int(np.abs(values).max()) if len(values) else 0
    if most * steps < _EXACT_INTEGERS and decimals <= _EXACT_POWERS:
        return (values * steps) / float(10**decimals)
    return np.array([float(Decimal(value) * unit) for value in values.tolist()])


def _size_of(unit: Unit, instrument: TapeInstrument) -> Decimal:
    match unit:
        case Unit.TICK:
            return instrument.tick_size
        case Unit.MICRO_TICK:
            return instrument.tick_size * _MICRO
        case Unit.LOT:
            return instrument.lot_size
        case Unit.E12:
            return _E12
        case _:
            assert_never(unit)


def _without(series: pl.Series, values: NDArray[np.int64], missing: int | None) -> pl.Series:
    return series if missing is None else series.set(pl.Series(values == missing), None)
