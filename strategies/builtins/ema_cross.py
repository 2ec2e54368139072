def schema():
    return {
        "id": "ema_cross",
        "name": "EMA Cross",
        "inputs": {
            "fast": {"type": "int", "default": 12, "min": 1, "max": 200},
            "slow": {"type": "int", "default": 26, "min": 1, "max": 200},
            "size": {"type": "float", "default": 1.0, "min": 0.1, "max": 10.0}
        }
    }

def on_init(ctx):
    pass

def on_bar(ctx, i):
    close = ctx.close
    fast = ctx.ind.ema(close, int(ctx.params["fast"]))
    slow = ctx.ind.ema(close, int(ctx.params["slow"]))

    if i < 1:
        return

    if fast[i] > slow[i] and fast[i-1] <= slow[i-1]:
        ctx.buy(ctx.params["size"])
    if fast[i] < slow[i] and fast[i-1] >= slow[i-1]:
        ctx.sell(ctx.params["size"])
