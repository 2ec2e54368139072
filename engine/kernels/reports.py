"""What a strategy is told of its orders: a queue of reports that arrive after the response latency.

Bars know no such lag: there this queue stays empty. A report is only noted here; when it is due is found out later, in
the loop over tapes (`book/clock.py`), so that little of it is compiled into the loop over bars.
"""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.layout import REJECTED
from engine.kernels.tables import order_at, report_at


@inner
def push_report(core: Any, slot: int, lots_change: int, cost_change: int, row: int) -> None:
    """Queue what has just happened to an order, with the change that a fill made to its ledger.

    `row`: the number of the output that says it. An order that is refused while it is sent is known at once.
    """
    order = order_at(core, slot)
    place = core.report_head + core.report_count
    if place >= core.report_capacity:
        place -= core.report_capacity
    core.report_count += 1
    core.undated_reports += 1
    report = report_at(core, place)
    report.due_ns, report.record_ns, report.slot = core.ts_ns, core.record_ns, slot
    report.is_immediate = 1 if order.state == REJECTED and order.send_number == 0 else 0
    report.state, report.filled_lots = order.state, order.filled_lots
    report.lots_change, report.cost_change, report.row = lots_change, cost_change, row
    core.next_due_ns = min(core.next_due_ns, core.ts_ns)
