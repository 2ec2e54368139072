"""Outputs of the core as Python reads them: order updates and closed trades with names, units and decimals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from operator import truediv
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
_TRADE_ID = 4  # its word in a TRADE output
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


class TradeReader:
    """Makes a Trade of each TRADE output; what never changes of an instrument is looked up once."""

    def __init__(self, scales: Sequence[Scale], strategies: Sequence[str]) -> None:
        self._names = strategies
        self._units = [_units_of(scale) for scale in scales]

    def trade(self, row: Sequence[int], fills: int) -> Trade:
        """The closed trade of a row that came of so many fills."""
        (_, ts_ns, head, _, trade_id, most, entered, entry_ts_ns, entry_value, exit_value, gross, fees, funding, mae,
            mfe, bars) = row  # fmt: skip
        symbol, lot_size, shift, factor, is_inverse, divisor, multiplier = self._units[(head >> 48) & 0xFFFF]
        pnl = gross - fees - funding
        # Divided as doubles: Python divides two large integers exactly, which rounds once less.
        notional, contracts = float(entry_value), float(entered) * factor
        over = truediv if entry_value and exit_value and entered else _quotient
        entry = over(contracts, notional) if is_inverse else over(entry_value, contracts)
        left = over(contracts, float(exit_value)) if is_inverse else over(exit_value, contracts)
        return Trade(  # by place, which is quicker: as `engine.figures.trades` has them
            trade_id, self._names[(head >> 32) & 0xFFFF], symbol, "long" if most > 0 else "short", entry_ts_ns, ts_ns,
            entry / divisor * multiplier, left / divisor * multiplier, abs(most) * lot_size,
            Decimal(gross).scaleb(shift), Decimal(fees).scaleb(shift), Decimal(funding).scaleb(shift),
            Decimal(pnl).scaleb(shift), 100.0 * over(pnl, notional), Decimal(mae).scaleb(shift),
            Decimal(mfe).scaleb(shift), 100.0 * over(mae, notional), 100.0 * over(mfe, notional), None, None, bars,
            fills, _EXIT[(head >> 16) & 0xFF],
        )  # fmt: skip


def _quotient(part: float, whole: float) -> float:
    """A quotient as IEEE 754 has it also of nothing, where Python raises."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(part) / np.float64(whole))


def _units_of(scale: Scale) -> tuple[str, Decimal, int, float, bool, float, float]:
    """Symbol, lot, the cash unit's power of ten, factor, whether inverse; what makes a price of ticks: ÷, then ×.

    Ticks of 1 ÷ a whole number are divided by it: a trade that had one price then gets the double nearest to it.
    """
    instrument, per_unit = scale.instrument, 1 / scale.instrument.tick_size
    divisor, multiplier = (float(per_unit), 1.0) if per_unit == per_unit.to_integral_value() else (1.0, scale.tick)
    factor = float(instrument.value_factor(scale.cash_decimals))
    is_inverse = instrument.kind == "inverse"
    return instrument.symbol, instrument.lot_size, -scale.cash_decimals, factor, is_inverse, divisor, multiplier


def trades_of(outputs: NDArray[np.int64], scales: Sequence[Scale], strategies: Sequence[str]) -> list[Trade]:
    """All closed trades, in the order in which they closed."""
    rows = outputs[kinds_of(outputs) == layout.TRADE_OUTPUT]
    fills = view_as(outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    length = 1 + max((int(ids.max()) for ids in (rows[:, _TRADE_ID], fills["trade_id"]) if len(ids)), default=0)
    counts = np.bincount(fills["trade_id"], minlength=length)
    # A fill that turns a position closes one trade and opens the next; it carries the new one's number.
    turning = (fills["lots"] > 0) == (fills["ledger_lots"] > 0)
    turning &= (fills["ledger_lots"] != 0) & (np.abs(fills["lots"]) > np.abs(fills["ledger_lots"]))
    if turning.any():
        counts += np.bincount(_trades_before(fills, turning), minlength=length)
    reader = TradeReader(scales, strategies)
    return list(map(reader.trade, rows.tolist(), counts[rows[:, _TRADE_ID]].tolist()))


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


class _Ordered(msgspec.Struct, frozen=True):
    """What an order's updates have in common, and its size in lots."""

    symbol: str
    side: Literal["buy", "sell"]
    type: str
    lots: int
    size: float
    price: float | None
    stop_price: float | None
    tag: int


def _ordered(scale: Scale, lots: int, limit_ticks: int, stop_ticks: int, kind: int, tag: int) -> _Ordered:
    return _Ordered(
        symbol=scale.instrument.symbol, side="buy" if lots > 0 else "sell",
        type=TYPES[kind] if kind < len(TYPES) else "unknown", lots=abs(lots), size=float(scale.size(abs(lots))),
        price=scale.price(limit_ticks) if limit_ticks else None,
        stop_price=scale.price(stop_ticks) if stop_ticks else None, tag=tag,
    )  # fmt: skip


class OrderReader:
    """Follows the order outputs of one strategy and makes an OrderUpdate of each."""

    def __init__(self, scales: Sequence[Scale]) -> None:
        self._scales = scales
        self._orders: dict[int, _Ordered] = {}

    def know(self, orders: Iterable[Any]) -> None:
        """Take up after a snapshot: rows of the core's order table, those whose updates are still to come."""
        names = ("lots", "limit_ticks", "stop_ticks", "type", "tag")
        self._orders = {
            int(order["id"]): _ordered(self._scales[int(order["instrument"])], *(int(order[name]) for name in names))
            for order in orders
        }

    def update(self, row: Sequence[int]) -> OrderUpdate | None:
        """What an ORDER or FILL output says of an order; None for outputs of other kinds, and for a fill of none."""
        head, order_id = row[2], row[3]
        match head & 0xFF:
            case layout.ORDER_OUTPUT:
                ordered = _ordered(self._scales[head >> 48], row[4], row[6], row[7], row[8], row[12])
                self._orders[order_id] = ordered
                return self._update(row, ordered, ordered.lots - row[5])
            case layout.FILL_OUTPUT if order_id > 0:
                ordered = self._orders[order_id]
                return self._update(row, ordered, ordered.lots - row[14], row[5], abs(row[4]), row[7])
            case _:
                return None

    def _update(self, row: Sequence[int], ordered: _Ordered, filled: int, fill_ticks: int | None = None,
                fill_lots: int = 0, fee: int = 0) -> OrderUpdate:  # fmt: skip
        head, order_id = row[2], row[3]
        scale, state = self._scales[head >> 48], (head >> 8) & 0xFF
        if state >= layout.FILLED:
            self._orders.pop(order_id, None)
        is_fill = fill_ticks is not None
        return OrderUpdate(
            id=order_id, symbol=ordered.symbol, side=ordered.side, state=STATES[state],
            reason="" if is_fill else REASONS[(head >> 16) & 0xFF], type=ordered.type, size=ordered.size,
            filled=float(scale.size(filled)), price=ordered.price, stop_price=ordered.stop_price,
            fill_price=None if fill_ticks is None else scale.price(fill_ticks),
            fill_size=float(scale.size(fill_lots)), fee=float(scale.money(fee)), tag=ordered.tag, ts_ns=row[1],
        )  # fmt: skip
