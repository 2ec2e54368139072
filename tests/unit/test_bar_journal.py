"""The journal's file: pieces become row groups, nothing is there before all of it is, names that are taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adapters.bar_journal import COLUMNS, write_journal
from adapters.result_files import run_places
from engine.errors import UsageError

STAMP = datetime(2025, 1, 16, 14, 30, 25, tzinfo=UTC)


def _piece(first: int, count: int) -> dict[str, np.ndarray]:
    rows = np.arange(first, first + count)
    return {
        "timestamp": rows * 60_000,
        "price": 100.0 + rows,
        "entry_signal": rows % 3 == 0,
        "exit_signal": rows % 3 == 1,
        "in_position": rows % 2 == 0,
        "position_size": rows / 4,
        "capital": 1000.0 - rows,
        "drawdown": rows / 1000,
        "sma_3_1m": np.where(rows < 2, np.nan, rows * 1.5),
    }


def test_pieces_are_read_back_as_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "data" / "journals" / "A_s_20250116_143025.parquet"
    pieces = [_piece(0, 4), _piece(4, 4), _piece(8, 1)]
    assert write_journal(path, "A", iter(pieces), ["sma_3_1m"], 4) == path
    frame = pl.read_parquet(path)
    assert dict(frame.schema) == COLUMNS | {"sma_3_1m": pl.Float64}
    assert frame["symbol"].to_list() == ["A"] * 9
    assert frame["timestamp"].dt.epoch("ms").to_list() == [row * 60_000 for row in range(9)]
    assert frame["entry_signal"].to_list() == [row % 3 == 0 for row in range(9)]
    assert frame["position_size"].to_list() == [row / 4 for row in range(9)]
    assert frame["sma_3_1m"].to_list() == [None, None, *(row * 1.5 for row in range(2, 9))]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_journal_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journals" / "A.parquet"

    def breaking() -> Iterator[dict[str, np.ndarray]]:
        yield _piece(0, 70_000)
        assert not path.exists()
        raise OSError("the disk went away")

    with pytest.raises(UsageError, match="the disk went away"):
        write_journal(path, "A", breaking(), ["sma_3_1m"], 65_536)
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """/dev/full takes no byte: what is written beside the journal's place goes there."""
    path = tmp_path / "A.parquet"
    (tmp_path / ".A.parquet.partial").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="No space left on device"):
        write_journal(path, "A", iter([_piece(0, 1000)]), ["sma_3_1m"], 1000)
    assert list(tmp_path.iterdir()) == []


def test_pieces_are_made_as_they_are_written(tmp_path: Path) -> None:
    """Only a few are ahead of what the file holds already, so memory is bounded however long the run was."""
    path = tmp_path / "A.parquet"
    partial, random = tmp_path / ".A.parquet.partial", np.random.default_rng(1)
    count, written = 300, []

    def pieces() -> Iterator[dict[str, np.ndarray]]:
        for number in range(count):
            written.append(partial.stat().st_size if partial.exists() else 0)
            noise = {name: random.random(5_000) for name in ("price", "capital", "drawdown", "sma_3_1m")}
            yield _piece(number * 5_000, 5_000) | noise

    write_journal(path, "A", pieces(), ["sma_3_1m"], 5_000)
    each = path.stat().st_size / count
    assert pl.scan_parquet(path).select(pl.len()).collect().item() == count * 5_000
    assert max(number - size / each for number, size in enumerate(written)) < count / 4


def test_places_of_one_symbol_and_of_several(tmp_path: Path) -> None:
    one = run_places(tmp_path, ["BTCUSDT"], "ema", STAMP)
    assert one.folder == one.folders["BTCUSDT"] == tmp_path / "results" / "BTCUSDT_ema_20250116_143025"
    assert one.journals["BTCUSDT"] == tmp_path / "data" / "journals" / "BTCUSDT_ema_20250116_143025.parquet"
    # The second symbol's folder would be free, but a run's places carry one suffix.
    two = run_places(tmp_path, ["BTCUSDT", "ETHUSDT"], "ema", STAMP)
    assert two.folder.name == "BTCUSDT+ETHUSDT_ema_20250116_143025_2"
    assert [folder.name for folder in two.folders.values()] == [
        "BTCUSDT_ema_20250116_143025_2", "ETHUSDT_ema_20250116_143025_2",
    ]  # fmt: skip
    assert [path.name for path in two.journals.values()] == [
        "BTCUSDT_ema_20250116_143025_2.parquet", "ETHUSDT_ema_20250116_143025_2.parquet",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "BTCUSDT+ETHUSDT_ema_20250116_143025_2", "BTCUSDT_ema_20250116_143025", "BTCUSDT_ema_20250116_143025_2",
        "ETHUSDT_ema_20250116_143025_2",
    ]  # fmt: skip


def test_a_journal_whose_results_were_deleted_is_not_replaced(tmp_path: Path) -> None:
    journal = tmp_path / "data" / "journals" / "A_ema_20250116_143025.parquet"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"of an earlier run")
    assert run_places(tmp_path, ["A"], "ema", STAMP).journals["A"].name == "A_ema_20250116_143025_2.parquet"


def test_many_symbols_still_make_a_name(tmp_path: Path) -> None:
    symbols = [f"SYMBOL{number}USDT" for number in range(40)]
    places = run_places(tmp_path, symbols, "s" * 200, STAMP)
    assert places.folder.name.startswith("SYMBOL0USDT+SYMBOL1USDT+")
    assert len(places.folder.name) < 255
    assert len(places.folders) == 40
