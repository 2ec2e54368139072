"""A download: ask for what is missing, round after round until a round brings nothing new, and store it in pieces.

A page that is cut short, or lacks rows, leaves something missing for the next round; so nothing is taken for absent at
the venue because of one answer. What has come is stored every so many pages and at the end, whatever ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from adapters.bar_files import content_hash_of, shown
from adapters.bar_quality import Gap, time_text
from adapters.downloads.model import DownloadOrder, DownloadReport, Progress
from adapters.downloads.shelf import Shelf
from adapters.downloads.sources import Source, form_of, source_of
from adapters.downloads.spans import Span, length_of, missing_bars, missing_settlements
from adapters.feeds.venues import VENUES
from adapters.rest_gate import RestGate, RestUnavailableError
from adapters.venue_rest.server_time import clock_offset_ns
from engine.bars import NS_PER_MS, IntColumn, timeframe_ns
from engine.errors import DataError, InputMissingError, UsageError

_PAGES_A_PIECE = 20
_ATTEMPTS = 3  # at a span whose answer cannot be read, such as one that broke off
_GAPS_LISTED = 20
_FUNDING_LONGEST_NS = 8 * 3_600 * 10**9
_GOES_ON = "What came before is stored; the same command goes on from there."
_CODE_UNKNOWN_SYMBOL = "-1121"


def _no_progress(_done: int, _total: int) -> None:
    """Nobody watches."""


async def download(
    gate: RestGate,
    home: Path,
    order: DownloadOrder,
    progress: Progress = _no_progress,
    *,
    pages_a_piece: int = _PAGES_A_PIECE,
    clock_ns: Callable[[], int] = time.time_ns,
) -> DownloadReport:
    """Bring a range of rows under a home folder; rows that are stored already are not asked for.

    Raises UsageError (symbol, timeframe, range), InputMissingError (the venue has nothing there),
    RestUnavailableError, and DataError (rows that cannot be right, or contradict what is stored).
    """
    if order.start_ns >= order.end_ns:
        raise UsageError(
            f"--start {time_text(order.start_ns)} is not before --end {time_text(order.end_ns)}",
            remedy="The end is the instant after the last bar: 2022-02-01 ends January.",
        )
    source = source_of(gate, order)
    shelf = Shelf(form_of(home, order), source.address)
    end_ns, notes, listed_ns = order.end_ns, [], 0
    if source.missing(shelf.ts_ns, order.start_ns, end_ns):
        with _explained(gate, order, source.address):
            offset = await clock_offset_ns(gate, VENUES[order.exchange], order.rest, clock_ns)
            ended_ns = source.ended_ns(clock_ns() + offset.offset_ns)
            if ended_ns < end_ns:
                end_ns = max(order.start_ns, ended_ns)
                if end_ns == order.start_ns:
                    raise InputMissingError(
                        f"Nothing of {order.symbol} has ended since --start {time_text(order.start_ns)} UTC",
                        remedy="Begin earlier, or wait: what has not ended is not stored.",
                    )
                notes.append(f"nothing after {time_text(end_ns)} UTC: it has not ended yet")
            try:
                await _Rounds(source, shelf, (order.start_ns, end_ns), progress, pages_a_piece).run()
            finally:
                shelf.save()
            listed_ns = await _listed_ns(source, shelf.ts_ns, order, end_ns)
    return _report(gate, order, source, shelf, end_ns, listed_ns, notes)


class _Rounds:
    """The asking."""

    def __init__(self, source: Source, shelf: Shelf, span: Span, progress: Progress, pages_a_piece: int) -> None:
        self._source = source
        self._shelf = shelf
        self._span = span
        self._progress = progress
        self._pages_a_piece = pages_a_piece
        self._pages_count = 0
        self._total = 0

    async def run(self) -> None:
        """Ask until a round has nothing to ask for, or brings nothing new."""
        while spans := self._source.missing(self._shelf.ts_ns, *self._span):
            before = self._shelf.fetched_count
            self._total = max(self._total, length_of(spans) // self._source.unit_ns)
            for span in spans:
                await self._fetch(span)
            if self._shelf.fetched_count == before:
                break
        if self._shelf.fetched_count:
            self._progress(self._total, self._total)

    async def _fetch(self, span: Span) -> None:
        """One span, begun again where it broke off if an answer cannot be read."""
        first_ns, stop_ns = span
        start_ns, end_ns = self._with_neighbours(span)
        attempt = 1
        while True:
            try:
                async for rows in self._source.pages((start_ns, end_ns)):
                    self._shelf.add(row for row in rows if first_ns <= row[0] < stop_ns or self._shelf.holds(row[0]))
                    start_ns = max(start_ns, max((ts_ns for ts_ns, _ in rows), default=start_ns))
                    self._progress(min(self._shelf.fetched_count, max(self._total - 1, 0)), self._total)
                    self._pages_count += 1
                    if self._pages_count % self._pages_a_piece == 0:
                        self._shelf.save()
            except DataError:
                if attempt >= _ATTEMPTS:
                    raise
                attempt += 1
            else:
                return

    def _with_neighbours(self, span: Span) -> Span:
        """A span with the stored rows beside it: where those are others at the venue, the file is of another market."""
        start_ns, end_ns = span
        unit_ns = self._source.unit_ns
        before = unit_ns if self._shelf.holds(start_ns - unit_ns) else 0
        behind = unit_ns if self._shelf.holds(end_ns) else 0
        return start_ns - before, end_ns + behind


async def _listed_ns(source: Source, ts_ns: IntColumn, order: DownloadOrder, end_ns: int) -> int:
    """The venue's first row, where there is none at the start of the range; raises where there is none in all of it."""
    first = int(np.searchsorted(ts_ns, order.start_ns))
    has_rows = first < len(ts_ns) and ts_ns[first] < end_ns
    if has_rows and ts_ns[first] < order.start_ns + source.unit_ns:
        return 0
    if has_rows and order.kind == "funding":
        return 0  # between two settlements there is nothing to miss
    found_ns = await source.first_ns()
    if not has_rows:
        span = f"from {time_text(order.start_ns)} to {time_text(end_ns)} UTC"
        begins = f"; its first are of {time_text(found_ns)}" if found_ns else ", nor any at all"
        what = f"{order.timeframe} {order.kind}" if order.timeframe else order.kind
        raise InputMissingError(
            f"{order.exchange} has no {what} of {order.symbol} {span}{begins}: {source.address}",
            remedy="Correct --start and --end, or --symbol.",
        )
    return found_ns if found_ns > order.start_ns else 0


def _report(
    gate: RestGate,
    order: DownloadOrder,
    source: Source,
    shelf: Shelf,
    end_ns: int,
    listed_ns: int,
    notes: list[str],
) -> DownloadReport:
    ts_ns, columns = shelf.ts_ns, shelf.columns
    first, stop = (int(np.searchsorted(ts_ns, edge)) for edge in (order.start_ns, end_ns))
    inside = ts_ns[first:stop]
    gaps = _gaps(inside, order, end_ns)
    return DownloadReport(
        symbol=order.symbol,
        timeframe="" if order.kind == "funding" else order.timeframe,
        kind=order.kind,
        exchange=order.exchange,
        source=source.address,
        stored=shown(shelf.form.path),
        start_ns=order.start_ns,
        end_ns=end_ns,
        rows_count=len(inside),
        rows_fetched=shelf.fetched_count,
        first_ts_ns=int(inside[0]) if len(inside) else 0,
        last_ts_ns=int(inside[-1]) if len(inside) else 0,
        listed_ns=listed_ns,
        rows_missing=sum(gap.bars_count for gap in gaps),
        gaps_count=len(gaps),
        gaps=tuple(gaps[:_GAPS_LISTED]),
        requests=sum(host.requests for host in gate.statistics()),
        content_sha256=content_hash_of(ts_ns, columns),
        notes=tuple(notes),
    )


def _gaps(ts_ns: IntColumn, order: DownloadOrder, end_ns: int) -> list[Gap]:
    """What is missing from the first row of the range to its end; settlements: so many as the longest interval has."""
    if not len(ts_ns):
        return []
    if order.kind != "funding":
        step_ns = timeframe_ns(order.timeframe)
        spans = missing_bars(ts_ns, step_ns, int(ts_ns[0]), end_ns)
        return [Gap(start_ns, (stop_ns - start_ns) // step_ns) for start_ns, stop_ns in spans]
    spans = missing_settlements(ts_ns, _FUNDING_LONGEST_NS, int(ts_ns[0]), int(ts_ns[-1]) + 1)
    step_ns = _FUNDING_LONGEST_NS
    return [Gap(start_ns - 1 + step_ns, max(1, (stop_ns - start_ns) // step_ns)) for start_ns, stop_ns in spans]


@contextmanager
def _explained(gate: RestGate, order: DownloadOrder, address: str) -> Iterator[None]:
    """Refusals in the words of the command: which option is wrong, when a ban ends, what to do."""
    try:
        yield
    except RestUnavailableError as error:
        if error.status == 400 and _CODE_UNKNOWN_SYMBOL in error.said:
            raise UsageError(
                f"--symbol {order.symbol} is none that {order.exchange} knows: {address} answered {error.said}",
                remedy="Write it as the venue does: BTCUSDT. Spot is --exchange BINANCE, USD-M is BINANCE_FUTURES.",
            ) from None
        banned_ns = max((host.banned_until_ns for host in gate.statistics()), default=0)
        if banned_ns:
            left_ns = banned_ns - time.monotonic_ns()
            ends_ns = (time.time_ns() + left_ns) // NS_PER_MS * NS_PER_MS
            error.message += f". The ban ends at {time_text(ends_ns)[:19]} UTC, in {left_ns / 1e9:.0f} s"
            error.remedy = f"Let nothing on this host ask until then. {_GOES_ON}"
        elif error.status == 0:
            error.remedy = f"See whether this host has a network, and whether --rest is the venue's. {_GOES_ON}"
        elif error.status >= 500:
            error.remedy = f"The venue is in trouble: try again later. {_GOES_ON}"
        else:
            error.remedy = f"{error.remedy.replace('`feed.rest`', '--rest')} {_GOES_ON}"
        raise
    except DataError as error:
        if "feed.rest" in error.remedy:
            error.remedy = f"See what answers there (--rest, in a config `data.rest`). {_GOES_ON}"
        raise
