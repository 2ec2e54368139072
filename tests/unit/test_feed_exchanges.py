"""Frames in each exchange's own form through cryptofeed's real class, and what the normaliser makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptofeed.symbols import Symbols

from adapters.captures.messages import BookText, InterestText, LiquidationText, MarkText, QuoteText, TradeText
from adapters.feeds.normaliser import FundingText, Loss
from engine.kernels.layout import GAP_REJECTED, GAP_SEQUENCE, SELL
from tests.feeds import (
    BINANCE_LIST,
    BITGET_LIST,
    BITGET_MIX_LIST,
    BITMEX_LIST,
    BYBIT_LIST,
    BYBIT_SPOT_LIST,
    COINBASE_LIST,
    DERIBIT_LIST,
    KRAKEN_FUTURES_LIST,
    KRAKEN_LIST,
    OKX_LIST,
    OKX_SPOT_LIST,
    START_MS,
    START_NS,
    Feed,
)

MS = 10**6
BTC_DEPTH = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
ETH_DEPTH = "https://fapi.binance.com/fapi/v1/depth?symbol=ETHUSDT&limit=1000"


def _book(update_id: int) -> dict[str, Any]:
    return {"lastUpdateId": update_id, "E": START_MS, "bids": [["100.0", "1"]], "asks": [["100.1", "2"]]}


def _binance(**snapshots: list[object]) -> Feed:
    urls = {"btc": BTC_DEPTH, "eth": ETH_DEPTH}
    return Feed(
        "BINANCE_FUTURES",
        [BINANCE_LIST],
        ["BTC-USDT-PERP", "ETH-USDT-PERP"],
        ("l2_book", "trades", "ticker", "funding", "liquidations"),
        {urls[name]: bodies for name, bodies in snapshots.items()},
    )


def _depth(symbol: str, first: int, last: int, previous: int, bids: list[list[str]]) -> dict[str, Any]:
    data = {
        "e": "depthUpdate",
        "E": START_MS + 7,
        "s": symbol,
        "U": first,
        "u": last,
        "pu": previous,
        "b": bids,
        "a": [],
    }
    return {"stream": f"{symbol.lower()}@depth@100ms", "data": data}


def test_binance_fetches_the_snapshot_and_gives_the_ids_as_the_venue_does() -> None:
    feed = _binance(btc=[_book(50)])
    old, spanning = _depth("BTCUSDT", 30, 40, 29, []), _depth("BTCUSDT", 45, 55, 44, [["99.9", "3"], ["100.0", "0"]])
    (snapshot,) = feed.say(old)
    assert snapshot == BookText(
        "BTCUSDT", START_MS * MS, feed.now_ns, 50, -1, 0, True, [("100.0", "1")], [("100.1", "2")]
    )
    (delta,) = feed.say(spanning)
    assert delta == BookText(
        "BTCUSDT", (START_MS + 7) * MS, feed.now_ns, 55, 44, 45, False, [("99.9", "3"), ("100.0", "0")], []
    )


def test_binance_loses_one_book_and_keeps_the_others() -> None:
    feed = _binance(btc=[_book(50), _book(80)], eth=[_book(10)])
    feed.say(_depth("BTCUSDT", 45, 55, 44, []))
    feed.say(_depth("ETHUSDT", 10, 11, 9, []))
    assert feed.say(_depth("BTCUSDT", 70, 75, 69, [])) == [Loss("BTCUSDT", feed.now_ns, GAP_SEQUENCE)]
    (eth,) = feed.say(_depth("ETHUSDT", 12, 13, 11, []))
    assert isinstance(eth, BookText)
    assert not eth.is_snapshot
    again = feed.say(_depth("BTCUSDT", 76, 82, 75, []))
    assert [(each.last_id, each.is_snapshot) for each in again if isinstance(each, BookText)] == [
        (80, True),
        (82, False),
    ]


def test_binance_without_a_snapshot_at_hand_says_nothing_and_counts() -> None:
    feed = _binance()
    assert feed.say(_depth("BTCUSDT", 45, 55, 44, [["99.9", "3"]])) == []
    assert feed.rejects() == {"book update before the first snapshot": 1}


def test_binance_trade_quote_mark_and_liquidation() -> None:
    feed = _binance()
    trade = {
        "e": "aggTrade",
        "E": START_MS,
        "s": "BTCUSDT",
        "a": 77,
        "p": "100.1",
        "q": "0.5",
        "T": START_MS + 3,
        "m": True,
    }
    assert feed.say({"stream": "btcusdt@aggTrade", "data": trade}) == [
        TradeText("BTCUSDT", (START_MS + 3) * MS, feed.now_ns, "100.1", "0.5", 77, SELL)
    ]
    quote = {
        "e": "bookTicker",
        "u": 9,
        "s": "BTCUSDT",
        "b": "100.0",
        "B": "4",
        "a": "100.1",
        "A": "5",
        "E": START_MS + 4,
    }
    assert feed.say({"stream": "btcusdt@bookTicker", "data": quote}) == [
        QuoteText("BTCUSDT", (START_MS + 4) * MS, feed.now_ns, "100.0", "4", "100.1", "5", 9)
    ]
    mark = {"e": "markPriceUpdate", "E": START_MS, "s": "BTCUSDT", "p": "100.12345", "i": "100.2", "P": "999.9",
            "r": "0.00010000", "T": START_MS + 3_600_000}  # fmt: skip
    # "P" is the estimated settlement price, whatever cryptofeed calls it: nothing of it is here.
    assert feed.say({"stream": "btcusdt@markPrice", "data": mark}) == [
        MarkText("BTCUSDT", START_MS * MS, feed.now_ns, "100.12345", "100.2", "0.00010000", (START_MS + 3_600_000) * MS)
    ]
    order = {"s": "BTCUSDT", "S": "SELL", "q": "2", "p": "99", "ap": "99", "X": "FILLED"}
    forced = {"e": "forceOrder", "E": START_MS, "o": order}
    assert feed.say({"stream": "btcusdt@forceOrder", "data": forced}) == [
        LiquidationText("BTCUSDT", START_MS * MS, feed.now_ns, "99", "2", SELL)  # a long was closed
    ]


def _okx(channel: str, data: dict[str, Any], action: str = "") -> dict[str, Any]:
    message = {"arg": {"channel": channel, "instId": "BTC-USDT-SWAP"}, "data": [data]}
    return {**message, "action": action} if action else message


def test_okx_gives_the_ids_that_cryptofeed_does_not_read() -> None:
    feed = Feed("OKX", [OKX_LIST, OKX_SPOT_LIST], ["BTC-USDT-PERP"], ("l2_book", "trades", "ticker", "funding"))
    ts = str(START_MS)
    levels = {"asks": [["100.1", "2", "0", "1"]], "bids": [["100.0", "1", "0", "1"]], "ts": ts, "checksum": 0}
    (snapshot,) = feed.say(_okx("books", {**levels, "seqId": 10, "prevSeqId": -1}, "snapshot"))
    assert snapshot == BookText(
        "BTC-USDT-SWAP", START_MS * MS, feed.now_ns, 10, -1, 0, True, [("100.0", "1")], [("100.1", "2")]
    )
    update = {"asks": [], "bids": [["100.0", "0", "0", "0"]], "ts": ts, "checksum": 0, "seqId": 15, "prevSeqId": 10}
    (delta,) = feed.say(_okx("books", update, "update"))
    assert delta == BookText("BTC-USDT-SWAP", START_MS * MS, feed.now_ns, 15, 10, 0, False, [("100.0", "0")], [])
    keep_alive = {"asks": [], "bids": [], "ts": ts, "checksum": 0, "seqId": 15, "prevSeqId": 15}
    (empty,) = feed.say(_okx("books", keep_alive, "update"))
    assert isinstance(empty, BookText)
    assert (empty.last_id, empty.previous_id, empty.bids, empty.asks) == (15, 15, [], [])


def test_okx_frames_of_before_2023_number_nothing() -> None:
    feed = Feed("OKX", [OKX_LIST, OKX_SPOT_LIST], ["BTC-USDT-PERP"], ("l2_book",))
    levels = {"asks": [["100.1", "2", "0", "1"]], "bids": [], "ts": str(START_MS), "checksum": -855196043}
    (snapshot,) = feed.say(_okx("books", levels, "snapshot"))
    assert isinstance(snapshot, BookText)
    assert (snapshot.last_id, snapshot.previous_id, snapshot.first_id) == (0, -1, 0)
    # An update that changes nothing and has no id is no message at all.
    assert feed.say(_okx("books", {**levels, "asks": [], "bids": [["99", "0", "0", "0"]]}, "update")) == []


def test_okx_funding_time_is_the_next_one_and_no_mark_price_comes_with_it() -> None:
    feed = Feed("OKX", [OKX_LIST, OKX_SPOT_LIST], ["BTC-USDT-PERP"], ("funding",))
    funding = {
        "instId": "BTC-USDT-SWAP",
        "fundingRate": "0.0002",
        "fundingTime": str(START_MS + 1000),
        "nextFundingRate": "",
    }
    assert feed.say(_okx("funding-rate", funding)) == [
        MarkText("BTC-USDT-SWAP", 0, feed.now_ns, "", "", "0.0002", (START_MS + 1000) * MS)
    ]


def _deribit(channel: str, data: object) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": {"channel": f"{channel}.BTC-PERPETUAL.raw", "data": data},
    }


def test_deribit_counts_its_changes_and_a_missing_one_loses_the_book() -> None:
    feed = Feed("DERIBIT", [DERIBIT_LIST], ["BTC-USD-PERP"])
    base = {"instrument_name": "BTC-PERPETUAL", "timestamp": START_MS}
    snapshot = {
        **base,
        "type": "snapshot",
        "change_id": 5,
        "bids": [["new", 100.0, 10.0]],
        "asks": [["new", 100.5, 20.0]],
    }
    assert feed.say(_deribit("book", snapshot)) == [
        BookText("BTC-PERPETUAL", START_MS * MS, feed.now_ns, 5, -1, 0, True, [("100.0", "10.0")], [("100.5", "20.0")])
    ]
    change = {
        **base,
        "type": "change",
        "change_id": 7,
        "prev_change_id": 5,
        "bids": [["delete", 100.0, 0.0]],
        "asks": [],
    }
    assert feed.say(_deribit("book", change)) == [
        BookText("BTC-PERPETUAL", START_MS * MS, feed.now_ns, 7, 5, 0, False, [("100.0", "0.0")], [])
    ]
    skipped = {**change, "change_id": 12, "prev_change_id": 11, "bids": []}
    assert feed.say(_deribit("book", skipped)) == [Loss("BTC-PERPETUAL", feed.now_ns, GAP_SEQUENCE)]
    assert len(feed.say(_deribit("book", {**snapshot, "change_id": 13}))) == 1


def test_deribit_ticker_is_a_quote_a_mark_and_open_interest() -> None:
    feed = Feed("DERIBIT", [DERIBIT_LIST], ["BTC-USD-PERP"])
    ticker = {"instrument_name": "BTC-PERPETUAL", "timestamp": START_MS, "best_bid_price": 100.0,
              "best_bid_amount": 10.0, "best_ask_price": 100.5, "best_ask_amount": 20.0, "mark_price": 100.21,
              "current_funding": 0.00001, "funding_8h": 0.0001, "open_interest": 1230.0}  # fmt: skip
    times = (START_MS * MS, START_NS + MS)
    assert feed.say(_deribit("ticker", ticker)) == [
        QuoteText("BTC-PERPETUAL", *times, "100.0", "10.0", "100.5", "20.0", 0),
        MarkText("BTC-PERPETUAL", *times, "100.21", "", "0.00001", 0),
        InterestText("BTC-PERPETUAL", *times, "1230.0"),
    ]
    assert feed.say(_deribit("ticker", {**ticker, "best_bid_price": 0.0, "best_bid_amount": 0.0}))[1:] == []
    assert feed.rejects() == {"quote of one side only": 1}


def test_deribit_says_which_side_of_a_trade_was_liquidated() -> None:
    feed = Feed("DERIBIT", [DERIBIT_LIST], ["BTC-USD-PERP"], ("trades", "liquidations"))
    trade = {"instrument_name": "BTC-PERPETUAL", "timestamp": START_MS, "trade_id": "48079269", "trade_seq": 1,
             "price": 100.0, "amount": 10.0, "direction": "sell"}  # fmt: skip
    taker = feed.say(_deribit("trades", [{**trade, "liquidation": "T"}]))
    maker = feed.say(_deribit("trades", [{**trade, "liquidation": "M"}]))
    assert [each.flags for each in taker + maker if isinstance(each, LiquidationText)] == [SELL, 0]
    assert [each.trade_id for each in taker if isinstance(each, TradeText)] == [48079269]


def _bitmex(table: str, action: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"table": table, "action": action, "data": [{"symbol": "XBTUSD", **row} for row in rows]}


def test_bitmex_books_go_by_the_ids_of_their_levels() -> None:
    feed = Feed("BITMEX", [BITMEX_LIST], ["BTC-USD-PERP"], ("l2_book", "trades", "ticker", "funding"))
    stamp = "2023-11-14T22:13:20.007Z"
    rows = (
        {"id": 1, "side": "Sell", "size": 200, "price": 100.5, "timestamp": stamp},
        {"id": 2, "side": "Buy", "size": 100, "price": 100, "timestamp": stamp},
    )
    assert feed.say(_bitmex("orderBookL2", "update", {"id": 2, "side": "Buy", "size": 5})) == []  # before the partial
    (snapshot,) = feed.say(_bitmex("orderBookL2", "partial", *rows))
    assert snapshot == BookText(
        "XBTUSD", (START_MS + 7) * MS, feed.now_ns, 0, -1, 0, True, [("100", "100")], [("100.5", "200")]
    )
    for action, row, level in (
        ("update", {"id": 2, "side": "Buy", "size": 300}, ("100", "300")),
        ("insert", {"id": 3, "side": "Buy", "size": 400, "price": 99.5}, ("99.5", "400")),
        ("delete", {"id": 2, "side": "Buy"}, ("100", "0")),
    ):
        (delta,) = feed.say(_bitmex("orderBookL2", action, row))
        assert delta == BookText("XBTUSD", 0, feed.now_ns, 0, -1, 0, False, [level], [])


def test_bitmex_trades_of_before_the_subscription_are_no_news() -> None:
    feed = Feed("BITMEX", [BITMEX_LIST], ["BTC-USD-PERP"])
    trade = {"timestamp": "2023-11-14T22:13:20.007Z", "side": "Sell", "size": 100, "price": 100.5,
             "trdMatchID": "8f8fe9db-eb13-26a5-dea2-a398d89e04a8"}  # fmt: skip
    assert feed.say(_bitmex("trade", "partial", trade)) == []
    (print_,) = feed.say(_bitmex("trade", "insert", trade))
    assert isinstance(print_, TradeText)
    assert (print_.ts_exchange_ns, print_.flags, print_.trade_id) == ((START_MS + 7) * MS, SELL, 2874589395492765147)
    assert feed.rejects() == {"trade of before the subscription": 1}


def test_bitmex_funding_is_a_settlement() -> None:
    feed = Feed("BITMEX", [BITMEX_LIST], ["BTC-USD-PERP"], ("funding",))
    row = {
        "timestamp": "2023-11-14T20:00:00.003Z",
        "fundingInterval": "2000-01-01T08:00:00.000Z",
        "fundingRate": 0.0001,
    }
    assert feed.say(_bitmex("funding", "insert", row)) == [
        FundingText("XBTUSD", 1_699_992_000 * 10**9, feed.now_ns, "0.0001")
    ]


def test_kraken_has_no_times_of_books_and_no_ids_of_trades() -> None:
    feed = Feed("KRAKEN", [KRAKEN_LIST], ["BTC-USD"])
    book = {"as": [["100.1", "2.0", "1.0"]], "bs": [["100.0", "1.0", "1.0"]]}
    assert feed.say([336, book, "book-1000", "XBT/USD"]) == [
        BookText("XBT/USD", 0, feed.now_ns, 0, -1, 0, True, [("100.0", "1.0")], [("100.1", "2.0")])
    ]
    both = [
        336,
        {"a": [["100.1", "0.0", "2.0"]]},
        {"b": [["99.9", "4.0", "2.0"]], "c": "974942666"},
        "book-1000",
        "XBT/USD",
    ]
    assert feed.say(both) == [BookText("XBT/USD", 0, feed.now_ns, 0, -1, 0, False, [("99.9", "4.0")], [("100.1", "0")])]
    stamp = "1700000000.000123"
    assert feed.say([337, [["100.1", "0.5", stamp, "s", "l", ""]], "trade", "XBT/USD"]) == [
        TradeText("XBT/USD", START_NS + 123_000, feed.now_ns, "100.1", "0.5", 0, SELL, is_numbered=False)
    ]
    ticker = {"b": ["100.0", 1, "1.5"], "a": ["100.1", 2, "2.5"]}
    assert feed.say([340, ticker, "ticker", "XBT/USD"]) == [
        QuoteText("XBT/USD", 0, feed.now_ns, "100.0", "1.5", "100.1", "2.5", 0)
    ]


def test_kraken_futures_counts_its_updates() -> None:
    feed = Feed("KRAKEN_FUTURES", [KRAKEN_FUTURES_LIST], ["BTC-USD-PERP"], ("l2_book",))
    base = {"product_id": "PI_XBTUSD", "timestamp": START_MS}
    snapshot = {**base, "feed": "book_snapshot", "seq": 8, "bids": [{"price": 100.0, "qty": 5}], "asks": []}
    assert feed.say(snapshot) == [
        BookText("PI_XBTUSD", START_MS * MS, feed.now_ns, 8, -1, 0, True, [("100.0", "5")], [])
    ]
    update = {**base, "feed": "book", "seq": 9, "side": "buy", "price": 100.0, "qty": 0}
    assert feed.say(update) == [BookText("PI_XBTUSD", START_MS * MS, feed.now_ns, 9, 8, 0, False, [("100.0", "0")], [])]


def test_bybit_has_ms_where_others_have_seconds() -> None:
    feed = Feed(
        "BYBIT", [BYBIT_LIST, BYBIT_SPOT_LIST], ["BTC-USDT-PERP"], ("l2_book", "trades", "ticker", "liquidations")
    )
    book = {"topic": "orderbook.200.BTCUSDT", "type": "snapshot", "ts": START_MS,
            "data": {"s": "BTCUSDT", "b": [["100.0", "1"]], "a": [["100.1", "2"]], "u": 20, "seq": 900}}  # fmt: skip
    assert feed.say(book) == [
        BookText("BTCUSDT", START_MS * MS, feed.now_ns, 20, -1, 0, True, [("100.0", "1")], [("100.1", "2")])
    ]
    delta = {**book, "type": "delta", "data": {"s": "BTCUSDT", "b": [["100.0", "0"]], "a": [], "u": 21, "seq": 905}}
    assert feed.say(delta) == [BookText("BTCUSDT", START_MS * MS, feed.now_ns, 21, 20, 0, False, [("100.0", "0")], [])]
    trade = {
        "T": START_MS,
        "s": "BTCUSDT",
        "S": "Sell",
        "v": "0.001",
        "p": "100.0",
        "i": "20f43950-d8dd-5b31-9112-a178eb6023af",
    }
    (print_,) = feed.say({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": START_MS, "data": [trade]})
    assert isinstance(print_, TradeText)
    assert (print_.ts_exchange_ns, print_.flags) == (START_MS * MS, SELL)
    forced = {"updatedTime": START_MS, "symbol": "BTCUSDT", "side": "Buy", "size": "0.3", "price": "99"}
    # Bybit names the side of the position: a long was closed.
    assert feed.say({"topic": "liquidation.BTCUSDT", "type": "snapshot", "ts": START_MS, "data": forced}) == [
        LiquidationText("BTCUSDT", START_MS * MS, feed.now_ns, "99", "0.3", SELL)
    ]


def test_coinbase_speaks_in_events() -> None:
    feed = Feed("COINBASE", [COINBASE_LIST], ["BTC-USD"], ("l2_book", "trades"))
    update = {"side": "bid", "price_level": "100.00", "new_quantity": "1.5", "event_time": "2023-11-14T22:13:20Z"}
    frame = {"channel": "l2_data", "timestamp": "2023-11-14T22:13:20.007Z",
             "events": [{"type": "snapshot", "product_id": "BTC-USD", "updates": [update]}]}  # fmt: skip
    assert feed.say(frame) == [BookText("BTC-USD", 0, feed.now_ns, 0, -1, 0, True, [("100.00", "1.5")], [])]
    frame["events"] = [{"type": "update", "product_id": "BTC-USD", "updates": [{**update, "new_quantity": "0"}]}]
    assert feed.say(frame) == [
        BookText("BTC-USD", (START_MS + 7) * MS, feed.now_ns, 0, -1, 0, False, [("100.00", "0")], [])
    ]


def test_bitget_has_quotes_that_nobody_can_use() -> None:
    feed = Feed("BITGET", [BITGET_LIST, BITGET_MIX_LIST], ["BTC-USDT", "BTC-USDT-PERP"])
    ticker = {"bestBid": "100.0", "bestAsk": "100.5", "ts": START_MS, "systemTime": START_MS}
    for kind in ("sp", "mc"):
        arg = {"instType": kind, "channel": "ticker", "instId": "BTCUSDT"}
        assert feed.say({"action": "snapshot", "arg": arg, "data": [ticker]}) == []
    assert feed.rejects() == {"quote that the venue rounds to six decimals": 1, "quote without sizes": 1}


def test_bitget_sends_its_last_hundred_trades_first() -> None:
    feed = Feed("BITGET", [BITGET_LIST, BITGET_MIX_LIST], ["BTC-USDT-PERP"], ("trades",))
    frame = {"action": "snapshot", "arg": {"instType": "mc", "channel": "trade", "instId": "BTCUSDT"},
             "data": [[str(START_MS), "100.0", "0.5", "buy"]]}  # fmt: skip
    assert feed.say(frame) == []
    assert feed.say({**frame, "action": "update"}) == [
        TradeText("BTCUSDT_UMCBL", START_MS * MS, feed.now_ns, "100.0", "0.5", 0, 0, is_numbered=False)
    ]


@pytest.mark.parametrize(
    ("frame", "losses", "reasons"),
    [
        ('{"stream": "btcus', [""], {"bad JSON": 1}),  # it may have been about anything
        ("pong", [], {"bad JSON": 1}),  # but that was a keep-alive
        ('{"stream": "btcusdt@depth", "data": {"e": "depthUpdate", "s": "BTCUSDT"}}', ["BTCUSDT"], None),
        ('{"result": null, "id": 1}', [], None),  # it names no instrument
        (
            '{"stream": "xyzusdt@aggTrade", "data": {"e": "aggTrade", "s": "XYZUSDT", "m": true, "q": "1", "p": "1"}}',
            [],
            None,
        ),
    ],
)
def test_what_no_class_can_read_is_counted_and_says_what_it_lost(
    frame: str, losses: list[str], reasons: dict[str, int] | None
) -> None:
    feed = _binance(btc=[_book(50)])
    said = [message for message in feed.say(frame) if isinstance(message, Loss)]
    assert said == [Loss(symbol, feed.now_ns, GAP_REJECTED) for symbol in losses]
    assert sum(feed.rejects().values()) == 1
    assert reasons is None or feed.rejects() == reasons


def test_a_loss_finds_its_instrument_however_the_exchange_writes_its_name() -> None:
    bitget = Feed("BITGET", [BITGET_LIST, BITGET_MIX_LIST], ["BTC-USDT-PERP"])
    arg = {"instType": "mc", "channel": "books", "instId": "BTCUSDT"}
    book = {"asks": [["100.5", "1"]], "bids": [], "ts": str(START_MS), "checksum": 0}
    bitget.say({"action": "snapshot", "arg": arg, "data": [book]})
    # The class has no level to delete there, and raises: what it has, and what we have, is no longer the venue's book.
    absent = {**book, "asks": [["107.0", "0"]]}
    assert bitget.say({"action": "update", "arg": arg, "data": [absent]}) == [
        Loss("BTCUSDT_UMCBL", bitget.now_ns, GAP_REJECTED)
    ]
    kraken = Feed("KRAKEN_FUTURES", [KRAKEN_FUTURES_LIST], ["BTC-USD-PERP"], ("l2_book",))
    base = {"product_id": "PI_XBTUSD", "timestamp": START_MS}
    kraken.say({**base, "feed": "book_snapshot", "seq": 8, "bids": [{"price": 100.0, "qty": 5}], "asks": []})
    update = {**base, "feed": "book", "side": "buy", "price": 99.5, "qty": 1}
    kraken.say({**update, "seq": 9})
    assert kraken.say({**update, "seq": 11}) == [Loss("PI_XBTUSD", kraken.now_ns, GAP_SEQUENCE)]


def test_an_exchange_leaves_nothing_global_behind() -> None:
    before = dict(Symbols.data)
    _binance()
    assert Symbols.data == before
    Symbols.set("BINANCE_FUTURES", {"OTHER": "OTHER"}, {})
    try:
        _binance()
        assert Symbols.get("BINANCE_FUTURES")[0] == {"OTHER": "OTHER"}
    finally:
        Symbols.data.pop("BINANCE_FUTURES")


def test_nothing_is_written_and_no_log_of_cryptofeed_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    feed = _binance(btc=[_book(50)])
    feed.say(_depth("BTCUSDT", 45, 55, 44, []))
    feed.say(_depth("BTCUSDT", 70, 75, 69, []))
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_imports_cryptofeed() -> None:
    root = Path(__file__).parents[2]
    found = [
        path.relative_to(root).parts[:2]
        for package in ("adapters", "config", "daemon", "engine", "strategies")
        for path in (root / package).rglob("*.py")
        if re.search(r"^\s*(import|from) cryptofeed", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert set(found) == {("adapters", "feeds")}
