"""`tapewright compare`: why two stored runs are not the same.

Nothing heavy is imported before the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from daemon.comparing_runs import Comparison, EventDifference

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, the beginning of it, or its number.")]
Store = Annotated[Path | None, typer.Option(metavar="FILE", help="The SQLite file [HOME/strategy.sqlite].")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

_FIGURES = {
    "equity.total_return": "Return", "equity.net_profit": "Net profit", "equity.final": "Final equity",
    "equity.max_drawdown": "Max drawdown", "equity.sharpe": "Sharpe", "equity.sortino": "Sortino",
    "trades.count": "Trades", "trades.win_rate": "Win rate", "trades.profit_factor": "Profit factor",
    "trades.expectancy": "Expectancy", "exposure.time_in_market": "Time in market", "costs.fees": "Fees",
    "costs.slippage": "Slippage", "costs.spread": "Spread", "costs.funding": "Funding",
}  # fmt: skip
_PARTS = {
    "size": "size, all in proportion", "entry_price": "entry prices", "exit_price": "exit prices",
    "slippage": "slippage", "fees": "fees", "funding": "funding", "only_first": "trades only in A",
    "only_second": "trades only in B", "open": "positions still open",
}  # fmt: skip
_FIELDS_SHOWN = 30


def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="RUN", help="A: a name, its beginning, a number, or its folder.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="B: the same.")],
    *,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Explain the difference of two runs: config, figures, first decision, and money by what made it."""
    from daemon.comparing_runs import as_document
    from daemon.comparing_runs import compare as compare_runs

    found = compare_runs(store_path(context, store), first, second)
    if as_json:
        print_json(as_document(found))
        return
    _show(found)


def store_path(context: typer.Context, store: Path | None) -> Path:
    """The store that is meant: the one that is named, or the home folder's."""
    from daemon.storing import STORE_FILE

    home: Path = context.obj.home
    return store or home / STORE_FILE


def print_json(content: Any) -> None:
    """Print one JSON object."""
    import msgspec

    typer.echo(msgspec.json.encode(content).decode())


def _show(found: Comparison) -> None:
    from rich.text import Text

    from daemon.commands.run_tables import new_table, show

    for letter, run in (("A", found.first), ("B", found.second)):
        hashed = run.hash or "no hash: it has not ended"
        show(Text(f"{letter}  {run.name} ({run.mode}, {run.status})  {hashed}"))
    show(Text("The hashes are equal: both did the same, to the last unit." if found.is_equal else "The hashes differ."))
    if found.config:
        table = new_table("config", "A", "B")
        for each in found.config[:_FIELDS_SHOWN]:
            table.add_row(each.path, _value(each.first), _value(each.second))
        show(table)
        left = len(found.config) - _FIELDS_SHOWN
        if left > 0:
            show(Text(f"and {left:,} more fields (--json has all)"))
    else:
        show(Text("The configs are equal."))
    for strategy_id in found.code:
        show(Text(f"The code of {strategy_id} is not the same."))
    if not found.is_equal and not found.config and not found.code:
        show(Text("So it was the data that differed, or the version of Tapewright."))
    _show_figures(found)
    _show_parts(found)
    _show_pairs(found)
    _show_event("First decision that differs", found.first_decision)
    _show_event("First fill that differs", found.first_fill)


def _show_figures(found: Comparison) -> None:
    from daemon.commands.run_tables import new_table, show, shown

    table = new_table("figure", "A", "B", right=("A", "B"))
    for name, title in _FIGURES.items():
        table.add_row(title, *(shown(name, value) for value in found.figures[name]))
    show(table)


def _show_parts(found: Comparison) -> None:
    from daemon.commands.run_tables import new_table, show
    from engine.figures.money import from_units

    parts, decimals = found.attribution.parts, found.cash_decimals
    pairs = found.attribution.pairs
    counts = {"only_first": len(found.attribution.only_first), "only_second": len(found.attribution.only_second)}

    def money(units: int) -> str:
        return f"{from_units(units, decimals):,f}"

    table = new_table("net profit, B less A", "money", "trades", right=("money", "trades"))
    table.add_row("A", money(found.net[0]), f"{len(pairs) + counts['only_first']:,}")
    for name, title in _PARTS.items():
        if getattr(parts, name) or counts.get(name):
            table.add_row(f"  {title}", money(getattr(parts, name)), f"{counts.get(name, len(pairs)):,}")
    table.add_row("B", money(found.net[1]), f"{len(pairs) + counts['only_second']:,}")
    table.add_row("difference", money(parts.total), f"{len(pairs):,} matched")
    show(table)


def _show_pairs(found: Comparison) -> None:
    from adapters.tape.times import time_text
    from daemon.commands.run_tables import new_table, show
    from daemon.comparing_runs import largest
    from engine.figures.money import from_units

    pairs = largest(found.attribution.pairs)
    if not pairs:
        return
    numbers = ("size", "prices", "slippage", "fees", "funding", "difference")
    table = new_table("largest differences", "symbol", "side", *numbers, right=numbers)
    for pair in pairs:
        parts = pair.parts
        amounts = (
            parts.size, parts.entry_price + parts.exit_price, parts.slippage, parts.fees, parts.funding, parts.total,
        )  # fmt: skip
        table.add_row(
            f"{time_text(pair.first.entry_ns)[:19]} {pair.first.strategy}", pair.first.symbol, pair.first.side,
            *(f"{round(from_units(units, found.cash_decimals), 2) + 0:,.2f}" for units in amounts),
        )  # fmt: skip
    show(table)


def _show_event(title: str, found: EventDifference | None) -> None:
    from rich.text import Text

    from daemon.commands.run_tables import show

    if found is None:
        show(Text(f"{title}: none"))
        return
    show(Text(f"{title}:"))
    for line in found.lines():
        show(Text(f"  {line}"))


def _value(value: Any) -> str:
    return "–" if value is None else str(value)
