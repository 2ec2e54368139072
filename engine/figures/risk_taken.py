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
_BEGUN, _ENDED, _OPENED = 0, 1, 2


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
        stop = stop_ticks * scale.tick
    elif fraction is not None:
        stop = trade.entry_price * (1 - side * float(fraction))
    else:
        return 0.0
    if stop <= 0:
        return 0.0
    contracts = float(trade.size) * float(scale.instrument.multiplier)
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
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    order_rows = np.flatnonzero(kinds == layout.ORDER_OUTPUT)
    fill_rows = np.flatnonzero(kinds == layout.FILL_OUTPUT)
    begun = is_stop & (orders["state"] == layout.NEW)
    ended = is_stop & (orders["state"] >= layout.FILLED)
    done = (fills["state"] == layout.FILLED) & np.isin(fills["order_id"], orders["order_id"][begun])
    opened = opening_rows(fills)
    ends = _bar_ends(result, fills[opened])
    events = np.concatenate(
        (
            _events(_BEGUN, order_rows[begun], orders[begun], "order_id", "lots", "stop_ticks", "seq"),
            _events(_ENDED, order_rows[ended], orders[ended], "order_id", "lots", "stop_ticks", "seq"),
            _events(_ENDED, fill_rows[done], fills[done], "order_id", "lots", "price_ticks", "seq"),
            _events(_OPENED, fill_rows[opened], fills[opened], "trade_id", "ledger_lots", "price_ticks", "seq"),
        )
    )
    events[len(events) - len(ends) :, -1] = ends
    # One line of time: at one output row a stop begins or ends, or a trade is opened, in this order.
    return _swept(events[np.lexsort((events[:, 1], events[:, 0]))].tolist())


def _events(kind: int, rows: NDArray[np.int64], outputs: NDArray[Any], *names: str) -> NDArray[np.int64]:
    """Rows of seven numbers: output row, kind, ledger, id, lots, ticks, record."""
    ledgers = outputs["strategy"].astype(np.int64) << 16 | outputs["instrument"]
    columns = (rows, np.full(len(rows), kind), ledgers, *(outputs[name] for name in names))
    return np.column_stack(columns).astype(np.int64)


def _bar_ends(result: RunResult, fills: NDArray[Any]) -> NDArray[np.int64]:
    """The number of the last record of the bar in which each fill fell; without bars, of the fill's own record."""
    steps = steps_of(result, fills)
    ends: NDArray[np.int64] = fills["seq"] if steps is None or result.step_seqs is None else result.step_seqs[steps]
    return ends


def _swept(events: list[list[int]]) -> dict[int, int]:
    """Go through the events in order, with the stops of each ledger and the trades whose bar has not ended."""
    working: dict[int, dict[int, tuple[int, int]]] = {}
    waiting: deque[tuple[int, int, int, int, int]] = deque()
    found: dict[int, int] = {}

    for _, kind, ledger, number, lots, ticks, record in events:
        if kind == _ENDED:
            working.get(ledger, {}).pop(number, None)
        elif kind == _OPENED:
            is_long, nearest = lots > 0, 0
            for stop_lots, stop_ticks in working.get(ledger, {}).values():
                risk = ticks - stop_ticks if is_long else stop_ticks - ticks
                if risk > 0 and (stop_lots > 0) != is_long and (not nearest or risk < nearest):
                    nearest = risk
            if nearest:
                found[number] = ticks - nearest if is_long else ticks + nearest
            waiting.append((record, ledger, number, lots, ticks))
        else:
            working.setdefault(ledger, {})[number] = lots, ticks
            while waiting and waiting[0][0] < record:
                waiting.popleft()
            for end, its_ledger, trade_id, held, base in waiting:
                if its_ledger != ledger or record > end or (lots > 0) == (held > 0) or (ticks < base) != (held > 0):
                    continue
                if trade_id not in found or abs(base - ticks) < abs(base - found[trade_id]):
                    found[trade_id] = ticks
    return found
