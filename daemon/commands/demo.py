"""`tapewright demo`: what this program is for, on one machine, without network or files of one's own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import EXIT_FINDINGS

if TYPE_CHECKING:
    from daemon.stages import Stages

_YEAR = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""
_MINUTES = 525_600


def demo(
    *,
    folder: Annotated[Path | None, typer.Option(help="Where everything goes [a new temporary folder].")] = None,
    seed: Annotated[int, typer.Option(help="Another market for another number.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long the session trades.", min=5, max=3600)] = 40,
    year: Annotated[bool, typer.Option("--year", help="Instead: a backtest on a made-up year of minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Trade on paper against a made-up exchange on this machine, then prove the session by its replay."""
    import sys

    from daemon.memory import keep_freed_memory
    from daemon.stages import Quiet, Terminal

    keep_freed_memory()
    home = folder if folder is not None else Path(tempfile.mkdtemp(prefix="tapewright-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    if year:
        _backtest(home, seed, Quiet() if as_json else Terminal(), as_json=as_json)
        return
    stages = Quiet() if as_json else Terminal(unit="records")
    from engine import book_engine

    if not book_engine.is_compiled():
        stages.stage("Compiling the engine: once for this version, some 30 seconds")
    book_engine.prepare()
    from daemon.commands.run_tables import show_run
    from daemon.commands.verify import session_lines
    from daemon.demonstration import NAME, demonstrate
    from daemon.stored_runs import view_of
    from daemon.storing import STORE_FILE

    is_terminal = not as_json and sys.stderr.isatty()
    verdict = demonstrate(home, seed, seconds, stages, is_terminal=is_terminal, is_quiet=as_json)
    view = view_of(home / STORE_FILE, verdict.run)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"home": str(home), "verdict": verdict, "run": view}).decode())
    else:
        show_run(view)
        typer.echo("\n".join(session_lines(verdict)))
        typer.echo("\n".join(_where(home, NAME)))
    if not verdict.holds:
        raise typer.Exit(EXIT_FINDINGS)


def _where(home: Path, name: str) -> list[str]:
    return [
        f"Everything lies in {home}:",
        f"  {name}.yaml                its config",
        f"  {name}.log                 its log, a JSON object a line",
        f"  sessions/{name}/tape       every message that it saw",
        "  strategy.sqlite          orders, fills, trades, positions, equity",
        "Look further:",
        f"  tapewright --home {home} verify {name}",
        f"  tapewright --home {home} runs list",
        f"  tapewright --home {home} tape info {home / 'sessions' / name / 'tape'}",
    ]


def _backtest(home: Path, seed: int, stages: Stages, *, as_json: bool) -> None:
    """Make up a year of minutes, trade it with ema_cross, and show what came out."""
    stages.stage(f"A year of minutes of a made-up market (seed {seed}) goes to {home}")
    from adapters.bar_files import path_of, write_bars
    from adapters.synthetic_market import synthesize
    from config.loader import load
    from daemon.app import backtest
    from daemon.commands.backtest import as_document, print_summary

    target = path_of(home, "SYNTH", "1m")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bars(target, synthesize("SYNTH", "1m", _MINUTES, seed))
    config_file = home / "year.yaml"
    config_file.write_text(_YEAR, encoding="utf-8")
    report = backtest(home, load(config_file), stages)
    if as_json:
        typer.echo(json.dumps(as_document(report)))
        return
    print_summary(report)
    typer.echo(f"Run it again, or change {config_file} and run: tapewright --home {home} backtest {config_file}")
