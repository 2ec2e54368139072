"""Stored runs as people read them on a terminal.

Nothing heavy is imported before something is printed.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

    from daemon.stored_runs import RunView
    from engine.figures.metrics import JsonGroups

_WIDTH_OF_FILES = 160  # where nobody's terminal says how wide it is
_FRACTIONS = {"equity.total_return", "equity.max_drawdown", "exposure.time_in_market", "trades.win_rate", "equity.cagr"}
_STATUS_STYLES = {"running": "green", "failed": "red"}


def show_run(view: RunView) -> None:
    """Print a run: its facts and sums, then its strategies, positions and fills."""
    from rich.text import Text

    run, totals = view.run, view.totals
    title = Text(f"{run['name']} ", style="bold")
    show(title + status_text(run["status"]) + Text(f" ({run['mode']}, run {run['run_id']})"))
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
    lines |= _figure_lines(view.figures)
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
        show(Text(f"  {label:<{width}}  {value}"))
    _show_tables(view)


def _figure_lines(figures: JsonGroups) -> dict[str, str]:
    equity, trades = figures["equity"], figures["trades"]
    lines = {
        "Return": shown("equity.total_return", equity["total_return"]),
        "Max drawdown": shown("equity.max_drawdown", equity["max_drawdown"]),
        "Sharpe": f"{shown('equity.sharpe', equity['sharpe'])}, Sortino {shown('equity.sortino', equity['sortino'])}",
        "Trades": f"{shown('trades.count', trades['count'])}, {shown('trades.win_rate', trades['win_rate'])} won,"
        f" profit factor {shown('trades.profit_factor', trades['profit_factor'])}",
        "Expectancy": f"{shown('trades.expectancy', trades['expectancy'])} a trade",
        "Slippage": shown("costs.slippage", figures["costs"]["slippage"]),
    }
    return lines if trades["count"] else {name: lines[name] for name in ("Return", "Max drawdown", "Sharpe")}


def shown(name: str, value: Any) -> str:
    """A figure as people read it, by its name in metrics.json: fractions in percent, unknown as a dash."""
    if value is None:
        return "–"
    if name in _FRACTIONS:
        return f"{100 * value:.2f}%"
    if isinstance(value, str):  # money
        try:
            return f"{Decimal(value):,.2f}"
        except InvalidOperation:
            return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _show_tables(view: RunView) -> None:
    totals = view.totals
    trades = {each["strategy_id"]: each for each in totals["trades"]}
    table = new_table(
        "strategy", "parameters", "trades", "wins", "net pnl", "source", right=("trades", "wins", "net pnl")
    )
    for each in view.strategies:
        params = ", ".join(f"{name}={value}" for name, value in each["params"].items())
        own = trades.get(each["strategy_id"], {"count": 0, "wins": 0, "pnl": "–"})
        table.add_row(
            each["strategy_id"], params, f"{own['count']:,}", f"{own['wins']:,}", own["pnl"], each["source_sha256"][:12]
        )
    show(table)
    if view.positions:
        table = new_table("strategy", "symbol", "position", "entry", "since", right=("position", "entry"))
        for each in view.positions:
            entry = "–" if each["entry_price"] is None else f"{each['entry_price']:,.12g}"
            table.add_row(each["strategy_id"], each["symbol"], each["size"], entry, each["time"][:19])
        show(table)
    if totals["fills"]:
        table = new_table("fills by model", "liquidity", "count", "fees", right=("count", "fees"))
        for each in totals["fills"]:
            table.add_row(each["model"], each["liquidity"], f"{each['count']:,}", each["fees"])
        show(table)
    if view.risks:
        table = new_table("last risk events", "event", "strategy", "symbol", "equity", right=("equity",))
        for each in view.risks:
            table.add_row(
                each["time"][:19], each["event"], each["strategy_id"] or "all", each["symbol"], each["equity"]
            )  # fmt: skip
        show(table)
    if view.errors:
        table = new_table("last errors", "kind", "strategy", "symbol", "message")
        for each in view.errors:
            table.add_row(each["time"][:19], each["kind"], each["strategy_id"], each["symbol"], each["message"])
        show(table)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def new_table(*titles: str, right: tuple[str, ...] = ()) -> Table:
    """A plain table with these columns; those of `right` are numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        justify: Literal["left", "right"] = "right" if title in right else "left"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title in ("name", "hash"))
    return table


def status_text(status: str) -> Any:
    """A run's status in its colour."""
    from rich.text import Text

    return Text(status, style=_STATUS_STYLES.get(status, ""))


def show(content: Any) -> None:
    """Print something of rich's, as it is, also into a file."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    console.print(content)
