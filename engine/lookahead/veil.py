"""A run in whose memory only bars that are over are true: what comes later is filled in bar by bar.

A strategy's views end at the current bar, but their `.base` leads to whole columns. Here these hold other values after
the current bar, in columns, in bars of higher timeframes and in indicators, so whatever a strategy reaches for, it
cannot decide by what is to come. All its decisions are tried in one run. What it is shown is the same to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bars import Bars, FloatColumn
from engine.ctx import Context
from engine.indicators import IndicatorSpec
from engine.lookahead.observed import ObservedReplay
from engine.series import Frame, Window
from engine.series_indicators import Indicators

_FIELDS = ("open", "high", "low", "close", "volume")


class Veil:
    """Columns that are true up to the current bar; after it they stand far above what is true, or far below."""

    def __init__(self, *, is_high: bool) -> None:
        self.is_high = is_high
        self._pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._stop = 0

    def over(self, true: NDArray[np.float64]) -> NDArray[np.float64]:
        """A column to show in place of a true one; nobody can write to it, or find what lies behind."""
        store = _elsewhere(true, is_high=self.is_high)
        store[: self._stop] = true[: self._stop]
        self._pairs.append((true, store))
        # Through a read-only buffer: numpy lets nobody make it writeable, and the base of views ends there.
        return np.asarray(memoryview(store.data).toreadonly())

    def lift(self, stop: int) -> None:
        """The first `stop` rows are over."""
        start = self._stop
        if stop > start:
            for true, store in self._pairs:
                store[start:stop] = true[start:stop]
            self._stop = stop


def _elsewhere(true: NDArray[np.float64], *, is_high: bool) -> NDArray[np.float64]:
    finite = true[np.isfinite(true)]
    least, most = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if is_high:
        level = 2.0 * max(abs(least), abs(most)) + 1.0
    else:
        level = least / 4 if least > 0 else -2.0 * max(abs(least), abs(most)) - 1.0
    wave = np.sin(np.arange(true.size, dtype=np.float64)).reshape(true.shape)
    elsewhere: NDArray[np.float64] = level * (1.0 + 0.1 * wave)
    return elsewhere


def _veiled(bars: Bars, veil: Veil) -> Bars:
    columns = {name: veil.over(getattr(bars, name)) for name in _FIELDS}
    return Bars(bars.symbol, bars.timeframe, bars.ts_ns, **columns)


class VeiledIndicators(Indicators):
    """Indicators of the true columns, shown under a veil."""

    def __init__(self, window: Window, timeframe: str, true: Window, veil: Veil) -> None:
        super().__init__(window, timeframe)
        self._true = true
        self._veil = veil
        self._true_outputs: dict[Any, tuple[FloatColumn, ...]] = {}

    def _computed(self, key: tuple[Any, ...]) -> Any:
        known = super()._computed(key)
        self._true_outputs[key] = known.full
        known.full = tuple(self._veil.over(column) for column in known.full)
        return known

    def _full(self, source: Any) -> NDArray[Any]:
        if isinstance(source, str):
            return self._true.column(source)
        key, output = source
        full: FloatColumn = self._true_outputs[key][output]
        return full

    def _spread(self, spec: IndicatorSpec) -> tuple[FloatColumn, ...]:
        if not spec.timeframe or self._window.tf(spec.timeframe) is self._window:
            return super()._spread(spec)
        found = self._true.ind[str(spec)]
        return tuple(self._veil.over(column) for column in (found if isinstance(found, tuple) else (found,)))


class VeiledFrame(Frame):
    """Bars of a higher timeframe under a veil."""

    __slots__ = ("_veil",)

    def __init__(self, true: Frame, *, is_high: bool) -> None:
        self._veil = Veil(is_high=is_high)
        columns = {name: self._veil.over(true.column(name)) for name in _FIELDS}
        Window.__init__(self, Bars("", true.timeframe, true.ts_ns, **columns))
        self.ind = VeiledIndicators(self, true.timeframe, true, self._veil)
        self.timeframe = true.timeframe
        self.is_new = False
        self._keep(true.known)

    def show(self, stop: int, bars: Bars | None = None) -> None:
        """As the window's own."""
        self._veil.lift(stop)
        super().show(stop, bars)


class VeiledContext(Context):
    """A ctx under a veil that shows high values after the current bar."""

    __slots__ = ("_true", "_veil")
    is_high = True

    def __init__(self, bars: Bars, *arguments: Any, **keywords: Any) -> None:
        self._veil = Veil(is_high=self.is_high)
        self._true = Window(bars)
        self._true.show(len(bars))
        super().__init__(_veiled(bars, self._veil), *arguments, **keywords)
        self.ind = VeiledIndicators(self, bars.timeframe, self._true, self._veil)

    def show(self, stop: int, bars: Bars | None = None) -> None:
        """As the window's own."""
        self._veil.lift(stop)
        super().show(stop, bars)

    def tf(self, timeframe: str) -> Window:
        """As the window's own."""
        true = self._true.tf(timeframe)
        if not isinstance(true, Frame):
            return self
        for frame in self._frames:
            if frame.timeframe == timeframe:
                return frame
        frame = VeiledFrame(true, is_high=self.is_high)
        frame.follow(self.stop)
        self._frames.append(frame)
        return frame

    @property
    def bars(self) -> FloatColumn:
        """As the window's own."""
        if self._matrix is None:
            self._matrix = self._veil.over(self._true.bars)
        return self._matrix[: self.stop]


class LowVeiledContext(VeiledContext):
    """The same with low values after the current bar."""

    __slots__ = ()
    is_high = False


class HighReplay(ObservedReplay):
    """A run under a veil of high values."""

    context_type = VeiledContext


class LowReplay(ObservedReplay):
    """A run under a veil of low values."""

    context_type = LowVeiledContext
