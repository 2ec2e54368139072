"""One strategy on one market of a run on bars: its ctx, the bars it is called at, what it is told of its orders."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from engine.boundary import strategy_boundary
from engine.ctx import Context
from engine.kernels import layout
from engine.reading import OrderReader, TradeReader
from engine.strategy import Strategy

_FILL_TRADE_ID, _TRADE_ID = 13, 4  # words of a FILL and of a TRADE output

Row = Sequence[int]
"""An output of the core as Python's numbers, which are read one by one several times faster than numpy's."""


class BarRunner:
    """One strategy on one market.

    `index`: of the strategy in the run. `first`: how many bars it sees from before the run. Of the bars after those,
    `bar_steps`: the steps at the end of which each is known; `bar_stops`: the records that have been seen by then.
    """

    __slots__ = ("_fills", "_head", "_last_trade", "_orders", "_stops", "_trades", "bar_steps", "bar_stops", "context",
                 "first", "index", "market", "name", "on_bar", "strategy")  # fmt: skip

    def __init__(
        self, name: str, strategy: Strategy, index: int, market: int, context: Context, *,
        bar_steps: NDArray[np.int64], bar_stops: NDArray[np.int64], orders: OrderReader, trades: TradeReader,
        first: int = 0,
    ) -> None:  # fmt: skip
        self.name = name
        self.strategy = strategy
        self.index = index
        self.market = market
        self.context = context
        self.first = first
        self.bar_steps = bar_steps
        self.bar_stops = bar_stops
        self.on_bar: Callable[[Context, int], object] | None = strategy.on_bar
        self._stops = memoryview(bar_stops.data)
        self._head = market << 16 | index  # the upper half of its outputs' heads
        self._orders = orders
        self._trades = trades
        self._fills: Counter[int] = Counter()  # fills of each open trade
        self._last_trade = 0

    def boundary(self, where: str) -> AbstractContextManager[None]:
        """What the strategy's code raises inside becomes an error that names it and the place."""
        return strategy_boundary(self.name, self.strategy.path, self.context.symbol, where)

    def show(self, stop: int) -> None:
        """Let the bars be seen that are over when the first `stop` records have been."""
        self.context.show(self.first + bisect_right(self._stops, stop))

    def take_up(self, rows: Sequence[Row]) -> None:
        """Know what the strategy was told before a snapshot."""
        for row in rows:
            if row[2] >> 32 == self._head:
                self._note_fill(row)
                self._orders.update(row)

    def tell(self, rows: Sequence[Row]) -> None:
        """Hand new outputs to `on_order` and `on_trade`."""
        strategy, context = self.strategy, self.context
        on_order, on_trade, where = strategy.on_order, strategy.on_trade, "on_order"
        try:
            for row in rows:
                if row[2] >> 32 != self._head:
                    continue
                self._note_fill(row)
                if row[2] & 0xFF == layout.TRADE_OUTPUT:
                    trade_id = row[_TRADE_ID]
                    turned = self._last_trade != trade_id  # the fill that closed it opened the next one
                    fills = self._fills.pop(trade_id, 0) + turned
                    if on_trade is not None:
                        trade, where = self._trades.trade(row, fills), "on_trade"
                        on_trade(context, trade)
                elif on_order is not None:
                    update, where = self._orders.update(row), "on_order"
                    if update is not None:
                        on_order(context, update)
                where = ""
        except (Exception, SystemExit):
            if not where:  # a defect of ours, not of the strategy
                raise
            with self.boundary(where):
                raise

    def _note_fill(self, row: Row) -> None:
        if row[2] & 0xFF == layout.FILL_OUTPUT:
            self._last_trade = row[_FILL_TRADE_ID]
            self._fills[self._last_trade] += 1
