"""Books of many levels and distant prices beside a plain dictionary: windows that move and widen, tables that grow.

The generators of `book_runs.py` make small books, so that things collide; here they are large, so that the memory
behind them has to change while orders rest in it.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.book_engine import BookEngine
from engine.book_state import Listener, TapeMarket
from engine.instruments import Instrument
from engine.kernels import layout
from engine.settings import RunSettings

SHAPES = {
    # levels at the start, distance between levels at most, how far the market walks a message
    "dense": (9_000, 1, 1),
    "walking": (3_000, 3, 400),
    "sparse": (2_000, 100_000, 1_000),
    "distant": (1_500, 10**9, 10**6),
}
MESSAGES = 250


class Market:
    """A made-up book: a dictionary a side, and the LEVEL records of what happens to it."""

    def __init__(self, shape: str, seed: int) -> None:
        self.random = random.Random(seed)
        count, self.distance, self.walk = SHAPES[shape]
        self.middle = count * self.distance + 10**6
        self.update_id = 1
        self.ts_ns = 1_700_000_000 * 10**9
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.count = count // 2

    def snapshot(self) -> np.ndarray[Any, Any]:
        """A whole new book around the middle."""
        levels = []
        for side, sign in ((layout.BID, -1), (layout.ASK, 1)):
            price = self.middle
            self.sides[side].clear()
            for _ in range(self.count):
                price += sign * self.random.randint(1, self.distance)
                if price > 0:
                    levels.append((side, price, self.random.randint(1, 50)))
        return self._message(levels, is_snapshot=True)

    def change(self) -> np.ndarray[Any, Any]:
        """Some levels more, less, or gone; now and then the market walks off and leaves a hole."""
        self.middle = max(10 * self.distance, self.middle + self.random.randint(-self.walk, self.walk))
        levels = []
        for side, sign in ((layout.BID, -1), (layout.ASK, 1)):
            book = self.sides[side]
            beyond = [price for price in book if (price >= self.middle if side == layout.BID else price <= self.middle)]
            levels += [(side, price, 0) for price in sorted(beyond)]
            for _ in range(self.random.randint(0, 12)):
                near = self.random.random() < 0.7
                reach = self.distance * (20 if near else self.count)
                price = self.middle + sign * self.random.randint(1, reach)
                if price > 0:
                    levels.append((side, price, self.random.choice((0, 0, 1, 7, 40))))
        return self._message(levels, is_snapshot=False)

    def _message(self, levels: list[tuple[int, int, int]], *, is_snapshot: bool) -> np.ndarray[Any, Any]:
        rows = np.zeros(max(1, len(levels)), dtype=layout.RECORD)
        self.ts_ns += 10**6
        rows["kind"], rows["ts_exchange_ns"], rows["ts_receive_ns"] = layout.LEVEL, self.ts_ns, self.ts_ns
        rows["d"], rows["c"] = self.update_id, self.update_id + 1
        self.update_id += 1
        for row, (side, price, lots) in zip(rows, levels, strict=False):
            row["a"], row["b"], row["flags"] = price, lots, layout.SELL if side == layout.ASK else 0
            if lots:
                self.sides[side][price] = lots
            else:
                self.sides[side].pop(price, None)
        rows["flags"] |= layout.SNAPSHOT if is_snapshot else 0
        rows["flags"][-1] |= layout.LAST
        return rows

    def depth(self, side: int) -> list[list[int]]:
        """Every level of a side, best first."""
        found = sorted(self.sides[side].items(), reverse=side == layout.BID)
        return [list(level) for level in found]


def an_engine() -> BookEngine:
    """One instrument with a book, and a strategy in Python that is told of nothing."""
    instrument = Instrument("X", Decimal(1), Decimal(1))
    settings = RunSettings(initial_cash=Decimal(10**17), cash_decimals=0)
    return BookEngine(settings, [instrument], [TapeMarket(has_book=True)], [Listener((0,), 10**9)])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_large_book_is_the_dictionary(shape: str, seed: int) -> None:
    market, engine = Market(shape, seed), an_engine()
    for number in range(MESSAGES):
        rows = market.snapshot() if number % 150 == 0 else market.change()
        assert engine.advance(rows, 0, len(rows)) == (len(rows), layout.WAKE_DONE)
        book = engine.state.books[0]
        assert book["state"] == layout.BOOK_VALID
        for side in (layout.BID, layout.ASK):
            assert engine.depth(0, side, 40).tolist() == market.depth(side)[:40]
        assert book["level_count"] == len(market.sides[0]) + len(market.sides[1])
    for side in (layout.BID, layout.ASK):
        assert engine.depth(0, side, 1 << 30).tolist() == market.depth(side)


def test_a_book_of_many_levels_widens_its_window() -> None:
    """Else the test above would not reach what it is for."""
    market, engine = Market("dense", 0), an_engine()
    rows = market.snapshot()
    before = int(engine.state.books["window"][0])
    engine.advance(rows, 0, len(rows))
    assert int(engine.state.books["window"][0]) == 8 * before
    assert int(engine.state.books["far_size"][0]) > 2 * len(rows)


def limit_order(lots: int, price: int) -> np.ndarray[Any, Any]:
    """A limit that rests."""
    row = np.zeros(1, dtype=layout.REQUEST)
    row["kind"], row["type"], row["tif"] = layout.ORDER_REQUEST, layout.LIMIT, layout.GTC
    row["flags"], row["lots"], row["limit_ticks"] = layout.POST_ONLY, lots, price
    return row


@pytest.mark.parametrize("shape", SHAPES)
def test_orders_keep_their_places_while_the_memory_behind_them_moves(shape: str) -> None:
    """Without prints an order by `trades_only` has the least size before it that its level has had since it came."""
    market, engine = Market(shape, 7), an_engine()
    chance = random.Random(7)
    expected: dict[int, tuple[int, int, int]] = {}  # order id: side, price, lots ahead
    for number in range(MESSAGES):
        rows = market.change() if number else market.snapshot()
        for row in rows:
            side = layout.ASK if row["flags"] & layout.SELL else layout.BID
            for order_id, (own_side, price, ahead) in expected.items():
                if number and own_side == side and price == row["a"]:
                    expected[order_id] = (side, price, min(ahead, int(row["b"])))
        engine.advance(rows, 0, len(rows))
        if number % 5 == 0:
            side = chance.choice((layout.BID, layout.ASK))
            level = chance.choice(market.depth(side)[len(market.depth(side)) // 2 :])
            first = engine.submit(limit_order(1 if side == layout.BID else -1, level[0]))
            expected[first] = (side, level[0], level[1])
            quiet = market.change()  # the order arrives before the next record of its market
            for row in quiet:
                row_side = layout.ASK if row["flags"] & layout.SELL else layout.BID
                for order_id, (own_side, price, ahead) in expected.items():
                    if own_side == row_side and price == row["a"]:
                        expected[order_id] = (own_side, price, min(ahead, int(row["b"])))
            engine.advance(quiet, 0, len(quiet))
    orders = engine.state.orders
    found = {
        int(row["id"]): int(row["ahead"]) for row in orders[orders["id"] != 0] if row["state"] == layout.ACTIVE
    }  # fmt: skip
    assert len(found) > MESSAGES // 20
    assert found == {order_id: expected[order_id][2] for order_id in found}
