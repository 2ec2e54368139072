"""How compiled code reaches the state: one record `core` that holds figures, settings, and where the tables lie.

Passing the tables themselves as arrays makes every call carry some hundred words: measured, a year of minutes
took 250 ms and two minutes to compile, against 10 ms and some seconds with one pointer. So `core` is the only
argument, and a row is a record at an address. `engine/state.py` owns the arrays and writes their addresses;
with TAPEWRIGHT_CHECK_BOUNDS=1 every access is checked against the table's count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np import numpy_support

from engine.kernels import layout
from engine.kernels.compile import CHECK_BOUNDS, inner


def row_at(dtype: np.dtype[Any]) -> Callable[[int, int], Any]:
    """An intrinsic that turns an address and an index into a record of `dtype`."""
    record = numpy_support.from_dtype(dtype)
    size = dtype.itemsize

    @intrinsic
    def row_at(_typing: Any, _address: Any, _index: Any) -> Any:
        def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, index = arguments
            offset = builder.mul(index, context.get_constant(types.int64, size))
            return builder.inttoptr(builder.add(address, offset), context.get_value_type(record))

        return record(types.int64, types.int64), code

    return cast("Callable[[int, int], Any]", row_at)


_instrument = row_at(layout.INSTRUMENT)
_strategy = row_at(layout.STRATEGY)
_ledger = row_at(layout.LEDGER)
_tier = row_at(layout.TIER)
_order = row_at(layout.ORDER)
_node = row_at(layout.NODE)
_place = row_at(layout.PLACE)
_output = row_at(layout.OUTPUT)
_sample = row_at(layout.SAMPLE)
_book = row_at(layout.BOOK)
_cell = row_at(layout.CELL)
_far = row_at(layout.FAR)
_builder = row_at(layout.BUILDER)
_report = row_at(layout.REPORT)
_latency = row_at(layout.LATENCY)
_bar_row = row_at(layout.BAR_ROW)
_asked = row_at(layout.REQUEST)
_core = row_at(layout.CORE)


@inner
def _check(index: int, count: int) -> None:
    if index < 0 or index >= count:
        raise IndexError("a table of the core was read out of bounds")


@inner
def instrument_at(core: Any, index: int) -> Any:
    """One INSTRUMENT."""
    if CHECK_BOUNDS:
        _check(index, core.instrument_count)
    return _instrument(core.instruments, index)


@inner
def strategy_at(core: Any, index: int) -> Any:
    """One STRATEGY."""
    if CHECK_BOUNDS:
        _check(index, core.strategy_count)
    return _strategy(core.strategies, index)


@inner
def ledger_at(core: Any, index: int) -> Any:
    """One LEDGER by its index, strategy · N + instrument."""
    if CHECK_BOUNDS:
        _check(index, core.ledger_count)
    return _ledger(core.ledgers, index)


@inner
def ledger_of(core: Any, strategy: int, instrument: int) -> Any:
    """The LEDGER of a strategy on an instrument."""
    return ledger_at(core, strategy * core.instrument_count + instrument)


@inner
def tier_at(core: Any, index: int) -> Any:
    """One TIER."""
    if CHECK_BOUNDS:
        _check(index, core.tier_count)
    return _tier(core.tiers, index)


@inner
def order_at(core: Any, slot: int) -> Any:
    """One ORDER by its slot."""
    if CHECK_BOUNDS:
        _check(slot, core.order_capacity)
    return _order(core.orders, slot)


@inner
def node_at(core: Any, heap: int, slot: int) -> Any:
    """The NODE by which an order's slot stands in one of three heaps."""
    if CHECK_BOUNDS:
        _check(slot, core.order_capacity)
    return _node(core.nodes, slot * 3 + heap)


@inner
def root_at(core: Any, instrument: int, root: int) -> Any:
    """The PLACE that holds one root of an instrument's heaps."""
    if CHECK_BOUNDS:
        _check(instrument, core.instrument_count)
    return _place(core.roots, instrument * layout.ROOTS + root)


@inner
def set_at(core: Any, strategy: int, member: int) -> Any:
    """The PLACE that holds one of a strategy's eight heaps used inside a bar."""
    if CHECK_BOUNDS:
        _check(strategy, core.strategy_count)
    return _place(core.sets, strategy * layout.SETS + member)


@inner
def table_at(core: Any, place: int) -> Any:
    """One PLACE of the table from order id to slot."""
    if CHECK_BOUNDS:
        _check(place, core.table_size)
    return _place(core.table, place)


@inner
def output_at(core: Any, row: int) -> Any:
    """One OUTPUT."""
    if CHECK_BOUNDS:
        _check(row, core.output_capacity)
    return _output(core.outputs, row)


@inner
def sample_at(core: Any, row: int) -> Any:
    """One SAMPLE."""
    if CHECK_BOUNDS:
        _check(row, core.sample_capacity)
    return _sample(core.samples, row)


@inner
def book_at(core: Any, index: int) -> Any:
    """The BOOK of an instrument."""
    if CHECK_BOUNDS:
        _check(index, core.instrument_count)
    return _book(core.books, index)


@inner
def cell_at(core: Any, place: int) -> Any:
    """One CELL: (2 · instrument + side) · window + place in the window."""
    if CHECK_BOUNDS:
        _check(place, core.cell_count)
    return _cell(core.cells, place)


@inner
def first_at(core: Any, place: int) -> Any:
    """The PLACE beside a cell: the first of our orders resting at its price, slot + 1."""
    if CHECK_BOUNDS:
        _check(place, core.cell_count)
    return _place(core.firsts, place)


@inner
def far_at(core: Any, place: int) -> Any:
    """One FAR: a level outside its book's window."""
    if CHECK_BOUNDS:
        _check(place, core.far_count)
    return _far(core.fars, place)


@inner
def builder_at(core: Any, index: int) -> Any:
    """One BUILDER of bars."""
    if CHECK_BOUNDS:
        _check(index, core.builder_count)
    return _builder(core.builders, index)


@inner
def report_at(core: Any, place: int) -> Any:
    """One REPORT of the ring."""
    if CHECK_BOUNDS:
        _check(place, core.report_capacity)
    return _report(core.reports, place)


@inner
def latency_at(core: Any, index: int) -> Any:
    """One LATENCY row."""
    if CHECK_BOUNDS:
        _check(index, core.latency_count)
    return _latency(core.latencies, index)


@inner
def bar_row_at(core: Any, row: int) -> Any:
    """One BAR_ROW: a bar that a builder closed."""
    if CHECK_BOUNDS:
        _check(row, core.bar_row_capacity)
    return _bar_row(core.bar_rows, row)


@inner
def asked_at(core: Any, row: int) -> Any:
    """One REQUEST that a compiled strategy has written down."""
    if CHECK_BOUNDS:
        _check(row, core.asked_capacity)
    return _asked(core.asked, row)


@inner
def core_at(address: int) -> Any:
    """The CORE record at an address, as a compiled strategy is handed it."""
    return _core(address, 0)
