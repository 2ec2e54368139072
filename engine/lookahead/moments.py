"""Where to cut: at decisions, at the edges of higher timeframes, and evenly between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.bars import IntColumn, timeframe_ns
from engine.lookahead.decisions import Decision

_EDGES_EACH = 2


def moments(
    closes_ns: IntColumn, decisions: Sequence[Decision], timeframes: Sequence[str], most: int, *, is_ahead: bool
) -> list[int]:  # fmt: skip
    """Closes of bars to cut after, at most so many, by time.

    Half of them and more lie right at a decision: there a bar of foresight shows. The first of each strategy and the
    last are always among them, then they are spread. `is_ahead`: the strategies compute whole columns, which too few
    bars may not be enough for, so nothing is cut before the first decision.
    """
    if not len(closes_ns) or not decisions:
        return []
    first, last = int(closes_ns[0]), int(closes_ns[-2]) if len(closes_ns) > 1 else int(closes_ns[-1])
    at = [decision.ts_ns for decision in decisions if first <= decision.ts_ns <= last]
    starts = {decision.strategy: decision.ts_ns for decision in reversed(decisions)}
    chosen = [moment for moment in [*starts.values(), *at[-1:]] if first <= moment <= last]
    around: list[int] = []
    for timeframe in timeframes:  # right before a higher bar is over, and right at it
        length = timeframe_ns(timeframe)
        edges = np.flatnonzero(closes_ns % length == 0)[1:]
        for place in _spread(edges.tolist(), _EDGES_EACH):
            around += [int(closes_ns[max(0, place - 1)]), int(closes_ns[place])]
    quarter = max(1, most // 4)
    around = around[:quarter]
    around += _spread(closes_ns[:-1].tolist(), max(1, quarter - len(around)) + 2)[1:-1]
    if is_ahead:
        around = [moment for moment in around if moment >= min(starts.values())]
    chosen = list(dict.fromkeys([*chosen, *around]))[:most]
    left = [moment for moment in dict.fromkeys(at) if moment not in chosen]
    chosen += _spread(left, most - len(chosen))
    return sorted(set(chosen))


def _spread(values: Sequence[int], count: int) -> list[int]:
    """So many of the values, evenly, the first and the last among them."""
    if count <= 0 or not values:
        return []
    if count >= len(values):
        return list(values)
    return [values[place] for place in np.linspace(0, len(values) - 1, count).round().astype(int).tolist()]
