"""Trade ids of one instrument: which were there already, and how many a numbered feed skipped.

A skipped trade id is counted, not written as a GAP: it says nothing of the book, and aggregated feeds skip by nature.
"""

from __future__ import annotations

from collections import deque

_RECENT_MOST = 65_536


class TradeIds:
    """Remembers the newest ids; an id older than all of them is taken for one that was there."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._order: deque[int] = deque()
        self._highest = 0
        self.skipped = 0

    def is_new(self, trade_id: int, *, is_numbered: bool) -> bool:
        """Take an id; `is_numbered`: the venue counts its trades one by one, so a hole is a lost trade."""
        if trade_id in self._recent:
            return False
        if is_numbered and self._highest:
            if trade_id > self._highest:
                self.skipped += trade_id - self._highest - 1
            elif trade_id < self._order[0]:
                return False
            else:
                self.skipped -= 1  # it came late, and was counted as skipped when a later one came
        self._highest = max(self._highest, trade_id)
        self._recent.add(trade_id)
        self._order.append(trade_id)
        if len(self._order) > _RECENT_MOST:
            self._recent.remove(self._order.popleft())
        return True
