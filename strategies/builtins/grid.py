"""Grid on the order book: resting bids below and asks above the market, set anew at each timer.

Beside `grid_compiled.py` it is the same strategy, order for order: the one to read and change, the other to run fast.
"""


def schema():
    return {
        "id": "grid",
        "name": "Grid",
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


def on_init(ctx):
    lots = max(1, ctx.whole_lots(ctx.params["size"]))
    ctx.state[ctx.symbol] = {"lots": lots, "most": max(lots, ctx.whole_lots(ctx.params["max_position"]))}


def on_timer(ctx):
    bid, ask = ctx.book.bid_ticks, ctx.book.ask_ticks
    if bid == 0 or ask == 0:
        return
    step, half, levels = ctx.params["step_ticks"], ctx.params["half_spread_ticks"], ctx.params["levels"]
    own, held = ctx.state[ctx.symbol], ctx.position_lots
    middle = (bid + ask) // 2
    highest_bid = min(middle - half, bid) // step * step
    lowest_ask = -(-max(middle + half, ask) // step) * step
    bids = [highest_bid - step * level for level in range(levels)] if held < own["most"] else []
    asks = [lowest_ask + step * level for level in range(levels)] if held > -own["most"] else []
    standing_bids, standing_asks = set(), set()
    for order_id, order_lots, price in ctx.order_rows():
        wanted, standing = (bids, standing_bids) if order_lots > 0 else (asks, standing_asks)
        if price in wanted and price not in standing:
            standing.add(price)
        else:
            ctx.cancel(order_id)
    for price in bids:
        if price > 0 and price not in standing_bids:
            ctx.send_lots(own["lots"], price, post_only=True)
    for price in asks:
        if price not in standing_asks:
            ctx.send_lots(-own["lots"], price, post_only=True)
