"""The audit of a run as columns: orders, fills with their fees, funding payments, risk events, logged lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.result_files import write_columns
from engine.bars import NS_PER_MS
from engine.kernels import layout
from engine.reading import CONFIDENCES, LIQUIDITY, MODELS, REASONS, RISKS, STATES, TIFS, TYPES, kinds_of, view_as
from engine.replay import RunResult

RATE_SOURCES = ("", "venue", "static")
LOG_COLUMNS = ("ts_ns", "strategy", "symbol", "event", "id", "units", "text")


def _names(codes: NDArray[Any], names: Sequence[str] | dict[int, str]) -> NDArray[np.object_]:
    table = dict(enumerate(names)) if not isinstance(names, dict) else names
    lookup = np.array([table.get(code, f"unknown {code}") for code in range(256)], dtype=object)
    named: NDArray[np.object_] = lookup[np.minimum(codes, 255)]
    return named


def _who(rows: NDArray[Any], result: RunResult) -> dict[str, Any]:
    strategies = np.array([*result.strategies, "account"], dtype=object)
    symbols = np.array([scale.instrument.symbol for scale in result.scales], dtype=object)
    owner = np.minimum(rows["strategy"], len(result.strategies))
    return {
        "seq": rows["seq"],
        "ts_ns": rows["ts_ns"],
        "strategy": strategies[owner],
        "symbol": symbols[rows["instrument"]],
    }


def _per_instrument(rows: NDArray[Any], units: NDArray[Any], sizes: Sequence[float]) -> NDArray[np.float64]:
    amounts: NDArray[np.float64] = units * np.array(sizes)[rows["instrument"]]
    return amounts


def _prices(rows: NDArray[Any], name: str, result: RunResult) -> NDArray[np.float64]:
    return _per_instrument(rows, rows[name], [scale.tick for scale in result.scales])


def _sizes(rows: NDArray[Any], name: str, result: RunResult) -> NDArray[np.float64]:
    return _per_instrument(rows, rows[name], [scale.lot for scale in result.scales])


def order_columns(result: RunResult) -> dict[str, Any]:
    """One row for each change of an order but fills, which have their own file."""
    rows = view_as(result.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    return _who(rows, result) | {
        "order_id": rows["order_id"],
        "state": _names(rows["state"], STATES),
        "reason": _names(rows["reason"], REASONS),
        "type": _names(rows["type"], TYPES),
        "tif": _names(rows["tif"], TIFS),
        "size": _sizes(rows, "lots", result),
        "remaining": _sizes(rows, "remaining_lots", result),
        "limit_price": _prices(rows, "limit_ticks", result),
        "stop_price": _prices(rows, "stop_ticks", result),
        "tag": rows["tag"],
    }


def fill_columns(result: RunResult) -> dict[str, Any]:
    """One row for each fill; money in exact cash units beside the floats of a reader."""
    rows = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    unit = 10.0 ** -result.scales[0].cash_decimals
    return _who(rows, result) | {
        "order_id": rows["order_id"],
        "trade_id": rows["trade_id"],
        "state": _names(rows["state"], STATES),
        "size": _sizes(rows, "lots", result),
        "price": _prices(rows, "price_ticks", result),
        "base_price": _prices(rows, "base_ticks", result),
        "liquidity": _names(rows["reason"], LIQUIDITY),
        "model": _names(rows["detail"], MODELS),
        "fee": rows["fee"] * unit,
        "pnl": rows["pnl"] * unit,
        "position": _sizes(rows, "ledger_lots", result),
        "cash": rows["cash"] * unit,
        "fee_units": rows["fee"],
        "pnl_units": rows["pnl"],
        "cash_units": rows["cash"],
    }


def book_columns(result: RunResult) -> dict[str, Any]:
    """What the book was just before each fill on a tape: a BOOK output stands before its FILL. NaN: there was none.

    `confidence`: how sure it is that the fill would have been; `book_age_ms`: since the book's last message.
    """
    outputs = result.outputs
    places = np.flatnonzero(kinds_of(outputs) == layout.FILL_OUTPUT)
    before = np.ascontiguousarray(outputs[np.maximum(places - 1, 0)])
    rows = before.view(layout.BOOK_VIEW).reshape(-1)
    known = (rows["kind"] == layout.BOOK_OUTPUT) & (places > 0)
    confidences = _names(rows["reason"], CONFIDENCES)
    confidences[~known] = ""

    def figures(values: NDArray[np.float64], is_there: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(known & is_there, values, np.nan)

    return {
        "confidence": confidences,
        "book_age_ms": figures(rows["age_ns"] / NS_PER_MS, rows["age_ns"] >= 0),
        "update_id": np.where(known, rows["update_id"], 0),
        "bid": figures(_prices(rows, "bid", result), rows["bid"] > 0),
        "bid_size": figures(_sizes(rows, "bid_lots", result), rows["bid"] > 0),
        "ask": figures(_prices(rows, "ask", result), rows["ask"] > 0),
        "ask_size": figures(_sizes(rows, "ask_lots", result), rows["ask"] > 0),
        "queue_ahead": figures(_sizes(rows, "ahead", result), rows["detail"] == layout.MODEL_QUEUE),
    }


def _log_parts(result: RunResult) -> list[tuple[NDArray[Any], str, NDArray[Any], NDArray[np.int64], NDArray[Any]]]:
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    funding = view_as(result.outputs, layout.FUNDING_OUTPUT, layout.FUNDING_VIEW)
    risk = view_as(result.outputs, layout.RISK_OUTPUT, layout.RISK_VIEW)
    return [
        (fills, "fee", fills["order_id"], fills["fee"], _names(fills["reason"], LIQUIDITY)),
        (funding, "funding", funding["trade_id"], funding["payment"], _names(funding["reason"], RATE_SOURCES)),
        (risk, "risk", np.zeros(len(risk), dtype=np.int64), risk["value"], _names(risk["reason"], RISKS)),
    ]


def log_columns(result: RunResult, notes: Sequence[str]) -> dict[str, Any]:
    """One row for each fee, funding payment, risk event and log line, by time; amounts in cash units, > 0 paid."""
    unit = 10.0 ** -result.scales[0].cash_decimals
    columns: dict[str, list[Any]] = {name: [] for name in LOG_COLUMNS}
    start = int(result.samples[0, 0]) if len(result.samples) else 0
    for note in notes:
        for name, value in zip(columns, (start, "", "", "note", 0, 0, note), strict=True):
            columns[name].append(np.array([value], dtype=object if isinstance(value, str) else np.int64))
    for rows, event, ids, units, texts in _log_parts(result):
        who = _who(rows, result)
        filler = np.full(len(rows), event, dtype=object)
        values = (who["ts_ns"], who["strategy"], who["symbol"], filler, ids, units, texts)
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    for line in result.log:
        row = (line.ts_ns, line.strategy, line.symbol, line.level, 0, 0, line.message)
        for name, value in zip(columns, row, strict=True):
            columns[name].append(np.array([value], dtype=object if isinstance(value, str) else np.int64))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.argsort(joined["ts_ns"], kind="stable")
    table = {name: values[order] for name, values in joined.items()}
    table["amount"] = table["units"] * unit
    return {name: values.tolist() if values.dtype == object else values for name, values in table.items()}


def write_run_log(folder: Path, result: RunResult, notes: Sequence[str], *, with_book: bool = False) -> list[Path]:
    """Write `orders.parquet`, `fills.parquet` and `run_log.parquet` into a results folder; return their paths.

    `with_book`: each fill with the book that it met, of a run on a tape.
    """
    fills = fill_columns(result) | (book_columns(result) if with_book else {})
    plain = {"orders.parquet": order_columns(result), "fills.parquet": fills}
    paths = []
    for name, columns in plain.items():
        listed = {key: values.tolist() if values.dtype == object else values for key, values in columns.items()}
        paths.append(write_columns(folder / name, listed))
    paths.append(write_columns(folder / "run_log.parquet", log_columns(result, notes)))
    return paths
