"""Live feeds as they are planned: instruments and numbers, connections and addresses, what is said to each venue."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.captures.record_builder import RecordBuilder
from adapters.captures.report import ImportReport
from adapters.feeds.connection import ExchangeConnection
from adapters.feeds.exchange import CHANNELS, Exchange, Listing, read_listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.live import LiveFeed
from adapters.feeds.live_plan import plan_feed
from adapters.feeds.playback import complete
from adapters.feeds.venues import VENUES
from adapters.rest_gate import RestGate
from engine.errors import DataError, UsageError
from tests.feeds import (
    BINANCE_LIST,
    BITGET_LIST,
    BITMEX_LIST,
    BYBIT_LIST,
    BYBIT_SPOT_LIST,
    COINBASE_LIST,
    DERIBIT_LIST,
    KRAKEN_FUTURES_LIST,
    KRAKEN_LIST,
    OKX_LIST,
    OKX_SPOT_LIST,
    list_bodies,
)
from tests.live_feeds import Sink

BINANCE_SPOT_LIST = {
    "symbols": [
        {key: value for key, value in entry.items() if key != "contractType"} for entry in BINANCE_LIST["symbols"]
    ]
}
LISTS: dict[str, Sequence[object]] = {
    "BINANCE": [BINANCE_SPOT_LIST],
    "BINANCE_FUTURES": [BINANCE_LIST],
    "BYBIT": [BYBIT_LIST, BYBIT_SPOT_LIST],
    "OKX": [OKX_SPOT_LIST, OKX_LIST],
    "KRAKEN": [KRAKEN_LIST],
    "KRAKEN_FUTURES": [KRAKEN_FUTURES_LIST],
    "COINBASE": [COINBASE_LIST],
    "DERIBIT": [DERIBIT_LIST],
    "BITMEX": [BITMEX_LIST],
    "BITGET": [BITGET_LIST],
}
# Where each venue is asked, and what for. What stands behind ? says the streams; other venues are told in messages.
ADDRESSES = """
BINANCE          BTCUSDT            wss://stream.binance.com:9443/stream
BINANCE_FUTURES  BTCUSDT            wss://fstream.binance.com/public/stream wss://fstream.binance.com/market/stream
BYBIT            BTCUSDT            wss://stream.bybit.com/v5/public/linear
BYBIT            BTC/USDT           wss://stream.bybit.com/v5/public/spot
BYBIT            BTCUSDT,BTC/USDT   wss://stream.bybit.com/v5/public/linear wss://stream.bybit.com/v5/public/spot
OKX              BTC-USDT-SWAP      wss://ws.okx.com:8443/ws/v5/public
KRAKEN           XBT/USD            wss://ws.kraken.com
KRAKEN_FUTURES   PI_XBTUSD          wss://futures.kraken.com/ws/v1
COINBASE         BTC-USD            wss://advanced-trade-ws.coinbase.com
DERIBIT          BTC-PERPETUAL      wss://www.deribit.com/ws/api/v2
BITMEX           XBTUSD             wss://www.bitmex.com/realtime
"""
SAID = {
    "BYBIT": ["tickers.BTCUSDT", "orderbook.200.BTCUSDT", "publicTrade.BTCUSDT"],
    "OKX": ['{"channel":"books","instId":"BTC-USDT-SWAP"}', '"funding-rate"'],
    "KRAKEN": ['"name":"book","depth":1000', '"name":"trade"', '"name":"ticker"'],
    "KRAKEN_FUTURES": ['"feed":"book","product_ids":["pi_xbtusd"]', '"feed":"trade"', '"feed":"ticker"'],
    "COINBASE": ['"channel":"level2"', '"channel":"market_trades"'],
    "DERIBIT": ['"public/subscribe"', "book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"],
    "BITMEX": ["orderBookL2:XBTUSD", "trade:XBTUSD", "quote:XBTUSD", "funding:XBTUSD", "instrument:XBTUSD"],
}
KEYS = {"key_id": "our-key", "key_secret": "our-secret"}


def listing_of(exchange: str) -> Listing:
    return read_listing(VENUES[exchange], list_bodies(*LISTS[exchange]))


def live(exchange: str, symbols: str, channels: Sequence[str] = CHANNELS, **options: Any) -> LiveFeed:
    return LiveFeed(
        VENUES[exchange],
        listing_of(exchange),
        symbols.split(","),
        channels,
        builder=RecordBuilder(),
        sink=Sink(),
        clock_ns=time.time_ns,
        gate=RestGate(),
        **options,
    )


def connections_of(exchange: str, symbol: str, keys: dict[str, str] | None = None) -> list[ExchangeConnection]:
    """The connections of one instrument, each with what it sends kept in `sent`."""
    plan = plan_feed(VENUES[exchange], listing_of(exchange), [symbol], CHANNELS)
    found = []
    for each in plan.connections:
        reader = Exchange(
            VENUES[exchange], listing_of(exchange), each.channels, ImportReport(), keys, are_books_apart=True
        )
        found.append(ExchangeConnection(reader, FeedLimits(), path=each.route.path))
    return found


def said_by(exchange: str, symbol: str, keys: dict[str, str] | None = None) -> str:
    """Everything that is sent when a connection was opened."""
    sent: list[str] = []

    async def write(message: str) -> None:
        sent.append(message)

    for connection in connections_of(exchange, symbol, keys):
        connection.raw.write = write
        complete(connection.subscribe(0))
    return "\n".join(sent)


@pytest.mark.parametrize("row", ADDRESSES.strip().splitlines())
def test_each_venue_is_asked_where_it_is(row: str) -> None:
    exchange, symbols, *addresses = row.split()
    feed = live(exchange, symbols)
    assert [source.name for source in feed.sources if source.kind == "websocket"] == addresses
    rest = [source.name for source in feed.sources if source.kind == "rest"]
    assert rest == [VENUES[exchange].rest] * (VENUES[exchange].snapshot is not None)


@pytest.mark.parametrize("exchange", sorted(SAID))
def test_each_venue_is_told_what_we_want_as_a_stranger_tells_it(exchange: str) -> None:
    symbol = {row.split()[0]: row.split()[1] for row in reversed(ADDRESSES.strip().splitlines())}[exchange]
    said = said_by(exchange, symbol)
    for words in SAID[exchange]:
        assert words in said
    assert "none" not in said  # the keys that a class wants to be built
    assert all(isinstance(json.loads(line), dict) for line in said.splitlines())
    for word in ("api_key", "signature", "private/", "client_signature", ".raw"):
        assert word not in said


def test_with_keys_a_venue_that_wants_them_is_told_who_we_are() -> None:
    assert '"api_key":"our-key"' in said_by("COINBASE", "BTC-USD", KEYS)
    deribit = said_by("DERIBIT", "BTC-PERPETUAL", KEYS)
    assert "our-key" in deribit.splitlines()[0]
    assert "book.BTC-PERPETUAL.raw" in deribit
    assert "our-secret" not in deribit


def test_routes_of_binance_carry_their_own_streams() -> None:
    public, market = connections_of("BINANCE_FUTURES", "BTCUSDT")
    assert set(public.raw.address.partition("streams=")[2].split("/")) == {"btcusdt@depth@100ms", "btcusdt@bookTicker"}
    streams = {"btcusdt@aggTrade", "btcusdt@markPrice", "btcusdt@forceOrder"}
    assert set(market.raw.address.partition("streams=")[2].split("/")) == streams
    assert public.raw.ws_kwargs["max_queue"] == 256
    assert public.raw.ws_kwargs["max_size"] == 16 << 20


def test_addresses_of_a_loopback_exchange_replace_the_venues() -> None:
    feed = live("BINANCE_FUTURES", "BTCUSDT", websocket="ws://127.0.0.1:7000/", rest="http://127.0.0.1:7000")
    names = ["ws://127.0.0.1:7000/public/stream", "ws://127.0.0.1:7000/market/stream", "http://127.0.0.1:7000"]
    assert [source.name for source in feed.sources] == names
    assert (
        live("OKX", "BTC-USDT-SWAP", websocket="ws://127.0.0.1:7000").sources[0].name
        == "ws://127.0.0.1:7000/ws/v5/public"
    )


def test_many_instruments_are_spread_over_connections_whole() -> None:
    entry = BINANCE_LIST["symbols"][0]
    symbols = [f"C{number:03}USDT" for number in range(200)]
    entries = [{**entry, "symbol": symbol, "baseAsset": symbol[:4]} for symbol in symbols]
    listing = read_listing(VENUES["BINANCE_FUTURES"], list_bodies({"symbols": entries}))
    plan = plan_feed(VENUES["BINANCE_FUTURES"], listing, symbols, ("l2_book", "ticker", "trades"))
    assert [each.index for each in plan.planned] == list(range(200))
    sizes = [(each.route.path, sum(map(len, each.channels.values()))) for each in plan.connections]
    assert sizes == [("/public", 190), ("/public", 190), ("/public", 20), ("/market", 190), ("/market", 10)]
    for each in plan.connections[:3]:
        assert each.channels["l2_book"] == each.channels["ticker"]


def test_channels_that_a_venue_has_not_are_left_out_and_said() -> None:
    feed = live("BINANCE", "BTCUSDT", ("l2_book", "trades", "funding"))
    assert feed.notes == ("BTCUSDT: BINANCE has no funding in a live feed",)
    assert feed.instruments[0].channels == ("book", "prints")
    assert live("OKX", "BTC-USDT-SWAP").instruments[0].channels == ("book", "prints", "quotes", "funding", "interest")
    assert live("DERIBIT", "BTC-PERPETUAL").instruments[0].kind == "inverse"


def test_instruments_keep_their_numbers_and_new_ones_come_after() -> None:
    venue, listing = VENUES["BINANCE_FUTURES"], listing_of("BINANCE_FUTURES")
    first = plan_feed(venue, listing, ["ETHUSDT"], ("l2_book",))
    second = plan_feed(venue, listing, ["BTCUSDT", "ETH-USDT-PERP"], ("l2_book", "trades"), first.instruments)
    assert [each.symbol for each in second.instruments] == ["ETHUSDT", "BTCUSDT"]
    assert {each.symbol: each.index for each in second.planned} == {"BTCUSDT": 1, "ETHUSDT": 0}
    assert second.instruments[0].channels == ("book", "prints")
    third = plan_feed(venue, listing, ["BTCUSDT"], ("l2_book",), second.instruments)
    assert [each.symbol for each in third.instruments] == ["ETHUSDT", "BTCUSDT"]
    assert [each.index for each in third.planned] == [1]


def test_an_instrument_whose_units_have_changed_keeps_them_or_is_refused() -> None:
    venue, listing = VENUES["BINANCE_FUTURES"], listing_of("BINANCE_FUTURES")
    (instrument,) = plan_feed(venue, listing, ["BTCUSDT"], ("l2_book",)).instruments
    finer = msgspec.structs.replace(instrument, tick_size=Decimal("0.01"))
    assert plan_feed(venue, listing, ["BTCUSDT"], ("l2_book",), [finer]).instruments[0].tick_size == Decimal("0.01")
    coarser = msgspec.structs.replace(instrument, tick_size=Decimal("0.25"))
    with pytest.raises(DataError, match=r"BTCUSDT had tick 0\.25"):
        plan_feed(venue, listing, ["BTCUSDT"], ("l2_book",), [coarser])


@pytest.mark.parametrize(
    ("exchange", "symbol", "channels", "words"),
    [
        ("BINANCE_FUTURES", "BTCUSD", ("l2_book",), "Near it are BTCUSDT"),
        ("BINANCE_FUTURES", "BTCUSDT", ("l3_book",), "l3_book"),
        ("BINANCE_FUTURES", "BTCUSDT", (), "needs a symbol and a channel"),
        ("BITGET", "BTCUSDT_SPBL", ("l2_book",), "recordings only"),
    ],
)
def test_what_there_is_not_is_refused(exchange: str, symbol: str, channels: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        live(exchange, symbol, channels)


def test_an_instrument_without_tick_in_the_list_is_refused() -> None:
    entry = {**BINANCE_LIST["symbols"][0], "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0"}]}
    listing = read_listing(VENUES["BINANCE_FUTURES"], list_bodies({"symbols": [entry]}))
    with pytest.raises(DataError, match="tick and lot of BTC-USDT-PERP"):
        plan_feed(VENUES["BINANCE_FUTURES"], listing, ["BTCUSDT"], ("l2_book",))


def test_silence_that_a_venue_is_known_for_is_not_stale() -> None:
    limits = FeedLimits(stale_seconds={"funding": 60.0, "l2_book": 10.0})
    found = {}
    for exchange, symbol in (("BITMEX", "XBTUSD"), ("OKX", "BTC-USDT-SWAP"), ("BINANCE_FUTURES", "BTCUSDT")):
        channels = live(exchange, symbol, limits=limits).statistics.channels
        found[exchange] = {channel: heard.limit_seconds for (channel, _), heard in channels.items()}
    assert [found[each]["funding"] for each in ("BITMEX", "OKX", "BINANCE_FUTURES")] == [0, 120, 60]
    assert [found[each]["l2_book"] for each in ("BITMEX", "OKX", "BINANCE_FUTURES")] == [10, 10, 10]
    assert found["BINANCE_FUTURES"]["trades"] == 0
