"""When funding was settled, and at which rate: told by the mark price stream, which names only the next time.

What a venue pays at a funding time is the rate and the mark price that stood last before it. So the first message whose
time is at or past the announced one settles it, with what was known before.
"""

from __future__ import annotations

import msgspec

from engine.bars import NS_PER_SECOND

# A rate that was last heard of longer ago is not the one that was paid: the recording had a hole.
FRESH_NS_MOST = 10 * 60 * NS_PER_SECOND


class Settlement(msgspec.Struct, frozen=True):
    """A funding time that passed (ns, whole seconds). `is_fresh`: the rate was heard shortly before."""

    ts_ns: int
    rate_e12: int
    mark_micro: int
    is_fresh: bool


class FundingClock:
    """Remembers the next funding time of one instrument, and what would be paid then."""

    def __init__(self) -> None:
        self._next_ns = 0
        self._settled_ns = 0
        self._rate_e12: int | None = None
        self._mark_micro = 0
        self._heard_ns = 0

    @property
    def next_ns(self) -> int:
        """The funding time announced last, 0 where none is to come."""
        return self._next_ns

    def take(self, now_ns: int, mark_micro: int, rate_e12: int | None, next_ns: int) -> Settlement | None:
        """Take a mark price message (rate None: not said); return the funding that its time shows to be settled."""
        settlement = None
        if self._next_ns and now_ns >= self._next_ns:
            if self._rate_e12 is not None:
                is_fresh = self._next_ns - self._heard_ns <= FRESH_NS_MOST
                seconds = (self._next_ns + NS_PER_SECOND // 2) // NS_PER_SECOND
                settlement = Settlement(seconds * NS_PER_SECOND, self._rate_e12, self._mark_micro, is_fresh)
            self._settled_ns, self._next_ns, self._rate_e12 = self._next_ns, 0, None
        if next_ns > max(now_ns, self._settled_ns):
            if next_ns != self._next_ns or rate_e12 is not None:
                self._rate_e12 = rate_e12
            self._next_ns, self._mark_micro, self._heard_ns = next_ns, mark_micro, now_ns
        return settlement
