"""When a connection may be made: soon after the venue is back, and never so often that the venue keeps us out.

Two promises pull in two directions: back within 5 s of the venue's return, and at most 60 connects in 5 minutes over
all connections, whatever the venue does. So while nothing is heard of a venue one connection at a time looks for it,
the scout, with a pause that grows to less than 5 s; the others follow once it has heard something. All draw on one
budget.
An attempt that reaches nobody (no route, port closed) is no connect: the venue has not seen it, and it costs nothing.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from collections.abc import Callable
from random import Random

import anyio

from adapters.feeds.limits import FeedLimits

_NOT_REACHED = frozenset(
    {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
)
_JITTER_LEAST = 0.8


class ConnectBudget:
    """Connects as they may be spread: `burst` at once, then one each `every_seconds`.

    In any span of T seconds there are at most burst + T / every_seconds of them. Times are seconds of one clock.
    """

    def __init__(self, burst: int, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._slack_seconds = (burst - 1) * every_seconds
        self._full_at = float("-inf")  # when all of the burst is there again

    def wait_seconds(self, now: float) -> float:
        """How long until one may be made."""
        return max(0.0, self._full_at - self._slack_seconds - now)

    def take(self, now: float) -> None:
        """One is made."""
        self._full_at = max(self._full_at, now) + self._every_seconds

    def give_back(self) -> None:
        """The one that was taken reached nobody."""
        self._full_at -= self._every_seconds


class Supervision:
    """Who may connect when, of so many connections to one venue. `clock` is monotonic, in seconds."""

    def __init__(self, count: int, limits: FeedLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._budget = ConnectBudget(limits.connects_burst, limits.connect_every_seconds)
        self._random = Random()  # noqa: S311 - spreads attempts, no secret
        self._failures = [0] * count
        self._begun_at = [float("-inf")] * count
        self._ended_at = [float("-inf")] * count
        self._venue_failures = 0
        self._venue_begun_at = float("-inf")
        self._heard: set[int] = set()
        self._scouts: deque[int] = deque()  # connections that the venue has not answered; the first one scouts
        self._changed = anyio.Event()

    async def admit(self, number: int) -> None:
        """Wait until a connection may be made; it counts as made then."""
        if number not in self._scouts:
            self._scouts.append(number)
        while True:
            while not self._may_go(number):
                await self._changed.wait()
            wait_seconds = max(self._due(number) - self._clock(), self._budget.wait_seconds(self._clock()))
            if wait_seconds <= 0:
                break
            await anyio.sleep(wait_seconds)
        now = self._clock()
        self._budget.take(now)
        self._begun_at[number] = self._venue_begun_at = now

    def heard(self, number: int) -> None:
        """The venue spoke on a connection, or kept it open for long enough: the others may follow."""
        self._heard.add(number)
        if number in self._scouts:
            self._scouts.remove(number)
        self._tell()

    def ended(self, number: int, lived_seconds: float, *, was_reached: bool = True) -> None:
        """A connection ended, or was not made. Only one that lived for long enough is forgiven those before it."""
        if not was_reached:
            self._budget.give_back()
        was_heard = number in self._heard
        self._heard.discard(number)
        self._ended_at[number] = self._clock()
        if lived_seconds >= self._limits.steady_seconds:
            self._failures[number] = self._venue_failures = 0
        else:
            self._failures[number] += 1
            self._venue_failures += 0 if was_heard else 1
        if number in self._scouts:  # somebody else may have more luck
            self._scouts.remove(number)
        self._tell()

    def backoff_seconds(self, failures: int) -> float:
        """The pause between the beginnings of two attempts after so many that failed."""
        longest = self._limits.backoff_seconds_max
        pause = min(self._limits.backoff_seconds * 2.0 ** min(failures, 16), longest)
        return pause * self._random.uniform(_JITTER_LEAST, 1.0)

    def _may_go(self, number: int) -> bool:
        return bool(self._heard) or self._scouts[0] == number

    def _due(self, number: int) -> float:
        """When the next attempt may begin, for all that failed before."""
        first_pause = self._limits.backoff_seconds * _JITTER_LEAST
        due = max(self._ended_at[number] + first_pause, self._begun_at[number] + self._pause(self._failures[number]))
        if not self._heard:
            due = max(due, self._venue_begun_at + self._pause(self._venue_failures))
        return due

    def _pause(self, failures: int) -> float:
        return self.backoff_seconds(failures - 1) if failures else 0.0

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def was_reached(error: BaseException) -> bool:
    """Whether an attempt that failed has come to the venue at all."""
    if isinstance(error, socket.gaierror):
        return False
    return not (isinstance(error, OSError) and error.errno in _NOT_REACHED)
