"""Direction and its strength: adx, supertrend and psar."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import kernel
from engine.kernels.indicators.smoothing import ATR_SIZE, RMA_SIZE, atr_push, rma_push, true_range

FloatArray = NDArray[np.float64]

UP = -1.0
DOWN = 1.0


def adx_state_size(_length: int, _smoothing: int) -> int:
    """Elements of state for `adx`: bars, high, low, close, both indicators, four Wilder averages."""
    return 6 + 4 * RMA_SIZE


@kernel
def adx(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    strength: FloatArray,
    plus: FloatArray,
    minus: FloatArray,
    state: FloatArray,
    length: int,
    smoothing: int,
    start: int,
    stop: int,
) -> None:
    """Average directional index and both directional indicators, 0 to 100 (Pine ta.dmi).

    Movements and true ranges count from the second bar. Where the averaged range is 0 the indicators keep
    their last value (Pine's fixnan).
    """
    for bar in range(start, stop):
        strength[bar] = np.nan
        plus[bar] = np.nan
        minus[bar] = np.nan
        if not (np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar])):
            continue
        seen = state[0]
        rise = high[bar] - state[1]
        fall = state[2] - low[bar]
        span = true_range(high[bar], low[bar], state[3])
        state[0] = 1.0
        state[1] = high[bar]
        state[2] = low[bar]
        state[3] = close[bar]
        if seen == 0.0:
            state[4] = np.nan
            state[5] = np.nan
            continue
        spans = rma_push(state, 6, length, span)
        rises = rma_push(state, 6 + RMA_SIZE, length, rise if rise > fall and rise > 0.0 else 0.0)
        falls = rma_push(state, 6 + 2 * RMA_SIZE, length, fall if fall > rise and fall > 0.0 else 0.0)
        if spans > 0.0:
            state[4] = 100.0 * rises / spans
            state[5] = 100.0 * falls / spans
        plus[bar] = state[4]
        minus[bar] = state[5]
        both = state[4] + state[5]
        if np.isfinite(both):
            apart = abs(state[4] - state[5]) / both if both > 0.0 else 0.0
            strength[bar] = 100.0 * rma_push(state, 6 + 3 * RMA_SIZE, smoothing, apart)


def supertrend_state_size(_length: int, _factor: float) -> int:
    """Elements of state for `supertrend`: lines drawn, close, both bands, the line, and the average range."""
    return 5 + ATR_SIZE


@kernel
def supertrend(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    line: FloatArray,
    direction: FloatArray,
    state: FloatArray,
    length: int,
    factor: float,
    start: int,
    stop: int,
) -> None:
    """Trailing line and its direction, -1 up and 1 down (Pine ta.supertrend, with its signs).

    Bands stand `factor` x atr from the middle of the bar and move only towards the price until it crosses.
    """
    for bar in range(start, stop):
        line[bar] = np.nan
        direction[bar] = np.nan
        if not (np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar])):
            continue
        reach = factor * atr_push(state, 5, length, high[bar], low[bar], close[bar])
        previous_close = state[1]
        state[1] = close[bar]
        if not np.isfinite(reach):
            continue
        middle = 0.5 * (high[bar] + low[bar])
        upper = middle + reach
        lower = middle - reach
        heading = DOWN
        if state[0] > 0.0:
            previous_upper = state[2]
            previous_lower = state[3]
            if not (lower > previous_lower or previous_close < previous_lower):
                lower = previous_lower
            if not (upper < previous_upper or previous_close > previous_upper):
                upper = previous_upper
            if state[4] == previous_upper:
                heading = UP if close[bar] > upper else DOWN
            else:
                heading = DOWN if close[bar] < lower else UP
        state[0] = 1.0
        state[2] = upper
        state[3] = lower
        state[4] = lower if heading == UP else upper
        line[bar] = state[4]
        direction[bar] = heading


def psar_state_size(_start: float, _increment: float, _maximum: float) -> int:
    """Elements of state for `psar`."""
    return 10


@kernel
def psar(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    value: FloatArray,
    state: FloatArray,
    acceleration_start: float,
    acceleration_step: float,
    acceleration_limit: float,
    start: int,
    stop: int,
) -> None:
    """Wilder's parabolic stop and reverse, from the second bar on (Pine ta.sar).

    State: bars seen (to 2), close, two lows, two highs (latest first), stop, extreme, acceleration, rising.
    """
    for bar in range(start, stop):
        value[bar] = np.nan
        if not (np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar])):
            continue
        seen = state[0]
        if seen > 0.0:
            value[bar] = _psar_step(
                state,
                acceleration_start,
                acceleration_step,
                acceleration_limit,
                high[bar],
                low[bar],
                close[bar],
            )
        state[0] = 2.0 if seen > 0.0 else 1.0
        state[1] = close[bar]
        state[3] = state[2]
        state[2] = low[bar]
        state[5] = state[4]
        state[4] = high[bar]


@kernel
def _psar_step(
    state: FloatArray,
    acceleration_start: float,
    acceleration_step: float,
    acceleration_limit: float,
    high: float,
    low: float,
    close: float,
) -> float:
    """Move the stop by one bar after the first; `state` still shows the bars before it."""
    stop: float = state[6]
    extreme = state[7]
    acceleration = state[8]
    rising = state[9] == 1.0
    fresh = False
    if state[0] == 1.0:
        rising = close > state[1]
        extreme = high if rising else low
        stop = state[2] if rising else state[4]
        acceleration = acceleration_start
        fresh = True
    stop += acceleration * (extreme - stop)
    if rising and stop > low:
        rising = False
        fresh = True
        stop = max(high, extreme)
        extreme = low
        acceleration = acceleration_start
    elif not rising and stop < high:
        rising = True
        fresh = True
        stop = min(low, extreme)
        extreme = high
        acceleration = acceleration_start
    if not fresh and (high > extreme if rising else low < extreme):
        extreme = high if rising else low
        acceleration = min(acceleration + acceleration_step, acceleration_limit)
    if rising:
        stop = min(stop, state[2])
        if state[0] > 1.0:
            stop = min(stop, state[3])
    else:
        stop = max(stop, state[4])
        if state[0] > 1.0:
            stop = max(stop, state[5])
    state[6] = stop
    state[7] = extreme
    state[8] = acceleration
    state[9] = 1.0 if rising else 0.0
    return stop
