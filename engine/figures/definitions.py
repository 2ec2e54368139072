"""What every figure means, in one table: `metrics.json` carries it, docs/figures.md is written from it."""

from __future__ import annotations

from typing import Literal

import msgspec

Unit = Literal["money", "fraction", "percent", "ratio", "R", "count", "seconds", "days", "bars", "per day", "time"]

ANNUALISED = "the run is shorter than 30 days and annualising was not asked for"
NO_BARS = "there are no bars"
NO_TRADES = "there are no trades"
NO_EQUITY = "a day ends with equity at or below 0"
NEVER = "never"
UNMEASURED = "the run did not measure slippage"

OWN = "this project"
SHARPE = "Sharpe 1994, The Sharpe Ratio"
SORTINO = "Sortino and Price 1994, Performance Measurement in a Downside Risk Framework"
YOUNG = "Young 1991, Calmar Ratio: A Smoother Tool"
SWEENEY = "Sweeney 1996, Maximum Adverse Excursion"
THARP = "Tharp 1998, Trade Your Way to Financial Freedom"
BACKTESTING = "backtesting.py"
COMMON = "common usage"

TRADE_GROUPS = ("trades", "long", "short")


class Figure(msgspec.Struct, frozen=True):
    """One row: where the figure stands in the report, and what it means."""

    group: str
    name: str
    unit: Unit
    definition: str
    null_when: str = NEVER
    source: str = COMMON

    @property
    def text(self) -> str:
        """Definition, unit and nulls in one line."""
        return f"{self.definition} Unit: {self.unit}. Null when: {self.null_when}."


_SPAN = (
    Figure(
        "span",
        "start_time",
        "time",
        "Open of the first bar, when the starting balance stood, UTC.",
        source=OWN,
    ),
    Figure("span", "end_time", "time", "Close of the last bar, UTC; the start without bars.", source=OWN),
    Figure("span", "days", "days", "Calendar time from start to end.", source=OWN),
    Figure("span", "bars", "count", "Rows of the equity curve.", source=OWN),
)

_EQUITY = (
    Figure("equity", "initial", "money", "The starting balance."),
    Figure(
        "equity",
        "final",
        "money",
        "Floating equity at the last bar's close; the starting balance without bars.",
    ),
    Figure(
        "equity",
        "peak",
        "money",
        "Greatest floating equity at any bar's close, the starting balance included.",
    ),
    Figure("equity", "net_profit", "money", "final - initial."),
    Figure("equity", "total_return", "fraction", "(final - initial) ÷ initial.", NO_BARS),
    Figure(
        "equity",
        "buy_and_hold_return",
        "fraction",
        "(last close - first close) ÷ first close of the prices given, without costs.",
        "no prices were given, or the first is not above 0",
    ),
    Figure(
        "equity",
        "cagr",
        "fraction",
        "(final ÷ initial)^(365 ÷ days) - 1, on calendar days.",
        f"{ANNUALISED}; final equity is at or below 0; it is past the greatest float",
    ),
    Figure(
        "equity",
        "volatility",
        "fraction",
        "std(r, ddof 1)·√365 of the daily returns r. r: floating equity at the end of each UTC day against"
        " the day before, flat days included, the first against the starting balance; part of a day at"
        " either end counts as a day.",
        f"{ANNUALISED}; there are fewer than two days; {NO_EQUITY}",
    ),
    Figure(
        "equity",
        "sharpe",
        "ratio",
        "mean(r) ÷ std(r, ddof 1)·√365 of the daily returns r, risk-free rate 0.",
        f"{ANNUALISED}; there are fewer than two days; all daily returns are equal; {NO_EQUITY}",
        SHARPE,
    ),
    Figure(
        "equity",
        "sortino",
        "ratio",
        "mean(r) ÷ √(Σ min(r, 0)² ÷ N)·√365 of the N daily returns r.",
        f"{ANNUALISED}; no day lost; {NO_EQUITY}",
        SORTINO,
    ),
    Figure("equity", "calmar", "ratio", "cagr ÷ max_drawdown.", "cagr is null; there was no drawdown", YOUNG),
    Figure(
        "equity",
        "max_drawdown",
        "fraction",
        "Greatest (peak - equity) ÷ peak over bars, as a positive fraction; peak is the greatest equity until"
        " then, the starting balance included.",
        NO_BARS,
    ),
    Figure(
        "equity",
        "max_drawdown_money",
        "money",
        "Greatest peak - equity over bars; it may stand at another bar than max_drawdown.",
        NO_BARS,
    ),
    Figure(
        "equity",
        "max_drawdown_duration_seconds",
        "seconds",
        "Longest time below a peak: from the last bar at the peak to the bar that regains it, or to the end.",
        NO_BARS,
    ),
    Figure(
        "equity",
        "time_under_water",
        "fraction",
        "Time below a peak, so measured, of all drawdowns ÷ time of the run.",
        NO_BARS,
    ),
)

_EXPOSURE = (
    Figure(
        "exposure",
        "time_in_market",
        "fraction",
        "Time with any position open ÷ time of the run; times at which several were open count once.",
        NO_BARS,
        OWN,
    ),
    Figure("exposure", "exposure_average", "money", "Mean gross notional held at bar closes.", NO_BARS, OWN),
    Figure("exposure", "exposure_max", "money", "Greatest gross notional held at a bar's close.", NO_BARS, OWN),
    Figure("exposure", "margin_max", "money", "Greatest margin bound at a bar's close.", NO_BARS, OWN),
    Figure(
        "exposure",
        "leverage_max",
        "ratio",
        "Greatest gross notional ÷ equity at a bar's close.",
        f"{NO_BARS}; a position was held with equity at or below 0",
    ),
    Figure(
        "exposure",
        "leverage_average",
        "ratio",
        "Σ gross notional ÷ Σ equity over bar closes, so bars with more equity count for more.",
        f"{NO_BARS}; the sum of equity is at or below 0",
    ),
    Figure("exposure", "margin_average", "money", "Mean margin bound at bar closes.", NO_BARS, OWN),
    Figure(
        "exposure",
        "margin_usage_max",
        "fraction",
        "Greatest margin bound ÷ equity at a bar's close.",
        f"{NO_BARS}; margin was bound with equity at or below 0",
    ),
    Figure(
        "exposure",
        "margin_usage_average",
        "fraction",
        "Σ margin bound ÷ Σ equity over bar closes.",
        f"{NO_BARS}; the sum of equity is at or below 0",
    ),
)

_COSTS = (
    Figure("costs", "fees", "money", "Fees paid; rebates count against them."),
    Figure("costs", "funding", "money", "Funding paid; below 0 where more was received."),
    Figure(
        "costs",
        "slippage",
        "money",
        "What fills cost against the price they were modelled from, beside the spread.",
        UNMEASURED,
    ),
    Figure(
        "costs",
        "spread",
        "money",
        "What fills lost to half the configured spread (slippage model `spread`); on books the spread is part of the"
        " price and not told apart.",
        f"{UNMEASURED}, or does not tell it apart, as stored runs do not: slippage then holds it too",
    ),
    Figure("costs", "total", "money", "fees + funding + spread + slippage.", UNMEASURED),
    Figure("costs", "total_per_trade", "money", "total ÷ closed trades.", f"{UNMEASURED}; {NO_TRADES}"),
    Figure(
        "costs",
        "share_of_gross",
        "fraction",
        "total ÷ (net profit + total): how much of what would have been earned without costs they took.",
        f"{UNMEASURED}; net profit + total is at or below 0",
    ),
)


def _trade(name: str, unit: Unit, definition: str, null_when: str = NEVER, source: str = COMMON) -> Figure:
    return Figure("trades", name, unit, definition, null_when, source)


_TRADES = (
    _trade("count", "count", "Closed trades, each from flat to flat or to the other side.", source=OWN),
    _trade("wins", "count", "Trades with pnl > 0; pnl is net of fees and funding."),
    _trade("losses", "count", "Trades with pnl < 0."),
    _trade("breakevens", "count", "Trades with pnl = 0."),
    _trade("win_rate", "fraction", "wins ÷ count; breakevens are in the count.", NO_TRADES),
    _trade("net_pnl", "money", "Sum of pnl: gross_profit - gross_loss."),
    _trade("gross_profit", "money", "Sum of the wins' pnl."),
    _trade("gross_loss", "money", "Sum of the losses' pnl, as a positive number."),
    _trade("profit_factor", "ratio", "gross_profit ÷ gross_loss.", "no trade lost"),
    _trade(
        "profit_factor_percent",
        "ratio",
        "Sum of the pnl percentages above 0 ÷ that of those below 0.",
        "no percentage is below 0",
        BACKTESTING,
    ),
    _trade("expectancy", "money", "Mean pnl of a trade (the average trade).", NO_TRADES, THARP),
    _trade("expectancy_percent", "percent", "Mean pnl in percent of the entry notional.", NO_TRADES, BACKTESTING),
    _trade(
        "average_percent_geometric",
        "percent",
        "((Π (1 + p ÷ 100))^(1 ÷ count) - 1)·100 of the percentages p.",
        f"{NO_TRADES}; a trade lost 100 % or more",
        BACKTESTING,
    ),
    _trade("best", "money", "Greatest pnl.", NO_TRADES),
    _trade("best_percent", "percent", "Greatest pnl in percent of the entry notional.", NO_TRADES),
    _trade("worst", "money", "Smallest pnl.", NO_TRADES),
    _trade("worst_percent", "percent", "Smallest pnl in percent of the entry notional.", NO_TRADES),
    _trade("average_win", "money", "Mean pnl of the wins.", "no trade won"),
    _trade("average_loss", "money", "Mean pnl of the losses, below 0.", "no trade lost"),
    _trade("payoff_ratio", "ratio", "Mean win ÷ mean loss, as a positive number.", "no trade won; no trade lost"),
    _trade("longest_winning_run", "count", "Most wins in a row by exit time; a breakeven ends a run."),
    _trade("longest_losing_run", "count", "Most losses in a row by exit time; a breakeven ends a run."),
    _trade("mae_average", "money", "Mean of the worst floating profit while open, at most 0.", NO_TRADES, SWEENEY),
    _trade("mae_average_percent", "percent", "The same in percent of the entry notional.", NO_TRADES, SWEENEY),
    _trade(
        "mae_average_r",
        "R",
        "The same in R, the risk taken at entry, over trades that knew it.",
        "no trade knew its risk",
        THARP,
    ),
    _trade("mfe_average", "money", "Mean of the best floating profit while open, at least 0.", NO_TRADES, SWEENEY),
    _trade("mfe_average_percent", "percent", "The same in percent of the entry notional.", NO_TRADES, SWEENEY),
    _trade(
        "mfe_average_r",
        "R",
        "The same in R, the risk taken at entry, over trades that knew it.",
        "no trade knew its risk",
        THARP,
    ),
    _trade("bars_held_average", "bars", "Mean number of bars held.", NO_TRADES),
    _trade("duration_average_seconds", "seconds", "Mean time from entry to exit.", NO_TRADES),
    _trade("duration_max_seconds", "seconds", "Longest time from entry to exit.", NO_TRADES),
    _trade("liquidations", "count", "Trades that the venue's liquidation closed.", source=OWN),
    _trade("trades_per_day", "per day", "count ÷ days of the run.", NO_BARS),
)

FIGURES: tuple[Figure, ...] = (*_SPAN, *_EQUITY, *_EXPOSURE, *_COSTS, *_TRADES)


def definitions() -> dict[str, dict[str, str]]:
    """Group → name → text, with the same keys as the figures; `long` and `short` mean what `trades` means."""
    groups: dict[str, dict[str, str]] = {}
    for figure in FIGURES:
        for group in TRADE_GROUPS if figure.group == "trades" else (figure.group,):
            groups.setdefault(group, {})[figure.name] = figure.text
    return groups


def markdown_table() -> str:
    """Write the table of docs/figures.md, one row a figure."""
    rows = ["| Figure | Unit | Definition | Null when | Source |", "|---|---|---|---|---|"]
    rows.extend(
        f"| `{figure.group}.{figure.name}` | {figure.unit} | {figure.definition} | {figure.null_when} |"
        f" {figure.source} |"
        for figure in FIGURES
    )
    return "\n".join(rows) + "\n"
