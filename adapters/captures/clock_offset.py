"""What the recording host's clock lacks to the venue's, estimated from the messages themselves.

Of (receive − exchange) over the first book messages and trades of a file the 1st percentile is taken: the fastest
messages, but not a single stray one. Where it is negative the clock was behind, since no message arrives before it was
sent: the offset is its negative, and feed latency (receive + offset − exchange) is then ≥ 0 for 99 % of the messages.
Where it is positive nothing tells a slow line from a clock ahead, so nothing is claimed and the offset is 0.
"""

from __future__ import annotations

SAMPLES_MOST = 20_000
_PERCENT = 1


class ClockSamples:
    """Differences receive − exchange (ns) of the first messages of a file."""

    def __init__(self) -> None:
        self._differences_ns: list[int] = []

    def add(self, ts_receive_ns: int, ts_exchange_ns: int) -> None:
        """Take a message's times; one without an exchange time says nothing."""
        if ts_exchange_ns and len(self._differences_ns) < SAMPLES_MOST:
            self._differences_ns.append(ts_receive_ns - ts_exchange_ns)

    def offset_ns(self) -> int:
        """The offset to be added to receive times, ≥ 0; 0 without samples."""
        if not self._differences_ns:
            return 0
        ordered = sorted(self._differences_ns)
        return max(0, -ordered[len(ordered) * _PERCENT // 100])
