"""What `tapewright backtest --watch` shows: the figures once, then what each save changes in them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from adapters.summary import summary_rows
from daemon.app import BacktestReport
from daemon.commands.backtest import as_document, print_like, print_summary, write_reports
from daemon.rerunning import Rerun, Rerunner, rerun_on_save
from daemon.stages import Quiet, Stages, Terminal
from engine.errors import InputMissingError, TapewrightError

_ALWAYS = ("Trades", "Final equity", "Hash")
_SECONDS = ("load_seconds", "loop_seconds", "journal_seconds", "write_seconds", "total_seconds")
_NOT_COMPARED = frozenset({"run_id", "folder", "journals", "symbol_results", "report", "report_seconds", *_SECONDS})


def watch_backtest(
    home: Path, config_file: Path, overrides: Sequence[str], strategy: str | None, like: Sequence[str], *,
    as_json: bool, with_report: bool,
) -> None:  # fmt: skip
    """Run, and run again at each save, until Ctrl-C, which ends it with 0.

    Raises InputMissingError where there is no config to begin with; every later trouble is shown, and waited out.
    """
    if not config_file.is_file():
        raise InputMissingError(
            f"{config_file}: cannot be read: there is no such file",
            remedy="Give the path of a config file; `config/defaults/backtest.yaml` is one to copy.",
        )
    stages: Stages = Quiet() if as_json else Terminal()
    rerunner = Rerunner(home, config_file, overrides, strategy, Quiet() if as_json else _FirstRun(stages), like)
    shown = _Json(with_report=with_report) if as_json else _Screen(home, with_report=with_report)
    rerun_on_save(rerunner, shown.tell)


class _FirstRun:
    """The stages of the first run, in which there is something to wait for; later ones are said in a line each."""

    def __init__(self, stages: Stages) -> None:
        self._stages: Stages = stages

    def stage(self, text: str) -> None:
        """Say it, until the first run is over."""
        self._stages.stage(text)
        if text.startswith("Backtest completed"):
            self._stages = Quiet()

    def progress(self, done: int, total: int) -> None:
        """Say it, until the first run is over."""
        self._stages.progress(done, total)


class _Screen:
    """For people: nothing that was shown goes away, so the figures of the last good run stay."""

    def __init__(self, home: Path, *, with_report: bool) -> None:
        self._home = home
        self._with_report = with_report
        self._rows: dict[str, str] | None = None

    def tell(self, rerun: Rerun) -> None:
        """Show one run."""
        if rerun.saved:
            names = ", ".join(_shown(path, self._home) for path in rerun.saved)
            typer.echo(f"\n{time.strftime('%H:%M:%S')}  saved: {names}")
        if rerun.error is not None:
            self._tell_error(rerun.error)
        elif rerun.report is not None:
            self._tell_report(rerun.report, rerun.seconds)
        sys.stdout.flush()

    def _tell_error(self, error: TapewrightError) -> None:
        typer.echo(f"error: {error}")
        if self._rows is None:
            typer.echo("Waiting for the next save; Ctrl-C ends.")
        else:
            typer.echo("The last good run: " + ", ".join(f"{name} {self._rows[name]}" for name in _ALWAYS))

    def _tell_report(self, report: BacktestReport, seconds: float) -> None:
        rows = summary_rows(report.facts, report.metrics)
        before, self._rows = self._rows, rows
        if before is None:
            print_summary(report)
            print_like(report.metrics)
        else:
            typer.echo("\n".join([*_changes(before, rows), f"  {seconds:.2f} s, {_shown(report.folder, self._home)}"]))
        if self._with_report:
            _, trouble = write_reports(report, Quiet())
            if trouble is not None:
                typer.echo(f"error: {trouble}")
        if report.store_trouble is not None:
            typer.echo(f"error: {report.store_trouble}")
        if before is None:
            typer.echo("Watching config and strategies; Ctrl-C ends.")


class _Json:
    """For programs: a line a run."""

    def __init__(self, *, with_report: bool) -> None:
        self._with_report = with_report
        self._before: dict[str, Any] | None = None

    def tell(self, rerun: Rerun) -> None:
        """Print one run."""
        line: dict[str, Any] = {
            "number": rerun.number,
            "ok": rerun.error is None,
            "saved": [str(path) for path in rerun.saved],
            "seconds": round(rerun.seconds, 6),
        }
        if rerun.error is not None:
            line |= {"error": rerun.error.message, "remedy": rerun.error.remedy, "exit_code": rerun.error.exit_code}
        elif rerun.report is not None:
            document = as_document(rerun.report)
            if self._with_report:
                written, trouble = write_reports(rerun.report, Quiet())
                document |= written | ({"report_error": str(trouble)} if trouble is not None else {})
            if rerun.report.store_trouble is not None:
                document["store_error"] = str(rerun.report.store_trouble)
            flat = _flat(document)
            before = {} if self._before is None else self._before
            changes = {name: [before.get(name), value] for name, value in flat.items() if before.get(name) != value}
            line |= {"changes": changes if self._before is not None else {}} | document
            self._before = flat
        print(json.dumps(line), flush=True)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """`Trades  12 → 15`, only of what changed; trades, final equity and hash always."""
    if before["Hash"] == after["Hash"] and before == after:
        return [f"  nothing changed: hash {after['Hash']}"]
    width = max(map(len, after))
    lines = []
    for name, value in after.items():
        old = before.get(name, "–")
        if old != value:
            lines.append(f"  {name:{width}}  {old} → {value}")
        elif name in _ALWAYS:
            lines.append(f"  {name:{width}}  {value}")
    return lines


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Figures by their path, without what differs from run to run by itself."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if not prefix and name in _NOT_COMPARED:
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _shown(path: Path, home: Path) -> str:
    whole, root = path.absolute(), home.absolute()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(path)
