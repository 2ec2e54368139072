"""Market maker after Avellaneda and Stoikov, in machine code; `market_maker.py` is the same, order for order.

    reservation price = mid − q·γ·σ²·τ                    (their equation 29, with τ for T − t)
    half spread       = γ·σ²·τ / 2 + ln(1 + γ/k) / γ      (half of their equation 30)

What is constant is reckoned in Python, in `compiled_state`; the rest does the same sums in the same order as the
Python form, so both get the same doubles and the same orders.
"""

import math

import numpy as np

from engine.compiled import (
    best_ask,
    best_bid,
    cancel,
    cancel_all,
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

STATE = np.dtype(
    [(name, "<i8") for name in ("lots", "most", "warm_up", "changes")]
    + [(name, "<f8") for name in ("risk", "spread", "weight", "variance", "mid")]
)


def schema():
    return {
        "id": "market_maker_compiled",
        "name": "Market maker (Avellaneda–Stoikov), compiled",
        "category": "market making",
        "description": "Quotes one bid and one ask around a mid that leans against the position; wider when it moves.",
        "timer_ms": "interval_ms",
        "inputs": {
            "interval_ms": {"type": "int", "default": 100, "min": 1, "max": 3_600_000},
            "size": {"type": "float", "default": 0.01, "min": 0.0, "help": "Units of each order."},
            "max_position": {"type": "float", "default": 0.1, "min": 0.0, "help": "Units; at least one order."},
            "risk_aversion": {"type": "float", "default": 0.05, "min": 1e-6, "max": 1_000.0, "help": "γ, per bp."},
            "liquidity": {"type": "float", "default": 2.0, "min": 1e-6, "max": 1_000.0, "help": "k, per bp."},
            "horizon": {"type": "int", "default": 600, "min": 1, "max": 10_000_000, "help": "τ, in timer ticks."},
            "average": {"type": "int", "default": 300, "min": 1, "max": 10_000_000, "help": "Timer ticks for σ²."},
            "warm_up": {"type": "int", "default": 50, "min": 1, "max": 10_000_000, "help": "Timer ticks, no quotes."},
        },
    }


def compiled_state(params, instrument):
    state = np.zeros(1, dtype=STATE)
    state["lots"] = max(1, whole_lots(params["size"], instrument))
    state["most"] = max(state["lots"][0], whole_lots(params["max_position"], instrument))
    state["warm_up"] = params["warm_up"]
    state["risk"] = params["risk_aversion"] * params["horizon"]
    state["spread"] = math.log(1 + params["risk_aversion"] / params["liquidity"]) / params["risk_aversion"]
    state["weight"] = 1 / params["average"]
    return state


@compiled(STATE)
def on_gap(core, me, market, state):
    state.mid = 0.0  # what it moved by unseen says nothing of σ
    cancel_all(core, me, market)


@compiled(STATE)
def on_timer(core, me, market, state):
    bid, ask = best_bid(core, market), best_ask(core, market)
    if bid == 0 or ask == 0:
        return
    mid = (bid + ask) / 2
    if state.mid > 0.0:
        change = (mid - state.mid) / mid * 10_000
        state.changes += 1
        weight = max(state.weight, 1 / state.changes)  # a plain average until there are enough
        state.variance += weight * (change * change - state.variance)
    state.mid = mid
    if state.changes < state.warm_up:
        return
    lots, most, held = state.lots, state.most, position_lots(core, me, market)
    lean = state.risk * state.variance
    reservation = mid - held / lots * lean * mid / 10_000
    half = (lean / 2 + state.spread) * mid / 10_000
    new_bid = min(math.floor(reservation - half), ask - 1)
    new_ask = max(math.ceil(reservation + half), bid + 1)
    bid_stands, ask_stands, longest, shortest = False, False, held, held
    slot = first_order(core, me, market)
    while slot >= 0:
        if order_lots(core, slot) > 0:
            longest += order_lots(core, slot)  # may fill even while a cancel is on its way
            is_kept = order_price(core, slot) == new_bid and not bid_stands
            bid_stands = bid_stands or is_kept
        else:
            shortest += order_lots(core, slot)
            is_kept = order_price(core, slot) == new_ask and not ask_stands
            ask_stands = ask_stands or is_kept
        if not is_kept:
            cancel(core, me, market, order_id(core, slot))
        slot = next_order(core, slot)
    if not bid_stands and new_bid > 0 and longest + lots <= most:
        send(core, me, market, lots, new_bid, GTC, POST_ONLY, 0)
    if not ask_stands and shortest - lots >= -most:
        send(core, me, market, -lots, new_ask, GTC, POST_ONLY, 0)
