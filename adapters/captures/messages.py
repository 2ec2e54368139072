"""The normal form of a message: what a venue said, in the same words for every venue.

Prices and sizes are the venue's own text: a double in between would lose digits, and what tick and lot they are whole
numbers of is known only once a file was read. Times are ns, UTC; `ts_exchange_ns` is 0 where the venue gives none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

TextLevels: TypeAlias = Sequence[tuple[str, str]]


class BookText(msgspec.Struct, frozen=True, gc=False):
    """A book message. Ids as in docs/tape.md: last (0: none), previous (−1: none), first (0: none)."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int
    last_id: int
    previous_id: int
    first_id: int
    is_snapshot: bool
    bids: TextLevels
    asks: TextLevels


class TradeText(msgspec.Struct, frozen=True, gc=False):
    """A trade. `trade_id` 0 where there is none; `flags` SELL, SIDE_UNKNOWN or 0."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int
    price: str
    size: str
    trade_id: int
    flags: int
    is_aggregate: bool = False
    is_market: bool = True
    is_numbered: bool = True


class QuoteText(msgspec.Struct, frozen=True, gc=False):
    """The venue's best bid and ask. `update_id` 0 where there is none."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int
    bid: str
    bid_size: str
    ask: str
    ask_size: str
    update_id: int


class MarkText(msgspec.Struct, frozen=True, gc=False):
    """Mark price; index price and expected rate are empty where there are none, the next funding time is 0."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int
    mark: str
    index: str
    rate: str
    next_funding_ns: int
    last_price: str = ""


class InterestText(msgspec.Struct, frozen=True, gc=False):
    """Open interest, in the units that sizes have."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int
    size: str


class LiquidationText(msgspec.Struct, frozen=True, gc=False):
    """Somebody was liquidated; `flags` SELL where a long was closed."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int
    price: str
    size: str
    flags: int


class LossText(msgspec.Struct, frozen=True, gc=False):
    """A line that could not be read, of a file whose book messages have no ids to tell that one is missing."""

    symbol: str
    ts_exchange_ns: int
    ts_receive_ns: int


Message: TypeAlias = LossText | BookText | TradeText | QuoteText | MarkText | InterestText | LiquidationText
