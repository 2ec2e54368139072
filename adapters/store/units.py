"""The integers of a run as exact decimals: which columns are money, prices or sizes, and what they are in units.

A decimal stands beside the integer that it is made of: `price` beside `price_ticks`, `size` beside `lots`, `fee` beside
`fee_units`. Digits are those of the run's units, no fewer and no more, so that a column has one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Literal

import msgspec

from adapters.store.runs import StoredInstrument

Unit = Literal["money", "price", "size", "rate", "mark"]
_EXACT = Context(prec=60)  # the default's 28 digits would round a product of two int64, which may have 39
_MICRO_DECIMALS = 6
_RATE_DECIMALS = 12

DECIMALS: Mapping[str, Mapping[str, tuple[str, Unit]]] = {
    "strategy_runs": {"initial_cash": ("initial_cash", "money")},
    "strategy_orders": {
        "remaining_lots": ("remaining_size", "size"), "lots": ("size", "size"),
        "limit_ticks": ("limit_price", "price"), "stop_ticks": ("stop_price", "price"),
    },
    "strategy_fills": {
        "lots": ("size", "size"), "price_ticks": ("price", "price"), "base_ticks": ("base_price", "price"),
        "fee": ("fee", "money"), "pnl": ("pnl", "money"), "value": ("value", "money"), "cash": ("cash", "money"),
        "remaining_lots": ("remaining_size", "size"), "bid_ticks": ("bid", "price"), "bid_lots": ("bid_size", "size"),
        "ask_ticks": ("ask", "price"), "ask_lots": ("ask_size", "size"), "ahead_lots": ("ahead_size", "size"),
    },
    "strategy_trades": {
        "lots_most": ("size_most", "size"), "lots_entered": ("size_entered", "size"),
        "entry_value": ("entry_value", "money"), "exit_value": ("exit_value", "money"),
        "gross_pnl": ("gross_pnl", "money"), "fees": ("fees", "money"), "funding": ("funding", "money"),
        "pnl": ("pnl", "money"), "mae": ("mae", "money"), "mfe": ("mfe", "money"),
    },
    "positions": {"lots": ("size", "size"), "cost": ("cost", "money")},
    "funding_payments": {
        "rate_e12": ("rate", "rate"), "mark_micro": ("mark_price", "mark"), "lots": ("size", "size"),
        "payment": ("payment", "money"), "cash": ("cash", "money"),
    },
    "equity_curve": {
        "equity": ("equity", "money"), "exposure": ("exposure", "money"), "margin": ("margin", "money"),
        "drawdown": ("drawdown", "money"),
    },
    "risk_events": {"equity": ("equity", "money"), "reference": ("reference", "money")},
}  # fmt: skip
"""Of each table, the integer columns with the name and the unit of the decimal that goes beside them.

`value` and `limit_value` of a risk event are what the event says they are, and stay integers.
"""


class DecimalColumn(msgspec.Struct, frozen=True):
    """A decimal beside an integer: made from the column at `source` with `scale` decimals, by the row's instrument.

    None where the integer says that there is none: no order has a price of 0 ticks, and an empty side of a book has.
    """

    name: str
    source: int
    scale: int
    of: Callable[[int, str], Decimal | None]


def integer_name(table: str, column: str) -> str:
    """What an integer column is called in an export: money gives its name to the decimal, and is in `_units`."""
    decimal = DECIMALS.get(table, {}).get(column)
    return f"{column}_units" if decimal is not None and decimal[0] == column else column


def decimal_columns(
    table: str, columns: Sequence[str], cash_decimals: int, instruments: Sequence[StoredInstrument]
) -> list[DecimalColumn]:  # fmt: skip
    """The decimals of a table whose rows have these columns."""
    ticks = {each.symbol: Decimal(each.tick_size) for each in instruments}
    lots = {each.symbol: Decimal(each.lot_size) for each in instruments}
    made: dict[Unit, tuple[int, Callable[[int, str], Decimal | None]]] = {
        "money": (cash_decimals, _of_power(-cash_decimals)),
        "rate": (_RATE_DECIMALS, _of_power(-_RATE_DECIMALS)),
        "price": (_decimals(ticks), _of_ticks(ticks)),
        "size": (_decimals(lots), _of_units(lots, 0)),
        "mark": (_decimals(ticks) + _MICRO_DECIMALS, _of_units(ticks, -_MICRO_DECIMALS)),
    }
    wanted = DECIMALS.get(table, {})
    return [
        DecimalColumn(wanted[column][0], place, *made[wanted[column][1]])
        for place, column in enumerate(columns)
        if column in wanted
    ]


def _decimals(units: Mapping[str, Decimal]) -> int:
    exponents = (unit.normalize().as_tuple().exponent for unit in units.values())
    return max((0, *(-each for each in exponents if isinstance(each, int))))


def _of_power(exponent: int) -> Callable[[int, str], Decimal]:
    def of(units: int, _: str) -> Decimal:
        return _EXACT.scaleb(Decimal(units), exponent)

    return of


def _of_ticks(ticks: Mapping[str, Decimal]) -> Callable[[int, str], Decimal | None]:
    def of(count: int, symbol: str) -> Decimal | None:
        return _EXACT.multiply(count, ticks[symbol]) if count else None

    return of


def _of_units(units: Mapping[str, Decimal], exponent: int) -> Callable[[int, str], Decimal]:
    def of(count: int, symbol: str) -> Decimal:
        return _EXACT.scaleb(_EXACT.multiply(count, units[symbol]), exponent)

    return of
