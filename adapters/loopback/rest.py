"""Binance USD-M's REST interface, as much as is asked here, and of spot the klines: answers and headers in its form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from adapters.loopback.candles import INTERVALS_MS
from adapters.loopback.history import History
from adapters.loopback.market import Board, ListedMarket, Market

_DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
_KLINES_MOST = 1_500
_SPOT_MOST = 1_000
_SPOT = ("ping", "time", "klines", "exchangeInfo")
_FUNDING_MOST = 1_000
_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1m"
_MINUTE_MS = 60_000
_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class VenueError(Exception):
    """A request that the venue refuses, with its own code. It never leaves this module."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RestApi:
    """The routes over a market and what is given of its past; `now_ms` is the venue's clock."""

    def __init__(self, market: Market, now_ms: Callable[[], int], history: History | None = None) -> None:
        self._market = market
        self._history = history or History()
        self._now_ms = now_ms
        self._weight = 0
        self._weight_minute = 0
        self.requests_count = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Put the routes where they belong."""
        answers: dict[str, Callable[[web.Request], object]] = {
            "ping": lambda _request: {},
            "time": lambda _request: {"serverTime": self._now_ms()},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "fundingRate": self._funding_rate,
            "klines": self._klines,
            "markPriceKlines": self._mark_price_klines,
            "premiumIndex": self._premium_index,
            "openInterest": self._open_interest,
        }
        for name, answer in answers.items():
            router.add_get(f"/fapi/v1/{name}", self._answering(answer))
            if name in _SPOT:
                router.add_get(f"/api/v3/{name}", self._answering(answer))

    def _answering(self, answer: Callable[[web.Request], object]) -> _Answer:
        async def handle(request: web.Request) -> web.Response:
            try:
                content, status = answer(request), 200
            except VenueError as error:
                content, status = {"code": error.code, "msg": error.message}, 400
            return json_response(content, status, {_WEIGHT_HEADER: str(self._used_weight(request))})

        return handle

    def _used_weight(self, request: web.Request) -> int:
        """The weight used in this minute, this request's included."""
        self.requests_count += 1
        minute = self._now_ms() // _MINUTE_MS
        if minute != self._weight_minute:
            self._weight, self._weight_minute = 0, minute
        limit = request.query.get("limit", "500")
        is_depth = request.path.endswith("/depth")
        self._weight += _DEPTH_WEIGHTS.get(int(limit) if limit.isdigit() else 0, 1) if is_depth else 1
        return self._weight

    def _exchange_info(self, request: web.Request) -> object:
        boards = self._market.boards.values()
        listed = {**self._history.instruments, **{board.listed.symbol: board.listed for board in boards}}
        if request.path.startswith("/api/"):
            symbols = [_spot_info(each) for each in listed.values()]
            return {"timezone": "UTC", "serverTime": self._now_ms(), "symbols": symbols}
        return {
            "timezone": "UTC",
            "serverTime": self._now_ms(),
            "futuresType": "U_MARGINED",
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
                {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
            ],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [_symbol_info(each) for each in listed.values()],
        }

    def _depth(self, request: web.Request) -> object:
        board = self._board(request)
        limit = _whole(request, "limit", 500)
        if limit not in _DEPTH_WEIGHTS:
            raise VenueError(-4021, f"{limit} is not valid depth limit.")
        depth = self._market.depth(board.listed.symbol, limit)
        times = {"lastUpdateId": depth.last_id, "E": depth.stamp_ms, "T": depth.stamp_ms}
        return times | {"bids": depth.bids, "asks": depth.asks}

    def _funding_rate(self, request: web.Request) -> object:
        limit = min(_whole(request, "limit", 100), _FUNDING_MOST)
        given = self._history.funding(
            request.query.get("symbol", ""), limit, _optional(request, "startTime"), _optional(request, "endTime")
        )
        if given is not None:
            return given
        boards = [self._board(request)] if "symbol" in request.query else list(self._market.boards.values())
        span = (_optional(request, "startTime"), _optional(request, "endTime"))
        rows = [row for board in boards for row in board.funding.rows(self._now_ms(), limit, *span)]
        return rows[-limit:]

    def _klines(self, request: web.Request, *, is_mark: bool = False) -> object:
        symbol, interval = request.query.get("symbol", ""), request.query.get("interval", "")
        is_known = symbol in self._history.symbols
        board = None if is_known and symbol not in self._market.boards else self._board(request)
        interval_ms = INTERVALS_MS.get(interval)
        if interval_ms is None:
            raise VenueError(-1120, "Invalid interval.")
        limit = min(_whole(request, "limit", 500), _SPOT_MOST if request.path.startswith("/api/") else _KLINES_MOST)
        span = (_optional(request, "startTime"), _optional(request, "endTime"))
        given = self._history.klines(symbol, interval, limit, *span, is_mark=is_mark)
        if given is not None or board is None:
            return given or []
        rows = board.candles.rows(interval_ms, limit, self._now_ms(), *span)
        # This market's mark price is its last price, and nobody trades it.
        return [[*row[:5], "0", row[6], "0", row[8], "0", "0", "0"] for row in rows] if is_mark else rows

    def _mark_price_klines(self, request: web.Request) -> object:
        return self._klines(request, is_mark=True)

    def _premium_index(self, request: web.Request) -> object:
        if "symbol" in request.query:
            return self._board(request).premium(self._now_ms())
        return [board.premium(self._now_ms()) for board in self._market.boards.values()]

    def _open_interest(self, request: web.Request) -> object:
        board = self._board(request)
        return {"openInterest": "10000.000", "symbol": board.listed.symbol, "time": self._now_ms()}

    def _board(self, request: web.Request) -> Board:
        symbol = request.query.get("symbol")
        if not symbol:
            raise VenueError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        board = self._market.boards.get(symbol)
        if board is None:
            raise VenueError(-1121, "Invalid symbol.")
        return board


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _whole(request: web.Request, name: str, default: int) -> int:
    found = _optional(request, name)
    return default if found is None else found


def _optional(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) > 0):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _spot_info(listed: ListedMarket) -> dict[str, object]:
    tick, lot = f"{listed.tick_size:f}", f"{listed.lot_size:f}"
    return {
        "symbol": listed.symbol,
        "status": "TRADING",
        "baseAsset": listed.base,
        "quoteAsset": listed.quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000", "stepSize": lot},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        ],
    }


def _symbol_info(listed: ListedMarket) -> dict[str, object]:
    tick, lot = f"{listed.tick_size:f}", f"{listed.lot_size:f}"
    return {
        "symbol": listed.symbol,
        "pair": listed.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listed.base,
        "quoteAsset": listed.quote,
        "marginAsset": listed.quote,
        "pricePrecision": listed.price_decimals,
        "quantityPrecision": listed.size_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "1000", "stepSize": lot},
            {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "120", "stepSize": lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "100" if listed.base == "BTC" else "5"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
             "multiplierDecimal": "4"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                       "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip
