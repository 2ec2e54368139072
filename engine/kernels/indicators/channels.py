"""Bands around prices: bbands, keltner, donchian and ichimoku."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import kernel
from engine.kernels.indicators.smoothing import ATR_SIZE, EMA_SIZE, atr_push, ema_push
from engine.kernels.indicators.windows import (
    extreme_size,
    highest_push,
    lowest_push,
    moments_push,
    moments_size,
    sizing,
)

FloatArray = NDArray[np.float64]


def bbands_state_size(length: int, _multiplier: float) -> int:
    """Elements of state for `bbands`."""
    return moments_size(length)


@kernel
def bbands(
    source: FloatArray,
    upper: FloatArray,
    basis: FloatArray,
    lower: FloatArray,
    state: FloatArray,
    length: int,
    multiplier: float,
    start: int,
    stop: int,
) -> None:
    """Bollinger bands: sma ± `multiplier` population standard deviations (Pine ta.bb)."""
    for bar in range(start, stop):
        upper[bar] = np.nan
        basis[bar] = np.nan
        lower[bar] = np.nan
        if np.isfinite(source[bar]):
            mean, variance = moments_push(state, 0, length, source[bar])
            reach = multiplier * np.sqrt(variance)
            upper[bar] = mean + reach
            basis[bar] = mean
            lower[bar] = mean - reach


def keltner_state_size(_length: int, _multiplier: float, _atr_length: int) -> int:
    """Elements of state for `keltner`."""
    return EMA_SIZE + ATR_SIZE


@kernel
def keltner(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    upper: FloatArray,
    basis: FloatArray,
    lower: FloatArray,
    state: FloatArray,
    length: int,
    multiplier: float,
    atr_length: int,
    start: int,
    stop: int,
) -> None:
    """ema(close) ± `multiplier` x atr(atr_length); the bands are NaN until both are there.

    TradingView's Keltner Channels in its default style; Pine's ta.kc takes the ema of the true range instead.
    """
    for bar in range(start, stop):
        upper[bar] = np.nan
        basis[bar] = np.nan
        lower[bar] = np.nan
        if np.isfinite(high[bar]) and np.isfinite(low[bar]) and np.isfinite(close[bar]):
            middle = ema_push(state, 0, length, close[bar])
            reach = multiplier * atr_push(state, EMA_SIZE, atr_length, high[bar], low[bar], close[bar])
            upper[bar] = middle + reach
            basis[bar] = middle
            lower[bar] = middle - reach


@sizing
def midpoint_size(length: int) -> int:
    """Elements of state for a highest and a lowest of `length` bars."""
    return 2 * extreme_size(length)


@kernel
def midpoint_push(state: FloatArray, at: int, length: int, high: float, low: float) -> float:
    """Middle between the highest high and the lowest low of the last `length` bars."""
    highest = highest_push(state, at, length, high)
    return 0.5 * (highest + lowest_push(state, at + extreme_size(length), length, low))


def donchian_state_size(length: int) -> int:
    """Elements of state for `donchian`."""
    return midpoint_size(length)


@kernel
def donchian(
    high: FloatArray,
    low: FloatArray,
    upper: FloatArray,
    basis: FloatArray,
    lower: FloatArray,
    state: FloatArray,
    length: int,
    start: int,
    stop: int,
) -> None:
    """Highest high, their middle, and lowest low of the last `length` bars, the present one among them."""
    lowest_at = extreme_size(length)
    for bar in range(start, stop):
        upper[bar] = np.nan
        basis[bar] = np.nan
        lower[bar] = np.nan
        if np.isfinite(high[bar]) and np.isfinite(low[bar]):
            highest = highest_push(state, 0, length, high[bar])
            lowest = lowest_push(state, lowest_at, length, low[bar])
            upper[bar] = highest
            basis[bar] = 0.5 * (highest + lowest)
            lower[bar] = lowest


def ichimoku_state_size(conversion_length: int, base_length: int, span_length: int) -> int:
    """Elements of state for `ichimoku`."""
    return midpoint_size(conversion_length) + midpoint_size(base_length) + midpoint_size(span_length)


@kernel
def ichimoku(
    high: FloatArray,
    low: FloatArray,
    conversion: FloatArray,
    base: FloatArray,
    lead_a: FloatArray,
    lead_b: FloatArray,
    state: FloatArray,
    conversion_length: int,
    base_length: int,
    span_length: int,
    start: int,
    stop: int,
) -> None:
    """Conversion and base line, their middle (lead_a) and the middle of the span (lead_b), as of this bar.

    Charts draw the two leads 25 bars to the right; here nothing is displaced.
    """
    base_at = midpoint_size(conversion_length)
    span_at = base_at + midpoint_size(base_length)
    for bar in range(start, stop):
        conversion[bar] = np.nan
        base[bar] = np.nan
        lead_a[bar] = np.nan
        lead_b[bar] = np.nan
        if np.isfinite(high[bar]) and np.isfinite(low[bar]):
            quick = midpoint_push(state, 0, conversion_length, high[bar], low[bar])
            slow = midpoint_push(state, base_at, base_length, high[bar], low[bar])
            conversion[bar] = quick
            base[bar] = slow
            lead_a[bar] = 0.5 * (quick + slow)
            lead_b[bar] = midpoint_push(state, span_at, span_length, high[bar], low[bar])
