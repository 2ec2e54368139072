"""Taker on the imbalance of the order book: with the heavier side, in and out by orders that fill at once or not.

    imbalance = (size bid − size asked) / (size bid + size asked), of the best levels; in thousandths

At the threshold it buys at the best ask (or sells at the best bid); it leaves after `hold_ms`, or sooner where the
imbalance has turned as far the other way. Sizes are whole lots, so the comparison is exact.

`book_imbalance_compiled.py` is the same strategy in machine code, order for order.
"""


def schema():
    return {
        "id": "book_imbalance",
        "name": "Book imbalance",
        "category": "order flow",
        "description": "Takes the side that the best levels of the book lean to; leaves by time, or when they turn.",
        "inputs": {
            "levels": {"type": "int", "default": 5, "min": 1, "max": 1_000},
            "threshold": {"type": "int", "default": 900, "min": 1, "max": 999, "help": "Thousandths."},
            "hold_ms": {"type": "int", "default": 10_000, "min": 0, "max": 86_400_000},
            "size": {"type": "float", "default": 0.01, "min": 0.0, "help": "Units of each order."},
        },
    }


def on_init(ctx):
    ctx.state[ctx.symbol] = {"lots": max(1, ctx.whole_lots(ctx.params["size"])), "entered_ns": 0}


def on_book(ctx):
    own, bid, ask = ctx.state[ctx.symbol], ctx.book.bid_ticks, ctx.book.ask_ticks
    if bid == 0 or ask == 0 or ctx.order_rows():
        return
    levels, threshold = ctx.params["levels"], ctx.params["threshold"]
    bids, asks = ctx.book.depth_lots("bid", levels), ctx.book.depth_lots("ask", levels)
    lean, needed = (bids - asks) * 1_000, threshold * (bids + asks)
    held = ctx.position_lots
    if held == 0:
        if lean >= needed:
            own["entered_ns"] = ctx.now_ns
            ctx.send_lots(own["lots"], ask, tif="IOC")
        elif lean <= -needed:
            own["entered_ns"] = ctx.now_ns
            ctx.send_lots(-own["lots"], bid, tif="IOC")
        return
    is_over = ctx.now_ns - own["entered_ns"] >= ctx.params["hold_ms"] * 1_000_000
    if held > 0 and (is_over or lean <= -needed):
        ctx.send_lots(-held, bid, tif="IOC")
    elif held < 0 and (is_over or lean >= needed):
        ctx.send_lots(-held, ask, tif="IOC")
