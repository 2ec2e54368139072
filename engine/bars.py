"""Bars: candles of one symbol and timeframe as columns."""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

IntColumn: TypeAlias = NDArray[np.int64]
FloatColumn: TypeAlias = NDArray[np.float64]

NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_SECOND

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TIMEFRAME = re.compile(r"([1-9][0-9]{0,4})([smhdw])")


class Bars(msgspec.Struct, frozen=True):
    """Columns of equal length, ordered by `ts_ns` (UTC ns of the bar's open), prices as the venue prints them.

    Volumes are in base units (contracts for an inverse instrument).
    """

    symbol: str
    timeframe: str
    ts_ns: IntColumn
    open: FloatColumn
    high: FloatColumn
    low: FloatColumn
    close: FloatColumn
    volume: FloatColumn

    def __len__(self) -> int:
        return len(self.ts_ns)


def timeframe_ns(timeframe: str) -> int:
    """Length of a timeframe such as `1m`, `15m`, `4h`, `1d`, in nanoseconds; raises UsageError."""
    match = _TIMEFRAME.fullmatch(timeframe)
    if match is None:
        raise UsageError(
            f"{timeframe!r} is not a timeframe",
            remedy="Write a count and one of s m h d w, such as 1m, 15m, 4h or 1d.",
        )
    return int(match[1]) * _UNIT_SECONDS[match[2]] * NS_PER_SECOND
