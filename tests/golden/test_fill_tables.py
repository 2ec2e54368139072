"""Runs every row of the fill tables through the core, and through its twin, on whole and on split bars."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from engine.instruments import Instrument
from engine.settings import Commission, Execution, Risk, RunSettings, Slippage
from tests.golden.fill_tables import TABLES
from tests.property import twin
from tests.property.machines import Core, record_rows, request_rows, twin_of
from tests.property.twin import Record, Request

BAR_NS, OPEN_NS = 100, 60  # a bar every 100 ns, of which 60 are traded
FIRST_NS = 10_000  # the open of bar 0
PLENTY = 1_000_000
INSTRUMENT = Instrument(symbol="GOLDEN", tick_size=Decimal(1), lot_size=Decimal(1))
TYPES = {"limit": twin.LIMIT, "stop": twin.STOP, "stop_limit": twin.STOP_LIMIT}
TIFS = {"gtc": twin.GTC, "ioc": twin.IOC, "fok": twin.FOK}
FLAGS = {"post_only": twin.POST_ONLY, "reduce_only": twin.REDUCE_ONLY}
NAMES = "abcdefghij"
LIQUIDITY = {twin.MAKER: "maker", twin.TAKER: "taker"}
MODELS = {0: "none", 1: "bps", 2: "ticks", 3: "atr", 4: "spread", 9: "liquidation"}
REASONS = {
    0: "", twin.R_REQUESTED: "requested", twin.R_IOC: "ioc", twin.R_FOK: "fok", twin.R_POST_ONLY: "post_only",
    twin.R_REDUCE_ONLY: "reduce_only", twin.R_MARGIN: "margin", twin.R_INVALID: "invalid", twin.R_EXPIRED: "",
}  # fmt: skip
ENDS = {twin.CANCELED: "canceled", twin.EXPIRED: "expired", twin.REJECTED: "rejected"}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    options: str
    held: int
    orders: str
    bars: str
    happens: str
    why: str

    @property
    def settings(self) -> RunSettings:
        """The run that the options describe."""
        return _settings(self.options)


def _rows() -> list[Any]:
    parameters = []
    for table, text in TABLES.items():
        for line in text.strip("\n").splitlines():
            if not line.strip():
                continue
            options, held, *rest = (cell.strip() for cell in line.split("|"))
            row = Row(options, int(held), *rest)
            parameters.append(pytest.param(row, id=f"{table}: {row.options} {row.orders}: {row.why}"))
    return parameters


def _settings(options: str) -> RunSettings:
    execution: dict[str, Any] = {}
    slippage: dict[str, Any] = {}
    for option in options.split():
        name, _, value = option.partition("=")
        match name:
            case "touch":
                execution["limit_fill"] = "touch"
            case "trigger" | "next_open":
                execution["stop_fill"] = name
            case "pessimistic" | "adaptive" | "ohlc" | "olhc" | "fifo":
                execution["same_bar_priority"] = name
            case "close_to_close":
                execution["fill_model"] = name
            case "latency":
                execution["latency_bars"] = int(value)
            case "share":
                execution["max_volume_share"] = Decimal(value)
            case "bps":
                slippage["bps"] = Decimal(value)
            case "ticks":
                slippage |= {"model": "ticks", "ticks": int(value)}
            case "atr":
                factor, length = value.split("/")
                slippage |= {"model": "atr", "atr_factor": Decimal(factor), "atr_length": int(length)}
            case "spread_bps":
                slippage |= {"model": "spread", "spread_bps": Decimal(value)}
            case "spread_ticks":
                slippage |= {"model": "spread", "spread_ticks": int(value)}
            case _:
                raise ValueError(f"unknown option {option}")
    return RunSettings(
        initial_cash=Decimal(10_000_000), cash_decimals=0, close_at_end=False, commission=Commission(),
        risk=Risk(), execution=Execution(**execution), slippage=Slippage(**slippage),
    )  # fmt: skip


def _moment(text: str) -> int:
    """`1o`, `1c`, `1+`: the open of bar 1, its close, and a time between it and bar 2."""
    return FIRST_NS + BAR_NS * int(text[:-1]) + {"o": 0, "c": OPEN_NS, "+": OPEN_NS + 20}[text[-1]]


def _name_of(ts: int) -> str:
    bar, rest = divmod(ts - FIRST_NS, BAR_NS)
    return f"{bar}{ {0: 'o', OPEN_NS: 'c'}[rest] }"


def _bar(number: int, text: str) -> Record:
    volume = re.search(r" v(\d+|\?)$", text)
    lots = PLENTY if volume is None else -1 if volume[1] == "?" else int(volume[1])
    prices = text[: volume.start()] if volume else text
    open_, high, low, close = (int(word) for word in prices.split())
    assert low <= min(open_, close) <= max(open_, close) <= high, text
    start = _moment(f"{number}o")
    return Record(start, start + OPEN_NS, twin.BAR, twin.LAST, 0, open_, high, low, close, lots)


def _records(row: Row, *, split: bool) -> list[Record]:
    latency = row.settings.execution.latency_bars
    bars = [_bar(number, "100 100 100 100") for number in range(-latency - 1, 1)]
    bars += [_bar(number, text.strip()) for number, text in enumerate(row.bars.split(";"), 1)]
    if not split:
        return bars
    opens = [replace(bar, ts_receive_ns=bar.ts_exchange_ns, kind=twin.BAR_OPEN, flags=0, b=0, c=0, d=0) for bar in bars]
    return [record for pair in zip(opens, bars, strict=True) for record in pair]


def _requests(row: Row) -> list[Request]:
    step_of_bar_0 = row.settings.execution.latency_bars + 2
    requests = [Request(step=1, lots=row.held)] if row.held else []
    first_id = len(requests) + 1
    for text in row.orders.split(","):
        words = text.split()
        step = step_of_bar_0
        if words[-1].startswith("@"):
            step += int(words.pop()[1:])
        if words[0] == "cancel":
            order_id = first_id + NAMES.index(words[1])
            requests.append(Request(kind=twin.CANCEL, step=step, order_id=order_id))
        else:
            requests.append(replace(_order(words), step=step))
    return sorted(requests, key=lambda request: request.step)


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
        elif name in {"gtd", "expire"}:
            if name == "gtd":
                fields["tif"] = twin.GTD
            if value:
                fields["expire_ns"] = _moment(value)
        else:
            raise ValueError(f"unknown word {word}")
    return Request(**fields)


def _happened(outputs: list[tuple[int, ...]], ambiguous_bars: int, *, held: bool) -> list[str]:
    """Say it in the words of the tables, without the order that opened the held position."""
    said = []
    for _, ts, header, order_id, lots, price, *_ in outputs:
        kind, state, reason, detail = (header >> shift & 0xFF for shift in (0, 8, 16, 24))
        index = order_id - 1 - held
        if index < 0:
            continue
        name = NAMES[index]
        if kind == twin.OUT_ORDER and state in ENDS:
            said.append(f"{_name_of(ts)} {name} {ENDS[state]} {REASONS[reason]}".strip())
        elif kind == twin.OUT_FILL:
            plain = MODELS[detail] == ("bps" if reason == twin.TAKER else "none")
            words = f"{_name_of(ts)} {name} {lots}@{price} {LIQUIDITY[reason]}"
            said.append(words if plain else f"{words} {MODELS[detail]}")
    return said + ([f"ambiguous={ambiguous_bars}"] if ambiguous_bars else [])


def _by_twin(row: Row, *, split: bool) -> list[str]:
    machine = twin_of(row.settings, [INSTRUMENT], 1)
    machine.advance(_records(row, split=split), _requests(row))
    return _happened(machine.outputs, machine.ambiguous_bars, held=row.held != 0)


def _by_core(row: Row, *, split: bool) -> list[str]:
    machine = Core(row.settings, [INSTRUMENT], 1)
    events = record_rows(_records(row, split=split))
    machine.advance(events, 0, len(events), request_rows(_requests(row)))
    said = machine.said(["ambiguous_bars"])
    return _happened(said.outputs, said.figures["ambiguous_bars"], held=row.held != 0)


@pytest.mark.parametrize("split", [False, True], ids=["whole bars", "split bars"])
@pytest.mark.parametrize("machine", [_by_core, _by_twin], ids=["core", "twin"])
@pytest.mark.parametrize("row", _rows())
def test_row(row: Row, machine: Any, split: bool) -> None:
    expected = [] if row.happens == "-" else [event.strip() for event in row.happens.split(",")]
    assert machine(row, split=split) == expected, row.why


def test_every_option_has_a_row() -> None:
    used = {word.partition("=")[0] for parameter in _rows() for word in parameter.values[0].options.split()}
    execution = {"touch", "trigger", "next_open", "adaptive", "ohlc", "olhc", "fifo", "close_to_close"}
    slippage = {"bps", "ticks", "atr", "spread_bps", "spread_ticks"}
    assert used == execution | slippage | {"latency", "share"}
