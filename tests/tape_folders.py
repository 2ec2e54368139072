"""Tapes in folders for tests of runs: the made-up order flow with quotes, and what a book should be at each moment."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np

from adapters.tape import CONFIG, SESSION, STRATEGY, Session, TapeInstrument, TapeSource, TapeWriter
from adapters.tape.codec import Records
from engine.kernels.layout import LAST, LEVEL, QUOTE, RECORD
from tests.captures import NaiveBook
from tests.tapes import FLOW_OFFSET_NS, FLOW_START_NS, merged, order_flow

SYMBOLS = ("BTCUSDT", "XRPUSDT")
CHANNELS = ("book", "prints", "quotes", "marks", "funding")
BTC = TapeInstrument("BTCUSDT", "made_up", "linear", Decimal("0.1"), Decimal("0.001"), channels=CHANNELS)
XRP = TapeInstrument("XRPUSDT", "made_up", "linear", Decimal("0.0001"), Decimal("0.1"), channels=CHANNELS)
CONFIG_TEXT = """timeframe: 1s
strategy: {name: ema_cross, params: {fast: 3, slow: 9, size: 0.5}}
initial_cash: 1000000
commission_bps: 4
book: {order_latency_ms: 40, response_latency_ms: 25}
"""


def flow_session(count: int = 1, offset_ns: int = FLOW_OFFSET_NS) -> Session:
    """A session of one or two made-up markets, received over one connection."""
    return Session(
        session="20240808T235900-0000", created_ns=FLOW_START_NS, software="tapewright 0.1.0",
        instruments=(BTC, XRP)[:count], sources=(TapeSource("flow", "made up", clock_offset_ns=offset_ns),),
    )  # fmt: skip


def flow(count: int = 6_000, seed: int = 1) -> Records:
    """One market with quotes after some of its book messages."""
    return with_quotes(order_flow(count, seed))


def two_flows(count: int = 4_000, seed: int = 1) -> Records:
    """Two markets on one tape."""
    return with_quotes(merged(order_flow(count, seed), order_flow(count, seed + 1, instrument=1, middle_ticks=6_000)))


def with_quotes(records: Records) -> Records:
    """The records with a QUOTE of the naive book after each third message; every sixth comes before its message."""
    books: dict[int, NaiveBook] = {}
    parts: list[Records] = []
    begun, start, messages = 0, 0, 0
    for place, record in enumerate(records):
        if record["kind"] != LEVEL:
            begun = place + 1
            continue
        book = books.setdefault(int(record["instrument"]), NaiveBook())
        if not book.take(tuple(int(record[name]) for name in ("flags", "a", "b", "c"))):
            continue
        messages += 1
        if messages % 3 == 0:
            quote = np.zeros(1, RECORD)
            for name in ("ts_exchange_ns", "ts_receive_ns", "instrument"):
                quote[name] = record[name]
            quote["kind"], quote["e"] = QUOTE, record["c"]
            quote["a"], quote["b"], quote["c"], quote["d"] = book.best()
            where = begun if messages % 6 == 0 else place + 1
            parts += [records[start:where], quote]
            start = where
        begun = place + 1
    return np.concatenate([*parts, records[start:]])


def write_flow(
    folder: Path, records: Records, *, markets: int = 1, session: Session | None = None, config: object = None,
    strategies: tuple[object, ...] = (),
) -> Records:  # fmt: skip
    """Write a tape of a session document, others where they are given, and records; give the records."""
    with TapeWriter(folder, is_new=True, frame_records=512, clock_ns=lambda: 0) as writer:
        writer.document(SESSION, session or flow_session(markets))
        if config is not None:
            writer.document(CONFIG, config)
        for each in strategies:
            writer.document(STRATEGY, each)
        writer.append(records)
    return records


class BookAt:
    """The naive book of one market after all records received up to a moment."""

    def __init__(self, records: Records, at_ns: int, market: int = 0) -> None:
        self.book = NaiveBook()
        self.book_ns = self.count = 0
        for record in records[: int(np.searchsorted(records["ts_receive_ns"], at_ns, side="right"))]:
            self.count += 1
            if record["kind"] == LEVEL and record["instrument"] == market:
                self.book.take(tuple(int(record[name]) for name in ("flags", "a", "b", "c")))
                if record["flags"] & LAST:
                    self.book_ns = int(record["ts_receive_ns"])
