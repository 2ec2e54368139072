"""The store's file: made, migrated with a copy beside it, and refused in words where it is not ours or not whole."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import sqlite3
from pathlib import Path

import pytest

from adapters.store import Prepared, StoreLockedError, StoreReader, back_up, prepare
from adapters.store.rows import COLUMNS
from adapters.store.schema import Migration, connect, migrations
from engine.errors import EXIT_BAD_DATA, EXIT_LOCKED, DataError, InputMissingError, TapewrightError, UsageError

SECOND = Migration(
    2, "0002_notes.sql", "CREATE TABLE notes (\n  text TEXT NOT NULL\n) STRICT;\nCREATE INDEX i ON notes (text);\n"
)
TABLES = {
    "strategy_runs", "run_strategies", "run_instruments", "strategy_orders", "strategy_fills", "strategy_trades",
    "equity_curve", "positions", "funding_payments", "risk_events", "errors",
}  # fmt: skip


def asked(path: Path, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_a_new_file_has_every_table_strict_and_the_columns_that_are_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.sqlite"
    newest = len(migrations())
    assert prepare(path) == Prepared(0, newest, None)
    assert prepare(path) == Prepared(newest, newest, None)
    tables = asked(
        path, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"
    )
    assert set(tables) == {(table, 1) for table in TABLES}
    for table, columns in COLUMNS.items():
        there = {row[0] for row in asked(path, f"SELECT name FROM pragma_table_info('{table}')")}
        assert there == set(columns), table
    assert asked(path, "PRAGMA journal_mode") == [("wal",)]


def test_migrations_are_packaged() -> None:
    folder = importlib.resources.files("adapters.store") / "migrations"
    assert "CREATE TABLE strategy_runs" in (folder / "0001_first.sql").read_text(encoding="utf-8")
    assert migrations()[0].name == "0001_first.sql"


def test_the_writing_connection_syncs_every_commit_and_keeps_references(tmp_path: Path) -> None:
    prepare(tmp_path / "store.sqlite")
    with contextlib.closing(connect(tmp_path / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_an_older_schema_is_copied_and_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    prepare(path, migrations()[:1])
    run = "INSERT INTO strategy_runs VALUES (1, 'a', 'paper', 'running', '', '{}', 1, NULL, 2, 5, '{}', NULL, 0, 0)"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(run)
        connection.commit()
        done = prepare(path, (migrations()[0], SECOND))  # while another connection keeps the log open
    copy = tmp_path / "store.sqlite.schema-1"
    assert done == Prepared(1, 2, copy)
    assert asked(path, "SELECT name FROM strategy_runs") == asked(copy, "SELECT name FROM strategy_runs") == [("a",)]
    assert asked(path, "SELECT count(*) FROM notes") == [(0,)]
    assert asked(copy, "PRAGMA user_version") == [(1,)]
    assert not list(tmp_path.glob("*.partial"))


def test_a_migration_that_fails_leaves_the_schema_before_it(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    prepare(path, migrations()[:1])
    broken = Migration(2, "0002.sql", "CREATE TABLE notes (text TEXT) STRICT;\nCREATE TABLE errors (n INT);\n")
    with pytest.raises(UsageError, match="table errors already exists"):
        prepare(path, (migrations()[0], broken))
    assert asked(path, "PRAGMA user_version") == [(1,)]
    assert asked(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'notes'") == [(0,)]


def test_a_newer_schema_is_refused_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    prepare(path, (migrations()[0], SECOND, Migration(3, "0003.sql", "CREATE TABLE more (n INT) STRICT;\n")))
    for opened in (prepare, StoreReader):
        with pytest.raises(DataError, match="has schema 3") as caught:
            opened(path)
        assert "Install the version that wrote it" in caught.value.remedy
        assert str(path) in caught.value.message
        assert caught.value.exit_code == EXIT_BAD_DATA


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (n)")
    before = path.read_bytes()
    with pytest.raises(DataError, match="another program's database"):
        prepare(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_names_the_path_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"not a database at all\n" * 100)
    for opened in (prepare, StoreReader):
        with pytest.raises(DataError, match="file is not a database") as caught:
            opened(path)
        assert str(path) in caught.value.message
        assert "Move it away" in caught.value.remedy


def test_a_page_that_rots_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    prepare(path)
    pages = path.stat().st_size // 4096
    assert pages > 5
    found = 0
    whole = path.read_bytes()
    for page in range(1, pages):
        path.write_bytes(whole[: page * 4096] + b"\x5a" * 4096 + whole[(page + 1) * 4096 :])
        with pytest.raises(DataError, match="is not a whole SQLite database") as caught:
            prepare(path)
        assert str(path) in caught.value.message
        found += 1
    assert found == pages - 1


@pytest.mark.parametrize("place", ["a file/store.sqlite", "a folder"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").write_text("")
    (tmp_path / "a folder").mkdir()
    with pytest.raises(UsageError, match="cannot be opened or written") as caught:
        prepare(tmp_path / place)
    assert str(tmp_path / place) in caught.value.message
    assert "a folder you may write to" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be opened or written"):
        prepare(tmp_path / "store.sqlite")


def test_a_writer_of_another_process_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.store.schema.WAIT_SECONDS", 0.01)
    path = tmp_path / "store.sqlite"
    prepare(path, migrations()[:1])
    with contextlib.closing(connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError) as caught:
            prepare(path, (migrations()[0], SECOND))
    assert isinstance(caught.value, TapewrightError)
    assert caught.value.exit_code == EXIT_LOCKED


def test_a_copy_replaces_the_one_before_it(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.sqlite", tmp_path / "copy.sqlite"
    prepare(path)
    for _ in range(2):
        assert back_up(path, copy) == copy
    assert asked(copy, "PRAGMA quick_check") == [("ok",)]
    assert prepare(copy).version_found == len(migrations())


def test_a_store_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="is not there"):
        StoreReader(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    with pytest.raises(UsageError, match="is a folder, not a store"):
        StoreReader(tmp_path)
