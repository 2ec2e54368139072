"""From settings and instruments to the tables of the core: who owns them, how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import CapacityError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.kernels.hashing import HASH_START
from engine.settings import RunSettings

_FILL_MODEL = {"close_to_open": layout.AT_OPEN, "close_to_close": layout.AT_CLOSE}
_PRIORITY = {
    "pessimistic": layout.PESSIMISTIC,
    "adaptive": layout.ADAPTIVE,
    "ohlc": layout.OPEN_HIGH_LOW,
    "olhc": layout.OPEN_LOW_HIGH,
    "fifo": layout.FIFO,
}
_STOP_FILL = {
    "worse_of_open_and_trigger": layout.STOP_WORSE,
    "trigger": layout.STOP_AT_TRIGGER,
    "next_open": layout.STOP_NEXT_OPEN,
}
_SLIPPAGE = {
    "bps": layout.SLIP_BPS,
    "ticks": layout.SLIP_TICKS,
    "atr": layout.SLIP_ATR,
    "spread": layout.SLIP_SPREAD,
}
_QUEUE_MODEL = {"trades_only": layout.TRADES_ONLY, "power": layout.POWER, "log": layout.LOGARITHM}
_STOP_TRIGGER = {"last": layout.BY_LAST, "mark": layout.BY_MARK, "book": layout.BY_BOOK}
_KIND = {"linear": layout.LINEAR, "inverse": layout.INVERSE, "spot": layout.SPOT}


def to_units(value: Decimal, unit: int, what: str) -> int:
    """A decimal as a whole count of 1/unit, rounded half to even; raises CapacityError beyond 2^60."""
    units = int((value * unit).to_integral_value(ROUND_HALF_EVEN))
    if abs(units) > layout.VALUE_LIMIT:
        raise CapacityError(
            f"{what} = {value} does not fit 64-bit integers at this resolution",
            remedy="Lower cash_decimals, or choose a smaller amount.",
        )
    return units


def _e12(value: Decimal | None, what: str) -> int:
    return 0 if value is None else to_units(value, layout.E12, what)


def _bps(value: Decimal, what: str) -> int:
    return to_units(value / 10_000, layout.E12, what)


def _settings_row(settings: RunSettings) -> dict[str, int | float]:
    cash_unit = 10**settings.cash_decimals
    execution, slippage, commission, risk = settings.execution, settings.slippage, settings.commission, settings.risk
    return {
        "initial_cash": to_units(settings.initial_cash, cash_unit, "initial_cash"),
        "fill_model": _FILL_MODEL[execution.fill_model],
        "priority": _PRIORITY[execution.same_bar_priority],
        "limit_touch": int(execution.limit_fill == "touch"),
        "stop_fill": _STOP_FILL[execution.stop_fill],
        "latency_bars": execution.latency_bars,
        "max_volume_share_e12": _e12(execution.max_volume_share, "max_volume_share"),
        "leverage_e12": _e12(settings.leverage, "leverage"),
        "is_isolated": int(settings.margin == "isolated"),
        "slippage": _SLIPPAGE[slippage.model],
        "slippage_e12": _bps(slippage.bps, "slippage.bps"),
        "slippage_ticks": slippage.ticks,
        "atr_length": slippage.atr_length,
        "atr_factor": float(slippage.atr_factor),
        "spread_e12": _bps(slippage.spread_bps, "slippage.spread_bps"),
        "spread_ticks": slippage.spread_ticks,
        "fee_per_order": to_units(commission.per_order, cash_unit, "commission.per_order"),
        "fee_per_fill": to_units(commission.per_fill, cash_unit, "commission.per_fill"),
        "liquidation_fee_e12": _bps(settings.liquidation_fee_bps, "liquidation_fee_bps"),
        "max_drawdown_e12": _e12(risk.max_drawdown, "risk.max_drawdown"),
        "strategy_max_drawdown_e12": _e12(risk.strategy_max_drawdown, "risk.strategy_max_drawdown"),
        "daily_loss_e12": _e12(risk.daily_loss_limit, "risk.daily_loss_limit"),
        "max_leverage_e12": _e12(risk.max_leverage, "risk.max_leverage"),
        "max_open_positions": risk.max_open_positions or 0,
        "is_flatten_on_trip": int(risk.on_trip == "flatten"),
        "is_close_at_end": int(settings.close_at_end),
        "lateness_ns": settings.book.lateness_ms * layout.MICRO,
        "uses_feed_latency": int(settings.book.feed_latency),
        "sample_ns": settings.book.sample_ms * layout.MICRO,
        "queue_model": _QUEUE_MODEL[settings.book.queue_model],
        "queue_power": settings.book.queue_power,
        "stop_trigger": _STOP_TRIGGER[settings.book.stop_trigger],
        "is_strict": int(settings.book.strict),
    }


def _instrument_rows(
    settings: RunSettings, instruments: Sequence[Instrument]
) -> tuple[list[dict[str, int]], list[tuple[int, int, int]]]:
    cash_unit = 10**settings.cash_decimals
    rows: list[dict[str, int]] = []
    tiers: list[tuple[int, int, int]] = []
    for instrument in instruments:
        factor = instrument.value_factor(settings.cash_decimals)
        own = [
            (
                to_units(tier.notional_floor, cash_unit, f"{instrument.symbol}: tier floor"),
                _e12(tier.maintenance_rate, f"{instrument.symbol}: maintenance_rate"),
                to_units(tier.maintenance_amount, cash_unit, f"{instrument.symbol}: maintenance_amount"),
            )
            for tier in instrument.margin_tiers()
        ]
        most_ticks = layout.UNLIMITED if instrument.kind == "inverse" else layout.VALUE_LIMIT // factor
        rows.append(
            {
                "kind": _KIND[instrument.kind],
                "factor": factor,
                "minimum_notional": to_units(instrument.minimum_notional, cash_unit, f"{instrument.symbol}: minimum"),
                "tier_start": len(tiers),
                "tier_count": len(own),
                "maker_e12": _bps(settings.commission.maker_bps, "commission.maker_bps"),
                "taker_e12": _bps(settings.commission.taker_bps, "commission.taker_bps"),
                "most_ticks": most_ticks,
                "safe_ticks": most_ticks,
                "funding_ts_ns": -(2**63),
                "volume_left": layout.UNLIMITED,
                "venue_due_ns": layout.NEVER,
                "next_hour_ns": layout.NEVER,
            }
        )
        tiers.extend(own)
    return rows, tiers


def _filled(dtype: np.dtype[Any], rows: Sequence[dict[str, Any]]) -> NDArray[Any]:
    table = np.zeros(len(rows), dtype=dtype)
    for index, row in enumerate(rows):
        for name, value in row.items():
            table[name][index] = value
    return table


class State(msgspec.Struct):
    """The tables of one run, N instruments × M strategies. `core` holds their addresses; `bind` writes them."""

    core: NDArray[Any]  # (1,) CORE
    instruments: NDArray[Any]  # (N,) INSTRUMENT
    strategies: NDArray[Any]  # (M,) STRATEGY
    ledgers: NDArray[Any]  # (M·N,) LEDGER, strategy · N + instrument
    tiers: NDArray[Any]  # (T,) TIER, those of one instrument together, ascending
    orders: NDArray[Any]  # (C,) ORDER; C is a power of two
    nodes: NDArray[Any]  # (3·C,) NODE, slot · 3 + heap
    roots: NDArray[Any]  # (N·ROOTS,) PLACE
    sets: NDArray[Any]  # (M·SETS,) PLACE
    table: NDArray[Any]  # (4·C,) PLACE, open addressing: order id → slot
    outputs: NDArray[np.int64]  # (·, 16)
    samples: NDArray[np.int64]  # (·, 4) ts, equity, exposure, margin at each step end
    # Of a tape; one empty row each where bars are run.
    books: NDArray[Any]  # (N,) BOOK
    cells: NDArray[Any]  # (2·N·WINDOW,) CELL
    firsts: NDArray[Any]  # (2·N·WINDOW,) PLACE, beside the cells
    fars: NDArray[Any]  # (·,) FAR, those of one book together
    builders: NDArray[Any]  # (B,) BUILDER, those of one instrument together
    reports: NDArray[Any]  # (·,) REPORT, a ring
    latencies: NDArray[Any]  # (L,) LATENCY, ascending
    bar_rows: NDArray[Any]  # (·,) BAR_ROW
    asked: NDArray[Any]  # (·,) REQUEST

    def bind(self) -> None:
        """Write the tables' addresses and counts into `core`; due after any of them was replaced."""
        core = self.core
        for name in layout.TABLES:
            table = getattr(self, name)
            assert table.flags.c_contiguous
            core[name] = table.ctypes.data
        core["instrument_count"] = len(self.instruments)
        core["strategy_count"] = len(self.strategies)
        core["ledger_count"] = len(self.ledgers)
        core["tier_count"] = len(self.tiers)
        core["order_capacity"] = len(self.orders)
        core["table_size"] = len(self.table)
        core["output_capacity"] = len(self.outputs)
        core["sample_capacity"] = len(self.samples)
        core["cell_count"], core["far_count"] = len(self.cells), len(self.fars)
        core["builder_count"] = len(self.builders) if core["is_book"][0] else 0
        core["report_capacity"], core["latency_count"] = len(self.reports), len(self.latencies)
        core["bar_row_capacity"], core["asked_capacity"] = len(self.bar_rows), len(self.asked)
        core["address"] = core.ctypes.data

    def grow_orders(self, needed: int) -> None:
        """Make slots for at least `needed` working orders."""
        capacity = len(self.orders)
        while capacity < needed:
            capacity *= 2
        self.orders = _grown(self.orders, capacity)
        self.nodes = _grown(self.nodes, 3 * capacity)
        self.table = _places(4 * capacity)
        places, mask = self.table["slot"], 4 * capacity - 1
        ids = self.orders["id"]
        for slot in np.nonzero(ids)[0][np.argsort(ids[np.nonzero(ids)[0]])]:
            place = int(ids[slot]) & mask
            while places[place] >= 0:
                place = (place + 1) & mask
            places[place] = slot
        self.bind()

    def grow_outputs(self, needed: int) -> None:
        """Make room for at least `needed` outputs; what stood there must have been read."""
        capacity = len(self.outputs)
        while capacity < needed:
            capacity *= 2
        self.outputs = np.empty((capacity, layout.OUTPUT_WORDS), dtype=np.int64)
        self.bind()


_OUTPUTS_LEAST = 1 << 14
_TAPE_TABLES = {
    "cells": layout.CELL,
    "firsts": layout.PLACE,
    "fars": layout.FAR,
    "builders": layout.BUILDER,
    "reports": layout.REPORT,
    "latencies": layout.LATENCY,
    "bar_rows": layout.BAR_ROW,
    "asked": layout.REQUEST,
}


def _places(count: int) -> NDArray[Any]:
    table = np.empty(count, dtype=layout.PLACE)
    table["slot"] = -1
    return table


def _grown(table: NDArray[Any], size: int) -> NDArray[Any]:
    larger = np.zeros(size, dtype=table.dtype)
    larger[: len(table)] = table
    return larger


def new_state(
    settings: RunSettings, instruments: Sequence[Instrument], strategies: int, *, orders: int = 256, samples: int = 4096
) -> State:
    """Fresh tables for one run; raises CapacityError where money or sizes would not fit."""
    instrument_rows, tiers = _instrument_rows(settings, instruments)
    row = _settings_row(settings)
    cash = row["initial_cash"]
    figures = {
        "hash": HASH_START,
        "cash": cash,
        "equity_last": cash,
        "equity_peak": cash,
        "day": -(2**62),
        "day_start_equity": cash,
        "free_slot": -1,
        "next_due_ns": layout.NEVER,
        "next_sample_ns": layout.NEVER,
        "last_arrival_ns": -layout.NEVER,
        "last_report_ns": -layout.NEVER,
    }
    ledgers = np.zeros(strategies * len(instruments), dtype=layout.LEDGER)
    ledgers["first_order"] = ledgers["last_order"] = -1
    strategy_table = np.zeros(strategies, dtype=layout.STRATEGY)
    strategy_table["equity_peak"] = cash
    state = State(
        core=_filled(layout.CORE, [row | figures]),
        instruments=_filled(layout.INSTRUMENT, instrument_rows),
        strategies=strategy_table,
        ledgers=ledgers,
        tiers=np.array(tiers, dtype=layout.TIER),
        orders=np.zeros(orders, dtype=layout.ORDER),
        nodes=np.zeros(3 * orders, dtype=layout.NODE),
        roots=_places(len(instruments) * layout.ROOTS),
        sets=_places(strategies * layout.SETS),
        table=_places(4 * orders),
        outputs=np.empty((16 * (orders + 2 * len(ledgers)) + _OUTPUTS_LEAST, layout.OUTPUT_WORDS), dtype=np.int64),
        samples=np.empty((samples, 4), dtype=np.int64),
        books=np.zeros(len(instruments), dtype=layout.BOOK),
        **{name: np.zeros(1, dtype=dtype) for name, dtype in _TAPE_TABLES.items()},
    )
    state.bind()
    return state
