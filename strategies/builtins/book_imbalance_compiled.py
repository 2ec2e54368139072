"""Taker on the imbalance of the order book, in machine code; `book_imbalance.py` is the same, order for order."""

import numpy as np

from engine.compiled import (
    best_ask,
    best_bid,
    compiled,
    depth_lots,
    first_order,
    now_ns,
    position_lots,
    send,
    whole_lots,
)  # fmt: skip
from engine.kernels.layout import IOC

STATE = np.dtype([(name, "<i8") for name in ("levels", "threshold", "hold_ns", "lots", "entered_ns")])


def schema():
    return {
        "id": "book_imbalance_compiled",
        "name": "Book imbalance, compiled",
        "category": "order flow",
        "description": "Takes the side that the best levels of the book lean to; leaves by time, or when they turn.",
        "inputs": {
            "levels": {"type": "int", "default": 5, "min": 1, "max": 1_000},
            "threshold": {"type": "int", "default": 900, "min": 1, "max": 999, "help": "Thousandths."},
            "hold_ms": {"type": "int", "default": 10_000, "min": 0, "max": 86_400_000},
            "size": {"type": "float", "default": 0.01, "min": 0.0, "help": "Units of each order."},
        },
    }


def compiled_state(params, instrument):
    lots = max(1, whole_lots(params["size"], instrument))
    row = (params["levels"], params["threshold"], params["hold_ms"] * 1_000_000, lots, 0)
    return np.array([row], dtype=STATE)


@compiled(STATE)
def on_book(core, me, market, state):
    bid, ask = best_bid(core, market), best_ask(core, market)
    if bid == 0 or ask == 0 or first_order(core, me, market) >= 0:
        return
    bids, asks = depth_lots(core, market, 1, state.levels), depth_lots(core, market, 0, state.levels)
    lean, needed = (bids - asks) * 1_000, state.threshold * (bids + asks)
    held = position_lots(core, me, market)
    if held == 0:
        if lean >= needed:
            state.entered_ns = now_ns(core)
            send(core, me, market, state.lots, ask, IOC, 0, 0)
        elif lean <= -needed:
            state.entered_ns = now_ns(core)
            send(core, me, market, -state.lots, bid, IOC, 0, 0)
        return
    is_over = now_ns(core) - state.entered_ns >= state.hold_ns
    if held > 0 and (is_over or lean <= -needed):
        send(core, me, market, -held, bid, IOC, 0, 0)
    elif held < 0 and (is_over or lean >= needed):
        send(core, me, market, -held, ask, IOC, 0, 0)
