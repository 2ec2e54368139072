"""Trade against a close outside the Bollinger bands, until price is back at the middle one."""


def schema():
    return {
        "id": "bollinger_reversion",
        "name": "Bollinger reversion",
        "category": "mean reversion",
        "version": "1.0",
        "tags": ["mean reversion", "bollinger"],
        "inputs": {
            "length": {"type": "int", "default": 20, "min": 2, "max": 500},
            "width": {"type": "float", "default": 2.0, "min": 0.1, "max": 10.0, "help": "In standard deviations."},
            "direction": {"type": "select", "default": "both", "options": ["long", "short", "both"]},
            "size": {"type": "float", "default": 0.5, "min": 0.01, "max": 10.0, "help": "Fraction of equity."},
        },
    }


def on_bar(ctx, i):
    upper, middle, lower = ctx.ind.bbands(ctx.close, ctx.params["length"], ctx.params["width"])
    close = ctx.close[i]
    if ctx.orders:
        return
    held = ctx.position.size
    if held == 0:
        size = ctx.size.percent_equity(ctx.params["size"])
        if close < lower[i] and ctx.params["direction"] != "short":
            ctx.buy(size)
        elif close > upper[i] and ctx.params["direction"] != "long":
            ctx.sell(size)
    elif (held > 0 and close >= middle[i]) or (held < 0 and close <= middle[i]):
        ctx.flatten()
