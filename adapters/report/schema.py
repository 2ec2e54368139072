"""What a report says: the one document that pictures, the page and other programs are made of.

Tables are columns (`columns.Column` says how to unpack one). Times are UTC milliseconds. Columns that hold a
kind are places in the list of that kind under `codes`; `symbol` and `strategy` are places in `symbols` and
`run.strategies`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from adapters.report.columns import Column
from engine.figures.metrics import JsonGroups

SCHEMA_VERSION = 2
MARKER_KINDS = ("entry", "exit", "turn")
LEVEL_KINDS = ("stop", "target", "entry")
LEVEL_ENDS = ("open", "filled", "canceled", "expired", "rejected")
SIDES = ("long", "short")
EXIT_REASONS = ("order", "end", "liquidation", "guard")

Tables: TypeAlias = "BarTable | RegimeTable | MarkerTable | LevelTable | SpanTable | EquityTable | BandTable"


class RunPart(msgspec.Struct, frozen=True):
    """Which run it is."""

    id: str
    hash: str
    version: str
    timeframe: str
    timeframe_ms: int
    fill_model: str
    strategies: tuple[str, ...]
    initial_cash: float
    cash_decimals: int
    start_ms: int
    end_ms: int
    ambiguous_bars: int
    note: str = ""
    """What else a reader has to know, such as what the report was made of."""


class BarTable(msgspec.Struct, frozen=True):
    """Candles: `time` of the open; prices exact."""

    time: Column
    open: Column
    high: Column
    low: Column
    close: Column


class RegimeTable(msgspec.Struct, frozen=True):
    """One row each time the regime changes: from the open of the bar at `time` on it is this one."""

    time: Column
    trend: Column
    volatility: Column


class SymbolPart(msgspec.Struct, frozen=True):
    """One symbol with its candles and its regimes."""

    symbol: str
    price_decimals: int
    tick_size: float
    bars: BarTable
    regimes: RegimeTable | None = None


class MarkerTable(msgspec.Struct, frozen=True):
    """One row a fill: what it did to its position.

    `size` is signed, above 0 for a purchase; `pnl` is what the fill realised, before fees; `trade` is the trade's id.
    """

    time: Column
    symbol: Column
    strategy: Column
    kind: Column
    price: Column
    size: Column
    pnl: Column
    fee: Column
    trade: Column


class LevelTable(msgspec.Struct, frozen=True):
    """One row an order with a price of its own, from when it was placed to its end.

    Stops and targets make a position smaller, entries make one. Orders of one kind and price that follow each other
    at once are one row.
    """

    symbol: Column
    strategy: Column
    kind: Column
    price: Column
    start: Column
    end: Column
    ended: Column
    trade: Column


class SpanTable(msgspec.Struct, frozen=True):
    """One row a closed trade, in the order of the exits.

    `pnl` is net of fees and funding; `mae` and `mfe` are the worst and the best floating profit, percentages are of
    the entry's notional; R is unknown where no stop told it.
    """

    trade: Column
    symbol: Column
    strategy: Column
    side: Column
    entry_time: Column
    exit_time: Column
    entry_price: Column
    exit_price: Column
    size: Column
    pnl: Column
    pnl_percent: Column
    fees: Column
    funding: Column
    mae: Column
    mfe: Column
    mae_percent: Column
    mfe_percent: Column
    mae_r: Column
    mfe_r: Column
    bars_held: Column
    exit_reason: Column


class EquityTable(msgspec.Struct, frozen=True):
    """One row a step of the run.

    `time` is the bar's close; `equity` is floating equity, rounded to a hundred-thousandth of its range or finer;
    `drawdown` the fraction below the peak; `exposure` gross notional ÷ equity.
    """

    time: Column
    equity: Column
    drawdown: Column
    exposure: Column


class BandTable(msgspec.Struct, frozen=True):
    """One row for each of `equity`: how far it could lie below and above under other same-bar priorities, in money."""

    below: Column
    above: Column


class Report(msgspec.Struct, frozen=True):
    """A run as a report tells it."""

    schema_version: int
    run: RunPart
    symbols: tuple[SymbolPart, ...]
    codes: dict[str, tuple[str, ...]]
    markers: MarkerTable
    levels: LevelTable
    levels_left_out: int
    trade_spans: SpanTable
    equity: EquityTable
    stats: JsonGroups
    definitions: dict[str, dict[str, str]]
    diagnostics: dict[str, Any] = {}
    """Regimes, drawdowns, excursions, ambiguous fills and the band, as metrics.json says them."""
    band: BandTable | None = None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Report)}


def columns_of(table: Tables) -> dict[str, Column]:
    """The columns of a table by name, as `columns.unpack` takes them."""
    return {name: getattr(table, name) for name in table.__struct_fields__}
