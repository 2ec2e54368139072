"""A raw capture of Binance USD-M as a market: its own messages in their own spacing, their times moved to now.

The book that REST gives is kept as a dictionary: the capture's first snapshot, and every depth message from there on,
so that it fits the position in the stream. Captures with single trades have them sent as aggregate ones too, one each,
and what captures mostly lack is made up: mark prices (the middle of the quotes), funding, and candles of before.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from adapters.captures.capture_file import CaptureKind, recognise
from adapters.captures.lines import Line, read_lines
from adapters.captures.raw_lines import UNDECODABLE, receive_time
from adapters.captures.report import RejectedError
from adapters.loopback.frames import AggregateTrade, Channel, Frame, encoded
from adapters.loopback.market import Board, DepthSnapshot, ListedMarket
from adapters.loopback.timeline import Timeline
from engine.bars import NS_PER_MS
from engine.errors import DataError

_PROBE_LINES = 5_000
_QUOTE_ASSETS = ("USDT", "USDC", "BUSD", "USD")
_CHANNELS = {each.value: each for each in Channel} | {"kline": Channel.kline}


class CaptureSettings(msgspec.Struct, frozen=True):
    """Which file, how often funding is made up, and whether messages keep the times that they were recorded with."""

    path: Path
    funding_seconds: int = 28_800
    is_time_kept: bool = False


class _Head(msgspec.Struct, frozen=True):
    """What the first lines say of a capture. `lag_ns`: the least time from a message's event to its arrival."""

    symbol: str
    snapshot: dict[str, Any]
    first_ns: int
    lag_ns: int
    middle: Decimal
    price_texts: set[str]
    size_texts: set[str]
    has_aggregates: bool


class CaptureMarket:
    """One capture of one instrument."""

    def __init__(self, settings: CaptureSettings) -> None:
        self._settings = settings
        self._head = head = _read_head(settings.path)
        listed = _listed(head)
        self.board = Board(listed, settings.funding_seconds, settings.path.name)
        self.boards = {head.symbol: self.board}
        self._sides: tuple[dict[str, str], dict[str, str]] = (dict(head.snapshot["bids"]), dict(head.snapshot["asks"]))
        self._last_id = int(head.snapshot["lastUpdateId"])
        self._middle = head.middle
        self._now_ns = 0
        self._aggregate_id = 0
        self._timeline = Timeline(1.0)
        self._messages = _messages(settings.path)
        self._next = next(self._messages, None)

    def begin(self, timeline: Timeline) -> None:
        """The market opens; the timeline has begun."""
        self._timeline = timeline
        self.board.begin(timeline.stamp_ms(0), self._head.middle)

    def next_ns(self) -> int | None:
        """When the next message comes, or the next mark price; None at the end of the file."""
        if self._next is None:
            return None
        return min(max(self._now_ns, self._next[0] - self._head.first_ns), self._mark_ns())

    def step(self) -> Sequence[Frame]:
        """Let it come."""
        next_ns = self.next_ns()
        assert self._next is not None
        assert next_ns is not None
        self._now_ns = max(self._now_ns, next_ns)
        if next_ns == self._mark_ns():
            return [self.board.mark_frame(self._timeline.stamp_ms(self._now_ns), self._middle)]
        stream, data = self._next[1:]
        self._next = next(self._messages, None)
        return self._say(stream, data)

    def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        """The book after the last depth message that was sent; until the capture's snapshot, that snapshot."""
        assert symbol == self._head.symbol
        bids, asks = (sorted(side.items(), key=lambda level: float(level[0])) for side in self._sides)
        return DepthSnapshot(
            self._last_id, self._timeline.stamp_ms(self._now_ns), bids[::-1][:limit], asks[:limit]
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the file."""
        self._next = None
        self._messages.close()

    def _mark_ns(self) -> int:
        return self._timeline.market_ns(self.board.next_mark_venue_ns)

    def _say(self, stream: str, data: dict[str, Any]) -> list[Frame]:
        channel = _CHANNELS.get(stream)
        if channel is None or data.get("s") != self._head.symbol or channel is Channel.mark:
            return []
        self._move_times(data)
        if channel is Channel.depth:
            self._apply(data)
        elif channel is Channel.quote:
            self._middle = (Decimal(data["b"]) + Decimal(data["a"])) / 2
        frames = [encoded(self._head.symbol, channel, data)]
        is_trade = channel is (Channel.aggregate if self._head.has_aggregates else Channel.trade)
        if is_trade and data.get("X", "MARKET") == "MARKET":
            frames += self.board.trade(
                self._timeline.stamp_ms(self._now_ns), data["p"], data["q"], is_buyer_maker=data["m"]
            )
            if channel is Channel.trade:
                frames.insert(1, self._as_aggregate(data))
        return frames

    def _as_aggregate(self, data: dict[str, Any]) -> Frame:
        """A single trade as an aggregate of one, under its own id."""
        number = int(data["t"])
        aggregate = AggregateTrade(
            data["E"], data["s"], number, data["p"], data["q"], number, number, data["T"], data["m"]
        )
        return encoded(self._head.symbol, Channel.aggregate, aggregate)

    def _apply(self, data: dict[str, Any]) -> None:
        """Take a depth message into the book, unless the snapshot is newer."""
        if data["u"] < self._last_id:
            return
        for side, name in zip(self._sides, ("b", "a"), strict=True):
            for price, size in data[name]:
                if float(size):
                    side[price] = size
                else:
                    side.pop(price, None)
        self._last_id = int(data["u"])

    def _move_times(self, data: dict[str, Any]) -> None:
        """Event and trade time as if the message had come now."""
        if self._settings.is_time_kept:
            return
        for name in ("E", "T"):
            if name in data:
                market_ns = data[name] * NS_PER_MS + self._head.lag_ns - self._head.first_ns
                data[name] = self._timeline.stamp_ms(market_ns)


def _messages(path: Path) -> Generator[tuple[int, str, dict[str, Any]], None, None]:
    """Receive time, channel and payload of each line that is a message; snapshots are left out."""
    for line in read_lines(path):
        message = _read(line)
        if message is not None and message[1]:
            yield message


def _read(line: Line) -> tuple[int, str, dict[str, Any]] | None:
    """One line; channel empty: the answer to a REST request. None where it cannot be read."""
    try:
        receive_ns, body = receive_time(line.content)
        content = msgspec.json.decode(body)
    except (RejectedError, *UNDECODABLE):
        return None
    if not isinstance(content, dict):
        return None
    stream, data = str(content.get("stream", "")), content.get("data", content)
    channel = stream.partition("@")[2].partition("@")[0]
    return (receive_ns, channel, data) if isinstance(data, dict) and (channel or "lastUpdateId" in data) else None


def _read_head(path: Path) -> _Head:
    """Read the first lines; raises DataError where a market cannot be made of them."""
    found = recognise(path)
    if found.kind is not CaptureKind.binance_usdm:
        raise DataError(f"{path} is {found.kind}", remedy="The exchange plays raw captures of Binance USD-M only.")
    messages = [message for line in itertools.islice(read_lines(path), _PROBE_LINES) if (message := _read(line))]
    streamed = [message for message in messages if message[1]]
    symbols = {data.get("s", "") for _, _, data in streamed}
    snapshot = next((data for _, channel, data in messages if not channel), None)
    quote = next((data for _, channel, data in streamed if channel == Channel.quote), None)
    if len(symbols) != 1 or snapshot is None or quote is None:
        raise DataError(
            f"{path}: its first {_PROBE_LINES:,} lines hold {len(symbols)} symbols,"
            f" {'a' if snapshot else 'no'} book snapshot, {'quotes' if quote else 'no quotes'}",
            remedy="The exchange plays captures of one symbol, with a REST snapshot of the book near their beginning.",
        )
    books = [snapshot["bids"], snapshot["asks"]]
    return _Head(
        symbols.pop(),
        snapshot,
        streamed[0][0],
        min(receive_ns - data["E"] * NS_PER_MS for receive_ns, _, data in streamed if "E" in data),
        (Decimal(quote["b"]) + Decimal(quote["a"])) / 2,
        {price for side in books for price, _ in side},
        {size for side in books for _, size in side},
        any(channel == Channel.aggregate for _, channel, _ in streamed),
    )


def _listed(head: _Head) -> ListedMarket:
    """The instrument: tick and lot are the greatest steps that all prices and sizes of the snapshot are made of."""
    symbol = head.symbol
    quote = next((asset for asset in _QUOTE_ASSETS if symbol.endswith(asset)), "USDT")
    tick, price_decimals = _step(head.price_texts)
    lot, size_decimals = _step(head.size_texts)
    return ListedMarket(symbol, symbol.removesuffix(quote), quote, tick, lot, price_decimals, size_decimals)


def _step(texts: set[str]) -> tuple[Decimal, int]:
    decimals = max(len(text.partition(".")[2]) for text in texts)
    step = math.gcd(*(int(Decimal(text).scaleb(decimals)) for text in texts))
    return Decimal(max(1, step)).scaleb(-decimals), decimals
