"""The steps at which a strategy decided to enter or to leave a position, read off its orders.

An order that opens or increases a position is an entry, from the step at whose end it was placed. A market order that
reduces one is an exit, from that step too. A stop or a target rests until the price comes, often for the whole life of
a position: it is an exit at the step in which it fills.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.bars import IntColumn
from engine.kernels import layout
from engine.symbol_accounts import Timeline

_SEQ, _HEAD, _ORDER, _LOTS, _REMAINING, _TYPE, _FLAGS, _LEDGER_LOTS = 0, 2, 3, 4, 5, 8, 10, 10
_OVER = (layout.CANCELED, layout.EXPIRED, layout.REJECTED)


def order_signals(outputs: NDArray[np.int64], instrument: int, timeline: Timeline) -> tuple[IntColumn, IntColumn]:
    """The steps with an entry and those with an exit on one instrument, ascending.

    Orders of the engine's own (guards, liquidation, the end of the run) are no signals. Whether an order reduces is
    judged by the strategy's position with the market orders that are still to fill.
    """
    heads = outputs[:, _HEAD]
    kinds = heads & 0xFF
    rows = outputs[((kinds == layout.ORDER_OUTPUT) | (kinds == layout.FILL_OUTPUT)) & (heads >> 48 == instrument)]
    heads, ids, lots = rows[:, _HEAD], rows[:, _ORDER], rows[:, _LOTS]
    states, is_fill = heads >> 8 & 0xFF, heads & 0xFF == layout.FILL_OUTPUT
    is_new = ~is_fill & (states == layout.NEW)
    market, system = (np.zeros(int(ids.max()) + 1 if len(ids) else 1, dtype=np.bool_) for _ in range(2))
    market[ids[is_new & (rows[:, _TYPE] == layout.MARKET)]] = True
    system[ids[is_new & (rows[:, _FLAGS] & layout.SYSTEM != 0)]] = True
    system[0] = True  # a liquidation has no order
    is_market, is_own = market[ids], ~system[ids]
    expected = _expected(rows, heads, is_new, is_fill, is_market)
    is_reducing = np.sign(expected) * np.sign(lots) < 0
    is_beyond = np.abs(lots) > np.abs(expected)
    may_open = is_new & (lots != 0) & (rows[:, _FLAGS] & layout.REDUCE_ONLY == 0)
    entries = is_own & may_open & (~is_reducing | is_beyond)
    before = rows[:, _LEDGER_LOTS] - lots
    closes = is_fill & ~is_market & (np.sign(before) * np.sign(lots) < 0)
    exits = is_own & ((is_new & is_market & is_reducing) | closes)
    entered, left = (np.unique(timeline.steps_of(rows[chosen, _SEQ] - 1)) for chosen in (entries, exits))
    return entered, left


def _expected(
    rows: NDArray[np.int64], heads: NDArray[np.int64], is_new: NDArray[np.bool_], is_fill: NDArray[np.bool_],
    is_market: NDArray[np.bool_],
) -> IntColumn:  # fmt: skip
    """Before each row, the lots that its strategy will hold when its market orders have filled."""
    lots = rows[:, _LOTS]
    is_over = ~is_fill & np.isin(heads >> 8 & 0xFF, _OVER)
    change = np.where(is_new & is_market, lots, 0)
    change -= np.where(is_over & is_market, np.sign(lots) * rows[:, _REMAINING], 0)
    change += np.where(is_fill & ~is_market, lots, 0)
    expected = np.zeros(len(rows), dtype=np.int64)
    strategies = heads >> 32 & 0xFFFF
    for strategy in np.unique(strategies):
        own = np.flatnonzero(strategies == strategy)
        expected[own] = np.cumsum(change[own]) - change[own]
    return expected
