"""Candles of one instrument: minutes from its trades, and made-up ones from before the start, to warm up with."""

from __future__ import annotations

from random import Random

import msgspec

from adapters.loopback.frames import Channel, Frame, encoded

MINUTE_MS = 60_000
HISTORY_MINUTES = 1_500
INTERVALS_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1440 * MINUTE_MS,
}
_MINUTES_KEPT = 10_000
_STREAM_EVERY_MS = 250
_MOVE = 0.0006  # of the price in a made-up minute, one standard deviation


class Candle(msgspec.Struct):
    """One candle; prices and sizes in units of the instrument's last decimals."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    size: int = 0
    quote: int = 0
    trades: int = 0
    taker_size: int = 0
    taker_quote: int = 0


class Candles:
    """The candles of one instrument, with as many decimals of price and size as its texts have."""

    def __init__(self, symbol: str, price_decimals: int, size_decimals: int) -> None:
        self.symbol = symbol
        self._decimals = (price_decimals, size_decimals)
        self._minutes: dict[int, Candle] = {}
        self._open_ms = 0
        self._shown_ms = 0
        self._price = 0

    def make_history(self, now_ms: int, price: int, seed: str) -> None:
        """Make up the minutes before `now_ms`, back from a price."""
        random = Random(seed)  # noqa: S311 - a market, not a secret
        self._minutes.clear()
        self._price = price
        open_ms = now_ms // MINUTE_MS * MINUTE_MS
        self._open_ms = open_ms
        made = []
        for _ in range(HISTORY_MINUTES):
            open_ms -= MINUTE_MS
            start = max(1, round(price * (1 + random.gauss(0, _MOVE))))
            high = max(start, price) + round(price * abs(random.gauss(0, _MOVE / 2)))
            low = max(1, min(start, price) - round(price * abs(random.gauss(0, _MOVE / 2))))
            size = random.randrange(1_000, 100_000)
            taker = size * random.randrange(30, 70) // 100
            quote, taker_quote = size * (high + low) // 2, taker * (high + low) // 2
            trades = random.randrange(50, 3_000)
            made.append(Candle(open_ms, start, high, low, price, size, quote, trades, taker, taker_quote))
            price = start
        self._minutes = {candle.open_ms: candle for candle in reversed(made)}

    def trade(self, stamp_ms: int, price: int, size: int, *, is_buyer_maker: bool) -> None:
        """Take a trade into its minute."""
        open_ms = max(stamp_ms // MINUTE_MS * MINUTE_MS, self._open_ms)
        candle = self._minute(open_ms)
        candle.high, candle.low, candle.close = max(candle.high, price), min(candle.low, price), price
        if not candle.trades:
            candle.open = candle.high = candle.low = price
        candle.size += size
        candle.quote += price * size
        candle.trades += 1
        if not is_buyer_maker:
            candle.taker_size += size
            candle.taker_quote += price * size
        self._price = price

    def frames(self, stamp_ms: int) -> list[Frame]:
        """What the minutes' stream says now: a minute that closed, and four times a second the one that is open."""
        open_ms = stamp_ms // MINUTE_MS * MINUTE_MS
        found = []
        if open_ms > self._open_ms:
            found.append(self._frame(self._minute(self._open_ms), stamp_ms, is_closed=True))
            self._minute(open_ms)
        elif stamp_ms < self._shown_ms + _STREAM_EVERY_MS:
            return []
        self._shown_ms = stamp_ms
        found.append(self._frame(self._minute(open_ms), stamp_ms, is_closed=False))
        return found

    def rows(
        self, interval_ms: int, limit: int, now_ms: int, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[list[object]]:
        """Rows as REST gives them: the last `limit`, or the first from `start_ms` on, up to the one that is open."""
        self._minute(max(now_ms // MINUTE_MS * MINUTE_MS, self._open_ms))
        merged: dict[int, Candle] = {}
        for minute in self._minutes.values():
            open_ms = minute.open_ms // interval_ms * interval_ms
            if open_ms in merged:
                _join(merged[open_ms], minute)
            else:
                merged[open_ms] = msgspec.structs.replace(minute, open_ms=open_ms)
        candles = [
            candle
            for open_ms, candle in merged.items()
            if (start_ms is None or open_ms >= start_ms) and (end_ms is None or open_ms <= end_ms)
        ]
        return [self._row(candle, interval_ms) for candle in (candles[:limit] if start_ms else candles[-limit:])]

    def _minute(self, open_ms: int) -> Candle:
        """The minute that begins then; minutes without a trade between stand at the last price."""
        while self._open_ms < open_ms or open_ms not in self._minutes:
            missing_ms = min(self._open_ms + MINUTE_MS, open_ms) if self._open_ms in self._minutes else self._open_ms
            self._open_ms = missing_ms
            self._minutes[missing_ms] = Candle(missing_ms, self._price, self._price, self._price, self._price)
            if len(self._minutes) > _MINUTES_KEPT:
                del self._minutes[next(iter(self._minutes))]
        return self._minutes[open_ms]

    def _text(self, value: int, decimals: int) -> str:
        whole, part = divmod(value, 10**decimals)
        return f"{whole}.{part:0{decimals}d}" if decimals else f"{whole}"

    def _row(self, candle: Candle, interval_ms: int) -> list[object]:
        price, size = self._decimals
        return [
            candle.open_ms,
            *(self._text(value, price) for value in (candle.open, candle.high, candle.low, candle.close)),
            self._text(candle.size, size),
            candle.open_ms + interval_ms - 1,
            self._text(candle.quote, price + size),
            candle.trades,
            self._text(candle.taker_size, size),
            self._text(candle.taker_quote, price + size),
            "0",
        ]

    def _frame(self, candle: Candle, stamp_ms: int, *, is_closed: bool) -> Frame:
        row = self._row(candle, MINUTE_MS)
        names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
        kline = dict(zip(names, row, strict=True)) | {"s": self.symbol, "i": "1m", "f": -1, "L": -1, "x": is_closed}
        return encoded(self.symbol, Channel.kline, {"e": "kline", "E": stamp_ms, "s": self.symbol, "k": kline})


def _join(candle: Candle, minute: Candle) -> None:
    """Take a later minute into a longer candle."""
    candle.high, candle.low, candle.close = max(candle.high, minute.high), min(candle.low, minute.low), minute.close
    candle.size += minute.size
    candle.quote += minute.quote
    candle.trades += minute.trades
    candle.taker_size += minute.taker_size
    candle.taker_quote += minute.taker_quote
