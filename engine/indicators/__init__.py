"""Indicators: what there is, how to ask for one, and how to compute it over whole columns or bar by bar.

    DEFINITIONS       every indicator: inputs, parameters, outputs
    resolve           arguments of a call to the full tuple of parameters
    parse_spec        a name such as `ema_50_4h` to an IndicatorSpec, and back with `str`
    compute           whole columns in, read-only columns out
    RunningIndicator  the same code over any run of bars at a time, carrying its state
    use_plugins       what a home's own files define, beside the built-in ones
    prepare           compile some of them; `named_in` finds those that a strategy's text names

Without `prepare` nothing is compiled until an indicator is used, and then only that one.
"""

from engine.indicators.computing import RunningIndicator, compute, named_in, named_words, prepare, use_plugins
from engine.indicators.definitions import BUILT_IN, DEFINITIONS, IndicatorDefinition, Parameter
from engine.indicators.naming import IndicatorSpec, definition_of, first_indexes, parse_spec, resolve

__all__ = [
    "BUILT_IN",
    "DEFINITIONS",
    "IndicatorDefinition",
    "IndicatorSpec",
    "Parameter",
    "RunningIndicator",
    "compute",
    "definition_of",
    "first_indexes",
    "named_in",
    "named_words",
    "parse_spec",
    "prepare",
    "resolve",
    "use_plugins",
]
