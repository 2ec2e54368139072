"""The session's clock: UTC from the host once, then its steady clock, so that a step of the host's changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable


class SessionClock:
    """`now_ns` never falls, and begins above `floor_ns` (the last time on the tape)."""

    def __init__(
        self, floor_ns: int = 0, *, wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._steady_ns = steady_ns
        self._base_ns = max(wall_ns(), floor_ns + 1) - steady_ns()

    def now_ns(self) -> int:
        """UTC ns."""
        return self._base_ns + self._steady_ns()
