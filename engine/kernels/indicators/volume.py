"""Prices weighed by what traded: obv, mfi and vwap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compile import kernel
from engine.kernels.indicators.momentum import strength
from engine.kernels.indicators.windows import sizing, total_push, total_size

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NS_PER_DAY = 86_400_000_000_000


def obv_state_size() -> int:
    """Elements of state for `obv`: bars, close, total, and what rounding took from the total."""
    return 4


@kernel
def obv(close: FloatArray, volume: FloatArray, value: FloatArray, state: FloatArray, start: int, stop: int) -> None:
    """Volume added where the close rose and taken away where it fell, from 0 at the first bar (Pine ta.obv).

    The running total is compensated (Neumaier 1974), so a long history costs no digits.
    """
    for bar in range(start, stop):
        if not (np.isfinite(close[bar]) and np.isfinite(volume[bar])):
            value[bar] = np.nan
            continue
        flow = 0.0
        if state[0] > 0.0:
            if close[bar] > state[1]:
                flow = volume[bar]
            elif close[bar] < state[1]:
                flow = -volume[bar]
        total = state[2] + flow
        if abs(state[2]) >= abs(flow):
            state[3] += (state[2] - total) + flow
        else:
            state[3] += (flow - total) + state[2]
        state[0] = 1.0
        state[1] = close[bar]
        state[2] = total
        value[bar] = total + state[3]


@sizing
def mfi_state_size(length: int) -> int:
    """Elements of state for `mfi`."""
    return 2 + 2 * total_size(length)


@kernel
def mfi(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    value: FloatArray,
    state: FloatArray,
    length: int,
    start: int,
    stop: int,
) -> None:
    """Money flow index, 0 to 100: the rsi's ratio over `length` sums of typical price x volume (Pine ta.mfi).

    Flows count from the second bar; 100 where nothing flowed out.
    """
    for bar in range(start, stop):
        typical = (high[bar] + low[bar] + close[bar]) / 3.0
        value[bar] = np.nan
        if np.isfinite(typical) and np.isfinite(volume[bar]):
            seen = state[0]
            before = state[1]
            state[0] = 1.0
            state[1] = typical
            if seen > 0.0:
                flow = typical * volume[bar]
                inflow = total_push(state, 2, length, flow if typical > before else 0.0)
                outflow = total_push(state, 2 + total_size(length), length, flow if typical < before else 0.0)
                value[bar] = strength(inflow, outflow)


def vwap_state_size() -> int:
    """Elements of state for `vwap`: bars, the UTC day, its first price, weighted distances, volume."""
    return 5


@kernel
def vwap(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    ts_ns: IntArray,
    value: FloatArray,
    state: FloatArray,
    start: int,
    stop: int,
) -> None:
    """Mean typical price weighted by volume since the start of the UTC day (Pine ta.vwap(hlc3)).

    NaN until something traded on that day.
    """
    for bar in range(start, stop):
        typical = (high[bar] + low[bar] + close[bar]) / 3.0
        value[bar] = np.nan
        if np.isfinite(typical) and np.isfinite(volume[bar]):
            day = float(ts_ns[bar] // NS_PER_DAY)
            if state[0] == 0.0 or day != state[1]:
                state[0] = 1.0
                state[1] = day
                state[2] = typical
                state[3] = 0.0
                state[4] = 0.0
            state[3] += (typical - state[2]) * volume[bar]
            state[4] += volume[bar]
            if state[4] > 0.0:
                value[bar] = state[2] + state[3] / state[4]
