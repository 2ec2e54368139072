"""Runs every row of the book tables through each machine that there is."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from engine.instruments import Instrument
from engine.settings import Commission, Risk, RunSettings, Slippage
from tests.golden.book_tables import TABLES
from tests.property import book_twin as on_tape
from tests.property import twin
from tests.property.book_machines import MACHINES, BookSaid, BookSetup, MachineOf
from tests.property.book_twin import BookSettings, Place, Watcher
from tests.property.runs import START_NS
from tests.property.twin import Record, Request

STEP_NS = 10
SELDOM_NS = 10**18  # a distance at which no sample falls into a table
INSTRUMENT = Instrument(symbol="GOLDEN", tick_size=Decimal(1), lot_size=Decimal(1))
TYPES = {"limit": twin.LIMIT, "stop": twin.STOP, "stop_limit": twin.STOP_LIMIT}
TIFS = {"gtc": twin.GTC, "ioc": twin.IOC, "fok": twin.FOK}
FLAGS = {"post_only": twin.POST_ONLY, "reduce_only": twin.REDUCE_ONLY}
TAKERS = {"sold": on_tape.SELL, "bought": 0, "unknown": on_tape.SIDE_UNKNOWN}
TRIGGERS = {"last": on_tape.BY_LAST, "mark": on_tape.BY_MARK, "book": on_tape.BY_BOOK}
EVENTS = {
    "book": on_tape.ON_BOOK, "print": on_tape.ON_PRINT, "bar": on_tape.ON_BAR, "timer": on_tape.ON_TIMER,
    "order": on_tape.ON_ORDER, "funding": on_tape.ON_FUNDING, "gap": on_tape.ON_GAP,
}  # fmt: skip
NAMES = "abcdefghij"
# Models, and the liquidity and confidence that go without saying.
MODELS = {
    1: ("bps", "taker", "assumed"), 2: ("ticks", "taker", "assumed"), 4: ("spread", "taker", "bounded"),
    5: ("depth", "taker", "observed"), 6: ("queue", "maker", "bounded"), 7: ("through", "maker", "observed"),
}  # fmt: skip
LIQUIDITY = {twin.MAKER: "maker", twin.TAKER: "taker"}
CONFIDENCE = {on_tape.ASSUMED: "assumed", on_tape.BOUNDED: "bounded", on_tape.OBSERVED: "observed"}
REASONS = {
    twin.R_REQUESTED: "requested", twin.R_IOC: "ioc", twin.R_FOK: "fok", twin.R_POST_ONLY: "post_only",
    twin.R_REDUCE_ONLY: "reduce_only", twin.R_MARGIN: "margin", twin.R_HALTED: "halted", twin.R_INVALID: "invalid",
    twin.R_NO_PRICE: "no_price", twin.R_EXPIRED: "", twin.R_END: "end", twin.R_LIQUIDATION: "liquidation",
    on_tape.R_BOOK_INVALID: "book_invalid", on_tape.R_NO_LIQUIDITY: "no_liquidity",
}  # fmt: skip
ENDS = {twin.CANCELED: "canceled", twin.EXPIRED: "expired", twin.REJECTED: "rejected"}
RISKS = {twin.MAX_DRAWDOWN: "max_drawdown", twin.LIQUIDATION: "liquidation"}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    options: str
    tape: str
    happens: str
    why: str

    @property
    def words(self) -> dict[str, str]:
        """The options by name; those without a value have an empty one."""
        return {name: value for name, _, value in (option.partition("=") for option in self.options.split())}


def _rows() -> list[Any]:
    parameters = []
    for table, text in TABLES.items():
        for line in text.strip("\n").splitlines():
            if line.strip():
                row = Row(*(cell.strip() for cell in line.split("|")))
                parameters.append(pytest.param(row, id=f"{table}: {row.options} {row.tape}: {row.why}"))
    return parameters


# ── What a row is run with ──────────────────────────────────────────────────────────────────────────────────


def _setup(row: Row) -> BookSetup:
    words = row.words
    assert set(words) <= OPTIONS, row.options
    table = [tuple(map(int, part.split(":"))) for part in words.get("table", "").split(",") if part]
    queue_model = on_tape.POWER if "power" in words else on_tape.TRADES_ONLY
    if "log" in words:
        queue_model = on_tape.LOG
    book = BookSettings(
        entry_latency_ns=int(words.get("entry", 0)),
        response_latency_ns=int(words.get("response", 0)),
        latencies=tuple((START_NS + ts, entry, response) for ts, entry, response in table),
        lateness_ns=int(words.get("lateness", 0)),
        uses_feed_latency="nofeed" not in words,
        sample_ns=int(words.get("sample", SELDOM_NS)),
        queue_model=queue_model,
        queue_power=int(words.get("power", 1)),
        stop_trigger=TRIGGERS[words.get("trigger", "last")],
    )
    slippage = Slippage(bps=Decimal(words.get("bps", 0)))
    if "ticks" in words:
        slippage = Slippage(model="ticks", ticks=int(words["ticks"]))
    settings = RunSettings(
        initial_cash=Decimal(words.get("cash", 10_000_000)),
        cash_decimals=0,
        leverage=Decimal(words.get("leverage", 1)),
        margin="isolated" if "isolated" in words else "cross",
        slippage=slippage,
        commission=Commission(maker_bps=Decimal(words.get("maker", 0)), taker_bps=Decimal(words.get("taker", 0))),
        risk=Risk(max_drawdown=Decimal(words["drawdown"])) if "drawdown" in words else Risk(),
        close_at_end="close" in words,
    )
    timeframe_ns = int(words.get("tf", 0))
    watcher = Watcher(
        callbacks=frozenset(EVENTS[name] for name in words.get("watch", "").split(",") if name),
        timeframe_ns=timeframe_ns,
        timer_ns=(int(words.get("timer", 0)),),
    )
    place = Place(offset_ns=int(words.get("offset", 0)), has_book="nobook" not in words)
    builders = ((0, timeframe_ns),) if timeframe_ns else ()
    return BookSetup(settings, book, (INSTRUMENT,), (place,), (watcher,), builders)


OPTIONS = {
    "nobook", "nofeed", "entry", "response", "table", "lateness", "offset", "at", "power", "log", "trigger", "bps",
    "ticks", "maker", "taker", "cash", "leverage", "isolated", "drawdown", "close", "sample", "tf", "timer", "watch",
    "times", "shown", "left",
}  # fmt: skip


class _Reader:
    """Turns the items of a tape into records and requests."""

    def __init__(self, row: Row) -> None:
        self.offset_ns = int(row.words.get("offset", 0))
        self.now_ns = START_NS + int(row.words.get("at", 0)) - STEP_NS
        self.update_id = 0

    def records(self, words: list[str]) -> list[Record]:
        self.now_ns += STEP_NS
        marks = {word for word in words if word.startswith("~") or word == "open"}
        named = dict(word.split("=") for word in words if "=" in word)
        kind, *rest = (word for word in words if word not in marks and "=" not in word)
        exchange_ns = self.now_ns + self.offset_ns
        for mark in marks - {"open"}:
            exchange_ns = 0 if mark == "~-" else exchange_ns - int(mark[1:])
        plain = Record(exchange_ns, self.now_ns, on_tape.CLOCK)
        match kind:
            case "book" | "set":
                levels = self._levels(rest) or [(0, 0, 0)]
                return self._message(plain, kind == "book", levels, named, is_open="open" in marks)
            case "print":
                return [replace(plain, kind=on_tape.PRINT, flags=TAKERS[rest[2]], a=int(rest[0]), b=int(rest[1]))]
            case "quote":
                (_, bid, bid_size), (_, ask, ask_size) = self._levels(rest)
                return [replace(plain, kind=on_tape.QUOTE, a=bid, b=bid_size, c=ask, d=ask_size)]
            case "mark":
                return [replace(plain, kind=on_tape.MARK, a=int(Decimal(rest[0]) * 10**6))]
            case "funding":
                settles_ns = START_NS + int(named["at"])
                rate, mark = int(Decimal(rest[0]) * 10**12), int(named.get("of", 0)) * 10**6
                return [replace(plain, kind=twin.FUNDING, ts_exchange_ns=settles_ns, a=rate, b=mark)]
            case "gap":
                named_instrument = on_tape.ALL_INSTRUMENTS if "all" in rest else 0
                reason = on_tape.DOWNTIME if "downtime" in rest else 1
                return [replace(plain, kind=on_tape.GAP, instrument=named_instrument, a=reason, b=-1)]
            case "clock":
                return [plain]
            case "end":
                return [replace(plain, kind=twin.END)]
        raise ValueError(f"unknown item {words}")

    @staticmethod
    def _levels(words: list[str]) -> list[tuple[int, int, int]]:
        """(flag of the side, price, size) of `99:5 98:7 / 101:4`."""
        slash = words.index("/")
        levels = []
        for index, word in enumerate(words):
            if word != "/":
                price, size = word.split(":")
                levels.append((on_tape.SELL if index > slash else 0, int(price), int(size)))
        return levels

    def _message(
        self,
        plain: Record,
        is_snapshot: bool,
        levels: list[tuple[int, int, int]],
        named: dict[str, str],
        *,
        is_open: bool,
    ) -> list[Record]:
        previous = self.update_id
        update_id = int(named.get("id", previous + 1))
        self.update_id = max(update_id, previous)
        words = {
            "c": update_id,
            "d": int(named.get("prev", -1 if is_snapshot else previous)),
            "e": int(named.get("first", 0 if is_snapshot else previous + 1)),
        }
        flags = on_tape.SNAPSHOT if is_snapshot else 0
        message = [
            replace(plain, kind=on_tape.LEVEL, flags=flags | side, a=price, b=size, **words)
            for side, price, size in levels
        ]
        if not is_open:
            message[-1] = replace(message[-1], flags=message[-1].flags | twin.LAST)
        return message

    def request(self, words: list[str]) -> Request | None:
        """The request that an item makes; None where it is a record."""
        match words[0]:
            case "cancel":
                return Request(kind=twin.CANCEL, order_id=NAMES.index(words[1]) + 1)
            case "cancel_all":
                return Request(kind=twin.CANCEL_ALL)
            case "target":
                return Request(kind=twin.TARGET, lots=int(words[1]))
            case "buy" | "sell":
                return self._order(words)
        return None

    @staticmethod
    def _order(words: list[str]) -> Request:
        side, lots, *rest = words
        fields: dict[str, int] = {"lots": int(lots) if side == "buy" else -int(lots)}
        while rest:
            word = rest.pop(0)
            name, _, value = word.partition("=")
            if name in TYPES:
                fields["type"] = TYPES[name]
                if name != "limit":
                    fields["stop_ticks"] = int(rest.pop(0))
                if name != "stop":
                    fields["limit_ticks"] = int(rest.pop(0))
            elif name in TIFS:
                fields["tif"] = TIFS[name]
            elif name in FLAGS:
                fields["flags"] = fields.get("flags", 0) | FLAGS[name]
            elif name == "gtd":
                fields |= {"tif": twin.GTD, "expire_ns": START_NS + int(value)}
            else:
                raise ValueError(f"unknown word {word}")
        return Request(**fields)


def _said(row: Row, machine_of: MachineOf) -> BookSaid:
    machine = machine_of(_setup(row), lambda _kind, _strategy, _instrument: ())
    reader = _Reader(row)
    for item in [*row.tape.split(";"), "clock"]:
        words = item.split()
        if words[0].startswith("+"):
            reader.now_ns += int(words[0][1:])
            continue
        request = reader.request(words)
        if request is not None:
            machine.submit([request])
        else:
            records = reader.records(words)
            machine.advance(records, 0, len(records))
    return machine.said()


# ── What came of it, in the words of the tables ─────────────────────────────────────────────────────────────


def _happened(row: Row, said: BookSaid) -> list[str]:
    names = {value: name for name, value in EVENTS.items()}
    times = "times" in row.words
    told = _outputs(row, said.outputs)
    for _, start_ns, open_, high, low, close, volume, prints, ts in said.bars:
        bar = f"bar {start_ns - START_NS} {open_} {high} {low} {close} v{volume} n{prints}"
        told.append(f"{bar} @{ts - START_NS}" if times else bar)
    for _, ts, kind, _, _, lots, _ in said.events:
        event = f"!{names[kind]}:{lots}"
        told.append(f"{event} @{ts - START_NS}" if times else event)
    if "left" in row.words:
        told.append(f"left {_left(said.books[0])}")
    return told


def _left(book: tuple[Any, ...]) -> str:
    if book[0] != on_tape.VALID:
        return "invalid"
    bids, asks = (" ".join(f"{price}:{size}" for price, size in side) for side in book[1:3])
    return f"{bids} / {asks}".strip()


def _outputs(row: Row, outputs: list[tuple[int, ...]]) -> list[str]:
    told = []
    book: tuple[int, ...] = ()
    for _, ts, header, *payload in outputs:
        kind, state, reason, detail = (header >> shift & 0xFF for shift in (0, 8, 16, 24))
        words = ""
        if kind == on_tape.OUT_BOOK:
            book = (reason, *payload)
        elif kind == twin.OUT_ORDER and state in ENDS:
            words = f"{NAMES[payload[0] - 1]} {ENDS[state]} {REASONS[reason]}".strip()
        elif kind == twin.OUT_FILL and payload[0] == 0:
            words = f"forced {payload[1]}@{payload[2]}"
        elif kind == twin.OUT_FILL:
            words = _fill(payload, reason, detail, book, is_shown="shown" in row.words)
        elif kind == twin.OUT_FUNDING:
            words = f"funding {payload[2]} pays {payload[3]}"
        elif kind == twin.OUT_RISK:
            words = f"risk {RISKS[reason]}"
        if words:
            told.append(f"@{ts - START_NS} {words}" if "times" in row.words else words)
    return told


def _fill(payload: list[int], liquidity: int, model: int, book: tuple[int, ...], *, is_shown: bool) -> str:
    order_id, lots, price, _, fee, *_ = payload
    confidence, of_order, bid, bid_size, ask, ask_size, update_id, age_ns, ahead, *_ = book
    assert of_order == order_id, "each fill follows its book"
    name, usual_liquidity, usual_confidence = MODELS[model]
    words = f"{NAMES[order_id - 1]} {lots}@{price} {name}"
    if LIQUIDITY[liquidity] != usual_liquidity:
        words += f" {LIQUIDITY[liquidity]}"
    if CONFIDENCE[confidence] != usual_confidence:
        words += f" {CONFIDENCE[confidence]}"
    if model == on_tape.MODEL_QUEUE or ahead:
        words += f" ahead={ahead}"
    if fee:
        words += f" fee={fee}"
    return f"{words} [{bid} {bid_size} {ask} {ask_size} #{update_id} {age_ns}]" if is_shown else words


def _expected(row: Row) -> list[str]:
    return [] if row.happens == "-" else [event.strip() for event in row.happens.split(",")]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("row", _rows())
def test_row(row: Row, machine: str) -> None:
    # An event that is told of without a position is written short where times are not.
    told = [re.sub(r"^(!\w+):0$", r"\1", event) for event in _happened(row, _said(row, MACHINES[machine]))]
    assert told == [re.sub(r"^(!\w+):0$", r"\1", event) for event in _expected(row)], row.why


def test_every_option_has_a_row() -> None:
    used = {name for parameter in _rows() for name in parameter.values[0].words}
    assert used == OPTIONS
