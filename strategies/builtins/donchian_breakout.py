"""Buy a close above the highest high of the last bars, with a stop in the market that follows at some ATRs.

The stop is sent together with the entry, so the position is never without one. It is `reduce_only`: it can close
the position and nothing more. The working order itself is the memory of where the stop stands.
"""


def schema():
    return {
        "id": "donchian_breakout",
        "name": "Donchian breakout",
        "category": "breakout",
        "version": "1.0",
        "tags": ["breakout", "donchian", "atr", "stop", "long"],
        "inputs": {
            "length": {"type": "int", "default": 20, "min": 2, "max": 500},
            "atr_length": {"type": "int", "default": 14, "min": 1, "max": 500},
            "stop_atr": {"type": "float", "default": 3.0, "min": 0.1, "max": 20.0, "help": "Stop distance in ATRs."},
            "risk": {"type": "float", "default": 0.01, "min": 0.0001, "max": 0.5, "help": "Equity lost at the stop."},
            "most": {"type": "float", "default": 0.9, "min": 0.01, "max": 10.0, "help": "Fraction of equity at most."},
        },
    }


def on_bar(ctx, i):
    if i < 1:
        return
    upper, _, _ = ctx.ind.donchian(ctx.params["length"])
    distance = ctx.params["stop_atr"] * ctx.ind.atr(ctx.params["atr_length"])[i]
    held = ctx.position.size
    if held > 0:
        follow(ctx, held, ctx.close[i] - distance)
    elif ctx.close[i] > upper[i - 1] and not ctx.orders:
        enter(ctx, distance)


def enter(ctx, distance):
    """Buy, with the stop beside it."""
    if not 0 < distance < ctx.close[-1]:  # the ATR is not known yet, or wider than the price
        return
    size = min(ctx.size.risk(ctx.params["risk"], distance), ctx.size.percent_equity(ctx.params["most"]))
    if size > 0:
        ctx.buy(size)
        ctx.sell(size, price=ctx.close[-1] - distance, type="stop", reduce_only=True)


def follow(ctx, held, price):
    """Move the stop up to `price`, never down."""
    stops = [order for order in ctx.orders if order.type == "stop"]
    if price > 0 and all(price > stop.stop_price for stop in stops):
        size = max([held, *(abs(stop.size) for stop in stops)])  # the entry may still be filling
        ctx.sell(size, price=price, type="stop", reduce_only=True)
        for stop in stops:
            ctx.cancel(stop.id)


def on_order(ctx, order):
    """An entry that did not come about takes its stop with it."""
    if order.type == "market" and order.state in ("REJECTED", "CANCELED") and ctx.position.size == 0:
        ctx.cancel_all()


def on_trade(ctx, trade):
    """The position is closed: no stop of it stays behind."""
    ctx.cancel_all()
