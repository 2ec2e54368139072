"""The loop over a tape: records in, outputs out, strategies told between messages."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import as_int64, muldiv
from engine.kernels.book.bars import add_print, close_bar, first_builder_due
from engine.kernels.book.clock import date_reports, deliver_report, run_clock, sample, skip_clock, start_clock
from engine.kernels.book.events import begin_event, dispatch, lacks_room
from engine.kernels.book.fills import close_now
from engine.kernels.book.levels import has_room
from engine.kernels.book.marks import mark_at
from engine.kernels.book.matching import match_print, match_quoted, match_stops
from engine.kernels.book.messages import begin_message, break_message, continues, invalidate, run_levels
from engine.kernels.book.venue import note_hour, venue_phase
from engine.kernels.compile import inner, kernel
from engine.kernels.layout import (
    ALL_INSTRUMENTS,
    BAR_EVENT,
    BOOK_INVALID_STATE,
    BOOK_NONE,
    BY_BOOK,
    BY_END,
    BY_LAST,
    BY_MARK,
    BY_STATIC_RATE,
    BY_VENUE_RATE,
    CLOCK,
    COMMAND,
    DOCUMENT,
    E12,
    END,
    FORCED,
    FUNDING,
    FUNDING_EVENT,
    FUNDING_OUTPUT,
    GAP,
    GAP_DOWNTIME,
    GAP_EVENT,
    INVERSE,
    LEVEL,
    MARK,
    MARKED_BY_PRINT,
    MARKED_BY_VENUE,
    MICRO,
    NEVER,
    PRINT,
    PRINT_EVENT,
    QUOTE,
    SPOT,
    STATIC_RATE,
    WAKE_BAD_RECORD,
    WAKE_BARS_FULL,
    WAKE_BOOK_FULL,
    WAKE_CAPACITY,
    WAKE_DEFECT,
    WAKE_DONE,
    WAKE_SAMPLES_FULL,
)
from engine.kernels.orders import cancel_ledger
from engine.kernels.outputs import emit, header
from engine.kernels.requests import apply_request
from engine.kernels.tables import book_at, builder_at, instrument_at, ledger_at, ledger_of


@inner
def _is_sound(core: Any, record: Any) -> bool:
    """Whether a record makes sense to the core."""
    kind = record.kind
    if kind == GAP:
        return record.instrument == ALL_INSTRUMENTS or record.instrument < core.instrument_count
    if kind == CLOCK or kind == COMMAND or kind == END or kind == DOCUMENT:
        return True
    if kind == 0 or kind > FORCED or record.instrument >= core.instrument_count:
        return False
    if kind == LEVEL:
        return record.a >= 0 and record.b >= 0
    if kind == PRINT:
        return record.a > 0 and record.b > 0
    if kind == QUOTE:
        return record.a >= 0 and record.b >= 0 and record.c >= 0 and record.d >= 0
    if kind == MARK:
        return record.a >= MICRO // 2
    if kind == FUNDING:
        return record.b >= 0
    return True


@inner
def _is_of_market(kind: int) -> bool:
    """Whether a record carries an instrument's venue forward in time."""
    return kind == LEVEL or kind == PRINT or kind == QUOTE or kind == MARK or kind == FUNDING


@inner
def _venue_ns(core: Any, record: Any, index: int) -> int:
    """The venue's time of a record."""
    if core.uses_feed_latency == 1 and record.ts_exchange_ns > 0:
        return record.ts_exchange_ns
    return record.ts_receive_ns + instrument_at(core, index).offset_ns


@inner
def _print_ns(core: Any, record: Any, index: int) -> int:
    """The venue's time of a print, for bars: its own stamp wherever it has one."""
    if record.ts_exchange_ns > 0:
        return record.ts_exchange_ns
    return record.ts_receive_ns + instrument_at(core, index).offset_ns


@inner
def _apply_print(core: Any, record: Any, index: int) -> None:
    instrument, book = instrument_at(core, index), book_at(core, index)
    instrument.last, instrument.last_lots, instrument.last_flags = record.a, record.b, as_int64(record.flags)
    add_print(core, index, _print_ns(core, record, index), record.a, record.b)
    if instrument.has_mark != MARKED_BY_VENUE:
        instrument.has_mark = MARKED_BY_PRINT
        mark_at(core, index, record.a)
    if book.state != BOOK_INVALID_STATE and core.live_orders > 0:
        match_print(core, index, record.a, record.b, as_int64(record.flags))
        is_blind = book.state == BOOK_NONE and instrument.quote_bid == 0 and instrument.quote_ask == 0
        is_marked = core.stop_trigger == BY_MARK and instrument.has_mark != MARKED_BY_VENUE
        if core.stop_trigger == BY_LAST or is_marked or (core.stop_trigger == BY_BOOK and is_blind):
            match_stops(core, index)
    if core.tells_prints == 1:
        begin_event(core, PRINT_EVENT, index, 0)


@inner
def _apply_quote(core: Any, record: Any, index: int) -> None:
    instrument = instrument_at(core, index)
    instrument.quote_bid, instrument.quote_bid_lots = record.a, record.b
    instrument.quote_ask, instrument.quote_ask_lots = record.c, record.d
    if book_at(core, index).state == BOOK_NONE and core.live_orders > 0:
        match_quoted(core, index)
        if core.stop_trigger == BY_BOOK:
            match_stops(core, index)


@inner
def _apply_mark(core: Any, record: Any, index: int) -> None:
    instrument = instrument_at(core, index)
    instrument.has_mark = MARKED_BY_VENUE
    mark_at(core, index, (record.a + MICRO // 2) // MICRO)
    if core.stop_trigger == BY_MARK and core.live_orders > 0:
        match_stops(core, index)


@inner
def _apply_funding(core: Any, record: Any, index: int) -> None:
    """Funding on what was held at its time, once for each time."""
    begin_event(core, FUNDING_EVENT, index, 0)
    instrument = instrument_at(core, index)
    mark_micro = record.b if record.b > 0 else instrument.mark * MICRO
    if instrument.kind == SPOT or record.ts_exchange_ns <= instrument.funding_ts_ns or mark_micro == 0:
        return
    instrument.funding_ts_ns = record.ts_exchange_ns
    reason = BY_STATIC_RATE if record.flags & STATIC_RATE != 0 else BY_VENUE_RATE
    for strategy in range(core.strategy_count):
        ledger = ledger_of(core, strategy, index)
        lots = ledger.boundary_lots if record.ts_exchange_ns <= instrument.boundary_ns else ledger.lots
        if lots == 0:
            continue
        units = lots * instrument.factor
        amount = muldiv(units, MICRO, mark_micro) if instrument.kind == INVERSE else muldiv(units, mark_micro, MICRO)
        payment = muldiv(amount, record.a, E12)
        ledger.funding += payment
        core.cash -= payment
        core.funding += payment
        trade_id = 0
        if ledger.lots != 0:
            ledger.trade_funding += payment
            trade_id = ledger.trade_id
        head = header(FUNDING_OUTPUT, 0, reason, 0, strategy, index)
        emit(core, head, record.a, mark_micro, lots, payment, core.cash, trade_id, 0, 0, 0, 0, 0, 0, 0)


@inner
def _apply_gap(core: Any, record: Any) -> None:
    first, last = 0, core.instrument_count
    if record.instrument != ALL_INSTRUMENTS:
        first = as_int64(record.instrument)
        last = first + 1
    for index in range(first, last):
        invalidate(core, index)
        instrument = instrument_at(core, index)
        instrument.quote_bid, instrument.quote_bid_lots, instrument.quote_ask, instrument.quote_ask_lots = 0, 0, 0, 0
    begin_event(core, GAP_EVENT, first, last)


@inner
def _deliver_all(core: Any) -> None:
    date_reports(core)
    while core.report_count > 0:
        deliver_report(core)


@inner
def _end_tape(core: Any) -> None:
    """Cancel what works and, if the settings say so, close every position."""
    _deliver_all(core)
    for ledger_index in range(core.ledger_count):
        cancel_ledger(core, ledger_index, BY_END)
    core.is_ending = 1
    if core.is_close_at_end == 1:
        for ledger_index in range(core.ledger_count):
            if ledger_at(core, ledger_index).lots != 0:
                close_now(core, ledger_index)
    core.is_ending = 0
    sample(core)
    _deliver_all(core)


@inner
def _apply(core: Any, record: Any, index: int) -> None:
    kind = record.kind
    if kind == PRINT:
        _apply_print(core, record, index)
    elif kind == QUOTE:
        _apply_quote(core, record, index)
    elif kind == MARK:
        _apply_mark(core, record, index)
    elif kind == FUNDING:
        _apply_funding(core, record, index)
    elif kind == GAP:
        _apply_gap(core, record)
    elif kind == END:
        _end_tape(core)


@inner
def _before(core: Any, record: Any, index: int) -> int:
    """Everything that happens before a record: the clock, then what reaches the venue, then bars; WAKE_DONE at its end.

    Each happens once, wherever a strategy in Python interrupts it: `core.stage` says how far it has come.
    """
    if core.stage == 0:
        if core.is_clock_running == 0:
            start_clock(core, record.ts_receive_ns)
        if record.kind == GAP and record.a == GAP_DOWNTIME:
            skip_clock(core, record.ts_receive_ns)
        elif core.next_due_ns <= record.ts_receive_ns:
            wake = run_clock(core, record.ts_receive_ns)
            if wake != WAKE_DONE:
                return wake
        core.record_ns = record.ts_receive_ns
        if not _is_of_market(record.kind):
            return WAKE_DONE
        _reach_venue(core, index, _venue_ns(core, record, index))
        if record.kind != PRINT:
            return WAKE_DONE
        core.stage = 1
    wake = _close_bars(core, index, record.ts_receive_ns, _print_ns(core, record, index))
    if wake == WAKE_DONE:
        core.stage = 0
    return wake


@inner
def _reach_venue(core: Any, index: int, venue_ns: int) -> None:
    """Let the venue's time pass up to a record's."""
    instrument = instrument_at(core, index)
    if venue_ns >= instrument.next_hour_ns or instrument.next_hour_ns == NEVER:
        note_hour(core, index, venue_ns)
    if venue_ns >= instrument.venue_due_ns:
        venue_phase(core, index, venue_ns)


@inner
def _close_bars(core: Any, index: int, ts_ns: int, venue_ns: int) -> int:
    """Close the bars that a print's time ends, telling strategies of each."""
    while True:
        builder = first_builder_due(core, index, venue_ns)
        if builder < 0:
            return WAKE_DONE
        if core.bar_row_count >= core.bar_row_capacity:
            return WAKE_BARS_FULL
        core.ts_ns = max(core.ts_ns, ts_ns)
        close_bar(core, builder)
        begin_event(core, BAR_EVENT, builder_at(core, builder).instrument, builder)
        wake = dispatch(core)
        if wake != WAKE_DONE:
            return wake


@inner
def _lacks(core: Any, record: Any, index: int) -> int:
    """What stops the core before a record is touched."""
    if not _is_sound(core, record):
        return WAKE_BAD_RECORD
    kind = record.kind
    if kind == LEVEL:
        if not has_room(core, book_at(core, index)):
            core.room_needed = index
            return WAKE_BOOK_FULL
    elif kind == PRINT:
        if record.a > instrument_at(core, index).safe_ticks:
            return WAKE_CAPACITY
    elif kind == MARK:
        if record.a // MICRO >= instrument_at(core, index).safe_ticks:
            return WAKE_CAPACITY
    elif kind == END and core.sample_count >= core.sample_capacity:
        return WAKE_SAMPLES_FULL
    return lacks_room(core, core.ledger_count)


@inner
def _after(core: Any) -> int:
    """Tell of the record's own event, then let the clock catch up with the record."""
    wake = dispatch(core)
    if wake == WAKE_DONE and core.next_due_ns <= core.ts_ns:
        wake = run_clock(core, core.ts_ns)
    if wake == WAKE_DONE:
        core.is_record_open = 0
    return wake


@kernel
def advance_book(state: Any, events: Any, start: int, stop: int) -> int:
    """Consume records [start, stop) of a tape; returns the next one's index, and says in `core.wake` why it stopped.

    With WAKE_EVENT a strategy is to be told of `core.event` by the caller, who then calls again. Cutting the same
    records into other batches changes nothing: everything that lasts is in `state`.
    """
    core = state[0]
    core.wake = WAKE_DONE
    position = start
    if core.is_record_open == 1:
        core.wake = _after(core)
        if core.wake != WAKE_DONE:
            return position
    while position < stop:
        record = events[position]
        index = as_int64(record.instrument)
        if core.open_message != 0:
            if continues(core, record):
                position = run_levels(core, events, position, stop)
                if core.wake == WAKE_DONE and core.is_record_open == 1:
                    core.wake = _after(core)
                if core.wake != WAKE_DONE or core.defect != 0:
                    break
                continue
            if not _is_sound(core, record):
                core.wake = WAKE_BAD_RECORD
                return position
            break_message(core)
        core.wake = dispatch(core)
        if core.wake == WAKE_DONE:
            core.wake = _lacks(core, record, index)
        if core.wake == WAKE_DONE:
            core.wake = _before(core, record, index)
        if core.wake != WAKE_DONE:
            return position
        if record.kind == LEVEL:
            begin_message(core, record, index)
            continue
        core.seq += 1
        core.ts_ns = record.ts_receive_ns
        if _is_of_market(record.kind):
            offset = instrument_at(core, index).offset_ns
            core.ts_ns = min(record.ts_receive_ns, _venue_ns(core, record, index) - offset)
        _apply(core, record, index)
        core.ts_ns = record.ts_receive_ns
        position += 1
        if core.defect != 0:
            break
        core.is_record_open = 1
        core.wake = _after(core)
        if core.wake != WAKE_DONE or core.defect != 0:
            break
    if core.defect != 0:
        core.wake = WAKE_DEFECT
    return position


@kernel
def submit_book(state: Any, requests: Any) -> int:
    """Carry out requests now, between two records; returns how many."""
    core = state[0]
    for index in range(requests.shape[0]):
        apply_request(core, requests[index])
    return requests.shape[0]
