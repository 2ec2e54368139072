"""What differs between exchanges, as data: names, units, ids, and what their words mean.

cryptofeed gives every exchange the same callbacks, but not the same meanings. Whatever the normaliser has to know about
one exchange stands here, with the reason; it has no branch of its own for any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

# What cryptofeed keeps of a message: parsed JSON, of which each exchange has its own form.
Raw: TypeAlias = Any
Ids: TypeAlias = tuple[int, int, int]

NO_IDS: Ids = (0, -1, 0)


class QuoteFields(msgspec.Struct, frozen=True):
    """Where the sizes and the update id of a quote stand in the raw message; cryptofeed's Ticker has neither.

    Also where its prices stand as text, if they do: that saves writing cryptofeed's numbers as text again.
    """

    bid_size: tuple[str | int, ...]
    ask_size: tuple[str | int, ...]
    update_id: tuple[str | int, ...] = ()
    bid: tuple[str | int, ...] = ()
    ask: tuple[str | int, ...] = ()


class Route(msgspec.Struct, frozen=True):
    """What goes over one kind of connection.

    `channels` (none: all), the part of the address that stands before the class's own path, and how many streams (a
    channel of an instrument) one connection takes.
    """

    channels: tuple[str, ...] = ()
    path: str = ""
    streams_most: int = 100


class Asked(msgspec.Struct, frozen=True):
    """Something to be had by REST: its path with `{}` for the exchange's symbol, and what it weighs there."""

    path: str
    weight: int


class Venue(msgspec.Struct, frozen=True):
    """One of cryptofeed's exchanges.

    `name` is the venue on the tape, `spot_name` the same for spot instruments where the exchange has both. `hosts` are
    those its websockets live on. `ids` reads (last, previous, first) update id from the raw book message, `quotes` says
    where sizes stand in a raw ticker (None: there are none), `index_field` where the index price in a raw funding.
    """

    exchange: str
    name: str
    hosts: tuple[str, ...]
    spot_name: str = ""
    ids: Callable[[Raw], Ids] | None = None
    quotes: QuoteFields | None = None
    # Where a book's time (a date, or ms) stands in the raw message, if cryptofeed has none.
    book_time: tuple[str | int, ...] = ()
    # Channels whose times are ms where cryptofeed elsewhere has seconds.
    millisecond_channels: frozenset[str] = frozenset()
    # Channels that are left out for spot instruments: why.
    ignored_for_spot: Mapping[str, str] = {}
    # Words that stand in the head of a message with trades of before the subscription. They are no news, and after a
    # reconnect most of them are on the tape already.
    history_words: tuple[tuple[str, ...], ...] = ()
    # Numbered trades: ids of one instrument rise by one.
    has_numbered_trades: bool = False
    index_field: str = ""
    # The funding message is about a settlement that was (BitMEX), or its time is the next settlement's (OKX).
    is_funding_settled: bool = False
    is_funding_time_next: bool = False
    # The side of a liquidation is that of the position, not that of the order which closed it.
    is_liquidation_side_position: bool = False
    # The book comes by REST, at the first delta.
    is_snapshot_fetched: bool = False
    # Levels that fall out of this depth are never deleted by the exchange: whoever follows must drop them.
    book_depth: int = 0
    # The class wants keys even for public channels, or to build its subscriptions.
    needs_keys: bool = False
    # Channels that cryptofeed polls by REST in tasks of its own.
    polled_channels: frozenset[str] = frozenset()
    # Live: channels for derivatives, and for spot; none: the exchange is not read live.
    live_channels: tuple[str, ...] = ()
    spot_channels: tuple[str, ...] = ()
    routes: tuple[Route, ...] = (Route(),)
    # Where REST lives, how a snapshot is asked for (where it is fetched), and what is polled, by channel.
    rest: str = ""
    snapshot: Asked | None = None
    polls: Mapping[str, Asked] = {}
    has_marks: bool = False
    # For how long a channel says nothing by nature, seconds: no staleness limit is below that.
    quiet_seconds: Mapping[str, float] = {}
    # What is replaced in messages before the class reads them (text, replacement): words that it does not know.
    corrections: tuple[tuple[str, str], ...] = ()
    # Where no keys are given: what is replaced in messages that are sent (regular expression, replacement), so that
    # public data are asked for as a stranger asks. `keys_are`: what keys are good for.
    unsigned: tuple[tuple[str, str], ...] = ()
    keys_are: str = ""
    # (part of a recorded address, what became of it): captures that no class of today reads.
    retired: tuple[tuple[str, str], ...] = ()


def _usdm_ids(raw: Raw) -> Ids:
    if "lastUpdateId" in raw:
        return int(raw["lastUpdateId"]), -1, 0
    return int(raw["u"]), int(raw["pu"]), int(raw["U"])


def _binance_spot_ids(raw: Raw) -> Ids:
    if "lastUpdateId" in raw:
        return int(raw["lastUpdateId"]), -1, 0
    return int(raw["u"]), int(raw["U"]) - 1, int(raw["U"])


def _okx_ids(raw: Raw) -> Ids:
    data = raw["data"]
    if len(data) != 1 or "seqId" not in data[0]:  # recordings of before 2023 number nothing
        return NO_IDS
    previous = int(data[0].get("prevSeqId", -1))
    return int(data[0]["seqId"]), previous if raw["action"] != "snapshot" else -1, 0


def _deribit_ids(raw: Raw) -> Ids:
    data = raw["params"]["data"]
    return int(data["change_id"]), int(data.get("prev_change_id", -1)), 0


def _bybit_ids(raw: Raw) -> Ids:
    last = int(raw["data"]["u"])
    return last, last - 1 if raw["type"] == "delta" else -1, 0


def _kraken_futures_ids(raw: Raw) -> Ids:
    last = int(raw["seq"])
    return last, last - 1 if raw["feed"] == "book" else -1, 0


_ALL = ("l2_book", "trades", "ticker", "funding", "liquidations", "open_interest")
_BASIC = ("l2_book", "trades", "ticker")
_BINANCE_QUOTES = QuoteFields(("B",), ("A",), ("u",), ("b",), ("a",))

VENUES = {
    venue.exchange: venue
    for venue in (
        Venue(
            "BINANCE", "binance_spot", ("stream.binance.com",), spot_name="binance_spot",
            ids=_binance_spot_ids, quotes=_BINANCE_QUOTES, has_numbered_trades=True, is_snapshot_fetched=True,
            spot_channels=_BASIC, routes=(Route(streams_most=190),),
            rest="https://api.binance.com", snapshot=Asked("/api/v3/depth?symbol={}&limit=1000", 50),
        ),
        Venue(
            "BINANCE_FUTURES", "binance_usdm", ("fstream.binance.com",),
            ids=_usdm_ids, quotes=_BINANCE_QUOTES, has_numbered_trades=True, is_snapshot_fetched=True,
            # predicted_rate is the estimated settlement price ("P") and is not read at all.
            index_field="i", polled_channels=frozenset({"open_interest"}),
            # Since April 2026 books and quotes are on one route and all else on another; the old one is gone.
            live_channels=_ALL,
            routes=(
                Route(("l2_book", "ticker"), "/public", 190),
                Route(("trades", "funding", "liquidations"), "/market", 190),
            ),
            rest="https://fapi.binance.com", snapshot=Asked("/fapi/v1/depth?symbol={}&limit=1000", 20),
            polls={"open_interest": Asked("/fapi/v1/openInterest?symbol={}", 1)}, has_marks=True,
        ),
        Venue(
            "BITGET", "bitget_mix", ("ws.bitget.com",), spot_name="bitget_spot",
            history_words=(('"action":"snapshot"', '"channel":"trade"'),),
            ignored_for_spot={"ticker": "quote that the venue rounds to six decimals"},
        ),
        Venue(
            "BITMEX", "bitmex", ("www.bitmex.com", "ws.bitmex.com"), spot_name="bitmex",
            quotes=QuoteFields(("bidSize",), ("askSize",)), is_funding_settled=True, book_time=("data", 0, "timestamp"),
            history_words=(('"table":"trade"', '"action":"partial"'),),
            live_channels=_ALL, spot_channels=_BASIC,
            # A funding is told when it is settled, every eight hours.
            quiet_seconds={"funding": math.inf, "open_interest": 900},
            keys_are="not needed",
        ),
        Venue(
            "BYBIT", "bybit_linear", ("stream.bybit.com",), spot_name="bybit_spot",
            ids=_bybit_ids, quotes=QuoteFields(("bid1Size",), ("ask1Size",)), index_field="indexPrice",
            millisecond_channels=frozenset({"l2_book", "ticker", "funding", "open_interest", "liquidations"}),
            is_liquidation_side_position=True,
            # Of spot the class asks for books and trades only, and for liquidations by a topic that is gone.
            live_channels=("l2_book", "trades", "ticker", "funding", "open_interest"),
            spot_channels=("l2_book", "trades"), has_marks=True,
            keys_are="not needed",
            retired=(
                ("stream.bybit.com/realtime", "Bybit's interface of before version 5, which it has switched off"),
            ),
        ),
        Venue(
            "COINBASE", "coinbase", ("advanced-trade-ws.coinbase.com", "ws-feed.pro.coinbase.com"),
            spot_name="coinbase", has_numbered_trades=True, needs_keys=True,
            spot_channels=("l2_book", "trades"),
            # The venue calls an ask an offer; the class would leave all of a snapshot's out.
            corrections=(('"side":"offer"', '"side":"ask"'), ('"side": "offer"', '"side": "ask"')),
            # The class signs each subscription; a stranger's has no signature.
            unsigned=((r', ?"(?:api_key|timestamp|signature)": ?"[^"]*"', ""),),
            keys_are="not needed for public channels; with keys, subscriptions are signed as the class does it",
            retired=(
                ("ws-feed.pro.coinbase.com", "Coinbase Pro's feed, which Advanced Trade has replaced"),
            ),
        ),
        Venue(
            "DERIBIT", "deribit", ("www.deribit.com",), spot_name="deribit", needs_keys=True,
            ids=_deribit_ids,
            quotes=QuoteFields(
                ("params", "data", "best_bid_amount"), ("params", "data", "best_ask_amount"),
            ),
            live_channels=_ALL, spot_channels=_BASIC, has_marks=True,
            # Every single change (raw) is for known customers; a stranger gets them in steps of 100 ms.
            unsigned=(
                (r'\.raw"', '.100ms"'), ("private/subscribe", "public/subscribe"),
                (r'"scope": ?"[^"]*", ?', ""),
            ),
            keys_are="needed for every single change of a book; without them changes come in steps of 100 ms",
        ),
        Venue(
            # A book of depth 1,000; times of books and ids of trades are not given.
            "KRAKEN", "kraken", ("ws.kraken.com",), spot_name="kraken", book_depth=1000,
            quotes=QuoteFields((1, "b", 2), (1, "a", 2)), spot_channels=_BASIC, routes=(Route(streams_most=20),),
            keys_are="not needed",
        ),
        Venue(
            "KRAKEN_FUTURES", "kraken_futures", ("futures.kraken.com",), ids=_kraken_futures_ids,
            book_time=("timestamp",), live_channels=("l2_book", "trades", "funding", "open_interest"),
            keys_are="not needed",
        ),
        Venue(
            # The checksums are 0 since June 2026: only seqId and prevSeqId tell a loss, which cryptofeed does not read.
            "OKX", "okx", ("ws.okx.com", "wsaws.okx.com"), spot_name="okx", ids=_okx_ids,
            quotes=QuoteFields(("bidSz",), ("askSz",)), is_funding_time_next=True,
            polled_channels=frozenset({"liquidations"}),
            # cryptofeed asks for liquidations in a task of its own that nobody could end: left out live.
            live_channels=("l2_book", "trades", "ticker", "funding", "open_interest"), spot_channels=_BASIC,
            quiet_seconds={"funding": 120}, keys_are="not needed",
        ),
    )
}  # fmt: skip


def venue_of_address(address: str) -> Venue | None:
    """The venue whose websocket has this address, None where none of them has it."""
    host = address.partition("://")[2].split("/")[0].split(":")[0]
    return next((venue for venue in VENUES.values() if host in venue.hosts), None)
