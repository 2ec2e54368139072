"""Bars from columns to records, in one pass over both."""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import kernel
from engine.kernels.layout import BAR


@kernel
def fill_bars(records: Any, instrument: int, length_ns: int, ts_ns: Any, opened: Any, high: Any, low: Any, closed: Any,
              volume: Any) -> None:  # fmt: skip
    """Write one BAR for each bar; prices in ticks, volume in lots, all columns and `records` equally long."""
    for index in range(ts_ns.shape[0]):
        record = records[index]
        record.ts_exchange_ns = ts_ns[index]
        record.ts_receive_ns = ts_ns[index] + length_ns
        record.kind = BAR
        record.flags = 0
        record.instrument = instrument
        record.source = 0
        record.spare = 0
        record.a = opened[index]
        record.b = high[index]
        record.c = low[index]
        record.d = closed[index]
        record.e = volume[index]
