"""The one task that writes: it alone owns the connection, and whatever it begins it ends.

Requests wait in a bounded queue, which blocks when it is full. Those that wait are written in one transaction, and
acknowledged when that is on the disk. A transaction runs to its end though the task is cancelled. Trouble with the
disk ends the task and fails everything that waits: nothing is tried twice on a file in an unknown state.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import anyio
import msgspec

from adapters.store.progress import Progress
from adapters.store.requests import Outcome, Request, carry_out, execute
from adapters.store.runs import Batch, Position, RunEnd, RunStart, StoredError, StoredRun
from adapters.store.schema import PRAGMAS, WAIT_SECONDS, sqlite_trouble, trouble
from engine.errors import DataError, TapewrightError, UsageError

QUEUE_REQUESTS_MAX = 64
ROWS_A_TRANSACTION_MAX = 20_000
"""After so many, a transaction takes no further batch; a batch itself is never split."""

_Result = TypeVar("_Result")


class _Waiting(msgspec.Struct):
    """A request with the future of its acknowledgement; no request: the end of the queue."""

    request: Request | None
    done: asyncio.Future[Any]


class WriterStatistics(msgspec.Struct, frozen=True):
    """What a writer has done since it began: counters that only grow, and what stands now.

    `rows`: handed to SQLite, those that were there already included. `outputs_stored`: the position of the run that
    was stored last. `transaction_seconds`: of the last transaction, `transactions_seconds` of all.
    """

    rows: int
    transactions: int
    refused: int
    transaction_seconds: float
    transactions_seconds: float
    outputs_stored: int
    queue_requests: int
    queue_requests_max: int


class StoreWriter:
    """Writes runs to a database that `prepare` has made ready. `run` is its task; the rest is called from others."""

    def __init__(self, path: Path, *, queue_requests_max: int = QUEUE_REQUESTS_MAX) -> None:
        self._path = path
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(queue_requests_max)
        self._runs: dict[int, Progress] = {}
        self._is_closed = False
        self._trouble: BaseException | None = None
        self._rows = self._transactions = self._refused = self._outputs_stored = 0
        self._transaction_seconds = self._transactions_seconds = 0.0

    def statistics(self) -> WriterStatistics:
        """What it has done so far; may be asked at any time, after its end too."""
        return WriterStatistics(
            self._rows, self._transactions, self._refused, self._transaction_seconds, self._transactions_seconds,
            self._outputs_stored, self._queue.qsize(), self._queue.maxsize,
        )  # fmt: skip

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
        outcomes: list[Outcome | DataError] = []
        runs = dict(self._runs)
        begun = time.perf_counter()
        try:
            await execute(connection, "BEGIN IMMEDIATE")
            for waiting in group:
                try:
                    outcomes.append(await carry_out(connection, runs, waiting.request))
                except DataError as refusal:
                    outcomes.append(refusal)
            await execute(connection, "COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.OperationalError):  # there may be none; closing undoes one, too
                await execute(connection, "ROLLBACK")
            failure = trouble(self._path, error) if isinstance(error, sqlite3.OperationalError) else None
            self._trouble = failure or error
            for waiting in group:
                _fail(waiting.done, self._ended())
            raise
        self._runs = runs
        self._count(outcomes, time.perf_counter() - begun)
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, DataError):
                _fail(waiting.done, outcome)
            elif not waiting.done.done():  # who waits may have been cancelled
                waiting.done.set_result(outcome.answer)

    def _count(self, outcomes: Sequence[Outcome | DataError], seconds: float) -> None:
        self._transactions += 1
        self._transaction_seconds = seconds
        self._transactions_seconds += seconds
        for outcome in outcomes:
            if isinstance(outcome, DataError):
                self._refused += 1
                continue
            self._rows += outcome.rows
            if isinstance(outcome.answer, Position):
                self._outputs_stored = outcome.answer.outputs


async def _opened(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        for pragma in PRAGMAS:
            await execute(connection, pragma)
    except BaseException:
        await connection.close()
        raise
    return connection


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
