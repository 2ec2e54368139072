"""What the writer is asked for, carried out inside the transaction that it has begun: runs, batches, ends, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import aiosqlite
import msgspec

from adapters.store import statements, values
from adapters.store.progress import Progress, next_rows
from adapters.store.rows import TableRows
from adapters.store.runs import Batch, Position, RunEnd, RunStart, StoredError, StoredRun
from engine.errors import DataError

Request = RunStart | Batch | RunEnd | StoredError


class Outcome(msgspec.Struct, frozen=True):
    """What a request is answered with, and how many rows of outputs, samples and errors it handed over."""

    answer: Position | StoredRun | None
    rows: int = 0


async def carry_out(connection: aiosqlite.Connection, runs: dict[int, Progress], request: Request | None) -> Outcome:
    """Do one request inside the transaction; raises DataError before it has changed anything."""
    match request:
        case RunStart():
            return Outcome(await _begin(connection, runs, request))
        case Batch():
            return await _store(connection, runs, request)
        case RunEnd():
            _known(runs, request.run_id)
            await execute(connection, statements.UPDATE_END, values.of_end(request))
            return Outcome(None)
        case StoredError():
            _known(runs, request.run_id)
            await execute(connection, statements.INSERT_ERROR, msgspec.structs.astuple(request))
            return Outcome(None, 1)
        case None:
            return Outcome(None)
        case _:
            assert_never(request)


async def _begin(connection: aiosqlite.Connection, runs: dict[int, Progress], start: RunStart) -> StoredRun:
    found = await _fetch(connection, statements.SELECT_RUN, (start.name,))
    if found:
        run_id, outputs, samples, sample_every, *facts = found[0]
        ids = [row[0] for row in await _fetch(connection, statements.SELECT_STRATEGIES, (run_id,))]
        instruments = await _fetch(connection, statements.SELECT_INSTRUMENTS, (run_id,))
        if (facts, ids, instruments) != (
            [start.mode, start.cash_decimals, start.initial_cash],
            [each.strategy_id for each in start.strategies],
            [msgspec.structs.astuple(each) for each in start.instruments],
        ):
            raise DataError(
                f"the run {start.name} in the store has another mode, account, strategies or instruments",
                remedy="Give the new run a name of its own.",
            )
        await execute(connection, statements.UPDATE_GOING_ON, (run_id,))
        known = runs.setdefault(run_id, Progress(Position(outputs, samples), sample_every=sample_every))
        ((errors,),) = await _fetch(connection, statements.SELECT_NEXT_ERROR, (run_id,))
        return StoredRun(run_id, known.position, errors)
    await execute(connection, statements.INSERT_RUN, values.of_run(start))
    run_id = (await _fetch(connection, statements.SELECT_RUN, (start.name,)))[0][0]
    for row in values.of_strategies(run_id, start):
        await execute(connection, statements.INSERT_STRATEGY, row)
    for row in values.of_instruments(run_id, start):
        await execute(connection, statements.INSERT_INSTRUMENT, row)
    runs[run_id] = Progress(Position(0, 0), sample_every=start.sample_every)
    return StoredRun(run_id, Position(0, 0))


async def _store(connection: aiosqlite.Connection, runs: dict[int, Progress], batch: Batch) -> Outcome:
    progress, tables = next_rows(_known(runs, batch.run_id), batch)
    for table in tables:
        await _insert(connection, table)
    position = progress.position
    await execute(connection, statements.UPDATE_POSITION, (position.outputs, position.samples, batch.run_id))
    runs[batch.run_id] = progress
    return Outcome(position, sum(len(table) for table in tables))


def _known(runs: dict[int, Progress], run_id: int) -> Progress:
    if run_id not in runs:
        raise DataError(f"run {run_id} has not begun in this store", remedy="Begin it before its rows.")
    return runs[run_id]


async def _insert(connection: aiosqlite.Connection, table: TableRows) -> None:
    async with connection.executemany(statements.INSERTS[table.table], table.rows()):
        pass


async def execute(connection: aiosqlite.Connection, sql: str, row: Sequence[Any] = ()) -> None:
    """Run one statement."""
    async with connection.execute(sql, row):
        pass


async def _fetch(connection: aiosqlite.Connection, sql: str, row: Sequence[Any]) -> list[Any]:
    async with connection.execute(sql, row) as cursor:
        return list(await cursor.fetchall())
