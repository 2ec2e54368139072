"""The instruments of a session: tick, lot, kind and multiplier from the exchange's list, checked against the data.

A price that is no whole number of ticks cannot stand on a tape, and a book message that holds one loses the book. So
the data are read first, and where they are finer than the list the unit is the greatest that both are multiples of.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from math import gcd

from adapters.captures.messages import BookText, InterestText, LiquidationText, MarkText, QuoteText, TradeText
from adapters.captures.survey import CHANNELS
from adapters.feeds.exchange import Listing
from adapters.feeds.instrument_lists import ListedInstrument
from adapters.feeds.normaliser import FeedMessage, FundingText, Loss
from adapters.feeds.venues import Venue
from adapters.tape.documents import TapeInstrument

_TEXTS_MOST = 1 << 18
_DECIMALS_MOST = 18


class UnitSeen:
    """The unit that all numbers seen are whole multiples of. It begins with the list's own; 0 is none."""

    def __init__(self, listed: Decimal) -> None:
        self.unit = listed
        self._texts: set[str] = set()

    def take(self, text: str) -> None:
        """Take a number; what is none, or has more decimals than a tape holds, says nothing."""
        if text in self._texts:
            return
        if len(self._texts) >= _TEXTS_MOST:
            self._texts.clear()
        self._texts.add(text)
        try:
            number = Decimal(text)
        except InvalidOperation:
            return
        if number.is_finite() and number > 0 and _decimals(number) <= _DECIMALS_MOST:
            self.unit = common_unit(self.unit, number)


class InstrumentSeen:
    """What the data say of one instrument."""

    def __init__(self, name: str, listed: ListedInstrument | None) -> None:
        self.name = name
        self.listed = listed
        self.channels: set[str] = set()
        self.price = UnitSeen(listed.tick_size if listed is not None else Decimal(0))
        self.size = UnitSeen(listed.lot_size if listed is not None else Decimal(0))

    def take(self, message: FeedMessage) -> None:
        """Take a message of the instrument."""
        match message:
            case BookText():
                self._take("book", (*message.bids, *message.asks))
            case TradeText():
                self._take("prints", ((message.price, message.size),))
            case QuoteText():
                self._take("quotes", ((message.bid, message.bid_size), (message.ask, message.ask_size)))
            case LiquidationText():
                self._take("liquidations", ((message.price, message.size),))
            case MarkText():
                self.channels |= {"marks"} if message.mark else set()
                self.channels |= {"funding"} if message.next_funding_ns else set()
            case FundingText():
                self.channels.add("funding")
            case InterestText():
                self.channels.add("interest")
            case Loss():
                pass

    def _take(self, channel: str, levels: Sequence[tuple[str, str]]) -> None:
        self.channels.add(channel)
        for price, size in levels:
            self.price.take(price)
            self.size.take(size)


def common_unit(unit: Decimal, number: Decimal) -> Decimal:
    """The greatest unit that both are whole multiples of; for `unit` 0 the power of ten, at most 1, of `number`."""
    if not unit:
        return Decimal(1).scaleb(-max(0, _decimals(number.normalize())))
    if number % unit == 0:
        return unit
    places = max(_decimals(unit), _decimals(number), 0)
    return Decimal(gcd(int(unit.scaleb(places)), int(number.scaleb(places)))).scaleb(-places)


def plan_instrument(venue: Venue, listing: Listing, seen: InstrumentSeen, without: frozenset[str]) -> TapeInstrument:
    """The instrument as the session document names it; `metadata` says where tick and lot come from."""
    symbol, listed = listing.symbol(seen.name), seen.listed
    kind = listed.kind if listed is not None else ("spot" if symbol.is_spot else "linear")
    tick, tick_is = _chosen(seen.price.unit, listed.tick_size if listed is not None else Decimal(0))
    lot, lot_is = _chosen(seen.size.unit, listed.lot_size if listed is not None else Decimal(0))
    return TapeInstrument(
        symbol=symbol.name,
        venue=venue.spot_name if symbol.is_spot and venue.spot_name else venue.name,
        kind=kind,
        tick_size=tick,
        lot_size=lot,
        multiplier=_plain(listed.multiplier) if listed is not None else Decimal(1),
        minimum_notional=_plain(listed.minimum_notional) if listed is not None else Decimal(0),
        channels=tuple(name for name in CHANNELS if name in seen.channels and name not in without),
        metadata={
            "name": seen.name,
            "tick_size_is": tick_is,
            "lot_size_is": lot_is,
            **(listed.metadata if listed is not None else {}),
        },
    )


def _chosen(unit: Decimal, listed: Decimal) -> tuple[Decimal, str]:
    if unit <= 0:
        return Decimal(1), "nothing seen"
    return _plain(unit), "instrument list" if unit == listed else "finest step seen"


def _plain(number: Decimal) -> Decimal:
    """The same number written without exponent and closing zeros."""
    return Decimal(f"{number.normalize():f}")


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the number is finite"
    return -exponent
