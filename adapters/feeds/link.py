"""One connection of a live feed while it lives: what was heard on it and when, and how it is cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import anyio

from adapters.captures.messages import BookText, InterestText, LiquidationText, MarkText, QuoteText, TradeText
from adapters.feeds.connection import ExchangeConnection
from adapters.feeds.exchange import Exchange
from adapters.feeds.normaliser import FeedMessage, FundingText
from adapters.feeds.staleness import Heard

CHANNEL_OF: Mapping[type, str] = {
    BookText: "l2_book",
    TradeText: "trades",
    QuoteText: "ticker",
    MarkText: "funding",
    FundingText: "funding",
    LiquidationText: "liquidations",
    InterestText: "open_interest",
}
# Channels on which something is said all the time.
_STEADY = frozenset({"l2_book", "ticker", "funding"})
_NEVER = float("-inf")
_HELD_UP_SECONDS = 0.2


class HeardBy:
    """What was heard, to be looked up by message."""

    def __init__(self, channels: Iterable[Heard]) -> None:
        self.channels = tuple(channels)
        by_channel: dict[str, dict[str, Heard]] = {}
        for heard in self.channels:
            by_channel.setdefault(heard.channel, {})[heard.symbol] = heard
        self._by_type = {kind: by_channel.get(channel, {}) for kind, channel in CHANNEL_OF.items()}

    def take(self, message: FeedMessage, receive_ns: int, now: float) -> None:
        """A message came; a loss is none."""
        heard = self._by_type.get(type(message), {}).get(message.symbol)
        if heard is not None:
            heard.count += 1
            heard.receive_ns = receive_ns
            heard.at = now


class Link:
    """The state of connection `number`. Times are monotonic seconds."""

    def __init__(
        self, number: int, exchange: Exchange, connection: ExchangeConnection, symbols: Sequence[str], heard: HeardBy
    ) -> None:
        self.number = number
        self.exchange = exchange
        self.connection = connection
        self.symbols = tuple(symbols)
        self.heard = heard
        self.has_books = any(each.channel == "l2_book" for each in heard.channels)
        self.is_steady = any(each.channel in _STEADY for each in heard.channels)
        self.is_open = False
        self.waiting_since = 0.0  # for room; 0: not
        self.opened_at = _NEVER
        self.frame_at = _NEVER
        self.resumed_at = _NEVER
        self.frames_count = 0  # in this life
        self._scope: anyio.CancelScope | None = None
        self._cut_reason = ""

    def begin(self) -> anyio.CancelScope:
        """An attempt begins: the scope to make it in."""
        self._scope = anyio.CancelScope()
        self._cut_reason = ""
        return self._scope

    def open(self, now: float) -> None:
        """The connection was made."""
        self.is_open, self.waiting_since = True, 0.0
        self.opened_at = now
        self.frames_count = 0

    def close(self, now: float) -> float:
        """It ended, or was not made: how long it lived."""
        lived = now - self.opened_at if self.is_open else 0.0
        self.is_open = False
        return lived

    def cut(self, reason: str) -> None:
        """End this life of the connection; `reason` is `word: detail`."""
        if self._scope is not None and not self._cut_reason:
            self._cut_reason = reason
            self._scope.cancel()

    @property
    def is_alive(self) -> bool:
        """Whether it is open, and was not cut."""
        return self.is_open and not self._cut_reason

    @property
    def is_heard(self) -> bool:
        """Whether it is alive, and has said something: a book that it is to follow can be begun."""
        return self.is_alive and self.frames_count > 0

    @property
    def cut_reason(self) -> str:
        """Why this life was ended by ourselves; empty where it was not."""
        return self._cut_reason

    def is_held_up(self, now: float) -> bool:
        """Whether nothing is read for want of room: such a silence is ours."""
        return self.waiting_since > 0 and now - self.waiting_since >= _HELD_UP_SECONDS

    def silent_since(self) -> float:
        """The moment from which silence counts, for channels that said nothing."""
        return max(self.opened_at, self.resumed_at)
