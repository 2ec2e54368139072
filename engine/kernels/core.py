"""The loop: records in, outputs out. The same function runs a live batch of one and a year of history."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import as_int64, muldiv
from engine.kernels.compile import inner, kernel
from engine.kernels.fills import slip_of
from engine.kernels.guards import end_step
from engine.kernels.inside import inside_phase
from engine.kernels.layout import (
    ACTIVE,
    BAR,
    BAR_OPEN,
    BY_END,
    BY_STATIC_RATE,
    BY_VENUE_RATE,
    E12,
    END,
    FILLED,
    FUNDING,
    FUNDING_OUTPUT,
    GTC,
    INVERSE,
    LAST,
    MARKET,
    MICRO,
    NEVER,
    NEW,
    NONE,
    SPOT,
    STATIC_RATE,
    SYSTEM,
    TAKER,
    WAKE_BAD_RECORD,
    WAKE_CAPACITY,
    WAKE_DEFECT,
    WAKE_DONE,
    WAKE_ORDERS_FULL,
    WAKE_OUTPUTS_FULL,
    WAKE_SAMPLES_FULL,
    WAKE_STEP,
    WAKE_UPDATE,
)
from engine.kernels.opening import open_phase
from engine.kernels.orders import cancel_ledger, change_order, open_order, retire, step_state
from engine.kernels.outputs import emit, header
from engine.kernels.portfolio import book_fill, fee_of
from engine.kernels.quiet import run_quiet
from engine.kernels.requests import apply_request
from engine.kernels.tables import instrument_at, ledger_at, ledger_of, order_at

# Outputs that one working order or one ledger can cause while one record is consumed.
_OUTPUTS_EACH = 8
_OUTPUTS_BESIDE = 16


@inner
def _settle_funding(core: Any, record: Any) -> None:
    """Funding at the venue's time on the positions held then; once for each time."""
    index = as_int64(record.instrument)
    instrument = instrument_at(core, index)
    core.ts_ns = record.ts_receive_ns
    mark_micro = record.b if record.b > 0 else instrument.mark * MICRO
    if instrument.kind == SPOT or record.ts_exchange_ns <= instrument.funding_ts_ns or mark_micro == 0:
        return
    instrument.funding_ts_ns = record.ts_exchange_ns
    reason = BY_STATIC_RATE if record.flags & STATIC_RATE != 0 else BY_VENUE_RATE
    for strategy in range(core.strategy_count):
        ledger = ledger_of(core, strategy, index)
        if ledger.lots == 0:
            continue
        units = ledger.lots * instrument.factor
        amount = muldiv(units, MICRO, mark_micro) if instrument.kind == INVERSE else muldiv(units, mark_micro, MICRO)
        payment = muldiv(amount, record.a, E12)
        ledger.funding += payment
        ledger.trade_funding += payment
        core.cash -= payment
        core.funding += payment
        head = header(FUNDING_OUTPUT, 0, reason, 0, strategy, index)
        emit(core, head, record.a, mark_micro, ledger.lots, payment, core.cash, ledger.trade_id, 0, 0, 0, 0, 0, 0, 0)


@inner
def _end_run(core: Any, record: Any) -> None:
    """Cancel what works and, if the settings say so, close every position at its mark with slippage and fee."""
    core.ts_ns = record.ts_receive_ns
    count = core.instrument_count
    for ledger_index in range(core.ledger_count):
        cancel_ledger(core, ledger_index, BY_END)
    if core.is_close_at_end == 0:
        return
    for ledger_index in range(core.ledger_count):
        lots = -ledger_at(core, ledger_index).lots
        if lots == 0:
            continue
        strategy, index = ledger_index // count, ledger_index % count
        instrument = instrument_at(core, index)
        slot = open_order(core, strategy, index, MARKET, GTC, SYSTEM, lots, 0, 0, 0, 0)
        change_order(core, slot, NEW, NONE)
        change_order(core, slot, ACTIVE, NONE)
        slip, model = slip_of(core, index, instrument.mark)
        price = instrument.mark + slip if lots > 0 else max(1, instrument.mark - slip)
        fee = fee_of(core, index, lots, price, instrument.taker_e12) + core.fee_per_fill + core.fee_per_order
        step_state(core, slot, FILLED)
        book_fill(core, strategy, index, order_at(core, slot).id, FILLED, 0, 0, lots, price, instrument.mark, fee,
                  TAKER, model, BY_END)  # fmt: skip
        retire(core, slot)


@inner
def _is_sound(core: Any, record: Any) -> bool:
    """Whether a bar makes sense to the core: positive, ordered, inside the capacity of the integers."""
    if record.instrument >= core.instrument_count:
        return False
    if record.kind == BAR:
        low_enough = record.c <= record.a and record.c <= record.d
        high_enough = record.b >= record.a and record.b >= record.d
        return record.c > 0 and low_enough and high_enough
    if record.kind == BAR_OPEN:
        return record.a > 0
    return record.kind == FUNDING or record.kind == END


@inner
def _requests_due(core: Any, requests: Any, step: int) -> int:
    """How many of the pending requests act at the end of a step, or should have acted before."""
    first = core.next_request
    last = first
    while last < requests.shape[0] and requests[last].step <= step:
        last += 1
    return last - first


@inner
def _lacks_room(core: Any, requests_due: int) -> int:
    """What must grow before the requests that are due act: a wake reason, or WAKE_DONE where all fits."""
    ledgers = core.ledger_count
    coming = ledgers + requests_due
    if core.live_orders + coming >= core.order_capacity:
        core.room_needed = core.live_orders + coming + 1
        return WAKE_ORDERS_FULL
    outputs = _OUTPUTS_EACH * (core.live_orders + coming + ledgers) + _OUTPUTS_BESIDE
    if core.output_count + outputs > core.output_capacity:
        core.room_needed = outputs
        return WAKE_OUTPUTS_FULL
    return WAKE_DONE


@inner
def _obstacle(core: Any, record: Any, requests: Any) -> int:
    """Why a record cannot be consumed yet, or at all: a wake reason, or WAKE_DONE where it can."""
    is_last = record.flags & LAST != 0
    if is_last and core.sample_count >= core.sample_capacity:
        return WAKE_SAMPLES_FULL
    lack = _lacks_room(core, _requests_due(core, requests, core.step + 1) if is_last else 0)
    if lack != WAKE_DONE:
        return lack
    if not _is_sound(core, record):
        return WAKE_BAD_RECORD
    highest = record.b if record.kind == BAR else record.a
    if record.kind <= BAR_OPEN and highest > instrument_at(core, as_int64(record.instrument)).safe_ticks:
        return WAKE_CAPACITY
    return WAKE_DONE


@inner
def _quiet_steps(core: Any, requests: Any) -> int:
    """How many steps may pass quietly: up to the one at whose end the next request acts, if there is room for it."""
    if core.next_request >= requests.shape[0]:
        return NEVER
    step = requests[core.next_request].step
    has_room = _lacks_room(core, _requests_due(core, requests, step)) == WAKE_DONE
    return step - core.step - (0 if has_room else 1)


@inner
def _may_end_quietly(core: Any, record: Any, outputs_before: int) -> bool:
    """Whether orders were finished at a bar's open, so that the rest of it may be a quiet bar."""
    if core.live_orders > 0 or core.output_count == outputs_before or core.wake_on_update == 1 or core.defect != 0:
        return False
    return record.kind == BAR and record.flags & LAST != 0


@inner
def _apply_due(core: Any, requests: Any, outputs_before: int) -> None:
    """Carry out the requests of the step that has ended, and say in `core.wake` whether to come back."""
    while core.next_request < requests.shape[0] and requests[core.next_request].step <= core.step:
        apply_request(core, requests[core.next_request])
        core.next_request += 1
    if core.wake_each_step == 1:
        core.wake = WAKE_STEP
    elif core.wake_on_update == 1 and core.output_count > outputs_before:
        core.wake = WAKE_UPDATE


@kernel
def advance(state: Any, events: Any, start: int, stop: int, requests: Any) -> int:
    """Consume records [start, stop); returns the index of the next one, and says in `core.wake` why it stopped.

    `requests` act at the ends of the steps that they name. Cutting the same records into other batches changes
    nothing: everything that lasts is in `state`, the (1,) CORE record and the tables it names.
    """
    core = state[0]
    core.wake = WAKE_DONE
    position, is_begun = start, False  # whether the open phase of the record at `position` is over
    while position < stop:
        outputs_before = core.output_count
        quiet = run_quiet(core, events, position, stop, _quiet_steps(core, requests))
        if quiet > position:
            position, is_begun = quiet, False
            _apply_due(core, requests, outputs_before)
            if core.defect != 0:
                core.wake = WAKE_DEFECT
            if core.wake != WAKE_DONE:
                return position
            continue
        record = events[position]
        if not is_begun:
            core.wake = _obstacle(core, record, requests)
            if core.wake != WAKE_DONE:
                return position
        index = as_int64(record.instrument)
        core.seq += 1
        if record.kind <= BAR_OPEN:
            if instrument_at(core, index).is_open_done == 0 or record.kind == BAR_OPEN:
                open_phase(core, index, record.ts_exchange_ns, record.a, record.e)
                if _may_end_quietly(core, record, outputs_before):
                    core.seq -= 1  # who takes the rest of the record counts it
                    is_begun = True
                    continue
            if record.kind == BAR:
                inside_phase(core, index, record)
        elif record.kind == FUNDING:
            _settle_funding(core, record)
        else:
            _end_run(core, record)
        if record.flags & LAST != 0:
            end_step(core)
            _apply_due(core, requests, outputs_before)
        if core.defect != 0:
            core.wake = WAKE_DEFECT
        position, is_begun = position + 1, False
        if core.wake != WAKE_DONE:
            return position
    return stop


@kernel
def submit(state: Any, requests: Any) -> None:
    """Carry out requests at once; the caller has made room for them."""
    core = state[0]
    for index in range(requests.shape[0]):
        apply_request(core, requests[index])
