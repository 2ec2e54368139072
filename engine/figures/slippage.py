"""What fills cost beside their base prices, trade by trade, exactly, from the integers that the store keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from engine.settings import InstrumentKind


class FillPrice(msgspec.Struct, frozen=True):
    """A fill in a ledger (a strategy's, in an instrument): signed lots, price and base price in ticks.

    `trade_id` is the trade that it belongs to, the new one where it turns a position; `position_lots` the ledger's
    position after it. A base price of 0 is not known: the fill then had no slippage.
    """

    strategy: int
    instrument: int
    trade_id: int
    lots: int
    price_ticks: int
    base_ticks: int
    position_lots: int


class TradeSlippage(msgspec.Struct, frozen=True):
    """What a trade's entries and exits cost beside their base prices, in cash units; positive is paid."""

    entry: int = 0
    exit: int = 0


class ValueUnits(msgspec.Struct, frozen=True):
    """How an instrument's lots and ticks make cash units: `factor` as `Instrument.value_factor` gives it."""

    kind: InstrumentKind
    factor: int

    def value(self, lots: int, ticks: int) -> int:
        """Signed value in cash units, as the engine's ledger books it: inverse values rounded half to even."""
        if self.kind == "inverse":
            return -divided(lots * self.factor, ticks)
        return lots * ticks * self.factor


def slippage_by_trade(fills: Iterable[FillPrice], units: Sequence[ValueUnits]) -> dict[int, TradeSlippage]:
    """Slippage of each trade by its number; `fills` as they happened, `units` by instrument.

    A fill that turns a position is the exit of one trade and the entry of the next.
    """
    found: dict[int, TradeSlippage] = {}
    latest: dict[tuple[int, int], int] = {}
    for fill in fills:
        ledger = (fill.strategy, fill.instrument)
        before = fill.position_lots - fill.lots
        is_against = before != 0 and (before > 0) != (fill.lots > 0)
        closing = min(abs(fill.lots), abs(before)) if is_against else 0
        opening = abs(fill.lots) - closing
        if closing:
            closed = latest.get(ledger, fill.trade_id)
            known = found.get(closed, TradeSlippage())
            found[closed] = TradeSlippage(known.entry, known.exit + _cost(fill, closing, units))
        if opening:
            known = found.get(fill.trade_id, TradeSlippage())
            found[fill.trade_id] = TradeSlippage(known.entry + _cost(fill, opening, units), known.exit)
        latest[ledger] = fill.trade_id
    return found


def divided(above: int, below: int) -> int:
    """A quotient of integers, rounded half to even; `below` is above 0."""
    whole, rest = divmod(above, below)
    return whole + (2 * rest > below or (2 * rest == below and whole % 2 == 1))


def _cost(fill: FillPrice, lots: int, units: Sequence[ValueUnits]) -> int:
    if fill.base_ticks <= 0 or fill.base_ticks == fill.price_ticks:
        return 0
    of, signed = units[fill.instrument], lots if fill.lots > 0 else -lots
    return of.value(signed, fill.price_ticks) - of.value(signed, fill.base_ticks)
