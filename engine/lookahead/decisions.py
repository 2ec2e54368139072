"""Decisions of strategies: orders, cancels, targets, as they were asked for; and where two runs stop sharing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from engine.kernels import layout
from engine.reading import TIFS, TYPES, Scale

Request = tuple[int, ...]
_NAMES = layout.REQUEST.names or ()
_FIELD = {name: place for place, name in enumerate(_NAMES)}


class Place(msgspec.Struct, frozen=True):
    """A line of a strategy's file."""

    path: str
    line: int


class Decision(msgspec.Struct, frozen=True):
    """One request of a strategy. `ts_ns`: the close of the bar at which it was made; 0 before the first.

    `request` holds the fields of `layout.REQUEST` without `step`; `place` is where the strategy's code asked for it.
    """

    ts_ns: int
    request: Request
    place: Place | None = None

    @property
    def strategy(self) -> int:
        """Which strategy of the run."""
        return self.request[_FIELD["strategy"]]

    @property
    def market(self) -> int:
        """Which market of the run."""
        return self.request[_FIELD["instrument"]]

    def same(self, other: Decision) -> bool:
        """Whether both ask for the same at the same moment."""
        return self.ts_ns == other.ts_ns and self.request == other.request


class Difference(msgspec.Struct, frozen=True):
    """The first decision that two runs do not share: what it was, what it became; None where there is none."""

    index: int
    was: Decision | None
    became: Decision | None

    @property
    def first(self) -> Decision:
        """The one that was made earlier."""
        assert self.was is not None or self.became is not None
        if self.was is None or (self.became is not None and self.became.ts_ns < self.was.ts_ns):
            assert self.became is not None
            return self.became
        return self.was


def request_of(row: Any) -> Request:
    """A record of `layout.REQUEST` as plain numbers, `step` left out: which one it is depends on other markets."""
    values = row.item()
    return tuple(0 if name == "step" else int(value) for name, value in zip(_NAMES, values, strict=True))


def first_difference(
    one: Sequence[Decision], two: Sequence[Decision], until_ns: int | None = None
) -> Difference | None:  # fmt: skip
    """Where two runs part, counting only what was decided up to a moment."""
    count = 0
    while count < min(len(one), len(two)) and one[count].same(two[count]):
        count += 1
    was = _until(one, count, until_ns)
    became = _until(two, count, until_ns)
    if was is None and became is None:
        return None
    return Difference(count, was, became)


def _until(decisions: Sequence[Decision], index: int, until_ns: int | None) -> Decision | None:
    if index >= len(decisions) or (until_ns is not None and decisions[index].ts_ns > until_ns):
        return None
    return decisions[index]


def text_of(decision: Decision | None, scale: Scale) -> str:
    """A decision in words: `buy 0.5 limit 101.5`, `cancel order 12`, `nothing`."""
    if decision is None:
        return "nothing"
    fields = dict(zip(_NAMES, decision.request, strict=True))
    kind, lots = fields["kind"], fields["lots"]
    if kind == layout.CANCEL_REQUEST:
        return f"cancel order {fields['order_id']}"
    if kind == layout.CANCEL_ALL_REQUEST:
        return "cancel all orders"
    if kind == layout.TARGET_REQUEST:
        return f"hold {scale.size(lots)}" if lots else "flatten"
    if kind != layout.ORDER_REQUEST:
        return f"request {kind}"
    words = ["buy" if lots > 0 else "sell", str(scale.size(abs(lots))), TYPES[fields["type"]]]
    if fields["limit_ticks"]:
        words.append(f"{scale.price(fields['limit_ticks']):.12g}")
    if fields["stop_ticks"]:
        words.append(f"stop {scale.price(fields['stop_ticks']):.12g}")
    if fields["tif"] != layout.GTC:
        words.append(TIFS[fields["tif"]])
    if fields["flags"] & layout.REDUCE_ONLY:
        words.append("reduce-only")
    return " ".join(words)


def in_order(decisions: Sequence[Decision]) -> list[Decision]:
    """By time; those of one moment as they were made."""
    times = np.array([decision.ts_ns for decision in decisions], dtype=np.int64)
    return [decisions[place] for place in np.argsort(times, kind="stable").tolist()]
