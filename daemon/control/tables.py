"""What `tapewright ctl` shows on a terminal: the status and tables of a session, and the lines of its stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.control.model import OrderStatus, PositionStatus, Status, StrategyStatus
from daemon.control.stream import StreamItem, StreamKind

_PIPE_WIDTH = 400
_LEFT = frozenset({"symbol", "book", "last message", "strategy", "state", "terms", "connection", "queue", "id",
                   "params", "symbols", "positions", "why"})  # fmt: skip


def print_status(status: Status) -> None:
    """State and account, then markets, connections and queues."""
    console = _console()
    age = _duration((status.now_ns - status.started_ns) / 1e9)
    console.print(
        f"{status.session}: {status.mode}, {status.state} for {age} (process {status.pid}, {status.version})"
    )  # fmt: skip
    console.print(f"  config {status.config_source}")
    if status.halted:
        console.print(f"  HALTED: {status.halted}. End it with: tapewright ctl resume")
    console.print(
        f"  equity {_figure(status.equity)}, cash {_figure(status.cash)}, exposure {_figure(status.exposure)},"
        f" drawdown {status.drawdown:.2%}"
    )
    console.print(f"  record {status.seq:,}, stored up to {status.acknowledged_seq:,}, hash {status.hash}")
    _print_table(
        console,
        ("symbol", "book", "bid", "ask", "last", "mark", "age", "last message"),
        (
            (
                each.symbol, each.book, _figure(each.bid), _figure(each.ask), _figure(each.last), _figure(each.mark),
                _age(each.age_ms),
                ", ".join(f"{name} {_age(age_ms)}" for name, age_ms in each.last_message_ms.items()),
            )
            for each in status.symbols
        ),
    )  # fmt: skip
    _print_table(
        console,
        ("connection", "state", "for", "connects", "messages", "why"),
        (
            (
                each.name, each.state, _duration((status.now_ns - each.since_ns) / 1e9), f"{each.connects_count:,}",
                f"{each.messages_count:,}", each.why,
            )
            for each in status.connections
        ),
    )  # fmt: skip
    _print_table(
        console,
        ("queue", "waiting", "bound", "dropped"),
        ((each.name, f"{each.size:,}", f"{each.size_max:,}", f"{each.dropped_count:,}") for each in status.queues),
    )


def print_strategies(strategies: Sequence[StrategyStatus]) -> None:
    """One row a strategy; below, why one does not run."""
    console = _console()
    _print_table(
        console,
        ("id", "state", "symbols", "params", "positions", "orders", "realised", "fees"),
        (
            (
                each.id, each.state, ", ".join(each.symbols), _pairs(each.params), _pairs(each.positions),
                f"{each.orders_count:,}", _figure(each.realised), _figure(each.fees),
            )
            for each in strategies
        ),
        nothing="No strategies.",
    )  # fmt: skip
    for each in strategies:
        if each.why:
            console.print(f"{each.id} is {each.state}: {each.why}")


def print_orders(orders: Sequence[OrderStatus]) -> None:
    """One row an order."""
    _print_table(
        _console(),
        ("order", "strategy", "symbol", "terms", "state", "size", "filled", "price", "time"),
        (
            (
                str(each.id), each.strategy, each.symbol, f"{each.side} {each.type} {each.time_in_force}", each.state,
                _figure(each.size), _figure(each.filled), _prices(each), _time(each.created_ns),
            )
            for each in orders
        ),
        nothing="No order works.",
    )  # fmt: skip


def print_positions(positions: Sequence[PositionStatus]) -> None:
    """One row a position."""
    _print_table(
        _console(),
        ("strategy", "symbol", "size", "entry", "mark", "unrealised", "realised"),
        (
            (
                each.strategy, each.symbol, _figure(each.size), _figure(each.entry_price), _figure(each.mark),
                _figure(each.unrealised), _figure(each.realised),
            )
            for each in positions
        ),
        nothing="No positions.",
    )  # fmt: skip


def item_line(item: StreamItem) -> str:
    """One item of the stream, on one line."""
    if item.kind is StreamKind.DROPPED:
        return f"... {item.value:,} older items were dropped: this terminal reads too slowly"
    return f"{item.kind.value:<8} {item.key:<12} {_shown(item.value)}".rstrip()


def _shown(value: Any) -> str:
    match value:
        case dict():
            return _pairs(value)
        case str():
            return value.replace("\n", " | ")
        case _:
            return msgspec.json.encode(value).decode()


def _console() -> Console:
    """A console that wraps tables on a terminal only: into a pipe they are as wide as they need."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def _print_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str = ""
) -> None:  # fmt: skip
    """A table, or `nothing` where it has no rows."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for name in columns:
        if name in _LEFT:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if table.row_count:
        console.print(table)
    elif nothing:
        console.print(nothing)


def _figure(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:,f}"


def _prices(order: OrderStatus) -> str:
    if order.stop_price is None:
        return _figure(order.price)
    stop = f"stop {_figure(order.stop_price)}"
    return stop if order.price is None else f"{stop} limit {_figure(order.price)}"


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _age(age_ms: int | None) -> str:
    return "-" if age_ms is None else _duration(age_ms / 1000)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _time(ts_ns: int) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(ts_ns // 10**9))
