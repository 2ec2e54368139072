"""The table of indicators. `docs/indicators.md` says what each one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from engine.kernels.indicators import averages, channels, momentum, trend, volatility, volume

Number: TypeAlias = int | float

LENGTH_MAX = 1_000_000
FACTOR_MAX = 1_000.0

_BAR = ("high", "low", "close")
_SOURCE = ("source",)
_VALUE = ("value",)
_BANDS = ("upper", "basis", "lower")


class Parameter(msgspec.Struct, frozen=True):
    """One number an indicator takes: a whole one where `is_int`, from `minimum` to `maximum`."""

    name: str
    default: Number
    minimum: Number
    maximum: Number
    is_int: bool


class IndicatorDefinition(msgspec.Struct, frozen=True):
    """What an indicator reads, takes and gives.

    `inputs` are columns by name (`source` is any float column, `ts` the int64 ns of the bars' opens).
    `kernel` is the compiled step, `state_size(*parameters)` the float64 elements it carries, and
    `first_index(*parameters)` the index of the first value of each output on clean bars. `source_hash`
    is the SHA-256 of a plug-in's file, and empty where the indicator is built in.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    kernel: Callable[..., None]
    state_size: Callable[..., int]
    first_index: Callable[..., tuple[int, ...]]
    source_hash: str = ""


def _length(default: int, name: str = "length", minimum: int = 1) -> Parameter:
    return Parameter(name, default, minimum, LENGTH_MAX, is_int=True)


def _factor(default: float, name: str = "multiplier", maximum: float = FACTOR_MAX) -> Parameter:
    return Parameter(name, default, 0.0, maximum, is_int=False)


def _from_length(length: int) -> tuple[int]:
    return (length - 1,)


def _after_length(length: int) -> tuple[int]:
    return (length,)


def _bands_first(length: int, _multiplier: float) -> tuple[int, int, int]:
    return (length - 1,) * 3


def _hma_first(length: int) -> tuple[int]:
    _, root = averages.hull_lengths(length)
    return (length + root - 2,)


def _macd_first(fast: int, slow: int, signal: int) -> tuple[int, int, int]:
    line = max(fast, slow) - 1
    return line, line + signal - 1, line + signal - 1


def _stoch_first(length: int, k_smoothing: int, d_length: int) -> tuple[int, int]:
    k = length + k_smoothing - 2
    return k, k + d_length - 1


def _stochrsi_first(rsi_length: int, length: int, k_smoothing: int, d_length: int) -> tuple[int, int]:
    k, d = _stoch_first(length, k_smoothing, d_length)
    return rsi_length + k, rsi_length + d


def _keltner_first(length: int, _multiplier: float, atr_length: int) -> tuple[int, int, int]:
    bands = max(length, atr_length) - 1
    return bands, length - 1, bands


def _donchian_first(length: int) -> tuple[int, int, int]:
    return (length - 1,) * 3


def _ichimoku_first(conversion: int, base: int, span: int) -> tuple[int, int, int, int]:
    return conversion - 1, base - 1, max(conversion, base) - 1, span - 1


def _adx_first(length: int, smoothing: int) -> tuple[int, int, int]:
    return length + smoothing - 1, length, length


def _supertrend_first(length: int, _factor: float) -> tuple[int, int]:
    return length - 1, length - 1


def _psar_first(_start: float, _increment: float, _maximum: float) -> tuple[int]:
    return (1,)


def _at_once() -> tuple[int]:
    return (0,)


_PSAR_PARAMETERS = (
    _factor(0.02, "start", 1.0),
    _factor(0.02, "increment", 1.0),
    _factor(0.2, "maximum", 1.0),
)

# name, inputs, parameters, outputs, kernel, elements of state, first index of each output
_TABLE = (
    ("sma", _SOURCE, (_length(20),), _VALUE, averages.sma, averages.sma_state_size, _from_length),
    ("ema", _SOURCE, (_length(20),), _VALUE, averages.ema, averages.ema_state_size, _from_length),
    ("wma", _SOURCE, (_length(20),), _VALUE, averages.wma, averages.wma_state_size, _from_length),
    ("rma", _SOURCE, (_length(14),), _VALUE, averages.rma, averages.rma_state_size, _from_length),
    ("hma", _SOURCE, (_length(9, minimum=2),), _VALUE, averages.hma, averages.hma_state_size, _hma_first),
    (
        "vwma",
        ("source", "volume"),
        (_length(20),),
        _VALUE,
        averages.vwma,
        averages.vwma_state_size,
        _from_length,
    ),
    ("std", _SOURCE, (_length(20),), _VALUE, volatility.std, volatility.std_state_size, _from_length),
    (
        "zscore",
        _SOURCE,
        (_length(20, minimum=2),),
        _VALUE,
        volatility.zscore,
        volatility.zscore_state_size,
        _from_length,
    ),
    ("roc", _SOURCE, (_length(9),), _VALUE, momentum.roc, momentum.roc_state_size, _after_length),
    ("rsi", _SOURCE, (_length(14),), _VALUE, momentum.rsi, momentum.rsi_state_size, _after_length),
    (
        "macd",
        _SOURCE,
        (_length(12, "fast"), _length(26, "slow"), _length(9, "signal")),
        ("macd", "signal", "histogram"),
        momentum.macd,
        momentum.macd_state_size,
        _macd_first,
    ),
    (
        "stoch",
        _BAR,
        (_length(14), _length(1, "k_smoothing"), _length(3, "d_length")),
        ("k", "d"),
        momentum.stoch,
        momentum.stoch_state_size,
        _stoch_first,
    ),
    (
        "stochrsi",
        _SOURCE,
        (_length(14, "rsi_length"), _length(14), _length(3, "k_smoothing"), _length(3, "d_length")),
        ("k", "d"),
        momentum.stochrsi,
        momentum.stochrsi_state_size,
        _stochrsi_first,
    ),
    (
        "cci",
        _BAR,
        (_length(20, minimum=2),),
        _VALUE,
        momentum.cci,
        momentum.cci_state_size,
        _from_length,
    ),
    (
        "adx",
        _BAR,
        (_length(14), _length(14, "smoothing")),
        ("adx", "plus_di", "minus_di"),
        trend.adx,
        trend.adx_state_size,
        _adx_first,
    ),
    ("atr", _BAR, (_length(14),), _VALUE, volatility.atr, volatility.atr_state_size, _from_length),
    ("natr", _BAR, (_length(14),), _VALUE, volatility.natr, volatility.natr_state_size, _from_length),
    (
        "bbands",
        _SOURCE,
        (_length(20), _factor(2.0)),
        _BANDS,
        channels.bbands,
        channels.bbands_state_size,
        _bands_first,
    ),
    (
        "keltner",
        _BAR,
        (_length(20), _factor(2.0), _length(10, "atr_length")),
        _BANDS,
        channels.keltner,
        channels.keltner_state_size,
        _keltner_first,
    ),
    (
        "donchian",
        ("high", "low"),
        (_length(20),),
        _BANDS,
        channels.donchian,
        channels.donchian_state_size,
        _donchian_first,
    ),
    (
        "supertrend",
        _BAR,
        (_length(10), _factor(3.0, "factor")),
        ("supertrend", "direction"),
        trend.supertrend,
        trend.supertrend_state_size,
        _supertrend_first,
    ),
    ("obv", ("close", "volume"), (), _VALUE, volume.obv, volume.obv_state_size, _at_once),
    ("mfi", (*_BAR, "volume"), (_length(14),), _VALUE, volume.mfi, volume.mfi_state_size, _after_length),
    ("vwap", (*_BAR, "volume", "ts"), (), _VALUE, volume.vwap, volume.vwap_state_size, _at_once),
    ("psar", _BAR, _PSAR_PARAMETERS, _VALUE, trend.psar, trend.psar_state_size, _psar_first),
    (
        "ichimoku",
        ("high", "low"),
        (_length(9, "conversion"), _length(26, "base"), _length(52, "span")),
        ("conversion", "base", "lead_a", "lead_b"),
        channels.ichimoku,
        channels.ichimoku_state_size,
        _ichimoku_first,
    ),
)


def _definition(
    name: str,
    inputs: tuple[str, ...],
    parameters: tuple[Parameter, ...],
    outputs: tuple[str, ...],
    kernel: Callable[..., None],
    state_size: Callable[..., int],
    first_index: Callable[..., tuple[int, ...]],
) -> IndicatorDefinition:
    return IndicatorDefinition(name, inputs, parameters, outputs, kernel, state_size, first_index)


def _table() -> dict[str, IndicatorDefinition]:
    rows: Any = _TABLE
    return {row[0]: _definition(*row) for row in rows}


DEFINITIONS: dict[str, IndicatorDefinition] = _table()
BUILT_IN = frozenset(DEFINITIONS)
