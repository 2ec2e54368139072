"""Runs taken out of the store: all rows of a run in one transaction, a run at a time, so that others write between."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from adapters.store.schema import connect, sqlite_trouble
from adapters.store.whole import WAIT_SECONDS
from engine.errors import UsageError

_TABLES = """SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' AND c.name = 'run_id' ORDER BY m.name = 'strategy_runs', m.name"""
_PRAGMAS = ("PRAGMA foreign_keys = OFF", "PRAGMA secure_delete = OFF")
"""All rows of a run go, from every table that has a run's id, so that no reference can be left; looking for some row by
row would take four times as long. What is deleted need not be overwritten."""


class DeletedRun(msgspec.Struct, frozen=True):
    """A run that is gone: its rows, and how many bytes of the file are free again for the next ones."""

    run_id: int
    rows: int
    bytes_freed: int


def delete_runs(path: Path, run_ids: Sequence[int], *, also_running: bool = False) -> Iterator[DeletedRun]:
    """Delete runs one after the other; each is gone for good when it is yielded. Ids without a run are passed over.

    Raises UsageError at a run that is `running`, unless `also_running`; StoreLockedError where another writer does not
    let go. The file does not shrink: its free pages are used again.
    """
    with sqlite_trouble(path), contextlib.closing(connect(path, wait_seconds=WAIT_SECONDS)) as connection:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        page_bytes = _number(connection, "PRAGMA page_size")
        tables = [name for (name,) in connection.execute(_TABLES)]
        for run_id in run_ids:
            connection.execute("BEGIN IMMEDIATE")
            try:
                free = _number(connection, "PRAGMA freelist_count")
                rows = _delete(connection, tables, run_id, also_running=also_running)
                freed = _number(connection, "PRAGMA freelist_count") - free
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("ROLLBACK")
                raise
            yield DeletedRun(run_id, rows, freed * page_bytes)


def refuse_running(name: str) -> UsageError:
    """The error for a run that goes on."""
    return UsageError(
        f"{name} is running",
        remedy=f"Stop it first: tapewright ctl --session {name} shutdown. Where its process is gone: --force",
    )


def _delete(connection: sqlite3.Connection, tables: Sequence[str], run_id: int, *, also_running: bool) -> int:
    found = connection.execute("SELECT name, status FROM strategy_runs WHERE run_id = ?", (run_id,)).fetchone()
    if found is None:
        return 0
    if found[1] == "running" and not also_running:
        raise refuse_running(found[0])
    return sum(
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,)).rowcount  # noqa: S608 - our own names
        for table in tables
    )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(pragma).fetchone()[0])
