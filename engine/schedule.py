"""The calls of `on_bar` of a run on bars, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bar_runner import BarRunner
from engine.ctx import Context

# The runner, and what the loop over the bars needs of it, looked up once.
Called = tuple[BarRunner, Context, Callable[[int], None], Callable[[Context, int], object]]
Call = tuple[int, int, Called]
"""Records to have been seen, the bar's index (those from before the run come first), who is called."""

_CHUNK = 8_192


def calls_in_order(runners: Sequence[BarRunner]) -> Iterator[Call]:
    """Each call there is to make: when its bar is over; of calls at one moment that of the earlier runner first."""
    active = [runner for runner in runners if runner.on_bar is not None]
    if len(active) == 1:
        stops, first = active[0].bar_stops, active[0].first
        return zip(_numbers(stops), range(first, first + len(stops)), repeat(_called(active[0])), strict=False)
    calls = [
        np.column_stack((stops, np.full(len(stops), order), np.arange(runner.first, runner.first + len(stops))))
        for order, runner in enumerate(active)
        for stops in [runner.bar_stops]
    ]
    if not calls:
        return iter(())
    table = np.concatenate(calls)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    chunks = (table[start : start + _CHUNK].T.tolist() for start in range(0, len(table), _CHUNK))
    called = [_called(runner) for runner in active]
    return chain.from_iterable(
        zip(stops, indexes, map(called.__getitem__, orders), strict=True) for stops, orders, indexes in chunks
    )


def _called(runner: BarRunner) -> Called:
    assert runner.on_bar is not None, "only who has one is called"
    return runner, runner.context, runner.context.show, runner.on_bar


def _numbers(table: NDArray[np.int64]) -> Iterator[Any]:
    """The rows as Python's numbers, some at a time: a year of them at once is twenty megabytes."""
    return chain.from_iterable(table[start : start + _CHUNK].tolist() for start in range(0, len(table), _CHUNK))
