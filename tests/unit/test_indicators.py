"""Indicators against TA-Lib, pandas and numbers worked out by hand; and how they are asked for."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import talib
from numpy.typing import NDArray

from engine.errors import StrategyError
from engine.indicators import (
    DEFINITIONS,
    RunningIndicator,
    compute,
    definition_of,
    first_indexes,
    named_in,
    parse_spec,
    prepare,
    resolve,
)

Column = NDArray[np.float64]
Columns = dict[str, NDArray[np.float64]]

REPOSITORY = Path(__file__).parents[2]
REAL_BARS = REPOSITORY.parent / "shared" / "data" / "ohlcv" / "binance_spot_BTCUSDT_1h_2022.parquet"

NAN = math.nan
NS_PER_HOUR = 3_600_000_000_000


def walk(size: int = 4_000, seed: int = 7) -> Columns:
    """Hourly bars of a random walk around 30,000 with true highs and lows, and volumes like a market's."""
    generator = np.random.default_rng(seed)
    close = 30_000.0 * np.exp(np.cumsum(generator.normal(scale=0.006, size=size)))
    open_ = np.concatenate(([30_000.0], close[:-1]))
    high = np.maximum(open_, close) * np.exp(generator.exponential(0.002, size))
    low = np.minimum(open_, close) * np.exp(-generator.exponential(0.002, size))
    ts = 1_640_995_200_000_000_000 + NS_PER_HOUR * np.arange(size)
    volume = generator.lognormal(5.0, 1.5, size)
    return {"open": open_, "high": high, "low": low, "close": close, "volume": volume, "ts": ts}


def inputs_of(name: str, columns: Columns) -> tuple[NDArray[np.float64], ...]:
    return tuple(columns["close" if name == "source" else name] for name in definition_of(name).inputs)


def of(name: str, columns: Columns, *parameters: float) -> tuple[Column, ...]:
    return compute(name, resolve(name, parameters, {}), inputs_of(name, columns))


def one(name: str, source: list[float] | Column, *parameters: float) -> Column:
    (value,) = compute(name, resolve(name, parameters, {}), (np.array(source, dtype=float),))
    return value


# ---------------------------------------------------------------- oracles: TA-Lib and pandas


def ewm(source: Column, length: int) -> Column:
    return pd.Series(source).ewm(span=length, adjust=False, min_periods=length).mean().to_numpy()


def wilder(source: Column, length: int) -> Column:
    """Alpha 1 / length on a series whose first value is the mean of the first `length`."""
    seeded = np.concatenate(([source[:length].mean()], source[length:]))
    average = pd.Series(seeded).ewm(alpha=1 / length, adjust=False).mean().to_numpy()
    return np.concatenate((np.full(length - 1, NAN), average))


def pandas_macd(bars: Columns, fast: int, slow: int, signal: int) -> list[Column]:
    line = ewm(bars["close"], fast) - ewm(bars["close"], slow)
    smooth = np.full(len(line), NAN)
    first = max(fast, slow) - 1
    smooth[first:] = ewm(line[first:], signal)
    return [line, smooth, line - smooth]


def pandas_vwma(bars: Columns, length: int) -> Column:
    money = pd.Series(bars["close"] * bars["volume"]).rolling(length).sum()
    return (money / pd.Series(bars["volume"]).rolling(length).sum()).to_numpy()


def pandas_vwap(bars: Columns) -> Column:
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3
    frame = pd.DataFrame({"money": typical * bars["volume"], "volume": bars["volume"]})
    running = frame.groupby(pd.to_datetime(bars["ts"]).date).cumsum()
    return (running["money"] / running["volume"]).to_numpy()


def pandas_std(bars: Columns, length: int) -> Column:
    return pd.Series(bars["close"]).rolling(length).std(ddof=0).to_numpy()


def talib_zscore(bars: Columns, length: int) -> Column:
    close = bars["close"]
    return (close - talib.SMA(close, length)) / talib.STDDEV(close, length)


def talib_hma(bars: Columns, length: int) -> Column:
    close = bars["close"]
    quick = 2 * talib.WMA(close, length // 2) - talib.WMA(close, length)
    result = np.full(len(close), NAN)
    result[length - 1 :] = talib.WMA(quick[length - 1 :], math.isqrt(length))
    return result


def talib_keltner(bars: Columns, length: int, multiplier: float, atr_length: int) -> list[Column]:
    middle = ewm(bars["close"], length)
    reach = multiplier * talib.ATR(bars["high"], bars["low"], bars["close"], atr_length)
    return [middle + reach, middle, middle - reach]


def talib_ichimoku(bars: Columns, conversion: int, base: int, span: int) -> list[Column]:
    lines = [talib.MIDPRICE(bars["high"], bars["low"], length) for length in (conversion, base, span)]
    return [lines[0], lines[1], (lines[0] + lines[1]) / 2, lines[2]]


def talib_donchian(bars: Columns, length: int) -> list[Column]:
    upper, lower = talib.MAX(bars["high"], length), talib.MIN(bars["low"], length)
    return [upper, (upper + lower) / 2, lower]


def talib_adx(bars: Columns) -> list[Column]:
    return [function(*hlc(bars), 14) for function in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)]


def talib_obv(bars: Columns) -> Column:
    return talib.OBV(bars["close"], bars["volume"]) - bars["volume"][0]


def hlc(bars: Columns) -> tuple[Column, Column, Column]:
    return bars["high"], bars["low"], bars["close"]


Oracle = Callable[[Columns], Column | list[Column]]

# `from` is the first index compared, "first" meaning the first value of each output. The tolerance is
# relative; where it is wider than 1e-12, the oracle is what loses digits or starts from another seed.
# name, parameters, from, tolerance, oracle, why
AGREEMENT: list[tuple[str, tuple[float, ...], int | str, float, Oracle, str]] = [
    ("sma", (20,), "first", 1e-12, lambda b: talib.SMA(b["close"], 20), "TA-Lib adds and subtracts"),
    ("sma", (200,), "first", 1e-12, lambda b: talib.SMA(b["close"], 200), "same"),
    ("ema", (12,), "first", 1e-12, lambda b: ewm(b["close"], 12), "TA-Lib seeds with the sma"),
    ("ema", (200,), "first", 1e-12, lambda b: ewm(b["close"], 200), "same"),
    ("ema", (12,), 400, 1e-12, lambda b: talib.EMA(b["close"], 12), "that seed is forgotten"),
    ("wma", (20,), "first", 1e-11, lambda b: talib.WMA(b["close"], 20), "same definition"),
    ("rma", (14,), "first", 1e-12, lambda b: wilder(b["close"], 14), "pandas, seeded with the mean"),
    ("hma", (16,), "first", 1e-11, lambda b: talib_hma(b, 16), "three of TA-Lib's wma"),
    ("hma", (9,), "first", 1e-11, lambda b: talib_hma(b, 9), "an odd length: half of it is 4"),
    ("vwma", (20,), "first", 1e-12, lambda b: pandas_vwma(b, 20), "same definition"),
    ("std", (20,), "first", 1e-10, lambda b: talib.STDDEV(b["close"], 20), "mean square - squared mean"),
    ("std", (20,), "first", 1e-8, lambda b: pandas_std(b, 20), "pandas removes old values: it drifts"),
    ("zscore", (20,), "first", 1e-10, lambda b: talib_zscore(b, 20), "TA-Lib's sma and std"),
    ("roc", (9,), "first", 1e-12, lambda b: talib.ROC(b["close"], 9), "same definition"),
    ("rsi", (14,), "first", 1e-12, lambda b: talib.RSI(b["close"], 14), "same seed"),
    ("rsi", (2,), "first", 1e-12, lambda b: talib.RSI(b["close"], 2), "same seed"),
    ("macd", (12, 26, 9), "first", 1e-11, lambda b: pandas_macd(b, 12, 26, 9), "TA-Lib seeds with the sma"),
    ("stoch", (14, 1, 3), 15, 1e-11, lambda b: list(talib.STOCHF(*hlc(b), 14, 3)), "TA-Lib drops k before d"),
    ("stoch", (5, 3, 3), 8, 1e-11, lambda b: list(talib.STOCH(*hlc(b), 5, 3, 0, 3, 0)), "same"),
    ("stochrsi", (14, 14, 1, 3), 29, 1e-11, lambda b: list(talib.STOCHRSI(b["close"], 14, 14, 3)), "same"),
    ("cci", (20,), "first", 1e-11, lambda b: talib.CCI(*hlc(b), 20), "same definition"),
    ("adx", (14, 14), 900, 1e-12, talib_adx, "TA-Lib seeds with one bar less"),
    ("atr", (14,), 500, 1e-12, lambda b: talib.ATR(*hlc(b), 14), "TA-Lib: no range in bar 0"),
    ("natr", (14,), 500, 1e-12, lambda b: talib.NATR(*hlc(b), 14), "same"),
    ("bbands", (20, 2.5), "first", 1e-11, lambda b: list(talib.BBANDS(b["close"], 20, 2.5, 2.5)), "see std"),
    ("keltner", (20, 2.0, 10), 500, 1e-12, lambda b: talib_keltner(b, 20, 2.0, 10), "ewm ± TA-Lib's ATR"),
    ("donchian", (20,), "first", 0.0, lambda b: talib_donchian(b, 20), "extremes are exact"),
    ("obv", (), "first", 1e-12, talib_obv, "TA-Lib counts the first bar"),
    ("mfi", (14,), "first", 1e-12, lambda b: talib.MFI(*hlc(b), b["volume"], 14), "TA-Lib: 0 under 1 unit"),
    ("vwap", (), "first", 1e-12, pandas_vwap, "days by calendar"),
    ("ichimoku", (9, 26, 52), "first", 1e-15, lambda b: talib_ichimoku(b, 9, 26, 52), "three MIDPRICE"),
]  # fmt: skip


def check_agreement(bars: Columns) -> None:
    """Run the whole table; say every row that fails."""
    failures = []
    for name, parameters, start, tolerance, oracle, why in AGREEMENT:
        expected = oracle(bars)
        columns = expected if isinstance(expected, list) else [expected]
        first = first_indexes(name, resolve(name, parameters, {}))
        outputs = of(name, bars, *parameters)
        for index, column in enumerate(columns):
            begin = first[index] if isinstance(start, str) else start
            # A line that crosses zero is compared on its own scale.
            scale = np.maximum(np.abs(column[begin:]), np.nanmean(np.abs(column[begin:])))
            error = np.max(np.abs(outputs[index][begin:] - column[begin:]) / scale)
            if not error <= tolerance:
                output = definition_of(name).outputs[index]
                failures.append(f"{name}{parameters} {output}: {error:.3g} > {tolerance:g} ({why})")
    assert not failures, "\n".join(failures)


def test_agrees_with_talib_and_pandas_on_random_walks() -> None:
    for seed in (7, 8, 9):
        check_agreement(walk(seed=seed))


@pytest.mark.real_data
def test_agrees_with_talib_and_pandas_on_real_bars() -> None:
    if not REAL_BARS.exists():
        pytest.skip(f"no {REAL_BARS.name} in ../shared/data/ohlcv")
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(REAL_BARS)
    bars = {name: frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    check_agreement({**bars, "ts": frame["ts"].to_numpy() * 1_000_000})


def test_every_indicator_is_compared_or_worked_out() -> None:
    compared = {row[0] for row in AGREEMENT}
    assert set(DEFINITIONS) - compared == {"supertrend", "psar"}  # below, by hand


def test_psar_is_mostly_that_of_talib() -> None:
    # TA-Lib reverses on a touch, and holds the stop at the lows before it looks for one; Pine looks first.
    bars = walk()
    (stop,) = of("psar", bars)
    other = talib.SAR(bars["high"], bars["low"], 0.02, 0.2)
    assert np.mean(np.isclose(stop[200:], other[200:], rtol=1e-12)) > 0.9


# ---------------------------------------------------------------- worked out by hand


def test_rsi_as_published() -> None:
    # ChartSchool's example of a 14-day rsi (StockCharts, "Relative Strength Index", spreadsheet), 2 decimals.
    closes = [
        44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931,
        46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439,
    ]  # fmt: skip
    expected = [70.53, 66.32, 66.55, 69.41, 66.36, 57.97]
    assert np.round(one("rsi", closes, 14)[14:], 2).tolist() == expected


def test_supertrend_by_hand() -> None:
    # Pine's ta.supertrend(1, 1), each bar with pencil and paper. With length 1 the atr is the true range.
    table = """
    # high low close | range middle bands   | ratcheted | line direction  why
        12  10    11 |  2     11     13  9  |  13  9    |  13   1    the first bar with a range points down
        14  12    14 |  3     13     16 10  |  13 10    |  10  -1    closes above 13: up, on the lower band
        15  13    13 |  2     14     16 12  |  16 12    |  12  -1    the upper band is free: 14 was above 13
        13   9     9 |  4     11     15  7  |  15 12    |  15   1    closes below 12: down, on the upper band
        10   8     9 |  2      9     11  7  |  11  7    |  11   1    the lower band is free: 9 was below 12
    """
    rows = [line.split("|") for line in table.strip().splitlines()[1:]]
    high, low, close = np.array([row[0].split() for row in rows], dtype=float).T
    line, direction = compute("supertrend", (1, 1.0), (high, low, close))
    assert line.tolist() == [float(row[3].split()[0]) for row in rows]
    assert direction.tolist() == [float(row[3].split()[1]) for row in rows]


def test_psar_by_hand() -> None:
    # Pine's ta.sar(0.5, 0.5, 1), each bar with pencil and paper.
    table = """
    # high low close | stop  why
        10   8     9 |  nan  a direction needs two closes
        12   9    11 |   12  rising from 8: 8 + (12 - 8) / 2 = 10 is above the low, so falling from 12
        11   7     8 |    7  12 + (9 - 12) / 2 = 10.5 is below the high, so rising from min(7, 9)
        13  10    12 |    7  7 + (11 - 7) / 2 = 9, held at the lows of the two bars before; extreme 13
        15  12    14 |   15  7 + (13 - 7) = 13 is above the low, so falling from 15
        13   9    10 |   15  15 + (12 - 15) / 2 = 13.5, held at the high of the bar before
    """
    rows = [line.split("|") for line in table.strip().splitlines()[1:]]
    high, low, close = np.array([row[0].split() for row in rows], dtype=float).T
    (stop,) = compute("psar", (0.5, 0.5, 1.0), (high, low, close))
    np.testing.assert_array_equal(stop, [float(row[1].split()[0]) for row in rows])


def test_vwap_starts_anew_at_utc_midnight() -> None:
    ts = np.array([22, 23, 24, 25]) * NS_PER_HOUR
    price = np.array([10.0, 20.0, 40.0, 50.0])
    volume = np.array([1.0, 3.0, 0.0, 2.0])
    (value,) = compute("vwap", (), (price, price, price, volume, ts))
    # 10; (10 + 3 x 20) / 4 = 17.5; nothing traded yet on the new day; 2 x 50 / 2
    np.testing.assert_array_equal(value, [10.0, 17.5, NAN, 50.0])


def test_adx_of_length_one_by_hand() -> None:
    high, low, close = np.array([[10.0, 12.0, 13.0], [8.0, 9.0, 5.0], [9.0, 11.0, 6.0]])
    adx, plus, minus = compute("adx", (1, 1), (high, low, close))
    # up 2, down -1, range 3; then up 1, down 4 (the greater counts alone), range 8
    np.testing.assert_allclose(plus, [NAN, 200 / 3, 0.0])
    np.testing.assert_allclose(minus, [NAN, 0.0, 50.0])
    np.testing.assert_allclose(adx, [NAN, 100.0, 100.0])


# ---------------------------------------------------------------- edges


@pytest.mark.parametrize("name", DEFINITIONS)
def test_nothing_until_the_first_index(name: str) -> None:
    bars = walk(200)
    parameters = resolve(name, (), {})
    for output, first in zip(of(name, bars), first_indexes(name, parameters), strict=True):
        assert np.isnan(output[:first]).all()
        assert np.isfinite(output[first:]).all()
        assert output.dtype == np.float64
        assert not output.flags.writeable


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("size", [0, 1, 2])
def test_few_bars_give_few_values(name: str, size: int) -> None:
    for output, first in zip(of(name, walk(size)), first_indexes(name, resolve(name, (), {})), strict=True):
        assert len(output) == size
        assert np.isnan(output[:first]).all()


@pytest.mark.parametrize("length", [1, 2, 3, 7, 20, 365])
@pytest.mark.parametrize("price", [0.1, 1 / 3, 16_547.91, 1e-8])
def test_a_constant_series_is_exact(length: int, price: float) -> None:
    source = np.full(1_000, price)
    for name in ("sma", "ema", "wma", "rma"):
        assert set(one(name, source, length)[length - 1 :]) == {price}
    assert set(one("hma", source, length + 1)[2 * length :]) <= {price}
    assert set(one("std", source, length)[length - 1 :]) == {0.0}
    (vwma,) = compute("vwma", (length,), (source, np.linspace(0.1, 3.7, 1_000)))
    assert set(vwma[length - 1 :]) == {price}
    upper, basis, lower = compute("bbands", (length, 2.0), (source,))
    assert set(upper[length - 1 :]) | set(basis[length - 1 :]) | set(lower[length - 1 :]) == {price}
    assert set(one("rsi", source, length)[length:]) == {100.0}  # Pine: nothing fell
    assert np.isnan(one("zscore", source, length + 1)).all()
    k, d = compute("stoch", (length, 1, 3), (source, source, source))
    assert np.isnan(k).all()
    assert np.isnan(d).all()
    (cci,) = compute("cci", (length + 1,), (source, source, source))
    assert np.isnan(cci).all()
    adx, plus, _ = compute("adx", (length, 1), (source, source, source))
    assert np.isnan(adx).all()
    assert np.isnan(plus).all()


def test_a_spike_leaves_no_trace() -> None:
    # What add-and-subtract sums cannot do: after 1e15 has left the window, the small values are whole again.
    source = np.concatenate(([1.0, 2.0, 1e15, 3.0], np.tile([0.1, 0.2, 0.3], 20)))
    volume = np.concatenate(([1.0, 1e15, 1e15, 3.0], np.tile([0.1, 0.2, 0.3], 20)))
    for name in ("sma", "wma", "std"):
        np.testing.assert_allclose(one(name, source, 3)[10:], one(name, source[7:], 3)[3:], rtol=1e-14)
    (vwma,) = compute("vwma", (3,), (source, volume))
    np.testing.assert_allclose(vwma[10:], compute("vwma", (3,), (source[7:], volume[7:]))[0][3:], rtol=1e-14)


def test_a_small_spread_on_a_great_price_keeps_its_digits() -> None:
    # Mean of squares less square of the mean has no digit left here.
    source = 1e9 + np.tile([0.25, 0.5, 0.75, 1.0], 50)
    # Variance of 1 2 3 4 is 5 / 4; in quarters, its root is sqrt(5) / 8.
    np.testing.assert_allclose(one("std", source, 4)[3:], math.sqrt(5) / 8, rtol=1e-12)


def test_no_volume_gives_no_volume_average() -> None:
    bars = {**walk(60), "volume": np.zeros(60)}
    assert np.isnan(of("vwma", bars)[0]).all()
    assert np.isnan(of("vwap", bars)[0]).all()
    assert (of("obv", bars)[0] == 0.0).all()
    assert (of("mfi", bars)[0][14:] == 100.0).all()  # Pine: nothing flowed out


def test_indicators_of_indicators() -> None:
    close = walk(300)["close"]
    strength = one("rsi", close, 14)
    smooth = one("ema", strength, 9)
    assert np.isnan(smooth[:22]).all()
    np.testing.assert_array_equal(smooth[14:], one("ema", strength[14:], 9))
    # stochrsi is the stochastic of the rsi, and macd's signal the ema of its line.
    k, d = compute("stoch", (14, 3, 3), (strength, strength, strength))
    for composed, direct in zip((k, d), compute("stochrsi", (14, 14, 3, 3), (close,)), strict=True):
        np.testing.assert_array_equal(composed, direct)
    line, signal, _ = compute("macd", (12, 26, 9), (close,))
    np.testing.assert_array_equal(one("ema", line, 9), signal)
    np.testing.assert_array_equal(compute("bbands", (20, 2.0), (close,))[1], one("sma", close, 20))


def test_bars_that_are_not_numbers_are_skipped() -> None:
    source = np.array([NAN, 1.0, 2.0, NAN, math.inf, 3.0, 4.0])
    np.testing.assert_array_equal(one("sma", source, 2), [NAN, NAN, 1.5, NAN, NAN, 2.5, 3.5])


def test_running_takes_columns_of_any_layout() -> None:
    close = walk(64)["close"]
    (expected,) = compute("ema", (5,), (close,))
    strided = np.zeros((64, 2))
    outputs = (np.full(64, NAN),)
    running = RunningIndicator("ema", (5,))
    inputs = (strided[:, 0],)
    for bar in range(64):
        strided[bar, 0] = close[bar]  # written after the first call has seen the column
        running.update(inputs, bar, bar + 1, outputs)
    np.testing.assert_array_equal(outputs[0], expected)


def test_running_goes_back_to_a_snapshot() -> None:
    close = walk(64)["close"]
    running = RunningIndicator("std", (5,))
    outputs = (np.full(64, NAN),)
    running.update((close,), 0, 32, outputs)
    snapshot = running.state.copy()
    running.update((close,), 32, 64, outputs)
    again = RunningIndicator("std", (5,))
    again.state[:] = snapshot
    repeated = (np.full(64, NAN),)
    again.update((close,), 32, 64, repeated)
    np.testing.assert_array_equal(repeated[0][32:], outputs[0][32:])


def test_running_refuses_bars_that_are_not_there() -> None:
    with pytest.raises(AssertionError):
        RunningIndicator("ema", (5,)).update((np.zeros(4),), 0, 5, (np.zeros(8),))
    with pytest.raises(AssertionError):
        RunningIndicator("ema", (5,)).update((np.zeros(8),), 0, 5, (np.zeros(4),))


# ---------------------------------------------------------------- asking for one


def test_resolve_fills_defaults_in_order() -> None:
    assert resolve("ema", (), {}) == (20,)
    assert resolve("macd", (5,), {"signal": 3}) == (5, 26, 3)
    parameters = resolve("bbands", (np.int64(10), 2), {})
    assert parameters == (10, 2.0)
    assert [type(number) for number in parameters] == [int, float]
    assert resolve("vwap", (), {}) == ()


# call | what the error says
REFUSED: list[tuple[str, tuple[object, ...], dict[str, object], str]] = [
    ("emaa", (), {}, 'Indicator not implemented: "emaa". Did you mean "ema"?'),
    ("../x", (), {}, "Use one of: adx, atr,"),
    ("ema", (0,), {}, "ema: length must be a whole number from 1 to 1000000, got 0"),
    ("ema", (2.5,), {}, "ema: length must be a whole number"),
    ("ema", (True,), {}, "ema: length must be a whole number"),
    ("ema", ("12",), {}, "ema: length must be a whole number"),
    ("ema", ([1, 2],), {}, "ema: length must be a whole number"),
    ("ema", (math.nan,), {}, "ema: length must be a whole number"),
    ("hma", (1,), {}, "hma: length must be a whole number from 2"),
    ("bbands", (20, -1), {}, "bbands: multiplier must be a number from 0 to 1000, got -1"),
    ("bbands", (20, math.inf), {}, "bbands: multiplier must be a number from 0 to 1000"),
    ("psar", (), {"maximum": 2}, "psar: maximum must be a number from 0 to 1, got 2"),
    ("ema", (1, 2), {}, "ema takes 1 parameters at most, got 2"),
    ("ema", (1,), {"length": 2}, "ema: length is given twice"),
    ("ema", (), {"period": 2}, "ema has no parameter 'period'"),
    ("ema", (), {"period": 2}, "Write ema(source, length=20)."),
]


@pytest.mark.parametrize(("name", "arguments", "keywords", "message"), REFUSED)
def test_resolve_names_what_is_wrong(
    name: str, arguments: tuple[object, ...], keywords: dict[str, object], message: str
) -> None:
    with pytest.raises(StrategyError) as caught:
        resolve(name, arguments, keywords)
    assert message in str(caught.value)


# text | canonical
SPECS = [
    ("sma_20_1m", "sma_20_1m"),
    ("rsi_14_1m", "rsi_14_1m"),
    ("ema_50_4h", "ema_50_4h"),
    ("bbands_20_2.5_15m", "bbands_20_2.5_15m"),
    ("bbands_20_2.0", "bbands_20_2"),
    ("ema", "ema_20"),
    ("ema_1d", "ema_20_1d"),
    ("vwap_5m", "vwap_5m"),
    ("vwap", "vwap"),
    ("psar_0.02_0.02_0.2", "psar_0.02_0.02_0.2"),
    ("psar_1e-05", "psar_1e-05_0.02_0.2"),
]


@pytest.mark.parametrize(("text", "canonical"), SPECS)
def test_specs_round_trip(text: str, canonical: str) -> None:
    spec = parse_spec(text)
    assert str(spec) == canonical
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("emaa_20", 'Did you mean "ema"?'),
        ("ema_x", "'x' is neither a number nor a timeframe"),
        ("ema_x", "Write ema_20_1h"),
        ("ema_20_4x", "'4x' is not a timeframe"),
        ("ema_0", "length must be a whole number"),
        ("ema_20_30_1h", "takes 1 parameters"),
        ("ema_nan", "length must be"),
        ("", "Indicator not implemented"),
    ],
)
def test_bad_specs_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(StrategyError) as caught:
        parse_spec(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_default_is_in_its_range(name: str) -> None:
    definition = DEFINITIONS[name]
    assert definition.name == name
    assert resolve(name, (), {}) == tuple(parameter.default for parameter in definition.parameters)
    assert isinstance(hash(msgspec.structs.astuple(parse_spec(name))), int)


def test_columns_that_do_not_fit_are_refused() -> None:
    three, four = np.zeros(3), np.zeros(4)
    for inputs in ((three, four), (three,), (np.zeros((2, 2)), np.zeros((2, 2)))):
        with pytest.raises(StrategyError, match="donchian got columns of shapes"):
            compute("donchian", (2,), inputs)


def test_after_prepare_nothing_is_left_to_compile() -> None:
    """Whatever a strategy asks for, and however its columns lie in memory: one form of each kernel serves them all."""
    prepare(DEFINITIONS)
    columns = walk(40)
    for name, definition in DEFINITIONS.items():
        for layout in (inputs_of(name, columns), tuple(each.astype(">f8")[::2] for each in inputs_of(name, columns))):
            given = tuple(parameter.default for parameter in definition.parameters)
            outputs = compute(name, given, layout)
            RunningIndicator(name, given).update(layout, 0, len(layout[0]), tuple(np.empty_like(o) for o in outputs))
        kernel: Any = definition.kernel
        assert len(kernel.signatures) == 1, name


def test_the_indicators_of_a_text_are_those_that_it_names() -> None:
    source = "fast = ctx.ind.ema(ctx.params['fast'])\nslow = ctx.ind('bbands_20_2_4h')\nmarket_maker(remark)"
    assert named_in([source, "{'kind': 'rsi'}"]) == ("ema", "rsi", "bbands")
    assert named_in(["emas", "the market", ""]) == ()


def test_importing_compiles_nothing_and_stays_light() -> None:
    code = """
import sys
import engine.indicators as indicators
heavy = {"pandas", "talib", "polars"} & set(sys.modules)
compiled = [name for name, one in indicators.DEFINITIONS.items() if one.kernel.signatures]
sys.exit(f"{heavy} {compiled}" if heavy or compiled else 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("length", [1, 2, 12, 26])
@pytest.mark.parametrize("kind", ["walk", "zeros", "steps", "huge", "gap", "late"])
def test_a_long_ema_is_that_of_single_bars_to_the_bit(kind: str, length: int) -> None:
    """Long columns are computed in stretches side by side; nobody must be able to tell."""
    source = walk(9_001)["close"].copy()
    match kind:
        case "zeros":
            source[:] = np.where(np.arange(9_001) % 3 == 0, -0.0, 0.0)
            source[:40] = -1e-300
        case "steps":
            source = np.round(source)
            source[1_000:6_000] = source[1_000]
        case "huge":
            source[::7] = 1.7e308
            source[3::7] = -1.7e308
        case "gap":
            source[5_000] = NAN
        case "late":
            source[:700] = NAN
    (whole,) = compute("ema", (length,), (source,))
    running, inputs, outputs = RunningIndicator("ema", (length,)), (source,), (np.empty(9_001),)
    for bar in range(9_001):
        running.update(inputs, bar, bar + 1, outputs)
    numbers = ~np.isnan(whole)
    np.testing.assert_array_equal(np.isnan(outputs[0]), ~numbers)
    np.testing.assert_array_equal(outputs[0][numbers].view(np.int64), whole[numbers].view(np.int64))
