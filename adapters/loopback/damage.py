"""Faults of the stream: frames left out, twice, the wrong way round, broken off, crossed, or with NaN for a price."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec

from adapters.loopback.faults import Fault, FaultKind
from adapters.loopback.frames import Channel, Frame, encoded

STREAM_FAULTS = frozenset(
    {
        FaultKind.gap,
        FaultKind.duplicate,
        FaultKind.reorder,
        FaultKind.garbage,
        FaultKind.oversized,
        FaultKind.crossed,
        FaultKind.nan,
    }
)
_PRICED = frozenset({Channel.depth, Channel.trade, Channel.aggregate, Channel.quote})


class Damage:
    """What is still to be done to the frames of each instrument."""

    def __init__(self) -> None:
        self._left: Counter[tuple[str, FaultKind]] = Counter()
        self._held: dict[str, Frame] = {}
        self._best_asks: dict[str, str] = {}

    def arm(self, fault: Fault, symbol: str) -> None:
        """From now on, the next frames of the instrument suffer from it."""
        self._left[symbol, fault.kind] += int(fault.amount)

    def take(self, frame: Frame) -> list[Frame]:
        """What becomes of a frame."""
        if frame.channel is Channel.quote:
            self._best_asks[frame.symbol] = msgspec.json.decode(frame.body)["a"]
        if not self._left and not self._held:
            return [frame]
        if frame.channel is Channel.depth:
            return self._take_depth(frame)
        return self._take_any(frame)

    def _take_depth(self, frame: Frame) -> list[Frame]:
        symbol = frame.symbol
        if symbol in self._held:
            return [frame, self._held.pop(symbol)]
        if self._uses(symbol, FaultKind.gap):
            return []
        if self._uses(symbol, FaultKind.reorder):
            self._held[symbol] = frame
            return []
        if self._uses(symbol, FaultKind.garbage):
            return [Frame(symbol, frame.channel, frame.body[: len(frame.body) // 2], is_cut=True)]
        size = self._left.pop((symbol, FaultKind.oversized), 0)
        if size:
            return [encoded(symbol, frame.channel, {"e": "depthUpdate", "s": symbol, "padding": "x" * size}), frame]
        if symbol in self._best_asks and self._uses(symbol, FaultKind.crossed):
            return [self._crossed(frame)]
        return self._take_any(frame)

    def _take_any(self, frame: Frame) -> list[Frame]:
        if frame.channel in _PRICED and self._uses(frame.symbol, FaultKind.nan):
            frame = _without_number(frame)
        if self._uses(frame.symbol, FaultKind.duplicate):
            return [frame, frame]
        return [frame]

    def _crossed(self, frame: Frame) -> Frame:
        """A depth message with a bid above the best ask."""
        content = msgspec.json.decode(frame.body)
        ask = self._best_asks[frame.symbol]
        decimals = len(ask.partition(".")[2])
        price = Decimal(ask) + Decimal(100).scaleb(-decimals)
        content["b"] = [*content["b"], (f"{price:f}", "1.000")]
        return encoded(frame.symbol, frame.channel, content)

    def _uses(self, symbol: str, kind: FaultKind) -> bool:
        """Whether a fault is due for the instrument; one less is left then."""
        left = self._left.get((symbol, kind), 0)
        if left > 1:
            self._left[symbol, kind] = left - 1
        elif left:
            del self._left[symbol, kind]
        return left > 0


def _without_number(frame: Frame) -> Frame:
    content: dict[str, Any] = msgspec.json.decode(frame.body)
    if frame.channel is Channel.depth:
        content["b"] = [("NaN", "NaN"), *content["b"][1:]]
    else:
        content["b" if frame.channel is Channel.quote else "p"] = "NaN"
    return encoded(frame.symbol, frame.channel, content)
