"""Settled funding: what the venue has charged, and when. Live messages only say what it will charge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal, InvalidOperation

import msgspec

from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.venue_rest.addresses import address_at
from engine.bars import NS_PER_MS, NS_PER_SECOND
from engine.errors import DataError, InputMissingError

_ADDRESSES = {"BINANCE_FUTURES": "https://fapi.binance.com/fapi/v1/fundingRate"}
_ROWS_MOST = 1_000
_TEXT_MOST = 40
_REMEDY = "See what answers there (`feed.rest`); until then funding comes from the feed alone."


class SettledFunding(msgspec.Struct, frozen=True):
    """One settlement: its time rounded to the second, the rate as the venue wrote it, the mark price or nothing."""

    ts_ns: int
    rate: str
    mark: str


class _Row(msgspec.Struct, frozen=True, rename="camel"):
    """A row as Binance sends it. Old ones have no mark price."""

    funding_time: int
    funding_rate: str
    mark_price: str = ""


_ROWS = msgspec.json.Decoder(list[_Row])


async def settled_funding(
    gate: RestGate, venue: Venue, symbol: str, *, since_ns: int, rest: str = ""
) -> list[SettledFunding]:  # fmt: skip
    """Every settlement of a symbol (the venue's name) since a time, oldest first, each once.

    The venue names a settlement some milliseconds late, and at times twice. Raises InputMissingError for a venue
    whose list is not read here, RestUnavailableError, DataError.
    """
    found: dict[int, SettledFunding] = {}
    async for page in funding_pages(gate, venue, symbol, start_ns=since_ns, rest=rest):
        found.update((settled.ts_ns, settled) for settled in page)
    return [found[ts_ns] for ts_ns in sorted(found)]


def funding_address(venue: Venue, rest: str = "") -> str:
    """Where a venue lists its settlements; raises InputMissingError where that is not read here."""
    address = _ADDRESSES.get(venue.exchange)
    if address is None:
        raise InputMissingError(
            f"Settled funding of {venue.exchange} cannot be had by REST; of {' and '.join(_ADDRESSES)} it can",
            remedy="Funding comes from the feed alone there, or from the run's `funding.rate`.",
        )
    return address_at(address, rest)


async def funding_pages(
    gate: RestGate, venue: Venue, symbol: str, *, start_ns: int, end_ns: int | None = None, rest: str = ""
) -> AsyncIterator[list[SettledFunding]]:  # fmt: skip
    """The settlements of [start_ns, end_ns) as they come, a page at a time, each once; raises as settled_funding."""
    address = funding_address(venue, rest)
    what = f"{symbol}'s funding from {address}"
    found: dict[int, SettledFunding] = {}
    start_ms = max(1, start_ns // NS_PER_MS)
    while True:
        query: dict[str, str | int] = {"symbol": symbol, "startTime": start_ms}
        if end_ns is not None:
            query["endTime"] = max(1, end_ns // NS_PER_MS - 1)  # the venue counts it in
        query["limit"] = _ROWS_MOST
        rows = _rows((await gate.get(address_at(address, "", query))).body, what)
        fresh: dict[int, SettledFunding] = {}
        for row in rows:
            settled = _settled(row, what)
            if row.funding_time < start_ms:
                raise DataError(f"{what} goes back: {row.funding_time} after {start_ms} was asked", remedy=_REMEDY)
            if settled.ts_ns not in found:
                fresh[settled.ts_ns] = settled
            if found.setdefault(settled.ts_ns, settled).rate != settled.rate:
                raise DataError(f"{what} has two rates for the settlement of {row.funding_time} ms", remedy=_REMEDY)
        yield list(fresh.values())
        if len(rows) < _ROWS_MOST:
            return
        start_ms = max(row.funding_time for row in rows) + 1


def _rows(body: bytes, what: str) -> list[_Row]:
    try:
        return _ROWS.decode(body)
    except msgspec.DecodeError as error:
        raise DataError(f"{what} has a form that is not Binance's: {error}", remedy=_REMEDY) from None


def _settled(row: _Row, what: str) -> SettledFunding:
    if not _is_number(row.funding_rate) or (row.mark_price and not _is_number(row.mark_price)):
        raise DataError(
            f"{what} has a number that cannot be read at {row.funding_time} ms:"
            f" {row.funding_rate[:_TEXT_MOST]!r}, {row.mark_price[:_TEXT_MOST]!r}",
            remedy=_REMEDY,
        )
    ts_ns = (row.funding_time + 500) // 1_000 * NS_PER_SECOND
    # Where it has no mark price the venue says so with nothing or with 0.
    has_mark = bool(row.mark_price) and Decimal(row.mark_price) > 0
    return SettledFunding(ts_ns, row.funding_rate, row.mark_price if has_mark else "")


def _is_number(text: str) -> bool:
    try:
        return len(text) <= _TEXT_MOST and Decimal(text).is_finite()
    except InvalidOperation:
        return False
