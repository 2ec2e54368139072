"""The synchroniser of one book: which messages a book can follow, and where it must start over.

Pure: no I/O, no clock; importers and live feeds drive the same one. Messages are already in ticks and lots.

The rule, one for every venue that numbers its messages (docs/tape.md names the ids): a delta (d, c] leads from the
state at d to the state at c. A book that stands at n takes a delta with d = n; right after a snapshot at n also one
that spans it, d < n < c and e ≤ n + 1, since levels are absolute sizes. Deltas with c ≤ n are old. Binance's own rule
(USD-M: U ≤ lastUpdateId ≤ u, then pu = previous u; spot: U ≤ lastUpdateId + 1 ≤ u, then U = previous u + 1) is this
one, with d = pu or U − 1. It is the core's rule too (docs/book.md): what is let through here is applied there.

Snapshots come in two ways. In the stream (Bybit, Hyperliquid, Tardis) they stand in order and always replace the book.
Fetched beside it (Binance's REST) they land anywhere between the deltas, often after newer ones: deltas are held until
one is there, one that is older than what is held is useless, and one that comes while the book is whole is not needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from adapters.captures.report import Reason
from engine.kernels.layout import GAP_SEQUENCE

HELD_MESSAGES_MOST = 20_000

Levels: TypeAlias = Sequence[tuple[int, int]]


class BookMessage(msgspec.Struct, frozen=True, gc=False):
    """One message of a book: levels as (price in ticks, size in lots), ids as in docs/tape.md."""

    ts_exchange_ns: int
    ts_receive_ns: int
    last_id: int
    previous_id: int
    first_id: int
    is_snapshot: bool
    bids: Levels
    asks: Levels
    source: int = 0


class BookGap(msgspec.Struct, frozen=True):
    """The book was lost: why (a GAP reason), and the receive time of the last message before."""

    reason: int
    from_ns: int


class Dropped(msgspec.Struct, frozen=True):
    """Messages that no book needs, or that none can follow."""

    reason: Reason
    count: int = 1


Step: TypeAlias = BookMessage | BookGap | Dropped


class BookSync:
    """State of one book's chain: `take` each message in order of arrival, and write down what comes back."""

    def __init__(self, *, is_snapshot_in_stream: bool) -> None:
        self._is_snapshot_in_stream = is_snapshot_in_stream
        self._is_whole = False
        self._was_whole = False
        self._is_fresh = False  # no delta since the snapshot
        self._last_id = 0
        self._last_ns = 0
        self._held: deque[BookMessage] = deque()

    @property
    def is_whole(self) -> bool:
        """Whether a book that followed so far is the venue's."""
        return self._is_whole

    def take(self, message: BookMessage) -> list[Step]:
        """What the message leads to: itself, deltas it sets free, a gap, or messages dropped."""
        if message.is_snapshot:
            return self._take_snapshot(message)
        if self._is_whole:
            return self._take_delta(message)
        return self._hold(message)

    def lose(self, reason: int) -> list[Step]:
        """A message was lost or could not be read: the book is no longer whole."""
        if not self._is_whole:
            return []
        self._is_whole = False
        return [BookGap(reason, self._last_ns)]

    def close(self) -> list[Step]:
        """The end of the data: what is held will never be used."""
        count = len(self._held)
        self._held.clear()
        return [Dropped(self._waiting_reason(), count)] if count else []

    def _take_snapshot(self, message: BookMessage) -> list[Step]:
        if self._is_snapshot_in_stream:
            return self._start(message)
        if self._is_whole:
            return [Dropped(Reason.snapshot_not_needed)]
        steps: list[Step] = []
        old = 0
        while self._held and self._held[0].last_id <= message.last_id:
            self._held.popleft()
            old += 1
        if old:
            steps.append(Dropped(Reason.old_update, old))
        if self._held and self._held[0].previous_id > message.last_id:
            return [*steps, Dropped(Reason.snapshot_too_old)]
        steps.extend(self._start(message))
        while self._held and self.is_whole:
            steps.extend(self._take_delta(self._held.popleft()))
        return steps

    def _start(self, message: BookMessage) -> list[Step]:
        self._is_whole = self._was_whole = self._is_fresh = True
        self._last_id, self._last_ns = message.last_id, message.ts_receive_ns
        return [message]

    def _take_delta(self, message: BookMessage) -> list[Step]:
        if message.last_id:
            if message.last_id <= self._last_id:
                return [Dropped(Reason.old_update)]
            spans = message.previous_id < self._last_id and message.first_id <= self._last_id + 1
            if message.previous_id not in (-1, self._last_id) and not (self._is_fresh and spans):
                gap = BookGap(GAP_SEQUENCE, self._last_ns)
                self._is_whole = False
                return [gap, *self._hold(message, is_next=True)]
            self._last_id = message.last_id
        self._is_fresh = False
        self._last_ns = message.ts_receive_ns
        return [message]

    def _hold(self, message: BookMessage, *, is_next: bool = False) -> list[Step]:
        """Keep a delta until the snapshot is there; `is_next`: it was taken from those held, and goes back."""
        if self._is_snapshot_in_stream:
            return [Dropped(self._waiting_reason())]
        if is_next:
            self._held.appendleft(message)
            return []
        self._held.append(message)
        if len(self._held) <= HELD_MESSAGES_MOST:
            return []
        self._held.popleft()
        return [Dropped(self._waiting_reason())]

    def _waiting_reason(self) -> Reason:
        return Reason.no_snapshot_after_gap if self._was_whole else Reason.before_snapshot
