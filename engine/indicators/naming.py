"""From what a user writes to an indicator and its full parameters, with errors that say what is allowed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping

import msgspec

from engine.bars import timeframe_ns
from engine.errors import StrategyError, UsageError
from engine.indicators.definitions import DEFINITIONS, IndicatorDefinition, Number, Parameter

# A count and letters: never a number, so the last part of a spec can only be one of the two.
_TIMEFRAME_LIKE = re.compile(r"[0-9]+[a-zA-Z]+")


class IndicatorSpec(msgspec.Struct, frozen=True):
    """An indicator with all its parameters, and the timeframe of its bars ("" for the run's own).

    `str` gives the one canonical spelling, which `parse_spec` reads back to an equal spec.
    """

    name: str
    parameters: tuple[Number, ...]
    timeframe: str = ""

    def __str__(self) -> str:
        parts = (self.name, *(_spell(number) for number in self.parameters), self.timeframe)
        return "_".join(part for part in parts if part)


def definition_of(name: str) -> IndicatorDefinition:
    """Look an indicator up by name; raises StrategyError with the nearest known name."""
    definition = DEFINITIONS.get(name)
    if definition is None:
        near = difflib.get_close_matches(name, DEFINITIONS, n=1, cutoff=0.5)
        guess = f' Did you mean "{near[0]}"?' if near else ""
        raise StrategyError(
            f'Indicator not implemented: "{name}".{guess}',
            remedy=f"Use one of: {', '.join(sorted(DEFINITIONS))}."
            f" Or, for backtests, create strategies/indicators/{name}.py.",
        )
    return definition


def resolve(name: str, arguments: tuple[object, ...], keywords: Mapping[str, object]) -> tuple[Number, ...]:
    """Parameters in order, defaults filled in, whole numbers as int and others as float.

    Raises StrategyError for an unknown indicator or parameter, one given twice, or one out of its range.
    """
    definition = definition_of(name)
    parameters = definition.parameters
    if len(arguments) > len(parameters):
        raise StrategyError(
            f"{name} takes {len(parameters)} parameters at most, got {len(arguments)}",
            remedy=f"Write {_usage(definition)}.",
        )
    given = dict(zip((parameter.name for parameter in parameters), arguments, strict=False))
    for keyword, number in keywords.items():
        if keyword in given:
            raise StrategyError(f"{name}: {keyword} is given twice", remedy=f"Write {_usage(definition)}.")
        if all(keyword != parameter.name for parameter in parameters):
            raise StrategyError(f"{name} has no parameter {keyword!r}", remedy=f"Write {_usage(definition)}.")
        given[keyword] = number
    return tuple(_checked(name, parameter, given.get(parameter.name, parameter.default)) for parameter in parameters)


def first_indexes(name: str, parameters: tuple[Number, ...]) -> tuple[int, ...]:
    """Index of the first value of each output, on bars without gaps in their numbers."""
    definition = definition_of(name)
    return definition.first_index(*resolve(name, parameters, {}))


def parse_spec(text: str) -> IndicatorSpec:
    """Read `name`, its numbers in order and a timeframe, joined by `_`: `ema_50_4h`, `bbands_20_2.5`.

    Missing numbers are the defaults. Raises StrategyError.
    """
    name, *parts = text.strip().split("_")
    definition = definition_of(name)
    timeframe = ""
    if parts and _TIMEFRAME_LIKE.fullmatch(parts[-1]):
        timeframe = parts.pop()
        try:
            timeframe_ns(timeframe)
        except UsageError as error:
            raise StrategyError(f"Indicator {text!r}: {error.message}", remedy=error.remedy) from error
    return IndicatorSpec(name, resolve(name, tuple(_number(text, part, definition) for part in parts), {}), timeframe)


def _number(text: str, part: str, definition: IndicatorDefinition) -> Number:
    try:
        return int(part) if part.isdecimal() else float(part)
    except ValueError:
        raise StrategyError(
            f"Indicator {text!r}: {part!r} is neither a number nor a timeframe",
            remedy=f"Write {_spelling(definition)}, where the timeframe may be left out.",
        ) from None


def _checked(name: str, parameter: Parameter, given: object) -> Number:
    """Give back a number as the kernels take it, or raise StrategyError with the allowed range."""
    number: Number | None = None
    if not isinstance(given, (bool, str, bytes)):
        number = _as_number(given, is_int=parameter.is_int)
    if number is None or not parameter.minimum <= number <= parameter.maximum:
        kind = "a whole number" if parameter.is_int else "a number"
        allowed = f"{_spell(parameter.minimum)} to {_spell(parameter.maximum)}"
        raise StrategyError(
            f"{name}: {parameter.name} must be {kind} from {allowed}, got {given!r}",
            remedy=f"The default is {_spell(parameter.default)}.",
        )
    return number


def _as_number(given: object, *, is_int: bool) -> Number | None:
    try:
        number = float(given)  # type: ignore[arg-type]  # what has no float raises TypeError here
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    if not is_int:
        return number
    return int(number) if number.is_integer() else None


def _spell(number: Number) -> str:
    """Shortest text that reads back to the same number: 20, 2.5, and 2 for 2.0."""
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _usage(definition: IndicatorDefinition) -> str:
    pairs = (f"{parameter.name}={_spell(parameter.default)}" for parameter in definition.parameters)
    return f"{definition.name}({', '.join((*definition.inputs, *pairs))})"


def _spelling(definition: IndicatorDefinition) -> str:
    return str(IndicatorSpec(definition.name, tuple(p.default for p in definition.parameters), "1h"))
