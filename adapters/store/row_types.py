"""Rows of the store as they are read: plain data, with the names of strategies and instruments in place of numbers.

Money is in cash units of 10^-`cash_decimals` of the run, prices in ticks and sizes in lots of its instruments.
"""

from __future__ import annotations

import msgspec


class RunRow(msgspec.Struct, frozen=True):
    """A run; `params` and `config` are JSON, `hash` 16 hexadecimal digits once it has ended.

    `outputs_stored` and `samples_stored` count from the run's start; of the samples every `sample_every`th has a row.
    """

    run_id: int
    name: str
    mode: str
    status: str
    strategy_id: str
    params: str
    start_ns: int
    end_ns: int | None
    cash_decimals: int
    initial_cash: int
    config: str
    hash: str | None
    outputs_stored: int
    samples_stored: int
    sample_every: int


class _Event(msgspec.Struct, frozen=True):
    """What the rows that an output made have in common."""

    seq: int
    n: int
    ts_ns: int
    strategy_id: str
    symbol: str


class OrderRow(_Event, frozen=True):
    """One transition of an order; terms are None in those that a fill made."""

    order_id: int
    state: str
    reason: str
    remaining_lots: int
    tag: int
    lots: int | None
    limit_ticks: int | None
    stop_ticks: int | None
    type: str | None
    tif: str | None
    flags: int | None
    expire_ns: int | None


class FillRow(_Event, frozen=True):
    """A fill, what it was made of, and the book just before it (None on bars)."""

    order_id: int
    trade_id: int
    lots: int
    price_ticks: int
    base_ticks: int
    fee: int
    pnl: int
    value: int
    cash: int
    remaining_lots: int
    tag: int
    liquidity: str
    model: str
    confidence: str | None
    book_age_ns: int | None
    book_update_id: int | None
    bid_ticks: int | None
    bid_lots: int | None
    ask_ticks: int | None
    ask_lots: int | None
    ahead_lots: int | None


class TradeRow(msgspec.Struct, frozen=True):
    """A closed trade; `pnl` is net of fees and funding."""

    seq: int
    n: int
    strategy_id: str
    symbol: str
    trade_id: int
    order_id: int
    side: str
    lots_most: int
    lots_entered: int
    entry_ns: int
    exit_ns: int
    entry_value: int
    exit_value: int
    gross_pnl: int
    fees: int
    funding: int
    pnl: int
    mae: int
    mfe: int
    bars_held: int
    exit_reason: str


class PositionRow(_Event, frozen=True):
    """A strategy's position after its last fill; `cost` is the value of what is open."""

    lots: int
    cost: int
    trade_id: int


class FundingRow(_Event, frozen=True):
    """A payment of funding, or 0 of a position that was flat when the rate was known; positive: paid."""

    trade_id: int
    rate_e12: int
    rate_source: str
    mark_micro: int
    lots: int
    payment: int
    cash: int


class RiskRow(msgspec.Struct, frozen=True):
    """Something that a guard or a person did; `strategy_id` None: to the whole account."""

    seq: int
    n: int
    ts_ns: int
    strategy_id: str | None
    symbol: str
    event: str
    value: int
    limit_value: int
    equity: int
    reference: int


class EquityRow(msgspec.Struct, frozen=True):
    """The account at a step; `drawdown` is what it stands below its peak so far, the initial cash included."""

    n: int
    ts_ns: int
    equity: int
    exposure: int
    margin: int
    drawdown: int
