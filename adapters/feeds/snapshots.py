"""Snapshots fetched beside the stream, for venues that send none in it: one book at a time, each for itself.

The stream never waits for one. What it says meanwhile is held by the book's synchroniser, which knows whether a
snapshot is of use; one that is older than what is held is fetched again after a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
import msgspec

from adapters.feeds.limits import FeedLimits
from adapters.rest_gate import RestGate, RestUnavailableError
from engine.errors import DataError


class BookAccess(msgspec.Struct, frozen=True):
    """What is needed of one book: where its snapshot is, how its state is told, and who takes the snapshot.

    `take` raises DataError where the answer is no snapshot.
    """

    address: str
    weight: int
    is_whole: Callable[[], bool]
    is_connected: Callable[[], bool]
    take: Callable[[bytes], None]


class SnapshotKeeper:
    """Makes the books whole that need it. `keep` runs for each symbol, as a task; `failed` is told what went wrong."""

    def __init__(
        self, gate: RestGate, books: Mapping[str, BookAccess], limits: FeedLimits, failed: Callable[[str, str], None]
    ) -> None:
        self._gate = gate
        self._books = dict(books)
        self._limits = limits
        self._failed = failed
        self._needed = {symbol: anyio.Event() for symbol in books}

    @property
    def symbols(self) -> tuple[str, ...]:
        """All that are kept."""
        return tuple(self._books)

    def need(self, symbol: str) -> None:
        """A book that is not whole can be made whole now: its stream is there."""
        needed = self._needed.get(symbol)
        if needed is not None:
            needed.set()

    async def keep(self, symbol: str) -> None:
        """Fetch a snapshot each time one is needed, for ever."""
        while True:
            await self._needed[symbol].wait()
            await self._make_whole(symbol)
            self._needed[symbol] = anyio.Event()

    async def _make_whole(self, symbol: str) -> None:
        book = self._books[symbol]
        pause = self._limits.snapshot_pause_seconds
        while book.is_connected() and not book.is_whole():
            try:
                answer = await self._gate.get(book.address, weight=book.weight)
                if book.is_connected():  # else it would begin a book that nothing follows
                    book.take(answer.body)
            except (RestUnavailableError, DataError) as error:
                self._failed(symbol, error.message)
            if not book.is_whole():
                await anyio.sleep(pause)
                pause = min(2 * pause, self._limits.snapshot_pause_seconds_max)
