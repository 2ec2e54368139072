"""How far this host's clock is from the venue's.

A venue says its time at some moment between a request and its answer. So each round trip bounds the offset from both
sides; what satisfies all of them is the offset, and half its width the uncertainty.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.feeds.venues import Venue
from adapters.rest_gate import RestAnswer, RestGate, RestUnavailableError
from adapters.rest_refusals import answer_date
from adapters.venue_rest.addresses import address_at
from engine.bars import NS_PER_MS, NS_PER_SECOND
from engine.errors import DataError

ROUNDS = 5
_DIGITS_MOST = 20
_DATE = "HTTP Date header"
# A server may keep the header's text for a while after its second is over.
_DATE_UNCERTAINTY_NS = NS_PER_SECOND


class ClockOffset(msgspec.Struct, frozen=True):
    """Venue time = host time + `offset_ns`, give or take `uncertainty_ns`. `source` is where it is from."""

    offset_ns: int
    uncertainty_ns: int
    source: str


class _Clock(msgspec.Struct, frozen=True):
    """A venue's time: its address, where it stands in the answer, and its unit in ns (0: a date in ISO 8601)."""

    address: str
    path: tuple[str | int, ...]
    unit_ns: int


class _Said(msgspec.Struct, frozen=True):
    """A time as a venue gave it: its clock showed at least `ts_ns`, and less than `unit_ns` more."""

    ts_ns: int
    unit_ns: int
    source: str


_CLOCKS = {
    "BINANCE": _Clock("https://api.binance.com/api/v3/time", ("serverTime",), NS_PER_MS),
    "BINANCE_FUTURES": _Clock("https://fapi.binance.com/fapi/v1/time", ("serverTime",), NS_PER_MS),
    "BITGET": _Clock("https://api.bitget.com/api/v2/public/time", ("data", "serverTime"), NS_PER_MS),
    "BITMEX": _Clock("https://www.bitmex.com/api/v1", ("timestamp",), NS_PER_MS),
    "BYBIT": _Clock("https://api.bybit.com/v5/market/time", ("result", "timeNano"), 1),
    "COINBASE": _Clock("https://api.coinbase.com/api/v3/brokerage/time", ("epochMillis",), NS_PER_MS),
    "DERIBIT": _Clock("https://www.deribit.com/api/v2/public/get_time", ("result",), NS_PER_MS),
    "KRAKEN": _Clock("https://api.kraken.com/0/public/Time", ("result", "unixtime"), NS_PER_SECOND),
    # It has no address for the time alone, but says it in every answer.
    "KRAKEN_FUTURES": _Clock(
        "https://futures.kraken.com/derivatives/api/v3/tickers/PF_XBTUSD", ("serverTime",), 0
    ),
    "OKX": _Clock("https://www.okx.com/api/v5/public/time", ("data", 0, "ts"), NS_PER_MS),
}  # fmt: skip


def time_address(venue: Venue, rest: str = "") -> str:
    """Where a venue says its time."""
    return address_at(_CLOCKS[venue.exchange].address, rest)


async def clock_offset_ns(
    gate: RestGate, venue: Venue, rest: str = "", clock_ns: Callable[[], int] = time.time_ns
) -> ClockOffset:  # fmt: skip
    """What must be added to the host's clock for the venue's, from the venue's time address, else from its headers.

    Raises RestUnavailableError where the venue does not answer, DataError where its answers say no time at all.
    """
    address = time_address(venue, rest)
    bounds: list[tuple[int, int, _Said]] = []
    for _ in range(ROUNDS):
        try:
            answer = await gate.get(address)
        except RestUnavailableError:
            if not bounds:
                raise
            break
        # The host's clock at a moment of the monotonic one, which timed the round trip.
        host_ns = clock_ns() - time.monotonic_ns()
        said = _said(_CLOCKS[venue.exchange], answer, address)
        earliest, latest = said.ts_ns - (answer.answered_ns + host_ns), said.ts_ns + said.unit_ns
        bounds.append((earliest, latest - (answer.sent_ns + host_ns), said))
    return _offset(bounds)


def _offset(bounds: list[tuple[int, int, _Said]]) -> ClockOffset:
    """What lies within all bounds, or, where a clock was set meanwhile, within the narrowest."""
    # One answer without a body that can be read makes all rounds as coarse as it was.
    coarsest = max((said for _, _, said in bounds), key=lambda said: said.unit_ns)
    low, high = max(bound[0] for bound in bounds), min(bound[1] for bound in bounds)
    if low > high:
        low, high, coarsest = min(bounds, key=lambda bound: bound[1] - bound[0])
    uncertainty_ns = (high - low + 1) // 2
    if coarsest.source == _DATE:
        uncertainty_ns = max(uncertainty_ns, _DATE_UNCERTAINTY_NS)
    return ClockOffset((low + high) // 2, uncertainty_ns, coarsest.source)


def _said(clock: _Clock, answer: RestAnswer, address: str) -> _Said:
    """The time in an answer's body, else in its header."""
    found = _read(clock, answer.body)
    if found is not None:
        return _Said(found, clock.unit_ns or NS_PER_MS, address)
    date = answer_date(answer.headers)
    if date is None:
        raise DataError(
            f"{address} answers without saying a time: {answer.body[:80]!r}",
            remedy="See what answers there (`feed.rest`).",
        )
    return _Said(round(date.timestamp()) * NS_PER_SECOND, NS_PER_SECOND, _DATE)


def _read(clock: _Clock, body: bytes) -> int | None:
    try:
        value: Any = msgspec.json.decode(body)
        for step in clock.path:
            value = value[step]
    except (msgspec.DecodeError, LookupError, TypeError):
        return None
    text = str(value)
    if clock.unit_ns:
        is_whole = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MOST
        return int(text) * clock.unit_ns if is_whole else None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1_000) * NS_PER_MS
