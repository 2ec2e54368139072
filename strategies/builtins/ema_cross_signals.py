"""The rules of ema_cross, written over whole columns at once: the same trades, and no Python in the loop."""

import numpy as np


def schema():
    return {
        "id": "ema_cross_signals",
        "name": "EMA Cross (signals)",
        "category": "trend",
        "version": "1.0",
        "tags": ["trend", "signals"],
        "inputs": {
            "fast": {"type": "int", "default": 12, "min": 1, "max": 200},
            "slow": {"type": "int", "default": 26, "min": 1, "max": 200},
            "size": {"type": "float", "default": 1.0, "min": 0.1, "max": 10.0},
        },
    }


def signals(ctx):
    fast = ctx.ind.ema(ctx.close, ctx.params["fast"])
    slow = ctx.ind.ema(ctx.close, ctx.params["slow"])
    buy = np.zeros(len(fast), dtype=bool)
    sell = np.zeros(len(fast), dtype=bool)
    # Compare each bar with the bar before it only: what comes later is in these arrays too.
    buy[1:] = (fast[1:] > slow[1:]) & (fast[:-1] <= slow[:-1])
    sell[1:] = (fast[1:] < slow[1:]) & (fast[:-1] >= slow[:-1])
    return {"buy": buy, "sell": sell, "size": ctx.params["size"]}
