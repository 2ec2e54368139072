"""Bars of before the start, to warm indicators up: from Binance's klines, spot and USD-M.

Bars begin at whole multiples of their timeframe since 1970, as those that the engine builds from prints do. A timeframe
that the venue does not have is put together from the longest one that divides it. Nothing is repaired here: a row that
cannot be right, or a bar that is missing, is an error, as a warm-up that is wrong unnoticed is worse than none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby

import msgspec

from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.venue_rest.addresses import address_at
from engine.bars import NS_PER_MS, timeframe_ns
from engine.errors import DataError, InputMissingError

_TEXT_MOST = 40
_NO_HISTORY = "Set `paper.warmup` to `files` (stored bars, see `tapewright data`) or to `none`."
# Weeks and months of the venue begin on Mondays and firsts, not at multiples since 1970, so a day is the longest.
_FROM_A_MINUTE = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


class KlineBar(msgspec.Struct, frozen=True):
    """One bar, its numbers exactly as the venue wrote them. The volume is in base units."""

    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class KlineHistory(msgspec.Struct, frozen=True):
    """Closed bars, oldest first, and what there is so far of the one that is open (None: nothing).

    `interval` is the venue's, which the bars were taken or put together from.
    """

    bars: list[KlineBar]
    partial: KlineBar | None
    interval: str


class _Source(msgspec.Struct, frozen=True):
    """Where a venue's klines are, and how many come at once for how much weight: (rows up to, weight)."""

    address: str
    intervals: tuple[str, ...]
    weights: tuple[tuple[int, int], ...]


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A row as Binance sends it; the fields behind are not read."""

    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str


_SOURCES = {
    "BINANCE": _Source("https://api.binance.com/api/v3/klines", ("1s", *_FROM_A_MINUTE), ((1_000, 2),)),
    "BINANCE_FUTURES": _Source(
        "https://fapi.binance.com/fapi/v1/klines", _FROM_A_MINUTE, ((99, 1), (499, 2), (1_000, 5), (1_500, 10))
    ),
}
_ROWS = msgspec.json.Decoder(list[_Row])


async def klines(
    gate: RestGate, venue: Venue, symbol: str, timeframe: str, count: int, *, rest: str = "", now_ns: int
) -> KlineHistory:  # fmt: skip
    """The last `count` closed bars of a symbol (the venue's name), or as many as there are.

    `now_ns` is the venue's time, not the host's where the two differ. Raises InputMissingError for a venue or timeframe
    without history, RestUnavailableError, and DataError naming the row that cannot be right.
    """
    source = _SOURCES.get(venue.exchange)
    if source is None:
        raise InputMissingError(
            f"Bars of {venue.exchange} cannot be had by REST; of {' and '.join(_SOURCES)} they can", remedy=_NO_HISTORY
        )
    length_ns = timeframe_ns(timeframe)
    interval = _interval(venue, source, timeframe)
    first_ns = now_ns // length_ns * length_ns - count * length_ns
    address = address_at(source.address, rest)
    rows = [bar async for bar in _pages(gate, source, address, symbol, interval, first_ns, now_ns)]
    return _history(rows, interval, length_ns, now_ns)


def _interval(venue: Venue, source: _Source, timeframe: str) -> str:
    """The longest of a venue's intervals that divides a timeframe."""
    wanted_ns = timeframe_ns(timeframe)
    found = [each for each in source.intervals if wanted_ns % timeframe_ns(each) == 0]
    if not found:
        shortest = source.intervals[0]
        raise InputMissingError(
            f"{venue.exchange} has no bars of {timeframe} by REST, nor any to put them together from:"
            f" its shortest are {shortest}",
            remedy=_NO_HISTORY,
        )
    return max(found, key=timeframe_ns)


async def _pages(
    gate: RestGate, source: _Source, address: str, symbol: str, interval: str, first_ns: int, now_ns: int
) -> AsyncIterator[KlineBar]:  # fmt: skip
    """Every row from `first_ns` on, checked against the one before."""
    step_ns = timeframe_ns(interval)
    most = source.weights[-1][0]
    what = f"{symbol}'s {interval} bars from {address}"
    start_ns, previous_ns, number = max(first_ns, NS_PER_MS), -1, 0
    while True:
        limit = max(1, min(most, (now_ns - start_ns) // step_ns + 1))
        weight = next(weight for rows, weight in source.weights if limit <= rows)
        query: dict[str, str | int] = {"symbol": symbol, "interval": interval}
        query |= {"startTime": start_ns // NS_PER_MS, "limit": limit}
        rows = _rows((await gate.get(address_at(address, "", query), weight=weight)).body, what)
        for row in rows:
            number += 1
            bar = _bar(row, step_ns, f"row {number} of {what}")
            if bar.open_ns < start_ns or (previous_ns >= 0 and bar.open_ns != previous_ns + step_ns):
                wanted_ns = start_ns if previous_ns < 0 else previous_ns + step_ns
                raise _wrong(f"row {number} of {what}", row, f"does not follow: {_moment(wanted_ns)} was next")
            previous_ns = bar.open_ns
            yield bar
        if len(rows) < limit or previous_ns + step_ns > now_ns:
            return
        start_ns = previous_ns + step_ns


def _rows(body: bytes, what: str) -> list[_Row]:
    try:
        return _ROWS.decode(body)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{what} have a form that is not Binance's: {error}",
            remedy="See what answers there (`feed.rest`). " + _NO_HISTORY,
        ) from None


def _bar(row: _Row, step_ns: int, where: str) -> KlineBar:
    """A row's bar, if it can be one."""
    try:
        numbers = [_number(text) for text in (row.open, row.high, row.low, row.close, row.volume)]
    except InvalidOperation:
        raise _wrong(where, row, "has a number that cannot be read") from None
    opened, high, low, closed, volume = numbers
    open_ns = row.open_ms * NS_PER_MS
    if open_ns % step_ns:
        raise _wrong(where, row, "begins at no multiple of its length")
    if low <= 0 or volume < 0:
        raise _wrong(where, row, "has a price that is not above 0, or a volume below it")
    if not (low <= opened <= high and low <= closed <= high):
        raise _wrong(where, row, "has its open or close outside low and high")
    return KlineBar(open_ns, opened, high, low, closed, volume)


def _number(text: str) -> Decimal:
    number = Decimal(text) if len(text) <= _TEXT_MOST else Decimal("nan")
    if not number.is_finite():
        raise InvalidOperation
    return number


def _history(rows: Sequence[KlineBar], interval: str, length_ns: int, now_ns: int) -> KlineHistory:
    """Whole bars of rows. The first is left out where its beginning is missing; the last may be open."""
    groups = [(open_ns, list(group)) for open_ns, group in groupby(rows, lambda row: row.open_ns // length_ns)]
    if groups and groups[0][1][0].open_ns % length_ns:
        del groups[0]
    bars = [_joined(group) for _, group in groups]
    # What a later row follows is closed, even where the venue's clock was past `now_ns` when it answered; and what
    # lacks its last rows is not, even where `now_ns` is past its end.
    reached_ns = min(now_ns, rows[-1].open_ns + timeframe_ns(interval)) if rows else now_ns
    is_open = bool(bars) and bars[-1].open_ns + length_ns > reached_ns
    partial = bars.pop() if is_open else None
    return KlineHistory(bars, partial, interval)


def _joined(rows: Sequence[KlineBar]) -> KlineBar:
    return KlineBar(
        rows[0].open_ns,
        rows[0].open,
        max(row.high for row in rows),
        min(row.low for row in rows),
        rows[-1].close,
        sum((row.volume for row in rows[1:]), rows[0].volume),
    )


def _wrong(where: str, row: _Row, why: str) -> DataError:
    numbers = " ".join((row.open, row.high, row.low, row.close, row.volume))[: 5 * _TEXT_MOST]
    return DataError(f"{where} ({_moment(row.open_ms * NS_PER_MS)}: {numbers}) {why}", remedy=_NO_HISTORY)


def _moment(ts_ns: int) -> str:
    try:
        return datetime.fromtimestamp(ts_ns / 1e9, UTC).isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{ts_ns} ns"
