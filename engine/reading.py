"""Outputs of the core as Python reads them: order updates and closed trades with names, units and decimals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.figures.trades import ExitReason, Trade
from engine.instruments import Instrument
from engine.kernels import layout

STATES = ("", "NEW", "ACTIVE", "PARTIAL", "FILLED", "CANCELED", "EXPIRED", "REJECTED")
REASONS = (
    "", "requested", "ioc", "fok", "post_only", "reduce_only", "insufficient_margin", "max_leverage",
    "max_open_positions", "halted", "no_short", "below_minimum_notional", "invalid", "over_capacity", "no_price",
    "expired", "end_of_run", "liquidation", "book_invalid", "no_liquidity",
)  # fmt: skip
TYPES = ("", "market", "limit", "stop", "stop_limit")
TIFS = ("", "GTC", "IOC", "FOK", "GTD")
MODELS = {
    0: "none", 1: "bps", 2: "ticks", 3: "atr", 4: "spread", 5: "depth", 6: "queue", 7: "through", 9: "liquidation",
}  # fmt: skip
CONFIDENCES = ("assumed", "bounded", "observed")
LIQUIDITY = ("", "maker", "taker")
RISKS = (
    "", "max_drawdown", "strategy_max_drawdown", "daily_loss_limit", "resumed", "liquidation", "bankrupt", "halted",
    "strategy_stopped", "strategy_started", "strategy_faulted", "strategy_quarantined",
)  # fmt: skip
_EXIT: dict[int, ExitReason] = {0: "order", layout.BY_END: "end", layout.BY_LIQUIDATION: "liquidation",
                                layout.BY_HALT: "guard"}  # fmt: skip


class OrderUpdate(msgspec.Struct, frozen=True):
    """A change of an order, as `on_order` gets it. Sizes in units; prices None where the order has none."""

    id: int
    symbol: str
    side: Literal["buy", "sell"]
    state: str
    reason: str
    type: str
    size: float
    filled: float
    price: float | None
    stop_price: float | None
    fill_price: float | None
    fill_size: float
    fee: float
    tag: int
    ts_ns: int


class Scale(msgspec.Struct, frozen=True):
    """One instrument's units, as decimals and floats, and the account's cash unit."""

    instrument: Instrument
    cash_decimals: int
    tick: float
    lot: float

    def money(self, units: int) -> Decimal:
        """Cash units as an exact decimal."""
        return Decimal(int(units)).scaleb(-self.cash_decimals)

    def price(self, ticks: int) -> float:
        """Ticks as the nearest double of the exact price."""
        return float(Decimal(int(ticks)) * self.instrument.tick_size)

    def size(self, lots: int) -> Decimal:
        """Lots as exact units."""
        return int(lots) * self.instrument.lot_size

    def average_price(self, value: int, lots: int) -> float:
        """The average price of `lots` that were worth `value` cash units (both ≥ 0); NaN for none."""
        if lots == 0 or value == 0:
            return float("nan")
        contracts = self.size(lots) * self.instrument.multiplier
        if self.instrument.kind == "inverse":
            return float(contracts / self.money(value))
        return float(self.money(value) / contracts)


def scale_of(instrument: Instrument, cash_decimals: int) -> Scale:
    """The units of an instrument in an account."""
    return Scale(instrument, cash_decimals, float(instrument.tick_size), float(instrument.lot_size))


def kinds_of(outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The kind of each output row."""
    return outputs[:, 2] & 0xFF


def view_as(outputs: NDArray[np.int64], kind: int, view: np.dtype[np.void]) -> NDArray[Any]:
    """The rows of one kind, with names."""
    return np.ascontiguousarray(outputs[kinds_of(outputs) == kind]).view(view).reshape(-1)


def _average_prices(values: NDArray[np.int64], lots: NDArray[np.int64], scale: Scale) -> NDArray[np.float64]:
    """Average prices of `lots` that were worth `values` cash units; exact where a trade had one price."""
    factor = scale.instrument.value_factor(scale.cash_decimals)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale.instrument.kind == "inverse":
            ticks = lots.astype(np.float64) * factor / values
        else:
            ticks = values / (lots.astype(np.float64) * factor)
    per_unit = 1 / scale.instrument.tick_size
    return ticks / float(per_unit) if per_unit == per_unit.to_integral_value() else ticks * scale.tick


def _trade_rows(rows: NDArray[Any], scale: Scale, names: Sequence[str], fills: NDArray[np.int64]) -> list[Trade]:
    """The closed trades of one instrument."""
    symbol, shift, lot = scale.instrument.symbol, -scale.cash_decimals, scale.instrument.lot_size
    pnl = rows["gross"] - rows["fees"] - rows["funding"]
    with np.errstate(divide="ignore", invalid="ignore"):
        percents = [100.0 * (amounts / rows["entry_value"]) for amounts in (pnl, rows["mae"], rows["mfe"])]
    money = [
        [Decimal(units).scaleb(shift) for units in amounts.tolist()]
        for amounts in (rows["gross"], rows["fees"], rows["funding"], pnl, rows["mae"], rows["mfe"])
    ]
    entries = _average_prices(rows["entry_value"], rows["lots_entered"], scale)
    exits = _average_prices(rows["exit_value"], rows["lots_entered"], scale)
    columns: tuple[list[Any], ...] = (
        rows["trade_id"].tolist(), rows["strategy"].tolist(), rows["lots_most"].tolist(), rows["entry_ts_ns"].tolist(),
        rows["ts_ns"].tolist(), entries.tolist(), exits.tolist(), *money, *(column.tolist() for column in percents),
        rows["bars_held"].tolist(), fills[rows["trade_id"]].tolist(), rows["reason"].tolist(),
    )  # fmt: skip
    return [
        Trade(
            trade_id=trade_id, strategy=names[strategy], symbol=symbol, side="long" if most > 0 else "short",
            entry_ts_ns=entry_ts, exit_ts_ns=exit_ts, entry_price=entry, exit_price=exited, size=abs(most) * lot,
            gross_pnl=gross, fees=fees, funding=funding, pnl=net, pnl_percent=net_percent, mae=mae, mfe=mfe,
            mae_percent=mae_percent, mfe_percent=mfe_percent, mae_r=None, mfe_r=None, bars_held=bars, fills=count,
            exit_reason=_EXIT[reason],
        )
        for trade_id, strategy, most, entry_ts, exit_ts, entry, exited, gross, fees, funding, net, mae, mfe,
            net_percent, mae_percent, mfe_percent, bars, count, reason in zip(*columns, strict=True)
    ]  # fmt: skip


def trades_of(outputs: NDArray[np.int64], scales: Sequence[Scale], strategies: Sequence[str]) -> list[Trade]:
    """All closed trades, in the order in which they closed."""
    rows = view_as(outputs, layout.TRADE_OUTPUT, layout.TRADE_VIEW)
    fills = view_as(outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    length = 1 + max((int(ids.max()) for ids in (rows["trade_id"], fills["trade_id"]) if len(ids)), default=0)
    counts = np.bincount(fills["trade_id"], minlength=length)
    # A fill that turns a position closes one trade and opens the next; it carries the new one's number.
    turning = (fills["lots"] > 0) == (fills["ledger_lots"] > 0)
    turning &= (fills["ledger_lots"] != 0) & (np.abs(fills["lots"]) > np.abs(fills["ledger_lots"]))
    if turning.any():
        counts += np.bincount(_trades_before(fills, turning), minlength=length)
    found = [
        trade
        for index, scale in enumerate(scales)
        for trade in _trade_rows(rows[rows["instrument"] == index], scale, strategies, counts)
    ]
    if len(scales) > 1:
        place = {trade_id: order for order, trade_id in enumerate(rows["trade_id"].tolist())}
        found.sort(key=lambda trade: place[trade.trade_id])
    return found


def _trades_before(fills: NDArray[Any], turning: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each fill that turned a position, the trade that it closed: the one before in the same ledger."""
    closed = []
    latest: dict[tuple[int, int], int] = {}
    for fill, turns in zip(fills, turning, strict=True):
        ledger = (int(fill["strategy"]), int(fill["instrument"]))
        if turns:
            closed.append(latest[ledger])
        latest[ledger] = int(fill["trade_id"])
    return np.array(closed, dtype=np.int64)


class OrderReader:
    """Follows the order outputs of one strategy and makes an OrderUpdate of each."""

    def __init__(self, scales: Sequence[Scale]) -> None:
        self._scales = scales
        self._orders: dict[int, dict[str, int]] = {}

    def know(self, orders: Iterable[Any]) -> None:
        """Take up after a snapshot: rows of the core's order table, those whose updates are still to come."""
        names = {"lots": "lots", "limit": "limit_ticks", "stop": "stop_ticks", "type": "type", "tag": "tag"}
        self._orders = {
            int(order["id"]): {name: int(order[field]) for name, field in names.items()} for order in orders
        }

    def updates(self, rows: NDArray[np.int64]) -> Iterator[OrderUpdate]:
        """Updates of ORDER and FILL rows, in order; rows of other kinds are passed over."""
        for row in rows:
            head = int(row[2])
            kind = head & 0xFF
            if kind == layout.ORDER_OUTPUT:
                yield self._order(row, head)
            elif kind == layout.FILL_OUTPUT and row[3] > 0:
                yield self._fill(row, head)

    def _order(self, row: NDArray[np.int64], head: int) -> OrderUpdate:
        order_id = int(row[3])
        names = {"lots": 4, "limit": 6, "stop": 7, "type": 8, "tag": 12}
        known = {name: int(row[word]) for name, word in names.items()}
        self._orders[order_id] = known
        filled = abs(int(row[4])) - int(row[5])
        return self._update(row, head, order_id, known, filled, None, 0, 0)

    def _fill(self, row: NDArray[np.int64], head: int) -> OrderUpdate:
        order_id = int(row[3])
        known = self._orders[order_id]
        filled = abs(known["lots"]) - int(row[14])
        return self._update(row, head, order_id, known, filled, int(row[5]), abs(int(row[4])), int(row[7]))

    def _update(self, row: NDArray[np.int64], head: int, order_id: int, known: dict[str, int], filled: int,
                fill_ticks: int | None, fill_lots: int, fee: int) -> OrderUpdate:  # fmt: skip
        scale = self._scales[head >> 48]
        state = (head >> 8) & 0xFF
        if state >= layout.FILLED:
            self._orders.pop(order_id, None)
        is_fill = fill_ticks is not None
        return OrderUpdate(
            id=order_id, symbol=scale.instrument.symbol, side="buy" if known["lots"] > 0 else "sell",
            state=STATES[state], reason="" if is_fill else REASONS[(head >> 16) & 0xFF], type=TYPES[known["type"]]
            if known["type"] < len(TYPES) else "unknown", size=float(scale.size(abs(known["lots"]))),
            filled=float(scale.size(filled)), price=scale.price(known["limit"]) if known["limit"] else None,
            stop_price=scale.price(known["stop"]) if known["stop"] else None,
            fill_price=None if fill_ticks is None else scale.price(fill_ticks),
            fill_size=float(scale.size(fill_lots)), fee=float(scale.money(fee)), tag=known["tag"], ts_ns=int(row[1]),
        )  # fmt: skip
