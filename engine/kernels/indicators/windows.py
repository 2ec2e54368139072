"""Rolling windows: O(1) a bar, without drift, and exact on a constant series.

The values come in blocks as long as the window. The window at any bar is the front of the current block and
the tail of the block before it, so its aggregate is that of two parts: the front grows by one value a bar,
and the tails of a block are worked out backwards once, when it is full (van Herk's and Gil and Werman's way
with running extremes). Nothing is subtracted that was added before: the error of a window depends on its own
values and never on the history before it, and a variance cannot become negative.

Sums are of distances to a value inside the window, the pivot: so the mean of equal values is that value.

Every `*_push` puts one finite value into the window whose state begins at `at`, and returns NaN until
`length` values are in. A window's state begins with two counts: the values in the current block, and 1 once
a block has been full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from engine.kernels.compile import kernel

Function = TypeVar("Function", bound=Callable[..., Any])
FloatArray = NDArray[np.float64]

MEAN_HEAD = 5
MOMENTS_HEAD = 6
WEIGHTED_HEAD = 6
VOLUME_WEIGHTED_HEAD = 6
EXTREME_HEAD = 3
TOTAL_HEAD = 3


def sizing(function: Function) -> Function:
    """Let plain Python and kernels call the same function of whole numbers."""
    return register_jitable(function)


@sizing
def mean_size(length: int) -> int:
    """Elements of state for `mean_push`."""
    return MEAN_HEAD + 2 * length


@sizing
def moments_size(length: int) -> int:
    """Elements of state for `moments_push`."""
    return MOMENTS_HEAD + 3 * length


@sizing
def weighted_size(length: int) -> int:
    """Elements of state for `weighted_push`."""
    return WEIGHTED_HEAD + 2 * length


@sizing
def volume_weighted_size(length: int) -> int:
    """Elements of state for `volume_weighted_push`."""
    return VOLUME_WEIGHTED_HEAD + 4 * length


@sizing
def extreme_size(length: int) -> int:
    """Elements of state for `highest_push` and `lowest_push`."""
    return EXTREME_HEAD + 2 * length


@sizing
def total_size(length: int) -> int:
    """Elements of state for `total_push`."""
    return TOTAL_HEAD + 2 * length


@kernel
def mean_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Arithmetic mean of the last `length` values, which stand at `at + MEAN_HEAD` (not in order)."""
    ring = at + MEAN_HEAD
    tails = ring + length
    position = int(state[at])
    if position == 0:
        pivot = value
        total = 0.0
        state[at + 2] = pivot
    else:
        pivot = state[at + 2]
        total = state[at + 3] + (value - pivot)
    state[at + 3] = total
    state[ring + position] = value
    position += 1
    if position == length:
        tail = 0.0
        for index in range(length - 1, 0, -1):
            tail += state[ring + index] - value
            state[tails + index] = tail
        state[at] = 0.0
        state[at + 1] = 1.0
        state[at + 4] = value
        return pivot + total / length
    state[at] = position
    if state[at + 1] == 0.0:
        return np.nan
    tail_pivot: float = state[at + 4]
    mean: float = tail_pivot + (state[tails + position] + total + position * (pivot - tail_pivot)) / length
    return mean


@kernel
def moments_push(state: FloatArray, at: int, length: int, value: float) -> tuple[float, float]:
    """Mean, the same bits as of `mean_push`, and population variance of the last `length` values.

    Squares by the updating formula of Youngs and Cramer (1971), parts joined as by Chan, Golub and LeVeque
    (1983): only squares are added, so the variance is never negative, and 0 where all values are equal.
    """
    ring = at + MOMENTS_HEAD
    tails = ring + length
    tail_squares = tails + length
    position = int(state[at])
    if position == 0:
        pivot = value
        total = 0.0
        squares = 0.0
        state[at + 2] = pivot
    else:
        pivot = state[at + 2]
        distance = value - pivot
        total = state[at + 3] + distance
        excess = (position + 1) * distance - total
        squares = state[at + 5] + excess * excess / (position * (position + 1))
    state[at + 3] = total
    state[at + 5] = squares
    state[ring + position] = value
    position += 1
    if position == length:
        tail = 0.0
        tail_square = 0.0
        for index in range(length - 1, 0, -1):
            count = length - index
            distance = state[ring + index] - value
            tail += distance
            if count > 1:
                excess = count * distance - tail
                tail_square += excess * excess / (count * (count - 1))
            state[tails + index] = tail
            state[tail_squares + index] = tail_square
        state[at] = 0.0
        state[at + 1] = 1.0
        state[at + 4] = value
        return pivot + total / length, squares / length
    state[at] = position
    if state[at + 1] == 0.0:
        return np.nan, np.nan
    tail_pivot: float = state[at + 4]
    tail = state[tails + position]
    mean = tail_pivot + (tail + total + position * (pivot - tail_pivot)) / length
    older = length - position
    apart = (pivot - tail_pivot) + (total / position - tail / older)
    between = apart * apart * (position * older) / length
    return mean, (state[tail_squares + position] + squares + between) / length


@kernel
def weighted_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Mean of the last `length` values weighted 1 for the oldest to `length` for the newest."""
    ring = at + WEIGHTED_HEAD
    tails = ring + length
    position = int(state[at])
    if position == 0:
        pivot = value
        total = 0.0
        weighted = 0.0
        state[at + 2] = pivot
    else:
        pivot = state[at + 2]
        distance = value - pivot
        total = state[at + 3] + distance
        weighted = state[at + 5] + (position + 1) * distance
    state[at + 3] = total
    state[at + 5] = weighted
    state[ring + position] = value
    position += 1
    weights = 0.5 * length * (length + 1)
    if position == length:
        tail = 0.0
        tail_weighted = 0.0
        for index in range(length - 1, 0, -1):
            tail += state[ring + index] - value
            tail_weighted += tail
            state[tails + index] = tail_weighted
        state[at] = 0.0
        state[at + 1] = 1.0
        state[at + 4] = value
        return pivot + weighted / weights
    state[at] = position
    if state[at + 1] == 0.0:
        return np.nan
    tail_pivot: float = state[at + 4]
    older = length - position
    newer_weights = weights - 0.5 * older * (older + 1)
    newer = weighted + older * total + newer_weights * (pivot - tail_pivot)
    mean: float = tail_pivot + (state[tails + position] + newer) / weights
    return mean


@kernel
def volume_weighted_push(state: FloatArray, at: int, length: int, price: float, volume: float) -> float:
    """Mean of the last `length` prices weighted by their volumes (>= 0); NaN where these are all 0."""
    prices = at + VOLUME_WEIGHTED_HEAD
    volumes = prices + length
    tails = volumes + length
    tail_volumes = tails + length
    position = int(state[at])
    if position == 0:
        pivot = price
        total = 0.0
        total_volume = volume
        state[at + 2] = pivot
    else:
        pivot = state[at + 2]
        total = state[at + 3] + (price - pivot) * volume
        total_volume = state[at + 5] + volume
    state[at + 3] = total
    state[at + 5] = total_volume
    state[prices + position] = price
    state[volumes + position] = volume
    position += 1
    if position == length:
        tail = 0.0
        tail_volume = 0.0
        for index in range(length - 1, 0, -1):
            tail += (state[prices + index] - price) * state[volumes + index]
            tail_volume += state[volumes + index]
            state[tails + index] = tail
            state[tail_volumes + index] = tail_volume
        state[at] = 0.0
        state[at + 1] = 1.0
        state[at + 4] = price
        return pivot + total / total_volume if total_volume > 0.0 else np.nan
    state[at] = position
    if state[at + 1] == 0.0:
        return np.nan
    tail_pivot: float = state[at + 4]
    window_volume = state[tail_volumes + position] + total_volume
    if window_volume <= 0.0:
        return np.nan
    newer = total + total_volume * (pivot - tail_pivot)
    mean: float = tail_pivot + (state[tails + position] + newer) / window_volume
    return mean


@kernel
def highest_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Greatest of the last `length` values."""
    ring = at + EXTREME_HEAD
    tails = ring + length
    position = int(state[at])
    best = value if position == 0 else max(value, state[at + 2])
    state[at + 2] = best
    state[ring + position] = value
    position += 1
    if position == length:
        tail = value
        for index in range(length - 1, 0, -1):
            tail = max(tail, state[ring + index])
            state[tails + index] = tail
        state[at] = 0.0
        state[at + 1] = 1.0
        return best
    state[at] = position
    if state[at + 1] == 0.0:
        return np.nan
    older: float = state[tails + position]
    return max(best, older)


@kernel
def lowest_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Least of the last `length` values: the greatest of their negatives."""
    return -highest_push(state, at, length, -value)


@kernel
def total_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Sum of the last `length` values, none of them negative (so nothing cancels, and no values give 0)."""
    ring = at + TOTAL_HEAD
    tails = ring + length
    position = int(state[at])
    total = value if position == 0 else state[at + 2] + value
    state[at + 2] = total
    state[ring + position] = value
    position += 1
    if position == length:
        tail = 0.0
        for index in range(length - 1, 0, -1):
            tail += state[ring + index]
            state[tails + index] = tail
        state[at] = 0.0
        state[at + 1] = 1.0
        return total
    state[at] = position
    if state[at + 1] == 0.0:
        return np.nan
    older: float = state[tails + position]
    return older + total
