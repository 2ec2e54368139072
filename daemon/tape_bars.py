"""Bars of a tape: those it holds, and those made of its prints, as the markets of a backtest."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.bar_files import path_of, write_bars
from adapters.tape import Session, TapeInstrument
from adapters.tape.codec import Records, empty_records
from adapters.tape.export_tables import nearest_doubles
from config.model import InstrumentOverride, RunConfig
from daemon.markets import instrument_of
from daemon.tape_markets import Reading
from engine.bars import Bars, timeframe_ns
from engine.errors import ConfigError, DataError, InputMissingError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import FundingSeries, Market, static_funding
from engine.settings import RunSettings
from engine.tape_input import TapeInput, bars_of_tape

BARS, BOOK_CHANNELS = "bars", ("book", "prints", "quotes")
_INFERRED = "finest decimals seen"
_E8 = 10**8


def holds_bars(instrument: TapeInstrument) -> bool:
    """Whether a tape's records of an instrument are bars."""
    return BARS in instrument.channels


def stored_markets(
    reading: Reading, session: Session, chosen: list[int], timeframe: str, config: RunConfig
) -> tuple[list[Market], list[str]]:
    """Markets of the bars and funding that a tape holds, as a backtest on the files that it was made of has them.

    Raises ConfigError where its bars have another length, InputMissingError where none lie between start and end.
    """
    records = _records_of(reading, (layout.BAR, layout.FUNDING))
    markets, notes = [], []
    for number in chosen:
        entry = session.instruments[number]
        own = records[records["instrument"] == number]
        bars = _stored_bars(own[own["kind"] == layout.BAR], entry, timeframe, config)
        override = config.instruments.get(entry.symbol, InstrumentOverride())
        instrument = instrument_of(bars, _described(entry, override), config.settings.cash_decimals)
        market, lines = _with_funding(instrument, bars, own, config)
        markets.append(market)
        notes += lines
    return markets, notes


def made_markets(
    tape: TapeInput, reading: Reading, chosen: list[int], timeframe: str, config: RunConfig
) -> tuple[list[Market], list[str]]:
    """Markets of bars made of a tape's prints, with the funding it holds; raises InputMissingError without prints."""
    made = bars_of_tape(tape, config.settings, [(number, timeframe) for number in chosen])
    records = _records_of(reading, (layout.FUNDING,))
    markets, notes = [], []
    for number, bars in zip(chosen, made, strict=True):
        instrument = tape.instruments[number]
        if not len(bars):
            raise _no_bars(instrument.symbol, timeframe)
        market, lines = _with_funding(instrument, bars, records[records["instrument"] == number], config)
        markets.append(market)
        notes += lines
    return markets, notes


def export_bars(tape: TapeInput, settings: RunSettings, timeframe: str, out: Path) -> dict[Path, int]:
    """Write the bars made of a tape's prints as stored bars, `out/SYMBOL_TIMEFRAME.parquet`; each file with its rows.

    Instruments without prints are left out; raises InputMissingError where none has any.
    """
    timeframe_ns(timeframe)
    numbers = range(len(tape.instruments))
    written = {}
    for bars in bars_of_tape(tape, settings, [(number, timeframe) for number in numbers]):
        if len(bars):
            path = out / path_of(Path(), bars.symbol, timeframe).name
            write_bars(path, bars)
            written[path] = len(bars)
    if not written:
        raise _no_bars("No instrument", timeframe)
    return written


def _no_bars(symbol: str, timeframe: str) -> InputMissingError:
    return InputMissingError(
        f"{symbol}: the tape's prints close no bar of {timeframe}",
        remedy="Choose a shorter timeframe. What the tape holds is told by: tapewright tape info TAPE",
    )


def _records_of(reading: Reading, kinds: tuple[int, ...]) -> Records:
    whole = msgspec.structs.replace(reading, start_ns=None, end_ns=None)  # bars are chosen by their opening times
    found = [records[np.isin(records["kind"], kinds)] for records in whole.batches()]
    return np.concatenate(found) if found else empty_records(0)


def _stored_bars(records: Records, entry: TapeInstrument, timeframe: str, config: RunConfig) -> Bars:
    step_ns = timeframe_ns(timeframe)
    lengths = np.unique(records["ts_receive_ns"] - records["ts_exchange_ns"])
    if len(lengths) and lengths.tolist() != [step_ns]:
        held = entry.metadata.get("timeframe") or ", ".join(f"{length // 10**9} s" for length in lengths.tolist())
        raise ConfigError(
            f"{entry.symbol}: the tape holds bars of {held}, the run has bars of {timeframe}",
            remedy=f"Set timeframe to {held}, or import the bars that you want to run.",
        )
    times = records["ts_exchange_ns"]
    wanted = np.ones(len(records), dtype=bool)
    wanted &= times >= (config.start_ns if config.start_ns is not None else -(2**63))
    wanted &= times < (config.end_ns if config.end_ns is not None else 2**63 - 1)
    records = records[wanted]
    if not len(records):
        raise InputMissingError(
            f"{entry.symbol}: the tape has no bars between start and end",
            remedy="See what there is with: tapewright tape info; then correct start and end in the config.",
        )

    def real(name: str, unit: Decimal) -> NDArray[np.float64]:
        return nearest_doubles(np.ascontiguousarray(records[name]), unit)

    return Bars(
        entry.symbol, timeframe, np.ascontiguousarray(records["ts_exchange_ns"]), real("a", entry.tick_size),
        real("b", entry.tick_size), real("c", entry.tick_size), real("d", entry.tick_size), real("e", entry.lot_size),
    )  # fmt: skip


def _described(entry: TapeInstrument, override: InstrumentOverride) -> InstrumentOverride:
    """The config's words where it has some, else the tape's; a tick or lot that was inferred is inferred again."""
    given: dict[str, Any] = {"kind": entry.kind, "multiplier": entry.multiplier}
    given["minimum_notional"] = entry.minimum_notional
    for name in ("tick_size", "lot_size"):
        if entry.metadata.get(f"{name}_is") != _INFERRED:
            given[name] = getattr(entry, name)
    own = {name: value for name, value in given.items() if getattr(override, name) is None}
    return msgspec.structs.replace(override, **own)


def _with_funding(
    instrument: Instrument, bars: Bars, records: Records, config: RunConfig
) -> tuple[Market, list[str]]:  # fmt: skip
    """The market with the tape's funding, or the config's static rate where it has none."""
    symbol, wanted = instrument.symbol, config.funding
    lines = [f"{symbol}: {instrument.kind}, tick {instrument.tick_size}, lot {instrument.lot_size}"]
    records = records[records["kind"] == layout.FUNDING]
    if not wanted.enabled:
        if len(records):
            lines.append(f"{symbol}: the tape's {len(records):,} funding rates are not paid: funding.enabled is false")
        return Market(instrument, bars), lines
    if instrument.kind == "spot":
        raise DataError(
            f"{symbol}: funding is enabled, but a spot instrument pays none",
            remedy="Switch funding off, or give the symbol another kind under `instruments`.",
        )
    if len(records):
        lines.append(f"{symbol}: {len(records):,} funding rates from the tape")
        return Market(instrument, bars, _funding_series(records, instrument.tick_size)), lines
    if wanted.rate == 0:
        return Market(instrument, bars), [*lines, f"{symbol}: no funding on the tape, and the static rate is 0"]
    lines.append(f"{symbol}: no funding on the tape, so the static rate {wanted.rate} every {wanted.interval_hours} h")
    return Market(instrument, bars, static_funding(bars, wanted.rate, wanted.interval_hours)), lines


def _funding_series(records: Records, tick: Decimal) -> FundingSeries:
    """Each settlement once. Marks go from micro-ticks to 10^-8, and come back as the same micro-ticks."""
    times, places = np.unique(records["ts_exchange_ns"], return_index=True)
    records = records[places]
    numerator, denominator = (tick * _E8 / layout.MICRO).as_integer_ratio()
    marks = [(2 * mark * numerator + denominator) // (2 * denominator) for mark in records["b"].tolist()]
    is_static = bool(len(records)) and bool((records["flags"] & layout.STATIC_RATE).all())
    return FundingSeries(times, np.ascontiguousarray(records["a"]), np.array(marks, dtype=np.int64), is_static)
