"""cryptofeed's exchange classes, built and driven without its FeedHandler, its network and its log file.

An exchange object normally fetches its instrument list when it is made, without a limit of time. Here the list is at
hand (recorded, or fetched by whoever calls), so that making one does no I/O. The one thing that must be global,
cryptofeed's `Symbols`, is set for the moment of construction only and then put back.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from cryptofeed.exceptions import BadChecksum, BidAskOverlapping, MissingSequenceNumber, UnsupportedSymbol
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols
from yapic import json as cryptofeed_json

from adapters.captures.messages import BookText
from adapters.captures.report import ImportReport, Reason
from adapters.feeds.instrument_lists import ListedInstrument, read_lists
from adapters.feeds.normaliser import FeedMessage, FeedSymbol, Normaliser, to_ns
from adapters.feeds.venues import Venue
from engine.bars import NS_PER_MS
from engine.errors import DataError
from engine.kernels.layout import GAP_REJECTED, GAP_SEQUENCE, NEVER, SELL

CHANNELS = ("l2_book", "trades", "ticker", "funding", "liquidations", "open_interest")

# What the classes raise for a loss that they notice, and what comes out of them when a message is of another form.
_LOST = (MissingSequenceNumber, BadChecksum, BidAskOverlapping)
_UNREADABLE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
_SPOT = "spot"
# Keys stand in a configuration where a class refuses to be built without any; nothing is signed with these.
_NO_KEYS = {"key_id": "none", "key_secret": "none"}


class SnapshotUnavailableError(Exception):
    """Whoever stands for the HTTP connection has no book snapshot to give now. It never leaves `Exchange.handle`."""


class Listing(msgspec.Struct, frozen=True):
    """An exchange's instruments: cryptofeed's names to the exchange's own, its info of them, and what the lists say."""

    names: dict[str, str]
    info: dict[str, Any]
    instruments: dict[str, ListedInstrument]

    def symbol(self, name: str) -> FeedSymbol:
        """What an instrument, by cryptofeed's name, is called on the tape: the venue's own name, upper case."""
        return FeedSymbol(self.names[name].upper(), self.info.get("instrument_type", {}).get(name) == _SPOT)


def read_listing(venue: Venue, bodies: Sequence[bytes]) -> Listing:
    """Read the bodies of an exchange's instrument lists as its class does; raises DataError."""
    exchange_class = _class_of(venue)
    try:
        lists = [cryptofeed_json.loads(body.decode(), parse_float=Decimal) for body in bodies]
        # A class with one address for its list reads that list, and one with several a list of them.
        found = lists if len(list_addresses(venue)) > 1 else lists[-1]
        names, info = exchange_class._parse_symbol_data(found)  # noqa: SLF001 - the public way there fetches
        return Listing(dict(names), dict(info), read_lists(venue, lists))
    except _UNREADABLE as error:
        raise DataError(
            f"The instrument list of {venue.exchange} has a form that cryptofeed's class does not read"
            f" ({type(error).__name__}: {error})",
            remedy="It is of another version of the exchange's interface. Fetch it, or record the exchange, again.",
        ) from None


def list_addresses(venue: Venue) -> list[str]:
    """Where cryptofeed's class has an exchange's instrument lists, in the order in which it reads them."""
    routes = [endpoint.route("instruments") for endpoint in _class_of(venue).rest_endpoints]
    return [address for route in routes for address in ([route] if isinstance(route, str) else route)]


class Exchange:
    """One of cryptofeed's objects and the normaliser that it calls back: the feed of one connection.

    `channels` are cryptofeed's, each with cryptofeed's names of the instruments. What cannot be read is counted in
    `report`; `keys` are for exchanges that give public data to known customers only. `are_books_apart`: where the class
    would fetch a book's snapshot while its stream waits, it says every delta instead, and whoever calls fetches.
    """

    def __init__(
        self,
        venue: Venue,
        listing: Listing,
        channels: Mapping[str, Sequence[str]],
        report: ImportReport,
        keys: Mapping[str, str] | None = None,
        *,
        are_books_apart: bool = False,
    ) -> None:
        self.venue = venue
        self.has_keys = bool(keys)
        self._report = report
        symbols = {name: listing.symbol(name) for names in channels.values() for name in names}
        are_books_apart = are_books_apart and venue.is_snapshot_fetched
        self.normaliser = Normaliser(venue, symbols)
        self._names = frozenset(symbols)
        self._quoted = {name: _quoted_forms(listing.names[name]) for name in symbols}
        self.feed = _build(venue, listing, channels, self.normaliser, keys)
        if are_books_apart:
            _say_texts_as_they_come(self.feed, self.normaliser)
        else:
            _keep_losses_apart(self.feed, self.normaliser)

    async def open(self, connection: Any, ts_receive_ns: int) -> None:
        """The connection was opened: forget the books, and subscribe."""
        self.normaliser.open(ts_receive_ns)
        await self.feed.subscribe(connection)

    async def handle(
        self, message: str, connection: Any, ts_receive_ns: int, place: Callable[[], str]
    ) -> list[FeedMessage]:
        """Return what a message says. One that cannot be read is counted with its place, and what it lost is said."""
        self.normaliser.begin(message, ts_receive_ns)
        for text, replacement in self.venue.corrections:
            message = message.replace(text, replacement)
        try:
            await self.feed.message_handler(message, connection, ts_receive_ns / 1e9)
        except _LOST:
            self._report.reject(Reason.no_snapshot_after_gap, place)
            for symbol in self._named_in(message):
                self.normaliser.lose(symbol, GAP_SEQUENCE)
        except SnapshotUnavailableError as error:
            self._report.reject(Reason.before_snapshot, place, detail=str(error))
        except UnsupportedSymbol as error:
            self._report.reject(Reason.unknown_symbol, place, detail=str(error))
        except _UNREADABLE as error:
            self._refuse(message, error, place)
        return self.normaliser.take()

    def snapshot(self, name: str, body: bytes, ts_receive_ns: int) -> BookText:
        """The book of an instrument (cryptofeed's name) from a REST answer; raises DataError where it is none."""
        try:
            return self.normaliser.snapshot(name, msgspec.json.decode(body), ts_receive_ns)
        except (msgspec.DecodeError, *_UNREADABLE) as error:
            raise DataError(
                f"{self.venue.exchange}: the snapshot of {name} is none ({type(error).__name__}: {error})",
                remedy="It is asked for again. Where it goes on, look at `feed.rest`: another program answers there.",
            ) from None

    def _refuse(self, message: str, error: Exception, place: Callable[[], str]) -> None:
        """Count a message that the class cannot read; what it was about is lost, unless it was a keep-alive word."""
        if isinstance(error, KeyError) and error.args[0] in self._names:
            # The class looked for a book that it does not have yet.
            self._report.reject(Reason.before_snapshot, place)
            return
        is_json = not isinstance(error, cryptofeed_json.JsonError)
        reason = Reason.bad_message if is_json else Reason.bad_json
        self._report.reject(reason, place, detail=f"{type(error).__name__}: {error}")
        lost = self._named_in(message)
        if not lost and not is_json and not message.strip().isalpha():
            lost = [""]  # it may have been about anything
        for symbol in lost:
            self.normaliser.lose(symbol, GAP_REJECTED)

    def _named_in(self, message: str) -> list[str]:
        """The instruments that a message may be about, by cryptofeed's names."""
        return [name for name, forms in self._quoted.items() if any(form in message for form in forms)]


def _quoted_forms(name: str) -> frozenset[str]:
    """How a name stands in messages: Bitget leaves the product out, Bybit the slash, Kraken Futures has capitals."""
    return frozenset(f'"{form}"' for form in (name, name.upper(), name.partition("_")[0], name.replace("/", "")))


def _class_of(venue: Venue) -> Any:
    return EXCHANGE_MAP[venue.exchange]


def _build(
    venue: Venue,
    listing: Listing,
    channels: Mapping[str, Sequence[str]],
    normaliser: Normaliser,
    keys: Mapping[str, str] | None,
) -> Any:
    wanted = {channel: list(names) for channel, names in channels.items() if names}
    config: dict[str, Any] = {"log": {"disabled": True}}
    if keys or venue.needs_keys:
        config[venue.exchange.lower()] = dict(keys or _NO_KEYS)
    before = Symbols.data.get(venue.exchange)
    Symbols.set(venue.exchange, listing.names, listing.info)
    try:
        # All callbacks: a ticker of Deribit's says funding and open interest as well, asked for or not.
        feed = _class_of(venue)(config=config, subscription=wanted, callbacks=normaliser.callbacks())
    finally:
        Symbols.data.pop(venue.exchange, None)
        if before is not None:
            Symbols.data[venue.exchange] = before
    # A connection registers itself with atexit, and is never let go.
    atexit.unregister(feed.http_conn.__del__)
    return feed


def _keep_losses_apart(feed: Any, normaliser: Normaliser) -> None:
    """Where one book misses an update, Binance's classes throw away the books of all instruments: keep the others."""
    check = getattr(feed, "_check_update_id", None)
    if check is None:
        return

    def check_alone(symbol: str, message: Any) -> bool:
        books, update_ids = feed._l2_book, feed.last_update_id  # noqa: SLF001 - there is no other way to the books
        is_skipped: bool = check(symbol, message)
        if feed._l2_book is not books:  # noqa: SLF001 - as above
            del books[symbol], update_ids[symbol]
            feed._l2_book, feed.last_update_id = books, update_ids  # noqa: SLF001 - as above
            normaliser.lose(symbol, GAP_SEQUENCE)
        return is_skipped

    feed._check_update_id = check_alone  # noqa: SLF001 - as above


def _say_texts_as_they_come(feed: Any, normaliser: Normaliser) -> None:
    """Replace what keeps a book in Binance's classes: nobody reads theirs, and while it is begun their stream waits.

    Each delta is said with its own ids and its levels as text; the chain is followed by a BookSync. Quotes and trades,
    nine of ten messages, are said as the text that they are, too: their decimals would be made of text only to be made
    text again.
    """
    name_of = cache(feed.exchange_symbol_to_std_symbol)

    async def say_delta(message: Any, pair: str, _timestamp: float) -> None:
        normaliser.take_delta(name_of(pair), message, message["b"], message["a"], _ms_to_ns(message["E"]))

    async def say_quote(message: Any, timestamp: float) -> None:
        ts_ns = _ms_to_ns(message["E"]) if "E" in message else to_ns(timestamp)
        normaliser.take_quote(name_of(message["s"]), message, ts_ns)

    async def say_trade(message: Any, _timestamp: float) -> None:
        name, flags = name_of(message["s"]), SELL if message["m"] else 0
        normaliser.take_trade(name, message["p"], message["q"], _ms_to_ns(message["T"]), message["a"], flags)

    feed._book, feed._ticker, feed._trade = say_delta, say_quote, say_trade  # noqa: SLF001 - there is no other way to texts


def _ms_to_ns(ms: Any) -> int:
    """A time of Binance's; raises ValueError or TypeError where it is none."""
    ns = int(ms) * NS_PER_MS
    if not 0 <= ns < NEVER:
        raise ValueError(f"{ms} is no time in ms")
    return ns
