"""A run that is over, stored at once: every row, or none, beside whoever else writes, and after any kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

import adapters.store.whole
from adapters.store import FinishedRun, StoredError, StoreLockedError, StoreReader, prepare, store_whole
from adapters.store.rows import COLUMNS, NULLABLE
from adapters.store.runs import renamed
from adapters.store.schema import migrations
from daemon.store_compare import compare_rows
from engine.kernels import layout
from engine.reading import kinds_of
from tests.stores import RESULTS, assert_holds, bar_result, start_of, table_rows, tape_result

ROOT = Path(__file__).parents[2]


def finished(kind: str = "bars", name: str = "a run", every: int = 1) -> FinishedRun:
    result = RESULTS[kind]()
    start = msgspec.structs.replace(renamed(start_of(result), name), sample_every=every)
    return FinishedRun(start, "finished", int(result.samples[-1, 0]), result.hash, result.outputs, result.samples)


def names(path: Path) -> list[str]:
    with StoreReader(path) as reader:
        return [run.name for run in reader.runs()]


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("piece", [7, 512, 65_536])
def test_every_row_is_there_once_wherever_pieces_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, piece: int
) -> None:
    """The rows are those that the session's writer makes of the same outputs."""
    monkeypatch.setattr(adapters.store.whole, "PIECE_ROWS", piece)
    path, run, result = tmp_path / "s.sqlite", finished(kind), RESULTS[kind]()
    stored = store_whole(path, run)
    assert_holds(path, result, stored.run_id)
    with StoreReader(path) as reader:
        row = reader.run("a run")
    assert (row.status, row.hash, row.end_ns) == ("finished", f"{result.hash:016x}", run.end_ns)
    assert (row.outputs_stored, row.samples_stored) == (len(result.outputs), len(result.samples))
    assert compare_rows(path, row, result.outputs, result.samples) is None
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_may_be_null_is_what_the_schema_lets_be_null(tmp_path: Path) -> None:
    prepare(tmp_path / "s.sqlite")
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection:
        for table, columns in COLUMNS.items():
            free = {name for _, name, _, is_not_null, *_ in connection.execute(f"PRAGMA table_info({table})")
                    if not is_not_null and name in columns}  # fmt: skip
            assert free == NULLABLE.get(table, frozenset()), table


def test_events_of_the_account_and_errors_are_kept(tmp_path: Path) -> None:
    risk = np.zeros((2, layout.OUTPUT_WORDS), dtype=np.int64)
    risk[:, :3] = 9, 8, layout.RISK_OUTPUT | 4 << 16
    risk[1, 2] = layout.RISK_OUTPUT | 1 << 16 | layout.ACCOUNT_WIDE << 32
    error = StoredError(0, 0, 7, 8, "StrategyError", "on_bar raised", "ladder")
    run = msgspec.structs.replace(finished(), outputs=risk, status="failed", errors=(error,))
    stored = store_whole(tmp_path / "s.sqlite", run)
    with StoreReader(tmp_path / "s.sqlite") as reader:
        assert [each.strategy_id for each in reader.risks(stored.run_id)] == [bar_result().strategies[0], None]
        assert reader.errors(stored.run_id) == [msgspec.structs.replace(error, run_id=stored.run_id)]
        assert reader.run("a run").status == "failed"


@pytest.mark.parametrize("every", [2, 7, 10_000])
def test_of_every_so_many_samples_one_is_stored_and_the_last(tmp_path: Path, every: int) -> None:
    path, result = tmp_path / "s.sqlite", bar_result()
    stored = store_whole(path, finished(every=every))
    last = len(result.samples) - 1
    chosen = sorted({*range(0, last + 1, every), last})
    expected = [(stored.run_id, n, *result.samples[n].tolist()) for n in chosen]
    assert table_rows(path, "equity_curve") == expected
    with StoreReader(path) as reader:
        row = reader.run("a run")
    assert compare_rows(path, row, result.outputs, result.samples) is None


def test_an_older_store_is_brought_to_the_newest_schema_and_copied_before(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    prepare(path, migrations()[:1])
    store_whole(path, finished())
    assert names(path) == ["a run"]
    assert (tmp_path / "s.sqlite.schema-1").exists()


def test_it_waits_for_another_writer_and_says_so_where_that_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sqlite"
    prepare(path)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(adapters.store.whole, "WAIT_SECONDS", 0.2)
        with pytest.raises(StoreLockedError, match="is being written to by another process"):
            store_whole(path, finished())
        monkeypatch.undo()
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        store_whole(path, finished())
        timer.join()
    assert names(path) == ["a run"]


CHILD = """
import sys
from pathlib import Path
import adapters.store.whole as whole
from tests.integration.test_store_whole import finished
path, name, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if pause:
    import time
    insert = whole._insert
    def slow(*given):
        insert(*given)
        print("inserting", flush=True)
        time.sleep(pause)
    whole._insert = slow
whole.store_whole(path, finished("tape", name))
print("stored", flush=True)
"""


def child(path: Path, name: str, pause: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), name, str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_runs_that_end_at_once_are_all_stored(tmp_path: Path) -> None:
    """Three processes, on a file that none of them has found there."""
    path = tmp_path / "s.sqlite"
    children = [child(path, f"run {number}") for number in range(3)]
    for each in children:
        assert each.communicate()[0] == "stored\n"
        assert each.returncode == 0
    assert sorted(names(path)) == ["run 0", "run 1", "run 2"]
    counts = {name: len(RESULTS["tape"]().samples) for name in names(path)}
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT name, count(*) FROM equity_curve JOIN strategy_runs USING (run_id) GROUP BY name"
        assert dict(connection.execute(sql)) == counts


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_kill_on_the_way_leaves_nothing(tmp_path: Path, after: int) -> None:
    path = tmp_path / "s.sqlite"
    kept = store_whole(path, finished("tape", "kept"))
    process = child(path, "killed", 0.05)
    assert process.stdout is not None
    for _ in range(after):
        assert process.stdout.readline() == "inserting\n"
    time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    prepare(path)  # it is whole
    assert names(path) == ["kept"]
    assert_holds(path, tape_result(), kept.run_id)
    store_whole(path, finished("tape", "killed"))
    assert names(path) == ["kept", "killed"]


def test_the_piece_that_ends_with_a_book_is_among_those_that_are_tried() -> None:
    """Else the test of pieces would not show that a book goes with its fill."""
    kinds = kinds_of(tape_result().outputs)
    assert any(kinds[place - 1] == layout.BOOK_OUTPUT for place in range(7, len(kinds), 7))
