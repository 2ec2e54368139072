"""One page of Binance's klines: where they are, what they weigh, and rows read as bars.

Klines of prices and of mark prices have the same form. A row that cannot be right is an error that names it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import msgspec

from adapters.rest_gate import RestGate
from adapters.venue_rest.addresses import address_at
from engine.bars import NS_PER_MS, timeframe_ns
from engine.errors import DataError

_TEXT_MOST = 40
# Weeks and months of the venue begin on Mondays and firsts, not at multiples since 1970, so a day is the longest.
_FROM_A_MINUTE = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
_FUTURES_WEIGHTS = ((99, 1), (499, 2), (1_000, 5), (1_500, 10))


class KlineBar(msgspec.Struct, frozen=True):
    """One bar, its numbers exactly as the venue wrote them. The volume is in base units."""

    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class KlineSource(msgspec.Struct, frozen=True):
    """Where a venue's klines are, and how many come at once for how much weight: (rows up to, weight)."""

    address: str
    intervals: tuple[str, ...]
    weights: tuple[tuple[int, int], ...]

    @property
    def rows_most(self) -> int:
        """How many rows a page has at most."""
        return self.weights[-1][0]


class KlinePage(msgspec.Struct, frozen=True):
    """What a page is asked for: bars of `[start_ns, end_ns)`, to the end of all where there is no end.

    `address` is the source's, or that of what stands for it; `remedy` goes with every error about a row.
    """

    source: KlineSource
    address: str
    symbol: str
    interval: str
    start_ns: int
    limit: int
    remedy: str
    end_ns: int | None = None

    @property
    def what(self) -> str:
        """What it holds, in words."""
        return f"{self.symbol}'s {self.interval} bars from {self.address}"


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A row as Binance sends it; the fields behind are not read."""

    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str


SOURCES = {
    "BINANCE": KlineSource("https://api.binance.com/api/v3/klines", ("1s", *_FROM_A_MINUTE), ((1_000, 2),)),
    "BINANCE_FUTURES": KlineSource("https://fapi.binance.com/fapi/v1/klines", _FROM_A_MINUTE, _FUTURES_WEIGHTS),
}
MARK_SOURCES = {
    "BINANCE_FUTURES": KlineSource(
        "https://fapi.binance.com/fapi/v1/markPriceKlines", _FROM_A_MINUTE, _FUTURES_WEIGHTS
    ),
}
_ROWS = msgspec.json.Decoder(list[_Row])


async def kline_page(gate: RestGate, page: KlinePage, *, first_number: int = 1) -> list[KlineBar]:
    """The bars of a page as they came; their order and times are the caller's to check.

    Raises RestUnavailableError, and DataError naming the row, counted from `first_number`.
    """
    query: dict[str, str | int] = {"symbol": page.symbol, "interval": page.interval}
    query["startTime"] = page.start_ns // NS_PER_MS
    if page.end_ns is not None:
        query["endTime"] = page.end_ns // NS_PER_MS - 1  # the venue counts it in
    query["limit"] = page.limit
    weight = next(weight for rows, weight in page.source.weights if page.limit <= rows)
    body = (await gate.get(address_at(page.address, "", query), weight=weight)).body
    try:
        rows = _ROWS.decode(body)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{page.what} have a form that is not Binance's: {error}",
            remedy="See what answers there (`feed.rest`). " + page.remedy,
        ) from None
    step_ns = timeframe_ns(page.interval)
    return [
        _bar(row, step_ns, f"row {number} of {page.what}", page.remedy) for number, row in enumerate(rows, first_number)
    ]


def wrong_bar(where: str, bar: KlineBar, why: str, remedy: str) -> DataError:
    """The error for a bar that cannot be right where it stands."""
    texts = [f"{value:f}" for value in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
    return _wrong(where, bar.open_ns, texts, why, remedy)


def moment(ts_ns: int) -> str:
    """A time in UTC as a person reads it."""
    try:
        return datetime.fromtimestamp(ts_ns / 1e9, UTC).isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{ts_ns} ns"


def _bar(row: _Row, step_ns: int, where: str, remedy: str) -> KlineBar:
    """A row's bar, if it can be one."""
    texts = [row.open, row.high, row.low, row.close, row.volume]
    open_ns = row.open_ms * NS_PER_MS
    try:
        numbers = [_number(text) for text in texts]
    except InvalidOperation:
        raise _wrong(where, open_ns, texts, "has a number that cannot be read", remedy) from None
    opened, high, low, closed, volume = numbers
    if open_ns % step_ns:
        raise _wrong(where, open_ns, texts, "begins at no multiple of its length", remedy)
    if low <= 0 or volume < 0:
        raise _wrong(where, open_ns, texts, "has a price that is not above 0, or a volume below it", remedy)
    if not (low <= opened <= high and low <= closed <= high):
        raise _wrong(where, open_ns, texts, "has its open or close outside low and high", remedy)
    return KlineBar(open_ns, opened, high, low, closed, volume)


def _number(text: str) -> Decimal:
    number = Decimal(text) if len(text) <= _TEXT_MOST else Decimal("nan")
    if not number.is_finite():
        raise InvalidOperation
    return number


def _wrong(where: str, open_ns: int, texts: list[str], why: str, remedy: str) -> DataError:
    numbers = " ".join(texts)[: 5 * _TEXT_MOST]
    return DataError(f"{where} ({moment(open_ns)}: {numbers}) {why}", remedy=remedy)
