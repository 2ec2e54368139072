"""Trades: what a report knows of each closed position."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

TradeSide = Literal["long", "short"]
ExitReason = Literal["order", "liquidation", "end", "guard"]


class Trade(msgspec.Struct, frozen=True):
    """One closed position, from flat to flat (or to the other side).

    Prices are averages over the fills. Money is exact, in the account's currency; funding is positive where
    it was paid, and `pnl` = `gross_pnl` - `fees` - `funding`. Percentages are of the entry notional (1.5 is
    1.5 %). R is the risk taken at entry; None where no stop told it.
    """

    trade_id: int
    strategy: str
    symbol: str
    side: TradeSide
    entry_ts_ns: int
    exit_ts_ns: int
    entry_price: float
    exit_price: float
    size: Decimal
    """The greatest size held, in units."""
    gross_pnl: Decimal
    fees: Decimal
    funding: Decimal
    pnl: Decimal
    pnl_percent: float
    mae: Decimal
    """The worst floating profit while open, at most 0."""
    mfe: Decimal
    """The best floating profit while open, at least 0."""
    mae_percent: float
    mfe_percent: float
    mae_r: float | None
    mfe_r: float | None
    bars_held: int
    fills: int
    exit_reason: ExitReason
