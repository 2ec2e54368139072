"""Plug-in indicators: a file `strategies/indicators/{name}.py` of the home folder defines the indicator `name`.

The file says `inputs`, `parameters` and `outputs`, and has `compute`, which takes whole columns and the parameters and
returns whole columns. When it is loaded it is tried on made-up bars: a value that changes when later bars do, or that
whole columns give otherwise than columns cut there, is refused. The trial finds what these bars bring to light; it
proves nothing about other bars.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import StrategyError, TapewrightError
from engine.indicators import BUILT_IN, IndicatorDefinition, Parameter, named_words
from engine.indicators.definitions import FACTOR_MAX, LENGTH_MAX
from engine.strategy import Schema, checked_schema, source_digest
from strategies.loading import SourceFile, never_runs, raised, refuse, run_file, takes

FOLDER = Path("strategies") / "indicators"
COLUMNS = ("source", "open", "high", "low", "close", "volume", "ts")
_BARS = 240
_CUTS = (1, 2, 3, 7, 20, 21, 50, 101, 150, 199, 200, 230, 239)
_STEP_NS = 3_600_000_000_000


class Plugin(msgspec.Struct, frozen=True):
    """A plug-in that was read and tried."""

    path: Path
    source: bytes
    schema: Schema
    definition: IndicatorDefinition


def load_named(home: Path, texts: Iterable[str]) -> list[Plugin]:
    """The plug-ins of a home that these texts name; raises StrategyError where one of them is broken."""
    folder = home / FOLDER
    if not folder.is_dir():
        return []
    words = named_words(texts)
    paths = sorted(path for path in folder.glob("*.py") if path.name[0] not in "_." and path.stem in words)
    return [load_plugin(path) for path in paths]


def load_plugin(path: Path) -> Plugin:
    """Run a plug-in's file, check it and try it; raises StrategyError with file, line and remedy."""
    file = run_file(path)
    refuse(path, _problems(file))
    parameters = getattr(file.module, "parameters", {})
    try:
        schema = checked_schema({"id": path.stem, "name": path.stem.capitalize(), "inputs": parameters}, str(path))
    except StrategyError as error:
        raise StrategyError(error.message.replace("schema().inputs", "parameters"), remedy=error.remedy) from None
    refuse(path, [f"parameters.{each.name}: {each.type}; int or float" for each in schema.inputs
                  if each.type not in {"int", "float"}])  # fmt: skip
    numbers = tuple(
        Parameter(
            each.name, each.default, 0 if each.minimum is None else each.minimum,  # type: ignore[arg-type]
            (LENGTH_MAX if each.type == "int" else FACTOR_MAX) if each.maximum is None else each.maximum,
            is_int=each.type == "int",
        )
        for each in schema.inputs
    )  # fmt: skip
    inputs, outputs = tuple(file.module.inputs), tuple(file.module.outputs)
    compute = _Compute(file, inputs, outputs)
    if not takes(file.module.compute, len(inputs) + len(numbers)):
        written = f"compute({', '.join((*inputs, *(each.name for each in numbers)))})"
        raise compute.refused(f"is written as compute{inspect.signature(file.module.compute)}", f"Write def {written}.")
    _try(compute, numbers)
    definition = IndicatorDefinition(
        path.stem, inputs, numbers, outputs, compute.kernel, lambda *_: 0, lambda *_: (0,) * len(outputs),
        source_digest(file.source),
    )  # fmt: skip
    return Plugin(path, file.source, schema, definition)


class _Compute:
    """A plug-in's function, called and checked as a kernel is."""

    def __init__(self, file: SourceFile, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._path = file.path
        self._function = file.module.compute
        self.inputs = inputs
        self.outputs = outputs

    def refused(self, problem: str, remedy: str) -> StrategyError:
        """The error that names where `compute` begins."""
        line = self._function.__code__.co_firstlineno if hasattr(self._function, "__code__") else 1
        return StrategyError(f"{self._path}:{line}: compute {problem}", remedy=remedy)

    def columns(self, inputs: Sequence[NDArray[Any]], parameters: Sequence[Any]) -> list[NDArray[np.float64]]:
        """Call it; raises StrategyError with the line where its code fails, or with what it returned."""
        try:
            found = self._function(*inputs, *parameters)
        except TapewrightError:
            raise
        except Exception as error:  # the strategy boundary
            raise raised(error, self._path, "compute") from error
        given = list(found) if isinstance(found, tuple) else [found]
        size = len(inputs[0])
        if len(given) != len(self.outputs) or any(np.shape(each) != (size,) for each in given):
            shapes = ", ".join(str(np.shape(each)) for each in given)
            raise self.refused(
                f"gave columns of shapes {shapes} for {size} bars",
                f"Return {' and '.join(self.outputs)}, one value a bar, NaN where there is none;"
                " several columns as a tuple.",
            )
        try:
            return [np.asarray(each, dtype=np.float64) for each in given]
        except (TypeError, ValueError):
            raise self.refused("gave a column that is not of numbers", "Return columns of float64.") from None

    def kernel(self, *arguments: Any) -> None:
        """As compiled steps are called: columns, outputs, state, parameters, start, stop."""
        count, outputs = len(self.inputs), len(self.outputs)
        start, stop = arguments[-2:]
        parameters = arguments[count + outputs + 1 : -2]
        found = self.columns([column[:stop] for column in arguments[:count]], parameters)
        for output, column in zip(arguments[count : count + outputs], found, strict=True):
            output[start:stop] = column[start:stop]


def _problems(file: SourceFile) -> list[str]:
    module, name = file.module, file.path.stem
    problems = []
    if not (name.isascii() and name.isalpha() and name.islower()):
        problems.append(f"{name!r} cannot be an indicator's name; name the file with small letters only")
    if name in BUILT_IN:
        problems.append(f"there is a built-in indicator {name}; give the file another name")
    inputs, outputs = getattr(module, "inputs", None), getattr(module, "outputs", ("value",))
    if not isinstance(inputs, tuple | list) or not inputs or not set(map(str, inputs)) <= set(COLUMNS):
        problems.append(f"inputs is {inputs!r}; a tuple of {', '.join(COLUMNS)}")
    module.__dict__.setdefault("outputs", ("value",))
    if not isinstance(outputs, tuple | list) or not outputs or not all(isinstance(each, str) for each in outputs):
        problems.append(f"outputs is {outputs!r}; a tuple of names")
    compute = getattr(module, "compute", None)
    if not callable(compute):
        problems.append("no compute(); write a function of the inputs and the parameters that returns columns")
    elif asleep := never_runs(compute):
        problems.append(f"compute {asleep}")
    return problems


def _try(compute: _Compute, parameters: Sequence[Parameter]) -> None:
    """Refuse what looks ahead, or gives other bits when it is given less."""
    defaults = [each.default for each in parameters]
    least = [max(each.minimum, 2 if each.is_int else each.minimum) if each.default > each.minimum else each.default
             for each in parameters]  # fmt: skip
    for numbers in (defaults, least):
        columns = _made_up()
        whole = _called(compute, columns, numbers)
        _compare(
            compute, whole, _called(compute, columns, numbers), _BARS, "gives other values when it is called again"
        )
        for cut in _CUTS:
            before = {name: column[:cut] for name, column in columns.items()}
            _compare(
                compute, whole, _called(compute, before, numbers), cut, "gives other values when later bars are missing"
            )
            after = _called(compute, _poisoned(columns, cut), numbers)
            _compare(compute, whole, after, cut, "gives other values when later bars change")


def _called(compute: _Compute, columns: dict[str, NDArray[Any]], numbers: Sequence[Any]) -> list[NDArray[np.float64]]:
    given = [columns[name].copy() for name in compute.inputs]
    for column in given:
        column.flags.writeable = False
    with np.errstate(all="ignore"):
        return compute.columns(given, numbers)


def _compare(
    compute: _Compute, whole: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]], stop: int, what: str
) -> None:  # fmt: skip
    for name, one, two in zip(compute.outputs, whole, other, strict=True):
        left, right = (np.where(np.isnan(column[:stop]), np.nan, column[:stop]).view(np.int64) for column in (one, two))
        if not np.array_equal(left, right):
            place = int(np.argmax(left != right))
            raise compute.refused(
                f"{what}: {name} at bar {place} of a made-up market, cut after bar {stop - 1},"
                f" is {one[place]!r} and {two[place]!r}",
                "A value may depend on its own bar and those before, and must be the same to the last bit whatever"
                " follows: no shift back, no mean or range of the whole column, no FFT.",
            )


def _made_up() -> dict[str, NDArray[Any]]:
    """Bars that move up and down, the same each time."""
    place = np.arange(_BARS, dtype=np.float64)
    noise = np.modf(np.abs(np.sin(place * 12.9898) * 43758.5453))[0]
    close = np.round(100 + 8 * np.sin(place / 9) + 20 * np.sin(place / 57) + 3 * (noise - 0.5), 2)
    open_ = np.concatenate((close[:1], close[:-1]))
    return {
        "source": close, "open": open_, "high": np.maximum(open_, close) + np.round(noise, 2),
        "low": np.minimum(open_, close) - np.round(1 - noise, 2), "close": close,
        "volume": np.round(1000 * noise, 3), "ts": 1_700_000_000_000_000_000 + _STEP_NS * np.arange(_BARS),
    }  # fmt: skip


def _poisoned(columns: dict[str, NDArray[Any]], cut: int) -> dict[str, NDArray[Any]]:
    """Other values from a bar on."""
    changed = {name: column.copy() for name, column in columns.items()}
    for name, column in changed.items():
        if name != "ts":
            column[cut:] = column[cut:] * 1e3 + 7
    return changed
