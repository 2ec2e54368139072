"""`tapewright backtest`: run a config on stored data, say how it goes, print what came out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import TapewrightError

if TYPE_CHECKING:
    from config.model import RunConfig
    from daemon.app import BacktestReport
    from daemon.replaying import ReplayReport
    from daemon.stages import Stages
    from daemon.symbol_outputs import SymbolOutput
    from engine.figures.metrics import Metrics

ALL_KINDS = ("png", "html", "pdf")


def backtest(
    context: typer.Context,
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML, JSON or TOML.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Put a value in place of the file's, such as leverage=2."),
    ] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="The strategy to run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    with_report: Annotated[
        bool | None,
        typer.Option("--report/--no-report", help="All of png, html and pdf, or nothing; else what the config says."),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="PACKAGE", help="Figures by the definitions of quantstats, backtesting.py, freqtrade."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run again whenever config or strategy are saved; Ctrl-C ends.")
    ] = False,
) -> None:
    """Run a config as a backtest on the bars stored under the home folder."""
    from config.loader import load
    from daemon.memory import keep_freed_memory
    from daemon.stages import Quiet, Terminal

    keep_freed_memory()
    stages = Quiet() if as_json else Terminal()
    packages = checked_packages(like or ())
    if watch:
        from daemon.commands.backtest_watch import watch_backtest

        watch_backtest(
            context.obj.home, config_file, settings or (), strategy, packages, as_json=as_json,
            with_report=bool(with_report),
        )  # fmt: skip
        return
    config = load(config_file, overrides=settings or (), strategy=strategy)
    stages.stage(f"Config loaded ({config_file})")
    from daemon.app import backtest as run_backtest

    report = run_backtest(context.obj.home, config, stages, like=packages)
    written, trouble = write_reports(report, stages, report_kinds(config, with_report))
    if trouble is not None and with_report is None:  # nobody has asked for it
        stages.stage(f"No report: {trouble.message}. {trouble.remedy}")
        trouble = None
    if as_json:
        print(json.dumps(as_document(report) | written))
    else:
        print_summary(report)
        print_like(report.metrics)
    for each in (report.store_trouble, trouble):
        if each is not None:
            raise each


def report_kinds(config: RunConfig, is_asked: bool | None) -> tuple[str, ...]:  # noqa: FBT001
    """Which of the report's files are to be written: all, none, or those of the config."""
    if is_asked is None:
        return config.report.files
    return ALL_KINDS if is_asked else ()


def write_reports(
    report: BacktestReport, stages: Stages, kinds: Sequence[str] = ALL_KINDS
) -> tuple[dict[str, Any], TapewrightError | None]:
    """Write the report's files; what `--json` says of them, and what hindered it: the run is told of all the same."""
    if not kinds:
        return {}, None
    import time

    from adapters.report.files import write_report
    from daemon.app import report_input, symbol_report_input

    begun = time.perf_counter()
    stages.stage("Writing the report...")
    files: list[Path] = []
    trouble: TapewrightError | None = None
    given = [(report.folder, report_input(report))]
    given += [(output.folder, symbol_report_input(output)) for output in report.symbols]
    for folder, own in given:
        try:
            files += write_report(folder, own, kinds)
        except TapewrightError as error:
            trouble = trouble or error
        else:
            stages.stage(f"Report: {files[-1]}")
    if trouble is not None:
        return {}, trouble
    return {"report": [str(file) for file in files], "report_seconds": round(time.perf_counter() - begun, 6)}, None


def print_summary(report: BacktestReport | ReplayReport) -> None:
    """Print the figures of a finished run."""
    from adapters.summary import summary_text, symbols_text

    colour, account = sys.stdout.isatty(), (report.facts, report.metrics)
    sys.stdout.write(summary_text([account], colour=colour))
    symbols = getattr(report, "symbols", ())
    if symbols:
        sys.stdout.write(symbols_text(account, [(each.facts, each.metrics) for each in symbols], colour=colour))


def checked_packages(names: Sequence[str]) -> tuple[str, ...]:
    """The packages named with `--like`, each once; raises UsageError for one that is not known."""
    if not names:
        return ()
    from engine.figures.like import check_like

    return tuple(dict.fromkeys(check_like(name) for name in names))


def print_like(metrics: Metrics) -> None:
    """Print the figures by other packages' definitions, a figure a line."""
    for name, found in metrics.like.items():
        print(f"By the definitions of {name} {found.version}:")
        for figure, value in found.figures.items():
            print(
                f"  {figure:<38}{'-' if value is None else format(value, ',.6g' if isinstance(value, float) else ',')}"
            )


def as_document(report: BacktestReport) -> dict[str, Any]:
    """The one object that `--json` prints; money as decimal strings with 8 places or more."""
    from engine.figures.metrics import as_json as figures_as_json

    figures, metrics = report.result.figures, report.metrics
    places = max(8, metrics.cash_decimals)

    def money(units: int) -> str:
        return f"{report.result.scales[0].money(units):.{places}f}"

    return {
        "run_id": report.run_id,
        "folder": str(report.folder),
        "hash": report.facts.run_hash,
        "symbols": [scale.instrument.symbol for scale in report.result.scales],
        "strategies": list(report.result.strategies),
        "bars": report.result.bars,
        "orders": figures["order_count"],
        "fills": figures["fill_count"],
        "trades": metrics.trades.count,
        "wins": metrics.trades.wins,
        "final_equity": money(figures["cash"] + figures["floating"]),
        "fees": money(figures["fees"]),
        "funding": money(figures["funding"]),
        "max_drawdown": metrics.equity.max_drawdown,
        "sharpe": metrics.equity.sharpe,
        "sortino": metrics.equity.sortino,
        "ambiguous_bars": figures["ambiguous_bars"],
        "figures": figures_as_json(metrics),
        "journals": {symbol: str(path) for symbol, path in report.journals.items()},
        **({"symbol_results": [_symbol_document(output) for output in report.symbols]} if report.symbols else {}),
        **({"like": {name: found.figures for name, found in metrics.like.items()}} if metrics.like else {}),
        "load_seconds": round(report.timings.load, 6),
        "loop_seconds": round(report.timings.loop, 6),
        "journal_seconds": round(report.timings.journal, 6),
        "figures_seconds": round(report.timings.figures, 6),
        "write_seconds": round(report.timings.write, 6),
        "store_seconds": round(report.timings.store, 6),
        "total_seconds": round(report.timings.total, 6),
    }


def _symbol_document(output: SymbolOutput) -> dict[str, Any]:
    """One symbol of a run of several; money as `figures` has it."""
    from engine.figures.metrics import as_json as figures_as_json

    figures = figures_as_json(output.metrics)
    return {
        "symbol": output.facts.symbol,
        "folder": str(output.folder),
        "bars": len(output.bars),
        "orders": output.result.figures["order_count"],
        "fills": output.result.figures["fill_count"],
        "trades": output.metrics.trades.count,
        "wins": output.metrics.trades.wins,
        "final_equity": figures["equity"]["final"],
        "fees": figures["costs"]["fees"],
        "funding": figures["costs"]["funding"],
        "figures": figures,
    }
