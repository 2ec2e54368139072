"""Indicators that were computed before: `data/indicators/{SYMBOL}/{spec}.parquet` under a home folder.

Columns: ts (int64, UTC ms of the bar's open) and one of float64 for each output; of a higher timeframe a row for each
higher bar. An entry holds for one content of the bars, one spec and one version of the code, which its metadata tell
with a checksum of the columns. One that is for something else, or damaged, is computed again. A file appears whole or
not at all, so that any number of processes may read and write at once: the last one to write stays.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import google_crc32c
import msgspec
import numba
import numpy as np
import polars as pl

from adapters.bar_files import checked_symbol, content_hash, write_whole
from engine.bars import NS_PER_MS, Bars, FloatColumn, IntColumn
from engine.errors import DataError, StrategyError, TapewrightError
from engine.indicators import IndicatorSpec, definition_of, parse_spec
from engine.series import Window

_KEY = "tapewright.indicator_key"
_CHECKSUM = "tapewright.indicator_crc32c"
_ENGINE = Path(__file__).resolve().parents[1] / "engine"
_READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError)

Columns = tuple[FloatColumn, ...]


class Entry(msgspec.Struct, frozen=True):
    """One file of the cache: `state` is sound, old (of other code; it is computed again when used) or damaged."""

    symbol: str
    spec: str
    path: str
    bytes: int
    rows: int
    state: str
    problem: str = ""


def folder_of(home: Path) -> Path:
    """Where the cache lies."""
    return home / "data" / "indicators"


def provide(home: Path, bars: Bars, specs: Sequence[IndicatorSpec]) -> tuple[dict[IndicatorSpec, Columns], list[str]]:
    """Every spec over all bars, from the cache or computed and stored; and lines that say which.

    Never fails for the cache's sake: what cannot be read is computed, what cannot be written is said.
    """
    digest = content_hash(bars)
    window = Window(bars)
    found: dict[IndicatorSpec, Columns] = {}
    lines: list[str] = []
    loaded, computed = [], []
    for given in specs:
        spec = given if given.timeframe else IndicatorSpec(given.name, given.parameters, bars.timeframe)
        path = folder_of(home) / checked_symbol(bars.symbol) / f"{spec}.parquet"
        key = _key(bars, digest, spec)
        columns, problem = _load(path, key, spec)
        if problem:
            lines.append(
                f"{bars.symbol}: {'/'.join(path.parts[-4:])} was damaged ({problem}): computed again."
                " The rest is checked by: tapewright cache list"
            )
        if columns is None:
            frame = window.tf(spec.timeframe)
            columns = frame.ind.whole(IndicatorSpec(spec.name, spec.parameters))
            computed.append(str(spec))
            try:
                _store(path, key, frame.ts_ns, columns, spec)
            except DataError as error:
                lines.append(f"{bars.symbol}: {error.message}; the run goes on")
        else:
            loaded.append(str(spec))
        found[spec] = columns
    if loaded:
        lines.append(f"{bars.symbol}: from the cache: {', '.join(loaded)}")
    if computed:
        lines.append(f"{bars.symbol}: computed: {', '.join(computed)}")
    return found, lines


def entries(home: Path) -> list[Entry]:
    """Every file of the cache, read and checked."""
    return [_entry(path) for path in sorted(folder_of(home).glob("*/*.parquet")) if not path.name.startswith(".")]


def clean(home: Path, *, only_unusable: bool = False) -> tuple[int, int]:
    """Remove entries (only those that are old or damaged), and what a crash left; how many, and their bytes."""
    removed = size = 0
    unusable = {entry.path for entry in entries(home) if entry.state != "sound"} if only_unusable else None
    paths = [path for path in sorted(folder_of(home).glob("*/*.parquet")) if not path.name.startswith(".")]
    for path in paths:
        if unusable is None or str(path) in unusable:
            length = path.stat().st_size
            path.unlink(missing_ok=True)
            removed, size = removed + 1, size + length
    if not only_unusable:  # a name of another process that writes now is among them: it then stores nothing
        for path in folder_of(home).glob("*/.*.tmp"):
            path.unlink(missing_ok=True)
    return removed, size


@cache
def code_version() -> str:
    """Changes with any source that an indicator's value depends on."""
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    sources = [_ENGINE / "frames.py", *(_ENGINE / "indicators").glob("*.py"), *(_ENGINE / "kernels").rglob("*.py")]
    for source in sorted(sources):
        digest.update(source.relative_to(_ENGINE).as_posix().encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:32]


def _key(bars: Bars, digest: str, spec: IndicatorSpec) -> str:
    fields = {"symbol": bars.symbol, "bars": digest, "timeframe": bars.timeframe, "spec": str(spec)}
    return msgspec.json.encode(fields | {"code": _code_of(spec)}).decode()


def _code_of(spec: IndicatorSpec) -> str:
    """A plug-in's own source counts too."""
    return f"{code_version()} {definition_of(spec.name).source_hash}".rstrip()


def _load(path: Path, key: str, spec: IndicatorSpec) -> tuple[Columns | None, str]:
    """The columns of an entry (None where it is not there or for something else), and what is damaged."""
    try:
        data = path.read_bytes()  # once: another process may put another file there at any moment
        told = pl.read_parquet_metadata(io.BytesIO(data))
        if told.get(_KEY) is None:
            return None, "it does not say what it is of"
        if told[_KEY] != key:
            return None, ""
        frame = pl.read_parquet(io.BytesIO(data))
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except _READ_ERRORS as error:
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0]
    columns, problem = _checked(frame, told.get(_CHECKSUM), definition_of(spec.name).outputs)
    return columns, problem


def _checked(frame: pl.DataFrame, checksum: str | None, outputs: tuple[str, ...]) -> tuple[Columns | None, str]:
    if dict(frame.schema) != {"ts": pl.Int64, **dict.fromkeys(outputs, pl.Float64)}:
        return None, "other columns"
    ts = frame["ts"].to_numpy()
    columns = tuple([frame[name].to_numpy() for name in outputs])
    if _checksum(ts, columns) != checksum:
        return None, "wrong checksum"
    for column in columns:
        column.flags.writeable = False
    return columns, ""


def _store(path: Path, key: str, ts_ns: IntColumn, columns: Columns, spec: IndicatorSpec) -> None:
    ts = ts_ns // NS_PER_MS
    frame = pl.DataFrame({"ts": ts, **dict(zip(definition_of(spec.name).outputs, columns, strict=True))})
    metadata = {_KEY: key, _CHECKSUM: _checksum(ts, columns)}
    write_whole(path, lambda file: frame.write_parquet(file, compression="lz4", metadata=metadata))


def _checksum(ts: IntColumn, columns: Columns) -> str:
    crc = 0
    for column in (ts, *columns):
        crc = google_crc32c.extend(crc, np.ascontiguousarray(column).view(np.uint8).tobytes())
    return f"{crc:08x} {len(ts)}"


def _entry(path: Path) -> Entry:
    symbol, name = path.parent.name, path.stem
    problem, rows, key = "", 0, {}
    size = 0
    try:
        data = path.read_bytes()
        size = len(data)
        told = pl.read_parquet_metadata(io.BytesIO(data))
        key = msgspec.json.decode(told.get(_KEY, "{}"))
        frame = pl.read_parquet(io.BytesIO(data))
        rows = len(frame)
        spec = parse_spec(name)
        _, problem = _checked(frame, told.get(_CHECKSUM), definition_of(spec.name).outputs)
        state = "damaged" if problem else "sound" if key.get("code") == _code_of(spec) else "old"
    except StrategyError as error:
        state, problem = "old", error.message
    except (*_READ_ERRORS, msgspec.DecodeError, TapewrightError, AttributeError) as error:
        state, problem = "damaged", (str(error).strip().splitlines() or [type(error).__name__])[0]
    return Entry(symbol, name, str(path), size, rows, state, problem)
