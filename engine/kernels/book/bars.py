"""Bars from prints: closed by the venue's time, also when nothing trades."""

from __future__ import annotations

from typing import Any

from engine.kernels.compile import inner
from engine.kernels.layout import NEVER
from engine.kernels.tables import bar_row_at, builder_at, instrument_at


@inner
def bar_due_ns(core: Any, index: int) -> int:
    """The host's time at which a builder's bar closes although no print has said so."""
    builder = builder_at(core, index)
    if builder.start_ns == NEVER:
        return NEVER
    offset = instrument_at(core, builder.instrument).offset_ns
    return builder.start_ns + builder.timeframe_ns - offset + core.lateness_ns


@inner
def first_builder_due(core: Any, index: int, venue_ns: int) -> int:
    """The first of an instrument's builders whose bar is over at a time of the venue; -1 where none is."""
    instrument = instrument_at(core, index)
    for number in range(instrument.first_builder, instrument.first_builder + instrument.builder_count):
        builder = builder_at(core, number)
        if builder.start_ns != NEVER and venue_ns >= builder.start_ns + builder.timeframe_ns:
            return number
    return -1


@inner
def close_bar(core: Any, index: int) -> None:
    """Write a builder's bar down and begin the next one at its close."""
    builder = builder_at(core, index)
    row = bar_row_at(core, core.bar_row_count)
    row.builder, row.start_ns = index, builder.start_ns
    row.open, row.high, row.low, row.close = builder.open, builder.high, builder.low, builder.close
    row.volume, row.prints, row.closed_ns = builder.volume, builder.prints, core.ts_ns
    core.bar_row_count += 1
    builder.closed_count += 1
    builder.start_ns += builder.timeframe_ns
    builder.open, builder.high, builder.low = builder.close, builder.close, builder.close
    builder.volume, builder.prints = 0, 0
    instrument = instrument_at(core, builder.instrument)
    if index == instrument.first_builder:
        instrument.bars += 1
    core.next_due_ns = min(core.next_due_ns, bar_due_ns(core, index))


@inner
def add_print(core: Any, index: int, venue_ns: int, price: int, lots: int) -> None:
    """Count a print into every bar of its instrument."""
    instrument = instrument_at(core, index)
    for number in range(instrument.first_builder, instrument.first_builder + instrument.builder_count):
        builder = builder_at(core, number)
        if builder.start_ns == NEVER:
            builder.start_ns = (venue_ns // builder.timeframe_ns) * builder.timeframe_ns
            builder.volume, builder.prints = 0, 0
            core.next_due_ns = min(core.next_due_ns, bar_due_ns(core, number))
        if builder.prints == 0:
            builder.open, builder.high, builder.low = price, price, price
        else:
            builder.high = max(builder.high, price)
            builder.low = min(builder.low, price)
        builder.close = price
        builder.volume += lots
        builder.prints += 1
