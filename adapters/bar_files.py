"""The stored format: `data/raw/{SYMBOL}_{TIMEFRAME}.parquet` under a home folder.

Columns ts (int64, UTC ms of the bar's open), open, high, low, close, volume (float64), zstd, rows by ts. A
file appears whole or not at all: it is written beside its place, flushed to the disk and renamed.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.bars import NS_PER_MS, Bars, IntColumn, timeframe_ns
from engine.errors import DataError, InputMissingError, UsageError

FIELDS = ("open", "high", "low", "close", "volume")
SCHEMA = {"ts": pl.Int64, **dict.fromkeys(FIELDS, pl.Float64)}

_HASH_KEY = "tapewright.content_sha256"
_SOURCES_KEY = "tapewright.sources"
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STORED_NAME = re.compile(r"(?P<symbol>.+)_(?P<timeframe>[1-9][0-9]{0,4}[smhdw])\.parquet")
_LIKENESS = 0.8  # of a symbol that is misspelt; another one of the same quote currency, ETHUSDT for BTCUSDT, has 0.7
_TS_MS_MAX = 2**62 // NS_PER_MS
_ROW_GROUP_ROWS = 131_072
FRAME_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def path_of(home: Path, symbol: str, timeframe: str) -> Path:
    """Where the bars of a symbol and timeframe are stored; raises UsageError where one of them is not one."""
    timeframe_ns(timeframe)
    return home / "data" / "raw" / f"{checked_symbol(symbol)}_{timeframe}.parquet"


def checked_symbol(symbol: str) -> str:
    """Return the symbol, if it can be part of a file's name; else UsageError."""
    if _SYMBOL.fullmatch(symbol) is None:
        raise UsageError(
            f"{symbol!r} is not a symbol that a file can be named after",
            remedy="Write letters and digits, then also . _ - (BTCUSDT instead of BTC/USDT).",
        )
    return symbol


def name_of(path: Path) -> tuple[str, str] | None:
    """Symbol and timeframe that a stored file's name tells, None where it tells none."""
    match = _STORED_NAME.fullmatch(path.name)
    return (match["symbol"], match["timeframe"]) if match else None


def read_bars(path: Path, symbol: str, timeframe: str, start_ns: int | None = None, end_ns: int | None = None) -> Bars:
    """Return stored bars whose open lies in [start_ns, end_ns); each column its own contiguous array.

    Of the file only the row groups are read that can hold such bars, and only those bars are checked. Raises
    InputMissingError where there is no such file, DataError where it is damaged, has other columns, is out of order or
    finer than the timeframe, or holds a bar that cannot be. Never a bar is left out silently.
    """
    timeframe_ns(timeframe)
    if not path.exists():
        raise missing(path, symbol, timeframe)
    try:
        return _read_bars(path, symbol, timeframe, (start_ns, end_ns))
    except DataError:
        if start_ns is not None or end_ns is not None:
            _read_bars(path, symbol, timeframe, (None, None))  # tells the same by the row of the whole file
        raise


def _read_bars(path: Path, symbol: str, timeframe: str, span: tuple[int | None, int | None]) -> Bars:
    return bars_of(path, _read_frame(path, span), symbol, timeframe)


def bars_of(path: Path | str, frame: pl.DataFrame, symbol: str, timeframe: str) -> Bars:
    """The bars of a frame that was read from `path`, checked as `read_bars` says."""
    step_ns = timeframe_ns(timeframe)
    _refuse_other_columns(path, frame, symbol, timeframe)
    ts_ns = _times_ns(path, frame)
    _refuse_disorder(path, ts_ns, step_ns)
    bars = Bars(symbol, timeframe, ts_ns, *(_own(frame[field]) for field in FIELDS))
    _refuse_impossible(path, bars)
    return bars


def write_bars(path: Path, bars: Bars, sources: Sequence[str] = ()) -> None:
    """Store bars, replacing the file that is there in one step. The caller has checked them.

    `sources` says where they are from, in words: files and addresses.
    """
    frame = pl.DataFrame(
        {"ts": bars.ts_ns // NS_PER_MS, **{field: getattr(bars, field) for field in FIELDS}}, schema=SCHEMA
    )
    metadata = {_HASH_KEY: content_hash(bars), **sources_metadata(sources)}
    write_whole(path, lambda file: write_frame(file, frame, metadata))


def write_frame(file: BinaryIO, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> None:
    """Return a frame as zstd Parquet, in row groups that are read in parallel."""
    frame.write_parquet(file, compression="zstd", row_group_size=_ROW_GROUP_ROWS, metadata=metadata)


def read_parquet(path: Path) -> pl.DataFrame:
    """Read Parquet from one opening of the file; raises what polars raises.

    polars opens a path twice, once for the footer and once for the rows: where another process replaces the file in
    between, the rows are read by another file's footer.
    """
    with path.open("rb") as file:
        return pl.read_parquet(file)


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Make or replace a file in one step: a crash leaves the old one or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="Check the folder's rights and the disk's space; what was stored before is untouched.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def content_hash(bars: Bars) -> str:
    """SHA-256 (hex) over the columns' bytes: ts_ns, open, high, low, close, volume, little-endian."""
    return content_hash_of(bars.ts_ns, [getattr(bars, field) for field in FIELDS])


def content_hash_of(ts_ns: IntColumn, columns: Sequence[NDArray[np.float64]]) -> str:
    """SHA-256 (hex) over the bytes of times and columns, little-endian."""
    digest = hashlib.sha256()
    for column in (ts_ns, *columns):
        digest.update(np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()


def stored_hash(path: Path) -> str | None:
    """Return the content hash a stored file says of itself, without reading rows; None where it says none."""
    return _metadata(path).get(_HASH_KEY)


def stored_sources(path: Path) -> tuple[str, ...]:
    """Return where a stored file says that its rows are from; nothing where it says nothing."""
    try:
        return msgspec.json.decode(_metadata(path).get(_SOURCES_KEY, "[]"), type=tuple[str, ...])
    except msgspec.DecodeError as error:
        raise damaged(path, error) from None


def sources_metadata(sources: Sequence[str]) -> dict[str, str]:
    """Return what a file's metadata say of where its rows are from."""
    return {_SOURCES_KEY: msgspec.json.encode(list(sources)).decode()} if sources else {}


def _metadata(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            return pl.read_parquet_metadata(file)
    except PermissionError:
        raise _not_readable(path) from None
    except FRAME_ERRORS as error:
        raise damaged(path, error) from None


def missing(path: Path, symbol: str, timeframe: str) -> InputMissingError:
    """Return the error for bars that are not stored: what is looked for, and the commands that make it."""
    wanted = f"--symbol {symbol} --timeframe {timeframe}"
    return InputMissingError(
        f"Data file not found: {shown(path)}{_stored_instead(path, symbol, timeframe)}",
        remedy=f"Run: tapewright data import FILE {wanted} (or: tapewright data synth {wanted};"
        f" from Binance: tapewright data download {wanted} --start DATE --end DATE)",
    )


def _stored_instead(path: Path, symbol: str, timeframe: str) -> str:
    """`. Did you mean BTCUSDT?`: what is stored that is like it, or nothing."""
    known = [name for each in sorted(path.parent.glob("*.parquet")) if (name := name_of(each)) is not None]
    frames = [frame for stored, frame in known if stored == symbol]
    if frames:
        return f". Of {symbol} there are bars of {', '.join(frames)}"
    names = {stored.upper(): stored for stored, frame in known if frame == timeframe}
    near = difflib.get_close_matches(symbol.upper(), list(names), n=1, cutoff=_LIKENESS)
    return f". Did you mean {names[near[0]]}?" if near else ""


def shown(path: Path | str) -> str:
    """Return a stored file as users know it, from `data/` on; another one, or an address, whole."""
    if isinstance(path, str):
        return path
    inside = path.parts[-3:]
    return "/".join(inside) if len(inside) == 3 and inside[0] == "data" else str(path)


def damaged(path: Path, error: BaseException) -> DataError:
    """Return the error for a stored file that cannot be read as what it is."""
    cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(
        f"{shown(path)} is damaged: it cannot be read as Parquet ({cause})",
        remedy="Import the source file again; importing replaces the damaged file.",
    )


def _not_readable(path: Path) -> DataError:
    return DataError(f"{shown(path)} may not be read by this user", remedy=f"Run: chmod u+r {path}")


def _read_range(path: Path, start_ns: int | None, end_ns: int | None) -> pl.DataFrame:
    """The rows of a range, and those without a time, from one opening; all rows where the columns are others.

    polars passes over row groups by the least and greatest time that the footer tells of each.
    """
    with path.open("rb") as file:
        return rows_in(pl.scan_parquet(file), start_ns, end_ns)


def rows_in(frame: pl.LazyFrame, start_ns: int | None, end_ns: int | None) -> pl.DataFrame:
    """Collect the rows of a range, and those without a time; raises what polars raises."""
    if dict(frame.collect_schema()) == SCHEMA:
        ts, inside = pl.col("ts"), pl.lit(value=True)
        if start_ns is not None:
            inside &= ts >= -(-start_ns // NS_PER_MS)
        if end_ns is not None:
            inside &= ts < -(-end_ns // NS_PER_MS)
        frame = frame.filter(inside | ts.is_null())
    return frame.collect()


def _read_frame(path: Path, span: tuple[int | None, int | None]) -> pl.DataFrame:
    if path.is_dir():
        raise DataError(f"{shown(path)} is a directory", remedy="Move it away and import the data.")
    try:
        return read_parquet(path) if span == (None, None) else _read_range(path, *span)
    except PermissionError:
        raise _not_readable(path) from None
    except FRAME_ERRORS as error:
        raise damaged(path, error) from None


def _refuse_other_columns(path: Path | str, frame: pl.DataFrame, symbol: str, timeframe: str) -> None:
    found = dict(frame.schema)
    if found != SCHEMA:
        wrong = [name for name in (*SCHEMA, *found) if found.get(name) != SCHEMA.get(name)] or list(found)
        raise DataError(
            f"{shown(path)} has other columns than stored bars have, first {wrong[0]!r}:"
            f" {', '.join(f'{name} {dtype}' for name, dtype in found.items())}",
            remedy=f"Move it elsewhere, then run: tapewright data import FILE --symbol {symbol}"
            f" --timeframe {timeframe}",
        )
    for name in SCHEMA:
        if frame[name].null_count():
            row = int(frame[name].is_null().arg_max() or 0) + 1
            raise _unsound(path, f"row {row} has no {name}")


def _own(column: pl.Series) -> NDArray[Any]:
    """Return a column as one array that owns its memory, copied once out of its chunks."""
    chunks = [chunk.to_numpy(allow_copy=False) for chunk in column.get_chunks()]
    if not chunks:
        return np.empty(0, np.int64 if column.dtype == pl.Int64 else np.float64)
    return np.concatenate(chunks)


def _times_ns(path: Path | str, frame: pl.DataFrame) -> IntColumn:
    ts_ms = _own(frame["ts"])
    if len(ts_ms) and not -_TS_MS_MAX < int(ts_ms.min()) <= int(ts_ms.max()) < _TS_MS_MAX:
        raise _unsound(path, "ts does not hold UTC milliseconds")
    return ts_ms * np.int64(NS_PER_MS)


def _refuse_disorder(path: Path | str, ts_ns: IntColumn, step_ns: int) -> None:
    if len(ts_ns) < 2:
        return
    steps = np.diff(ts_ns)
    if int(steps.min()) >= step_ns:
        return
    row = int(np.argmax(steps < step_ns)) + 2
    problem = "is not later than" if steps[row - 2] <= 0 else f"is less than {step_ns // 10**9} s after"
    raise _unsound(path, f"the time of row {row} {problem} that of row {row - 1}")


def _refuse_impossible(path: Path | str, bars: Bars) -> None:
    """Refuse prices and volumes that cannot be. Comparisons with NaN are false, so it fails them as well."""
    possible = bars.low > 0.0
    possible &= bars.high < np.inf
    possible &= bars.low <= bars.open
    possible &= bars.low <= bars.close
    possible &= bars.open <= bars.high
    possible &= bars.close <= bars.high
    possible &= bars.volume >= 0.0
    possible &= bars.volume < np.inf
    if not possible.all():
        place = int(np.argmin(possible))
        values = ", ".join(f"{field} {float(getattr(bars, field)[place])!r}" for field in FIELDS)
        moment = str(bars.ts_ns[place].astype("datetime64[ns]").astype("datetime64[ms]")).replace("T", " ")
        raise _unsound(path, f"the bar of {moment} cannot be: {values}")


def _unsound(path: Path | str, problem: str) -> DataError:
    return DataError(
        f"{shown(path)}: {problem}",
        remedy=f"Run: tapewright data check {path}, then import the source again, with --repair if need be.",
    )
