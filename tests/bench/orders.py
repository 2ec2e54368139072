"""A million limit and stop orders around the price, half of them cancelled: what an order costs in time and memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core import Engine
from engine.kernels import layout
from engine.market import event_stream
from engine.precision import to_units
from engine.reading import view_as
from tests.bench.inputs import SEED, YEAR_BARS, Inputs, load_inputs, settings_of
from tests.bench.measuring import (
    MEGABYTE,
    Contender,
    Section,
    forget_peak,
    in_child,
    interleaved,
    peak_bytes,
    seconds_text,
)

ORDERS_A_YEAR = 1_000_000
_DISTANCE = 0.01  # of the price, one standard deviation
_DELAY_BARS = 1_440  # on average, from an order to its cancel
_SIZE = 0.001


class Flow(msgspec.Struct):
    """Orders and cancels by the step at whose end they are sent; order ids count up from 1."""

    requests: NDArray[Any]
    orders: int
    cancels: int


def order_flow(inputs: Inputs) -> Flow:
    """The same orders for the same bars: Philox, its raw words through integer steps and one table of normals."""
    bars, instrument = inputs.bars, inputs.market.instrument
    count = ORDERS_A_YEAR * len(bars) // YEAR_BARS
    random = np.random.Generator(np.random.Philox(key=np.array([SEED, 77], dtype=np.uint64)))
    at = np.sort(random.integers(0, len(bars) - 1, count))
    close_ticks = to_units(bars.close, instrument.tick_size, "close")[at]
    away = np.maximum(1, np.abs(random.standard_normal(count)) * _DISTANCE * close_ticks).astype(np.int64)
    side = np.where(random.integers(0, 2, count) == 0, -1, 1)
    is_stop = random.integers(0, 2, count) == 1
    # A buy limit and a sell stop stand below the price, a sell limit and a buy stop above it.
    level = np.maximum(1, close_ticks + np.where(is_stop, side, -side) * away)
    orders = np.zeros(count, dtype=layout.REQUEST)
    orders["kind"], orders["tif"] = layout.ORDER_REQUEST, layout.GTC
    orders["type"] = np.where(is_stop, layout.STOP, layout.LIMIT)
    orders["step"] = at + 1
    orders["lots"] = side * max(1, round(_SIZE / float(instrument.lot_size)))
    orders["limit_ticks"], orders["stop_ticks"] = np.where(is_stop, 0, level), np.where(is_stop, level, 0)
    chosen = np.sort(random.permutation(count)[: count // 2])
    cancels = np.zeros(len(chosen), dtype=layout.REQUEST)
    cancels["kind"], cancels["order_id"] = layout.CANCEL_REQUEST, chosen + 1
    cancels["step"] = np.minimum(at[chosen] + 1 + random.integers(1, 2 * _DELAY_BARS, len(chosen)), len(bars))
    both = np.concatenate((orders, cancels))
    return Flow(both[np.argsort(both["step"], kind="stable")], count, len(chosen))


def _engine(inputs: Inputs) -> Engine:
    return Engine(settings_of(), [inputs.market.instrument], 1, samples=1 << 16)


def state_bytes(engine: Engine) -> int:
    """Bytes of all tables of the core, as allocated."""
    return sum(getattr(engine.state, name).nbytes for name in ("core", *layout.TABLES))


def _run(engine: Engine, records: NDArray[Any], flow: Flow) -> Engine:
    engine.advance(records, 0, len(records), flow.requests)
    return engine


def _fates(engine: Engine) -> dict[str, int]:
    """What became of the orders."""
    outputs = engine.outputs()
    orders = view_as(outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    fills = view_as(outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    first = orders[orders["state"] == layout.NEW]
    stops = first["order_id"][first["type"] == layout.STOP]
    limits = first["order_id"][first["type"] == layout.LIMIT]
    filled = fills["order_id"][fills["state"] == layout.FILLED]
    cancelled = orders["state"] == layout.CANCELED
    asked = orders["reason"] == layout.REQUESTED
    return {
        "limits_filled": int(np.isin(filled, limits).sum()),
        "stops_triggered": int(np.isin(filled, stops).sum()),
        "cancelled": int((cancelled & asked).sum()),
        "open_at_end": int((cancelled & (orders["reason"] == layout.BY_END)).sum()),
        "rejected": int((orders["state"] == layout.REJECTED).sum()),
        "outputs": len(outputs),
        "most_slots": int(engine.state.core["slots_used"][0]),
    }


def memory_of_orders(inputs: Inputs) -> dict[str, int]:
    """Growth of this process's peak over the one run, and what the tables take after it; for a process of its own."""
    records, flow = event_stream([inputs.market]).records, order_flow(inputs)
    engine = _engine(inputs)
    engine.advance(records, 0, 0, flow.requests)
    before = forget_peak()
    _run(engine, records, flow)
    return {"growth_bytes": peak_bytes() - before, "state_bytes": state_bytes(engine)}


def orders_section(inputs: Inputs, data: str) -> Section:
    """Time in this process, memory in a fresh one."""
    records, flow = event_stream([inputs.market]).records, order_flow(inputs)
    plain, busy = interleaved(
        3,
        [
            Contender(lambda: _engine(inputs), lambda engine: engine.advance(records, 0, len(records))),
            Contender(lambda: _engine(inputs), lambda engine: _run(engine, records, flow)),
        ],
    )
    fates = _fates(busy.result)
    memory = in_child(["-m", "tests.bench.orders", data, "quick" if inputs.is_quick else "year"])
    rate = flow.orders / busy.median
    rows = [
        ("orders, of which cancelled later", f"{flow.orders:,}", f"{flow.cancels:,}"),
        ("bars without an order", seconds_text(plain.median), f"{len(inputs.bars) / plain.median:,.0f} bars/s"),
        ("with the orders", seconds_text(busy.median), f"{rate:,.0f} orders/s"),
        ("limits filled, stops triggered", f"{fates['limits_filled']:,}", f"{fates['stops_triggered']:,}"),
        ("cancelled when asked, at the end", f"{fates['cancelled']:,}", f"{fates['open_at_end']:,}"),
        ("outputs, slots of orders used", f"{fates['outputs']:,}", f"{fates['most_slots']:,}"),
        ("growth of peak memory, tables", f"{memory['growth_bytes'] / MEGABYTE:,.0f} MB",
         f"{memory['state_bytes'] / MEGABYTE:,.0f} MB"),
    ]  # fmt: skip
    return Section(
        "orders", "3. orders: random limit and stop orders around the price, half of them cancelled later",
        ("", "", ""), rows,
        [
            f"{1e9 * (busy.median - plain.median) / flow.orders:,.0f} ns an order, over what the bars cost",
            f"{fates['outputs'] * 128 / MEGABYTE:,.0f} MB of the growth are outputs, kept until they are read",
        ],
        fates | {
            "orders": flow.orders, "cancels": flow.cancels, "plain_seconds": plain.median, "seconds": busy.median,
            "orders_per_second": rate, "memory_growth_bytes": memory["growth_bytes"],
            "state_bytes": memory["state_bytes"],
        },
    )  # fmt: skip


if __name__ == "__main__":
    given = load_inputs(Path(sys.argv[1]) if sys.argv[1] else None, is_quick=sys.argv[2] == "quick")
    print(json.dumps(memory_of_orders(given)))  # noqa: T201
