"""Which times of a range are missing, as spans `[start, end)` in ns: the arithmetic of a download that goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from engine.bars import IntColumn

Span: TypeAlias = tuple[int, int]


def on_grid(start_ns: int, end_ns: int, step_ns: int) -> Span:
    """The opens inside `[start_ns, end_ns)` of bars that begin at multiples of a step: the first, and one past them."""
    first_ns = -(-start_ns // step_ns) * step_ns
    return first_ns, max(first_ns, -(-end_ns // step_ns) * step_ns)


def missing_bars(ts_ns: IntColumn, step_ns: int, start_ns: int, end_ns: int) -> list[Span]:
    """The runs of opens inside `[start_ns, end_ns)` that are not among increasing times."""
    first_ns, stop_ns = on_grid(start_ns, end_ns, step_ns)
    if first_ns >= stop_ns:
        return []
    inside = ts_ns[np.searchsorted(ts_ns, first_ns) : np.searchsorted(ts_ns, stop_ns)]
    inside = inside[inside % step_ns == 0]
    edges = np.concatenate(([first_ns - step_ns], inside, [stop_ns])).astype(np.int64)
    places = np.flatnonzero(np.diff(edges) > step_ns)
    return [(int(edges[place]) + step_ns, int(edges[place + 1])) for place in places]


def missing_settlements(ts_ns: IntColumn, longest_ns: int, start_ns: int, end_ns: int) -> list[Span]:
    """Where settlements may be missing: before the first, after the last, and where two lie further apart than any.

    They follow no grid: venues change the interval. `longest_ns` is the longest that they use.
    """
    if start_ns >= end_ns:
        return []
    inside = ts_ns[np.searchsorted(ts_ns, start_ns) : np.searchsorted(ts_ns, end_ns)]
    if not len(inside):
        return [(start_ns, end_ns)]
    found = [(start_ns, int(inside[0]))]
    places = np.flatnonzero(np.diff(inside) > longest_ns)
    found += [(int(inside[place]) + 1, int(inside[place + 1])) for place in places]
    found.append((int(inside[-1]) + 1, end_ns))
    return [span for span in found if span[0] < span[1]]


def joined(spans: Iterable[Span], distance_ns: int) -> list[Span]:
    """Spans in order, those at most so far apart made one: a few rows asked for again cost less than a request."""
    found: list[Span] = []
    for start_ns, end_ns in spans:
        if found and start_ns - found[-1][1] <= distance_ns:
            found[-1] = (found[-1][0], end_ns)
        else:
            found.append((start_ns, end_ns))
    return found


def length_of(spans: Iterable[Span]) -> int:
    """How long they are together, ns."""
    return sum(end_ns - start_ns for start_ns, end_ns in spans)
