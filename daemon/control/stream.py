"""A stream of what the session does, for those who watch: it conflates, is bounded, and never makes the daemon wait.

Figures (equity, a book) are replaced by newer ones of the same key while nobody reads them; events (an order, a fill, a
log line) are kept up to a bound, then the oldest are dropped and counted. A reader that is frozen holds its bounded
buffer and nothing else. Values are kept as they are and encoded when they are read. Everything here belongs to the
event loop's thread; from another one: `loop.call_soon_threadsafe(broadcast.publish, ...)`.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import msgspec

from daemon.control.errors import BusyError

EVENTS_MAX = 1024
FIGURES_MAX = 1024
SUBSCRIPTIONS_MAX = 32


class StreamKind(enum.StrEnum):
    """What an item is about."""

    STATUS = "status"
    EQUITY = "equity"
    BOOK = "book"
    POSITION = "position"
    STRATEGY = "strategy"
    ORDER = "order"
    FILL = "fill"
    TRADE = "trade"
    FUNDING = "funding"
    RISK = "risk"
    COMMAND = "command"
    LOG = "log"
    DROPPED = "dropped"


FIGURES = frozenset({StreamKind.STATUS, StreamKind.EQUITY, StreamKind.BOOK, StreamKind.POSITION, StreamKind.STRATEGY})
"""Of these a newer one replaces an older one of the same key; all others are events."""


class StreamItem(msgspec.Struct, frozen=True):
    """One item. `number`: its place in what was published, so that a watcher sees where something is missing.

    `key`: what it is about, a symbol, a strategy, an order's id. `value`: anything that msgspec encodes. Of the kind
    DROPPED the value is how many items this reader has lost before the ones that follow.
    """

    number: int
    kind: StreamKind
    key: str
    value: Any


class StreamStatistics(msgspec.Struct, frozen=True):
    """How the stream fares, for metrics."""

    subscriptions_count: int
    published_count: int
    dropped_count: int
    waiting_count: int


class Subscription:
    """One reader's buffer. Read it by `async for`, or everything that waits by `take`."""

    def __init__(self, *, events_max: int, figures_max: int) -> None:
        self.dropped_count = 0
        self._events: deque[StreamItem] = deque()
        self._figures: dict[tuple[StreamKind, str], StreamItem] = {}
        self._events_max = events_max
        self._figures_max = figures_max
        self._untold_count = 0
        self._news = anyio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._events) + len(self._figures)

    def put(self, item: StreamItem) -> None:
        """Keep an item, in place of an older figure, or of the oldest event where there are too many."""
        if item.kind in FIGURES:
            self._put_figure(item)
        else:
            if len(self._events) == self._events_max:
                self._events.popleft()
                self._drop()
            self._events.append(item)
        self._news.set()

    def take(self) -> list[StreamItem]:
        """Everything that waits, in the order of publishing; before it, how much was lost since the last time."""
        taken = sorted((*self._events, *self._figures.values()), key=_number)
        self._events.clear()
        self._figures.clear()
        if self._untold_count:
            number = taken[0].number if taken else 0
            taken.insert(0, StreamItem(number, StreamKind.DROPPED, "", self._untold_count))
            self._untold_count = 0
        return taken

    async def wait(self) -> bool:
        """Wait until something is there; False once the stream has ended, and nothing is left."""
        while not (self._events or self._figures or self._untold_count):
            if self._is_closed:
                return False
            self._news = anyio.Event()
            await self._news.wait()
        return True

    async def __aiter__(self) -> AsyncIterator[StreamItem]:
        while await self.wait():
            for item in self.take():
                yield item

    def close(self) -> None:
        """End the stream; what waits can still be read."""
        self._is_closed = True
        self._news.set()

    def _put_figure(self, item: StreamItem) -> None:
        place = (item.kind, item.key)
        if place not in self._figures and len(self._figures) == self._figures_max:
            self._drop()
        else:
            self._figures[place] = item

    def _drop(self) -> None:
        self.dropped_count += 1
        self._untold_count += 1


def _number(item: StreamItem) -> int:
    return item.number


class Broadcast:
    """Gives what is published to every reader that there is at that moment."""

    def __init__(
        self,
        *,
        events_max: int = EVENTS_MAX,
        figures_max: int = FIGURES_MAX,
        subscriptions_max: int = SUBSCRIPTIONS_MAX,
    ) -> None:
        self._events_max = events_max
        self._figures_max = figures_max
        self._subscriptions_max = subscriptions_max
        self._subscriptions: list[Subscription] = []
        self._published_count = 0
        self._dropped_count = 0  # of readers that have gone
        self._is_closed = False

    @property
    def is_watched(self) -> bool:
        """Whether anybody reads: what nobody would see need not be made."""
        return bool(self._subscriptions)

    def publish(self, kind: StreamKind, key: str, value: Any) -> None:
        """Give a value to all readers; it must not change any more. Never waits."""
        self._published_count += 1
        if not self._subscriptions:
            return
        item = StreamItem(self._published_count, kind, key, value)
        for subscription in self._subscriptions:
            subscription.put(item)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A reader's buffer, from now on, until the block is left. Raises BusyError where there are too many."""
        if len(self._subscriptions) >= self._subscriptions_max:
            raise BusyError(
                f"{self._subscriptions_max} readers follow this session, and no more may",
                remedy="End a `tapewright ctl tail` or close a window that shows the stream.",
            )
        subscription = Subscription(events_max=self._events_max, figures_max=self._figures_max)
        if self._is_closed:
            subscription.close()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            self._dropped_count += subscription.dropped_count

    def close(self) -> None:
        """End all streams, those that are and those to come: the daemon stops."""
        self._is_closed = True
        for subscription in self._subscriptions:
            subscription.close()

    def statistics(self) -> StreamStatistics:
        """How many read, and how much was published, dropped, and waits."""
        return StreamStatistics(
            len(self._subscriptions),
            self._published_count,
            self._dropped_count + sum(each.dropped_count for each in self._subscriptions),
            sum(len(each) for each in self._subscriptions),
        )
