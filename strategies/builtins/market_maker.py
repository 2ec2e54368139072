"""Market maker after Avellaneda and Stoikov, "High-frequency trading in a limit order book" (2008).

    reservation price = mid − q·γ·σ²·τ                    (their equation 29, with τ for T − t)
    half spread       = γ·σ²·τ / 2 + ln(1 + γ/k) / γ      (half of their equation 30)

q is the position in orders of the strategy's size, γ how much inventory is shunned, k how quickly fills become rare
away from the mid, τ a horizon that moves along (in timer ticks), σ² the average squared change of the mid per timer
tick. All distances are in basis points of the mid, so the same parameters suit any price and tick.

`market_maker_compiled.py` is the same strategy in machine code, order for order.
"""

import math


def schema():
    return {
        "id": "market_maker",
        "name": "Market maker (Avellaneda–Stoikov)",
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


def on_init(ctx):
    params, lots = ctx.params, max(1, ctx.whole_lots(ctx.params["size"]))
    ctx.state[ctx.symbol] = {
        "lots": lots,
        "most": max(lots, ctx.whole_lots(params["max_position"])),
        "risk": params["risk_aversion"] * params["horizon"],
        "spread": math.log(1 + params["risk_aversion"] / params["liquidity"]) / params["risk_aversion"],
        "weight": 1 / params["average"],
        "changes": 0,
        "variance": 0.0,
        "mid": 0.0,
    }


def on_gap(ctx, gap):
    ctx.state[ctx.symbol]["mid"] = 0.0  # what it moved by unseen says nothing of σ
    ctx.cancel_all()


def on_timer(ctx):
    own, bid, ask = ctx.state[ctx.symbol], ctx.book.bid_ticks, ctx.book.ask_ticks
    if bid == 0 or ask == 0:
        return
    mid = (bid + ask) / 2
    if own["mid"] > 0.0:
        change = (mid - own["mid"]) / mid * 10_000
        own["changes"] += 1
        weight = max(own["weight"], 1 / own["changes"])  # a plain average until there are enough
        own["variance"] += weight * (change * change - own["variance"])
    own["mid"] = mid
    if own["changes"] < ctx.params["warm_up"]:
        return
    lots, most, held = own["lots"], own["most"], ctx.position_lots
    lean = own["risk"] * own["variance"]
    reservation = mid - held / lots * lean * mid / 10_000
    half = (lean / 2 + own["spread"]) * mid / 10_000
    new_bid = min(math.floor(reservation - half), ask - 1)
    new_ask = max(math.ceil(reservation + half), bid + 1)
    bid_stands, ask_stands, longest, shortest = False, False, held, held
    for order_id, order_lots, price in ctx.order_rows():
        if order_lots > 0:
            longest += order_lots  # may fill even while a cancel is on its way
            is_kept = price == new_bid and not bid_stands
            bid_stands = bid_stands or is_kept
        else:
            shortest += order_lots
            is_kept = price == new_ask and not ask_stands
            ask_stands = ask_stands or is_kept
        if not is_kept:
            ctx.cancel(order_id)
    if not bid_stands and new_bid > 0 and longest + lots <= most:
        ctx.send_lots(lots, new_bid, post_only=True)
    if not ask_stands and shortest - lots >= -most:
        ctx.send_lots(-lots, new_ask, post_only=True)
