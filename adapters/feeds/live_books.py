"""The books of a live feed: which of them are not whole, and what is done about each.

Where a venue's snapshots are fetched, one is fetched for the book that needs it. Where they come in the stream the
connection is made anew, which is hard on the others on it: so only after a moment's grace, and ever more rarely.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from adapters.captures.transcriber import InstrumentState
from adapters.feeds.limits import FeedLimits
from adapters.feeds.link import Link
from adapters.feeds.live_records import LiveTranscriber
from adapters.feeds.snapshots import SnapshotKeeper
from adapters.feeds.staleness import Patience
from engine.kernels.layout import GAP_CROSSED

_GRACE_SECONDS = 1.0
_RESYNC_SECONDS, _RESYNC_SECONDS_MAX = 1.0, 60.0


class LiveBook(msgspec.Struct, frozen=True):
    """One instrument's book, and the connection that it comes over."""

    state: InstrumentState
    link: Link


class LiveBooks:
    """All books of a feed by symbol. Without a `keeper` their snapshots come in the stream."""

    def __init__(
        self,
        books: Mapping[str, LiveBook],
        transcriber: LiveTranscriber,
        keeper: SnapshotKeeper | None,
        limits: FeedLimits,
        clock_ns: Callable[[], int],
    ) -> None:
        self._books = dict(books)
        self._transcriber = transcriber
        self._keeper = keeper
        self._limits = limits
        self._clock_ns = clock_ns
        self._rejoins = Patience(limits.patience_seconds, limits.patience_seconds_max)
        self._resyncs = Patience(_RESYNC_SECONDS, _RESYNC_SECONDS_MAX)
        self._wanting_since: dict[str, float] = {}
        self._crossed: set[str] = set()

    def need(self, symbol: str) -> None:
        """A book that is not whole got a message."""
        if self._keeper is not None:
            self._keeper.need(symbol)
        elif symbol not in self._wanting_since:
            self._wanting_since[symbol] = time.monotonic()

    def resync(self, symbol: str) -> None:
        """A book that seemed whole has prices that cross: lose it and begin anew, at once if it is the first time."""
        if symbol in self._books:
            self._crossed.add(symbol)
            self._lose_crossed(time.monotonic())

    def lose(self, symbol: str, reason: int) -> None:
        """A book was lost for a reason that no message shows."""
        book = self._books.get(symbol)
        if book is not None:
            self._transcriber.lose_book(book.state, reason, self._clock_ns(), book.link.number)

    def may_rejoin(self, symbol: str, now: float) -> bool:
        """Whether the connection of this book may be made anew for its sake; it is, then."""
        return self._rejoins.allows(symbol, now)

    def tick(self, now: float) -> bool:
        """Look after the books that are not whole; whether records were written."""
        for symbol, book in self._books.items():
            if book.state.sync.is_whole:
                self._wanting_since.pop(symbol, None)
            elif book.link.is_heard and now - book.link.opened_at >= self._limits.quiet_book_seconds:
                self.need(symbol)  # no message may come for long: a quiet instrument
                if self._keeper is None:
                    self._rejoin(symbol, book.link, now)
        return self._lose_crossed(now)

    def _rejoin(self, symbol: str, link: Link, now: float) -> None:
        wanting = now - max(self._wanting_since[symbol], link.opened_at)
        if wanting >= self._limits.quiet_book_seconds + _GRACE_SECONDS and self._rejoins.allows(symbol, now):
            link.cut(f"book: {symbol} was lost, and its snapshot comes in the stream")

    def _lose_crossed(self, now: float) -> bool:
        written = False
        for symbol in tuple(self._crossed):
            book = self._books[symbol]
            if book.state.sync.is_whole and not self._resyncs.allows(symbol, now):
                continue
            self._crossed.discard(symbol)
            if book.state.sync.is_whole:
                self.lose(symbol, GAP_CROSSED)
                written = True
                if book.link.is_heard:
                    self.need(symbol)
        return written
