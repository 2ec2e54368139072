"""What a strategy is told of its orders, and when: a queue of reports that arrive after the response latency.

Bars know no such lag: there this queue stays empty.
"""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.latency import response_latency
from engine.kernels.layout import REJECTED
from engine.kernels.tables import order_at, report_at


@inner
def push_report(core: Any, slot: int, lots_change: int, cost_change: int, row: int) -> None:
    """Queue what has just happened to an order, with the change that a fill made to its ledger.

    `row`: the number of the output that says it. An order that is refused while it is sent is known at once.
    """
    order = order_at(core, slot)
    due_ns = core.ts_ns
    if order.state != REJECTED or order.send_number != 0:
        due_ns = max(due_ns + response_latency(core, due_ns), core.record_ns)
    due_ns = max(due_ns, core.last_report_ns)
    core.last_report_ns = due_ns
    place = core.report_head + core.report_count
    if place >= core.report_capacity:
        place -= core.report_capacity
    core.report_count += 1
    report = report_at(core, place)
    report.due_ns, report.slot, report.state, report.filled_lots = due_ns, slot, order.state, order.filled_lots
    report.lots_change, report.cost_change = lots_change, cost_change
    report.row = row
    core.next_due_ns = min(core.next_due_ns, due_ns)
