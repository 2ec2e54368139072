"""What a strategy sees of one market: columns that end at the current bar."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.bars import NS_PER_MS, Bars, FloatColumn, timeframe_ns
from engine.frames import aggregate, length_over
from engine.series_indicators import Indicators, is_prefix


class Window:
    """Bars up to the current one. `stop` is the count of bars that may be seen; the columns are read-only views.

    `close` is cut once a bar, as nearly every strategy reads it; the other columns when they are asked for.
    """

    __slots__ = ("_bars", "_close", "_frames", "_high", "_low", "_matrix", "_open", "_shown_close", "_time", "_volume",
                 "close", "ind", "stop", "ts_ns")  # fmt: skip

    def __init__(self, bars: Bars) -> None:
        for column in (bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume):
            column.flags.writeable = False
        self._frames: list[Frame] = []
        self.stop = 0
        self._hold(bars)
        self.ind = Indicators(self, bars.timeframe)

    def _hold(self, bars: Bars) -> None:
        self._bars = bars
        self.ts_ns = bars.ts_ns
        self._open, self._high, self._low = bars.open, bars.high, bars.low
        self._close, self._volume = bars.close, bars.volume
        self._time: NDArray[np.int64] | None = None
        self._matrix: FloatColumn | None = None
        self._shown_close: FloatColumn | None  # what `close` is; None: it has not been cut for this bar
        self.close = self._shown_close = bars.close[: self.stop]

    def show(self, stop: int, bars: Bars | None = None) -> None:
        """Let the first `stop` bars be seen, and none after them; `bars`: those held so far, with more after them."""
        self.stop = stop
        if bars is not None:
            self._hold(bars)
            self.ind.forget()
            for frame in self._frames:
                frame.grow(bars)
        self.close = self._shown_close = self._close[:stop]
        if self._frames:
            for frame in self._frames:
                frame.follow(stop)

    def tf(self, timeframe: str) -> Window:
        """The same market in bars of a higher timeframe, up to the last one that is over.

        Raises StrategyError for a timeframe that is no multiple of this one.
        """
        for frame in self._frames:
            if frame.timeframe == timeframe:
                return frame
        if length_over(timeframe, self._bars.timeframe) == timeframe_ns(self._bars.timeframe):
            return self
        frame = Frame(self._bars, timeframe)
        frame.ind.take(self.ind.given(timeframe))
        frame.follow(self.stop)
        self._frames.append(frame)
        return frame

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The higher timeframes that have been looked at."""
        return tuple(self._frames)

    @property
    def open(self) -> FloatColumn:
        """Opens up to the current bar."""
        return self._open[: self.stop]

    @property
    def high(self) -> FloatColumn:
        """Highs up to the current bar."""
        return self._high[: self.stop]

    @property
    def low(self) -> FloatColumn:
        """Lows up to the current bar."""
        return self._low[: self.stop]

    @property
    def volume(self) -> FloatColumn:
        """Volumes up to the current bar, in units."""
        return self._volume[: self.stop]

    @property
    def time(self) -> NDArray[np.int64]:
        """Opening times up to the current bar, UTC ms."""
        if self._time is None:
            self._time = self.ts_ns // NS_PER_MS
            self._time.flags.writeable = False
        return self._time[: self.stop]

    @property
    def bars(self) -> FloatColumn:
        """One row a bar: time (UTC ms), open, high, low, close, volume."""
        if self._matrix is None:
            columns = (self.ts_ns // NS_PER_MS, self._open, self._high, self._low, self._close, self._volume)
            self._matrix = np.column_stack(columns).astype(np.float64)
            self._matrix.flags.writeable = False
        return self._matrix[: self.stop]

    def column(self, name: str) -> NDArray[Any]:
        """A whole column by the name that indicators use for it, the future included: for computing ahead only."""
        return self.ts_ns if name == "ts" else cast("NDArray[Any]", getattr(self, f"_{name}"))

    def source_name(self, values: object) -> str:
        """Which of this window's columns an array is a prefix of, or nothing where it is none."""
        for name in ("close", "open", "high", "low", "volume"):
            if is_prefix(values, getattr(self, f"_{name}")):
                return name
        return ""


class Frame(Window):
    """Bars of a higher timeframe, up to the last one that is over; it moves on with the bars it is made of.

    `is_new`: whether one of them became known with the current bar of the smaller timeframe.
    """

    __slots__ = ("_known", "is_new", "known", "timeframe")

    def __init__(self, bars: Bars, timeframe: str) -> None:
        made = aggregate(bars, timeframe)
        super().__init__(made.bars)
        self.timeframe = timeframe
        self.is_new = False
        self._keep(made.known)

    def _keep(self, known: NDArray[np.int64]) -> None:
        known.flags.writeable = False
        self.known = known
        self._known = memoryview(known.data)  # its items are Python's numbers, which is quicker bar by bar

    @property
    def index(self) -> int:
        """Index of the last bar that is over; -1 before the first."""
        return self.stop - 1

    def grow(self, bars: Bars) -> None:
        """There are more bars: those that were over stay what they were."""
        made = aggregate(bars, self.timeframe)
        self._keep(made.known)
        for column in (made.bars.open, made.bars.high, made.bars.low, made.bars.close, made.bars.volume):
            column.flags.writeable = False
        made.bars.ts_ns.flags.writeable = False
        self.show(min(self.stop, len(made.bars)), made.bars)

    def follow(self, stop: int) -> None:
        """`stop` bars of the smaller timeframe are seen: show what is over by then."""
        count = self._known[stop - 1] if stop else 0
        self.is_new = count > (self._known[stop - 2] if stop > 1 else 0)
        if count != self.stop:
            self.show(count)
