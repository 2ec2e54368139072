"""The one task that writes: it alone owns the connection, and whatever it begins it ends.

Requests wait in a bounded queue, which blocks when it is full. Those that wait are written in one transaction, and
acknowledged when that is on the disk. A transaction runs to its end though the task is cancelled. Trouble with the
disk ends the task and fails everything that waits: nothing is tried twice on a file in an unknown state.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar, assert_never

import aiosqlite
import anyio
import msgspec

from adapters.store import statements
from adapters.store.progress import Progress, next_rows
from adapters.store.rows import TableRows
from adapters.store.runs import Batch, Position, RunEnd, RunStart, StoredError, StoredRun
from adapters.store.schema import PRAGMAS, WAIT_SECONDS, sqlite_trouble, trouble
from engine.errors import DataError, TapewrightError, UsageError

QUEUE_REQUESTS_MAX = 64
ROWS_A_TRANSACTION_MAX = 20_000
"""After so many, a transaction takes no further batch; a batch itself is never split."""
_HASH_MASK = 2**64 - 1

Request = RunStart | Batch | RunEnd | StoredError
_Result = TypeVar("_Result")


class _Waiting(msgspec.Struct):
    """A request with the future of its acknowledgement; no request: the end of the queue."""

    request: Request | None
    done: asyncio.Future[Any]


class StoreWriter:
    """Writes runs to a database that `prepare` has made ready. `run` is its task; the rest is called from others."""

    def __init__(self, path: Path, *, queue_requests_max: int = QUEUE_REQUESTS_MAX) -> None:
        self._path = path
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(queue_requests_max)
        self._runs: dict[int, Progress] = {}
        self._is_closed = False
        self._trouble: BaseException | None = None

    async def run(self) -> None:
        """Write until `close`; raises what ended it early. Runs once, as a task of the caller's task group."""
        try:
            with sqlite_trouble(self._path):
                await self._run()
        except BaseException as error:
            self._trouble = error
            raise
        finally:
            self._fail_waiting()

    async def begin(self, start: RunStart) -> StoredRun:
        """Begin a run, or go on with the one of that name; raises DataError where that one was another run."""
        found: StoredRun = await (await self._put(start))
        return found

    async def put(self, batch: Batch) -> asyncio.Future[Position]:
        """Hand over a batch; waits while the queue is full. The future is the position once the batch is stored.

        Batches of a run are written in the order of their `put`. The future raises DataError where one would leave a
        hole, and what ended the writer where it has ended.
        """
        return await self._put(batch)

    async def write(self, batch: Batch) -> Position:
        """Hand over a batch and wait until it is stored. Whoever is cancelled while waiting leaves it to be stored."""
        return await (await self.put(batch))

    async def record(self, error: StoredError) -> None:
        """Store an error; waits until it is."""
        await (await self._put(error))

    async def end(self, end: RunEnd) -> None:
        """Store how a run ended; waits until it is."""
        await (await self._put(end))

    async def close(self) -> None:
        """Let `run` end when everything handed over so far is stored; returns when it is."""
        if not self._is_closed:
            await (await self._put(None))

    async def _put(self, request: Request | None) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._refuse_closed()
        await self._queue.put(_Waiting(request, done))
        if self._is_closed:  # it ended while this waited for room
            self._fail_waiting()
        return done

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise self._ended()

    def _ended(self) -> TapewrightError:
        """Why nothing is written any more."""
        if isinstance(self._trouble, TapewrightError):
            return self._trouble
        why = f": {self._trouble}" if isinstance(self._trouble, sqlite3.Error) else ""
        return UsageError(f"{self._path} is closed{why}", remedy="Open it again; what was acknowledged is stored.")

    def _fail_waiting(self) -> None:
        self._is_closed = True
        while not self._queue.empty():
            _fail(self._queue.get_nowait().done, self._ended())

    async def _run(self) -> None:
        connection = await _to_its_end(_opened(self._path))
        try:
            is_open = True
            while is_open:
                group = await self._next_group()
                is_open = group[-1].request is not None
                await _to_its_end(self._write_group(connection, group))
        finally:
            await _to_its_end(connection.close())

    async def _next_group(self) -> list[_Waiting]:
        """At least one request, and those that wait behind it, up to a transaction's rows."""
        group = [await self._queue.get()]
        rows = _row_count(group[0])
        while rows < ROWS_A_TRANSACTION_MAX and group[-1].request is not None and not self._queue.empty():
            group.append(self._queue.get_nowait())
            rows += _row_count(group[-1])
        return group

    async def _write_group(self, connection: aiosqlite.Connection, group: Sequence[_Waiting]) -> None:
        """Write requests in one transaction, then acknowledge each; one that is refused fails alone."""
        outcomes: list[Any] = []
        runs = dict(self._runs)
        try:
            await _execute(connection, "BEGIN IMMEDIATE")
            for waiting in group:
                try:
                    outcomes.append(await _carry_out(connection, runs, waiting.request))
                except DataError as refusal:
                    outcomes.append(refusal)
            await _execute(connection, "COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.OperationalError):  # there may be none; closing undoes one, too
                await _execute(connection, "ROLLBACK")
            failure = trouble(self._path, error) if isinstance(error, sqlite3.OperationalError) else None
            self._trouble = failure or error
            for waiting in group:
                _fail(waiting.done, self._ended())
            raise
        self._runs = runs
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, DataError):
                _fail(waiting.done, outcome)
            elif not waiting.done.done():  # who waits may have been cancelled
                waiting.done.set_result(outcome)


async def _carry_out(connection: aiosqlite.Connection, runs: dict[int, Progress], request: Request | None) -> Any:
    """Do one request inside the transaction; raises DataError before it has changed anything."""
    match request:
        case RunStart():
            return await _begin(connection, runs, request)
        case Batch():
            return await _store(connection, runs, request)
        case RunEnd():
            _known(runs, request.run_id)
            values = (request.status, request.end_ns, f"{request.hash & _HASH_MASK:016x}", request.run_id)
            return await _execute(connection, statements.UPDATE_END, values)
        case StoredError():
            _known(runs, request.run_id)
            return await _execute(connection, statements.INSERT_ERROR, msgspec.structs.astuple(request))
        case None:
            return None
        case _:
            assert_never(request)


async def _begin(connection: aiosqlite.Connection, runs: dict[int, Progress], start: RunStart) -> StoredRun:
    found = await _fetch(connection, statements.SELECT_RUN, (start.name,))
    if found:
        run_id, outputs, samples, *facts = found[0]
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
        await _execute(connection, statements.UPDATE_GOING_ON, (run_id,))
        known = runs.setdefault(run_id, Progress(Position(outputs, samples)))
        return StoredRun(run_id, known.position)
    params = {each.strategy_id: each.params for each in start.strategies}
    strategy_ids = ",".join(each.strategy_id for each in start.strategies)
    values = (
        start.name, start.mode, "running", strategy_ids, _json(params), start.start_ns, start.cash_decimals,
        start.initial_cash, _json(start.config),
    )  # fmt: skip
    await _execute(connection, statements.INSERT_RUN, values)
    run_id = (await _fetch(connection, statements.SELECT_RUN, (start.name,)))[0][0]
    for number, strategy in enumerate(start.strategies):
        row = (run_id, number, strategy.strategy_id, _json(strategy.params), strategy.source_sha256)
        await _execute(connection, statements.INSERT_STRATEGY, row)
    for number, instrument in enumerate(start.instruments):
        await _execute(
            connection, statements.INSERT_INSTRUMENT, (run_id, number, *msgspec.structs.astuple(instrument))
        )  # fmt: skip
    runs[run_id] = Progress(Position(0, 0))
    return StoredRun(run_id, Position(0, 0))


async def _store(connection: aiosqlite.Connection, runs: dict[int, Progress], batch: Batch) -> Position:
    progress, tables = next_rows(_known(runs, batch.run_id), batch)
    for table in tables:
        await _insert(connection, table)
    position = progress.position
    await _execute(connection, statements.UPDATE_POSITION, (position.outputs, position.samples, batch.run_id))
    runs[batch.run_id] = progress
    return position


def _known(runs: dict[int, Progress], run_id: int) -> Progress:
    if run_id not in runs:
        raise DataError(f"run {run_id} has not begun in this store", remedy="Begin it before its rows.")
    return runs[run_id]


async def _opened(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        for pragma in PRAGMAS:
            await _execute(connection, pragma)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _insert(connection: aiosqlite.Connection, table: TableRows) -> None:
    async with connection.executemany(statements.INSERTS[table.table], table.rows()):
        pass


async def _execute(connection: aiosqlite.Connection, sql: str, values: Sequence[Any] = ()) -> None:
    async with connection.execute(sql, values):
        pass


async def _fetch(connection: aiosqlite.Connection, sql: str, values: Sequence[Any]) -> list[Any]:
    async with connection.execute(sql, values) as cursor:
        return list(await cursor.fetchall())


async def _to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await work to its end though this task is cancelled, however often; only then be cancelled."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with anyio.CancelScope(shield=True):  # a cancelled scope around this asks at every turn of the loop
                await asyncio.wait({task})
        except asyncio.CancelledError as error:  # a task's own cancellation passes shields
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


def _row_count(waiting: _Waiting) -> int:
    return len(waiting.request.outputs) + len(waiting.request.samples) if isinstance(waiting.request, Batch) else 1


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # who does not look is told by the writer's own end


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
