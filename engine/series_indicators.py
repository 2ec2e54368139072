"""`ctx.ind`: indicators of the columns that a strategy sees, up to the current bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn
from engine.errors import StrategyError
from engine.frames import spread
from engine.indicators import DEFINITIONS, IndicatorSpec, compute, definition_of, parse_spec, resolve

if TYPE_CHECKING:
    from engine.series import Frame, Window


class _Known:
    """An indicator computed over the whole columns."""

    __slots__ = ("full", "key")

    def __init__(self, key: tuple[Any, ...], full: tuple[FloatColumn, ...]) -> None:
        self.key = key
        self.full = full


class Indicators:
    """`ctx.ind`: every indicator by name, memoised per (series, name, params), as long as the series it is given.

    `ind.ema(ctx.close, 12)`; inputs may be left out (`ind.atr(14)` takes this market's own columns). Several
    outputs come as a tuple. Of the market's columns, and of indicators of them, the whole is computed once: a
    value depends on no later bar, so a prefix of the whole is the indicator of the prefix. Any other series is
    computed as it is given, each time.
    """

    def __init__(self, window: Window, timeframe: str) -> None:
        self._window = window
        self._timeframe = timeframe
        self._memo: dict[tuple[Any, ...], _Known] = {}
        self._quick: list[dict[Any, Any]] = []  # what the functions keep for themselves
        self._asked: dict[tuple[Any, ...], None] = {}  # before the columns grew
        self._specs: dict[str, tuple[FloatColumn, ...]] = {}
        self._given: dict[str, dict[tuple[Any, ...], tuple[FloatColumn, ...]]] = {}  # by timeframe; "" is this one

    def forget(self) -> None:
        """The columns have grown: what is asked for next is computed again, to the same values and one more."""
        self._asked |= dict.fromkeys(self._memo)
        self._memo.clear()
        self._specs.clear()
        self._given.clear()
        for quick in self._quick:
            quick.clear()

    def __getattr__(self, name: str) -> Any:
        definition_of(name)  # raises StrategyError with the nearest name
        function = self._function(name)
        setattr(self, name, function)
        return function

    def __getitem__(self, text: str) -> Any:
        """An indicator by its spec, one value for each bar of this market: `ind["ema_50_4h"]`; several as a tuple.

        Of a higher timeframe each bar has the value of the last higher bar that was over at its close.
        """
        wholes = self._specs.get(text)
        if wholes is None:
            wholes = self._specs[text] = self._spread(parse_spec(text))
        stop = self._window.stop
        return wholes[0][:stop] if len(wholes) == 1 else tuple([whole[:stop] for whole in wholes])

    def _spread(self, spec: IndicatorSpec) -> tuple[FloatColumn, ...]:
        window = self._window.tf(spec.timeframe) if spec.timeframe else self._window
        wholes = window.ind.whole(spec)
        if window is self._window:
            return wholes
        known = cast("Frame", window).known
        return tuple([spread(whole, known) for whole in wholes])

    def whole(self, spec: IndicatorSpec) -> tuple[FloatColumn, ...]:
        """Every output of an indicator of this market's own columns, the future included: for computing ahead only."""
        key = (spec.name, _own_sources(definition_of(spec.name).inputs), spec.parameters)
        self.ask([key])
        return self._memo[key].full

    def know(self, spec: IndicatorSpec, full: tuple[FloatColumn, ...]) -> None:
        """Take an indicator of this market's own columns as it was computed before, over all of them."""
        key = (spec.name, _own_sources(definition_of(spec.name).inputs), spec.parameters)
        own = spec.timeframe in {"", self._timeframe}
        self._given.setdefault("" if own else spec.timeframe, {})[key] = full

    def given(self, timeframe: str) -> dict[tuple[Any, ...], tuple[FloatColumn, ...]]:
        """What is known already of a higher timeframe."""
        return self._given.get(timeframe, {})

    def take(self, given: dict[tuple[Any, ...], tuple[FloatColumn, ...]]) -> None:
        """What is known already of this timeframe."""
        self._given[""] = given

    def _computed(self, key: tuple[Any, ...]) -> _Known:
        name, sources, parameters = key
        full = self._given.get("", {}).get(key)
        if full is None or len(full[0]) != len(self._window.ts_ns):
            full = compute(name, parameters, [self._full(each) for each in sources])
        return _Known(key, full)

    def asked(self) -> list[tuple[Any, ...]]:
        """What has been asked for of known series, oldest first: keys that `ask` takes."""
        return list(self._asked | dict.fromkeys(self._memo))

    def ask(self, keys: Sequence[tuple[Any, ...]]) -> None:
        """Ask again for what `asked` gave, as a run that goes on from a snapshot has to."""
        for key in keys:
            if key not in self._memo:
                self._memo[key] = self._computed(key)

    def values(self) -> dict[str, dict[str, float]]:
        """What has been asked for, as it was written, with its outputs at the current bar; NaN before the first."""
        place = self._window.stop - 1
        self.ask(self.asked())
        return {
            _written(known.key): {
                output: float(column[place]) if place >= 0 else math.nan
                for output, column in zip(DEFINITIONS[known.key[0]].outputs, known.full, strict=True)
            }
            for known in self._memo.values()
        }

    def columns(self) -> list[tuple[str, FloatColumn]]:
        """Every output of what has been asked for, whole, by a name that says what it is.

        Of the market's own columns a name is the spec (`ema_20_1m`, `macd_12_26_9_1m.signal`), else as it was written:
        `sma(macd(close, 12, 26, 9).signal, 5)_1m`.
        """
        self.ask(self.asked())
        found = []
        for known in self._memo.values():
            name, sources, parameters = known.key
            definition = DEFINITIONS[name]
            is_own = sources == _own_sources(definition.inputs)
            text = str(IndicatorSpec(name, parameters)) if is_own else _written(known.key)
            names = output_names(f"{text}_{self._timeframe}", definition.outputs)
            found += list(zip(names, known.full, strict=True))
        return found

    def _function(self, name: str) -> Any:
        """The function behind `ind.NAME`, with quick ways for `ctx.close` and for the market's own columns."""
        window = self._window
        of_close: dict[Any, FloatColumn] = {}
        of_own: dict[tuple[Any, ...], tuple[FloatColumn, ...]] = {}
        self._quick += [of_close, of_own]
        takes_source = DEFINITIONS[name].inputs == ("source",)
        is_single = takes_source and len(DEFINITIONS[name].outputs) == 1

        def indicator(source: Any = None, first: Any = None, *rest: Any, **keywords: Any) -> Any:
            shown = window._shown_close  # noqa: SLF001 - `close` itself may have to be cut first, for nothing
            is_close = source is shown and source is not None and takes_source
            if is_close and not rest and not keywords:
                full = of_close.get(first)
                if full is not None:
                    return full[: window.stop]
            key: tuple[Any, ...] = ()
            if is_close or not isinstance(source, np.ndarray):
                key = (is_close, None if is_close else source, first, rest, *keywords.items())
                # An array among the arguments is no key; what is not a number is refused below.
                wholes = of_own.get(key) if all(map(_is_plain, (*key[1:3], *rest, *keywords.values()))) else None
                if wholes is not None:
                    stop = window.stop
                    return wholes[0][:stop] if len(wholes) == 1 else tuple([whole[:stop] for whole in wholes])
            arguments = tuple(value for value in (source, first, *rest) if value is not None)
            known, result = self._named(name, arguments, keywords)
            if known is None:
                return result
            if is_single and is_close and not rest and not keywords:
                of_close[first] = known.full[0]
            elif key and (is_close or not any(isinstance(value, np.ndarray) for value in arguments)):
                of_own[key] = known.full
            return result

        indicator.__name__ = name
        indicator.__doc__ = f"Indicator {name}: see docs/indicators.md."
        return indicator

    def _named(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[_Known | None, Any]:
        """Find what the arguments mean; compute the whole once where the series is known, else what was given."""
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
        lengths = {len(values) for values in given} or {self._window.stop}
        sources = tuple(self._source(values) for values in given) if count else _own_sources(definition.inputs)
        if not all(sources) or len(lengths) > 1:
            outputs = compute(name, parameters, given)
            return None, outputs[0] if len(outputs) == 1 else outputs
        key = (name, sources, parameters)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = self._computed(key)
        stop = lengths.pop()
        views = tuple(column[:stop] for column in known.full)
        return known, views[0] if len(views) == 1 else views

    def _source(self, values: Any) -> Any:
        """Which known series an array is a prefix of: a column's name, an indicator's key and output, or None."""
        name = self._window.source_name(values)
        if name:
            return name
        for known in self._memo.values():
            for output, column in enumerate(known.full):
                if is_prefix(values, column):
                    return (known.key, output)
        return None

    def _full(self, source: Any) -> NDArray[Any]:
        if isinstance(source, str):
            return self._window.column(source)
        key, output = source
        full: NDArray[Any] = self._memo[key].full[output]
        return full


def is_prefix(values: Any, column: NDArray[Any]) -> bool:
    """Whether an array is a view of a whole column from its start on, without steps."""
    base = getattr(values, "base", None)
    # A view of a column that is itself cut from a longer one has that one as its base.
    if base is None or (base is not column and base is not column.base):
        return False
    if values.ndim != 1 or values.dtype != column.dtype or len(values) > len(column):
        return False
    return bool(values.strides == column.strides and values.ctypes.data == column.ctypes.data)


def output_names(indicator: str, outputs: tuple[str, ...]) -> list[str]:
    """What the outputs of an indicator are called in files: its own name, or each with its output after a dot."""
    return [indicator] if len(outputs) == 1 else [f"{indicator}.{output}" for output in outputs]


def _written(source: Any) -> str:
    """A known series as a strategy writes it: `close`, `ema(close, 12)`, `sma(macd(close, 12, 26, 9).signal, 5)`."""
    if isinstance(source, str):
        return source
    name, inputs, parameters = source
    named = [
        each if isinstance(each, str)
        else _written(each[0]) + (f".{outputs[each[1]]}" if len(outputs := DEFINITIONS[each[0][0]].outputs) > 1 else "")
        for each in inputs
    ]  # fmt: skip
    return f"{name}({', '.join([*named, *map(str, parameters)])})"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _own_sources(inputs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("close" if name == "source" else name for name in inputs)
