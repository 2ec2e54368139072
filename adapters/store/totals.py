"""What a stored run comes to: counts and sums that the database makes, so that no row has to be brought here."""

from __future__ import annotations

import msgspec

from adapters.store.reader import StoreReader

_ORDERS = """SELECT state, count(*) FROM (SELECT state, max(n) FROM strategy_orders WHERE run_id = ? GROUP BY order_id)
    GROUP BY state ORDER BY state"""  # beside a maximum, SQLite gives the other columns of the row that has it
_FILLS = """SELECT model, liquidity, count(*), sum(fee) FROM strategy_fills WHERE run_id = ?
    GROUP BY model, liquidity ORDER BY model, liquidity"""
_MONEY = """SELECT coalesce(sum(fee), 0), coalesce(sum(pnl), 0), count(*) FROM strategy_fills WHERE run_id = ?"""
_TRADES = """SELECT s.strategy_id, count(*), sum(t.pnl > 0), sum(t.pnl), sum(t.fees), sum(t.funding)
    FROM strategy_trades t JOIN run_strategies s USING (run_id, strategy) WHERE t.run_id = ?
    GROUP BY t.strategy ORDER BY t.strategy"""
_FUNDING = """SELECT count(*), coalesce(sum(payment), 0) FROM funding_payments WHERE run_id = ?"""
_RISKS = """SELECT event, count(*) FROM risk_events WHERE run_id = ? GROUP BY event ORDER BY event"""
_ERRORS = """SELECT kind, count(*) FROM errors WHERE run_id = ? GROUP BY kind ORDER BY kind"""
_EQUITY = """SELECT count(*), min(equity), max(equity), coalesce(max(peak - equity), 0) FROM (
        SELECT t.equity, max(r.initial_cash, max(t.equity) OVER (ORDER BY t.n)) AS peak
        FROM equity_curve t JOIN strategy_runs r USING (run_id) WHERE t.run_id = ?)"""
_LAST = """SELECT ts_ns, equity, exposure, margin FROM equity_curve WHERE run_id = ? ORDER BY n DESC LIMIT 1"""
_EVENT_TABLES = ("strategy_orders", "strategy_fills", "strategy_trades", "funding_payments", "risk_events")


class FillTotals(msgspec.Struct, frozen=True):
    """Fills of one model and side of liquidity."""

    model: str
    liquidity: str
    count: int
    fees: int


class TradeTotals(msgspec.Struct, frozen=True):
    """Closed trades of a strategy; `pnl` is net of fees and funding."""

    strategy_id: str
    count: int
    wins: int
    pnl: int
    fees: int
    funding: int


class EquityTotals(msgspec.Struct, frozen=True):
    """The account as its stored samples tell it; drawdown below the peak so far, the initial cash included."""

    rows: int
    ts_ns: int
    equity: int
    exposure: int
    margin: int
    equity_least: int
    equity_most: int
    drawdown_most: int


class RunTotals(msgspec.Struct, frozen=True):
    """Sums of a run in cash units; `orders` by the state that each reached last, `last_seq` of the rows of events."""

    orders: dict[str, int]
    fills: list[FillTotals]
    fill_count: int
    fees: int
    realised: int
    trades: list[TradeTotals]
    funding_count: int
    funding: int
    risks: dict[str, int]
    errors: dict[str, int]
    equity: EquityTotals | None
    last_seq: int | None


def totals_of(reader: StoreReader, run_id: int) -> RunTotals:
    """Add a run up."""
    run = (run_id,)
    ((fees, realised, fill_count),) = reader.stream(_MONEY, run)
    ((funding_count, funding),) = reader.stream(_FUNDING, run)
    return RunTotals(
        orders=dict(reader.stream(_ORDERS, run)),
        fills=[FillTotals(*row) for row in reader.stream(_FILLS, run)],
        fill_count=fill_count, fees=fees, realised=realised,
        trades=[TradeTotals(*row) for row in reader.stream(_TRADES, run)],
        funding_count=funding_count, funding=funding,
        risks=dict(reader.stream(_RISKS, run)), errors=dict(reader.stream(_ERRORS, run)),
        equity=_equity(reader, run_id), last_seq=_last_seq(reader, run_id),
    )  # fmt: skip


def _equity(reader: StoreReader, run_id: int) -> EquityTotals | None:
    last = list(reader.stream(_LAST, (run_id,)))
    if not last:
        return None
    ((ts_ns, equity, exposure, margin),) = last
    ((rows, least, most, drawdown),) = reader.stream(_EQUITY, (run_id,))
    return EquityTotals(rows, ts_ns, equity, exposure, margin, least, most, drawdown)


def _last_seq(reader: StoreReader, run_id: int) -> int | None:
    found = [
        seq
        for table in _EVENT_TABLES
        for (seq,) in reader.stream(f"SELECT max(seq) FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - as above
        if seq is not None
    ]
    return max(found, default=None)
