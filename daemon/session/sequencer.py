"""The order of a session's inputs: what the feed says, what the clock says, commands and documents, one by one.

Everything runs on one event loop, so whoever writes into the builder first is first on the tape.
"""

from __future__ import annotations

import asyncio

from adapters.captures.record_builder import RecordBuilder
from adapters.tape.codec import Records
from adapters.tape.documents import to_pieces
from daemon.session.clock import SessionClock
from engine.commands import Words
from engine.kernels import layout

RECORDS_WAITING_MAX = 200_000


class Sequencer:
    """Collects records until the run loop takes them; who brings more than it can take is made to wait."""

    def __init__(self, clock: SessionClock) -> None:
        self.builder = RecordBuilder()
        self.records_most = 0
        self._clock = clock
        self._is_woken = False
        self._waiter: asyncio.Future[None] | None = None
        self._taken = asyncio.Event()

    @property
    def records_waiting(self) -> int:
        """Records that the run loop has not taken."""
        return len(self.builder)

    def wake(self) -> None:
        """There is something to take."""
        self._is_woken = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def woken(self) -> None:
        """Wait until there is something to take. For the run loop alone: it comes here once a step."""
        while not self._is_woken:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._is_woken = False

    @property
    def has_room(self) -> bool:
        """Whether no more records wait than may."""
        return len(self.builder) <= RECORDS_WAITING_MAX

    async def room(self) -> None:
        """Wait while too many records wait."""
        while not self.has_room:
            self._taken.clear()
            await self._taken.wait()

    def time(self) -> None:
        """Nothing came: let the engine's clock go on."""
        self.builder.add(layout.CLOCK, layout.ALL_INSTRUMENTS, 0, 0, self._clock.now_ns(), (0, 0, 0, 0, 0))

    def gap(self, reason: int, from_ns: int) -> None:
        """Data of all instruments were lost, from a time on."""
        self.builder.add(
            layout.GAP, layout.ALL_INSTRUMENTS, 0, 0, self._clock.now_ns(), (reason, -1, from_ns, 0, 0)
        )  # fmt: skip

    def funding(self, instrument: int, settled_ns: int, rate_e12: int, mark_micro: int, *, is_static: bool) -> None:
        """A funding that the stream did not tell."""
        flags = layout.STATIC_RATE if is_static else 0
        words = (rate_e12, mark_micro, 0, 0, 0)
        self.builder.add(layout.FUNDING, instrument, 0, settled_ns, self._clock.now_ns(), words, flags)
        self.wake()

    def document(self, document_type: int, value: object) -> None:
        """A document, whole."""
        self.builder.append(to_pieces(document_type, value, self._clock.now_ns()))
        self.wake()

    def command(self, words: Words) -> None:
        """A command; its document stands before it."""
        self.builder.add(layout.COMMAND, layout.ALL_INSTRUMENTS, 0, 0, self._clock.now_ns(), words)
        self.wake()

    def take(self) -> Records:
        """All that wait, in their order."""
        self.records_most = max(self.records_most, len(self.builder))
        records = self.builder.take()
        self._taken.set()
        return records
