"""`tapewright runs`: which runs the store holds, what each came to, and its rows as files.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from daemon.stored_runs import RunView

runs_app = typer.Typer(help="List, show and export the runs that the store holds.", no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, the beginning of it, or its number.")]
Store = Annotated[Path | None, typer.Option(metavar="FILE", help="The SQLite file [HOME/strategy.sqlite].")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_WIDTH_OF_FILES = 160  # where nobody's terminal says how wide it is
_STATUS_STYLES = {"running": "green", "failed": "red"}


class Format(StrEnum):
    """Kinds of files."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


@runs_app.command("list")
def list_(context: typer.Context, *, store: Store = None, as_json: Json = False) -> None:
    """List every run, the oldest first."""
    from adapters.store import StoreReader
    from daemon.stored_runs import described

    path = _path(context, store)
    with StoreReader(path) as reader:
        runs = [described(run) for run in reader.runs()]
    if as_json:
        _print_json({"store": str(path), "runs": runs})
        return
    if not runs:
        typer.echo(f"{path} holds no run.")
        return
    table = _table("run", "name", "mode", "status", "strategies", "began", "outputs", "hash", right=("run", "outputs"))
    for run in runs:
        table.add_row(
            str(run["run_id"]), run["name"], run["mode"], _status(run["status"]), run["strategy_id"],
            run["start"][:19], f"{run['outputs_stored']:,}", run["hash"] or "–",
        )  # fmt: skip
    _print(table)


@runs_app.command()
def show(context: typer.Context, run: Run, *, store: Store = None, as_json: Json = False) -> None:
    """Show what a run is, how far it is stored, and what it came to."""
    from daemon.stored_runs import view_of

    view = view_of(_path(context, store), run)
    if as_json:
        _print_json(view)
        return
    show_run(view)


@runs_app.command()
def export(
    context: typer.Context,
    run: Run,
    *,
    form: Annotated[Format, typer.Option("--format", help="What the files are.")] = Format.CSV,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="A new folder [HOME/exports/RUN].")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write every table of a run, with names for codes and exact decimals beside the integers."""
    from adapters.store import StoreReader
    from adapters.store.export import export_run

    with StoreReader(_path(context, store)) as reader:
        found = reader.find(run)
        done = export_run(reader, found, out or context.obj.home / "exports" / found.name, form.value)
    if as_json:
        _print_json(done)
        return
    typer.echo(f"Wrote {len(done.files):,} files of {found.name}: {done.folder}")
    for name, count in done.rows.items():
        typer.echo(f"  {name}: {count:,} rows")


def _path(context: typer.Context, store: Path | None) -> Path:
    from daemon.storing import STORE_FILE

    home: Path = context.obj.home
    return store or home / STORE_FILE


def show_run(view: RunView) -> None:
    """Print a run: its facts and sums, then its strategies, positions and fills."""
    from rich.text import Text

    run, totals = view.run, view.totals
    title = Text(f"{run['name']} ", style="bold")
    _print(title + _status(run["status"]) + Text(f" ({run['mode']}, run {run['run_id']})"))
    lines = {
        "Began": run["start"],
        "Ended": run["end"] or "–",
        "Hash": run["hash"] or "–",
        "Stored": f"{run['outputs_stored']:,} outputs, {run['samples_stored']:,} samples"
        + ("" if totals["last_seq"] is None else f", up to record {totals['last_seq']:,}"),
        "Initial cash": run["initial_cash"],
    }
    equity = totals["equity"]
    if equity is not None:
        lines |= {
            "Equity": f"{equity['equity']} at {equity['time']}",
            "Exposure": f"{equity['exposure']}, margin {equity['margin']}",
            "Drawdown": f"{equity['drawdown_most']} at most",
        }
    lines |= {
        "Realised": f"{totals['realised']} before fees and funding",
        "Fees": f"{totals['fees']} on {totals['fill_count']:,} fills",
        "Funding": f"{totals['funding']} paid in {totals['funding_count']:,} payments",
        "Orders": _counted(totals["orders"]),
        "Risk events": _counted(totals["risks"]),
        "Errors": _counted(totals["errors"]),
    }
    width = max(len(label) for label in lines)
    for label, value in lines.items():
        _print(Text(f"  {label:<{width}}  {value}"))
    _show_tables(view)


def _show_tables(view: RunView) -> None:
    totals = view.totals
    trades = {each["strategy_id"]: each for each in totals["trades"]}
    table = _table("strategy", "parameters", "trades", "wins", "net pnl", "source", right=("trades", "wins", "net pnl"))
    for each in view.strategies:
        params = ", ".join(f"{name}={value}" for name, value in each["params"].items())
        own = trades.get(each["strategy_id"], {"count": 0, "wins": 0, "pnl": "–"})
        table.add_row(
            each["strategy_id"], params, f"{own['count']:,}", f"{own['wins']:,}", own["pnl"], each["source_sha256"][:12]
        )
    _print(table)
    if view.positions:
        table = _table("strategy", "symbol", "position", "entry", "since", right=("position", "entry"))
        for each in view.positions:
            entry = "–" if each["entry_price"] is None else f"{each['entry_price']:,.12g}"
            table.add_row(each["strategy_id"], each["symbol"], each["size"], entry, each["time"][:19])
        _print(table)
    if totals["fills"]:
        table = _table("fills by model", "liquidity", "count", "fees", right=("count", "fees"))
        for each in totals["fills"]:
            table.add_row(each["model"], each["liquidity"], f"{each['count']:,}", each["fees"])
        _print(table)
    if view.risks:
        table = _table("last risk events", "event", "strategy", "symbol", "equity", right=("equity",))
        for each in view.risks:
            table.add_row(
                each["time"][:19], each["event"], each["strategy_id"] or "all", each["symbol"], each["equity"]
            )  # fmt: skip
        _print(table)
    if view.errors:
        table = _table("last errors", "kind", "strategy", "symbol", "message")
        for each in view.errors:
            table.add_row(each["time"][:19], each["kind"], each["strategy_id"], each["symbol"], each["message"])
        _print(table)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _table(*titles: str, right: tuple[str, ...] = ()) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        justify: Literal["left", "right"] = "right" if title in right else "left"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title in ("name", "hash"))
    return table


def _status(status: str) -> Any:
    from rich.text import Text

    return Text(status, style=_STATUS_STYLES.get(status, ""))


def _print(content: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    console.print(content)


def _print_json(content: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(content).decode())
