"""What is stored of markets, a line a file: bars, funding and mark prices with span, gaps, source and content hash."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from adapters.bar_catalog import stored_paths
from adapters.bar_files import content_hash_of, name_of, read_bars, shown, stored_hash, stored_sources
from adapters.bar_quality import find_gaps
from adapters.funding_files import FundingKind, read_stored
from engine.bars import NS_PER_SECOND, IntColumn, timeframe_ns
from engine.errors import TapewrightError

_SETTLEMENT_LONGEST_NS = 8 * 3_600 * NS_PER_SECOND


class StoredFile(msgspec.Struct, frozen=True):
    """One stored file. `sources` is where its rows are from, as far as the file says; `error` why it cannot be read.

    `rows_missing` and `gaps_count` are bars that lack between the first and the last, and the runs that they make; of
    funding the settlements that are further apart than 8 h. Mark prices follow no timeframe that the file knows.
    """

    path: str
    symbol: str
    timeframe: str
    kind: Literal["bars", "funding", "mark"]
    rows_count: int = 0
    first_ts_ns: int = 0
    last_ts_ns: int = 0
    rows_missing: int = 0
    gaps_count: int = 0
    sources: tuple[str, ...] = ()
    content_sha256: str = ""
    error: str = ""


def stored_files(home: Path) -> list[StoredFile]:
    """Every file of bars, funding and mark prices under a home, by kind and name."""
    found = [_bars(path) for path in stored_paths(home)]
    kinds: tuple[FundingKind, ...] = ("funding", "mark")
    for kind in kinds:
        found += [_series(path, kind) for path in sorted((home / "data" / kind).glob("*.parquet"))]
    return found


def _bars(path: Path) -> StoredFile:
    named = name_of(path)
    assert named is not None, "the catalogue lists named files"
    symbol, timeframe = named
    entry = StoredFile(shown(path), symbol, timeframe, "bars")
    try:
        bars = read_bars(path, symbol, timeframe)
        return _filled(entry, path, bars.ts_ns, timeframe_ns(timeframe), stored_hash(path) or "")
    except TapewrightError as error:
        return msgspec.structs.replace(entry, error=error.message)


def _series(path: Path, kind: FundingKind) -> StoredFile:
    entry = StoredFile(shown(path), path.stem, "", kind)
    try:
        series = read_stored(path, path.stem, kind)
        step_ns = _SETTLEMENT_LONGEST_NS if kind == "funding" else _step_ns(series.ts_ns)
        return _filled(entry, path, series.ts_ns, step_ns, content_hash_of(series.ts_ns, [series.values]))
    except TapewrightError as error:
        return msgspec.structs.replace(entry, error=error.message)


def _step_ns(ts_ns: IntColumn) -> int:
    """The distance that all rows share."""
    return int(np.gcd.reduce(np.diff(ts_ns))) if len(ts_ns) > 1 else 1


def _filled(entry: StoredFile, path: Path, ts_ns: IntColumn, step_ns: int, content_sha256: str) -> StoredFile:
    gaps = find_gaps(ts_ns, step_ns)
    return msgspec.structs.replace(
        entry,
        rows_count=len(ts_ns),
        first_ts_ns=int(ts_ns[0]) if len(ts_ns) else 0,
        last_ts_ns=int(ts_ns[-1]) if len(ts_ns) else 0,
        rows_missing=gaps.bars_missing,
        gaps_count=gaps.runs_count,
        sources=stored_sources(path),
        content_sha256=content_sha256,
    )
