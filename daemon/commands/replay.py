"""`tapewright replay`: run a config on a tape, say how it goes, print what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from daemon.replaying import ReplayReport


def replay(
    context: typer.Context,
    tape: Annotated[Path, typer.Argument(metavar="TAPE", help="Folder of a tape.")],
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML, JSON or TOML.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Put a value in place of the file's, such as leverage=2."),
    ] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="The strategy to run.")] = None,
    store: Annotated[bool, typer.Option("--store", help="Also store it in HOME/strategy.sqlite (runs list).")] = False,
    store_path: Annotated[Path | None, typer.Option(metavar="FILE", help="Also store it in this SQLite file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run a config on a tape: orders meet its books and prints, or bars (book.fills)."""
    from config.loader import load
    from daemon.memory import keep_freed_memory
    from daemon.stages import Quiet, Terminal

    keep_freed_memory()
    stages = Quiet() if as_json else Terminal(unit="records")
    config = load(config_file, overrides=settings or (), strategy=strategy, is_tape=True)
    stages.stage(f"Config loaded ({config_file})")
    from daemon.commands.backtest import print_summary
    from daemon.replaying import replay as run_replay
    from daemon.storing import STORE_FILE

    place = store_path or (context.obj.home / STORE_FILE if store else None)
    report = run_replay(context.obj.home, tape, config, stages, store=place)
    if as_json:
        print(json.dumps(as_document(tape, report)))
    else:
        print_summary(report)


def as_document(tape: Path, report: ReplayReport) -> dict[str, Any]:
    """The one object that `--json` prints; money as decimal strings with 8 places or more."""
    from engine.figures.metrics import as_json as figures_as_json

    figures, metrics = report.result.figures, report.metrics
    places = max(8, metrics.cash_decimals)

    def money(units: int) -> str:
        return f"{report.result.scales[0].money(units):.{places}f}"

    return {
        "run_id": report.run_id,
        "folder": str(report.folder),
        "tape": str(tape),
        "hash": report.facts.run_hash,
        "symbols": [scale.instrument.symbol for scale in report.result.scales],
        "strategies": list(report.result.strategies),
        "records": report.records,
        "orders": figures["order_count"],
        "fills": figures["fill_count"],
        "trades": metrics.trades.count,
        "wins": metrics.trades.wins,
        "final_equity": money(figures["cash"] + figures["floating"]),
        "fees": money(figures["fees"]),
        "funding": money(figures["funding"]),
        "max_drawdown": metrics.equity.max_drawdown,
        "metrics": figures_as_json(metrics),
        "load_seconds": round(report.timings.load, 6),
        "loop_seconds": round(report.timings.loop, 6),
        "write_seconds": round(report.timings.write, 6),
        "total_seconds": round(report.timings.total, 6),
    }
