"""`tapewright demo`: a year of a made-up market through the engine, without network or files of one's own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

_CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""
_MINUTES = 525_600


def demo(
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Where the market, the config and the results go [a new temporary folder].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another market for another number.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Make up a year of minutes, trade it with ema_cross, and show what came out."""
    from daemon.memory import keep_freed_memory
    from daemon.stages import Quiet, Terminal

    keep_freed_memory()
    stages = Quiet() if as_json else Terminal()
    home = folder if folder is not None else Path(tempfile.mkdtemp(prefix="tapewright-demo-"))
    stages.stage(f"A year of minutes of a made-up market (seed {seed}) goes to {home}")
    from adapters.bar_files import path_of, write_bars
    from adapters.synthetic_market import synthesize
    from config.loader import load
    from daemon.app import backtest
    from daemon.commands.backtest import as_document, print_summary

    target = path_of(home, "SYNTH", "1m")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bars(target, synthesize("SYNTH", "1m", _MINUTES, seed))
    config_file = home / "demo.yaml"
    config_file.write_text(_CONFIG, encoding="utf-8")
    report = backtest(home, load(config_file), stages)
    if as_json:
        typer.echo(json.dumps(as_document(report)))
        return
    print_summary(report)
    typer.echo(f"Run it again, or change {config_file} and run: tapewright --home {home} backtest {config_file}")
