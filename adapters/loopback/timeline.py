"""Two times: the market's own, and the venue's, which is what its clock shows. Faults have the venue's.

The market's time is what a capture was recorded in, or a seed was played out in. At speed X the venue's clock goes X
times slower than it, and during a burst slower still, so that venue and wall clock agree and more happens in a second.
At full speed there is no wall clock to agree with: the venue shows the market's own time.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from engine.bars import NS_PER_MS

FULL_SPEED = 0.0


class Burst(msgspec.Struct, frozen=True):
    """From one venue time (ns since the start) to another, `factor` times as much happens."""

    from_ns: int
    to_ns: int
    factor: float


class Timeline:
    """Converts between the times; bursts that overlap follow one another."""

    def __init__(self, speed: float, bursts: Sequence[Burst] = ()) -> None:
        self.is_full_speed = speed == FULL_SPEED
        self.start_ns = time.time_ns()
        self.is_running = False
        self._venue_starts = [0]
        self._market_starts = [0]
        self._rates = [1.0 if self.is_full_speed else speed]
        for burst in () if self.is_full_speed else sorted(bursts, key=lambda each: each.from_ns):
            from_ns = max(burst.from_ns, self._venue_starts[-1])
            self._turn(from_ns, speed * burst.factor)
            self._turn(max(from_ns, burst.to_ns), speed)

    def begin(self, start_ns: int) -> None:
        """The market opens at this wall time."""
        self.start_ns = start_ns
        self.is_running = True

    def market_ns(self, venue_ns: int) -> int:
        """The market's time at a venue time, both ns since the start."""
        place = bisect_right(self._venue_starts, venue_ns) - 1
        return self._market_starts[place] + round((venue_ns - self._venue_starts[place]) * self._rates[place])

    def venue_ns(self, market_ns: int) -> int:
        """The venue's time at a market time, both ns since the start."""
        place = max(0, bisect_right(self._market_starts, market_ns) - 1)
        return self._venue_starts[place] + round((market_ns - self._market_starts[place]) / self._rates[place])

    def stamp_ms(self, market_ns: int) -> int:
        """What the venue's clock shows at a market time, ms since 1970."""
        return (self.start_ns + self.venue_ns(market_ns)) // NS_PER_MS

    def _turn(self, venue_ns: int, rate: float) -> None:
        market_ns = self.market_ns(venue_ns)
        self._venue_starts.append(venue_ns)
        self._market_starts.append(market_ns)
        self._rates.append(rate)
