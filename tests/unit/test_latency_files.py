"""Latency files: times and milliseconds as people write them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from adapters.latency_files import read_latencies, stored_latencies, write_latencies
from engine.book_state import Latency
from engine.errors import DataError, InputMissingError

HEADER = "ts,order_latency_ms,response_latency_ms"
START_NS = 1_723_161_255_000_000_000
ROWS = (Latency(START_NS, 12_500_000, 8_000_000), Latency(START_NS + 5 * 10**9, 40_000_000, 35_500_000))


def written(folder: Path, *lines: str) -> Path:
    path = folder / "latency.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n")
    return path


@pytest.mark.parametrize(
    "times",
    [
        ("1723161255000", "1723161260000"),
        ("1723161255000000000", "1723161260000000000"),
        ("1723161255", "1723161260"),
        ("2024-08-08T23:54:15Z", "2024-08-08T23:54:20Z"),
    ],
    ids=["ms", "ns", "s", "ISO"],
)
def test_times_of_every_kind(tmp_path: Path, times: tuple[str, str]) -> None:
    assert read_latencies(written(tmp_path, f"{times[0]},12.5,8", "", f"{times[1]},40,35.5")) == ROWS


def test_parquet_and_what_is_stored_with_a_run(tmp_path: Path) -> None:
    columns = {"ts": [row.ts_ns for row in ROWS], "order_latency_ms": [12.5, 40.0], "response_latency_ms": [8.0, 35.5]}
    pl.DataFrame(columns).write_parquet(tmp_path / "latency.parquet")
    assert read_latencies(tmp_path / "latency.parquet") == ROWS
    assert stored_latencies(write_latencies(tmp_path / "stored.parquet", ROWS)) == ROWS


REFUSED = [
    # lines | said
    (("1723161255000,12.5,8", "1723161255000,1,1"), "ts of line 3 is not later than that of the row before"),
    (("1723161255000,12.5,8", "1723161260000,-1,1"), "order_latency_ms of line 3 (-1.0) cannot be"),
    (("1723161255000,12.5,8", "1723161260000,1,many"), "response_latency_ms of line 3 (nan) cannot be"),
    (("1723161255000,12.5,8", "1723161260000,1,60001"), "response_latency_ms of line 3 (60001.0) cannot be"),
    (("1723161255000,12.5,8", "soon,1,1"), "ts of line 3 is no time"),
    ((), "has no rows"),
]


@pytest.mark.parametrize(("lines", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_makes_no_sense_names_file_row_and_column(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(DataError) as caught:
        read_latencies(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_missing_column_or_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latency.csv"
    with pytest.raises(InputMissingError):
        read_latencies(path)
    path.write_text("ts,order_latency_ms\n1723161255000,1\n")
    with pytest.raises(DataError, match="no column 'response_latency_ms'"):
        read_latencies(path)
