"""Candles from any file into the stored format: read, check, repair if asked; store all or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import polars as pl

from adapters.bar_files import path_of, shown, write_bars, write_whole
from adapters.bar_quality import NO_TIME, PRICE_FIELDS, BarTable, Finding, Quality, check_bars, time_text
from adapters.bar_repair import NOT_REPAIRED, Repair, repair_bars
from adapters.source_tables import SourceFrame, normalised, read_frame
from adapters.source_times import times_ns
from engine.bars import NS_PER_SECOND, Bars, FloatColumn
from engine.errors import DataError, UsageError

# Names under which venues, pandas and people write the columns; the first that a file has counts.
TIME_NAMES = (
    *("ts", "timestamp", "timestamp_ms", "timestamp_ns", "timestamp_utc", "open_time", "opentime"),
    *("unix_timestamp", "unix", "unix_time", "unixtime", "epoch", "datetime", "date_time", "datetime_utc"),
    *("time", "date", "time_utc", "gmt_time", "candle_begin_time", "start_time", "start", "time_open"),
    *("bar_open", "index_level_0", "t", ""),  # pandas writes its index under no name at all
)
_PRICE_NAMES = {field: (field, f"{field}_price", f"price_{field}", field[0]) for field in PRICE_FIELDS}
_VOLUME_NAMES = (
    "volume",
    "vol",
    "base_volume",
    "volume_base",
    "base_asset_volume",
    "volumefrom",
    "v",
    "amount",
)
_VOLUME_STARTS = ("volume_", "vol_")
_SHIFT_SECONDS_MOST = 366 * 86_400
# Where the cell as it stands says more than the number it became.
_UNREAD_KINDS = ("bad_time", "time_out_of_range", "not_a_number")


class Source(msgspec.Struct, frozen=True):
    """A file read as candles: the table, and how its columns were understood, in words for the user."""

    path: Path
    table: BarTable
    frame: SourceFrame
    columns: dict[str, str]
    time_unit: str
    notes: tuple[str, ...]


class BarImport(msgspec.Struct, frozen=True):
    """What an import found and did. `stored` is empty where the file was refused."""

    source: str
    stored: str
    replaced: bool
    symbol: str
    timeframe: str
    time_unit: str
    notes: tuple[str, ...]
    quality: Quality
    repairs: tuple[Repair, ...]
    repairs_file: str

    @property
    def refused(self) -> bool:
        """Whether the file was not stored."""
        return not self.stored


def read_source(path: Path, *, symbol: str = "", no_volume: bool = False) -> Source:
    """Candles of a CSV, Parquet or Arrow file; raises InputMissingError or DataError naming file and column.

    Cells that are no number become NaN, times that are none NO_TIME: the checks name them. `symbol` helps
    to tell `Volume BTC` from `Volume USDT`; `no_volume` lets a file without volume pass, with zeros.
    """
    source = read_frame(path)
    frame, first_line, notes = source.frame, source.first_line, list(source.notes)
    numbers = np.arange(1, len(frame) + 1)
    if first_line:
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
        if blank.any():
            notes.append(f"{int(blank.sum())} blank lines skipped")
            frame, numbers = frame.filter(pl.Series(~blank)), numbers[~blank]
    if not len(frame):
        raise DataError(f"{path} has no rows", remedy="It holds a header only. Fetch or export the file again.")
    time_column = _time_column(path, frame)
    columns = {"ts": time_column.name} | _value_columns(path, frame, symbol, no_volume=no_volume)
    ts_ns, time_unit = times_ns(time_column)
    if (ts_ns == NO_TIME).all():
        raise DataError(
            f"{path}: column {time_column.name!r} holds no times that are known, first {time_column[0]!r}",
            remedy="Write UTC as s, ms, us or ns since 1970, or as 2022-01-31 23:59:00 (year first).",
        )
    values = [numbers_of(path, frame[columns[field]]) for field in PRICE_FIELDS]
    values.append(numbers_of(path, frame[columns["volume"]]) if "volume" in columns else np.zeros(len(frame)))
    # Blank lines count as lines, not as rows: `numbers` keeps the place in the file until a finding needs it.
    table = BarTable(numbers, ts_ns, *values)
    return Source(path, table, source, columns, time_unit, tuple(notes))


def import_bars(
    home: Path,
    path: Path,
    symbol: str,
    timeframe: str,
    *,
    repair: bool = False,
    no_volume: bool = False,
    shift_seconds: int = 0,
) -> BarImport:
    """Check a file and store it under `home`; a refused file (`refused`) leaves what is stored as it is.

    Raises UsageError (symbol, timeframe), InputMissingError, and DataError where the file is not one of
    candles or nothing of it is left after repair. Repairs are written beside the stored file, one JSON
    object a line.
    """
    stored = path_of(home, symbol, timeframe)
    if abs(shift_seconds) > _SHIFT_SECONDS_MOST:
        raise UsageError(f"A shift of {shift_seconds} s is over a year", remedy="Correct the times at their source.")
    source = read_source(path, symbol=symbol, no_volume=no_volume)
    table = source.table
    if shift_seconds:
        known = table.ts_ns != NO_TIME
        shifted = np.where(known, table.ts_ns + shift_seconds * NS_PER_SECOND, NO_TIME)
        table = msgspec.structs.replace(table, ts_ns=shifted)
    repairs: tuple[Repair, ...] = ()
    if repair:
        table, repairs = repair_bars(table)
        if not len(table):
            raise DataError(f"{path}: no row is left after repair", remedy="Fetch or export the file again.")
    quality = placed(check_bars(table, timeframe), source)
    repairs = tuple(_placed_repair(done, source) for done in repairs)
    replaced = stored.exists()
    repairs_file = stored.with_name(f"{stored.stem}.repairs.jsonl")
    if quality.sound:
        columns = [table.column(field) for field in (*PRICE_FIELDS, "volume")]
        write_bars(stored, Bars(symbol, timeframe, table.ts_ns, *columns), (path.name,))
        _write_repairs(repairs_file, repairs)
    return BarImport(
        source=str(path),
        stored=shown(stored) if quality.sound else "",
        replaced=replaced and quality.sound,
        symbol=symbol,
        timeframe=timeframe,
        time_unit=source.time_unit,
        notes=source.notes,
        quality=quality,
        repairs=repairs,
        repairs_file=shown(repairs_file) if quality.sound and repairs else "",
    )


def refusal(report: BarImport) -> DataError:
    """Return the error for a refused import: what is wrong by kind, the first of each, the remedy."""
    remedy = "Correct what is named"
    if set(report.quality.counts) - set(NOT_REPAIRED):
        remedy += ", or import with --repair"
    return DataError(
        f"{report.source} was not stored: {describe(report.quality)}",
        remedy=f"{remedy}; what was stored before is untouched.",
    )


def describe(quality: Quality) -> str:
    """Return findings as text: the kinds counted on the first line, then a line for each one listed."""
    counted = ", ".join(f"{count} {kind}" for kind, count in quality.counts.items())
    return "\n".join((counted, *(f"  {line_of(finding)}" for finding in quality.findings)))


def line_of(finding: Finding) -> str:
    """One finding on one line: row, line, time, field, value, remedy."""
    place = f"row {finding.row}" + (f" (line {finding.line})" if finding.line else "")
    moment = "" if finding.ts_ns == NO_TIME or finding.field == "ts" else f" {time_text(finding.ts_ns)}"
    return f"{finding.kind}: {place}{moment}: {finding.field} {finding.value}: {finding.remedy}"


def placed(quality: Quality, source: Source) -> Quality:
    """Give findings the line of the text file, the row without blank lines, and the cell as it stands."""
    return msgspec.structs.replace(
        quality, findings=tuple(_placed_finding(finding, source) for finding in quality.findings)
    )


def numbers_of(path: Path, column: pl.Series) -> FloatColumn:
    """Return a column as float64, NaN for what is no number; DataError where it cannot hold numbers."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise DataError(
            f"{path}: column {column.name!r} holds {column.dtype}, not numbers",
            remedy="Write it as decimal numbers.",
        )
    return np.array(column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())


def _placed_finding(finding: Finding, source: Source) -> Finding:
    row, line = _place(finding.row, source)
    value = _cell(finding.field, finding.row, source) if finding.kind in _UNREAD_KINDS else None
    return msgspec.structs.replace(finding, row=row, line=line, value=value or finding.value)


def _cell(field: str, number: int, source: Source) -> str | None:
    """Return what stands in a text file for a value; None for a binary file, or a column put together."""
    name = source.columns.get(field, "")
    if not source.frame.first_line or name not in source.frame.frame.columns:
        return None
    cell = source.frame.frame[name][number - 1]
    return "(empty)" if cell is None else repr(cell)


def _placed_repair(repair: Repair, source: Source) -> Repair:
    if not repair.row:
        return repair
    row, line = _place(repair.row, source)
    before = _cell(repair.field, repair.row, source) if repair.kind in _UNREAD_KINDS else None
    return msgspec.structs.replace(repair, row=row, line=line, before=before or repair.before)


def _place(number: int, source: Source) -> tuple[int, int]:
    """Row and line of the file's n-th place, blank lines counted in n but not in the row."""
    row = int(np.searchsorted(source.table.rows, number)) + 1
    first_line = source.frame.first_line
    return row, first_line + number - 1 if first_line else 0


def _time_column(path: Path, frame: pl.DataFrame) -> pl.Series:
    names = [name for name in TIME_NAMES if name in frame.columns]
    if not names:
        raise DataError(
            f"{path} has no column of times; its columns are {', '.join(frame.columns)}",
            remedy="Name the column `ts` (UTC ms of the bar's open), or timestamp, time, date or open_time.",
        )
    if {"date", "time"} <= set(names) and names[0] in ("date", "time") and frame["time"].dtype == pl.String:
        clock = frame["time"].str.contains(r"^\d{1,2}:\d\d").fill_null(value=False)
        if clock.all():
            joined = frame.select(pl.concat_str(["date", "time"], separator=" ").alias("date"))
            return joined.to_series()
    return frame[names[0]]


def _value_columns(path: Path, frame: pl.DataFrame, symbol: str, *, no_volume: bool) -> dict[str, str]:
    columns: dict[str, str] = {}
    for field, names in _PRICE_NAMES.items():
        name = next((name for name in names if name in frame.columns), None)
        if name is None:
            raise DataError(
                f"{path} has no column {field!r}; its columns are {', '.join(frame.columns)}",
                remedy="Name the columns ts,open,high,low,close,volume.",
            )
        columns[field] = name
    volume = _volume_column(frame, symbol)
    if volume is not None:
        columns["volume"] = volume
    elif not no_volume:
        raise DataError(
            f"{path} has no column 'volume'; its columns are {', '.join(frame.columns)}",
            remedy="Name the volume in base units `volume`, or import with --no-volume to store zeros.",
        )
    return columns


def _volume_column(frame: pl.DataFrame, symbol: str) -> str | None:
    """Find the volume in base units: of `volume_btc` and `volume_usdt` the one the symbol begins with."""
    for name in _VOLUME_NAMES:
        if name in frame.columns:
            return name
    coins = {
        name: name.removeprefix(start)
        for name in frame.columns
        for start in _VOLUME_STARTS
        if name.startswith(start) and name not in ("volume_quote", "volume_currency", "volume_usd")
    }
    base = normalised(symbol).replace("_", "")
    for name, coin in coins.items():
        if base.startswith(coin):
            return name
    quoted = {name for name, coin in coins.items() if base.endswith(coin)}
    return next((name for name in coins if name not in quoted), None)


def _write_repairs(path: Path, repairs: tuple[Repair, ...]) -> None:
    if not repairs:
        path.unlink(missing_ok=True)
        return
    encoder = msgspec.json.Encoder()
    lines = b"".join(encoder.encode(repair) + b"\n" for repair in repairs)

    def write(file: BinaryIO) -> None:
        file.write(lines)

    write_whole(path, write)
