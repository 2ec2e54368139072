"""Exponential averages, the true range, and Wilder's average of it: steps that several indicators share.

Every `*_push` takes one finite value into the state that begins at `at`; NaN until `length` of them are in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import kernel

FloatArray = NDArray[np.float64]

EMA_SIZE = 2
RMA_SIZE = 3
ATR_SIZE = 2 + RMA_SIZE


@kernel
def ema_step(count: float, average: float, alpha: float, value: float) -> float:
    """Next exponential average after `count` values; written so that equal values give that very value."""
    return average + alpha * (value - average) if count > 0.0 else value


@kernel
def rma_step(count: float, pivot: float, average: float, length: int, value: float) -> float:
    """Next Wilder average after `count` values; until `length` are in, their summed distance to the first."""
    if count >= length:
        return average + (1.0 / length) * (value - average)
    total = average + (value - pivot) if count > 0.0 else 0.0
    return pivot + total / length if count + 1.0 == length else total


@kernel
def ema_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Exponential average with alpha 2 / (length + 1) from the first value on. State: count, average."""
    average = ema_step(state[at], state[at + 1], 2.0 / (length + 1), value)
    state[at] += 1.0
    state[at + 1] = average
    return average if state[at] >= length else np.nan


@kernel
def rma_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Wilder's average, alpha 1 / length, seeded with the mean of the first `length` values.

    State: count, first value, average.
    """
    if state[at] == 0.0:
        state[at + 1] = value
    average = rma_step(state[at], state[at + 1], state[at + 2], length, value)
    state[at] += 1.0
    state[at + 2] = average
    return average if state[at] >= length else np.nan


@kernel
def true_range(high: float, low: float, previous_close: float) -> float:
    """Greatest of high - low and the distances of high and low from the close before."""
    widest = high - low
    widest = max(widest, abs(high - previous_close))
    return max(widest, abs(low - previous_close))


@kernel
def atr_push(state: FloatArray, at: int, length: int, high: float, low: float, close: float) -> float:
    """Wilder's average of the true range, which is high - low in the first bar.

    State: 1 after the first bar, its close, the average.
    """
    span = true_range(high, low, state[at + 1]) if state[at] > 0.0 else high - low
    state[at] = 1.0
    state[at + 1] = close
    return rma_push(state, at + 2, length, span)
