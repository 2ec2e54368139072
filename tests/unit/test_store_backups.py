"""A copy of the store a day: whole, of the day's first start, the newest few kept, other files left alone."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest

from adapters.store import backups_of, daily_backup, prepare
from adapters.store.schema import connect
from engine.errors import UsageError

DAY = date(2024, 8, 8)
RUN = (
    "INSERT INTO strategy_runs (name, mode, status, strategy_id, params, start_ns, cash_decimals, initial_cash, config)"
)


def begun(path: Path, name: str) -> None:
    """Write a run into the store, and leave it in the write-ahead log."""
    with contextlib.closing(connect(path)) as connection:
        connection.execute(f"{RUN} VALUES (?, 'paper', 'running', '', '{{}}', 1, 2, 3, '{{}}')", (name,))


def names(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT name FROM strategy_runs ORDER BY run_id")]


def test_one_copy_a_day_of_what_the_store_held_then(tmp_path: Path) -> None:
    path, folder = tmp_path / "strategy.sqlite", tmp_path / "deep" / "backups"
    prepare(path)
    with contextlib.closing(sqlite3.connect(path)) as reader:  # who keeps the write-ahead log in use
        reader.execute("SELECT 1 FROM strategy_runs").fetchall()
        begun(path, "first")
        assert daily_backup(path, folder, day=DAY) == folder / "strategy-20240808.sqlite"
        begun(path, "second")
        assert daily_backup(path, folder, day=DAY) is None
        assert daily_backup(path, folder, day=DAY + timedelta(1)) == folder / "strategy-20240809.sqlite"
    assert names(folder / "strategy-20240808.sqlite") == ["first"]
    assert names(folder / "strategy-20240809.sqlite") == names(path) == ["first", "second"]
    assert prepare(folder / "strategy-20240808.sqlite").version_found > 0


def test_the_newest_are_kept_and_other_files_too(tmp_path: Path) -> None:
    path, folder = tmp_path / "strategy.sqlite", tmp_path / "backups"
    prepare(path)
    folder.mkdir()
    others = {"strategy.sqlite", "strategy-2024080.sqlite", "other-20200101.sqlite", "strategy-20200101.txt"}
    for name in others:
        (folder / name).write_text("mine")
    for number in (0, 2, 1, 5, 9):
        daily_backup(path, folder, 3, day=DAY + timedelta(number))
    kept = ["strategy-20240810.sqlite", "strategy-20240813.sqlite", "strategy-20240817.sqlite"]
    assert [each.name for each in backups_of(path, folder)] == kept
    assert {each.name for each in folder.iterdir()} == others | set(kept)


def test_today_is_the_day_where_none_is_given(tmp_path: Path) -> None:
    path = tmp_path / "strategy.sqlite"
    prepare(path)
    made = daily_backup(path, tmp_path / "backups", 1)
    assert made is not None
    assert backups_of(path, tmp_path / "backups") == [made]


def test_no_store_no_copy(tmp_path: Path) -> None:
    assert daily_backup(tmp_path / "none.sqlite", tmp_path / "backups", 3, day=DAY) is None
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_cannot_be_made_is_told_and_older_ones_stay(tmp_path: Path) -> None:
    path, folder = tmp_path / "strategy.sqlite", tmp_path / "backups"
    prepare(path)
    first = daily_backup(path, folder, 1, day=DAY)
    assert first is not None
    (folder / ".strategy-20240809.sqlite.partial").mkdir()  # where the copy would be written
    with pytest.raises(UsageError, match="cannot be opened or written"):
        daily_backup(path, folder, 1, day=DAY + timedelta(1))
    assert backups_of(path, folder) == [first]
