"""The worst and the best that equity could have been, where bars do not say which order they met first."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from engine.bars import IntColumn
from engine.figures.equity import EquityCurve


class EquityBand(msgspec.Struct, frozen=True):
    """Pointwise least and greatest equity in cash units, one value for each row of the run's curve.

    It is the envelope of the curves that the same run gives under every same-bar priority, the run's own among them.
    """

    ts_ns: IntColumn
    worst: IntColumn
    best: IntColumn

    @property
    def widest(self) -> int:
        """The greatest distance between best and worst at any bar, in cash units."""
        return int(np.max(self.best - self.worst, initial=0))

    @property
    def final(self) -> int:
        """The distance between best and worst at the end, in cash units."""
        return int(self.best[-1] - self.worst[-1]) if len(self.best) else 0


def envelope(curve: EquityCurve, others: Sequence[EquityCurve]) -> EquityBand:
    """The band around a curve and others of the same bars."""
    assert all(np.array_equal(curve.ts_ns, other.ts_ns) for other in others), "curves of other bars"
    columns = [curve.equity, *(other.equity for other in others)]
    return EquityBand(curve.ts_ns, np.minimum.reduce(columns), np.maximum.reduce(columns))
