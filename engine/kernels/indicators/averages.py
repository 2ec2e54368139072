"""Moving averages: sma, ema, wma, rma, hma and vwma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import inner, kernel
from engine.kernels.indicators.smoothing import EMA_SIZE, RMA_SIZE, ema_step, rma_step
from engine.kernels.indicators.windows import (
    mean_push,
    mean_size,
    sizing,
    volume_weighted_push,
    volume_weighted_size,
    weighted_push,
    weighted_size,
)

FloatArray = NDArray[np.float64]


def sma_state_size(length: int) -> int:
    """Elements of state for `sma`."""
    return mean_size(length)


@kernel
def sma(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Arithmetic mean of the last `length` values (Pine ta.sma)."""
    for bar in range(start, stop):
        latest = source[bar]
        value[bar] = mean_push(state, 0, length, latest) if np.isfinite(latest) else np.nan


def ema_state_size(_length: int) -> int:
    """Elements of state for `ema`."""
    return EMA_SIZE


@inner
def _ema_along(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Bar after bar."""
    alpha = 2.0 / (length + 1)
    # In locals, not through `ema_push`: a state in memory doubles the time of so short a step.
    count = state[0]
    average = state[1]
    for bar in range(start, stop):
        latest = source[bar]
        if np.isfinite(latest):
            average = ema_step(count, average, alpha, latest)
            count += 1.0
            value[bar] = average if count >= length else np.nan
        else:
            value[bar] = np.nan
    state[0] = count
    state[1] = average


@inner
def _ema_lanes(source: FloatArray, value: FloatArray, average: float, alpha: float, start: int, size: int) -> bool:
    """Four stretches of `size` bars at once, the later three from a guess; False where an input is not finite."""
    second_at, third_at, fourth_at = start + size, start + 2 * size, start + 3 * size
    first, second, third, fourth = average, source[second_at], source[third_at], source[fourth_at]
    is_finite = True
    for offset in range(size):
        a, b = source[start + offset], source[second_at + offset]
        c, d = source[third_at + offset], source[fourth_at + offset]
        is_finite &= np.isfinite(a) & np.isfinite(b) & np.isfinite(c) & np.isfinite(d)
        first += alpha * (a - first)
        second += alpha * (b - second)
        third += alpha * (c - third)
        fourth += alpha * (d - fourth)
        value[start + offset], value[second_at + offset] = first, second
        value[third_at + offset], value[fourth_at + offset] = third, fourth
    return is_finite


@kernel
def ema(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Exponential average, alpha 2 / (length + 1), from the first value on; NaN for `length` - 1 values.

    Each step waits for the one before, so a long column is computed in four stretches side by side. The true average
    is then carried into each stretch until it meets what was computed from the guess, to the bit: what follows
    depends on nothing else. Errors shrink by 1 - alpha a bar, so that comes after some twenty lengths.
    """
    bar = start
    while bar < stop and state[0] < length:
        _ema_along(source, value, state, length, bar, bar + 1)
        bar += 1
    alpha = 2.0 / (length + 1)
    size = (stop - bar) // 4
    if size >= 64 * length and _ema_lanes(source, value, state[1], alpha, bar, size):
        for lane in range(1, 4):
            average = value[bar + lane * size - 1]
            for place in range(bar + lane * size, bar + (lane + 1) * size):
                average += alpha * (source[place] - average)
                if average == value[place] and average != 0.0:  # 0 is also equal to -0, which goes on differently
                    break
                value[place] = average
        state[0] += 4.0 * size
        bar += 4 * size
        state[1] = value[bar - 1]
    _ema_along(source, value, state, length, bar, stop)


def wma_state_size(length: int) -> int:
    """Elements of state for `wma`."""
    return weighted_size(length)


@kernel
def wma(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Mean weighted 1 for the oldest to `length` for the newest value (Pine ta.wma)."""
    for bar in range(start, stop):
        latest = source[bar]
        value[bar] = weighted_push(state, 0, length, latest) if np.isfinite(latest) else np.nan


def rma_state_size(_length: int) -> int:
    """Elements of state for `rma`."""
    return RMA_SIZE


@kernel
def rma(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Wilder's average, alpha 1 / length, seeded with the mean of the first `length` values (Pine ta.rma)."""
    count = state[0]
    pivot = state[1]
    average = state[2]
    for bar in range(start, stop):
        latest = source[bar]
        if np.isfinite(latest):
            if count == 0.0:
                pivot = latest
            average = rma_step(count, pivot, average, length, latest)
            count += 1.0
            value[bar] = average if count >= length else np.nan
        else:
            value[bar] = np.nan
    state[0] = count
    state[1] = pivot
    state[2] = average


@sizing
def hull_lengths(length: int) -> tuple[int, int]:
    """Half the length and its square root, both rounded down: the two shorter averages of `hma`."""
    return length // 2, int(np.sqrt(length))


def hma_state_size(length: int) -> int:
    """Elements of state for `hma`."""
    half, root = hull_lengths(length)
    return weighted_size(half) + weighted_size(length) + weighted_size(root)


@kernel
def hma(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Hull average: wma(2 * wma(length / 2) - wma(length), sqrt(length)), `length` >= 2 (Pine ta.hma)."""
    half, root = hull_lengths(length)
    whole_at = weighted_size(half)
    root_at = whole_at + weighted_size(length)
    for bar in range(start, stop):
        latest = source[bar]
        value[bar] = np.nan
        if np.isfinite(latest):
            quick = weighted_push(state, 0, half, latest)
            slow = weighted_push(state, whole_at, length, latest)
            if np.isfinite(slow):
                value[bar] = weighted_push(state, root_at, root, 2.0 * quick - slow)


def vwma_state_size(length: int) -> int:
    """Elements of state for `vwma`."""
    return volume_weighted_size(length)


@kernel
def vwma(
    source: FloatArray,
    volume: FloatArray,
    value: FloatArray,
    state: FloatArray,
    length: int,
    start: int,
    stop: int,
) -> None:
    """Mean of the last `length` values weighted by volume (Pine ta.vwma); NaN where none traded."""
    for bar in range(start, stop):
        if np.isfinite(source[bar]) and np.isfinite(volume[bar]):
            value[bar] = volume_weighted_push(state, 0, length, source[bar], volume[bar])
        else:
            value[bar] = np.nan
