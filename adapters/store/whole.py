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
import numpy as np

from adapters.store import statements, values
from adapters.store.progress import Progress, next_rows
from adapters.store.rows import COLUMNS, NULLABLE, Column, TableRows
from adapters.store.runs import Batch, FinishedRun, Position, RunEnd, StoredRun
from adapters.store.schema import connect, prepare, sqlite_trouble
from engine.errors import DataError

WAIT_SECONDS = 30.0
"""How long it waits for those who write before it: several runs may end at once, each of which takes a second."""
ROWS_A_STATEMENT_MAX = 512
PIECE_ROWS = 65_536
"""Outputs that are rows in memory at a time."""
_CACHE = "PRAGMA cache_size = -65536"  # pages go to the disk once, at the end


def store_whole(path: Path, run: FinishedRun) -> StoredRun:
    """Store a run, in a file that is made, or brought to the newest schema, where it is not.

    Of the samples every `sample_every`th gets a row, and the last. Raises DataError where the store holds a run of that
    name, else as `prepare` does; StoreLockedError after `WAIT_SECONDS`. Killed on the way it leaves nothing.
    """
    prepare(path, is_checked=False)
    with sqlite_trouble(path), contextlib.closing(connect(path, wait_seconds=WAIT_SECONDS)) as connection:
        connection.execute(_CACHE)
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
    progress = Progress(Position(0, 0))
    for piece in _pieces(run_id, run):
        progress, tables = next_rows(progress, piece)
        for table in tables:
            _insert(connection, run_id, table)
    _insert_samples(connection, run_id, run)
    for error in run.errors:
        row = msgspec.structs.astuple(msgspec.structs.replace(error, run_id=run_id))
        connection.execute(statements.INSERT_ERROR, row)
    position = Position(progress.position.outputs, len(run.samples))
    connection.execute(statements.UPDATE_POSITION, (position.outputs, position.samples, run_id))
    end = RunEnd(run_id, run.status, max(run.end_ns, run.start.start_ns), run.hash)
    connection.execute(statements.UPDATE_END, values.of_end(end))
    return StoredRun(run_id, position, len(run.errors))


def _pieces(run_id: int, run: FinishedRun) -> Iterator[Batch]:
    """The outputs, some at a time."""
    for first in range(0, len(run.outputs), PIECE_ROWS):
        yield Batch(run_id, first, run.outputs[first : first + PIECE_ROWS], 0, run.samples[:0])


def _insert_samples(connection: sqlite3.Connection, run_id: int, run: FinishedRun) -> None:
    """Put in every `sample_every`th sample, and the last: what the account came to is there at any distance of samples.

    They are most of a run's rows, and all numbers: from the array to the statement without a column of Python's own.
    """
    count = len(run.samples)
    chosen = np.arange(0, count, run.start.sample_every)
    if count and chosen[-1] != count - 1:
        chosen = np.append(chosen, count - 1)
    table = np.column_stack((chosen, run.samples[chosen]))
    names = dict.fromkeys(COLUMNS["equity_curve"][1:], False)
    whole = len(table) // ROWS_A_STATEMENT_MAX * ROWS_A_STATEMENT_MAX
    for first, stop, size in ((0, whole, ROWS_A_STATEMENT_MAX), (whole, len(table), len(table) - whole)):
        if first < stop:
            rows = ([run_id, *table[place : place + size].ravel().tolist()] for place in range(first, stop, size))
            connection.executemany(statements.insert_many("equity_curve", names, size), rows)


def _insert(connection: sqlite3.Connection, run_id: int, table: TableRows) -> None:
    """Put rows in, many a statement; columns that hold nothing but None are left to be NULL."""
    columns: list[Column] = []
    names: dict[str, bool] = {}
    for name, column in zip(COLUMNS[table.table][1:], table.columns[1:], strict=True):
        missing = column.count(None) if name in NULLABLE.get(table.table, ()) else 0
        if missing < len(column):
            names[name] = missing > 0
            columns.append(["" if value is None else value for value in column] if missing else column)
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) - 1
    size = max(1, min(ROWS_A_STATEMENT_MAX, most // len(columns)))
    whole = len(table) // size * size
    if whole:
        sql = statements.insert_many(table.table, names, size)
        connection.executemany(sql, (_flat(run_id, columns, first, first + size) for first in range(0, whole, size)))
    if whole < len(table):
        sql = statements.insert_many(table.table, names, len(table) - whole)
        connection.execute(sql, _flat(run_id, columns, whole, len(table)))


def _flat(run_id: int, columns: list[Column], start: int, stop: int) -> list[Any]:
    """Values for `insert_many`: the run's id, then row after row."""
    found: list[Any] = [run_id] * (1 + len(columns) * (stop - start))
    for place, column in enumerate(columns):
        found[1 + place :: len(columns)] = column[start:stop]
    return found
