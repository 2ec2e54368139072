"""A run stored by a process of its own while it is made: the same rows, or none, whoever ends on the way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

import adapters.store.whole
from adapters.store import FinishedRun, StoreLockedError, StoreReader, prepare, store_whole
from adapters.store.process import ProcessEndedError, StoringProcess
from adapters.store.runs import renamed
from engine.errors import DataError, UsageError
from tests.integration.test_store_whole import finished, names
from tests.stores import RESULTS, assert_holds, run_rows

ROOT = Path(__file__).parents[2]
_SECONDS_MAX = 30.0


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[FinishedRun], StoringProcess]]:
    """Makes a process for a run; whatever is still there at the end of the test is ended."""
    made: list[StoringProcess] = []

    def make(run: FinishedRun) -> StoringProcess:
        made.append(StoringProcess(tmp_path / "s.sqlite", renamed(run.start, "")))
        return made[-1]

    yield make
    for each in made:
        each.abandon()


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Wait for it; fail where it does not come."""
    until = time.monotonic() + _SECONDS_MAX
    while not is_so():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def has_ended(process_id: int) -> bool:
    """Whether a process is gone, or waits for nothing but that its end be noticed."""
    try:
        return ") Z " in Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return True


def is_locked(path: Path) -> bool:
    """Whether somebody is writing to the store."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize(("every", "seed"), [(1, 1), (1, 2), (7, 3), (10_000, 4)])
def test_it_stores_the_rows_that_are_stored_at_once(
    tmp_path: Path, process: Callable[[FinishedRun], StoringProcess], kind: str, every: int, seed: int
) -> None:
    """Samples come in pieces of any size; what was begun is forgotten here and there."""
    run, dice = finished(kind, every=every), Random(seed)
    other = tmp_path / "other.sqlite"
    stored = store_whole(other, run)
    storing = process(run)
    while storing.given < len(run.samples) * 0.8:
        storing.give(run.samples[storing.given : storing.given + dice.choice((1, 5, 40, 400))])
        if dice.random() < 0.1:
            storing.forget()
    storing.finish(run)
    found = storing.answer()
    assert found.run == stored
    assert found.seconds > 0
    assert run_rows(tmp_path / "s.sqlite", "a run") == run_rows(other, "a run")
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_run_of_which_nothing_was_given_before_its_end_is_stored(
    tmp_path: Path, process: Callable[[FinishedRun], StoringProcess]
) -> None:
    run = finished("tape")
    storing = process(run)
    storing.finish(run)
    assert_holds(tmp_path / "s.sqlite", RESULTS["tape"](), storing.answer().run.run_id)


def test_what_is_in_the_way_is_said_as_it_is_without_a_process(
    tmp_path: Path, process: Callable[[FinishedRun], StoringProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run = tmp_path / "s.sqlite", finished()

    def refused(expected: type[Exception]) -> None:
        with pytest.raises(expected) as plain:
            store_whole(path, run)
        storing = process(run)
        storing.give(run.samples[:10])
        storing.finish(run)
        with pytest.raises(expected) as found:
            storing.answer()
        assert str(found.value) == str(plain.value)

    store_whole(path, run)
    refused(DataError)  # the name is taken
    monkeypatch.setattr(adapters.store.whole, "WAIT_SECONDS", 0.2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused(StoreLockedError)
        other.execute("ROLLBACK")
    assert names(path) == ["a run"]
    path.unlink()
    path.mkdir()
    refused(UsageError)


def test_what_is_forgotten_lets_others_write(
    tmp_path: Path, process: Callable[[FinishedRun], StoringProcess]
) -> None:  # fmt: skip
    path, run = tmp_path / "s.sqlite", finished("tape", "second")
    prepare(path)
    storing = process(run)
    storing.give(run.samples[:50])
    eventually(lambda: is_locked(path), "samples open the store")
    with StoreReader(path) as reader:
        assert reader.runs() == []  # what is not complete nobody sees
    storing.forget()
    eventually(lambda: not is_locked(path), "what was begun is undone")
    store_whole(path, finished("tape", "first"))
    storing.finish(run)
    storing.answer()
    assert names(path) == ["first", "second"]
    assert run_rows(path, "first") == run_rows(path, "second")


def test_an_abandoned_run_leaves_nothing(tmp_path: Path, process: Callable[[FinishedRun], StoringProcess]) -> None:
    path, run = tmp_path / "s.sqlite", finished()
    prepare(path)
    storing = process(run)
    storing.give(run.samples[:50])
    eventually(lambda: is_locked(path), "samples open the store")
    storing.abandon()
    assert not is_locked(path)
    prepare(path)  # it is whole
    assert names(path) == []


def test_a_process_that_is_killed_answers_nothing_and_leaves_nothing(
    tmp_path: Path, process: Callable[[FinishedRun], StoringProcess]
) -> None:
    path, run = tmp_path / "s.sqlite", finished()
    prepare(path)
    storing = process(run)
    storing.give(run.samples[:50])
    eventually(lambda: is_locked(path), "samples open the store")
    os.kill(storing.process_id, signal.SIGKILL)
    eventually(lambda: not is_locked(path), "a killed process holds no lock")
    storing.give(run.samples[50:60])  # nobody is there to read it
    storing.finish(run)
    with pytest.raises(ProcessEndedError):
        storing.answer()
    prepare(path)
    assert names(path) == []


PARENT = """
import sys, time
from pathlib import Path
from adapters.store.process import StoringProcess
from tests.integration.test_store_whole import finished
run = finished()
storing = StoringProcess(Path(sys.argv[1]), run.start)
storing.give(run.samples[:50])
print(storing.process_id, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_where_the_run_is_killed_its_process_ends_and_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "s.sqlite"
    prepare(path)
    command = [sys.executable, "-c", PARENT, str(path)]
    parent = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    eventually(lambda: is_locked(path), "samples open the store")
    os.killpg(parent.pid, how) if how == signal.SIGINT else os.kill(parent.pid, how)  # a Ctrl-C reaches both
    parent.communicate()
    eventually(lambda: has_ended(child), "the process ends with the run")
    assert not is_locked(path)
    prepare(path)
    assert names(path) == []
