"""From the engine's outputs to the store: nothing is stored before the records that led to it are on the disk.

So whatever crashes, what is stored is what the tape gives. The queue is bounded: a store that cannot keep up makes the
engine wait, and in the end the feed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.metrics.histogram import Histogram
from adapters.store import Batch, Position
from adapters.store.writer import StoreWriter
from daemon.session.recorder import Recorder
from engine.bars import NS_PER_SECOND

ROWS_WAITING_MAX = 100_000
_BATCH_ROWS_MAX = 10_000


class Said(msgspec.Struct, frozen=True):
    """What the engine has said over some records: outputs and samples with the number of the first of each.

    `last_seq`: the last record that it comes of; `decided_ns`: when, monotonic clock.
    """

    first_output: int
    outputs: NDArray[np.int64]
    first_sample: int
    samples: NDArray[np.int64]
    last_seq: int
    decided_ns: int

    def rows(self) -> int:
        """Outputs and samples together."""
        return len(self.outputs) + len(self.samples)


class StorePump:
    """Stores what is published, in order. `run` is its task."""

    def __init__(self, recorder: Recorder, store: StoreWriter, run_id: int, position: Position, seq: int) -> None:
        self.decision_to_stored = Histogram()
        self.position = position
        self.stored_seq = seq
        self.stored_ns = time.monotonic_ns()
        self.rows_waiting = self.rows_waiting_most = 0
        self._recorder = recorder
        self._store = store
        self._run_id = run_id
        self._waiting: deque[Said] = deque()
        self._changed = asyncio.Event()
        self._stored = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether everything published is stored."""
        return not self._waiting

    def publish(self, said: Said) -> None:
        """Hand over what is to be stored; never waits (see `room`)."""
        if not said.rows():
            if not self._waiting:
                self.stored_seq = said.last_seq
            return
        self._waiting.append(said)
        self.rows_waiting += said.rows()
        self.rows_waiting_most = max(self.rows_waiting_most, self.rows_waiting)
        self._changed.set()

    @property
    def has_room(self) -> bool:
        """Whether no more waits than may."""
        return self.rows_waiting <= ROWS_WAITING_MAX

    async def room(self) -> None:
        """Wait while too much waits."""
        while not self.has_room:
            await self._stored.wait()

    async def stored(self, position: Position) -> None:
        """Wait until so much of the run is stored."""
        while self.position.outputs < position.outputs or self.position.samples < position.samples:
            await self._stored.wait()

    async def drained(self) -> None:
        """Wait until everything published is stored."""
        while self._waiting:
            await self._stored.wait()

    async def run(self) -> None:
        """Store, until cancelled; raises what ended the store or the recorder."""
        while True:
            while not self._waiting:
                self._changed.clear()
                await self._changed.wait()
            await self._recorder.acknowledged(self._waiting[0].last_seq)
            batch = self._next_batch()
            self.position = await self._store.write(batch)
            self._note(len(batch.outputs) + len(batch.samples))

    def _next_batch(self) -> Batch:
        """Those at the head whose records are on the disk, together; they stay in the queue until they are stored."""
        acknowledged, rows = self._recorder.acknowledged_seq, 0
        outputs, samples = [], []
        self._taken = 0
        for said in self._waiting:
            if said.last_seq > acknowledged or (rows and rows + said.rows() > _BATCH_ROWS_MAX):
                break
            outputs.append(said.outputs)
            samples.append(said.samples)
            rows += said.rows()
            self._taken += 1
        head = self._waiting[0]
        return Batch(
            self._run_id, head.first_output, np.concatenate(outputs), head.first_sample, np.concatenate(samples)
        )  # fmt: skip

    def _note(self, rows: int) -> None:
        now_ns = time.monotonic_ns()
        for _ in range(self._taken):
            said = self._waiting.popleft()
            self.decision_to_stored.observe((now_ns - said.decided_ns) / NS_PER_SECOND)
            self.stored_seq = said.last_seq
        self.rows_waiting -= rows
        self.stored_ns = now_ns
        stored, self._stored = self._stored, asyncio.Event()
        stored.set()
