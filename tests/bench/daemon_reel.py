"""A market on a reel: the frames of the capture (or a seeded market) again and again, at a fixed rate, without a seam.

The book is a real one: at the end of the reel a depth message leads back to its beginning, ids go on, and REST gives
the book as it stands. Each message is known by its number, so that whoever reads a tape can tell when it was due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from adapters.loopback.frames import PUBLIC_CHANNELS, Channel
from adapters.loopback.market import DepthSnapshot
from adapters.loopback.timeline import Timeline
from engine.kernels import layout
from tests.bench.daemon_frames import STREAMS, SYMBOL, new_market, payloads_of

KINDS = {Channel.depth: layout.LEVEL, Channel.quote: layout.QUOTE, Channel.aggregate: layout.PRINT, Channel.mark: 0}


class Said(msgspec.Struct, frozen=True):
    """One message: its text, its route, the kind of its records (0: not followed) and the id that they carry."""

    text: str
    is_public: bool
    kind: int
    number: int


class Reel:
    """The market (see `adapters.loopback.market.Market`) as far as REST asks for it; `say` gives message after message.

    `now_ms` is what the venue's clock shows.
    """

    def __init__(self, most: int, now_ms: Callable[[], int]) -> None:
        market, self.source = new_market()
        timeline = Timeline(1.0)
        timeline.begin(now_ms() * 1_000_000)
        market.begin(timeline)
        self.boards = market.boards
        self._now_ms = now_ms
        first = market.depth(SYMBOL, 1_000)
        self._first = (dict(first.bids), dict(first.asks))
        self._sides = (dict(first.bids), dict(first.asks))
        self._frames = _followed(market, first.last_id, most)
        self._place = 0
        self._book_id = first.last_id
        self._quote_id = self._trade_id = 0

    def say(self) -> Said:
        """The next message, with the time of now."""
        if self._place == len(self._frames):
            self._place = 0
            return self._lead_back()
        channel, payload = self._frames[self._place]
        self._place += 1
        now_ms = self._now_ms()
        payload["E"] = now_ms
        number = 0
        match channel:
            case Channel.depth:
                payload["T"] = now_ms
                self._chain(payload)
                number = self._book_id
            case Channel.quote:
                payload["T"] = now_ms
                self._quote_id += 1
                payload["u"] = number = self._quote_id
            case Channel.aggregate:
                payload["T"] = now_ms
                self._trade_id += 1
                payload["a"] = payload["f"] = payload["l"] = number = self._trade_id
            case _:
                pass  # of a mark, T is the funding time
        return _said(channel, payload, number)

    def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        """The book after the last message."""
        assert symbol == SYMBOL
        bids, asks = (sorted(side.items(), key=lambda level: float(level[0])) for side in self._sides)
        return DepthSnapshot(self._book_id, self._now_ms(), bids[::-1][:limit], asks[:limit])

    def _chain(self, payload: dict[str, Any]) -> None:
        payload["pu"], payload["U"] = self._book_id, self._book_id + 1
        self._book_id += 10
        payload["u"] = self._book_id
        for side, levels in zip(self._sides, (payload["b"], payload["a"]), strict=True):
            for price, size in levels:
                if float(size):
                    side[price] = size
                else:
                    side.pop(price, None)

    def _lead_back(self) -> Said:
        bids, asks = (
            [[price, "0"] for price in now if price not in first] + [list(level) for level in first.items()]
            for now, first in zip(self._sides, self._first, strict=True)
        )  # fmt: skip
        now_ms = self._now_ms()
        payload = {"e": "depthUpdate", "E": now_ms, "T": now_ms, "s": SYMBOL, "b": bids, "a": asks}
        self._chain(payload)
        return _said(Channel.depth, payload, self._book_id)


def _followed(market: Any, last_id: int, most: int) -> list[tuple[Channel, dict[str, Any]]]:
    """What a market says, without depth messages of before its book."""
    frames: list[tuple[Channel, dict[str, Any]]] = []
    for _, frame in payloads_of(market):
        payload = msgspec.json.decode(frame.body)
        if frame.channel is not Channel.depth or payload["u"] > last_id:
            frames.append((frame.channel, payload))
        if len(frames) == most:
            break
    market.close()
    return frames


def _said(channel: Channel, payload: dict[str, Any], number: int) -> Said:
    text = f'{{"stream":"{STREAMS[channel]}","data":{msgspec.json.encode(payload).decode()}}}'
    return Said(text, channel in PUBLIC_CHANNELS, KINDS[channel], number)
