"""The summary of a run as it is printed: a figure a line, a symbol a column, gains green and losses red."""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from engine.figures.metrics import Metrics

NULL = "–"
_HASH_CHARACTERS = 16

Tone: TypeAlias = Literal["green", "red", ""]
Cell: TypeAlias = tuple[str, Tone]


class RunFacts(msgspec.Struct, frozen=True):
    """What the figures do not say of a run: which one it was, and how far it can be trusted."""

    symbol: str
    strategy: str
    timeframe: str
    fill_model: str
    ambiguous_bars: int | None
    run_hash: str
    rows: str = "Bars"  # what the curve has a row for


def summary_text(runs: Sequence[tuple[RunFacts, Metrics]], *, colour: bool = False, width: int = 100) -> str:
    """Return the summary of one or several runs, a column each; `colour` adds terminal escapes."""
    columns = [_cells(facts, figures) for facts, figures in runs]
    rows = [(label, [column[label] for column in columns]) for label in (_cells(*runs[0]) if runs else ())]
    return _table(("", *(facts.symbol for facts, _ in runs)), rows, colour=colour, width=width)


def symbols_text(
    account: tuple[RunFacts, Metrics], symbols: Sequence[tuple[RunFacts, Metrics]], *, colour: bool = False,
    width: int = 100,
) -> str:  # fmt: skip
    """Return a line for each symbol of a run, and one for the account that they share."""
    lines = [(facts.symbol, figures) for facts, figures in symbols] + [("Account", account[1])]
    rows = [(name, list(_line(figures).values())) for name, figures in lines]
    return _table(("", *_line(account[1])), rows, colour=colour, width=width)


def summary_rows(facts: RunFacts, figures: Metrics) -> dict[str, str]:
    """The summary's figures as they are printed, by label."""
    return {label: text for label, (text, _) in _cells(facts, figures).items()}


def _table(
    names: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], *, colour: bool, width: int
) -> str:  # fmt: skip
    """Rows of a label and its cells, below the names of the columns."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only who prints pays for it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column(names[0])
    for name in names[1:]:
        table.add_column(Text(name), justify="right", overflow="fold")
    for label, cells in rows:
        table.add_row(label, *(Text(text, style=tone) for text, tone in cells))
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False,
        color_system="standard" if colour else None, legacy_windows=False,
    )  # fmt: skip
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _line(figures: Metrics) -> dict[str, Cell]:
    """Label → text and colour of the line of a symbol."""
    equity, trades, costs = figures.equity, figures.trades, figures.costs
    return {
        "Trades": (f"{trades.count:,}", ""),
        "Win rate": (_percent(trades.win_rate, signed=False), ""),
        "Profit": (_money(equity.net_profit, signed=True), _tone(equity.net_profit)),
        "Return": (_percent(equity.total_return), _tone(equity.total_return)),
        "Drawdown": _drawdown(equity.max_drawdown),
        "Sharpe": (_number(equity.sharpe), _tone(equity.sharpe)),
        "Factor": (_number(trades.profit_factor), _tone(trades.profit_factor, even=1)),
        "Fees": (_money(costs.fees), ""),
        "Funding": (_money(costs.funding), ""),
    }


def _cells(facts: RunFacts, figures: Metrics) -> dict[str, Cell]:
    """Label → text and colour, in the order printed."""
    span, equity, trades, costs = figures.span, figures.equity, figures.trades, figures.costs
    breakevens = f", {trades.breakevens} even" if trades.breakevens else ""
    return {
        "Strategy": (facts.strategy, ""),
        "Span": (f"{span.start_time[:10]} to {span.end_time[:10]}", ""),
        facts.rows: (f"{span.bars:,} x {facts.timeframe}", ""),
        "Fills": (facts.fill_model, ""),
        "Trades": (f"{trades.count:,} ({figures.long.count:,} long, {figures.short.count:,} short)", ""),
        "Win rate": (_percent(trades.win_rate, signed=False) + breakevens, ""),
        "Return": (_percent(equity.total_return), _tone(equity.total_return)),
        "Buy and hold": (_percent(equity.buy_and_hold_return), _tone(equity.buy_and_hold_return)),
        "Final equity": (_money(equity.final), _tone(equity.net_profit)),
        "Max drawdown": _drawdown(equity.max_drawdown),
        "Sharpe": (_number(equity.sharpe), _tone(equity.sharpe)),
        "Sortino": (_number(equity.sortino), _tone(equity.sortino)),
        "Profit factor": (_number(trades.profit_factor), _tone(trades.profit_factor, even=1)),
        "Expectancy": (_money(trades.expectancy, signed=True), _tone(trades.expectancy)),
        "Time in market": (_percent(figures.exposure.time_in_market, signed=False), ""),
        "Fees": (_money(costs.fees), ""),
        "Funding": (_money(costs.funding), ""),
        "Ambiguous bars": (NULL if facts.ambiguous_bars is None else f"{facts.ambiguous_bars:,}", ""),
        "Hash": (facts.run_hash[:_HASH_CHARACTERS] or NULL, ""),
    }


def _drawdown(fraction: float | None) -> Cell:
    """Write a drawdown as traders write it, below zero."""
    return _percent(-fraction if fraction else fraction), _tone(-fraction if fraction else None)


def _percent(fraction: float | None, *, signed: bool = True) -> str:
    if fraction is None:
        return NULL
    return f"{fraction:+,.2%}" if signed and fraction else f"{fraction:,.2%}"


def _number(value: float | None) -> str:
    return NULL if value is None else f"{value:,.2f}"


def _money(amount: Decimal | None, *, signed: bool = False) -> str:
    if amount is None:
        return NULL
    return f"{amount:+,.2f}" if signed and amount else f"{amount:,.2f}"


def _tone(value: float | Decimal | None, *, even: int = 0) -> Tone:
    if value is None or value == even:
        return ""
    return "green" if value > even else "red"
