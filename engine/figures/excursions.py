"""How far trades went against and in favour while they were open: averages and quantiles, winners and losers apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn, IntColumn
from engine.figures import money
from engine.figures.trades import Trade

Group = Literal["all", "winners", "losers"]
Measure = Literal["mae", "mfe"]
Unit = Literal["money", "percent", "R"]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NOTHING: tuple[None, ...] = (None,) * len(QUANTILES)


class ExcursionRow(msgspec.Struct, frozen=True):
    """The excursions of a group of trades in one unit; decimals for money. `count`: trades that knew theirs."""

    group: Group
    measure: Measure
    unit: Unit
    count: int
    average: Decimal | float | None
    p05: Decimal | float | None
    p25: Decimal | float | None
    p50: Decimal | float | None
    p75: Decimal | float | None
    p95: Decimal | float | None


def excursion_table(trades: Sequence[Trade], cash_decimals: int) -> list[ExcursionRow]:
    """Eighteen rows: all, winners and losers; against (mae, at most 0) and in favour (mfe); money, percent, R."""
    pnl = money.units_of((trade.pnl for trade in trades), cash_decimals)
    against = _columns([(trade.mae, trade.mae_percent, trade.mae_r) for trade in trades], cash_decimals)
    favour = _columns([(trade.mfe, trade.mfe_percent, trade.mfe_r) for trade in trades], cash_decimals)
    groups: tuple[tuple[Group, NDArray[np.bool_]], ...] = (
        ("all", np.ones(len(trades), dtype=bool)),
        ("winners", pnl > 0),
        ("losers", pnl < 0),
    )
    sides: tuple[tuple[Measure, _Columns], ...] = (("mae", against), ("mfe", favour))
    rows: list[ExcursionRow] = []
    for group, members in groups:
        for measure, columns in sides:
            rows.append(_money_row(group, measure, columns.units[members], cash_decimals))
            rows.append(_row(group, measure, "percent", columns.percents[members]))
            in_r = columns.r[members]
            rows.append(_row(group, measure, "R", in_r[~np.isnan(in_r)]))
    return rows


class _Columns(msgspec.Struct, frozen=True):
    units: IntColumn
    percents: FloatColumn
    r: FloatColumn


def _columns(excursions: Sequence[tuple[Decimal, float, float | None]], cash_decimals: int) -> _Columns:
    return _Columns(
        units=money.units_of((amount for amount, _, _ in excursions), cash_decimals),
        percents=np.array([percent for _, percent, _ in excursions], dtype=np.float64),
        r=np.array([np.nan if r is None else r for _, _, r in excursions], dtype=np.float64),
    )


def _money_row(group: Group, measure: Measure, units: IntColumn, cash_decimals: int) -> ExcursionRow:
    ordered = np.sort(units).tolist()
    total = money.from_units(money.column_sum(units), cash_decimals)
    average = money.mean(total, len(ordered), cash_decimals) if ordered else None
    quantiles = [money.from_units(ordered[row], cash_decimals) for row in _places(len(ordered))]
    return ExcursionRow(group, measure, "money", len(ordered), average, *(quantiles or _NOTHING))


def _row(group: Group, measure: Measure, unit: Unit, values: FloatColumn) -> ExcursionRow:
    ordered = np.sort(values).tolist()
    average = math.fsum(ordered) / len(ordered) if ordered else None
    quantiles = [ordered[row] for row in _places(len(ordered))]
    return ExcursionRow(group, measure, unit, len(ordered), average, *(quantiles or _NOTHING))


def _places(count: int) -> list[int]:
    """The row of each quantile among `count` in order: nearest rank, the least value with p of them at or below it."""
    return [max(math.ceil(p * count) - 1, 0) for p in QUANTILES] if count else []
