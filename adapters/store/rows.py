"""Outputs of the engine as rows of the store's tables: whole columns at a time, no look at what is stored already.

The number of an output since the run's start is its row's identity, so the same outputs always give the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.kernels import layout
from engine.reading import CONFIDENCES, LIQUIDITY, MODELS, REASONS, RISKS, STATES, TIFS, TYPES, kinds_of

Column = list[Any]
_EVENT = ("run_id", "seq", "n", "ts_ns", "strategy", "instrument")
COLUMNS: dict[str, tuple[str, ...]] = {
    "strategy_orders": (
        *_EVENT, "order_id", "state", "reason", "remaining_lots", "tag", "lots", "limit_ticks", "stop_ticks", "type",
        "tif", "flags", "expire_ns",
    ),
    "strategy_fills": (
        *_EVENT, "order_id", "trade_id", "lots", "price_ticks", "base_ticks", "fee", "pnl", "value", "cash",
        "remaining_lots", "tag", "liquidity", "model", "confidence", "book_age_ns", "book_update_id", "bid_ticks",
        "bid_lots", "ask_ticks", "ask_lots", "ahead_lots",
    ),
    "positions": (*_EVENT, "lots", "cost", "trade_id"),
    "strategy_trades": (
        "run_id", "seq", "n", "exit_ns", "strategy", "instrument", "trade_id", "order_id", "side", "lots_most",
        "lots_entered", "entry_ns", "entry_value", "exit_value", "gross_pnl", "fees", "funding", "mae", "mfe",
        "bars_held", "exit_reason",
    ),
    "funding_payments": (
        *_EVENT, "trade_id", "rate_e12", "rate_source", "mark_micro", "lots", "payment", "cash",
    ),
    "risk_events": (*_EVENT, "event", "value", "limit_value", "equity", "reference"),
    "equity_curve": ("run_id", "n", "ts_ns", "equity", "exposure", "margin"),
}  # fmt: skip
"""What is written of each table, in the order of a row's values."""
NULLABLE = {
    "strategy_orders": frozenset(COLUMNS["strategy_orders"][11:]),
    "strategy_fills": frozenset(COLUMNS["strategy_fills"][19:]),
    "risk_events": frozenset(("strategy",)),
}
"""Columns that may hold None."""
EVENT_TABLES = tuple(table for table in COLUMNS if table != "equity_curve")
"""Those whose rows are outputs."""

_UNKNOWN = "unknown"  # of orders that were refused for it
_BOOK_FIELDS = ("update_id", "bid", "bid_lots", "ask", "ask_lots", "ahead")


def _names(names: Sequence[str]) -> NDArray[Any]:
    """Names by their codes; one more stands for every code beyond them."""
    return np.array([*names, _UNKNOWN], dtype=object)


_STATE_NAMES, _REASON_NAMES, _LIQUIDITY_NAMES = _names(STATES), _names(REASONS), _names(LIQUIDITY)
_TYPE_NAMES, _TIF_NAMES = _names((_UNKNOWN, *TYPES[1:])), _names((_UNKNOWN, *TIFS[1:]))
_MODEL_NAMES = _names([MODELS.get(code, _UNKNOWN) for code in range(max(MODELS) + 1)])
_CONFIDENCE_NAMES, _RISK_NAMES, _RATE_NAMES = _names(CONFIDENCES), _names(RISKS), _names(("", "venue", "static"))
_EXITS = {0: "order", layout.BY_HALT: "guard", layout.BY_END: "end", layout.BY_LIQUIDATION: "liquidation"}
_EXIT_NAMES = _names([_EXITS.get(code, _UNKNOWN) for code in range(max(_EXITS) + 1)])


class TableRows(msgspec.Struct, frozen=True):
    """Rows of one table, by column as `COLUMNS` names them."""

    table: str
    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The values of each row."""
        return zip(*self.columns, strict=True)


def is_book_last(outputs: NDArray[np.int64]) -> bool:
    """Whether the fill that the last output speaks of is still to come."""
    return len(outputs) > 0 and int(outputs[-1, 2]) & 0xFF == layout.BOOK_OUTPUT


def output_rows(
    run_id: int, first_n: int, outputs: NDArray[np.int64], tables: Collection[str] = EVENT_TABLES
) -> list[TableRows]:  # fmt: skip
    """Rows of outputs (n, 16), the first of which has the number `first_n`, for all tables or for these.

    Tables without rows are left out. The book just before a fill stands before it in `outputs`, or the fill's row goes
    without.
    """
    kinds = kinds_of(outputs)
    made = []
    if "strategy_orders" in tables and (_is_any(kinds, layout.ORDER_OUTPUT) or _is_any(kinds, layout.FILL_OUTPUT)):
        made.append(_orders(run_id, first_n, outputs, kinds))
    if "strategy_fills" in tables and _is_any(kinds, layout.FILL_OUTPUT):
        places = _places(kinds, layout.FILL_OUTPUT)
        fills = _viewed(outputs, places, layout.FILL_VIEW)
        event = _event_columns(run_id, first_n + places, fills)
        made.append(_fills(event, fills, *_books_before(outputs, kinds, places)))
    for table, kind, view, rows_of in (
        ("positions", layout.FILL_OUTPUT, layout.FILL_VIEW, _positions),
        ("strategy_trades", layout.TRADE_OUTPUT, layout.TRADE_VIEW, _trades),
        ("funding_payments", layout.FUNDING_OUTPUT, layout.FUNDING_VIEW, _payments),
        ("risk_events", layout.RISK_OUTPUT, layout.RISK_VIEW, _risks),
    ):
        if table in tables and _is_any(kinds, kind):
            places = _places(kinds, kind)
            found = _viewed(outputs, places, view)
            made.append(rows_of(_event_columns(run_id, first_n + places, found), found))
    return [table for table in made if len(table)]


def sample_rows(run_id: int, first_n: int, samples: NDArray[np.int64], every: int = 1) -> TableRows:
    """Rows of samples (n, 4), the first of which has the number `first_n`: those whose number `every` divides."""
    start = -first_n % every
    chosen = samples[start::every]
    numbers = range(first_n + start, first_n + len(samples), every)
    return TableRows(
        "equity_curve", ([run_id] * len(chosen), list(numbers), *(chosen[:, word].tolist() for word in range(4)))
    )


def _is_any(kinds: NDArray[np.int64], kind: int) -> bool:
    """Whether there is an output of a kind."""
    return bool((kinds == kind).any())


def _places(kinds: NDArray[np.int64], kind: int) -> NDArray[np.int64]:
    return np.nonzero(kinds == kind)[0]


def _viewed(outputs: NDArray[np.int64], places: NDArray[np.int64], view: np.dtype[np.void]) -> NDArray[Any]:
    return np.ascontiguousarray(outputs[places]).view(view).reshape(-1)


def _named(names: NDArray[Any], codes: NDArray[Any]) -> Column:
    found: Column = names[np.minimum(codes, len(names) - 1).astype(np.intp)].tolist()
    return found


def _event_columns(run_id: int, numbers: NDArray[np.int64], found: NDArray[Any]) -> tuple[Column, ...]:
    return (
        [run_id] * len(found), found["seq"].tolist(), numbers.tolist(), found["ts_ns"].tolist(),
        found["strategy"].tolist(), found["instrument"].tolist(),
    )  # fmt: skip


def _plain(found: NDArray[Any], *names: str) -> tuple[Column, ...]:
    return tuple(found[name].tolist() for name in names)


def _orders(run_id: int, first_n: int, outputs: NDArray[np.int64], kinds: NDArray[np.int64]) -> TableRows:
    """Transitions as they happened: those that an ORDER output tells, and those that a fill of an order makes."""
    is_told = kinds == layout.ORDER_OUTPUT
    places = np.nonzero(is_told | ((kinds == layout.FILL_OUTPUT) & (outputs[:, 3] > 0)))[0]
    orders, fills = (_viewed(outputs, places, view) for view in (layout.ORDER_VIEW, layout.FILL_VIEW))
    told = is_told[places]
    terms = (
        orders["lots"].tolist(), orders["limit_ticks"].tolist(), orders["stop_ticks"].tolist(),
        _named(_TYPE_NAMES, np.where(told, orders["type"], 0)), _named(_TIF_NAMES, np.where(told, orders["tif"], 0)),
        orders["flags"].tolist(), orders["expire_ns"].tolist(),
    )  # fmt: skip
    return TableRows(
        "strategy_orders",
        (
            *_event_columns(run_id, first_n + places, orders),
            orders["order_id"].tolist(),
            _named(_STATE_NAMES, orders["state"]),
            _named(_REASON_NAMES, np.where(told, orders["reason"], 0)),
            np.where(told, orders["remaining_lots"], fills["remaining_lots"]).tolist(),
            np.where(told, orders["tag"], fills["tag"]).tolist(),
            *(_where(told, column) for column in terms),
        ),
    )


def _where(told: NDArray[np.bool_], column: Column) -> Column:
    """The values of a column where they are told, None elsewhere."""
    if told.all():
        return column
    values = np.full(len(column), None, dtype=object)
    values[told] = np.array(column, dtype=object)[told]
    found: Column = values.tolist()
    return found


def _books_before(
    outputs: NDArray[np.int64], kinds: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The output before each fill seen as a book, and which of them are."""
    before = np.maximum(places - 1, 0)
    is_there = (kinds[before] == layout.BOOK_OUTPUT) & (outputs[before, 3] == outputs[places, 3])
    return _viewed(outputs, before, layout.BOOK_VIEW), is_there


def _fills(
    event: tuple[Column, ...], fills: NDArray[Any], books: NDArray[Any], has_book: NDArray[np.bool_]
) -> TableRows:  # fmt: skip
    names = (
        "order_id", "trade_id", "lots", "price_ticks", "base_ticks", "fee", "pnl", "value", "cash", "remaining_lots",
        "tag",
    )  # fmt: skip
    return TableRows(
        "strategy_fills",
        (
            *event, *_plain(fills, *names),
            _named(_LIQUIDITY_NAMES, fills["reason"]),
            _named(_MODEL_NAMES, fills["detail"]),
            _where(has_book, _named(_CONFIDENCE_NAMES, np.where(has_book, books["reason"], 0))),
            _where(has_book & (books["age_ns"] >= 0), books["age_ns"].tolist()),
            *(_where(has_book, column) for column in _plain(books, *_BOOK_FIELDS)),
        ),
    )  # fmt: skip


def _positions(event: tuple[Column, ...], fills: NDArray[Any]) -> TableRows:
    return TableRows("positions", (*event, *_plain(fills, "ledger_lots", "ledger_cost", "trade_id")))


def _trades(event: tuple[Column, ...], trades: NDArray[Any]) -> TableRows:
    sides = np.where(trades["lots_most"] > 0, "long", "short").tolist()
    return TableRows(
        "strategy_trades",
        (
            *event, *_plain(trades, "trade_id", "order_id"), sides, np.abs(trades["lots_most"]).tolist(),
            *_plain(trades, "lots_entered", "entry_ts_ns", "entry_value", "exit_value", "gross", "fees", "funding",
                    "mae", "mfe", "bars_held"),
            _named(_EXIT_NAMES, trades["reason"]),
        ),
    )  # fmt: skip


def _payments(event: tuple[Column, ...], payments: NDArray[Any]) -> TableRows:
    return TableRows(
        "funding_payments",
        (
            *event, *_plain(payments, "trade_id", "rate_e12"), _named(_RATE_NAMES, payments["reason"]),
            *_plain(payments, "mark_micro", "lots", "payment", "cash"),
        ),
    )  # fmt: skip


def _risks(event: tuple[Column, ...], risks: NDArray[Any]) -> TableRows:
    *front, strategies, instruments = event
    owners = [None if strategy == layout.ACCOUNT_WIDE else strategy for strategy in strategies]
    return TableRows(
        "risk_events",
        (
            *front, owners, instruments, _named(_RISK_NAMES, risks["reason"]),
            *_plain(risks, "value", "limit", "equity", "reference"),
        ),
    )  # fmt: skip
