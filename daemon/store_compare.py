"""A stored run against what it should be, row for row: against a replay's outputs, or against another stored run.

Both sides give the rows of a table in the order of its outputs, one at a time, so a run of any length takes the same
memory. The first difference is the one of the earliest output; of the equity curve only where all events are equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.store import RunRow, StoreReader
from adapters.store.rows import COLUMNS, EVENT_TABLES, is_book_last, output_rows, sample_rows
from engine.errors import DataError

Row = tuple[Any, ...]
CURVE = "equity_curve"
_CHUNK = 8_192
WHOLE = frozenset({"finished", "stopped"})
"""How a run has ended whose rows are all stored."""
_FACTS = ("cash_decimals", "initial_cash")  # what gives the integers of two runs the same meaning


class RowDifference(msgspec.Struct, frozen=True):
    """The first thing that two runs do not share; `first` is of the stored run (of the first of two).

    `n` is the row's number in its run, `seq` that of the record which caused it, where known. A value is None where it
    is NULL; `column` "row" says that one side has no such row at all.
    """

    table: str
    n: int
    seq: int | None
    column: str
    first: int | str | None
    second: int | str | None

    def line(self, names: tuple[str, str] = ("stored", "replayed")) -> str:
        """It in a line, for people."""
        where = f"{self.table} {self.n:,}" + ("" if self.seq is None else f" (seq {self.seq:,})")
        values = ", ".join(
            f"{name} {'nothing' if value is None else value}"
            for name, value in zip(names, (self.first, self.second), strict=True)
        )
        return f"{where}, {self.column}: {values}"


class Extent(msgspec.Struct, frozen=True):
    """How much of two runs is compared: outputs and samples from their start; of samples every so many."""

    outputs: int
    samples: int
    sample_every: int


class _Side(Protocol):
    """Rows of one side, without their run's id."""

    def rows(self, table: str, extent: Extent) -> Iterator[Row]:
        """The rows of a table by their number."""

    def row(self, table: str, n: int, extent: Extent) -> Row | None:
        """The row of a number."""


def compare_rows(
    store: Path, run: RunRow, outputs: NDArray[np.int64], samples: NDArray[np.int64], *, sample_every: int | None = None
) -> RowDifference | None:  # fmt: skip
    """The first row of a stored run that is not what these outputs (n, 16) and samples (m, 4) give; None: all are.

    A run that was cut off is stored up to a position, and compared up to there: `prefix_note` says so. A finished run
    must be stored whole. `run` is what the store said of it before the outputs were made: whatever a session that goes
    on has stored since is compared as far as they reach. `sample_every` is the run's own where it is not given.
    """
    before = run
    with StoreReader(store) as reader, reader.at_one_moment():
        run = reader.run(run.name)  # as it stands now, as its rows do
        extent = Extent(
            min(run.outputs_stored, len(outputs)),
            min(run.samples_stored, len(samples)),
            sample_every or run.sample_every,
        )
        found = _first_difference(_Stored(reader, run), _Made(outputs, samples), extent)
    if found is not None:
        return found
    kinds = (("outputs", before.outputs_stored, outputs), ("samples", before.samples_stored, samples))
    for name, stored, made in kinds:
        if stored > len(made) or (before.status in WHOLE and stored < len(made)):
            return RowDifference("strategy_runs", run.run_id, None, f"{name}_stored", stored, len(made))
    return None


def prefix_note(run: RunRow, outputs: NDArray[np.int64], samples: NDArray[np.int64]) -> str:
    """Says that a run is stored only up to some output and sample, where it is; else empty."""
    if run.outputs_stored >= len(outputs) and run.samples_stored >= len(samples):
        return ""
    return (
        f"{run.name} was cut off while it was {run.status}: {run.outputs_stored:,} of {len(outputs):,} outputs and"
        f" {run.samples_stored:,} of {len(samples):,} samples are stored, and compared"
    )


def compare_runs(store: Path, first: RunRow, second: RunRow) -> RowDifference | None:
    """The first row that two stored runs do not share, their ids and names aside; None: they share all.

    Where one of them was cut off, both are compared up to there; samples where both have them. Raises DataError where
    the runs are of other instruments, strategies or cash units, so that there is nothing to compare.
    """
    with StoreReader(store) as reader, reader.at_one_moment():
        first, second = reader.run(first.name), reader.run(second.name)  # as they stand now
        _refuse_others(store, reader, first, second)
        extent = Extent(
            min(first.outputs_stored, second.outputs_stored),
            min(first.samples_stored, second.samples_stored),
            math.lcm(first.sample_every, second.sample_every),
        )
        found = _first_difference(_Stored(reader, first), _Stored(reader, second), extent)
    if found is not None or not {first.status, second.status} <= WHOLE:
        return found
    for name in ("outputs_stored", "samples_stored"):
        stored = getattr(first, name), getattr(second, name)
        if stored[0] != stored[1]:
            return RowDifference("strategy_runs", first.run_id, None, name, *stored)
    return None


def _refuse_others(store: Path, reader: StoreReader, first: RunRow, second: RunRow) -> None:
    unlike = [name for name in _FACTS if getattr(first, name) != getattr(second, name)]
    ids = [[each.strategy_id for each in reader.strategies(run.run_id)] for run in (first, second)]
    instruments = [reader.instruments(run.run_id) for run in (first, second)]
    unlike += ["strategies"] if ids[0] != ids[1] else []
    unlike += ["instruments"] if instruments[0] != instruments[1] else []
    if unlike:
        raise DataError(
            f"{store}: {first.name} and {second.name} have different {', '.join(unlike)}",
            remedy="Compare a run with a replay of its own tape and config.",
        )


class _Stored:
    """A run's rows in the store: within an extent, or all there are where it is the run's own."""

    def __init__(self, reader: StoreReader, run: RunRow) -> None:
        self._reader = reader
        self._run = run

    def rows(self, table: str, extent: Extent) -> Iterator[Row]:
        # The seq of outputs never falls, so this is the order of n, along the primary key.
        return self._asked(table, extent, "", (), " ORDER BY " + ("n" if table == CURVE else "seq, n"))

    def row(self, table: str, n: int, extent: Extent) -> Row | None:
        return next(self._asked(table, extent, " AND n = ?", (n,), ""), None)

    def _asked(self, table: str, extent: Extent, more: str, values: Sequence[int], tail: str) -> Iterator[Row]:
        run, bounds = self._run, list(values)
        if table == CURVE:
            count, stored = extent.samples, run.samples_stored
            if extent.sample_every != run.sample_every:
                more, bounds = f"{more} AND n % ? = 0", [*bounds, extent.sample_every]
            elif run.sample_every > 1:  # a run that was stored whole has its last sample, too
                more, bounds = f"{more} AND (n % ? = 0 OR n <> ?)", [*bounds, run.sample_every, stored - 1]
        else:
            count, stored = extent.outputs, run.outputs_stored
        if count < stored:
            more, bounds = f"{more} AND n < ?", [*bounds, count]
        columns = ", ".join(COLUMNS[table][1:])
        sql = f"SELECT {columns} FROM {table} WHERE run_id = ?{more}{tail}"  # noqa: S608 - names of our own schema
        return self._reader.stream(sql, (run.run_id, *bounds))


class _Made:
    """The rows that outputs and samples give."""

    def __init__(self, outputs: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
        self._outputs = outputs
        self._samples = samples

    def rows(self, table: str, extent: Extent) -> Iterator[Row]:
        if table == CURVE:
            for start in range(0, extent.samples, _CHUNK):
                piece = self._samples[start : min(extent.samples, start + _CHUNK)]
                yield from (row[1:] for row in sample_rows(0, start, piece, extent.sample_every).rows())
            return
        start = 0
        while start < extent.outputs:
            stop = min(extent.outputs, start + _CHUNK)
            if stop < extent.outputs and is_book_last(self._outputs[start:stop]):
                stop -= 1  # it goes with its fill
            yield from self._of(table, start, stop)
            start = stop

    def row(self, table: str, n: int, extent: Extent) -> Row | None:
        if table == CURVE:
            is_there = n < extent.samples and n % extent.sample_every == 0
            made = sample_rows(0, n, self._samples[n : n + 1]).rows() if is_there else iter(())
            return next((row[1:] for row in made), None)
        if n >= extent.outputs:
            return None
        return next((row for row in self._of(table, max(0, n - 1), n + 1) if row[_place(table, "n")] == n), None)

    def _of(self, table: str, start: int, stop: int) -> Iterator[Row]:
        for made in output_rows(0, start, self._outputs[start:stop], tables=(table,)):
            yield from (row[1:] for row in made.rows())


def _first_difference(first: _Side, second: _Side, extent: Extent) -> RowDifference | None:
    found = [_of_table(table, first, second, extent) for table in EVENT_TABLES]
    earliest = min((each for each in found if each is not None), key=lambda each: each.n, default=None)
    return earliest or _of_table(CURVE, first, second, extent)


def _of_table(table: str, first: _Side, second: _Side, extent: Extent) -> RowDifference | None:
    for one, other in zip_longest(first.rows(table, extent), second.rows(table, extent)):
        if one != other:
            return _of_numbers(table, [row for row in (one, other) if row is not None], first, second, extent)
    return None


def _of_numbers(table: str, unlike: Sequence[Row], first: _Side, second: _Side, extent: Extent) -> RowDifference:
    """The difference at the rows where two sides stop agreeing: a row whose seq is wrong stands out of its order."""
    place = _place(table, "n")
    for n in sorted({row[place] for row in unlike}):
        pair = first.row(table, n, extent), second.row(table, n, extent)
        if pair[0] != pair[1]:
            return _of_rows(table, n, *pair)
    row = unlike[0]  # both have it, and one of them twice
    return RowDifference(table, row[place], row[_place(table, "seq")], "row", "a second row", None)


def _of_rows(table: str, n: int, first: Row | None, second: Row | None) -> RowDifference:
    known = first if first is not None else second
    assert known is not None
    columns = COLUMNS[table][1:]
    seq = known[_place(table, "seq")] if "seq" in columns else None
    if first is None or second is None:
        return RowDifference(table, n, seq, "row", *(None if row is None else "a row" for row in (first, second)))
    column = next(place for place, value in enumerate(first) if value != second[place])
    return RowDifference(table, n, seq, columns[column], first[column], second[column])


def _place(table: str, column: str) -> int:
    return COLUMNS[table].index(column) - 1
