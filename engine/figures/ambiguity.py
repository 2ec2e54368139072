"""Fills whose place in a bar is not known: the bar met orders above and below its open, in an order bars do not tell.

The core counts such bars. Which fills they held is read from the outputs: those made inside a bar in which orders on
both sides were taken, filled or refused. An order that was met and neither filled nor ended leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.figures import money
from engine.figures.steps import step_times_ns, steps_of
from engine.figures.trades import Trade
from engine.kernels import layout
from engine.reading import view_as
from engine.replay import RunResult

_MADE_INSIDE = (layout.BY_REDUCE_ONLY, layout.BY_MARGIN, layout.BY_MAX_LEVERAGE, layout.BY_MAX_POSITIONS,
                layout.BY_FOK, layout.BY_IOC, layout.NO_SHORT, layout.OVER_CAPACITY)  # fmt: skip


class AmbiguityFigures(msgspec.Struct, frozen=True):
    """What of a run hangs on the order inside bars. Definitions are in `engine/figures/diagnostics.py`."""

    bars: int
    bars_found: int
    fills: int
    order_ids: tuple[int, ...]
    trades: int
    net_pnl: Decimal


class _Taken(msgspec.Struct, frozen=True):
    """Orders that were taken inside bars: the bar (record number and instrument in one), and on which side."""

    bars: NDArray[np.int64]
    is_up: NDArray[np.bool_]


def ambiguity(result: RunResult, trades: Sequence[Trade]) -> AmbiguityFigures:
    """Count and name the fills of ambiguous bars, and the trades that they opened, changed or closed."""
    count = result.figures["ambiguous_bars"]
    nothing = AmbiguityFigures(count, 0, 0, (), 0, Decimal(0))
    if not count or result.step_seqs is None:
        return nothing
    orders = view_as(result.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    fills = fills[fills["order_id"] > 0]
    refused = orders[(orders["state"] == layout.CANCELED) & np.isin(orders["reason"], _MADE_INSIDE)]
    new = orders[orders["state"] == layout.NEW]
    filled, was_inside = _taken(result, fills, new)
    ended, _ = _taken(result, refused, new)
    bars = np.concatenate((filled.bars, ended.bars))
    is_up = np.concatenate((filled.is_up, ended.is_up))
    ambiguous = np.intersect1d(bars[is_up], bars[~is_up])
    if not len(ambiguous):
        return nothing
    here = fills[was_inside][np.isin(filled.bars, ambiguous)]
    touched = set(here["trade_id"].tolist()) | _closed_by(result, here)
    pnl = [trade.pnl for trade in trades if trade.trade_id in touched]
    order_ids = tuple(np.unique(here["order_id"]).tolist())
    return AmbiguityFigures(count, len(ambiguous), len(here), order_ids, len(pnl), money.exact_sum(pnl))


def _taken(result: RunResult, rows: NDArray[Any], new: NDArray[Any]) -> tuple[_Taken, NDArray[np.bool_]]:
    """Those of the rows (fills or ends of orders) that happened inside a bar; and which of the rows these are."""
    steps = steps_of(result, rows)
    assert steps is not None, "a run of bars has steps"
    order = new[np.searchsorted(new["order_id"], rows["order_id"])]  # ids rise in the order of NEW
    types, is_taker = order["type"], rows["reason"] == layout.TAKER
    is_fill = rows["kind"] == layout.FILL_OUTPUT
    # Inside a bar an output carries the bar's close; a market order at that time, or a limit that takes, came at the
    # close itself.
    at_close = (types == layout.MARKET) | (is_fill & is_taker & (types == layout.LIMIT))
    was_inside = (rows["ts_ns"] == step_times_ns(result, steps)) & ~at_close
    buys = order["lots"] > 0
    # A stop-limit that rests as a limit fills as maker; in the bar that triggers it, as taker.
    is_stop = (types == layout.STOP) | ((types == layout.STOP_LIMIT) & (is_taker | ~is_fill))
    bars = rows["seq"] * (1 << 16) + rows["instrument"]
    return _Taken(bars[was_inside], (buys == is_stop)[was_inside]), was_inside


def _closed_by(result: RunResult, fills: NDArray[Any]) -> set[int]:
    """Trades that the orders of these fills closed: a fill that turns a position carries the next trade's number."""
    closed = view_as(result.outputs, layout.TRADE_OUTPUT, layout.TRADE_VIEW)
    return set(closed["trade_id"][np.isin(closed["order_id"], fills["order_id"])].tolist())
