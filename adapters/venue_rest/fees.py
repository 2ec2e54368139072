"""What venues charge an account without volume or discounts, as they publish it: a default where a run names no fees.

Fees change, and differ by account and country, so each row says where they are published, and when that was seen there
or in a dated index of such pages. Rows without a date are as commonly quoted.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

FeeKind: TypeAlias = Literal["spot", "perpetual"]


class VenueFees(msgspec.Struct, frozen=True):
    """Fees in bps of a trade's value. `page` is the venue's page of them, `as_of` when it said so (ISO 8601, or "")."""

    maker_bps: Decimal
    taker_bps: Decimal
    page: str
    as_of: str


def _fees(maker: str, taker: str, page: str, as_of: str) -> VenueFees:
    return VenueFees(Decimal(maker), Decimal(taker), page, as_of)


_KRAKEN = "Kraken: Fee Schedule"
_BYBIT = "Bybit: Trading Fee Structure"
_BITMEX = "BitMEX Blog: Fee Changes"

# By the venue's name on the tape and the kind of instrument.
_TABLE: dict[tuple[str, FeeKind], VenueFees] = {
    ("binance_spot", "spot"): _fees("10", "10", "Binance: Spot Trading Fee Rate", ""),
    ("binance_usdm", "perpetual"): _fees("2", "5", "Binance: USDⓈ-M Futures Trading Fee Rate", "2026-10-12"),
    ("bitmex", "perpetual"): _fees("2", "7.5", _BITMEX, "2023-01-17"),
    ("bitmex", "spot"): _fees("10", "10", _BITMEX + " on BitMEX Spot", "2024-06-13"),
    ("bybit_linear", "perpetual"): _fees("2", "5.5", _BYBIT, "2026-10-16"),
    ("bybit_spot", "spot"): _fees("10", "10", _BYBIT, "2026-10-16"),
    ("coinbase", "spot"): _fees("40", "60", "Coinbase: Advanced fees", ""),
    ("deribit", "perpetual"): _fees("0", "5", "Deribit Support: Fees", "2025-11-01"),
    ("deribit", "spot"): _fees("0", "0", "Deribit Support: Fees", "2025-11-01"),
    ("kraken", "spot"): _fees("25", "40", _KRAKEN, "2026-05-30"),
    ("kraken_futures", "perpetual"): _fees("2", "5", _KRAKEN, "2026-10-12"),
    ("okx", "perpetual"): _fees("2", "5", "OKX: Fees", "2026-10-16"),
    ("okx", "spot"): _fees("8", "10", "OKX: Fees", ""),
}


def venue_fees(venue_name: str, kind: FeeKind) -> VenueFees | None:
    """The base fees of a venue, by its name on the tape; None where none are known."""
    return _TABLE.get((venue_name, kind))
