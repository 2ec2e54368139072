"""The parts of a live feed, made and joined from its plan: no I/O, nothing begins here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from adapters.captures.record_builder import RecordBuilder
from adapters.captures.transcriber import InstrumentState, SourceView
from adapters.feeds.connection import ExchangeConnection
from adapters.feeds.exchange import Exchange, Listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.link import HeardBy, Link
from adapters.feeds.live_books import LiveBook, LiveBooks
from adapters.feeds.live_plan import ConnectionPlan, LivePlan
from adapters.feeds.live_records import LivePlace, LiveReport, LiveTranscriber
from adapters.feeds.polling import Poll, addresses_of
from adapters.feeds.sink import FeedSink
from adapters.feeds.snapshots import BookAccess, SnapshotKeeper
from adapters.feeds.staleness import Heard
from adapters.feeds.statistics import FeedStatistics
from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.tape.documents import TapeSource

_REST = "rest"


class Poller:
    """The exchange object that reads polled answers, and what was heard of them."""

    def __init__(self, exchange: Exchange, heard: HeardBy) -> None:
        self.exchange = exchange
        self.heard = heard
        self.begun_at = float("-inf")

    def answered(self, symbol: str, now: float) -> None:
        """An answer came; where it says what the last one said, the class is silent about it."""
        for heard in self.heard.channels:
            if heard.symbol == symbol:
                heard.at = now


class LiveParts(msgspec.Struct, frozen=True):
    """Everything that `LiveFeed` runs. Sources are numbered as `links` are; REST, where it is used, comes last."""

    links: tuple[Link, ...]
    sources: tuple[TapeSource, ...]
    places: tuple[LivePlace, ...]
    transcriber: LiveTranscriber
    books: LiveBooks
    keeper: SnapshotKeeper | None
    poller: Poller | None
    polls: tuple[Poll, ...]
    rest_failed: Callable[[str, str], None]


class _Maker:
    """What all parts are made with."""

    def __init__(
        self,
        venue: Venue,
        listing: Listing,
        plan: LivePlan,
        limits: FeedLimits,
        statistics: FeedStatistics,
        keys: Mapping[str, str] | None,
    ) -> None:
        self.venue = venue
        self.listing = listing
        self.plan = plan
        self.limits = limits
        self.statistics = statistics
        self.keys = keys
        self.states = {
            each.symbol: InstrumentState(
                each.index,
                plan.instruments[each.index],
                is_snapshot_in_stream=not venue.is_snapshot_fetched,
                has_single_trades=False,
            )
            for each in plan.planned
        }

    def exchange(self, channels: Mapping[str, Sequence[str]], report: LiveReport) -> Exchange:
        """One of cryptofeed's objects."""
        return Exchange(self.venue, self.listing, channels, report, self.keys, are_books_apart=True)

    def heard_by(self, channels: Mapping[str, Sequence[str]]) -> HeardBy:
        """What is to be heard of these channels; the statistics show the same."""
        found = []
        for channel, names in channels.items():
            limit = self.limits.stale_seconds.get(channel, 0.0)
            quiet = self.venue.quiet_seconds.get(channel, 0.0)
            limit = 0.0 if quiet == float("inf") or limit <= 0 else max(limit, quiet)
            for name in names:
                heard = Heard(channel, self.listing.symbol(name).name, limit)
                self.statistics.channels[channel, heard.symbol] = heard
                found.append(heard)
        return HeardBy(found)

    def link(self, number: int, plan: ConnectionPlan, report: LiveReport, origin: str) -> Link:
        """One connection."""
        exchange = self.exchange(plan.channels, report)
        connection = ExchangeConnection(exchange, self.limits, path=plan.route.path, origin=origin)
        names = dict.fromkeys(name for names in plan.channels.values() for name in names)
        symbols = [self.listing.symbol(name).name for name in names]
        return Link(number, exchange, connection, symbols, self.heard_by(plan.channels))


def build_parts(
    venue: Venue,
    listing: Listing,
    plan: LivePlan,
    limits: FeedLimits,
    builder: RecordBuilder,
    sink: FeedSink,
    statistics: FeedStatistics,
    *,
    clock_ns: Callable[[], int],
    gate: RestGate,
    rest: str,
    websocket: str,
    keys: Mapping[str, str] | None,
) -> LiveParts:
    """Make and join the parts of a feed."""
    maker = _Maker(venue, listing, plan, limits, statistics, keys)
    report = LiveReport(sink, statistics)
    links = tuple(maker.link(number, each, report, websocket) for number, each in enumerate(plan.connections))
    rest = rest or venue.rest
    sources = _sources(links, rest if venue.snapshot is not None or plan.polled else "")
    places = tuple(LivePlace(source.name) for source in sources)
    views = [SourceView(place, _chosen(maker, link.symbols), "") for place, link in zip(places, links, strict=False)]  # type: ignore[arg-type]
    views += [SourceView(place, maker.states, "") for place in places[len(links) :]]  # type: ignore[arg-type]
    transcriber = LiveTranscriber(views, plan.without, report, places, builder, sink, statistics)
    books = {
        heard.symbol: LiveBook(maker.states[heard.symbol], link)
        for link in links
        for heard in link.heard.channels
        if heard.channel == "l2_book"
    }
    statistics.books.update(dict.fromkeys(books, False))

    def rest_failed(symbol: str, reason: str) -> None:
        statistics.rejects["REST"] += 1
        sink.rejected("REST", symbol, reason)

    keeper = None
    if venue.snapshot is not None:
        access = {
            symbol: _access(maker, symbol, book, transcriber, (rest, len(links)), sink, clock_ns)
            for symbol, book in books.items()
        }
        keeper = SnapshotKeeper(gate, access, limits, rest_failed)
    live_books = LiveBooks(books, transcriber, keeper, limits, clock_ns)
    transcriber.keeper = live_books
    poller, polls = _polling(maker, report, rest)
    return LiveParts(links, sources, places, transcriber, live_books, keeper, poller, polls, rest_failed)


def _chosen(maker: _Maker, symbols: Sequence[str]) -> dict[str, InstrumentState]:
    return {symbol: maker.states[symbol] for symbol in symbols}


def _sources(links: Sequence[Link], rest: str) -> tuple[TapeSource, ...]:
    names: list[str] = []
    for link in links:
        address = link.connection.address
        count = sum(name.partition(" ")[0] == address for name in names)
        names.append(f"{address} ({count + 1})" if count else address)
    sources = tuple(TapeSource(name, "websocket") for name in names)
    return (*sources, TapeSource(rest, _REST)) if rest else sources


def _access(
    maker: _Maker,
    symbol: str,
    book: LiveBook,
    transcriber: LiveTranscriber,
    rest: tuple[str, int],
    sink: FeedSink,
    clock_ns: Callable[[], int],
) -> BookAccess:
    """How a book's snapshot is fetched and taken; `rest` is where, and the number of that source."""
    asked = maker.venue.snapshot
    assert asked is not None
    origin, number = rest
    name = next(each.name for each in maker.plan.planned if each.symbol == symbol)

    def take(body: bytes) -> None:
        snapshot = book.link.exchange.snapshot(name, body, clock_ns())
        maker.statistics.snapshots[symbol] += 1
        transcriber.take_feed(snapshot, number)
        sink.changed()

    return BookAccess(
        f"{origin.rstrip('/')}{asked.path.format(maker.listing.names[name])}",
        asked.weight,
        lambda: book.state.sync.is_whole,
        lambda: book.link.is_heard,
        take,
    )


def _polling(maker: _Maker, report: LiveReport, rest: str) -> tuple[Poller | None, tuple[Poll, ...]]:
    polled = {channel: names for channel, names in maker.plan.polled.items() if names}
    if not polled:
        return None, ()
    poller = Poller(maker.exchange(polled, report), maker.heard_by(polled))
    polls = []
    for channel, names in polled.items():
        asked = maker.venue.polls[channel]
        pairs = [(maker.listing.symbol(name).name, maker.listing.names[name]) for name in names]
        polls.append(Poll(channel, addresses_of(rest, asked.path, pairs), asked.weight, maker.limits.poll_seconds))
    return poller, tuple(polls)
