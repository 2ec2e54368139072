"""Higher timeframes: bars made of smaller ones, and when each of them is known.

A higher bar holds the bars that open in [T, T + length), T a multiple of the length since 1970. It is known at the
close of the first smaller bar that closes at T + length or later, and depends on no bar after that. Nothing is
rounded on the way: opens, closes, highs and lows are taken as they are, and volumes are summed as whole numbers of
their own last decimal.

A first bar of which the beginning is missing is left out, and so is a last one that is not over yet.
"""

from __future__ import annotations

from decimal import Context, Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, FloatColumn, IntColumn, timeframe_ns
from engine.errors import StrategyError, UsageError

_DECIMALS_MOST = 12
_UNITS_MOST = 2.0**50  # a value scaled to fewer units than this is off by less than half a unit
_TOTAL_MOST = 2.0**52  # and sums below this are exact in a double
_DIGITS = Context(prec=80)


class Higher(msgspec.Struct, frozen=True):
    """Bars of a higher timeframe; `known[i]` of them are over when bar i of the smaller timeframe closes."""

    bars: Bars
    known: NDArray[np.int64]


def length_over(timeframe: str, base: str) -> int:
    """Length of a higher timeframe in ns; raises StrategyError where bars of `base` cannot make it up."""
    try:
        length = timeframe_ns(timeframe)
    except UsageError as error:
        raise StrategyError(error.message, remedy=error.remedy) from error
    step = timeframe_ns(base)
    if length < step:
        raise StrategyError(
            f"timeframe {timeframe}: no bars smaller than {base} can be made of bars of {base}",
            remedy=f"Ask for {base} or a multiple of it, or set the run's timeframe to {timeframe}.",
        )
    if length % step:
        raise StrategyError(
            f"timeframe {timeframe} is no multiple of the bars' own {base}",
            remedy=f"Ask for a multiple of {base}, or set the run's timeframe to one that goes into {timeframe}.",
        )
    return length


def aggregate(bars: Bars, timeframe: str) -> Higher:
    """Make bars of a higher timeframe, and say when each is known; raises as `length_over` does."""
    starts, opens, known = _known(bars, timeframe)
    over = int(known[-1]) if len(known) else 0
    ends = np.append(starts, len(bars))[1 : over + 1]
    starts, opens = starts[:over], opens[:over]
    first, stop = (int(starts[0]), int(ends[-1])) if over else (0, 0)
    return Higher(
        Bars(
            bars.symbol, timeframe, opens, bars.open[starts],
            np.maximum.reduceat(bars.high[:stop], starts) if over else np.empty(0),
            np.minimum.reduceat(bars.low[:stop], starts) if over else np.empty(0),
            bars.close[ends - 1], _volumes(bars.volume[first:stop], starts - first, ends - first),
        ),
        known,
    )  # fmt: skip


def known_bars(bars: Bars, timeframe: str) -> NDArray[np.int64]:
    """How many higher bars are over at the close of each bar, without making them; raises as `length_over` does."""
    return _known(bars, timeframe)[2]


def spread(values: FloatColumn, known: NDArray[np.int64]) -> FloatColumn:
    """A column of the higher timeframe, one value a smaller bar: the last one known at its close, NaN before."""
    spreaded: FloatColumn = np.concatenate((np.full(1, np.nan), values))[known]
    spreaded.flags.writeable = False
    return spreaded


def _known(bars: Bars, timeframe: str) -> tuple[NDArray[np.int64], IntColumn, NDArray[np.int64]]:
    """Index of the first bar of each whole higher bar, when that opens, and how many are over at each bar's close."""
    length = length_over(timeframe, bars.timeframe)
    starts, opens = _groups(bars.ts_ns, length)
    closes_ns = bars.ts_ns + timeframe_ns(bars.timeframe)
    if len(starts) and bars.ts_ns[0] != opens[0]:
        starts, opens = starts[1:], opens[1:]
    over = int(np.searchsorted(opens + length, closes_ns[-1], side="right")) if len(closes_ns) else 0
    known = np.searchsorted(opens[:over] + length, closes_ns, side="right").astype(np.int64)
    return starts, opens, known


def _groups(ts_ns: IntColumn, length: int) -> tuple[NDArray[np.int64], IntColumn]:
    """Index of the first bar of each group, and when the group opens."""
    opens = ts_ns // length * length
    starts = np.flatnonzero(np.diff(opens, prepend=opens[:1] - 1)).astype(np.int64)
    return starts, opens[starts]


def _volumes(volume: FloatColumn, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> FloatColumn:
    """The exact decimal sum of each group, as the double nearest to it.

    A group's unit comes from its own values alone: one for the whole column would depend on what comes later.
    """
    if not len(starts):
        return np.empty(0)
    decimals = np.maximum.reduceat(_decimals(volume), starts)
    scale = 10.0 ** np.minimum(decimals, _DECIMALS_MOST)
    sizes = ends - starts
    own = np.repeat(scale, sizes)
    units = np.rint(volume * own)
    is_small = np.abs(units) < _UNITS_MOST
    is_exact = np.logical_and.reduceat(is_small & (units / own == volume), starts)
    counted = np.where(is_small, units, 0.0)
    is_exact &= np.add.reduceat(np.abs(counted), starts) < _TOTAL_MOST
    sums = np.add.reduceat(counted.astype(np.int64), starts)
    totals = sums / scale
    for place in np.flatnonzero(~is_exact):
        values = volume[starts[place] : ends[place]].tolist()
        totals[place] = _exact_sum(values)
    return totals


def _decimals(values: FloatColumn) -> NDArray[np.int64]:
    """How many decimals each value has, as it is printed; one more than can be counted where it has too many."""
    found = np.full(len(values), _DECIMALS_MOST + 1, dtype=np.int64)
    left = np.arange(len(values))
    rest = values
    for decimals in range(_DECIMALS_MOST + 1):
        scale = 10.0**decimals
        fits = np.rint(rest * scale) / scale == rest
        found[left[fits]] = decimals
        left, rest = left[~fits], rest[~fits]
        if not len(left):
            break
    return found


def _exact_sum(values: list[float]) -> float:
    """The same sum without limits, for values of many digits."""
    total = Decimal(0)
    for value in values:
        total = _DIGITS.add(total, Decimal(repr(value)))
    return float(total)
