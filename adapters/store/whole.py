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
from numpy.typing import NDArray

from adapters.store import statements, values
from adapters.store.progress import Progress, next_rows
from adapters.store.rows import COLUMNS, NULLABLE, Column, TableRows
from adapters.store.runs import Batch, FinishedRun, Position, RunEnd, RunStart, StoredRun, renamed
from adapters.store.schema import connect, prepare, sqlite_trouble
from engine.errors import DataError

WAIT_SECONDS = 30.0
"""How long it waits for those who write before it: several runs may end at once, each of which takes a second."""
ROWS_A_STATEMENT_MAX = 512
PIECE_ROWS = 65_536
"""Outputs that are rows in memory at a time."""
_UNNAMED = "(on its way)"
_CACHE = "PRAGMA cache_size = -65536"  # pages go to the disk once, at the end


def store_whole(path: Path, run: FinishedRun) -> StoredRun:
    """Store a run, in a file that is made, or brought to the newest schema, where it is not.

    Of the samples every `sample_every`th gets a row, and the last. Raises DataError where the store holds a run of that
    name, else as `prepare` does; StoreLockedError after `WAIT_SECONDS`. Killed on the way it leaves nothing.
    """
    with one_transaction(path, WAIT_SECONDS) as connection:
        return WholeRun(connection, path, run.start).finish(run)


@contextlib.contextmanager
def one_transaction(path: Path, wait_seconds: float) -> Iterator[sqlite3.Connection]:
    """The file made ready, and a connection that alone may write to it; what is raised inside undoes all of it."""
    prepare(path, is_checked=False)
    with sqlite_trouble(path), contextlib.closing(connect(path, wait_seconds=wait_seconds)) as connection:
        connection.execute(_CACHE)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.OperationalError):  # there may be none; closing undoes one, too
                connection.execute("ROLLBACK")
            raise


class WholeRun:
    """A run within the one transaction that stores it: its samples as they come, all the rest at its end."""

    def __init__(self, connection: sqlite3.Connection, path: Path, start: RunStart) -> None:
        """`start`: its name may not be known yet; what is not committed nobody sees."""
        self._connection = connection
        self._path = path
        self._every = start.sample_every
        self._samples = 0
        run_id = connection.execute(statements.INSERT_RUN, values.of_run(renamed(start, _UNNAMED))).lastrowid
        assert run_id is not None, "a row was inserted"
        self._run_id = run_id
        connection.executemany(statements.INSERT_STRATEGY, values.of_strategies(run_id, start))
        connection.executemany(statements.INSERT_INSTRUMENT, values.of_instruments(run_id, start))

    def add_samples(self, samples: NDArray[np.int64]) -> None:
        """Put in those of the next samples (n, 4) that are to be stored.

        They are most of a run's rows, and all numbers: from the array to the statement without a column of Python's.
        """
        first, self._samples = self._samples, self._samples + len(samples)
        self._insert_samples(np.arange(first + -first % self._every, self._samples, self._every), samples, first)

    def finish(self, run: FinishedRun) -> StoredRun:
        """Store what is not there yet of a run that is over, its name with it; raises DataError where that is taken."""
        refuse_taken(self._connection, self._path, run.start.name)
        self.add_samples(run.samples[self._samples :])
        last = self._samples - 1
        if last >= 0 and last % self._every:  # what the account came to is there at any distance of samples
            self._insert_samples(np.array([last]), run.samples, 0)
        progress = Progress(Position(0, 0))
        for piece in _pieces(self._run_id, run):
            progress, tables = next_rows(progress, piece)
            for table in tables:
                _insert(self._connection, self._run_id, table)
        for error in run.errors:
            row = msgspec.structs.astuple(msgspec.structs.replace(error, run_id=self._run_id))
            self._connection.execute(statements.INSERT_ERROR, row)
        return self._end(run, Position(progress.position.outputs, self._samples))

    def _end(self, run: FinishedRun, position: Position) -> StoredRun:
        self._connection.execute(statements.UPDATE_NAME, (run.start.name, self._run_id))
        self._connection.execute(statements.UPDATE_POSITION, (position.outputs, position.samples, self._run_id))
        end = RunEnd(self._run_id, run.status, max(run.end_ns, run.start.start_ns), run.hash)
        self._connection.execute(statements.UPDATE_END, values.of_end(end))
        return StoredRun(self._run_id, position, len(run.errors))

    def _insert_samples(self, numbers: NDArray[np.int64], samples: NDArray[np.int64], first: int) -> None:
        """Put in samples by their numbers since the run's start; `samples` begins with the `first`."""
        table = np.column_stack((numbers, samples[numbers - first]))
        names = dict.fromkeys(COLUMNS["equity_curve"][1:], False)
        whole = len(table) // ROWS_A_STATEMENT_MAX * ROWS_A_STATEMENT_MAX
        for begin, stop, size in ((0, whole, ROWS_A_STATEMENT_MAX), (whole, len(table), len(table) - whole)):
            if begin < stop:
                rows = (
                    [self._run_id, *table[place : place + size].ravel().tolist()] for place in range(begin, stop, size)
                )
                self._connection.executemany(statements.insert_many("equity_curve", names, size), rows)


def refuse_taken(connection: sqlite3.Connection, path: Path, name: str) -> None:
    """Raise DataError where the store holds a run of this name."""
    if connection.execute(statements.SELECT_RUN, (name,)).fetchone() is not None:
        raise DataError(
            f"{path} holds a run {name} already",
            remedy=f"Delete that one (tapewright runs delete {name}), or name another file for the store.",
        )


def _pieces(run_id: int, run: FinishedRun) -> Iterator[Batch]:
    """The outputs, some at a time."""
    for first in range(0, len(run.outputs), PIECE_ROWS):
        yield Batch(run_id, first, run.outputs[first : first + PIECE_ROWS], 0, run.samples[:0])


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
