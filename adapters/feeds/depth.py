"""A book of limited depth: the exchange never deletes the levels that fall out of it, so whoever follows must.

Kraken's rule: after each message the levels beyond the depth that was subscribed are dropped. One that was kept would
stand still, and be the best price one day when the market had come back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

TextLevels: TypeAlias = list[tuple[str, str]]


class DepthLimit:
    """The prices of one book, and which of them are within the depth."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._bids: dict[Decimal, str] = {}
        self._asks: dict[Decimal, str] = {}

    def follow(
        self, bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]], *, is_snapshot: bool
    ) -> tuple[TextLevels, TextLevels]:
        """Take a message's levels, and return them with the deletions that the exchange leaves to us."""
        if is_snapshot:
            self._bids.clear()
            self._asks.clear()
        return (
            self._side(self._bids, bids, is_bid=True),
            self._side(self._asks, asks, is_bid=False),
        )

    def _side(self, side: dict[Decimal, str], levels: Sequence[tuple[str, str]], *, is_bid: bool) -> TextLevels:
        for text, size in levels:
            price = Decimal(text)
            if Decimal(size) == 0:
                side.pop(price, None)
            else:
                side[price] = text
        written = list(levels)
        while len(side) > self._depth:
            worst = min(side) if is_bid else max(side)
            written.append((side.pop(worst), "0"))
        return written
