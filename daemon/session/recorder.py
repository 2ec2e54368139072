"""The tape's end: records go in at once, and to the disk in a thread, so that the engine does not wait for it."""

from __future__ import annotations

import time

import anyio
import anyio.to_thread

from adapters.metrics.histogram import DISK_BOUNDS_SECONDS, Histogram
from adapters.tape import TapeWriter
from adapters.tape.codec import Records
from engine.bars import NS_PER_SECOND

_LOOK_SECONDS = 0.02
_SYNC_NS = NS_PER_SECOND
_HURRIED_SYNC_NS = 100_000_000  # where somebody waits to store what the records led to


class Recorder:
    """Owns the writer of a session. `run` is its task; what the disk refuses ends it with a DataError."""

    def __init__(self, writer: TapeWriter) -> None:
        self.writer = writer
        self.sync_seconds = Histogram(DISK_BOUNDS_SECONDS)
        self._asked_seq = 0
        self._synced_ns = time.monotonic_ns()
        self._synced = anyio.Event()
        self._is_syncing = False

    @property
    def last_seq(self) -> int:
        """Seq of the record appended last."""
        return self.writer.last_seq

    @property
    def acknowledged_seq(self) -> int:
        """Seq up to which every record is on the disk."""
        return self.writer.acknowledged_seq

    def append(self, records: Records) -> int:
        """Append records of the sequencer's, whose times do not fall; returns the seq of the first."""
        return self.writer.append(records, are_times_rising=True) - len(records) + 1

    async def acknowledged(self, seq: int) -> None:
        """Wait until a record is on the disk; this makes it sooner."""
        self._asked_seq = max(self._asked_seq, seq)
        while self.writer.acknowledged_seq < seq:
            await self._synced.wait()

    async def run(self) -> None:
        """Keep the limits of flushing and syncing, until cancelled."""
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            self.writer.tick()
            waited_ns = time.monotonic_ns() - self._synced_ns
            is_asked = self._asked_seq > self.writer.acknowledged_seq
            if waited_ns >= (_HURRIED_SYNC_NS if is_asked else _SYNC_NS):
                await self.sync()

    async def sync(self) -> None:
        """Bring everything appended so far to the disk, the thread's work not cancelled midway."""
        with anyio.CancelScope(shield=True):
            while self._is_syncing:
                await self._synced.wait()
            self._is_syncing = True
            try:
                begun_ns = time.monotonic_ns()
                ticket = self.writer.begin_sync()
                if ticket is not None:
                    error = await anyio.to_thread.run_sync(ticket.sync)
                    self.writer.end_sync(ticket, error)
                    self.sync_seconds.observe((time.monotonic_ns() - begun_ns) / NS_PER_SECOND)
                self._synced_ns = time.monotonic_ns()
            finally:
                self._is_syncing = False
                synced, self._synced = self._synced, anyio.Event()
                synced.set()
