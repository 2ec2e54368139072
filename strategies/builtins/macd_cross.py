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
    if i < 1:
        return
    params = ctx.params
    _, _, histogram = ctx.ind.macd(ctx.close, params["fast"], params["slow"], params["signal"])
    if histogram[i] > 0 >= histogram[i - 1]:
        hold(ctx, ctx.size.percent_equity(params["size"]))
    elif histogram[i] < 0 <= histogram[i - 1]:
        hold(ctx, -ctx.size.percent_equity(params["size"]) if params["allow_short"] else 0.0)


def hold(ctx, wanted):
    """Go from the position that is held to the one that is wanted, by one order."""
    ctx.cancel_all()
    held = ctx.position.size
    if wanted == 0 and held == 0 or wanted > 0 and held > 0 or wanted < 0 and held < 0:
        return
    if wanted > held:
        ctx.buy(wanted - held)
    else:
        ctx.sell(held - wanted)
