"""How long orders and answers travel: measured rows, straight lines between them."""

from __future__ import annotations

from typing import Any

from engine.kernels.arithmetic import muldiv
from engine.kernels.compile import inner
from engine.kernels.tables import latency_at


@inner
def _row_before(core: Any, ts_ns: int) -> int:
    """The last row whose time is not after `ts_ns`; -1 where none is."""
    low, high = 0, core.latency_count
    while low < high:
        middle = (low + high) // 2
        if latency_at(core, middle).ts_ns <= ts_ns:
            low = middle + 1
        else:
            high = middle
    return low - 1


@inner
def _between(first: int, second: int, passed_ns: int, span_ns: int) -> int:
    return first + muldiv(second - first, passed_ns, span_ns)


@inner
def entry_latency(core: Any, ts_ns: int) -> int:
    """How long an order that is sent at a host's time takes to the venue, ns."""
    index = _row_before(core, ts_ns)
    if index < 0 or index == core.latency_count - 1:
        return latency_at(core, max(index, 0)).entry_ns
    row, after = latency_at(core, index), latency_at(core, index + 1)
    return _between(row.entry_ns, after.entry_ns, ts_ns - row.ts_ns, after.ts_ns - row.ts_ns)


@inner
def response_latency(core: Any, ts_ns: int) -> int:
    """How long the answer to what happens at a host's time takes back, ns."""
    index = _row_before(core, ts_ns)
    if index < 0 or index == core.latency_count - 1:
        return latency_at(core, max(index, 0)).response_ns
    row, after = latency_at(core, index), latency_at(core, index + 1)
    return _between(row.response_ns, after.response_ns, ts_ns - row.ts_ns, after.ts_ns - row.ts_ns)
