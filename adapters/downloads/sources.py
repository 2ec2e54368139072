"""Where a download's rows come from: klines, mark price klines and settled funding, each page as stored rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias, assert_never

from adapters.downloads.model import DownloadOrder
from adapters.downloads.shelf import BarForm, Form, Row, SeriesForm
from adapters.downloads.spans import Span, joined, missing_bars, missing_settlements, on_grid
from adapters.feeds.venues import VENUES
from adapters.rest_gate import RestGate
from adapters.venue_rest.addresses import address_at
from adapters.venue_rest.funding import funding_address, funding_pages
from adapters.venue_rest.kline_rows import MARK_SOURCES, SOURCES, KlineBar, KlinePage, KlineSource, kline_page
from engine.bars import NS_PER_MS, NS_PER_SECOND, IntColumn, timeframe_ns
from engine.errors import UsageError

Rows: TypeAlias = list[tuple[int, Row]]

_HOUR_NS = 3_600 * NS_PER_SECOND
# Binance settles every 8 h, 4 h or 1 h, and has never waited longer. A stamp is cut to the second.
_FUNDING_LONGEST_NS = 8 * _HOUR_NS
_REMEDY = "What came before is stored; the same command goes on from there."


class Source(Protocol):
    """One kind of rows of one symbol."""

    address: str
    unit_ns: int

    def missing(self, ts_ns: IntColumn, start_ns: int, end_ns: int) -> list[Span]:
        """What is to be asked for."""

    def ended_ns(self, now_ns: int) -> int:
        """Up to where rows are final, at the venue's time."""

    def pages(self, span: Span) -> AsyncIterator[Rows]:
        """The rows of a span, as they come."""

    async def first_ns(self) -> int:
        """The venue's first row; 0: it has none."""


class KlineRows:
    """Bars or mark prices."""

    def __init__(self, gate: RestGate, order: DownloadOrder, row_of: Callable[[KlineBar], Row]) -> None:
        source = _kline_source(order, MARK_SOURCES if order.kind == "mark" else SOURCES)
        self.address = address_at(source.address, order.rest)
        self.unit_ns = timeframe_ns(order.timeframe)
        self._gate = gate
        self._order = order
        self._source = source
        self._row_of = row_of

    def missing(self, ts_ns: IntColumn, start_ns: int, end_ns: int) -> list[Span]:
        """The opens that are not there; runs that lie a tenth of a page apart are one."""
        spans = missing_bars(ts_ns, self.unit_ns, start_ns, end_ns)
        return joined(spans, self._source.rows_most // 10 * self.unit_ns)

    def ended_ns(self, now_ns: int) -> int:
        """The last close."""
        return now_ns // self.unit_ns * self.unit_ns

    async def pages(self, span: Span) -> AsyncIterator[Rows]:
        """Full pages, one after the other, then what is left. A page without rows ends the span."""
        start_ns, end_ns = on_grid(*span, self.unit_ns)
        while start_ns < end_ns:
            limit = min(self._source.rows_most, (end_ns - start_ns) // self.unit_ns)
            bars = await kline_page(self._gate, self._page(max(start_ns, NS_PER_MS), end_ns, limit))
            inside = [bar for bar in bars if start_ns <= bar.open_ns < end_ns]
            yield [(bar.open_ns, self._row_of(bar)) for bar in inside]
            if not inside:
                return
            start_ns = max(bar.open_ns for bar in inside) + self.unit_ns

    async def first_ns(self) -> int:
        """The open of the venue's first bar."""
        bars = await kline_page(self._gate, self._page(NS_PER_MS, None, 1))
        return bars[0].open_ns if bars else 0

    def _page(self, start_ns: int, end_ns: int | None, limit: int) -> KlinePage:
        order = self._order
        return KlinePage(self._source, self.address, order.symbol, order.timeframe, start_ns, limit, _REMEDY, end_ns)


class FundingRows:
    """Settled funding rates."""

    unit_ns = _HOUR_NS

    def __init__(self, gate: RestGate, order: DownloadOrder) -> None:
        self._venue = VENUES[order.exchange]
        self.address = funding_address(self._venue, order.rest)
        self._gate = gate
        self._order = order

    def missing(self, ts_ns: IntColumn, start_ns: int, end_ns: int) -> list[Span]:
        """Where settlements may be missing, to the whole second."""
        found = missing_settlements(ts_ns, _FUNDING_LONGEST_NS, start_ns, end_ns)
        spans = [(-(-start // NS_PER_SECOND) * NS_PER_SECOND, end) for start, end in found]
        return [span for span in spans if span[0] < span[1]]

    def ended_ns(self, now_ns: int) -> int:
        """Now: what is listed is settled."""
        return now_ns

    async def pages(self, span: Span) -> AsyncIterator[Rows]:
        """A thousand at a time."""
        start_ns, end_ns = span
        pages = funding_pages(
            self._gate, self._venue, self._order.symbol, start_ns=start_ns, end_ns=end_ns, rest=self._order.rest
        )
        async for page in pages:
            yield [(row.ts_ns, (float(row.rate),)) for row in page if start_ns <= row.ts_ns < end_ns]

    async def first_ns(self) -> int:
        """The venue's first settlement, as far as one page from the earliest tells."""
        pages = funding_pages(self._gate, self._venue, self._order.symbol, start_ns=0, rest=self._order.rest)
        async for page in pages:
            return min((row.ts_ns for row in page), default=0)
        return 0


def source_of(gate: RestGate, order: DownloadOrder) -> Source:
    """What is asked; raises UsageError or InputMissingError for what the venue has not."""
    match order.kind:
        case "bars":
            return KlineRows(gate, order, _bar_row)
        case "mark":
            return KlineRows(gate, order, _mark_row)
        case "funding":
            return FundingRows(gate, order)
        case _:
            assert_never(order.kind)


def form_of(home: Path, order: DownloadOrder) -> Form:
    """What its rows become; raises UsageError for a symbol that no file can be named after."""
    if order.kind == "bars":
        return BarForm(home, order.symbol, order.timeframe)
    return SeriesForm(home, order.symbol, order.kind)


def _kline_source(order: DownloadOrder, sources: Mapping[str, KlineSource]) -> KlineSource:
    """Where the klines are; raises UsageError for an exchange or timeframe that has none."""
    source = sources.get(order.exchange)
    if source is None:
        raise UsageError(
            f"{order.exchange} has no {order.kind} to download", remedy=f"--exchange {' or '.join(sources)} has."
        )
    timeframe_ns(order.timeframe)
    if order.timeframe not in source.intervals:
        raise UsageError(
            f"--timeframe {order.timeframe} is none that {order.exchange} has at {source.address}",
            remedy=f"Choose one of {', '.join(source.intervals)}.",
        )
    return source


def _bar_row(bar: KlineBar) -> Row:
    return float(bar.open), float(bar.high), float(bar.low), float(bar.close), float(bar.volume)


def _mark_row(bar: KlineBar) -> Row:
    return (float(bar.open),)
