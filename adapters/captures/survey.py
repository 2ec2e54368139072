"""The first pass over a file: which symbols and channels it has, how many decimals, how its clock lies.

The session document stands first on a tape and names tick, lot and clock offset, so all of the file is read before the
first record is made. Decimals of later lines count as those of the first do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from adapters.captures.clock_offset import ClockSamples
from adapters.captures.decimals import DecimalsSeen
from adapters.captures.messages import (
    BookText,
    InterestText,
    LiquidationText,
    LossText,
    MarkText,
    Message,
    QuoteText,
    TradeText,
)

CHANNELS = ("book", "prints", "quotes", "marks", "funding", "liquidations", "interest")


class SymbolSurvey:
    """What was seen of one symbol. Decimals are −1 where no number was seen."""

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self.price_decimals = -1
        self.size_decimals = -1
        self.mark_decimals = -1
        self.has_single_trades = False

    def merge(self, other: SymbolSurvey) -> None:
        """Add what another file says of the same symbol."""
        self.channels |= other.channels
        self.price_decimals = max(self.price_decimals, other.price_decimals)
        self.size_decimals = max(self.size_decimals, other.size_decimals)
        self.mark_decimals = max(self.mark_decimals, other.mark_decimals)
        self.has_single_trades |= other.has_single_trades


class FileSurvey:
    """What was seen in one file; `only_symbol` is whose the messages are that name none, empty where nobody knows."""

    def __init__(self) -> None:
        self.symbols: dict[str, SymbolSurvey] = {}
        self.clock = ClockSamples()
        self.first_ns = 0
        self.messages_count = 0
        self.only_symbol = ""
        self._names: set[str] = set()
        self._book_names: set[str] = set()
        self._decimals = DecimalsSeen()

    def take_all(self, messages: Iterable[Message], symbol: str = "") -> None:
        """Take every message of a file; with `symbol` only its own, and those that name none."""
        for message in messages:
            if message.symbol:
                self._names.add(message.symbol)
                if isinstance(message, BookText):
                    self._book_names.add(message.symbol)
            if not symbol or message.symbol in (symbol, ""):
                self._take(message)
        self._name_the_nameless(symbol)

    def _take(self, message: Message) -> None:
        if isinstance(message, LossText):
            return
        self.messages_count += 1
        if not self.first_ns:
            self.first_ns = message.ts_receive_ns
        seen = self.symbols.get(message.symbol)
        if seen is None:
            seen = self.symbols[message.symbol] = SymbolSurvey()
        decimals = self._decimals
        match message:
            case QuoteText():
                seen.channels.add("quotes")
                _raise_prices(seen, decimals[message.bid], decimals[message.ask])
                _raise_sizes(seen, decimals[message.bid_size], decimals[message.ask_size])
            case BookText():
                seen.channels.add("book")
                levels = [*message.bids, *message.asks]
                _raise_prices(seen, *[decimals[price] for price, _ in levels])
                _raise_sizes(seen, *[decimals[size] for _, size in levels])
                if not message.is_snapshot:
                    self.clock.add(message.ts_receive_ns, message.ts_exchange_ns)
            case TradeText():
                seen.channels.add("prints")
                seen.has_single_trades |= not message.is_aggregate
                _raise_prices(seen, decimals[message.price])
                _raise_sizes(seen, decimals[message.size])
                self.clock.add(message.ts_receive_ns, message.ts_exchange_ns)
            case LiquidationText():
                seen.channels.add("liquidations")
                _raise_prices(seen, decimals[message.price])
                _raise_sizes(seen, decimals[message.size])
            case MarkText():
                seen.channels.add("marks")
                if message.next_funding_ns:
                    seen.channels.add("funding")
                seen.mark_decimals = max(seen.mark_decimals, decimals[message.last_price or message.mark])
            case InterestText():
                seen.channels.add("interest")
            case _:
                assert_never(message)

    def _name_the_nameless(self, symbol: str) -> None:
        """A REST body names no symbol: it is the one that the file has a book of, if `symbol` is not another."""
        nameless = self.symbols.pop("", None)
        names = self._book_names or self._names or {symbol}
        if len(names) != 1 or (symbol and symbol not in names):
            return
        self.only_symbol = next(iter(names))
        if nameless is not None and self.only_symbol:
            self.symbols.setdefault(self.only_symbol, SymbolSurvey()).merge(nameless)


def _raise_prices(seen: SymbolSurvey, *decimals: int) -> None:
    seen.price_decimals = max(seen.price_decimals, *decimals) if decimals else seen.price_decimals


def _raise_sizes(seen: SymbolSurvey, *decimals: int) -> None:
    seen.size_decimals = max(seen.size_decimals, *decimals) if decimals else seen.size_decimals
