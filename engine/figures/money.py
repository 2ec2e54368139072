"""Exact sums and one rounding: money of the report as decimals, from decimals or from integer cash units."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import numpy as np

from engine.bars import IntColumn
from engine.errors import CapacityError

_LOW_BITS = 32
# 60 digits hold any sum of a run exactly (int64 units, billions of rows); traps stay those of the default.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def to_units(amount: Decimal, cash_decimals: int) -> int:
    """Return an amount as cash units of 10^-`cash_decimals`; raises CapacityError if they are not whole."""
    with localcontext(_EXACT):
        units = amount.scaleb(cash_decimals)
        if units != units.to_integral_value():
            raise CapacityError(
                f"{amount} has more than {cash_decimals} decimals",
                remedy="Raise cash_decimals, or round the amount.",
            )
        return int(units)


def units_of(amounts: Iterable[Decimal], cash_decimals: int) -> IntColumn:
    """Return amounts as cash units, as `to_units` does, but many at once and cut where they are not whole."""
    with localcontext(_EXACT):
        return np.array([int(amount.scaleb(cash_decimals)) for amount in amounts], dtype=np.int64)


def from_units(units: int, cash_decimals: int) -> Decimal:
    """Return cash units as an amount with `cash_decimals` places."""
    return Decimal(units).scaleb(-cash_decimals, context=_EXACT)


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum of amounts, without any rounding."""
    with localcontext(_EXACT):
        return sum(amounts, Decimal(0))


def mean(total: Decimal, count: int, cash_decimals: int) -> Decimal:
    """`total` ÷ `count`, rounded half to even to `cash_decimals` places; `count` is at least 1."""
    with localcontext(_EXACT):
        return (total / count).quantize(Decimal(1).scaleb(-cash_decimals))


def ratio(above: Decimal, below: Decimal) -> float | None:
    """Return a quotient of money, rounded once to a float; None where nothing stands below."""
    if below == 0:
        return None
    top, top_scale = above.as_integer_ratio()
    bottom, bottom_scale = below.as_integer_ratio()
    return (top * bottom_scale) / (bottom * top_scale)


def money_text(amount: Decimal, cash_decimals: int) -> str:
    """Write an amount in plain digits with exactly `cash_decimals` places, never with an exponent."""
    rounded = amount.quantize(Decimal(1).scaleb(-cash_decimals), context=_EXACT)
    return f"{rounded or abs(rounded):f}"


def column_sum(column: IntColumn) -> int:
    """Return the exact sum of an int64 column, where numpy's own would wrap silently past 2^63."""
    high = int(np.sum(column >> _LOW_BITS))
    low = int(np.sum(column & ((1 << _LOW_BITS) - 1)))
    return (high << _LOW_BITS) + low
