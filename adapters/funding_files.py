"""Funding rates and mark prices: `data/funding/{SYMBOL}.parquet`, `data/mark/{SYMBOL}.parquet` of a home.

Stored columns: ts (int64, UTC ms), funding_rate (float64, a fraction; positive: longs pay shorts), and ts,
open (float64, the mark price at the funding time). Venues stamp funding up to some ms after the hour, so
times are rounded down to the second; that is also what joins a rate with the open of a mark bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from adapters.bar_files import checked_symbol, shown, sources_metadata, write_frame, write_whole
from adapters.bar_import import TIME_NAMES, numbers_of
from adapters.bar_quality import NO_TIME, time_text
from adapters.source_tables import read_frame
from adapters.source_times import times_ns
from engine.bars import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND, FloatColumn, IntColumn
from engine.errors import DataError, InputMissingError
from engine.precision import to_units

FundingKind = Literal["funding", "mark"]

RATE_UNIT = Decimal("1e-12")
MARK_UNIT = Decimal("1e-8")

_RATE_NAMES = ("funding_rate", "fundingrate", "last_funding_rate", "rate", "funding")
_MARK_NAMES = ("open", "mark_price", "mark_open", "open_price", "mark", "price", "o")
_FUNDING_TIME_NAMES = ("funding_time", "calc_time", "fundingtime")
_VALUE_COLUMN: dict[FundingKind, str] = {"funding": "funding_rate", "mark": "open"}
# A rate beyond this is a price or a percentage in the wrong column.
_RATE_MOST = 0.5
_MARK_MOST = 2.0**62 / 1e8
_EARLIEST_NS = 60 * NS_PER_DAY
_ROWS_LISTED = 5


class FundingSeries(msgspec.Struct, frozen=True):
    """Rates (fractions) or mark prices by time: `ts_ns` whole seconds, increasing; equal repeats dropped."""

    ts_ns: IntColumn
    values: FloatColumn
    duplicates_dropped: int


class FundingTable(msgspec.Struct, frozen=True):
    """Funding of one symbol, once for each time. `mark_e8` is 0 where no mark price is known.

    rate_e12: the rate times 1e12 (int64). mark_e8: the mark price times 1e8 (int64), both half to even.
    """

    symbol: str
    ts_ns: IntColumn
    rate_e12: IntColumn
    mark_e8: IntColumn
    duplicates_dropped: int = 0
    rows_without_mark: int = 0

    def __len__(self) -> int:
        return len(self.ts_ns)


class FundingImport(msgspec.Struct, frozen=True):
    """What an import of funding rates or mark prices stored."""

    source: str
    stored: str
    symbol: str
    kind: FundingKind
    rows_count: int
    first_ts_ns: int
    last_ts_ns: int
    time_unit: str
    duplicates_dropped: int


def funding_path(home: Path, symbol: str) -> Path:
    """Where a symbol's funding rates are stored."""
    return home / "data" / "funding" / f"{checked_symbol(symbol)}.parquet"


def mark_path(home: Path, symbol: str) -> Path:
    """Where a symbol's mark prices are stored."""
    return home / "data" / "mark" / f"{checked_symbol(symbol)}.parquet"


def read_funding(path: Path) -> tuple[IntColumn, IntColumn]:
    """Read times (UTC ns, whole seconds) and rates (fraction times 1e12), stored or as venues write them.

    Raises InputMissingError, and DataError naming the rows that are wrong or contradict each other.
    """
    series = _read_series(path, "funding")[0]
    return series.ts_ns, to_units(series.values, RATE_UNIT, "funding_rate", "nearest")


def read_mark(path: Path) -> tuple[IntColumn, FloatColumn]:
    """Read times (UTC ns, whole seconds) and mark prices (a bar's open); raises as read_funding does."""
    series = _read_series(path, "mark")[0]
    return series.ts_ns, series.values


def read_funding_table(
    symbol: str,
    funding_file: Path,
    mark_file: Path | None = None,
    *,
    drop_without_mark: bool = False,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> FundingTable:
    """Join rates with the mark prices of the same second, for times in [start_ns, end_ns).

    A rate without a mark price has mark 0 and is counted, or is left out with `drop_without_mark`. Raises
    InputMissingError with the command that stores the file, and DataError.
    """
    rates = read_stored(funding_file, symbol, "funding")
    mark_e8 = np.zeros(len(rates.ts_ns), np.int64)
    if mark_file is not None and len(rates.ts_ns):
        marks = read_stored(mark_file, symbol, "mark")
        prices_e8 = to_units(marks.values, MARK_UNIT, f"{symbol} mark price", "nearest")
        places = np.minimum(np.searchsorted(marks.ts_ns, rates.ts_ns), max(len(marks.ts_ns) - 1, 0))
        mark_e8 = np.where(marks.ts_ns[places] == rates.ts_ns, prices_e8[places], 0)
    keep = np.ones(len(rates.ts_ns), np.bool_)
    if start_ns is not None:
        keep &= rates.ts_ns >= start_ns
    if end_ns is not None:
        keep &= rates.ts_ns < end_ns
    rows_without_mark = int(np.count_nonzero(keep & (mark_e8 == 0)))
    if drop_without_mark:
        keep &= mark_e8 != 0
    return FundingTable(
        symbol=symbol,
        ts_ns=rates.ts_ns[keep],
        rate_e12=to_units(rates.values, RATE_UNIT, f"{symbol} funding_rate", "nearest")[keep],
        mark_e8=mark_e8[keep],
        duplicates_dropped=rates.duplicates_dropped,
        rows_without_mark=rows_without_mark,
    )


def import_funding(home: Path, path: Path, symbol: str, kind: FundingKind = "funding") -> FundingImport:
    """Check a file of funding rates or mark prices and store it; a file that fails leaves what is stored."""
    stored = funding_path(home, symbol) if kind == "funding" else mark_path(home, symbol)
    series, time_unit = _read_series(path, kind)
    write_series(stored, series, kind, (path.name,))
    return FundingImport(
        source=str(path),
        stored=shown(stored),
        symbol=symbol,
        kind=kind,
        rows_count=len(series.ts_ns),
        first_ts_ns=int(series.ts_ns[0]),
        last_ts_ns=int(series.ts_ns[-1]),
        time_unit=time_unit,
        duplicates_dropped=series.duplicates_dropped,
    )


def write_series(path: Path, series: FundingSeries, kind: FundingKind, sources: Sequence[str] = ()) -> None:
    """Store rates or mark prices, replacing the file that is there in one step; `sources` as of `write_bars`."""
    frame = pl.DataFrame({"ts": series.ts_ns // NS_PER_MS, _VALUE_COLUMN[kind]: series.values})
    write_whole(path, lambda file: write_frame(file, frame, sources_metadata(sources)))


def checked_series(path: Path, series: FundingSeries, kind: FundingKind) -> FundingSeries:
    """Rates or mark prices as an import would store them at `path`; raises DataError naming the rows."""
    lines = np.arange(1, len(series.ts_ns) + 1)
    return _checked(path, series.ts_ns, series.values, lines, "row", kind)


def read_stored(path: Path, symbol: str, kind: FundingKind) -> FundingSeries:
    """Read a stored file; raises InputMissingError with the command that makes it, and DataError."""
    if not path.exists():
        raise InputMissingError(
            f"{kind.capitalize()} file not found: {shown(path)}",
            remedy=f"Run: tapewright data import FILE --symbol {symbol} --kind {kind} (or: tapewright data download)",
        )
    return _read_series(path, kind)[0]


def _read_series(path: Path, kind: FundingKind) -> tuple[FundingSeries, str]:
    source = read_frame(path)
    frame = source.frame
    lines = np.arange(len(frame)) + (source.first_line or 1)
    if source.first_line:
        present = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        frame, lines = frame.filter(present), lines[present.to_numpy()]
    if not len(frame):
        raise DataError(f"{path} has no rows", remedy="Fetch or export the file again.")
    place = "line" if source.first_line else "row"
    ts_ns, time_unit = times_ns(_column(path, frame, (*_FUNDING_TIME_NAMES, *TIME_NAMES), "ts"))
    values = numbers_of(path, _column(path, frame, _names(frame, kind), _VALUE_COLUMN[kind]))
    return _checked(path, ts_ns, values, lines, place, kind), time_unit


def _checked(
    path: Path, ts_ns: IntColumn, values: FloatColumn, lines: IntColumn, place: str, kind: FundingKind
) -> FundingSeries:  # fmt: skip
    """Rows in order, each time once, if they can be right."""
    _refuse(path, f"the time of {place}", lines, (ts_ns == NO_TIME) | (ts_ns < _EARLIEST_NS), "cannot be")
    with np.errstate(invalid="ignore"):
        rates_possible = np.abs(values) <= _RATE_MOST
        marks_possible = (values > 0.0) & (values < _MARK_MOST)
    possible = rates_possible if kind == "funding" else marks_possible
    _refuse(path, f"{_VALUE_COLUMN[kind]} of {place}", lines, ~possible, "cannot be", values)
    ts_ns = ts_ns // NS_PER_SECOND * NS_PER_SECOND
    return _once(path, ts_ns, values, lines, place)


def _names(frame: pl.DataFrame, kind: FundingKind) -> tuple[str, ...]:
    """Names to look for. Freqtrade stores funding as candles, the rate in `open` and nothing in the rest."""
    if kind == "mark":
        return _MARK_NAMES
    return _RATE_NAMES if "close" not in frame.columns else (*_RATE_NAMES, "open")


def _column(path: Path, frame: pl.DataFrame, names: tuple[str, ...], wanted: str) -> pl.Series:
    for name in names:
        if name in frame.columns:
            return frame[name]
    raise DataError(
        f"{path} has no column {wanted!r}; its columns are {', '.join(frame.columns)}",
        remedy="Name the columns ts,funding_rate (funding) or ts,open (mark prices).",
    )


def _once(path: Path, ts_ns: IntColumn, values: FloatColumn, lines: IntColumn, place: str) -> FundingSeries:
    """Rows by time, each time once; equal repeats are dropped and counted, others refused."""
    order = np.argsort(ts_ns, kind="stable")
    ts_ns, values, lines = ts_ns[order], values[order], lines[order]
    repeats = np.concatenate(([False], ts_ns[1:] == ts_ns[:-1]))
    for row in np.flatnonzero(repeats).tolist():
        if values[row] != values[row - 1]:
            raise DataError(
                f"{path}: {place}s {lines[row - 1]} and {lines[row]} give {time_text(int(ts_ns[row]))}"
                f" two values, {float(values[row - 1])!r} and {float(values[row])!r}",
                remedy="Keep the row that is right.",
            )
    return FundingSeries(ts_ns[~repeats], values[~repeats], int(np.count_nonzero(repeats)))


def _refuse(
    path: Path,
    what: str,
    lines: IntColumn,
    wrong: NDArray[np.bool_],
    why: str,
    values: FloatColumn | None = None,
) -> None:
    if not wrong.any():
        return
    places = np.flatnonzero(wrong)
    listed = ", ".join(
        str(lines[place]) if values is None else f"{lines[place]} ({float(values[place])!r})"
        for place in places[:_ROWS_LISTED].tolist()
    )
    raise DataError(
        f"{path}: {what} {listed} {why} ({len(places)} rows)",
        remedy="Rates are fractions (0.0001 is 0.01 %), prices above zero, times UTC: correct the rows.",
    )
