"""The figures of a stored run, made of its rows as those of metrics.json were made of the run itself.

What the store does not hold is null: the price of buying and holding.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import get_args

import msgspec

from adapters.store import RunRow, StoreReader, TradeRow
from daemon.runs import equity_curve
from engine.figures.metrics import CostFigures, Metrics, metrics
from engine.figures.money import from_units
from engine.figures.trades import ExitReason, Trade
from engine.instruments import Instrument
from engine.reading import Scale, scale_of

_SAMPLES = "SELECT ts_ns, equity, exposure, margin FROM equity_curve WHERE run_id = ? ORDER BY n"
_COSTS = """SELECT (SELECT coalesce(sum(fee), 0) FROM strategy_fills WHERE run_id = ?1),
    (SELECT coalesce(sum(payment), 0) FROM funding_payments WHERE run_id = ?1)"""
_EXITS: dict[str, ExitReason] = {each: each for each in get_args(ExitReason)}
_FILL_TRADES = "SELECT trade_id FROM strategy_fills WHERE run_id = ?"


def figures_of_stored(reader: StoreReader, run: RunRow, slippage: int | None = None) -> Metrics:
    """Every figure of a run; `slippage` in its cash units, where it is known.

    They are of its stored samples: where only some are stored, peaks and drawdowns between them are not seen.
    """
    samples, decimals = reader.integers(_SAMPLES, (run.run_id,), 4), run.cash_decimals
    ((fees, funding),) = reader.integers(_COSTS, (run.run_id,), 2).tolist()
    costs = CostFigures(
        fees=from_units(fees, decimals),
        funding=from_units(funding, decimals),
        slippage=None if slippage is None else from_units(slippage, decimals),
    )
    curve = equity_curve(samples, run.start_ns, decimals)
    return metrics(curve, _trades(reader, run), initial_cash=from_units(run.initial_cash, decimals), costs=costs)


def scales_of(reader: StoreReader, run: RunRow) -> dict[str, Scale]:
    """The units of each of a run's instruments."""
    return {
        each.symbol: scale_of(msgspec.convert(msgspec.to_builtins(each), Instrument, strict=False), run.cash_decimals)
        for each in reader.instruments(run.run_id)
    }


def _trades(reader: StoreReader, run: RunRow) -> list[Trade]:
    scales = scales_of(reader, run)
    fills = Counter(reader.integers(_FILL_TRADES, (run.run_id,), 1)[:, 0].tolist())
    return [_trade(row, scales[row.symbol], fills[row.trade_id]) for row in reader.trades(run.run_id)]


def _trade(row: TradeRow, scale: Scale, fills: int) -> Trade:
    def percent(units: int) -> float:
        return 100.0 * (float(units) / float(row.entry_value)) if row.entry_value else float("nan")

    def cash(units: int) -> Decimal:
        return from_units(units, scale.cash_decimals)

    return Trade(
        trade_id=row.trade_id, strategy=row.strategy_id, symbol=row.symbol,
        side="long" if row.side == "long" else "short", entry_ts_ns=row.entry_ns, exit_ts_ns=row.exit_ns,
        entry_price=scale.average_price(row.entry_value, row.lots_entered),
        exit_price=scale.average_price(row.exit_value, row.lots_entered), size=scale.size(row.lots_most),
        gross_pnl=cash(row.gross_pnl), fees=cash(row.fees), funding=cash(row.funding), pnl=cash(row.pnl),
        pnl_percent=percent(row.pnl), mae=cash(row.mae), mfe=cash(row.mfe), mae_percent=percent(row.mae),
        mfe_percent=percent(row.mfe), mae_r=None, mfe_r=None, bars_held=row.bars_held, fills=fills,
        exit_reason=_EXITS[row.exit_reason],
    )  # fmt: skip
