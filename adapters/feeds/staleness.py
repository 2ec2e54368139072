"""Who has been silent for too long: per instrument and channel, by the monotonic clock.

A channel that never said anything counts from the moment at which its connection was made. Time that we spent
ourselves, waiting for room or with a loop that stood still, is not the venue's silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Heard:
    """What was heard of one channel of one instrument: how often, and when last (ours in ns, monotonic in seconds)."""

    __slots__ = ("at", "channel", "count", "is_stale", "limit_seconds", "receive_ns", "symbol")

    def __init__(self, channel: str, symbol: str, limit_seconds: float) -> None:
        self.channel = channel
        self.symbol = symbol
        self.limit_seconds = limit_seconds
        self.count = 0
        self.receive_ns = 0
        self.at = float("-inf")
        self.is_stale = False


def newly_stale(channels: Iterable[Heard], since: float, now: float) -> Iterator[tuple[Heard, float]]:
    """The channels that have become stale, with their silence in seconds; no silence is older than `since`."""
    for heard in channels:
        silence = now - max(heard.at, since)
        if heard.limit_seconds <= 0 or silence < heard.limit_seconds:
            heard.is_stale = False
        elif not heard.is_stale:
            heard.is_stale = True
            yield heard, silence


class Patience:
    """How often one instrument may have its whole connection made anew: at once, then after ever longer pauses.

    An instrument that is broken for good would else break the feed of all others on its connection.
    """

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._pauses: dict[str, tuple[float, float]] = {}  # when asked last, pause until the next

    def allows(self, symbol: str, now: float) -> bool:
        """Whether a symbol may have it now; it has it then."""
        asked_at, pause = self._pauses.get(symbol, (float("-inf"), 0.0))
        if now - asked_at < pause:
            return False
        was_long_ago = now - asked_at > self._longest_seconds
        pause = self._first_seconds if was_long_ago else min(max(2 * pause, self._first_seconds), self._longest_seconds)
        self._pauses[symbol] = (now, pause)
        return True
