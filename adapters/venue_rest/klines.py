"""Bars of before the start, to warm indicators up: from Binance's klines, spot and USD-M.

Bars begin at whole multiples of their timeframe since 1970, as those that the engine builds from prints do. A timeframe
that the venue does not have is put together from the longest one that divides it. Nothing is repaired here: a row that
cannot be right, or a bar that is missing, is an error, as a warm-up that is wrong unnoticed is worse than none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import groupby

import msgspec

from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.venue_rest.addresses import address_at
from adapters.venue_rest.kline_rows import SOURCES, KlineBar, KlinePage, KlineSource, kline_page, moment, wrong_bar
from engine.bars import NS_PER_MS, timeframe_ns
from engine.errors import InputMissingError

_NO_HISTORY = "Set `paper.warmup` to `files` (stored bars, see `tapewright data`) or to `none`."


class KlineHistory(msgspec.Struct, frozen=True):
    """Closed bars, oldest first, and what there is so far of the one that is open (None: nothing).

    `interval` is the venue's, which the bars were taken or put together from.
    """

    bars: list[KlineBar]
    partial: KlineBar | None
    interval: str


async def klines(
    gate: RestGate, venue: Venue, symbol: str, timeframe: str, count: int, *, rest: str = "", now_ns: int
) -> KlineHistory:  # fmt: skip
    """The last `count` closed bars of a symbol (the venue's name), or as many as there are.

    `now_ns` is the venue's time, not the host's where the two differ. Raises InputMissingError for a venue or timeframe
    without history, RestUnavailableError, and DataError naming the row that cannot be right.
    """
    source = SOURCES.get(venue.exchange)
    if source is None:
        raise InputMissingError(
            f"Bars of {venue.exchange} cannot be had by REST; of {' and '.join(SOURCES)} they can", remedy=_NO_HISTORY
        )
    length_ns = timeframe_ns(timeframe)
    interval = _interval(venue, source, timeframe)
    first_ns = now_ns // length_ns * length_ns - count * length_ns
    address = address_at(source.address, rest)
    rows = [bar async for bar in _pages(gate, source, address, symbol, interval, first_ns, now_ns)]
    return _history(rows, interval, length_ns, now_ns)


def _interval(venue: Venue, source: KlineSource, timeframe: str) -> str:
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
    gate: RestGate, source: KlineSource, address: str, symbol: str, interval: str, first_ns: int, now_ns: int
) -> AsyncIterator[KlineBar]:  # fmt: skip
    """Every row from `first_ns` on, checked against the one before."""
    step_ns = timeframe_ns(interval)
    start_ns, previous_ns, number = max(first_ns, NS_PER_MS), -1, 0
    while True:
        limit = max(1, min(source.rows_most, (now_ns - start_ns) // step_ns + 1))
        page = KlinePage(source, address, symbol, interval, start_ns, limit, _NO_HISTORY)
        bars = await kline_page(gate, page, first_number=number + 1)
        for bar in bars:
            number += 1
            if bar.open_ns < start_ns or (previous_ns >= 0 and bar.open_ns != previous_ns + step_ns):
                wanted_ns = start_ns if previous_ns < 0 else previous_ns + step_ns
                why = f"does not follow: {moment(wanted_ns)} was next"
                raise wrong_bar(f"row {number} of {page.what}", bar, why, _NO_HISTORY)
            previous_ns = bar.open_ns
            yield bar
        if len(bars) < limit or previous_ns + step_ns > now_ns:
            return
        start_ns = previous_ns + step_ns


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
