"""How widely prices move: std, zscore, atr and natr."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import kernel
from engine.kernels.indicators.smoothing import ATR_SIZE, atr_push
from engine.kernels.indicators.windows import moments_push, moments_size

FloatArray = NDArray[np.float64]


def std_state_size(length: int) -> int:
    """Elements of state for `std`."""
    return moments_size(length)


@kernel
def std(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Root of the population variance (ddof 0) of the last `length` values (Pine ta.stdev)."""
    for bar in range(start, stop):
        latest = source[bar]
        if np.isfinite(latest):
            _, variance = moments_push(state, 0, length, latest)
            value[bar] = np.sqrt(variance)
        else:
            value[bar] = np.nan


def zscore_state_size(length: int) -> int:
    """Elements of state for `zscore`."""
    return moments_size(length)


@kernel
def zscore(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Distance from the mean in population standard deviations; NaN where the deviation is 0."""
    for bar in range(start, stop):
        latest = source[bar]
        value[bar] = np.nan
        if np.isfinite(latest):
            mean, variance = moments_push(state, 0, length, latest)
            if variance > 0.0:
                value[bar] = (latest - mean) / np.sqrt(variance)


def atr_state_size(_length: int) -> int:
    """Elements of state for `atr`."""
    return ATR_SIZE


@kernel
def atr(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    value: FloatArray,
    state: FloatArray,
    length: int,
    start: int,
    stop: int,
) -> None:
    """Wilder's average of the true range, in price; the first true range is high - low (Pine ta.atr)."""
    for bar in range(start, stop):
        if np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar]):
            value[bar] = atr_push(state, 0, length, high[bar], low[bar], close[bar])
        else:
            value[bar] = np.nan


def natr_state_size(_length: int) -> int:
    """Elements of state for `natr`."""
    return ATR_SIZE


@kernel
def natr(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    value: FloatArray,
    state: FloatArray,
    length: int,
    start: int,
    stop: int,
) -> None:
    """`atr` in percent of the close; NaN where the close is 0."""
    for bar in range(start, stop):
        value[bar] = np.nan
        if np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar]):
            average = atr_push(state, 0, length, high[bar], low[bar], close[bar])
            if close[bar] != 0.0:
                value[bar] = 100.0 * average / close[bar]
