"""Funding of one instrument: every so many seconds of the venue's clock a settlement, at a rate made of the seed.

The rate of a settlement is known an interval before, as the venue announces it with the mark price; the list of past
ones reaches back before the start. Faults leave the next one out of that list, or put it there twice or late.
"""

from __future__ import annotations

from random import Random

import msgspec

from adapters.loopback.faults import Fault, FaultKind
from engine.bars import NS_PER_MS

_PAST_COUNT = 100
_KEPT_MOST = 1_000
_RATE_MOST = 30_000  # 1e-8


class Settlement(msgspec.Struct, frozen=True):
    """One settlement as the list gives it, and from when on it does."""

    time_ms: int
    rate: str
    mark: str
    shown_ms: int


class Funding:
    """The settlements of one instrument."""

    def __init__(self, symbol: str, seconds: int, seed: str) -> None:
        self.symbol = symbol
        self._interval_ms = seconds * 1000
        self._seed = seed
        self._settlements: list[Settlement] = []
        self._faults: list[Fault] = []
        self.next_ms = 0

    def begin(self, now_ms: int, mark: str) -> None:
        """The market opens: the next settlement, and those that were."""
        self.next_ms = (now_ms // self._interval_ms + 1) * self._interval_ms
        times = [self.next_ms - self._interval_ms * count for count in range(_PAST_COUNT, 0, -1)]
        self._settlements = [Settlement(time_ms, self.rate(time_ms), mark, 0) for time_ms in times]

    def rate(self, time_ms: int) -> str:
        """The rate of the settlement at a time: between −0.03 % and 0.03 %."""
        number = time_ms // self._interval_ms
        units = round(Random(f"{self._seed}/{number}").gauss(10_000, 8_000))  # noqa: S311 - a market, not a secret
        units = max(-_RATE_MOST, min(_RATE_MOST, units))
        return f"{'-' if units < 0 else ''}0.{abs(units):08d}"

    def arm(self, fault: Fault) -> None:
        """The next settlement goes wrong."""
        self._faults.append(fault)

    def settle(self, now_ms: int, mark: str) -> None:
        """Settle what is due."""
        while now_ms >= self.next_ms:
            settlement = Settlement(self.next_ms, self.rate(self.next_ms), mark, self.next_ms)
            self._settlements += self._listed(settlement)
            del self._settlements[:-_KEPT_MOST]
            self.next_ms += self._interval_ms

    def rows(self, now_ms: int, limit: int, start_ms: int | None, end_ms: int | None) -> list[dict[str, object]]:
        """Rows as REST gives them, oldest first: the last `limit`, or the first from `start_ms` on."""
        found = [
            each
            for each in self._settlements
            if each.shown_ms <= now_ms
            and (start_ms is None or each.time_ms >= start_ms)
            and (end_ms is None or each.time_ms <= end_ms)
        ]
        chosen = found[:limit] if start_ms is not None else found[-limit:]
        return [
            {"symbol": self.symbol, "fundingTime": each.time_ms, "fundingRate": each.rate, "markPrice": each.mark}
            for each in chosen
        ]

    def _listed(self, settlement: Settlement) -> list[Settlement]:
        """How often a settlement is listed, and from when on: once and at once, unless a fault is in the way."""
        if not self._faults:
            return [settlement]
        fault = self._faults.pop(0)
        if fault.kind is FaultKind.funding_missing:
            return []
        if fault.kind is FaultKind.funding_twice:
            return [settlement, settlement]
        late_ms = round(fault.until_ns - fault.at_ns) // NS_PER_MS
        return [msgspec.structs.replace(settlement, shown_ms=settlement.time_ms + late_ms)]
