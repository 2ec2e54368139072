"""Time on a tape: what is due when, and what happens then. Time passes only through records."""

from __future__ import annotations

from typing import Any

from engine.kernels.book.bars import bar_due_ns, close_bar
from engine.kernels.book.events import begin_event, dispatch, lacks_room
from engine.kernels.book.matching import run_waiting
from engine.kernels.book.queue import leave_queue
from engine.kernels.book.venue import venue_phase
from engine.kernels.compile import inner
from engine.kernels.guards import end_step
from engine.kernels.latency import response_latency
from engine.kernels.layout import (
    BAR_EVENT,
    FILLED,
    NEVER,
    ORDER_EVENT,
    TIMER_EVENT,
    WAKE_BARS_FULL,
    WAKE_DONE,
    WAKE_SAMPLES_FULL,
)
from engine.kernels.orders import retire
from engine.kernels.tables import builder_at, instrument_at, ledger_at, ledger_of, order_at, report_at

_VENUE, _REPORT, _BAR, _SAMPLE, _TIMER = 0, 1, 2, 3, 4


@inner
def date_reports(core: Any) -> None:
    """Find out when the reports that were noted since the last look are due: none overtakes another."""
    for number in range(core.report_count - core.undated_reports, core.report_count):
        place = core.report_head + number
        if place >= core.report_capacity:
            place -= core.report_capacity
        report = report_at(core, place)
        due_ns = report.due_ns
        if report.is_immediate == 0:
            due_ns = max(due_ns + response_latency(core, due_ns), report.record_ns)
        core.last_report_ns = max(core.last_report_ns, due_ns)
        report.due_ns = core.last_report_ns
    core.undated_reports = 0


@inner
def deliver_report(core: Any) -> tuple[int, int]:
    """Let the first report arrive; returns (strategy, instrument) of its order, whose slot goes back with its last."""
    report = report_at(core, core.report_head)
    core.report_head += 1
    if core.report_head == core.report_capacity:
        core.report_head = 0
    core.report_count -= 1
    slot = report.slot
    order = order_at(core, slot)
    strategy, index = order.strategy, order.instrument
    order.known_state, order.known_filled_lots = report.state, report.filled_lots
    ledger = ledger_of(core, strategy, index)
    ledger.known_lots += report.lots_change
    ledger.known_cost += report.cost_change
    core.event_word, core.event_state, core.event_row = order.id, report.state, report.row
    if report.state >= FILLED:
        leave_queue(core, slot)
        retire(core, slot)
    return strategy, index


@inner
def sample(core: Any) -> None:
    """Sample the account, let the guards look, and let what they ordered trade."""
    end_step(core)
    for index in range(core.instrument_count):
        run_waiting(core, index)


@inner
def _next_due(core: Any) -> tuple[int, int, int]:
    """(host's time, rank, index) of what is due first."""
    date_reports(core)
    time_ns, rank, found = NEVER, _SAMPLE, 0
    for index in range(core.instrument_count):
        instrument = instrument_at(core, index)
        if instrument.venue_due_ns != NEVER:
            due_ns = instrument.venue_due_ns - instrument.offset_ns + core.lateness_ns
            if due_ns < time_ns:
                time_ns, rank, found = due_ns, _VENUE, index
    if core.report_count > 0:
        due_ns = report_at(core, core.report_head).due_ns
        if due_ns < time_ns:
            time_ns, rank = due_ns, _REPORT
    for index in range(core.builder_count):
        due_ns = bar_due_ns(core, index)
        if due_ns < time_ns:
            time_ns, rank, found = due_ns, _BAR, index
    if core.next_sample_ns < time_ns:
        time_ns, rank = core.next_sample_ns, _SAMPLE
    for index in range(core.ledger_count):
        ledger = ledger_at(core, index)
        if ledger.timer_ns > 0 and ledger.timer_due_ns < time_ns:
            time_ns, rank, found = ledger.timer_due_ns, _TIMER, index
    return time_ns, rank, found


@inner
def _lacks_rows(core: Any) -> int:
    if core.sample_count >= core.sample_capacity:
        return WAKE_SAMPLES_FULL
    if core.bar_row_count >= core.bar_row_capacity:
        return WAKE_BARS_FULL
    return lacks_room(core, core.ledger_count)


@inner
def _happen(core: Any, time_ns: int, rank: int, index: int) -> None:
    """Let what is due happen; who must be told of it is noted as the present event."""
    core.ts_ns = max(core.ts_ns, time_ns)
    core.record_ns = time_ns
    count = core.instrument_count
    if rank == _VENUE:
        venue_phase(core, index, instrument_at(core, index).venue_due_ns)
    elif rank == _REPORT:
        strategy, instrument_index = deliver_report(core)
        begin_event(core, ORDER_EVENT, instrument_index, core.event_word)
        core.event_strategy, core.event_next = strategy, strategy
    elif rank == _BAR:
        close_bar(core, index)
        begin_event(core, BAR_EVENT, builder_at(core, index).instrument, index)
    elif rank == _SAMPLE:
        core.next_sample_ns += core.sample_ns
        sample(core)
    else:
        ledger = ledger_at(core, index)
        ledger.timer_due_ns += ledger.timer_ns
        begin_event(core, TIMER_EVENT, index % count, 0)
        core.event_strategy, core.event_next = index // count, index // count


@inner
def run_clock(core: Any, until_ns: int) -> int:
    """Let everything happen that is due up to a host's time; WAKE_DONE when all has."""
    while True:
        wake = dispatch(core)
        if wake != WAKE_DONE:
            return wake
        time_ns, rank, index = _next_due(core)
        if time_ns > until_ns:
            core.next_due_ns = time_ns
            return WAKE_DONE
        lack = _lacks_rows(core)
        if lack != WAKE_DONE:
            return lack
        _happen(core, time_ns, rank, index)


@inner
def _multiple_from(ts_ns: int, interval_ns: int) -> int:
    """The first multiple of an interval at or after a time."""
    return -((-ts_ns) // interval_ns) * interval_ns


@inner
def start_clock(core: Any, ts_ns: int) -> None:
    """Samples and timers begin with their first time at or after the first record's."""
    core.is_clock_running = 1
    if core.sample_ns > 0:
        core.next_sample_ns = _multiple_from(ts_ns, core.sample_ns)
    for index in range(core.ledger_count):
        ledger = ledger_at(core, index)
        if ledger.timer_ns > 0:
            ledger.timer_due_ns = _multiple_from(ts_ns, ledger.timer_ns)
    core.next_due_ns = min(core.next_due_ns, ts_ns)


@inner
def skip_clock(core: Any, ts_ns: int) -> None:
    """After a time in which nothing was recorded: no timer, sample or bar for it."""
    if core.sample_ns > 0:
        core.next_sample_ns = max(core.next_sample_ns, _multiple_from(ts_ns + 1, core.sample_ns))
    for index in range(core.ledger_count):
        ledger = ledger_at(core, index)
        if ledger.timer_ns > 0:
            ledger.timer_due_ns = max(ledger.timer_due_ns, _multiple_from(ts_ns + 1, ledger.timer_ns))
    for index in range(core.builder_count):
        builder_at(core, index).start_ns = NEVER
    core.next_due_ns = min(core.next_due_ns, ts_ns)
