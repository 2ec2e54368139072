"""Buy on the first bar and keep it: what every other strategy has to beat."""


def schema():
    return {
        "id": "buy_and_hold",
        "name": "Buy and hold",
        "category": "benchmark",
        "version": "1.0",
        "tags": ["benchmark", "long"],
        "inputs": {
            "size": {
                "type": "float", "default": 0.95, "min": 0.01, "max": 10.0,
                "help": "Fraction of equity. Near 1, a gap at the open or the fee can make it unaffordable.",
            },
        },
    }  # fmt: skip


def on_bar(ctx, i):
    if ctx.symbol not in ctx.state:  # not `i == 0`: there may be bars from before the run
        ctx.state[ctx.symbol] = "bought"
        ctx.buy(ctx.size.percent_equity(ctx.params["size"]))
