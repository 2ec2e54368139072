"""Grid on the order book, in machine code; `grid.py` is the same strategy in Python, order for order."""

import numpy as np

from engine.compiled import (
    best_ask,
    best_bid,
    cancel,
    compiled,
    first_order,
    next_order,
    order_id,
    order_lots,
    order_price,
    position_lots,
    send,
    whole_lots,
)
from engine.kernels.layout import GTC, POST_ONLY

STATE = np.dtype([(name, "<i8") for name in ("levels", "step", "half", "lots", "most")])


def schema():
    return {
        "id": "grid_compiled",
        "name": "Grid, compiled",
        "category": "market making",
        "description": "Quotes a ladder of limits on both sides of the market; orders off the ladder are cancelled.",
        "timer_ms": "interval_ms",
        "inputs": {
            "interval_ms": {"type": "int", "default": 100, "min": 1, "max": 3_600_000},
            "levels": {"type": "int", "default": 20, "min": 1, "max": 60},
            "step_ticks": {"type": "int", "default": 10, "min": 1, "max": 1_000_000},
            "half_spread_ticks": {"type": "int", "default": 10, "min": 0, "max": 1_000_000},
            "size": {"type": "float", "default": 0.01, "min": 0.0, "help": "Units of each order."},
            "max_position": {"type": "float", "default": 0.2, "min": 0.0, "help": "Units; at least one order."},
        },
    }


def compiled_state(params, instrument):
    lots = max(1, whole_lots(params["size"], instrument))
    most = max(lots, whole_lots(params["max_position"], instrument))
    row = (params["levels"], params["step_ticks"], params["half_spread_ticks"], lots, most)
    return np.array([row], dtype=STATE)


@compiled(STATE)
def on_timer(core, me, market, state):
    bid, ask = best_bid(core, market), best_ask(core, market)
    if bid == 0 or ask == 0:
        return
    step, levels, held = state.step, state.levels, position_lots(core, me, market)
    middle = (bid + ask) // 2
    highest_bid = min(middle - state.half, bid) // step * step
    lowest_ask = -(-max(middle + state.half, ask) // step) * step
    bid_levels = levels if held < state.most else 0
    ask_levels = levels if held > -state.most else 0
    standing_bids, standing_asks = 0, 0  # one bit a level
    slot = first_order(core, me, market)
    while slot >= 0:
        is_kept = False
        if order_lots(core, slot) > 0:
            distance = highest_bid - order_price(core, slot)
            if distance >= 0 and distance % step == 0 and distance // step < bid_levels:
                bit = 1 << (distance // step)
                is_kept = standing_bids & bit == 0
                standing_bids |= bit
        else:
            distance = order_price(core, slot) - lowest_ask
            if distance >= 0 and distance % step == 0 and distance // step < ask_levels:
                bit = 1 << (distance // step)
                is_kept = standing_asks & bit == 0
                standing_asks |= bit
        if not is_kept:
            cancel(core, me, market, order_id(core, slot))
        slot = next_order(core, slot)
    for level in range(bid_levels):
        price = highest_bid - step * level
        if price > 0 and (standing_bids >> level) & 1 == 0:
            send(core, me, market, state.lots, price, GTC, POST_ONLY, 0)
    for level in range(ask_levels):
        if (standing_asks >> level) & 1 == 0:
            send(core, me, market, -state.lots, lowest_ask + step * level, GTC, POST_ONLY, 0)
