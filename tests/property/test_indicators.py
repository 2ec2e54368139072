"""Every indicator on any bars: the same bits whatever the cuts, no look into the future, a naive twin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.indicators import DEFINITIONS, RunningIndicator, compute, definition_of, first_indexes

Columns = dict[str, NDArray[Any]]
Line = list[float]

NAN = math.nan
NS_PER_HOUR = 3_600_000_000_000

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Few distinct prices, in quarters: ties, flat stretches and bars without range or volume are common, and sums
# are exact, so that what is equal by definition is equal in a twin.
BAR = st.tuples(
    st.integers(4, 60),  # open
    st.integers(4, 60),  # close
    st.sampled_from([0, 0, 1, 2, 7]),  # high above both
    st.sampled_from([0, 0, 1, 3]),  # low below both
    st.sampled_from([0, 0, 1, 2, 5, 1_000]),  # volume
    st.sampled_from([1, 1, 1, 5, 30]),  # hours to the next bar
)


@st.composite
def bars(draw: st.DrawFn) -> Columns:
    rows = draw(st.lists(BAR, min_size=1, max_size=60))
    if draw(st.booleans()):  # stretches of the same bar
        rows = [row for row in rows for _ in range(draw(st.integers(1, 4)))][:80]
    table = np.array(rows, dtype=np.float64)
    open_, close = table[:, 0] / 4, table[:, 1] / 4
    return {
        "source": close,
        "open": open_,
        "high": np.maximum(open_, close) + table[:, 2] / 4,
        "low": np.minimum(open_, close) - table[:, 3] / 4,
        "close": close,
        "volume": table[:, 4],
        "ts": 1_700_000_000_000_000_000 + NS_PER_HOUR * np.cumsum(table[:, 5]).astype(np.int64),
    }


@st.composite
def rough_bars(draw: st.DrawFn) -> Columns:
    """Bars that may begin with NaNs or have some inside."""
    columns = draw(bars())
    size = len(columns["close"])
    leading = draw(st.integers(0, 5))
    holes = draw(st.lists(st.integers(0, size - 1), max_size=3))
    result = {}
    for name, column in columns.items():
        result[name] = column.copy()
        if name != "ts":
            result[name][:leading] = NAN
            result[name][holes] = draw(st.sampled_from([NAN, math.inf]))
    return result


def parameters_of(name: str) -> st.SearchStrategy[tuple[float, ...]]:
    choices: list[st.SearchStrategy[Any]] = []
    for parameter in definition_of(name).parameters:
        least = int(parameter.minimum)
        if parameter.is_int:
            choices.append(st.integers(least, least + 8))
        else:
            choices.append(st.sampled_from([0.0, 0.02, 0.25, 0.5, 1.0]))
    return st.tuples(*choices)


def inputs_of(name: str, columns: Columns) -> tuple[NDArray[Any], ...]:
    return tuple(columns[column] for column in definition_of(name).inputs)


def bits(outputs: Sequence[NDArray[np.float64]]) -> list[list[int]]:
    """Equal exactly where every bit is; there is one NaN."""
    return [np.where(np.isnan(output), NAN, output).view(np.int64).tolist() for output in outputs]


def blank(name: str, size: int) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.full(size, -7.0) for _ in definition_of(name).outputs)


@pytest.mark.parametrize("name", DEFINITIONS)
@quick
@given(data=st.data())
def test_any_cut_gives_the_same_bits(name: str, data: st.DataObject) -> None:
    columns = data.draw(rough_bars())
    parameters = data.draw(parameters_of(name))
    inputs = inputs_of(name, columns)
    size = len(inputs[0])
    whole = compute(name, parameters, inputs)
    cuts = sorted(data.draw(st.sets(st.integers(0, size), max_size=6)) | {0, size})
    for edges in (cuts, list(range(size + 1))):
        running = RunningIndicator(name, parameters)
        outputs = blank(name, size)
        for start, stop in itertools.pairwise(edges):
            running.update(inputs, start, stop, outputs)
        assert bits(outputs) == bits(whole)


@pytest.mark.parametrize("name", DEFINITIONS)
@quick
@given(data=st.data())
def test_what_comes_later_changes_nothing_before(name: str, data: st.DataObject) -> None:
    columns = data.draw(rough_bars())
    parameters = data.draw(parameters_of(name))
    size = len(columns["close"])
    seen = data.draw(st.integers(0, size))
    inputs = inputs_of(name, columns)
    whole = compute(name, parameters, inputs)
    before = bits([output[:seen] for output in whole])
    prefix = compute(name, parameters, tuple(column[:seen] for column in inputs))
    assert bits(prefix) == before
    poison = data.draw(st.sampled_from([NAN, math.inf, 1e12, -3.0]))
    poisoned = []
    for column in inputs:
        changed = column.copy()
        changed[seen:] = 0 if changed.dtype == np.int64 else poison
        poisoned.append(changed)
    after = compute(name, parameters, tuple(poisoned))
    assert bits([output[:seen] for output in after]) == before


@pytest.mark.parametrize("name", DEFINITIONS)
@quick
@given(data=st.data())
def test_bars_that_are_not_numbers_are_as_if_absent(name: str, data: st.DataObject) -> None:
    columns = data.draw(rough_bars())
    parameters = data.draw(parameters_of(name))
    inputs = inputs_of(name, columns)
    clean = np.logical_and.reduce([np.isfinite(column) for column in inputs])
    outputs = compute(name, parameters, inputs)
    dense = compute(name, parameters, tuple(column[clean] for column in inputs))
    assert bits([output[clean] for output in outputs]) == bits(dense)
    assert all(np.isnan(output[~clean]).all() for output in outputs)


# ---------------------------------------------------------------- the naive twins


def rolling(length: int, function: Callable[..., float], *series: Line) -> Line:
    """Apply a function to each full window; windows with a NaN have none."""
    result = []
    for stop in range(1, len(series[0]) + 1):
        windows = [line[stop - length : stop] for line in series] if stop >= length else []
        whole = windows and not any(math.isnan(value) for window in windows for value in window)
        result.append(function(*windows) if whole else NAN)
    return result


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else NAN


def dropping(function: Callable[[Line], Line], line: Line) -> Line:
    """Apply to the numbers alone, and put the results back in their places."""
    places = [index for index, value in enumerate(line) if not math.isnan(value)]
    result = [NAN] * len(line)
    for index, value in zip(places, function([line[index] for index in places]), strict=True):
        result[index] = value
    return result


def mean(values: Line) -> float:
    return math.fsum(values) / len(values)


def spread(values: Line) -> float:
    return math.sqrt(mean([(value - mean(values)) ** 2 for value in values])) if len(set(values)) > 1 else 0.0


def sma(source: Line, length: int) -> Line:
    return rolling(length, mean, source)


def ema(source: Line, length: int) -> Line:
    alpha = 2 / (length + 1)
    result = []
    for index in range(len(source)):
        weights = [alpha * (1 - alpha) ** age for age in range(index)] + [(1 - alpha) ** index]
        terms = (weight * source[index - age] for age, weight in enumerate(weights))
        result.append(math.fsum(terms) if index + 1 >= length else NAN)
    return result


def wma(source: Line, length: int) -> Line:
    weights = range(1, length + 1)
    return rolling(length, lambda w: sum(map(float.__mul__, w, map(float, weights))) / sum(weights), source)


def rma(source: Line, length: int) -> Line:
    result = []
    for index, value in enumerate(source):
        if index + 1 < length:
            result.append(NAN)
        elif index + 1 == length:
            result.append(mean(source[:length]))
        else:
            result.append((result[-1] * (length - 1) + value) / length)
    return result


def hma(source: Line, length: int) -> Line:
    quick_line = wma(source, length // 2)
    difference = [2 * a - b for a, b in zip(quick_line, wma(source, length), strict=True)]
    return wma(difference, math.isqrt(length))


def vwma(source: Line, volume: Line, length: int) -> Line:
    return rolling(
        length,
        lambda x, v: ratio(math.fsum(a * b for a, b in zip(x, v, strict=True)), sum(v)),
        source,
        volume,
    )


def std(source: Line, length: int) -> Line:
    return rolling(length, spread, source)


def zscore(source: Line, length: int) -> Line:
    return rolling(length, lambda w: ratio(w[-1] - mean(w), spread(w)), source)


def roc(source: Line, length: int) -> Line:
    return rolling(length + 1, lambda w: ratio(100 * (w[-1] - w[0]), w[0]), source)


def rsi(source: Line, length: int) -> Line:
    changes = [after - before for before, after in itertools.pairwise(source)]
    ups = rma([max(change, 0.0) for change in changes], length)
    downs = rma([max(-change, 0.0) for change in changes], length)
    pairs = zip(ups, downs, strict=True)
    return [NAN] + [100.0 if down == 0 else 100 - 100 / (1 + up / down) for up, down in pairs]


def macd(source: Line, fast: int, slow: int, signal: int) -> list[Line]:
    line = [a - b for a, b in zip(ema(source, fast), ema(source, slow), strict=True)]
    smooth = dropping(lambda x: ema(x, signal), line)
    return [line, smooth, [a - b for a, b in zip(line, smooth, strict=True)]]


def stoch(high: Line, low: Line, close: Line, length: int, k_smoothing: int, d_length: int) -> list[Line]:
    raw = rolling(length, lambda h, w, c: ratio(100 * (c[-1] - min(w)), max(h) - min(w)), high, low, close)
    k = dropping(lambda x: sma(x, k_smoothing), raw)
    return [k, dropping(lambda x: sma(x, d_length), k)]


def stochrsi(source: Line, rsi_length: int, length: int, k_smoothing: int, d_length: int) -> list[Line]:
    # The rsi has a twin of its own; of two that differ in the last digit, the range could be anything.
    strength = compute("rsi", (rsi_length,), (np.array(source),))[0].tolist()
    lines = [NAN] * len(source)
    result = [lines.copy(), lines.copy()]
    for index, line in enumerate(stoch(*[strength[rsi_length:]] * 3, length, k_smoothing, d_length)):
        result[index][rsi_length:] = line
    return result


def typical(high: Line, low: Line, close: Line) -> Line:
    return [(h + w + c) / 3 for h, w, c in zip(high, low, close, strict=True)]


def cci(high: Line, low: Line, close: Line, length: int) -> Line:
    def step(window: Line) -> float:
        deviation = mean([abs(value - mean(window)) for value in window]) if len(set(window)) > 1 else 0.0
        return ratio(window[-1] - mean(window), 0.015 * deviation)

    return rolling(length, step, typical(high, low, close))


def true_ranges(high: Line, low: Line, close: Line) -> Line:
    """From the second bar on."""
    bars_after = zip(high[1:], low[1:], close, strict=False)
    return [max(h - w, abs(h - c), abs(w - c)) for h, w, c in bars_after]


def atr(high: Line, low: Line, close: Line, length: int) -> Line:
    return rma([high[0] - low[0], *true_ranges(high, low, close)], length)


def natr(high: Line, low: Line, close: Line, length: int) -> Line:
    return [ratio(100 * a, c) for a, c in zip(atr(high, low, close, length), close, strict=True)]


def adx(high: Line, low: Line, close: Line, length: int, smoothing: int) -> list[Line]:
    moves = [(high[i] - high[i - 1], low[i - 1] - low[i]) for i in range(1, len(high))]
    rises = rma([up if up > down and up > 0 else 0.0 for up, down in moves], length)
    falls = rma([down if down > up and down > 0 else 0.0 for up, down in moves], length)
    plus, minus = [NAN], [NAN]
    for span, rise, fall in zip(rma(true_ranges(high, low, close), length), rises, falls, strict=True):
        plus.append(plus[-1] if span == 0 else 100 * rise / span)
        minus.append(minus[-1] if span == 0 else 100 * fall / span)
    apart = [100 * abs(p - m) / (p + m or 1) for p, m in zip(plus, minus, strict=True)]
    return [dropping(lambda x: rma(x, smoothing), apart), plus, minus]


def bands(middle: Line, reach: Line) -> list[Line]:
    pairs = list(zip(middle, reach, strict=True))
    return [[m + r for m, r in pairs], middle, [m - r for m, r in pairs]]


def bbands(source: Line, length: int, multiplier: float) -> list[Line]:
    return bands(sma(source, length), [multiplier * s for s in std(source, length)])


def keltner(high: Line, low: Line, close: Line, length: int, multiplier: float, atr_length: int) -> list[Line]:
    return bands(ema(close, length), [multiplier * a for a in atr(high, low, close, atr_length)])


def middles(high: Line, low: Line, length: int) -> Line:
    return rolling(length, lambda h, w: (max(h) + min(w)) / 2, high, low)


def donchian(high: Line, low: Line, length: int) -> list[Line]:
    return [rolling(length, max, high), middles(high, low, length), rolling(length, min, low)]


def ichimoku(high: Line, low: Line, conversion: int, base: int, span: int) -> list[Line]:
    lines = [middles(high, low, length) for length in (conversion, base, span)]
    return [*lines[:2], [(a + b) / 2 for a, b in zip(*lines[:2], strict=True)], lines[2]]


def supertrend(high: Line, low: Line, close: Line, length: int, factor: float) -> list[Line]:
    # The atr has a twin of its own; a close that meets a band exactly would turn on its last digit.
    ranges = compute("atr", (length,), (np.array(high), np.array(low), np.array(close)))[0].tolist()
    lines, directions, uppers, lowers = [[NAN] * len(high) for _ in range(4)]
    for i in range(length - 1, len(high)):
        upper = (high[i] + low[i]) / 2 + factor * ranges[i]
        lower = (high[i] + low[i]) / 2 - factor * ranges[i]
        down = True
        if i >= length:
            if lower <= lowers[i - 1] <= close[i - 1]:
                lower = lowers[i - 1]
            if upper >= uppers[i - 1] >= close[i - 1]:
                upper = uppers[i - 1]
            down = close[i] <= upper if lines[i - 1] == uppers[i - 1] else close[i] < lower
        uppers[i], lowers[i] = upper, lower
        lines[i], directions[i] = (upper, 1.0) if down else (lower, -1.0)
    return [lines, directions]


def obv(close: Line, volume: Line) -> Line:
    signs = [(after > before) - (after < before) for before, after in itertools.pairwise(close)]
    flows = [0.0, *(sign * traded for sign, traded in zip(signs, volume[1:], strict=True))]
    return [math.fsum(flows[: i + 1]) for i in range(len(close))]


def mfi(high: Line, low: Line, close: Line, volume: Line, length: int) -> Line:
    prices = typical(high, low, close)
    inflows = [v * p if p > q else 0.0 for q, p, v in zip(prices, prices[1:], volume[1:], strict=False)]
    outflows = [v * p if p < q else 0.0 for q, p, v in zip(prices, prices[1:], volume[1:], strict=False)]

    def step(gains: Line, losses: Line) -> float:
        return 100 - 100 / (1 + sum(gains) / sum(losses)) if sum(losses) else 100.0

    return [NAN, *rolling(length, step, inflows, outflows)]


def vwap(high: Line, low: Line, close: Line, volume: Line, ts: list[int]) -> Line:
    prices = typical(high, low, close)
    result = []
    for i in range(len(prices)):
        day = [j for j in range(i + 1) if ts[j] // (24 * NS_PER_HOUR) == ts[i] // (24 * NS_PER_HOUR)]
        result.append(ratio(math.fsum(prices[j] * volume[j] for j in day), sum(volume[j] for j in day)))
    return result


def psar(high: Line, low: Line, close: Line, start: float, increment: float, maximum: float) -> Line:
    result = [NAN] * len(high)
    rising, extreme, speed, stop = False, NAN, NAN, NAN
    for i in range(1, len(high)):
        turned = i == 1
        if turned:
            rising, speed = close[1] > close[0], start
            extreme, stop = (high[1], low[0]) if rising else (low[1], high[0])
        stop = stop + speed * (extreme - stop)
        if stop > low[i] if rising else stop < high[i]:
            stop = max(high[i], extreme) if rising else min(low[i], extreme)
            rising, turned, speed = not rising, True, start
            extreme = high[i] if rising else low[i]
        if not turned and (high[i] > extreme if rising else low[i] < extreme):
            extreme = high[i] if rising else low[i]
            speed = min(speed + increment, maximum)
        recent = slice(max(i - 2, 0), i)
        stop = min([stop, *low[recent]]) if rising else max([stop, *high[recent]])
        result[i] = stop
    return result


TWINS: dict[str, Callable[..., Any]] = {
    twin.__name__: twin
    for twin in (
        sma, ema, wma, rma, hma, vwma, std, zscore, roc, rsi, macd, stoch, stochrsi, cci, adx, atr, natr,
        bbands, keltner, donchian, supertrend, obv, mfi, vwap, psar, ichimoku,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
@quick
@given(data=st.data())
def test_agrees_with_its_naive_twin(name: str, data: st.DataObject) -> None:
    columns = data.draw(bars())
    parameters = data.draw(parameters_of(name))
    inputs = inputs_of(name, columns)
    outputs = compute(name, parameters, inputs)
    expected = TWINS[name](*(column.tolist() for column in inputs), *parameters)
    lines = expected if isinstance(expected[0], list) else [expected]
    # Prices are of the order of 10 and a difference of two averages of the order of 0.
    for output, line in zip(outputs, lines, strict=True):
        np.testing.assert_allclose(output, line, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_agrees_with_its_naive_twin_over_many_blocks(name: str) -> None:
    """Default lengths, on bars with all the digits of a market's."""
    generator = np.random.default_rng(11)
    close = 100.0 * np.exp(np.cumsum(generator.normal(scale=0.01, size=500)))
    high, low = close * (1 + generator.random(500) / 100), close * (1 - generator.random(500) / 100)
    columns = {"source": close, "open": close, "high": high, "low": low, "close": close}
    columns |= {"volume": generator.exponential(50.0, 500), "ts": np.arange(500) * NS_PER_HOUR}
    inputs = inputs_of(name, columns)
    parameters = tuple(parameter.default for parameter in definition_of(name).parameters)
    expected = TWINS[name](*(column.tolist() for column in inputs), *parameters)
    lines = expected if isinstance(expected[0], list) else [expected]
    for output, line in zip(compute(name, parameters, inputs), lines, strict=True):
        np.testing.assert_allclose(output, line, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- what always holds


@pytest.mark.parametrize("name", DEFINITIONS)
@quick
@given(data=st.data())
def test_no_value_before_the_first_index(name: str, data: st.DataObject) -> None:
    parameters = data.draw(parameters_of(name))
    outputs = compute(name, parameters, inputs_of(name, data.draw(bars())))
    for output, first in zip(outputs, first_indexes(name, parameters), strict=True):
        assert np.isnan(output[:first]).all()


finite = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)
sources = st.lists(finite, min_size=1, max_size=80).map(np.array)


@quick
@given(source=sources, length=st.integers(1, 12))
def test_a_deviation_is_never_negative_and_an_index_stays_in_its_range(
    source: NDArray[np.float64], length: int
) -> None:
    (deviation,) = compute("std", (length,), (source,))
    assert (deviation[length - 1 :] >= 0.0).all()
    (strength,) = compute("rsi", (length,), (source,))
    assert ((strength[length:] >= 0.0) & (strength[length:] <= 100.0)).all()
    upper, basis, lower = compute("bbands", (length, 2.0), (source,))
    valid = slice(length - 1, None)
    assert (upper[valid] >= basis[valid]).all()
    assert (basis[valid] >= lower[valid]).all()


@quick
@given(columns=bars(), length=st.integers(1, 12))
def test_channels_hold_the_bar_and_indexes_their_range(columns: Columns, length: int) -> None:
    high, low, close, volume = (columns[name] for name in ("high", "low", "close", "volume"))
    valid = slice(length - 1, None)
    upper, basis, lower = compute("donchian", (length,), (high, low))
    assert (upper[valid] >= high[valid]).all()
    assert (lower[valid] <= low[valid]).all()
    assert ((basis[valid] <= upper[valid]) & (basis[valid] >= lower[valid])).all()
    (average,) = compute("atr", (length,), (high, low, close))
    assert (average[valid] >= 0.0).all()
    within = [
        *compute("adx", (length, length), (high, low, close)),
        *compute("mfi", (length,), (high, low, close, volume)),
        *compute("stoch", (length, 2, 3), (high, low, close)),
    ]
    for line in within:
        known = line[~np.isnan(line)]
        assert ((known >= -1e-9) & (known <= 100.0 + 1e-9)).all()
    _, direction = compute("supertrend", (length, 1.0), (high, low, close))
    assert set(direction[valid]) <= {-1.0, 1.0}
