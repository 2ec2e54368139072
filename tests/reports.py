"""Runs for tests of reports: a strategy with a stop and a target, on a made-up market."""

from __future__ import annotations

from pathlib import Path

import msgspec

from adapters.bar_files import path_of, write_bars
from adapters.report.build import ReportInput
from adapters.report.schema import Report
from adapters.synthetic_market import synthesize
from config.loader import load
from daemon.app import BacktestReport, backtest, report_input

STRATEGY = '''"""Buys every 90 bars, with a stop and a target."""


def schema():
    return {"id": "bracketed", "name": "Bracketed", "inputs": {}}


def on_bar(ctx, i):
    if ctx.position.size == 0 and not ctx.orders and i % 90 == 0:
        close = ctx.close[-1]
        ctx.buy(1.0)
        ctx.sell(1.0, price=round(close * @STOP@, 2), type="stop", reduce_only=True)
        ctx.sell(1.0, price=round(close * @TARGET@, 2), type="limit", reduce_only=True)
    elif ctx.position.size == 0 and ctx.orders:
        for order in ctx.orders:
            ctx.cancel(order.id)
'''
CONFIG = """symbols: [{symbols}]
timeframe: 1m
strategy: {{name: bracketed}}
initial_cash: 1000000
commission_bps: 1
"""


def make_home(
    folder: Path,
    *,
    bars: int = 20_160,
    symbols: tuple[str, ...] = ("SYNTH",),
    stop: str = "0.997",
    target: str = "1.004",
) -> Path:
    """A home folder with bars, the strategy and `run.yaml`; return the config's path.

    `stop` and `target` are the levels as parts of the close at the entry.
    """
    for seed, symbol in enumerate(symbols, start=3):
        place = path_of(folder, symbol, "1m")
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bars(place, synthesize(symbol, "1m", bars, seed))
    custom = folder / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "bracketed.py").write_text(STRATEGY.replace("@STOP@", stop).replace("@TARGET@", target), encoding="utf-8")
    config = folder / "run.yaml"
    config.write_text(CONFIG.format(symbols=", ".join(symbols)), encoding="utf-8")
    return config


def too_poor(config: Path) -> Path:
    """Leave the account of a config so little that every order is rejected: a run without trades."""
    config.write_text(config.read_text(encoding="utf-8").replace("1000000", "100"), encoding="utf-8")
    return config


def finished(home: Path, config: Path) -> tuple[BacktestReport, ReportInput]:
    """A finished backtest, and what its report is made of."""
    report = backtest(home, load(config))
    return report, report_input(report)


def embedded(page: Path) -> Report:
    """The report inside a page."""
    text = page.read_text(encoding="utf-8")
    begin = text.index('<script id="report" type="application/json">') + len(
        '<script id="report" type="application/json">'
    )
    return msgspec.json.decode(text[begin : text.index("</script>", begin)], type=Report)
