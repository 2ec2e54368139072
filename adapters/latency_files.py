"""Latencies by time: CSV or Parquet with columns ts, order_latency_ms, response_latency_ms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from adapters.bar_files import read_parquet
from adapters.bar_import import numbers_of
from adapters.bar_quality import NO_TIME
from adapters.result_files import write_columns
from adapters.source_tables import SourceFrame, read_frame
from adapters.source_times import times_ns
from engine.bars import NS_PER_MS
from engine.book_state import Latency
from engine.errors import DataError

COLUMNS = ("ts", "order_latency_ms", "response_latency_ms")
_LATENCY_MS_MOST = 60_000.0
_REMEDY = "Give each row a UTC time later than the row before, and two latencies from 0 to 60,000 ms."


def read_latencies(path: Path) -> tuple[Latency, ...]:
    """Read a latency file; times in s, ms, us, ns or ISO, UTC.

    Raises InputMissingError where it is not there, DataError that names file, row and column.
    """
    source = read_frame(path)
    frame = source.frame
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}; its columns are {', '.join(frame.columns)}",
            remedy=f"Name the columns {','.join(COLUMNS)}.",
        )
    lines = np.arange(len(frame)) + (source.first_line or 1)
    if source.first_line:  # blank lines
        present = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        frame, lines = frame.filter(present), lines[present.to_numpy()]
    if not len(frame):
        raise DataError(f"{path} has no rows", remedy=_REMEDY)
    ts_ns, _ = times_ns(frame["ts"])
    _refuse(source, "ts", lines, ts_ns == NO_TIME, "is no time")
    falling = np.concatenate(([False], ts_ns[1:] <= ts_ns[:-1]))
    _refuse(source, "ts", lines, falling, "is not later than that of the row before")
    latencies = []
    for name in COLUMNS[1:]:
        values = numbers_of(path, frame[name])
        with np.errstate(invalid="ignore"):
            _refuse(source, name, lines, ~((values >= 0.0) & (values <= _LATENCY_MS_MOST)), "cannot be", values)
        latencies.append(np.rint(values * NS_PER_MS).astype(np.int64).tolist())
    return tuple(map(Latency, ts_ns.tolist(), *latencies))


def write_latencies(path: Path, latencies: Sequence[Latency]) -> Path:
    """Store latencies as Parquet with the columns ts (UTC ns), entry_ns, response_ns."""
    names = ("ts_ns", "entry_ns", "response_ns")
    return write_columns(path, {name: np.array([getattr(row, name) for row in latencies]) for name in names})


def stored_latencies(path: Path) -> tuple[Latency, ...]:
    """Read what `write_latencies` stored, to the nanosecond."""
    frame = read_parquet(path)
    return tuple(Latency(*row) for row in frame.select("ts_ns", "entry_ns", "response_ns").iter_rows())


def _refuse(
    source: SourceFrame, column: str, lines: NDArray[np.int64], wrong: NDArray[np.bool_], why: str,
    values: NDArray[np.float64] | None = None,
) -> None:  # fmt: skip
    if not wrong.any():
        return
    place = int(np.argmax(wrong))
    number = "line" if source.first_line else "row"
    value = "" if values is None else f" ({float(values[place])!r})"
    raise DataError(
        f"{source.path}: {column} of {number} {lines[place]}{value} {why} ({int(wrong.sum())} rows)", remedy=_REMEDY
    )
