"""The price at which positions are valued, and what follows from a new one."""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.liquidation import liquidate_at_open
from engine.kernels.portfolio import note_excursion
from engine.kernels.tables import instrument_at, ledger_of
from engine.kernels.values import mark_instrument, value_of


@inner
def mark_at(core: Any, index: int, price: int) -> None:
    """A new mark: floating results, whether the position can still be carried, excursions."""
    instrument = instrument_at(core, index)
    before = instrument.mark
    if instrument.net_lots == 0 and instrument.open_ledgers == 0:
        mark_instrument(core, index, price)
        return
    mark_instrument(core, index, price)
    liquidate_at_open(core, index, before)
    if instrument.mark != price:
        mark_instrument(core, index, price)  # what was liquidated may have left at another price
    count = core.instrument_count
    for strategy in range(core.strategy_count):
        ledger = ledger_of(core, strategy, index)
        if ledger.lots != 0:
            floating = value_of(instrument, ledger.lots, price) - ledger.cost
            note_excursion(core, strategy * count + index, ledger.trade_gross + floating)
