"""What a strategy sees of one market: columns that end at the current bar, and indicators of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bars import NS_PER_MS, Bars, FloatColumn
from engine.errors import StrategyError
from engine.indicators import DEFINITIONS, compute, definition_of, resolve


class Window:
    """Bars up to the current one. `stop` is the count of bars that may be seen; the columns are read-only views."""

    __slots__ = ("_bars", "_close", "_close_at", "_close_view", "_high", "_low", "_matrix", "_open", "_time", "_volume",
                 "ind", "stop", "ts_ns")  # fmt: skip

    def __init__(self, bars: Bars) -> None:
        for column in (bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume):
            column.flags.writeable = False
        self._bars = bars
        self.ts_ns = bars.ts_ns
        self._open, self._high, self._low = bars.open, bars.high, bars.low
        self._close, self._volume = bars.close, bars.volume
        self._time: NDArray[np.int64] | None = None
        self._matrix: FloatColumn | None = None
        self.stop = 0
        self._close_at = -1
        self._close_view = bars.close[:0]
        self.ind = Indicators(self)

    @property
    def close(self) -> FloatColumn:
        """Closes up to the current bar."""
        if self._close_at != self.stop:
            self._close_at = self.stop
            self._close_view = self._close[: self.stop]
        return self._close_view

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
        return self.ts_ns if name == "ts" else getattr(self, f"_{name}")  # type: ignore[no-any-return]

    def source_name(self, values: object) -> str:
        """Which of this window's columns an array is, or nothing where it is none of them as it is seen now."""
        if values is self._close_view and self._close_at == self.stop:
            return "close"
        base = getattr(values, "base", None)
        for name in ("open", "high", "low", "volume", "close"):
            if base is getattr(self, f"_{name}") and self._is_prefix(values, base):
                return name
        return ""

    def _is_prefix(self, values: Any, base: NDArray[Any]) -> bool:
        return (
            values.shape == (self.stop,)
            and values.strides == base.strides
            and (self.stop == 0 or values.ctypes.data == base.ctypes.data)
        )


class _Known:
    """An indicator computed over the whole columns, and the views of it that were handed out last."""

    __slots__ = ("at", "full", "key", "views")

    def __init__(self, key: tuple[Any, ...], full: tuple[FloatColumn, ...]) -> None:
        self.key = key
        self.full = full
        self.at = -1
        self.views: Any = None


class Indicators:
    """`ctx.ind`: every indicator by name, memoised per (series, name, params), ending at the current bar.

    `ind.ema(ctx.close, 12)`; inputs may be left out (`ind.atr(14)` takes this market's own columns). Several
    outputs come as a tuple. A series that is not one of the market's columns or indicators is computed as it is
    given, each time.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._memo: dict[tuple[Any, ...], _Known] = {}

    def __getattr__(self, name: str) -> Any:
        definition_of(name)  # raises StrategyError with the nearest name
        raise AssertionError(f"indicator {name} has no method")

    def named(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The slow way in: find what the arguments mean, compute ahead where that is sound, remember."""
        definition = DEFINITIONS[name]
        count = 0
        while count < len(arguments) and isinstance(arguments[count], np.ndarray):
            count += 1
        if count not in {0, len(definition.inputs)}:
            raise StrategyError(
                f"ind.{name} got {count} series",
                remedy=f"Give it {', '.join(definition.inputs)}, or none for the market's own.",
            )
        parameters = resolve(name, arguments[count:], keywords)
        given = arguments[:count]
        sources = tuple(self._source(values) for values in given) if count else _own_sources(definition.inputs)
        if not all(sources):
            outputs = compute(name, parameters, given)
            return outputs[0] if len(outputs) == 1 else outputs
        key = (name, sources, parameters)
        known = self._memo.get(key)
        if known is None:
            known = _Known(key, compute(name, parameters, [self._full(source) for source in sources]))
            self._memo[key] = known
        if count == 1 and sources == ("close",) and not keywords:
            self._memo[(name, *arguments[1:])] = known  # the quick way in, from now on
        return self._cut(known)

    def _cut(self, known: _Known) -> Any:
        stop = self._window.stop
        known.at = stop
        full = known.full
        known.views = full[0][:stop] if len(full) == 1 else tuple([column[:stop] for column in full])
        return known.views

    def _source(self, values: Any) -> Any:
        name = self._window.source_name(values)
        if name:
            return name
        for known in self._memo.values():
            views = known.views if isinstance(known.views, tuple) else (known.views,)
            for output, view in enumerate(views):
                if view is values and known.at == self._window.stop:
                    return (known.key, output)
        return None

    def _full(self, source: Any) -> NDArray[Any]:
        if isinstance(source, str):
            return self._window.column(source)
        key, output = source
        return self._memo[key].full[output]


def _own_sources(inputs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("close" if name == "source" else name for name in inputs)


def _method(name: str) -> Any:
    def indicator(self: Indicators, *arguments: Any, **keywords: Any) -> Any:
        window = self._window
        if arguments and arguments[0] is window._close_view and window._close_at == window.stop and not keywords:  # noqa: SLF001
            known = self._memo.get((name, *arguments[1:]))
            if known is not None:
                if known.at != window.stop:
                    known.at = window.stop
                    full = known.full
                    known.views = full[0][: known.at] if len(full) == 1 else tuple([c[: known.at] for c in full])
                return known.views
        return self.named(name, arguments, keywords)

    indicator.__name__ = name
    indicator.__doc__ = f"Indicator {name}: see docs/indicators.md."
    return indicator


for _name in DEFINITIONS:
    setattr(Indicators, _name, _method(_name))
