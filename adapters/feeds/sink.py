"""What a live feed tells whoever runs it: that records wait, and what happened to its connections and books."""

from __future__ import annotations

from typing import Protocol


class FeedSink(Protocol):
    """The other end of a feed. Everything is called on the event loop, and must neither raise nor wait."""

    def changed(self) -> None:
        """Records were added to the builder."""

    @property
    def has_room(self) -> bool:
        """Whether no more records wait than may."""
        ...

    async def room(self) -> None:
        """Wait while too many records wait; the feed reads nothing meanwhile."""

    def raw(self, source: int, receive_ns: int, frame: bytes | str) -> None:
        """A frame as it came; only where raw frames are kept."""

    def connected(self, source: int, address: str) -> None:
        """A connection was made."""

    def disconnected(self, source: int, address: str, reason: str) -> None:
        """A connection ended, or was not made: `word: detail`, the word one of a short list."""

    def stale(self, symbol: str, channel: str, seconds: float) -> None:
        """A channel of an instrument has said nothing for so long; told once, until it speaks again."""

    def book_invalid(self, symbol: str, reason: str) -> None:
        """A book can no longer be trusted."""

    def book_resynced(self, symbol: str) -> None:
        """A book is whole, for the first time or again."""

    def trade_gap(self, symbol: str, skipped: int) -> None:
        """So many trades of a venue that numbers them did not come."""

    def rejected(self, reason: str, place: str, detail: str) -> None:
        """A message, or a part of it, was left out."""
