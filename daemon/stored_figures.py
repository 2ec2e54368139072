"""The figures of a stored run, made of its rows as those of metrics.json were made of the run itself.

What the store does not hold is null: the price of buying and holding, what trades risked.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.store import RunRow, StoreReader, TradeRow
from config.document import from_document
from config.model import RunConfig
from daemon.runs import equity_curve
from engine.errors import TapewrightError
from engine.figures.fill_costs import fill_costs
from engine.figures.metrics import CostFigures, Metrics, metrics
from engine.figures.money import from_units
from engine.figures.trades import ExitReason, Trade
from engine.instruments import Instrument
from engine.kernels import layout
from engine.reading import MODELS, Scale, scale_of
from engine.settings import Slippage

_SAMPLES = "SELECT ts_ns, equity, exposure, margin FROM equity_curve WHERE run_id = ? ORDER BY n"
_COSTS = """SELECT (SELECT coalesce(sum(fee), 0) FROM strategy_fills WHERE run_id = ?1),
    (SELECT coalesce(sum(payment), 0) FROM funding_payments WHERE run_id = ?1)"""
_EXITS: dict[str, ExitReason] = {each: each for each in get_args(ExitReason)}
_OPEN = """SELECT min(ts_ns) FROM strategy_fills WHERE run_id = ?1
    AND trade_id NOT IN (SELECT trade_id FROM strategy_trades WHERE run_id = ?1) GROUP BY trade_id ORDER BY trade_id"""
_FILLS = """SELECT instrument, lots, price_ticks, base_ticks, model FROM strategy_fills WHERE run_id = ?
    ORDER BY seq, n"""
_MODEL_CODES = {name: code for code, name in MODELS.items()}
_FILL_TRADES = "SELECT trade_id FROM strategy_fills WHERE run_id = ?"


def figures_of_stored(reader: StoreReader, run: RunRow) -> Metrics:
    """Every figure of a run.

    They are of its stored samples: where only some are stored, peaks and drawdowns between them are not seen.
    """
    samples, decimals, config = reader.integers(_SAMPLES, (run.run_id,), 4), run.cash_decimals, _config(run)
    ((fees, funding),) = reader.integers(_COSTS, (run.run_id,), 2).tolist()
    slippage = Slippage() if config is None else config.settings.slippage
    lost = fill_costs(_fill_outputs(reader, run), tuple(scales_of(reader, run).values()), slippage)
    costs = CostFigures(
        fees=from_units(fees, decimals),
        funding=from_units(funding, decimals),
        slippage=from_units(lost.slippage, decimals),
        spread=from_units(lost.spread, decimals),
    )
    return metrics(
        equity_curve(samples, run.start_ns, decimals),
        _trades(reader, run),
        initial_cash=from_units(run.initial_cash, decimals),
        costs=costs,
        annualise_short=config is not None and config.diagnostics.annualise,
        open_since_ns=reader.integers(_OPEN, (run.run_id,), 1)[:, 0].tolist(),
    )


def _config(run: RunRow) -> RunConfig | None:
    """The config of a run; None where this version cannot read it: the figures then go by the defaults."""
    try:
        return from_document(msgspec.json.decode(run.config))
    except TapewrightError:
        return None


def _fill_outputs(reader: StoreReader, run: RunRow) -> NDArray[np.int64]:
    """The fills of a run as the engine gave them, with what their costs are made of, instruments as stored."""
    rows = list(reader.stream(_FILLS, (run.run_id,)))
    outputs = np.zeros((len(rows), layout.OUTPUT_WORDS), dtype=np.int64)
    view = outputs.view(layout.FILL_VIEW).reshape(-1)
    for place, name in enumerate(("instrument", "lots", "price_ticks", "base_ticks")):
        view[name] = [row[place] for row in rows]
    view["detail"] = [_MODEL_CODES[row[4]] for row in rows]
    outputs[:, 2] |= layout.FILL_OUTPUT
    return outputs


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
