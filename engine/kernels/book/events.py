"""Telling strategies: compiled ones are called here, those in Python by whoever drives the core.

An event goes to the strategies one by one, and what one asks for is carried out before the next is told. Where a
strategy must be called from Python, `advance_book` comes back and takes the thread up again when it is called next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from engine.kernels.compile import inner
from engine.kernels.layout import (
    BAR_EVENT,
    BOOK_EVENT,
    BOOK_INVALID_STATE,
    FUNDING_EVENT,
    GAP_EVENT,
    ORDER_EVENT,
    PRINT_EVENT,
    TIMER_EVENT,
    TO_HOST,
    TO_NOBODY,
    WAKE_DONE,
    WAKE_EVENT,
    WAKE_ORDERS_FULL,
    WAKE_OUTPUTS_FULL,
    WAKE_REPORTS_FULL,
)
from engine.kernels.requests import apply_request
from engine.kernels.tables import asked_at, book_at, builder_at, ledger_of, strategy_at

# Outputs (and reports) that one working order, ledger or level can cause while one record is consumed.
_OUTPUTS_EACH = 12
_OUTPUTS_LEVEL = 4
_OUTPUTS_BESIDE = 64


@intrinsic
def _call_at(_typing: Any, _address: Any, _core: Any, _strategy: Any, _instrument: Any, _state: Any) -> Any:
    """Call the compiled function at an address with (core's address, strategy, instrument, state's address)."""
    signature = types.void(types.int64, types.int64, types.int64, types.int64, types.int64)

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.int64)
        ir: Any = cast("Any", cgutils).ir
        kind = ir.FunctionType(ir.VoidType(), [word, word, word, word])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return signature, code


_call = cast("Callable[[int, int, int, int, int], None]", _call_at)


@inner
def lacks_room(core: Any, coming: int) -> int:
    """What must grow or be drained before `coming` more orders and all that may follow: a wake reason."""
    live = core.live_orders + coming
    if live + core.ledger_count >= core.order_capacity:
        core.room_needed = live + core.ledger_count + 1
        return WAKE_ORDERS_FULL
    needed = _OUTPUTS_EACH * (live + 2 * core.ledger_count) + _OUTPUTS_LEVEL * core.level_total + _OUTPUTS_BESIDE
    core.room_needed = needed
    if core.output_count + needed > core.output_capacity:
        return WAKE_OUTPUTS_FULL
    if core.report_count + needed > core.report_capacity:
        return WAKE_REPORTS_FULL
    return WAKE_DONE


@inner
def begin_event(core: Any, event: int, index: int, word: int) -> None:
    """Start telling strategies of something.

    `word`: the builder of a BAR, the order of an ORDER, the instrument after the last of a GAP.
    """
    core.event, core.event_instrument, core.event_word, core.event_next = event, index, word, 0


@inner
def _target(core: Any, strategy: int) -> int:
    """Who is told of the present event for a strategy."""
    row = strategy_at(core, strategy)
    event = core.event
    if event == ORDER_EVENT or event == TIMER_EVENT:
        if core.event_strategy != strategy:
            return TO_NOBODY
        return row.on_order if event == ORDER_EVENT else row.on_timer
    if ledger_of(core, strategy, core.event_instrument).is_watching == 0:
        return TO_NOBODY
    if event == BOOK_EVENT:
        return row.on_book
    if event == PRINT_EVENT:
        return row.on_print
    if event == BAR_EVENT:
        return row.on_bar if builder_at(core, core.event_word).timeframe_ns == row.timeframe_ns else TO_NOBODY
    return row.on_funding if event == FUNDING_EVENT else row.on_gap


@inner
def _is_muted(core: Any) -> bool:
    """Whether the present event asks for decisions on a book that is not valid."""
    event = core.event
    if event == ORDER_EVENT or event == FUNDING_EVENT or event == GAP_EVENT:
        return False
    return book_at(core, core.event_instrument).state == BOOK_INVALID_STATE


@inner
def _apply_asked(core: Any) -> int:
    """Carry out what a compiled strategy has asked for; a wake reason where room is lacking."""
    while core.asked_next < core.asked_count:
        lack = lacks_room(core, 1)
        if lack != WAKE_DONE:
            return lack
        core.asked_next += 1
        apply_request(core, asked_at(core, core.asked_next - 1))
    core.asked_count, core.asked_next = 0, 0
    return WAKE_DONE


@inner
def dispatch(core: Any) -> int:
    """Go on telling strategies of the present event; WAKE_DONE when all have been told."""
    while core.event != 0:
        lack = _apply_asked(core)
        if lack != WAKE_DONE:
            return lack
        if core.event_next >= core.strategy_count or _is_muted(core):
            if core.event == GAP_EVENT and core.event_instrument + 1 < core.event_word:
                core.event_instrument, core.event_next = core.event_instrument + 1, 0  # a gap of several instruments
                continue
            core.event = 0
            break
        strategy = core.event_next
        core.event_next += 1
        target = _target(core, strategy)
        if target == TO_NOBODY:
            continue
        core.event_strategy = strategy
        if target == TO_HOST:
            return WAKE_EVENT
        row, index = strategy_at(core, strategy), core.event_instrument
        _call(target, core.address, strategy, index, row.state + index * row.state_bytes)
    return WAKE_DONE
