"""A market from a seed: the same frames for the same seed, start and settings.

Each instrument has a fair price that nobody sees; it moves at random, faster at some times than at others. Takers who
guess it sweep what stands on the wrong side of it, others take at random; makers put levels around it and take them
back. So prices move by prints, the spread opens and closes, and nothing is known beforehand. Sizes and prices are whole
lots and ticks; the book changes at once, is told by quotes at once, and by depth messages ten times a second, as the
venue does it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from random import Random

import msgspec

from adapters.loopback.frames import AggregateTrade, BookTicker, Channel, DepthUpdate, Frame, SingleTrade, encoded
from adapters.loopback.market import Board, DepthSnapshot, Level, ListedMarket
from adapters.loopback.timeline import Timeline
from engine.bars import NS_PER_MS, NS_PER_SECOND

_DEPTH_EVERY_NS = 100 * NS_PER_MS
_SECONDS_PER_YEAR = 31_557_600
_LEVELS_LEAST, _LEVELS_MOST = 40, 400
_QUOTE_ASSETS = ("USDT", "USDC")
# First price, tick, lot; a symbol that does not stand here is cheap.
_KNOWN = {
    "BTCUSDT": ("60000", "0.10", "0.001"),
    "ETHUSDT": ("2500", "0.01", "0.001"),
    "SOLUSDT": ("150", "0.0100", "0.01"),
}
_OTHERS = ("10", "0.0010", "0.1")


class SeededSettings(msgspec.Struct, frozen=True):
    """What the market is like: volatility a year, spread in ticks, things that happen a second, funding interval."""

    seed: int = 1
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    volatility: float = 0.6
    spread_ticks: float = 4.0
    events_per_second: float = 30.0
    funding_seconds: int = 60


class SeededMarket:
    """The instruments side by side; what happens first comes first."""

    def __init__(self, settings: SeededSettings) -> None:
        self._flows = {symbol: OrderFlow(symbol, settings) for symbol in settings.symbols}
        self.boards = {symbol: flow.board for symbol, flow in self._flows.items()}

    def begin(self, timeline: Timeline) -> None:
        """The market opens; the timeline has begun."""
        for flow in self._flows.values():
            flow.begin(timeline)

    def next_ns(self) -> int:
        """When the next thing happens; a seeded market has no end."""
        return min(flow.next_ns() for flow in self._flows.values())

    def step(self) -> Sequence[Frame]:
        """Let it happen."""
        return min(self._flows.values(), key=OrderFlow.next_ns).step()

    def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        """The book as it stands now, in the middle of a depth message perhaps."""
        return self._flows[symbol].depth(limit)

    def close(self) -> None:
        """Nothing is open."""


class OrderFlow:
    """One instrument: its book in ticks and lots, what has changed since the last depth message, its next event."""

    def __init__(self, symbol: str, settings: SeededSettings) -> None:
        price, tick, lot = _KNOWN.get(symbol, _OTHERS)
        self._settings = settings
        self._random = Random(f"{settings.seed}/{symbol}")  # noqa: S311 - a market, not a secret
        self._listed = _listed(symbol, Decimal(tick), Decimal(lot))
        self.board = Board(self._listed, settings.funding_seconds, str(settings.seed))
        self._fair = float(Decimal(price) / Decimal(tick))
        self._move = settings.volatility / math.sqrt(_SECONDS_PER_YEAR)
        self._activity = 0.0
        self._now_ns = 0
        self._event_ns = 0
        self._depth_ns = _DEPTH_EVERY_NS
        self._sides: tuple[dict[int, int], dict[int, int]] = ({}, {})  # bids, asks
        self._changed: tuple[set[int], set[int]] = (set(), set())
        self._update_id = self._told_id = 1_000_000
        self._first_id = 0
        self._trade_id = 1_000
        self._quote = (0, 0, 0, 0)
        self._timeline = Timeline(1.0)

    def begin(self, timeline: Timeline) -> None:
        """Fill the book, and open."""
        self._timeline = timeline
        for side in (0, 1):
            self._fill(side)
        self._changed[0].clear()
        self._changed[1].clear()
        self._told_id = self._update_id
        self._first_id = 0
        self._schedule()
        self.board.begin(timeline.stamp_ms(0), self._middle())

    def next_ns(self) -> int:
        """When the next thing happens."""
        return min(self._event_ns, self._depth_ns, self._mark_ns())

    def step(self) -> list[Frame]:
        """Let it happen: an event, a depth message, or a mark price."""
        self._now_ns = self.next_ns()
        stamp_ms = self._timeline.stamp_ms(self._now_ns)
        if self._now_ns == self._mark_ns():
            return [self.board.mark_frame(stamp_ms, self._middle())]
        if self._now_ns == self._depth_ns:
            self._depth_ns += _DEPTH_EVERY_NS
            return self._depth_frames(stamp_ms)
        frames = self._happen(stamp_ms)
        self._schedule()
        return frames + self._quote_frames(stamp_ms)

    def depth(self, limit: int) -> DepthSnapshot:
        """The book as it stands now."""
        bids = sorted(self._sides[0].items(), reverse=True)[:limit]
        asks = sorted(self._sides[1].items())[:limit]
        stamp_ms = self._timeline.stamp_ms(self._now_ns)
        return DepthSnapshot(self._update_id, stamp_ms, self._levels(bids), self._levels(asks))

    def _mark_ns(self) -> int:
        return self._timeline.market_ns(self.board.next_mark_venue_ns)

    def _schedule(self) -> None:
        """Choose when the next event is, and let the fair price move until then."""
        random = self._random
        self._activity = 0.98 * self._activity + 0.1 * random.gauss(0, 1)
        rate = self._settings.events_per_second * math.exp(self._activity)
        seconds = min(random.expovariate(rate), 1.0)
        self._event_ns = self._now_ns + 1 + round(seconds * NS_PER_SECOND)
        # More happens where prices move more: the move is that of the time an average event takes.
        passed = 0.5 * seconds + 0.5 / self._settings.events_per_second
        self._fair = max(100.0, self._fair * (1 + random.gauss(0, self._move * math.sqrt(passed))))

    def _happen(self, stamp_ms: int) -> list[Frame]:
        """One event: who knows the fair price takes what is mispriced, else somebody takes, puts or takes back."""
        bid, ask = max(self._sides[0]), min(self._sides[1])
        if self._fair < bid or self._fair > ask:
            side = 0 if self._fair < bid else 1
            frames = self._sweep(stamp_ms, side, round(self._fair), 1_000_000)
        elif self._random.random() < 0.2:
            side = self._random.randrange(2)
            lots = 1 + round(self._random.paretovariate(1.3) * 3)
            reach = self._best(side) + (20 if side else -20)
            frames = self._sweep(stamp_ms, side, reach, lots)
        else:
            frames = []
        for count in range(self._random.randint(2, 5)):
            self._make(count % 2)
        for side in (0, 1):
            self._fill(side)
        return frames

    def _sweep(self, stamp_ms: int, side: int, reach: int, lots: int) -> list[Frame]:
        """A taker takes from the makers of a side, best first, up to a price; a trade for each level."""
        frames: list[Frame] = []
        while lots > 0 and self._sides[side]:
            price = self._best(side)
            if price > reach if side else price < reach:
                break
            standing = self._sides[side][price]
            taken = min(lots, standing)
            self._put(side, price, standing - taken)
            lots -= taken
            frames += self._trade_frames(stamp_ms, price, taken, is_buyer_maker=side == 0)
        if not self._sides[side]:
            self._fill(side)
        return frames

    def _make(self, side: int) -> None:
        """A maker puts a level near the fair price, or takes one back."""
        random = self._random
        sign = -1 if side == 0 else 1
        if random.random() < 0.45 and len(self._sides[side]) > _LEVELS_LEAST:
            near = self._best(side) + sign * int(random.expovariate(1 / 30))
            if near in self._sides[side]:
                self._put(side, near, 0)
            return
        spread = self._settings.spread_ticks
        # Some makers fight for the front, the others stand further back.
        distance = spread / 2 + random.expovariate(1 / (spread / 4 if random.random() < 0.5 else 3 * spread))
        price = round(self._fair + sign * distance)
        other = self._best(1 - side)
        price = min(price, other - 1) if side == 0 else max(price, other + 1)
        self._put(side, max(1, price), 1 + int(random.paretovariate(1.1) * 40) % 5_000)

    def _fill(self, side: int) -> None:
        """Keep a side deep enough, and not endless: what is far away is taken back."""
        levels = self._sides[side]
        sign = -1 if side == 0 else 1
        while len(levels) < _LEVELS_LEAST:
            start = self._fair + sign * self._settings.spread_ticks / 2
            price = max(1, round(start + sign * (1 + self._random.expovariate(1 / 60))))
            other = self._sides[1 - side]
            if other and (price <= max(other) if side else price >= min(other)):
                price = max(other) + 1 if side else min(other) - 1
            self._put(side, price, 1 + self._random.randrange(500))
        while len(levels) > _LEVELS_MOST:
            self._put(side, max(levels) if side else min(levels), 0)

    def _put(self, side: int, price: int, lots: int) -> None:
        """Let a size stand at a price: one update of the book."""
        if lots:
            self._sides[side][price] = lots
        else:
            del self._sides[side][price]
        self._update_id += 1
        self._first_id = self._first_id or self._update_id
        self._changed[side].add(price)

    def _best(self, side: int) -> int:
        return min(self._sides[1]) if side else max(self._sides[0])

    def _middle(self) -> Decimal:
        return (self._best(0) + self._best(1)) * self._listed.tick_size / 2

    def _trade_frames(self, stamp_ms: int, price: int, lots: int, *, is_buyer_maker: bool) -> list[Frame]:
        self._trade_id += 1
        symbol, number = self._listed.symbol, self._trade_id
        texts = (self._price(price), self._size(lots))
        single = SingleTrade(stamp_ms, stamp_ms, symbol, number, *texts, is_buyer_maker)
        aggregate = AggregateTrade(stamp_ms, symbol, number, *texts, number, number, stamp_ms, is_buyer_maker)
        return [
            encoded(symbol, Channel.trade, single),
            encoded(symbol, Channel.aggregate, aggregate),
            *self.board.trade(stamp_ms, *texts, is_buyer_maker=is_buyer_maker),
        ]

    def _quote_frames(self, stamp_ms: int) -> list[Frame]:
        """A quote where best bid or ask have changed."""
        bid, ask = self._best(0), self._best(1)
        quote = (bid, self._sides[0][bid], ask, self._sides[1][ask])
        if quote == self._quote:
            return []
        self._quote = quote
        texts = (self._price(bid), self._size(quote[1]), self._price(ask), self._size(quote[3]))
        ticker = BookTicker(self._update_id, self._listed.symbol, *texts, stamp_ms, stamp_ms)
        return [encoded(self._listed.symbol, Channel.quote, ticker)]

    def _depth_frames(self, stamp_ms: int) -> list[Frame]:
        """What has changed since the last depth message, if anything."""
        if not self._first_id:
            return []
        bids, asks = (
            self._levels([(price, self._sides[side].get(price, 0)) for price in sorted(self._changed[side])])
            for side in (0, 1)
        )
        ids = (self._first_id, self._update_id, self._told_id)
        update = DepthUpdate(stamp_ms, stamp_ms, self._listed.symbol, *ids, bids, asks)
        self._told_id, self._first_id = self._update_id, 0
        self._changed[0].clear()
        self._changed[1].clear()
        return [encoded(self._listed.symbol, Channel.depth, update)]

    def _levels(self, levels: Sequence[tuple[int, int]]) -> list[Level]:
        return [(self._price(price), self._size(lots)) for price, lots in levels]

    def _price(self, ticks: int) -> str:
        return f"{ticks * self._listed.tick_size:f}"

    def _size(self, lots: int) -> str:
        return f"{lots * self._listed.lot_size:f}"


def _listed(symbol: str, tick: Decimal, lot: Decimal) -> ListedMarket:
    quote = next((asset for asset in _QUOTE_ASSETS if symbol.endswith(asset)), symbol[-3:])
    decimals = (_decimals(tick), _decimals(lot))
    return ListedMarket(symbol, symbol.removesuffix(quote), quote, tick, lot, *decimals)


def _decimals(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent
