"""Tardis' downloadable CSV files: `incremental_book_L2`, `trades` and `derivative_ticker`.

Columns are found by the names that Tardis documents. Times are µs; `timestamp` repeats `local_timestamp` where the
venue gives none: that is no exchange time.

Rows of one symbol with the same local time and the same `is_snapshot` are one book message; ids there are none. A run
of snapshot rows replaces the book; a row that cannot be read loses it, until the next such run. Of tickers a row becomes a mark where mark, index, rate or funding time changed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

from adapters.captures.lines import Line
from adapters.captures.messages import BookText, InterestText, MarkText, Message, TradeText
from adapters.captures.report import Reason, RejectedError
from engine.kernels.layout import SELL, SIDE_UNKNOWN
from engine.settings import InstrumentKind

TardisTable: TypeAlias = Literal["incremental_book_L2", "trades", "derivative_ticker"]
Row: TypeAlias = dict[str, str]
OnReject: TypeAlias = Callable[[RejectedError], None]

_COMMON = ("exchange", "symbol", "timestamp", "local_timestamp")
_TABLES: dict[TardisTable, tuple[str, ...]] = {
    "incremental_book_L2": (*_COMMON, "is_snapshot", "side", "price", "amount"),
    "trades": (*_COMMON, "id", "side", "price", "amount"),
    "derivative_ticker": (
        *(*_COMMON, "funding_timestamp", "funding_rate", "predicted_funding_rate"),
        *("open_interest", "last_price", "index_price", "mark_price"),
    ),
}
_NS_PER_US = 1_000
_US_MOST = 2**62 // _NS_PER_US
_ID_MOST = 2**62
_SIDES = {"buy": 0, "sell": SELL, "unknown": SIDE_UNKNOWN, "": SIDE_UNKNOWN}
_MARKETS: dict[str, tuple[str, InstrumentKind]] = {
    "binance": ("binance_spot", "spot"),
    "binance-futures": ("binance_usdm", "linear"),
    "binance-delivery": ("binance_coinm", "inverse"),
    "bybit-spot": ("bybit_spot", "spot"),
    "coinbase": ("coinbase", "spot"),
    "kraken": ("kraken", "spot"),
    "okex": ("okx_spot", "spot"),
}


def table_of(header: bytes) -> TardisTable | None:
    """The table that a header line announces, None where it is none of these."""
    columns = tuple(header.decode(errors="replace").strip().removeprefix("\ufeff").split(","))
    return next((table for table, names in _TABLES.items() if set(names) <= set(columns)), None)


def market_of(exchange: str) -> tuple[str, InstrumentKind]:
    """Venue and kind for Tardis' name of an exchange; a name not listed here is taken for linear contracts."""
    return _MARKETS.get(exchange, (exchange.replace("-", "_"), "linear"))


def exchange_of(header: bytes, row: bytes) -> str:
    """The exchange that the first row names; empty where it has no such cell."""
    columns = header.decode(errors="replace").strip().removeprefix("\ufeff").split(",")
    cells = row.decode(errors="replace").strip().split(",")
    return dict(zip(columns, cells, strict=False)).get("exchange", "")


def read_table(lines: Iterator[Line], on_reject: OnReject) -> Iterator[Message]:
    """The messages of one file; what cannot be used goes to `on_reject`."""
    header = next(lines)
    table = table_of(header.content)
    assert table is not None, "the file was recognised by its header"
    columns = header.content.decode().strip().removeprefix("\ufeff").split(",")
    rows = _rows(lines, columns, on_reject)
    match table:
        case "incremental_book_L2":
            return _books(rows, on_reject)
        case "trades":
            return _each(rows, on_reject, _trade)
        case "derivative_ticker":
            return _tickers(rows, on_reject)


def _rows(lines: Iterator[Line], columns: list[str], on_reject: OnReject) -> Iterator[Row]:
    for line in lines:
        try:
            cells = next(csv.reader([line.content.decode()]))
        except (UnicodeDecodeError, csv.Error) as error:
            on_reject(RejectedError(Reason.bad_row, str(error)))
            continue
        if len(cells) != len(columns):
            on_reject(RejectedError(Reason.bad_row, f"{len(cells)} cells, {len(columns)} columns"))
            continue
        yield dict(zip(columns, cells, strict=True))


def _each(rows: Iterator[Row], on_reject: OnReject, read: Callable[[Row], Message]) -> Iterator[Message]:
    for row in rows:
        try:
            yield read(row)
        except RejectedError as error:
            on_reject(error)


def _books(rows: Iterator[Row], on_reject: OnReject) -> Iterator[Message]:
    key: tuple[str, int, bool] | None = None
    exchange_ns = 0
    sides: dict[str, list[tuple[str, str]]] = {"bid": [], "ask": []}
    for row in rows:
        try:
            times = _times(row)
        except RejectedError as error:
            on_reject(error)
            continue
        side = sides.get(row["side"])
        if side is None or row["is_snapshot"] not in ("true", "false"):
            wrong = f"side {row['side']!r}, is_snapshot {row['is_snapshot']!r}"
            on_reject(RejectedError(Reason.bad_row, wrong))
            continue
        row_key = (row["symbol"].upper(), times[1], row["is_snapshot"] == "true")
        if row_key != key:
            if key is not None:
                yield _book(key, exchange_ns, sides)
            key, exchange_ns = row_key, times[0]
            sides = {"bid": [], "ask": []}
            side = sides[row["side"]]
        side.append((row["price"], row["amount"]))
    if key is not None:
        yield _book(key, exchange_ns, sides)


def _book(key: tuple[str, int, bool], exchange_ns: int, sides: dict[str, list[tuple[str, str]]]) -> BookText:
    symbol, receive_ns, is_snapshot = key
    return BookText(symbol, exchange_ns, receive_ns, 0, -1, 0, is_snapshot, sides["bid"], sides["ask"])


def _trade(row: Row) -> TradeText:
    flags = _SIDES.get(row["side"])
    if flags is None:
        raise RejectedError(Reason.bad_row, f"side {row['side']!r}")
    # Some venues name trades by a text; such ids do not fit a record.
    text = row["id"]
    trade_id = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return TradeText(
        row["symbol"].upper(),
        *_times(row),
        row["price"],
        row["amount"],
        trade_id if trade_id < _ID_MOST else 0,
        flags,
        is_numbered=False,
    )


def _tickers(rows: Iterator[Row], on_reject: OnReject) -> Iterator[Message]:
    marks: dict[str, tuple[str, ...]] = {}
    interests: dict[str, str] = {}
    for row in rows:
        symbol = row["symbol"].upper()
        try:
            times = _times(row)
            next_ns = _time_ns(row["funding_timestamp"]) if row["funding_timestamp"] else 0
        except RejectedError as error:
            on_reject(error)
            continue
        words = (row["mark_price"], row["index_price"], row["funding_rate"], row["funding_timestamp"])
        if row["mark_price"] and words != marks.get(symbol):
            marks[symbol] = words
            yield MarkText(symbol, *times, *words[:3], next_ns, row["last_price"])
        if row["open_interest"] and row["open_interest"] != interests.get(symbol):
            interests[symbol] = row["open_interest"]
            yield InterestText(symbol, *times, row["open_interest"])


def _times(row: Row) -> tuple[int, int]:
    """Exchange and receive time of a row, ns."""
    receive_ns = _time_ns(row["local_timestamp"])
    exchange_ns = _time_ns(row["timestamp"])
    return (0 if exchange_ns == receive_ns else exchange_ns), receive_ns


def _time_ns(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < (moment_us := int(text)) < _US_MOST):
        raise RejectedError(Reason.bad_row, f"time {text[:40]!r}")
    return moment_us * _NS_PER_US
