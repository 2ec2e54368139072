"""The command line: what there is, where the home folder lies, how a failure ends."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from daemon.commands import cache as cache_command
from daemon.commands import config as config_command
from daemon.commands import data as data_command
from daemon.commands import demo as demo_command
from daemon.commands import doctor as doctor_command
from daemon.commands import strategies as strategies_command
from daemon.commands.backtest import backtest
from daemon.commands.compare import compare
from daemon.commands.ctl import ctl_app
from daemon.commands.exchange import exchange
from daemon.commands.inspect import inspect
from daemon.commands.lookahead import lookahead
from daemon.commands.replay import replay
from daemon.commands.report import report_app
from daemon.commands.run import run as run_command
from daemon.commands.runs import runs_app
from daemon.commands.service import service_app
from daemon.commands.tape import tape_app
from daemon.commands.verify import verify
from engine.errors import EXIT_DEFECT, EXIT_USAGE, TapewrightError

PACKAGES = ("adapters", "config", "daemon", "engine", "strategies")
INTERRUPTED = 130

app = typer.Typer(
    name="tapewright",
    help="Trade on paper and in backtests with one engine that can prove what it did.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # in rich's own markup a default in brackets would be a tag
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Environment:
    """What every command is handed: the home folder, where data, strategies and results lie."""

    def __init__(self, home: Path) -> None:
        self.home = home


@app.callback()
def prepare(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Folder of data, strategies and results [TAPEWRIGHT_HOME; else this folder].")
    ] = None,
) -> None:
    """Trade on paper and in backtests with one engine that can prove what it did."""
    context.obj = Environment(home or Path(os.environ.get("TAPEWRIGHT_HOME") or "."))


app.command("run")(run_command)
app.command("backtest")(backtest)
app.command("replay")(replay)
app.command("compare")(compare)
app.command("verify")(verify)
app.command("inspect")(inspect)
app.command("lookahead")(lookahead)
app.command("doctor")(doctor_command.doctor)
app.command("demo")(demo_command.demo)
app.command("exchange")(exchange)
app.add_typer(data_command.app, name="data")
app.add_typer(cache_command.app, name="cache")
app.add_typer(tape_app, name="tape")
app.add_typer(ctl_app, name="ctl")
app.add_typer(runs_app, name="runs")
app.add_typer(report_app, name="report")
app.add_typer(service_app, name="service")
app.add_typer(strategies_command.app, name="strategies")
app.add_typer(config_command.app, name="config")


def foreign_packages() -> list[str]:
    """Packages of ours that Python would take from somewhere else: one line each."""
    own = Path(__file__).resolve().parent.parent
    found = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None or origin.parent.parent != own:
            found.append(f"{name}: {origin or 'not found'}, expected under {own}")
    return found


def main() -> None:
    """Run a command; every failure ends with what happened, what to do, and its exit code."""
    code = run(sys.argv[1:])
    gc.freeze()  # else Python looks through all that there is once more before it ends: a fifth of a second
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    foreign = foreign_packages()
    if foreign:
        print(
            "error: another distribution claims a package name of Tapewright:\n  " + "\n  ".join(foreign)
            + "\n  Uninstall it, or run Tapewright in an environment of its own: uv run tapewright",
            file=sys.stderr,
        )  # fmt: skip
        return EXIT_DEFECT
    try:
        code = app(arguments, standalone_mode=False)
    except TapewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except typer.TyperException as error:
        show = getattr(error, "show", None)
        if show is not None:
            show(sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception:  # the supervisor of a command: what no code expected is our defect
        traceback.print_exc()
        print("This is a defect of Tapewright. Please report it with the lines above.", file=sys.stderr)
        return EXIT_DEFECT
    return code if isinstance(code, int) else 0
