"""How far a position may be left alone: bars on which the core can say nothing that a strategy would have to be told.

Who listens to orders and trades is told bar by bar, as a position may be liquidated or a guard may trip at any of them.
On most bars neither can be. Here they are looked at without being consumed: the strategy runs ahead over them, and the
core follows later, to the same state.
"""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import as_int64
from engine.kernels.compile import inner, kernel
from engine.kernels.layout import BAR, HALT_DAILY, INVERSE, SPOT
from engine.kernels.tables import instrument_at


@inner
def _may_be_calm(core: Any) -> bool:
    """Whether prices alone decide if the core says something: no order works, no guard looks, margins are shared."""
    if core.live_orders > 0 or core.wake_each_step == 1 or core.halt == HALT_DAILY or core.is_isolated == 1:
        return False
    return core.max_drawdown_e12 == 0 and core.daily_loss_e12 == 0 and core.strategy_max_drawdown_e12 == 0


@inner
def _short_room(core: Any) -> int:
    """Each short's part of what equity exceeds the notionals by, were shorts worth nothing; not above 0: not calm.

    Equity less notionals is cash − Σ cost + Σ (value − |value|): a long adds nothing to it at any price, a short takes
    its value twice, a spot position has no maintenance and adds at least one tick. While it is above 0 there is no
    liquidation, as maintenance is never more than the notional, and no bankruptcy.
    """
    room, shorts = core.cash, 0
    for index in range(core.instrument_count):
        instrument = instrument_at(core, index)
        room -= instrument.net_cost
        if instrument.net_lots < 0:
            shorts += 1
        if instrument.net_lots != 0 and (instrument.kind == INVERSE or (instrument.kind == SPOT and shorts > 0)):
            return 0
        if instrument.kind == SPOT:
            room += instrument.net_lots * instrument.factor
    return room // max(1, shorts)


@kernel
def calm_until(state: Any, events: Any, start: int, stop: int) -> int:
    """The first record in [start, stop) at which the core could say something; it has consumed those before `start`.

    Records other than bars are such, and bars that do not fit the integers or make no sense.
    """
    core = state[0]
    room = _short_room(core) if _may_be_calm(core) else 0
    if room <= 0:
        return start
    for position in range(start, stop):
        bar = events[position]
        index = as_int64(bar.instrument)
        if bar.kind != BAR or index >= core.instrument_count:
            return position
        opened, high, low, closed = bar.a, bar.b, bar.c, bar.d
        instrument = instrument_at(core, index)
        if low < 1 or low > opened or low > closed or high < opened or high < closed or high > instrument.safe_ticks:
            return position
        lot_value = instrument.net_lots * instrument.factor
        if lot_value < 0 and high > (room - 1) // (-2 * lot_value):
            return position
    return stop
