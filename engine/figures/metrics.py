"""The metrics of a run: one call from equity curve and trades to every figure of the report.

Undefined is None, never 0, 100 or -100; nothing is annualised under 30 days unless asked. Money is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

import msgspec

from engine.bars import NS_PER_DAY, FloatColumn
from engine.figures import money
from engine.figures.diagnostics import Diagnostics
from engine.figures.equity import EquityCurve
from engine.figures.equity_figures import EquityFigures, ExposureFigures, equity_figures, exposure_figures
from engine.figures.times import utc_text
from engine.figures.trade_figures import TradeFigures, in_order, trade_figures
from engine.figures.trades import Trade
from engine.settings import ZERO

JsonScalar: TypeAlias = str | int | float | None
JsonGroups: TypeAlias = dict[str, dict[str, JsonScalar]]


class SpanFigures(msgspec.Struct, frozen=True):
    """What the figures are about. Definitions are in `engine/figures/definitions.py`."""

    start_time: str
    end_time: str
    days: float
    bars: int


class CostFigures(msgspec.Struct, frozen=True):
    """What trading cost, in money; positive is paid. Slippage is None where the run did not measure it.

    `metrics` works out the last three.
    """

    fees: Decimal
    funding: Decimal
    slippage: Decimal | None = None
    spread: Decimal | None = None
    total: Decimal | None = None
    total_per_trade: Decimal | None = None
    share_of_gross: float | None = None


class Metrics(msgspec.Struct, frozen=True):
    """Every figure of a run, in groups; `long` and `short` are `trades` by side."""

    span: SpanFigures
    equity: EquityFigures
    exposure: ExposureFigures
    costs: CostFigures
    trades: TradeFigures
    long: TradeFigures
    short: TradeFigures
    cash_decimals: int
    diagnostics: Diagnostics | None = None
    like: dict[str, dict[str, JsonScalar]] = {}
    """Figures by the definitions of other packages, by the package's name."""


GROUPS = ("span", "equity", "exposure", "costs", "trades", "long", "short")


def metrics(
    equity: EquityCurve,
    trades: Sequence[Trade],
    *,
    initial_cash: Decimal,
    annualise_short: bool = False,
    costs: CostFigures | None = None,
    closes: FloatColumn | None = None,
    open_since_ns: Sequence[int] = (),
) -> Metrics:
    """Every figure of a run.

    `costs` are the ledger's own totals (with those of positions still open); without them the trades' fees
    and funding are added up. `closes`, one price a bar, gives buy-and-hold. `open_since_ns` holds the entry
    times of positions still open at the end: they count as time in the market.
    """
    closed = in_order(trades)
    days = equity.span_ns / NS_PER_DAY
    if costs is None:
        costs = CostFigures(
            fees=money.exact_sum(trade.fees for trade in closed),
            funding=money.exact_sum(trade.funding for trade in closed),
        )

    def figures_of(group: Sequence[Trade]) -> TradeFigures:
        return trade_figures(group, cash_decimals=equity.cash_decimals, days=days)

    end_ns = equity.start_ns + equity.span_ns
    account = equity_figures(equity, initial_cash=initial_cash, annualise_short=annualise_short, closes=closes)
    return Metrics(
        span=SpanFigures(utc_text(equity.start_ns), utc_text(end_ns), days, len(equity)),
        equity=account,
        exposure=exposure_figures(equity, closed, open_since_ns),
        costs=_with_totals(costs, account.net_profit, len(closed), equity.cash_decimals),
        trades=figures_of(closed),
        long=figures_of([trade for trade in closed if trade.side == "long"]),
        short=figures_of([trade for trade in closed if trade.side == "short"]),
        cash_decimals=equity.cash_decimals,
    )


def _with_totals(costs: CostFigures, net_profit: Decimal, trades: int, cash_decimals: int) -> CostFigures:
    if costs.slippage is None:
        return costs
    total = money.exact_sum((costs.fees, costs.funding, costs.slippage, costs.spread or ZERO))
    gross = money.exact_sum((net_profit, total))
    return msgspec.structs.replace(
        costs,
        total=total,
        total_per_trade=money.mean(total, trades, cash_decimals) if trades else None,
        share_of_gross=money.ratio(total, gross) if gross > 0 else None,
    )


def as_json(figures: Metrics) -> JsonGroups:
    """Return group → name → value for JSON: floats as floats, money as text with `cash_decimals` places."""
    return {
        group: {name: _json_scalar(getattr(values, name), figures.cash_decimals) for name in values.__struct_fields__}
        for group, values in ((group, getattr(figures, group)) for group in GROUPS)
    }


def _json_scalar(value: Decimal | JsonScalar, cash_decimals: int) -> JsonScalar:
    return money.money_text(value, cash_decimals) if isinstance(value, Decimal) else value
