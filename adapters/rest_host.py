"""One host that is asked by REST: its ban, its weight of the last minute, and who is under way to it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping

import anyio
import msgspec

from adapters.rest_refusals import seconds_left_of_minute, used_weight
from engine.bars import NS_PER_SECOND

_MINUTE_NS = 60 * NS_PER_SECOND


class HostStatistics(msgspec.Struct, frozen=True):
    """What has happened with one host. `banned_until_ns` is the monotonic clock's, 0 where there is no ban now."""

    host: str
    requests: int
    refused: dict[int, int]
    failures: int
    retries: int
    in_flight: int
    waiting: int
    banned_until_ns: int
    used_weight: int


class Flight:
    """One request under way. `scope` calls it back, which is done only while nothing of it was sent."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.is_sent = False


class Host:
    """What is known of one host, and who is under way to it."""

    def __init__(self, name: str, *, weight_per_minute: int, in_flight: int) -> None:
        self._name = name
        self._weight_per_minute = weight_per_minute
        self._in_flight = in_flight
        self.places = anyio.CapacityLimiter(in_flight)
        self.flights: set[Flight] = set()
        self.requests = self.failures = self.retries = self.waiting = 0
        self.refused: Counter[int] = Counter()
        self.refusals_in_a_row = 0
        self.banned_until_ns = 0
        self._spent: deque[tuple[int, int]] = deque()  # (when, weight) of the last minute
        # What the host itself has counted, of all who ask from this address, and what was spent since.
        self._reported = 0
        self._reported_until_ns = 0

    def begin(self, flight: Flight, weight: int) -> None:
        """Count a request that is now under way."""
        self.flights.add(flight)
        self.requests += 1
        self._spent.append((time.monotonic_ns(), weight))
        self._reported += weight

    def ban(self, until_ns: int) -> None:
        """Send nothing until then, and afterwards one request alone until one is answered."""
        self.banned_until_ns = max(self.banned_until_ns, until_ns)
        self.refusals_in_a_row += 1
        self.places.total_tokens = 1
        for flight in self.flights:
            if not flight.is_sent:
                flight.scope.cancel()

    def accept(self) -> None:
        """The host answered: it may be asked by several again."""
        self.refusals_in_a_row = 0
        self.places.total_tokens = self._in_flight

    def learn_weight(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take over what the host says was used in its present minute."""
        reported = used_weight(headers)
        if reported is not None:
            self._reported = reported
            self._reported_until_ns = now_ns + round(seconds_left_of_minute(headers) * NS_PER_SECOND)

    def wait_ns(self, weight: int, now_ns: int) -> int:
        """How long a request of this weight must wait; 0: not at all."""
        wait_ns = max(0, self.banned_until_ns - now_ns)
        most = self._weight_per_minute - weight
        if self._reported > most and self._reported_until_ns > now_ns:
            wait_ns = max(wait_ns, self._reported_until_ns - now_ns)
        excess = self._own_weight(now_ns) - most
        for spent_ns, spent in self._spent:
            if excess <= 0:
                break
            excess -= spent
            wait_ns = max(wait_ns, spent_ns + _MINUTE_NS - now_ns)
        return wait_ns

    def statistics(self, now_ns: int) -> HostStatistics:
        """The counters as they are."""
        reported = self._reported if self._reported_until_ns > now_ns else 0
        return HostStatistics(
            self._name,
            self.requests,
            dict(self.refused),
            self.failures,
            self.retries,
            len(self.flights),
            self.waiting,
            self.banned_until_ns if self.banned_until_ns > now_ns else 0,
            max(reported, self._own_weight(now_ns)),
        )

    def _own_weight(self, now_ns: int) -> int:
        while self._spent and self._spent[0][0] <= now_ns - _MINUTE_NS:
            self._spent.popleft()
        return sum(weight for _, weight in self._spent)
