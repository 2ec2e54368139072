"""hftbacktest on the same capture: its own converter, its own example's grid, its fast book."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

ORDER_LATENCY_NS = 10_000_000
INTERVAL_NS = 100_000_000
LEVELS = 20


def convert(capture: Path, copies: int, offset_ns: int) -> Any:
    """The capture as hftbacktest's events, `copies` of them one after another in time."""
    from hftbacktest.data.utils import binancefutures  # noqa: PLC0415 - the bench extra

    with contextlib.redirect_stdout(io.StringIO()):
        events = binancefutures.convert(str(capture), base_latency=offset_ns, buffer_size=4_000_000)
    events = np.ascontiguousarray(events)
    times = events["exch_ts"], events["local_ts"]
    span = int(max(column.max() for column in times) - min(column.min() for column in times))
    tiled = np.tile(events, copies)
    shifts = np.repeat(np.arange(copies, dtype=np.int64) * (span + 1_000_000_000), len(events))
    tiled["exch_ts"] += shifts
    tiled["local_ts"] += shifts
    return tiled


def _backtest(events: Any) -> Any:
    from hftbacktest import BacktestAsset, ROIVectorMarketDepthBacktest  # noqa: PLC0415

    prices = events["px"][events["px"] > 0]
    middle = float(np.median(prices))
    asset = (
        BacktestAsset()
        .data([events])
        .linear_asset(1.0)
        .constant_order_latency(ORDER_LATENCY_NS, ORDER_LATENCY_NS)
        .power_prob_queue_model(3.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0002, 0.0005)
        .tick_size(0.1)
        .lot_size(0.001)
        .roi_lb(middle * 0.95)  # nothing trades beyond; a wider range makes it slower
        .roi_ub(middle * 1.05)
        .last_trades_capacity(0)
    )
    return ROIVectorMarketDepthBacktest([asset])


@njit
def _empty(hbt: Any) -> int:
    count = 0
    while hbt.elapse(3_600_000_000_000) == 0:
        count += 1
    return count


@njit
def _grid(hbt: Any, levels: int, step: int, half: int, size: float, most: float) -> int:
    """The grid of tapewright's `grid` strategy with hftbacktest's calls: same prices, same sizes, same timer."""
    tick = 0.1
    count = 0
    while hbt.elapse(100_000_000) == 0:
        count += 1
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        if bid <= 0 or ask >= 2_000_000_000 or ask <= 0:
            continue
        position = hbt.position(0)
        middle = (bid + ask) // 2
        highest_bid = min(middle - half, bid) // step * step
        lowest_ask = -(-max(middle + half, ask) // step) * step
        bid_levels = levels if position < most - 1e-9 else 0
        ask_levels = levels if position > -most + 1e-9 else 0
        orders = hbt.orders(0)
        values = orders.values()
        while values.has_next():
            order = values.get()
            if not order.cancellable:
                continue
            number = order.order_id
            price = number >> 1
            if number & 1 == 0:
                distance, limit = highest_bid - price, bid_levels
            else:
                distance, limit = price - lowest_ask, ask_levels
            if distance < 0 or distance % step != 0 or distance // step >= limit:
                hbt.cancel(0, number, False)
        for level in range(bid_levels):
            price = highest_bid - step * level
            if (price << 1) not in orders:
                hbt.submit_buy_order(0, price << 1, price * tick, size, 1, 0, False)
        for level in range(ask_levels):
            price = lowest_ask + step * level
            if ((price << 1) | 1) not in orders:
                hbt.submit_sell_order(0, (price << 1) | 1, price * tick, size, 1, 0, False)
    return count


def empty_seconds(events: Any) -> float:
    """CPU seconds of a run without a strategy."""
    hbt = _backtest(events)
    begun = time.process_time()
    _empty(hbt)
    seconds = time.process_time() - begun
    hbt.close()
    return seconds


def grid_seconds(events: Any) -> tuple[float, int]:
    """CPU seconds of the grid, and how many trades it made."""
    hbt = _backtest(events)
    begun = time.process_time()
    _grid(hbt, LEVELS, 10, 10, 0.01, 0.2)
    seconds = time.process_time() - begun
    trades = int(hbt.state_values(0).num_trades)
    hbt.close()
    return seconds, trades
