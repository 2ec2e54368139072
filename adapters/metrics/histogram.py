"""How long things took, counted into fixed bounds: cheap enough for every message.

One task or thread observes; nobody else touches the counts. A snapshot is a copy, and may go to another thread.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

LATENCY_BOUNDS_SECONDS = (
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
"""From what a message costs to what a person would call a standstill; 1 and 5 ms are limits the daemon is held to."""
DISK_BOUNDS_SECONDS = (
    100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""From a fast disk's fdatasync to one that hangs."""


class HistogramSnapshot(msgspec.Struct, frozen=True):
    """Counts of one moment: `counts[i]` observations were at most `bounds_seconds[i]` and above the bound before it.

    `counts` has one element more than there are bounds: what was longer than all of them.
    """

    bounds_seconds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_seconds: float

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)


class Histogram:
    """Counts of durations. `bounds_seconds` rise, and a duration that equals a bound is within it."""

    __slots__ = ("_bounds_seconds", "_counts", "_sum_seconds")

    def __init__(self, bounds_seconds: Sequence[float] = LATENCY_BOUNDS_SECONDS) -> None:
        bounds = tuple(bounds_seconds)
        assert bounds, "a histogram has bounds"
        assert all(low < high for low, high in itertools.pairwise(bounds)), "bounds rise"
        self._bounds_seconds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a negative one (a clock stepped) is counted as 0, so that the sum never falls."""
        if seconds < 0.0:  # noqa: PLR1730 - max() costs as much as the rest of this function
            seconds = 0.0
        self._counts[bisect_left(self._bounds_seconds, seconds)] += 1
        self._sum_seconds += seconds

    def snapshot(self) -> HistogramSnapshot:
        """The counts as they stand."""
        return HistogramSnapshot(self._bounds_seconds, tuple(self._counts), self._sum_seconds)
