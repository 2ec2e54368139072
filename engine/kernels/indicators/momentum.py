"""How fast and how far prices moved: roc, rsi, macd, stoch, stochrsi and cci."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import kernel
from engine.kernels.indicators.smoothing import EMA_SIZE, RMA_SIZE, ema_push, rma_push
from engine.kernels.indicators.windows import (
    MEAN_HEAD,
    extreme_size,
    highest_push,
    lowest_push,
    mean_push,
    mean_size,
    sizing,
)

FloatArray = NDArray[np.float64]

RSI_SIZE = 2 + 2 * RMA_SIZE


def roc_state_size(length: int) -> int:
    """Elements of state for `roc`."""
    return 2 + length


@kernel
def roc(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Change against the value `length` bars before, in percent of it (Pine ta.roc); NaN where that is 0."""
    for bar in range(start, stop):
        latest = source[bar]
        value[bar] = np.nan
        if np.isfinite(latest):
            position = int(state[0])
            before = state[2 + position]
            if state[1] == 1.0 and before != 0.0:
                value[bar] = 100.0 * (latest - before) / before
            state[2 + position] = latest
            if position + 1 == length:
                state[0] = 0.0
                state[1] = 1.0
            else:
                state[0] += 1.0


@kernel
def strength(up: float, down: float) -> float:
    """Share of `up` in both, in percent: 100 - 100 / (1 + up / down); 100 where `down` is 0, as in Pine."""
    return 100.0 if down == 0.0 else 100.0 * (up / (up + down))


@kernel
def rsi_push(state: FloatArray, at: int, length: int, value: float) -> float:
    """Relative strength index with one more value. State: values seen, the last one, two Wilder averages."""
    change = value - state[at + 1]
    seen = state[at]
    state[at] = 1.0
    state[at + 1] = value
    if seen == 0.0:
        return np.nan
    up = rma_push(state, at + 2, length, max(change, 0.0))
    down = rma_push(state, at + 2 + RMA_SIZE, length, max(-change, 0.0))
    return strength(up, down)


def rsi_state_size(_length: int) -> int:
    """Elements of state for `rsi`."""
    return RSI_SIZE


@kernel
def rsi(source: FloatArray, value: FloatArray, state: FloatArray, length: int, start: int, stop: int) -> None:
    """Wilder's relative strength index, 0 to 100 (Pine ta.rsi); 100 where nothing fell."""
    for bar in range(start, stop):
        latest = source[bar]
        value[bar] = rsi_push(state, 0, length, latest) if np.isfinite(latest) else np.nan


def macd_state_size(_fast: int, _slow: int, _signal: int) -> int:
    """Elements of state for `macd`."""
    return 3 * EMA_SIZE


@kernel
def macd(
    source: FloatArray,
    line: FloatArray,
    signal: FloatArray,
    histogram: FloatArray,
    state: FloatArray,
    fast_length: int,
    slow_length: int,
    signal_length: int,
    start: int,
    stop: int,
) -> None:
    """ema(fast) - ema(slow), the ema of that line from its first value on, and their difference.

    Pine ta.macd.
    """
    for bar in range(start, stop):
        latest = source[bar]
        line[bar] = np.nan
        signal[bar] = np.nan
        histogram[bar] = np.nan
        if np.isfinite(latest):
            fast = ema_push(state, 0, fast_length, latest)
            slow = ema_push(state, EMA_SIZE, slow_length, latest)
            apart = fast - slow
            if np.isfinite(apart):
                smooth = ema_push(state, 2 * EMA_SIZE, signal_length, apart)
                line[bar] = apart
                signal[bar] = smooth
                histogram[bar] = apart - smooth


@sizing
def stochastic_size(length: int, k_smoothing: int, d_length: int) -> int:
    """Elements of state for `stochastic_push`."""
    return 2 * extreme_size(length) + mean_size(k_smoothing) + mean_size(d_length)


@kernel
def stochastic_push(
    state: FloatArray,
    at: int,
    length: int,
    k_smoothing: int,
    d_length: int,
    high: float,
    low: float,
    close: float,
) -> tuple[float, float]:
    """Both lines of the stochastic; a bar whose window has no range is left out of the smoothing."""
    lowest_at = at + extreme_size(length)
    k_at = lowest_at + extreme_size(length)
    d_at = k_at + mean_size(k_smoothing)
    highest = highest_push(state, at, length, high)
    lowest = lowest_push(state, lowest_at, length, low)
    k = np.nan
    d = np.nan
    if highest > lowest:
        k = mean_push(state, k_at, k_smoothing, 100.0 * ((close - lowest) / (highest - lowest)))
        if np.isfinite(k):
            d = mean_push(state, d_at, d_length, k)
    return k, d


def stoch_state_size(length: int, k_smoothing: int, d_length: int) -> int:
    """Elements of state for `stoch`."""
    return stochastic_size(length, k_smoothing, d_length)


@kernel
def stoch(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    k: FloatArray,
    d: FloatArray,
    state: FloatArray,
    length: int,
    k_smoothing: int,
    d_length: int,
    start: int,
    stop: int,
) -> None:
    """Place of the close between lowest low and highest high, in percent, as sma (k) and sma of that (d).

    Pine sma(ta.stoch(close, high, low, length), k_smoothing); NaN where the window has no range.
    """
    for bar in range(start, stop):
        k[bar] = np.nan
        d[bar] = np.nan
        if np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar]):
            k[bar], d[bar] = stochastic_push(state, 0, length, k_smoothing, d_length, high[bar], low[bar], close[bar])


def stochrsi_state_size(_rsi_length: int, length: int, k_smoothing: int, d_length: int) -> int:
    """Elements of state for `stochrsi`."""
    return RSI_SIZE + stochastic_size(length, k_smoothing, d_length)


@kernel
def stochrsi(
    source: FloatArray,
    k: FloatArray,
    d: FloatArray,
    state: FloatArray,
    rsi_length: int,
    length: int,
    k_smoothing: int,
    d_length: int,
    start: int,
    stop: int,
) -> None:
    """Stochastic of the relative strength index: Pine ta.stoch(rsi, rsi, rsi, length), smoothed."""
    for bar in range(start, stop):
        k[bar] = np.nan
        d[bar] = np.nan
        if np.isfinite(source[bar]):
            index = rsi_push(state, 0, rsi_length, source[bar])
            if np.isfinite(index):
                k[bar], d[bar] = stochastic_push(state, RSI_SIZE, length, k_smoothing, d_length, index, index, index)


@kernel
def deviation(state: FloatArray, at: int, length: int, mean: float) -> float:
    """Mean distance from `mean` of the `length` values at `at`; four sums side by side, for speed."""
    first = 0.0
    second = 0.0
    third = 0.0
    fourth = 0.0
    whole = length - length % 4
    for index in range(at, at + whole, 4):
        first += abs(state[index] - mean)
        second += abs(state[index + 1] - mean)
        third += abs(state[index + 2] - mean)
        fourth += abs(state[index + 3] - mean)
    for index in range(at + whole, at + length):
        first += abs(state[index] - mean)
    return ((first + second) + (third + fourth)) / length


def cci_state_size(length: int) -> int:
    """Elements of state for `cci`."""
    return mean_size(length)


@kernel
def cci(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    value: FloatArray,
    state: FloatArray,
    length: int,
    start: int,
    stop: int,
) -> None:
    """(typical - its sma) / (0.015 x its mean deviation), typical = (high + low + close) / 3 (Pine ta.cci).

    NaN where the deviation is 0. Costs `length` steps a bar: a mean deviation has no shorter way.
    """
    for bar in range(start, stop):
        typical = (high[bar] + low[bar] + close[bar]) / 3.0
        value[bar] = np.nan
        if np.isfinite(typical):
            mean = mean_push(state, 0, length, typical)
            if np.isfinite(mean):
                spread = deviation(state, MEAN_HEAD, length, mean)
                if spread > 0.0:
                    value[bar] = (typical - mean) / (0.015 * spread)
