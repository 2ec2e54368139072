"""What the recording host's clock lacks to the venue's, estimated from the messages themselves.

Of (receive − exchange) over the book messages and trades of a file the 1st percentile is taken: the fastest messages,
but not a single stray one. Where it is negative the clock was behind, since no message arrives before it was sent: the
offset is its negative, and feed latency (receive + offset − exchange) is then ≥ 0 for 99 % of them. Where it is
positive nothing tells a slow line from a clock ahead, so nothing is claimed and the offset is 0.

The samples are spread over the whole file, as clocks drift: of a long one every second, fourth, … message is kept.
"""

from __future__ import annotations

SAMPLES_MOST = 20_000
_PERCENT = 1


class ClockSamples:
    """Differences receive − exchange (ns) of messages evenly spread over a file."""

    def __init__(self) -> None:
        self._differences_ns: list[int] = []
        self._stride = 1
        self._to_pass = 0

    def add(self, ts_receive_ns: int, ts_exchange_ns: int) -> None:
        """Take a message's times; one without an exchange time says nothing."""
        if not ts_exchange_ns:
            return
        if self._to_pass:
            self._to_pass -= 1
            return
        self._differences_ns.append(ts_receive_ns - ts_exchange_ns)
        if len(self._differences_ns) == SAMPLES_MOST:
            del self._differences_ns[1::2]
            self._stride *= 2
        self._to_pass = self._stride - 1

    def offset_ns(self) -> int:
        """The offset to be added to receive times, ≥ 0; 0 without samples."""
        if not self._differences_ns:
            return 0
        ordered = sorted(self._differences_ns)
        return max(0, -ordered[len(ordered) * _PERCENT // 100])
