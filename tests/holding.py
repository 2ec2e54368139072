"""A strategy for tests of sessions that go on: it buys once, leaves an order far from the market, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.sessions import CONFIG, Daemon

HOLDER = """
def schema():
    return {"id": "holder", "name": "Holds a position and an order", "timer_ms": 500,
            "inputs": {"size": {"type": "float", "default": 0.05, "min": 0.01, "max": 1.0}}}


def on_init(ctx):
    ctx.state.setdefault("timers", 0)


def on_timer(ctx):
    ctx.state["timers"] += 1
    if ctx.state["timers"] == 4:
        ctx.buy(ctx.params["size"])
        ctx.buy(0.01, round(ctx.book.bid * 0.9, 1))
    if ctx.state["timers"] >= 8:
        ctx.logger.info(f"told, size {ctx.params['size']}")


def on_gap(ctx, gap):
    ctx.logger.warn(f"gap {gap.reason}")
"""


def home_with_holder(folder: Path) -> Path:
    """A home folder with a strategy that buys once, and leaves an order far from the market."""
    home = folder / "home"
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "holder.py").write_text(HOLDER, encoding="utf-8")
    return home


def config_with_holder(more: str = "") -> str:
    """The usual config, and the holder."""
    return CONFIG.replace("initial_cash:", f"  - {{name: holder, symbols: [BTCUSDT]{more}}}\ninitial_cash:", 1)


def held(daemon: Daemon) -> tuple[list[Any], list[Any]]:
    """What the holder holds, and its orders that work."""
    positions = [(each["symbol"], each["size"], each["entry_price"]) for each in daemon.ctl("positions")
                 if each["strategy"] == "holder"]  # fmt: skip
    orders = [(each["id"], each["price"], each["size"]) for each in daemon.ctl("orders")
              if each["strategy"] == "holder"]  # fmt: skip
    return positions, orders
