"""Tardis' downloadable CSV files: `incremental_book_L2`, `trades` and `derivative_ticker`.

Columns are found by the names that Tardis documents. Times are µs; `timestamp` repeats `local_timestamp` where the
venue gives none: that is no exchange time.

Rows of one symbol with the same local time and the same `is_snapshot` are one book message; ids there are none. A
snapshot replaces the book; a row that cannot be read loses it until the next one. Of tickers a row becomes a mark where
mark, index, rate or funding time changed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Literal, TypeAlias

from adapters.captures.lines import Line
from adapters.captures.messages import BookText, InterestText, LossText, MarkText, Message, TradeText
from adapters.captures.report import Reason, RejectedError
from engine.kernels.layout import SELL, SIDE_UNKNOWN
from engine.settings import InstrumentKind

TardisTable: TypeAlias = Literal["incremental_book_L2", "trades", "derivative_ticker"]
Row: TypeAlias = tuple[str, ...]
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
_BOOK_SIDES = ("bid", "ask")
_TRUTHS = ("true", "false")
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
    columns = set(_columns(header))
    return next((table for table, names in _TABLES.items() if set(names) <= columns), None)


def market_of(exchange: str) -> tuple[str, InstrumentKind]:
    """Venue and kind for Tardis' name of an exchange; a name not listed here is taken for linear contracts."""
    return _MARKETS.get(exchange, (exchange.replace("-", "_"), "linear"))


def exchange_of(header: bytes, row: bytes) -> str:
    """The exchange that the first row names; empty where it has no such cell."""
    cells = row.decode(errors="replace").strip().split(",")
    return dict(zip(_columns(header), cells, strict=False)).get("exchange", "")


def read_table(lines: Iterator[Line], on_reject: OnReject) -> Iterator[Message]:
    """The messages of one file; what cannot be used goes to `on_reject`."""
    header = next(lines).content
    table = table_of(header)
    assert table is not None, "the file was recognised by its header"
    rows = _rows(lines, _columns(header), _TABLES[table])
    match table:
        case "incremental_book_L2":
            return _books(rows, on_reject)
        case "trades":
            return _trades(rows, on_reject)
        case "derivative_ticker":
            return _tickers(rows, on_reject)


def _columns(header: bytes) -> list[str]:
    return header.decode(errors="replace").strip().removeprefix("\ufeff").split(",")


def _rows(lines: Iterator[Line], columns: list[str], names: tuple[str, ...]) -> Iterator[Row | RejectedError]:
    """Cells of each row in the order of `names`, or why there are none."""
    pick = itemgetter(*(columns.index(name) for name in names))
    for line in lines:
        try:
            text = line.content.decode().rstrip("\r")
            cells = next(csv.reader([text])) if '"' in text else text.split(",")
        except (UnicodeDecodeError, csv.Error) as error:
            yield RejectedError(Reason.bad_row, str(error))
            continue
        if len(cells) != len(columns):
            yield RejectedError(Reason.bad_row, f"{len(cells)} cells, {len(columns)} columns")
            continue
        yield pick(cells)


def _books(rows: Iterator[Row | RejectedError], on_reject: OnReject) -> Iterator[Message]:
    """Book messages; where a row cannot be read the books of the file are lost.

    Neither the message before the row, which it may have belonged to, is given then nor, for the same reason, the next.
    """
    key: tuple[str, str, str] | None = None
    times = (0, 0)
    sides: dict[str, list[tuple[str, str]]] = {}
    is_broken = is_next_broken = False
    for row in rows:
        if isinstance(row, RejectedError):
            wrong = row
        else:
            _, symbol, timestamp, local_timestamp, is_snapshot, side, price, amount = row
            row_key = (symbol, local_timestamp, is_snapshot)
            found = times if row_key == key else _times(timestamp, local_timestamp)
            if found is not None and side in _BOOK_SIDES and is_snapshot in _TRUTHS:
                if row_key != key:
                    if key is not None and not is_broken:
                        yield _book(key, times, sides)
                    key, times, sides, is_broken = row_key, found, {"bid": [], "ask": []}, is_next_broken
                is_next_broken = False
                sides[side].append((price, amount))
                continue
            wrong = RejectedError(Reason.bad_row, f"{timestamp!r}, {local_timestamp!r}, {is_snapshot!r} or {side!r}")
        on_reject(wrong)
        is_broken = is_next_broken = True
        yield LossText("", 0, times[1])
    if key is not None and not is_broken:
        yield _book(key, times, sides)


def _book(key: tuple[str, str, str], times: tuple[int, int], sides: dict[str, list[tuple[str, str]]]) -> BookText:
    return BookText(
        symbol=key[0].upper(),
        ts_exchange_ns=times[0],
        ts_receive_ns=times[1],
        last_id=0,
        previous_id=-1,
        first_id=0,
        is_snapshot=key[2] == "true",
        bids=sides["bid"],
        asks=sides["ask"],
    )


def _trades(rows: Iterator[Row | RejectedError], on_reject: OnReject) -> Iterator[Message]:
    for row in rows:
        if isinstance(row, RejectedError):
            on_reject(row)
            continue
        _, symbol, timestamp, local_timestamp, name, side, price, amount = row
        times, flags = _times(timestamp, local_timestamp), _SIDES.get(side)
        if times is None or flags is None:
            on_reject(RejectedError(Reason.bad_row, f"one of {timestamp!r}, {local_timestamp!r}, {side!r}"))
            continue
        # Some venues name trades by a text; such ids do not fit a record.
        trade_id = int(name) if name.isascii() and name.isdigit() and len(name) < 19 else 0
        yield TradeText(symbol.upper(), *times, price, amount, trade_id, flags, is_numbered=False)


def _tickers(rows: Iterator[Row | RejectedError], on_reject: OnReject) -> Iterator[Message]:
    marks: dict[str, tuple[str, ...]] = {}
    interests: dict[str, str] = {}
    for row in rows:
        if isinstance(row, RejectedError):
            on_reject(row)
            continue
        _, symbol, timestamp, local_timestamp, funding_timestamp, rate, _, interest, last_price, index, mark = row
        times = _times(timestamp, local_timestamp)
        next_ns = _time_ns(funding_timestamp) if funding_timestamp else 0
        if times is None or next_ns is None:
            on_reject(
                RejectedError(Reason.bad_row, f"one of {timestamp!r}, {local_timestamp!r}, {funding_timestamp!r}")
            )
            continue
        name, words = symbol.upper(), (mark, index, rate, funding_timestamp)
        if mark and words != marks.get(name):
            marks[name] = words
            yield MarkText(name, *times, mark, index, rate, next_ns, last_price)
        if interest and interest != interests.get(name):
            interests[name] = interest
            yield InterestText(name, *times, interest)


def _times(timestamp: str, local_timestamp: str) -> tuple[int, int] | None:
    """Exchange and receive time of a row, ns; None where one of them is no time."""
    exchange_ns, receive_ns = _time_ns(timestamp), _time_ns(local_timestamp)
    if exchange_ns is None or receive_ns is None:
        return None
    return (0 if exchange_ns == receive_ns else exchange_ns), receive_ns


def _time_ns(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) < 20 and 0 < (moment_us := int(text)) < _US_MOST:
        return moment_us * _NS_PER_US
    return None
