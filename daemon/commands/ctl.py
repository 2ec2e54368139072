"""`tapewright ctl`: look at a running session and command it, over its unix socket.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from engine.errors import UsageError

if TYPE_CHECKING:
    from daemon.control.client import ControlClient
    from daemon.control.model import Command, ParamValue

ctl_app = typer.Typer(help="Look at a running session and command it.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Strategy = Annotated[str, typer.Argument(metavar="ID", help="Id of a strategy, as `ctl strategies` lists them.")]
AnyStrategy = Annotated[str, typer.Argument(metavar="[ID]", help="Id of a strategy; all of them if left out.")]
_DIGITS_MAX = 40
_Told = TypeVar("_Told")
_WORDS: dict[str, ParamValue] = {"true": True, "false": False}


class Target:
    """Which session is meant: its home folder, and its name or nothing for the only one that runs."""

    def __init__(self, home: Path, session: str) -> None:
        self.home = home
        self.session = session

    def connect(self) -> ControlClient:
        """A client of the session."""
        from daemon.control.client import ControlClient, find_session

        return ControlClient(find_session(self.home, self.session))


@ctl_app.callback()
def choose(
    context: typer.Context,
    session: Annotated[str, typer.Option(metavar="NAME", help="Name of the session, where several run.")] = "",
) -> None:
    """Look at a running session and command it."""
    context.obj = Target(context.obj.home, session)


@ctl_app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Tell state, account, markets, connections and queues of a session."""
    from daemon.control.tables import print_status

    _tell(context, lambda client: client.status(), print_status, as_json=as_json)


@ctl_app.command()
def strategies(context: typer.Context, as_json: Json = False) -> None:
    """List the strategies with their state, parameters, positions and results."""
    from daemon.control.tables import print_strategies

    _tell(context, lambda client: client.strategies(), print_strategies, as_json=as_json)


@ctl_app.command()
def orders(context: typer.Context, as_json: Json = False) -> None:
    """List the orders that work."""
    from daemon.control.tables import print_orders

    _tell(context, lambda client: client.orders(), print_orders, as_json=as_json)


@ctl_app.command()
def positions(context: typer.Context, as_json: Json = False) -> None:
    """List the positions that are not flat."""
    from daemon.control.tables import print_positions

    _tell(context, lambda client: client.positions(), print_positions, as_json=as_json)


@ctl_app.command()
def start(context: typer.Context, strategy: Strategy, as_json: Json = False) -> None:
    """Let a strategy that is stopped or faulted run."""
    from daemon.control.model import StartStrategy

    _send(context, StartStrategy(strategy), as_json=as_json)


@ctl_app.command()
def stop(context: typer.Context, strategy: Strategy, as_json: Json = False) -> None:
    """Stop a strategy: its orders are cancelled, its positions stay."""
    from daemon.control.model import StopStrategy

    _send(context, StopStrategy(strategy), as_json=as_json)


@ctl_app.command()
def params(
    context: typer.Context,
    strategy: Strategy,
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="What changes; the others stay.")],
    as_json: Json = False,
) -> None:
    """Give a strategy other parameters. A number, true, false, else text; quotes make text of anything."""
    from daemon.control.model import SetParams

    _send(context, SetParams(strategy, parse_params(values)), as_json=as_json)


@ctl_app.command()
def flatten(
    context: typer.Context,
    strategy: AnyStrategy = "",
    symbol: Annotated[str, typer.Option(help="Only this market.")] = "",
    as_json: Json = False,
) -> None:
    """Cancel orders and close positions."""
    from daemon.control.model import Flatten

    _send(context, Flatten(strategy, symbol), as_json=as_json)


@ctl_app.command()
def halt(
    context: typer.Context,
    reason: Annotated[str, typer.Argument(help="Why; the log and `ctl status` tell it.")] = "by hand",
    as_json: Json = False,
) -> None:
    """Let no strategy open anything; what closes a position goes through."""
    from daemon.control.model import Halt

    _send(context, Halt(reason), as_json=as_json)


@ctl_app.command()
def resume(context: typer.Context, as_json: Json = False) -> None:
    """End a halt."""
    from daemon.control.model import Resume

    _send(context, Resume(), as_json=as_json)


@ctl_app.command()
def reload(context: typer.Context, strategy: AnyStrategy = "", as_json: Json = False) -> None:
    """Read strategy files again; what does not load leaves the old code running."""
    from daemon.control.model import Reload

    _send(context, Reload(strategy), as_json=as_json)


@ctl_app.command()
def shutdown(context: typer.Context, as_json: Json = False) -> None:
    """Drain and stop the daemon."""
    from daemon.control.model import Shutdown

    _send(context, Shutdown(), as_json=as_json)


@ctl_app.command()
def tail(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="Only order, fill, log, equity, ...; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow what happens, until Ctrl-C or the session's end. Who reads slowly misses old events, and is told so."""
    from daemon.control.stream import StreamKind
    from daemon.control.tables import item_line

    known = [kind.value for kind in StreamKind]
    for kind in only or ():
        if kind not in known:
            raise UsageError(f"--only {kind} is no kind of output", remedy=f"Kinds: {', '.join(known)}")
    with context.obj.connect() as client, contextlib.suppress(KeyboardInterrupt):
        for item in client.tail():
            if only and item.kind.value not in only and item.kind is not StreamKind.DROPPED:
                continue
            if as_json:
                _print_json(item)
            else:
                typer.echo(item_line(item))


def parse_params(values: list[str]) -> dict[str, ParamValue]:
    """`name=value` words as parameters; raises UsageError for one that is none."""
    found: dict[str, ParamValue] = {}
    for word in values:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r} is no parameter", remedy="Write NAME=VALUE, such as period=20")
        if name in found:
            raise UsageError(f"{name} is given twice", remedy="Leave one of them out.")
        found[name] = parse_value(text)
    return found


def parse_value(text: str) -> ParamValue:
    """A value as it is meant: an int, a float, a bool, else text; quotes around it make it text.

    Raises UsageError for a number that neither holds.
    """
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        if len(text) > _DIGITS_MAX:
            raise _too_large(text)
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.?\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE):
        value = float(text)
        if math.isinf(value):
            raise _too_large(text)
        return value
    return text


def _too_large(text: str) -> UsageError:
    return UsageError(
        f"{text[:_DIGITS_MAX]}{'…' if len(text) > _DIGITS_MAX else ''} is too large a number",
        remedy="Whole numbers have 64 bits, others go to 1.7e308. Quotes make text of it.",
    )


def _tell(
    context: typer.Context, ask: Callable[[ControlClient], _Told], show: Callable[[_Told], None], *, as_json: bool
) -> None:  # fmt: skip
    """Ask a session, and show what it says."""
    with context.obj.connect() as client:
        told = ask(client)
    if as_json:
        _print_json(told)
    else:
        show(told)


def _send(context: typer.Context, command: Command, *, as_json: bool) -> None:
    with context.obj.connect() as client:
        result = client.command(command)
    if as_json:
        _print_json(result)
    else:
        typer.echo(f"{result.text} (record {result.seq:,})")


def _print_json(content: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(content).decode())
