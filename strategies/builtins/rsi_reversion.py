"""Buy when the RSI comes back out of oversold, sell when it has recovered."""


def schema():
    return {
        "id": "rsi_reversion",
        "name": "RSI reversion",
        "category": "mean reversion",
        "version": "1.0",
        "tags": ["mean reversion", "rsi", "long"],
        "inputs": {
            "length": {"type": "int", "default": 14, "min": 2, "max": 200},
            "oversold": {"type": "float", "default": 30.0, "min": 1.0, "max": 50.0},
            "recovered": {"type": "float", "default": 55.0, "min": 40.0, "max": 99.0},
            "size": {"type": "float", "default": 0.5, "min": 0.01, "max": 10.0, "help": "Fraction of equity."},
        },
    }


def on_bar(ctx, i):
    if i < 1:
        return
    rsi = ctx.ind.rsi(ctx.close, ctx.params["length"])
    comes_back = rsi[i - 1] <= ctx.params["oversold"] < rsi[i]
    has_recovered = rsi[i] >= ctx.params["recovered"]
    if not (comes_back or has_recovered) or ctx.orders:
        return
    if comes_back and ctx.position.size == 0:
        ctx.buy(ctx.size.percent_equity(ctx.params["size"]))
    if has_recovered and ctx.position.size > 0:
        ctx.flatten()
