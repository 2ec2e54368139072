"""Small feeds for tests: instrument lists and frames in the exchanges' own form, through cryptofeed's real classes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.captures.report import ImportReport
from adapters.feeds.capture import Answer
from adapters.feeds.exchange import Exchange, read_listing
from adapters.feeds.normaliser import FeedMessage
from adapters.feeds.playback import RecordedAnswers, RecordedConnection, complete, queues_of
from adapters.feeds.venues import VENUES

START_NS = 1_700_000_000 * 10**9
START_MS = 1_700_000_000_000

BINANCE_LIST = {
    "symbols": [
        {
            "symbol": symbol, "contractType": "PERPETUAL", "status": "TRADING", "baseAsset": symbol[:3],
            "quoteAsset": "USDT",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001"},
                {"filterType": "MIN_NOTIONAL", "notional": "100"},
            ],
        }
        for symbol in ("BTCUSDT", "ETHUSDT")
    ]
}  # fmt: skip
OKX_LIST = {
    "data": [
        {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "tickSz": "0.1", "lotSz": "0.01", "ctType": "linear",
         "ctVal": "0.01", "ctMult": "1", "optType": ""},
        {"instType": "SWAP", "instId": "BTC-USD-SWAP", "tickSz": "0.1", "lotSz": "1", "ctType": "inverse",
         "ctVal": "100", "ctMult": "1", "optType": ""},
    ]
}  # fmt: skip
OKX_SPOT_LIST = {
    "data": [
        {"instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "tickSz": "0.1",
         "lotSz": "0.00000001", "ctType": "", "ctVal": "", "ctMult": "", "optType": ""},
    ]
}  # fmt: skip
DERIBIT_LIST = {
    "result": [
        {"instrument_name": "BTC-PERPETUAL", "kind": "future", "future_type": "reversed", "base_currency": "BTC",
         "quote_currency": "USD", "settlement_period": "perpetual", "tick_size": 0.5, "min_trade_amount": 10.0,
         "contract_size": 10.0, "expiration_timestamp": 32503708800000},
    ]
}  # fmt: skip
BITMEX_LIST = [
    {"symbol": "XBTUSD", "rootSymbol": "XBT", "quoteCurrency": "USD", "typ": "FFWCSX", "tickSize": 0.5, "lotSize": 100,
     "multiplier": -100000000, "settlCurrency": "XBt", "isQuanto": False, "isInverse": True, "expiry": None},
    {"symbol": "ETHUSD", "rootSymbol": "ETH", "quoteCurrency": "USD", "typ": "FFWCSX", "tickSize": 0.05, "lotSize": 1,
     "multiplier": 100, "settlCurrency": "XBt", "isQuanto": True, "isInverse": False, "expiry": None},
    {"symbol": "XBTUSDT", "rootSymbol": "XBT", "quoteCurrency": "USDT", "typ": "FFWCSX", "tickSize": 0.5,
     "lotSize": 100, "multiplier": 1, "settlCurrency": "USDt", "isQuanto": False, "isInverse": False, "expiry": None},
]  # fmt: skip
KRAKEN_LIST = {
    "result": {
        "XXBTZUSD": {"wsname": "XBT/USD", "tick_size": "0.1", "pair_decimals": 1, "lot_decimals": 8, "costmin": "0.5"}
    }
}
KRAKEN_FUTURES_LIST = {
    "instruments": [
        {"symbol": "pi_xbtusd", "tradeable": True, "type": "futures_inverse", "tickSize": 0.5, "contractSize": 1,
         "contractValueTradePrecision": 0},
    ]
}  # fmt: skip
BYBIT_LIST = {
    "result": {
        "list": [
            {"symbol": "BTCUSDT", "contractType": "LinearPerpetual", "baseCoin": "BTC", "quoteCoin": "USDT",
             "priceFilter": {"tickSize": "0.10"}, "lotSizeFilter": {"qtyStep": "0.001", "minNotionalValue": "5"}},
        ]
    }
}  # fmt: skip
BYBIT_SPOT_LIST = {
    "result": {
        "list": [
            {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "priceFilter": {"tickSize": "0.01"},
             "lotSizeFilter": {"basePrecision": "0.000001", "minOrderAmt": "5"}},
        ]
    }
}  # fmt: skip
COINBASE_LIST = {
    "products": [
        {"product_id": "BTC-USD", "base_currency_id": "BTC", "quote_currency_id": "USD", "quote_increment": "0.01",
         "price_increment": "0.01", "base_increment": "0.00000001"},
    ]
}  # fmt: skip
BITGET_LIST = {
    "data": [
        {"symbol": "BTCUSDT_SPBL", "symbolName": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "priceScale": "2",
         "quantityScale": "4"},
    ]
}  # fmt: skip
BITGET_MIX_LIST = {
    "data": [
        {"symbol": "BTCUSDT_UMCBL", "baseCoin": "BTC", "quoteCoin": "USDT", "pricePlace": "1", "priceEndStep": "5",
         "volumePlace": "3"},
    ]
}  # fmt: skip


def list_bodies(*lists: object) -> list[bytes]:
    """Instrument lists as the exchanges send them."""
    return [json.dumps(each).encode() for each in lists]


class Feed:
    """One connection to an exchange that says what the test tells it to say."""

    def __init__(
        self,
        exchange: str,
        lists: Sequence[object],
        names: Sequence[str],
        channels: Sequence[str] = ("l2_book", "trades", "ticker"),
        snapshots: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        self.report = ImportReport()
        venue = VENUES[exchange]
        listing = read_listing(venue, list_bodies(*lists))
        self.exchange = Exchange(venue, listing, {channel: list(names) for channel in channels}, self.report)
        answers = {
            url: [Answer(START_NS, json.dumps(body).encode()) for body in bodies]
            for url, bodies in (snapshots or {}).items()
        }
        self.exchange.feed.http_conn = RecordedAnswers(queues_of(answers), self.exchange.normaliser.arrive)
        address = f"wss://{venue.hosts[0]}/{'v5/public/linear' if exchange == 'BYBIT' else 'ws'}"
        self.connection = RecordedConnection(address, self.exchange.feed.subscription)
        self.now_ns = START_NS
        self.reopen()

    def reopen(self) -> None:
        """The connection is opened, perhaps again."""
        complete(self.exchange.open(self.connection, self.now_ns))

    def say(self, frame: Any) -> list[FeedMessage]:
        """What one frame leads to; a text is sent as it is."""
        self.now_ns += 10**6
        text = frame if isinstance(frame, str) else json.dumps(frame)
        return complete(self.exchange.handle(text, self.connection, self.now_ns, lambda: "here"))

    def rejects(self) -> dict[str, int]:
        """What was left out, by reason."""
        return {**{str(reason): count for reason, count in self.report.rejects.items()}} | dict(
            self.exchange.normaliser.ignored
        )


def write_recording(
    folder: Path,
    exchange: str,
    lists: Sequence[object],
    configuration: Mapping[str, Sequence[str]],
    streams: Mapping[str, Sequence[str]],
    answers: Sequence[tuple[str, str, object]] = (),
) -> list[Path]:
    """A recording in cryptofeed's form: `streams` by the end of the file's name, `answers` as (url, time, body)."""
    head = [f"https://example.org/{place} -> 1700000000.5: {json.dumps(body)}" for place, body in enumerate(lists)]
    files = {f"{exchange}.0": [*head, f"configuration: {json.dumps(configuration)}"]}
    files |= {f"{exchange}.{name}": list(lines) for name, lines in streams.items()}
    if answers:
        files[f"{exchange}.http.0.0"] = [f"{url} -> {time}: {json.dumps(body)}" for url, time, body in answers]
    paths = []
    for name, lines in files.items():
        path = folder / f"{name}.gz"
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
        paths.append(path)
    return paths
