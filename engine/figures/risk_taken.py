"""R: the risk that each trade took at its entry, where a stop order or the run's sizing tells it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.figures.steps import opening_rows, steps_of
from engine.figures.trades import Trade
from engine.kernels import layout
from engine.reading import Scale, kinds_of, view_as
from engine.replay import RunResult

_STOPS = (layout.STOP, layout.STOP_LIMIT)


def with_risk(
    trades: Sequence[Trade], result: RunResult, sized_by_risk: Mapping[str, Decimal] | None = None
) -> list[Trade]:
    """The trades, with `mae_r` and `mfe_r` where the risk at entry is known.

    It is what the greatest size held would lose from the average entry price to the stop, before costs. The stop is
    the nearest of the strategy's stop orders against the position that worked when it was opened, or that came by
    the end of that bar. Without one it is the distance that sized the entry: `sized_by_risk` holds, for strategies
    whose sizing is `risk`, the fraction of the price.
    """
    stops = _stops_at_entry(result)
    if not stops and not sized_by_risk:
        return list(trades)
    scales = {scale.instrument.symbol: scale for scale in result.scales}
    found = []
    for trade in trades:
        stop_ticks = stops.get(trade.trade_id, 0)
        risk = _risk(trade, scales[trade.symbol], stop_ticks, (sized_by_risk or {}).get(trade.strategy))
        found.append(
            msgspec.structs.replace(trade, mae_r=float(trade.mae) / risk, mfe_r=float(trade.mfe) / risk)
            if risk > 0
            else trade
        )
    return found


def _risk(trade: Trade, scale: Scale, stop_ticks: int, fraction: Decimal | None) -> float:
    """The money at risk; 0 where it is not known, or the stop stood on the side of profit."""
    side = 1 if trade.side == "long" else -1
    if stop_ticks:
        stop = scale.price(stop_ticks)
    elif fraction is not None:
        stop = trade.entry_price * (1 - side * float(fraction))
    else:
        return 0.0
    if stop <= 0:
        return 0.0
    contracts = float(trade.size * scale.instrument.multiplier)
    if scale.instrument.kind == "inverse":
        return side * contracts * (1 / stop - 1 / trade.entry_price)
    return side * contracts * (trade.entry_price - stop)


def _stops_at_entry(result: RunResult) -> dict[int, int]:
    """Trade → price in ticks of the stop that stood at its entry."""
    kinds = kinds_of(result.outputs)
    orders = view_as(result.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    is_stop = np.isin(orders["type"], _STOPS)
    if not is_stop.any():
        return {}
    order_rows = np.flatnonzero(kinds == layout.ORDER_OUTPUT)
    fill_rows = np.flatnonzero(kinds == layout.FILL_OUTPUT)
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    begun = is_stop & (orders["state"] == layout.NEW)
    ended = is_stop & (orders["state"] >= layout.FILLED)
    done = (fills["state"] == layout.FILLED) & np.isin(fills["order_id"], orders["order_id"][begun])
    opened = opening_rows(fills)
    # One line of time: at one output row a stop begins or ends, or a trade is opened.
    events = sorted(
        [(int(row), 0, order) for row, order in zip(order_rows[begun], orders[begun], strict=True)]
        + [(int(row), 1, order) for row, order in zip(order_rows[ended], orders[ended], strict=True)]
        + [(int(row), 1, fill) for row, fill in zip(fill_rows[done], fills[done], strict=True)]
        + [
            (int(row), 2, (fill, end))
            for row, fill, end in zip(fill_rows[opened], fills[opened], _bar_ends(result, fills[opened]), strict=True)
        ],
        key=lambda event: event[:2],
    )
    return _swept(events)


def _bar_ends(result: RunResult, fills: NDArray[Any]) -> list[int]:
    """The number of the last record of the bar in which each fill fell; without bars, of the fill's own record."""
    steps = steps_of(result, fills)
    if steps is None or result.step_seqs is None:
        return [int(seq) for seq in fills["seq"]]
    return [int(seq) for seq in result.step_seqs[steps]]


def _swept(events: Sequence[tuple[int, int, Any]]) -> dict[int, int]:
    """Go through the events in order, with the stops of each ledger and the trades whose bar has not ended."""
    working: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    waiting: deque[tuple[int, tuple[int, int], int, int, int]] = deque()
    found: dict[int, int] = {}

    def note(trade_id: int, lots: int, base: int, stop: tuple[int, int]) -> None:
        stop_lots, ticks = stop
        if (stop_lots > 0) == (lots > 0) or (ticks < base) != (lots > 0):
            return
        if trade_id not in found or abs(base - ticks) < abs(base - found[trade_id]):
            found[trade_id] = ticks

    for _, kind, row in events:
        if kind == 2:
            fill, end = row
            ledger = int(fill["strategy"]), int(fill["instrument"])
            entry = int(fill["trade_id"]), int(fill["ledger_lots"]), int(fill["price_ticks"])
            for stop in working.get(ledger, {}).values():
                note(*entry, stop)
            waiting.append((end, ledger, *entry))
            continue
        ledger = int(row["strategy"]), int(row["instrument"])
        if kind == 1:
            working.get(ledger, {}).pop(int(row["order_id"]), None)
            continue
        while waiting and waiting[0][0] < int(row["seq"]):
            waiting.popleft()
        stop = int(row["lots"]), int(row["stop_ticks"])
        working.setdefault(ledger, {})[int(row["order_id"])] = stop
        for end, its_ledger, trade_id, lots, base in waiting:
            if its_ledger == ledger and int(row["seq"]) <= end:
                note(trade_id, lots, base, stop)
    return found
