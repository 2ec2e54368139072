"""The parts of a session that everything flows through: its clock, sequencer, recorder and pump.

Real files and a real store; where a disk must be slow or refuse, only that one step is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from adapters.store import Batch, Position
from adapters.store.writer import StoreWriter
from adapters.tape import SESSION, TapeWriter
from adapters.tape.documents import CLOSING, Closing
from daemon.session.clock import SessionClock
from daemon.session.pump import ROWS_WAITING_MAX, Said, StorePump
from daemon.session.recorder import Recorder
from daemon.session.sequencer import RECORDS_WAITING_MAX, Sequencer
from engine.errors import DataError
from engine.kernels import layout
from engine.replay import RunResult
from tests.stores import assert_holds, start_of, tape_result, writing
from tests.tapes import a_session, read_all, some_records

SECOND = 1_000_000_000


async def soon(is_true: Callable[[], bool], seconds: float = 20.0) -> None:
    with anyio.fail_after(seconds):
        while not is_true():
            await anyio.sleep(0.005)


@contextlib.asynccontextmanager
async def going_on(*tasks: Callable[[], Any]) -> AsyncIterator[None]:
    """Run tasks beside the block, and end them with it."""
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(task)
        yield
        group.cancel_scope.cancel()


# ── Clock and sequencer ─────────────────────────────────────────────────────────────────────────────────────


def test_the_clock_goes_with_the_steady_one_whatever_the_host_s_does() -> None:
    wall, steady = [1_000 * SECOND], [5 * SECOND]
    clock = SessionClock(wall_ns=lambda: wall[0], steady_ns=lambda: steady[0])
    assert clock.now_ns() == 1_000 * SECOND
    wall[0] -= 3_600 * SECOND
    steady[0] += 7
    assert clock.now_ns() == 1_000 * SECOND + 7


def test_the_clock_begins_after_the_tape_s_last_record() -> None:
    clock = SessionClock(2_000 * SECOND, wall_ns=lambda: 1_000 * SECOND, steady_ns=lambda: 0)
    assert clock.now_ns() == 2_000 * SECOND + 1


def test_the_sequencer_gives_inputs_in_the_order_in_which_they_came() -> None:
    sequencer = Sequencer(SessionClock())
    sequencer.gap(layout.GAP_DOWNTIME, 17)
    sequencer.document(CLOSING, Closing({"a": 1}, {}))
    sequencer.command((3, -1, 2, 0, 0))
    sequencer.time()
    sequencer.funding(1, 8 * SECOND, -5, 77, is_static=True)
    waiting = sequencer.records_waiting
    records = sequencer.take()
    assert (len(records), sequencer.records_waiting, sequencer.records_most) == (waiting, 0, waiting)
    pieces = int((records["kind"] == layout.DOCUMENT).sum())
    kinds = [layout.GAP, *[layout.DOCUMENT] * pieces, layout.COMMAND, layout.CLOCK, layout.FUNDING]
    assert records["kind"].tolist() == kinds
    gap, command, funding = records[0], records[pieces + 1], records[-1]
    assert [int(gap[name]) for name in "abc"] == [layout.GAP_DOWNTIME, -1, 17]
    assert [int(command[name]) for name in "abcde"] == [3, -1, 2, 0, 0]
    assert (funding["ts_exchange_ns"], funding["a"], funding["b"]) == (8 * SECOND, -5, 77)
    assert (funding["flags"], funding["instrument"]) == (layout.STATIC_RATE, 1)
    assert bool((np.diff(records["ts_receive_ns"]) >= 0).all())
    assert len(sequencer.take()) == 0


def test_a_receive_time_never_falls_whoever_writes() -> None:
    now = [100 * SECOND]
    sequencer = Sequencer(SessionClock(wall_ns=lambda: 0, steady_ns=lambda: now[0] - 100 * SECOND))
    sequencer.builder.add(layout.CLOCK, 0, 0, 0, 50 * SECOND, (0, 0, 0, 0, 0))
    now[0] = 100 * SECOND
    sequencer.command((1, 0, 0, 0, 0))
    sequencer.document(CLOSING, Closing())
    assert set(sequencer.take()["ts_receive_ns"].tolist()) == {50 * SECOND}


@pytest.mark.asyncio
async def test_who_brings_more_than_waits_for_room_waits_until_it_is_taken() -> None:
    sequencer = Sequencer(SessionClock())
    await sequencer.room()
    records = np.zeros(RECORDS_WAITING_MAX + 1, dtype=layout.RECORD)
    records["kind"] = layout.CLOCK
    sequencer.builder.append(records)
    waiting = asyncio.create_task(sequencer.room())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    sequencer.take()
    await asyncio.wait_for(waiting, 5)


@pytest.mark.asyncio
async def test_a_wake_before_the_wait_is_not_lost() -> None:
    sequencer = Sequencer(SessionClock())
    sequencer.time()
    sequencer.wake()
    await asyncio.wait_for(sequencer.woken(), 5)
    waiting = asyncio.create_task(sequencer.woken())
    await asyncio.sleep(0)
    assert not waiting.done()
    sequencer.command((1, 0, 0, 0, 0))
    await asyncio.wait_for(waiting, 5)


# ── Recorder ────────────────────────────────────────────────────────────────────────────────────────────────


def a_recorder(folder: Path) -> Recorder:
    writer = TapeWriter(folder, is_new=True, syncs_itself=False)
    writer.document(SESSION, a_session())
    return Recorder(writer)


@pytest.mark.asyncio
async def test_the_recorder_acknowledges_what_is_on_the_disk(tmp_path: Path) -> None:
    recorder, records = a_recorder(tmp_path / "tape"), some_records(500)
    before = recorder.last_seq
    assert recorder.append(records) == before + 1
    assert recorder.last_seq == before + 500
    assert recorder.acknowledged_seq == 0
    async with going_on(recorder.run):
        with anyio.fail_after(10):
            await recorder.acknowledged(recorder.last_seq)
        assert recorder.acknowledged_seq == recorder.last_seq
        assert len(read_all(tmp_path / "tape")) == before + 500
    recorder.writer.close()
    assert recorder.sync_seconds.snapshot().count >= 1


@pytest.mark.asyncio
async def test_many_wait_for_one_sync_and_each_is_told(tmp_path: Path) -> None:
    recorder = a_recorder(tmp_path / "tape")
    seqs = []
    for _ in range(50):
        recorder.append(some_records(3))
        seqs.append(recorder.last_seq)
    told: list[int] = []

    async def wait_for(seq: int) -> None:
        await recorder.acknowledged(seq)
        assert recorder.acknowledged_seq >= seq
        told.append(seq)

    async with going_on(recorder.run, *(lambda seq=seq: wait_for(seq) for seq in seqs)):
        await soon(lambda: len(told) == 50)
    assert recorder.sync_seconds.snapshot().count < 10
    recorder.writer.close()


@pytest.mark.asyncio
async def test_a_sync_that_is_cancelled_goes_to_its_end(tmp_path: Path) -> None:
    recorder = a_recorder(tmp_path / "tape")
    recorder.append(some_records(100))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await recorder.sync()
    assert recorder.acknowledged_seq == recorder.last_seq
    recorder.writer.close()


@pytest.mark.asyncio
async def test_two_syncs_at_once_do_not_meet(tmp_path: Path) -> None:
    recorder = a_recorder(tmp_path / "tape")
    async with anyio.create_task_group() as group:
        for _ in range(5):
            recorder.append(some_records(10))
            group.start_soon(recorder.sync)
    assert recorder.acknowledged_seq == recorder.last_seq
    recorder.writer.close()


@pytest.mark.asyncio
async def test_what_the_disk_refuses_ends_the_recorder_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    recorder = a_recorder(tmp_path / "tape")
    recorder.append(some_records(10))
    begin = recorder.writer.begin_sync

    def begin_badly() -> Any:
        ticket = begin()
        assert ticket is not None
        ticket.sync()
        return _Refused(ticket.seq)

    recorder.writer.begin_sync = begin_badly  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"No space left"):
        await recorder.sync()
    assert recorder.acknowledged_seq == 0
    with pytest.raises(DataError):
        recorder.append(some_records(1))


class _Refused:
    """A ticket of a full disk."""

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def sync(self) -> OSError | None:
        """Say what such a disk says."""
        return OSError(28, "No space left on device")


# ── Pump ────────────────────────────────────────────────────────────────────────────────────────────────────


class Tied:
    """A recorder whose disk a test moves on by hand."""

    def __init__(self) -> None:
        self.acknowledged_seq = 0
        self._moved = asyncio.Event()

    def move(self, seq: int) -> None:
        """Everything up to a record is on the disk."""
        self.acknowledged_seq = seq
        self._moved.set()
        self._moved = asyncio.Event()

    async def acknowledged(self, seq: int) -> None:
        """Wait for it."""
        while self.acknowledged_seq < seq:
            await self._moved.wait()


def said_parts(result: RunResult, each: int = 700) -> Iterator[Said]:
    """A run in steps of so many outputs, the samples spread over them; `last_seq` counts the steps."""
    count = -(-len(result.outputs) // each)
    samples = [len(result.samples) * number // count for number in range(count + 1)]
    for number in range(count):
        outputs = slice(number * each, (number + 1) * each)
        first, stop = samples[number], samples[number + 1]
        yield Said(
            number * each, result.outputs[outputs], first, result.samples[first:stop], number + 1, time.monotonic_ns()
        )  # fmt: skip


def a_pump(recorder: Any, store: StoreWriter, run_id: int, position: Position = Position(0, 0)) -> StorePump:  # noqa: B008
    return StorePump(recorder, store, run_id, position, 0)


@pytest.mark.asyncio
async def test_nothing_is_stored_before_its_records_are_on_the_disk(tmp_path: Path) -> None:
    result, recorder = tape_result(), Tied()
    async with writing(tmp_path / "store.sqlite") as store:
        run = await store.begin(start_of(result))
        pump = a_pump(recorder, store, run.run_id)
        parts = list(said_parts(result))
        for said in parts:
            pump.publish(said)
        assert pump.rows_waiting == len(result.outputs) + len(result.samples)
        async with going_on(pump.run):
            for _ in range(20):
                await asyncio.sleep(0.002)
            assert (pump.position, pump.stored_seq, pump.is_idle) == (Position(0, 0), 0, False)
            recorder.move(2)
            await soon(lambda: pump.stored_seq == 2)
            assert pump.position.outputs == len(parts[0].outputs) + len(parts[1].outputs)
            recorder.move(len(parts))
            with anyio.fail_after(20):
                await pump.drained()
                await pump.stored(Position(len(result.outputs), len(result.samples)))
            assert (pump.rows_waiting, pump.is_idle, pump.stored_seq) == (0, True, len(parts))
    assert_holds(tmp_path / "store.sqlite", result, run.run_id)


@pytest.mark.asyncio
async def test_a_pump_that_is_cancelled_at_any_moment_and_runs_again_stores_each_row_once(tmp_path: Path) -> None:
    result, recorder = tape_result(), Tied()
    recorder.move(1_000_000)
    async with writing(tmp_path / "store.sqlite") as store:
        run = await store.begin(start_of(result))
        pump = a_pump(recorder, store, run.run_id)
        parts = list(said_parts(result, 300))
        for number, said in enumerate(parts):
            pump.publish(said)
            async with going_on(pump.run):
                for _ in range(number % 7):
                    await asyncio.sleep(0)
        async with going_on(pump.run):
            await soon(lambda: pump.is_idle)
    assert_holds(tmp_path / "store.sqlite", result, run.run_id)


@pytest.mark.asyncio
async def test_a_pump_goes_on_where_the_store_stands(tmp_path: Path) -> None:
    """After a restart steps come again that are stored already."""
    result, recorder, path = tape_result(), Tied(), tmp_path / "store.sqlite"
    recorder.move(1_000_000)
    parts = list(said_parts(result))
    for until in (5, len(parts)):
        async with writing(path) as store:
            run = await store.begin(start_of(result))
            pump = a_pump(recorder, store, run.run_id, run.position)
            async with going_on(pump.run):
                for said in parts[:until]:
                    pump.publish(said)
                await soon(lambda pump=pump: pump.is_idle)  # type: ignore[misc]
    assert_holds(path, result, run.run_id)


@pytest.mark.asyncio
async def test_a_hole_ends_the_pump(tmp_path: Path) -> None:
    result, recorder = tape_result(), Tied()
    recorder.move(1_000_000)
    async with writing(tmp_path / "store.sqlite") as store:
        run = await store.begin(start_of(result))
        pump = a_pump(recorder, store, run.run_id)
        pump.publish(list(said_parts(result))[1])
        with pytest.raises(DataError):
            await asyncio.wait_for(pump.run(), 10)


@pytest.mark.asyncio
async def test_a_store_that_cannot_keep_up_makes_the_engine_wait(tmp_path: Path) -> None:
    result, recorder = tape_result(), Tied()
    rows = np.tile(result.samples, (ROWS_WAITING_MAX // len(result.samples) + 1, 1))
    async with writing(tmp_path / "store.sqlite") as store:
        run = await store.begin(start_of(result))
        pump = a_pump(recorder, store, run.run_id)
        await pump.room()
        pump.publish(Said(0, result.outputs[:0], 0, rows, 1, time.monotonic_ns()))
        waiting = asyncio.create_task(pump.room())
        async with going_on(pump.run):
            for _ in range(10):
                await asyncio.sleep(0.002)
            assert not waiting.done()
            recorder.move(1)
            await asyncio.wait_for(waiting, 30)
    assert pump.rows_waiting_most == len(rows)


@pytest.mark.asyncio
async def test_steps_that_said_nothing_count_as_stored_once_nothing_waits(tmp_path: Path) -> None:
    result, recorder = tape_result(), Tied()
    nothing = Said(0, result.outputs[:0], 0, result.samples[:0], 7, 0)
    async with writing(tmp_path / "store.sqlite") as store:
        run = await store.begin(start_of(result))
        pump = a_pump(recorder, store, run.run_id)
        pump.publish(nothing)
        assert (pump.stored_seq, pump.is_idle) == (7, True)
        pump.publish(msgspec.structs.replace(next(said_parts(result)), last_seq=8))
        pump.publish(msgspec.structs.replace(nothing, last_seq=9))
        assert (pump.stored_seq, pump.is_idle) == (7, False)


def test_a_batch_is_what_its_steps_said() -> None:
    """Steps at the head whose records are on the disk go together, up to a transaction's size."""
    result, recorder = tape_result(), Tied()
    pump = a_pump(recorder, StoreWriter(Path("unused")), 3)
    parts = list(said_parts(result, 500))
    for said in parts:
        pump.publish(said)
    recorder.acknowledged_seq = 4
    batch = pump._next_batch()
    assert (batch.run_id, batch.first_output, len(batch.outputs)) == (3, 0, 2_000)
    np.testing.assert_array_equal(batch.outputs, result.outputs[:2_000])
    recorder.acknowledged_seq = len(parts)
    assert len(pump._next_batch().outputs) <= 10_000
    assert isinstance(batch, Batch)
