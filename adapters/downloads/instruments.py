"""Tick, lot and the least notional of an order, asked of a venue's list of instruments."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from adapters.feeds.instrument_lists import read_lists
from adapters.feeds.venues import VENUES
from adapters.instrument_files import StoredInstrument
from adapters.rest_gate import RestGate
from adapters.venue_rest.addresses import address_at
from engine.errors import DataError, UsageError

# Where each exchange lists its instruments, and what asking costs of its limit.
_LISTS = {
    "BINANCE_FUTURES": ("https://fapi.binance.com/fapi/v1/exchangeInfo", 1),
    "BINANCE": ("https://api.binance.com/api/v3/exchangeInfo", 20),
}


async def fetch_instrument(gate: RestGate, exchange: str, symbol: str, rest: str, now_ns: int) -> StoredInstrument:
    """Ask a venue's list of instruments for one. Raises RestUnavailableError, DataError, UsageError (none of it)."""
    address, weight = _LISTS[exchange]
    asked = address_at(address, rest)
    body = (await gate.get(asked, weight=weight)).body
    try:
        listed = read_lists(VENUES[exchange], [msgspec.json.decode(body)]).get(symbol)
    except (msgspec.DecodeError, LookupError, TypeError, ArithmeticError) as error:
        raise DataError(
            f"{asked} gave no list of instruments ({type(error).__name__}: {error})",
            remedy="See what answers there (--rest, in a config `data.rest`).",
        ) from None
    if listed is None or listed.tick_size <= 0 or listed.lot_size <= 0:
        raise UsageError(
            f"{symbol} is none of the instruments that {exchange} lists: {asked}",
            remedy="Write it as the venue does: BTCUSDT. Spot is --exchange BINANCE, USD-M is BINANCE_FUTURES.",
        )
    return StoredInstrument(
        symbol, exchange, listed.kind, _plain(listed.tick_size), _plain(listed.lot_size),
        _plain(listed.minimum_notional), asked, now_ns,
    )  # fmt: skip


def _plain(number: Decimal) -> Decimal:
    return Decimal(f"{number.normalize():f}")
