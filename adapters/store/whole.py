"""A run that is over, stored whole in one transaction: all of it is there afterwards, or nothing.

Plain sqlite3 on one connection, many rows a statement. Another writer of the file, a session or another run's end, is
waited for, and waits meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from adapters.store import statements, values
from adapters.store.progress import Progress, next_rows
from adapters.store.rows import TableRows, sample_rows
from adapters.store.runs import Batch, FinishedRun, Position, RunEnd, StoredRun
from adapters.store.schema import connect, prepare, sqlite_trouble
from engine.errors import DataError

WAIT_SECONDS = 30.0
"""How long it waits for those who write before it: several runs may end at once, each of which takes a second."""
ROWS_A_STATEMENT_MAX = 512
PIECE_ROWS = 65_536
"""Outputs and samples that are rows in memory at a time."""


def store_whole(path: Path, run: FinishedRun) -> StoredRun:
    """Store a run, in a file that is made, or brought to the newest schema, where it is not.

    Of the samples every `sample_every`th gets a row, and the last. Raises DataError where the store holds a run of that
    name, else as `prepare` does; StoreLockedError after `WAIT_SECONDS`. Killed on the way it leaves nothing.
    """
    prepare(path, is_checked=False)
    with sqlite_trouble(path), contextlib.closing(connect(path, wait_seconds=WAIT_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            stored = _store(connection, path, run)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.OperationalError):  # there may be none; closing undoes one, too
                connection.execute("ROLLBACK")
            raise
    return stored


def refuse_taken(connection: sqlite3.Connection, path: Path, name: str) -> None:
    """Raise DataError where the store holds a run of this name."""
    if connection.execute(statements.SELECT_RUN, (name,)).fetchone() is not None:
        raise DataError(
            f"{path} holds a run {name} already",
            remedy=f"Delete that one (tapewright runs delete {name}), or name another file for the store.",
        )


def _store(connection: sqlite3.Connection, path: Path, run: FinishedRun) -> StoredRun:
    refuse_taken(connection, path, run.start.name)
    run_id = connection.execute(statements.INSERT_RUN, values.of_run(run.start)).lastrowid
    assert run_id is not None, "a row was inserted"
    connection.executemany(statements.INSERT_STRATEGY, values.of_strategies(run_id, run.start))
    connection.executemany(statements.INSERT_INSTRUMENT, values.of_instruments(run_id, run.start))
    progress = Progress(Position(0, 0), sample_every=run.start.sample_every)
    for piece in _pieces(run_id, run):
        progress, tables = next_rows(progress, piece)
        for table in tables:
            _insert(connection, run_id, table)
    last = len(run.samples) - 1
    if last >= 0 and last % run.start.sample_every:  # what the account came to is there at any distance of samples
        _insert(connection, run_id, sample_rows(run_id, last, run.samples[last:]))
    for error in run.errors:
        row = msgspec.structs.astuple(msgspec.structs.replace(error, run_id=run_id))
        connection.execute(statements.INSERT_ERROR, row)
    position = progress.position
    connection.execute(statements.UPDATE_POSITION, (position.outputs, position.samples, run_id))
    end = RunEnd(run_id, run.status, max(run.end_ns, run.start.start_ns), run.hash)
    connection.execute(statements.UPDATE_END, values.of_end(end))
    return StoredRun(run_id, position, len(run.errors))


def _pieces(run_id: int, run: FinishedRun) -> Iterator[Batch]:
    """Outputs and samples side by side."""
    for first in range(0, max(len(run.outputs), len(run.samples)), PIECE_ROWS):
        output, sample = min(first, len(run.outputs)), min(first, len(run.samples))
        piece = slice(first, first + PIECE_ROWS)
        yield Batch(run_id, output, run.outputs[piece], sample, run.samples[piece])


def _insert(connection: sqlite3.Connection, run_id: int, table: TableRows) -> None:
    width = len(table.columns) - 1
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) - 1
    size = max(1, min(ROWS_A_STATEMENT_MAX, most // width))
    whole = len(table) // size * size
    if whole:
        sql = statements.insert_many(table.table, size)
        connection.executemany(sql, (_flat(run_id, table, first, first + size) for first in range(0, whole, size)))
    if whole < len(table):
        sql = statements.insert_many(table.table, len(table) - whole)
        connection.execute(sql, _flat(run_id, table, whole, len(table)))


def _flat(run_id: int, table: TableRows, start: int, stop: int) -> list[Any]:
    """Values for `insert_many`: the run's id, then row after row."""
    columns = table.columns[1:]
    width = len(columns)
    found: list[Any] = [run_id] * (1 + width * (stop - start))
    for place, column in enumerate(columns):
        found[1 + place :: width] = column[start:stop]
    return found
