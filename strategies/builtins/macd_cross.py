"""Follow the MACD: long above its signal line; below it flat, or short."""


def schema():
    return {
        "id": "macd_cross",
        "name": "MACD cross",
        "category": "trend",
        "version": "1.0",
        "tags": ["trend", "macd"],
        "inputs": {
            "fast": {"type": "int", "default": 12, "min": 1, "max": 200},
            "slow": {"type": "int", "default": 26, "min": 1, "max": 200},
            "signal": {"type": "int", "default": 9, "min": 1, "max": 200},
            "allow_short": {"type": "bool", "default": False},
            "size": {"type": "float", "default": 0.5, "min": 0.01, "max": 10.0, "help": "Fraction of equity."},
        },
    }


def on_bar(ctx, i):
    params = ctx.params
    _, _, histogram = ctx.ind.macd(ctx.close, params["fast"], params["slow"], params["signal"])
    if histogram[i] > 0:
        side = 1
    elif histogram[i] < 0:
        side = -1 if params["allow_short"] else 0
    else:  # not known yet, or exactly on the line
        return
    held = ctx.position.size
    if ctx.orders or side == (held > 0) - (held < 0):
        return
    # One order takes the position from where it is to where it should be, from short to long too.
    wanted = side * ctx.size.percent_equity(params["size"])
    if wanted > held:
        ctx.buy(wanted - held)
    elif wanted < held:
        ctx.sell(held - wanted)
