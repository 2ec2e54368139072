"""A made-up market, so that a newcomer needs no network: the same candles for a seed on every machine.

How that is kept: randomness is Philox by its raw 64-bit words (the algorithm is fixed, numpy's samplers are
not); the price is a sum of integers; floats see only + - * / sqrt, floor, rint, frexp and ldexp, one numpy
operation at a time, which IEEE 754 rounds alike everywhere. No exp, log or sin of a maths library, no float
sums.

What it looks like: volatility is a Markov-switching multifractal (Calvet and Fisher 2004): factors that are
renewed every half hour to every few weeks multiply, which gives clusters and fat tails. Over it lie the hours
of the day, quiet weekends, and a jump every few days. High and low are drawn from the law of a Brownian
bridge's extremes, volume follows the bar's range. The first n bars of a longer market are the same bars.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.bars import NS_PER_DAY, NS_PER_SECOND, Bars, FloatColumn, IntColumn, timeframe_ns
from engine.errors import UsageError

START_NS = 1_704_067_200 * NS_PER_SECOND  # 2024-01-01, a Monday
START_PRICE = 40_000.0
TICK_DECIMALS = 2
LOT_DECIMALS = 5
BARS_MOST = 20_000_000

# Logarithms of price are to base 2, in units of 2**-40.
_LOG_ONE = 2.0**40
_YEAR_NS = 365 * NS_PER_DAY
_VOLATILITY_A_YEAR = 0.65 / 0.6931471805599453  # of the base-2 logarithm
_FACTOR_MINUTES = (30, 120, 480, 2_160, 8_640, 34_560)
_FACTOR_LOG2 = 0.42
_JUMPS_A_DAY = 0.35
_GAP_SHARE = 0.12  # of bars that do not open where the last one closed
_VOLUME_A_DAY = 20_000.0
_LOG2_RANGE_MOST = 16.0  # price stays within 2**-16 .. 2**16 of its start
# Activity by the hour of the day, UTC, 1 on average: Asia's morning, Europe's, New York's opening bell.
_HOURS = (
    *(1.00, 0.95, 0.85, 0.75, 0.68, 0.66, 0.75, 0.90, 1.02, 1.00, 0.92, 0.92),
    *(1.05, 1.35, 1.55, 1.48, 1.32, 1.15, 1.02, 0.98, 0.98, 0.95, 0.90, 0.87),
)
_WEEKEND = 0.7
# 2**x on [0, 1) by Horner's rule: Taylor's series of exp(x ln 2), off by less than 2e-7.
_EXP2 = (
    *(1.3215486790144309e-6, 1.525273380405984e-5, 1.5403530393381608e-4),
    *(1.3333558146428443e-3, 9.618129107628477e-3, 5.550410866482158e-2),
    *(2.402265069591007e-1, 6.931471805599453e-1, 1.0),
)
# log2(m) on [0.5, 1), fitted, off by less than 0.01: the tail of a range needs no more.
_LOG2 = (-1.3333333333333333, 4.0, -2.6666666666666665)


def synthesize(
    symbol: str,
    timeframe: str,
    bars_count: int,
    seed: int,
    start_ns: int = START_NS,
    start_price: float = START_PRICE,
    *,
    tick_decimals: int = TICK_DECIMALS,
    lot_decimals: int = LOT_DECIMALS,
) -> Bars:
    """Make `bars_count` consistent bars from `start_ns` on, without a gap, in whole ticks and lots.

    Raises UsageError for a timeframe, count, seed, start or price that makes no market.
    """
    step_ns = timeframe_ns(timeframe)
    _refuse(bars_count, seed, start_ns, start_price, step_ns, tick_decimals)
    ts_ns = start_ns + np.arange(bars_count, dtype=np.int64) * step_ns
    activity = _season(ts_ns, step_ns)
    heat = _heat(bars_count, seed, step_ns)  # log2 of the multifractal factors
    bar_volatility = _VOLATILITY_A_YEAR * np.sqrt(step_ns / _YEAR_NS)
    volatility = _exp2(heat) * activity * bar_volatility
    steps = _normal(bars_count, seed, 10) * volatility + _jumps(bars_count, seed, step_ns, volatility)
    # The one sum over time is a sum of integers: no order of adding changes it.
    log_price = np.cumsum(np.rint(steps * _LOG_ONE).astype(np.int64))
    tick_scale = float(10**tick_decimals)
    bound = int(_LOG2_RANGE_MOST * _LOG_ONE)
    level = _exp2(np.clip(log_price, -bound, bound) / _LOG_ONE) * (start_price * tick_scale)
    close = np.maximum(np.rint(level), 1.0)
    spread = np.maximum(close * volatility * 0.6931471805599453, 0.5)
    opening = _opens(close, spread, seed, np.rint(start_price * tick_scale))
    high, low = _extremes(opening, close, spread, seed)
    lots = _lots(high - low, spread, heat, activity, seed, step_ns, start_price, lot_decimals)
    prices = (opening / tick_scale, high / tick_scale, low / tick_scale, close / tick_scale)
    return Bars(symbol, timeframe, ts_ns, *prices, lots / float(10**lot_decimals))


def _refuse(bars_count: int, seed: int, start_ns: int, start_price: float, step_ns: int, tick_decimals: int) -> None:
    problem = ""
    if not 1 <= bars_count <= BARS_MOST:
        problem = f"{bars_count} bars: between 1 and {BARS_MOST} can be made"
    elif not 0 <= seed < 2**63:
        problem = f"seed {seed}: it is a whole number from 0 to 2**63 - 1"
    elif start_ns % step_ns and step_ns <= NS_PER_DAY:
        problem = "the start is no multiple of the timeframe"
    elif not 0 <= start_ns <= 2**63 - 1 - bars_count * step_ns:
        problem = "its bars begin before 1970 or end after 2262"
    elif not 1.0 <= start_price * 10**tick_decimals <= 2.0**33:
        problem = f"a start price of {start_price} is under one tick or over 2**33 of them"
    if problem:
        raise UsageError(f"No market can be made: {problem}", remedy="Choose another value.")


def _words(count: int, seed: int, stream: int) -> NDArray[np.uint64]:
    """Random 64-bit words; each stream of a seed is its own."""
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    words: NDArray[np.uint64] = generator.random_raw(count)
    return words


def _uniform(count: int, seed: int, stream: int) -> FloatColumn:
    """Numbers in (0, 1): 52 random bits and a half."""
    return ((_words(count, seed, stream) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _normal(count: int, seed: int, stream: int) -> FloatColumn:
    """Nearly normal numbers, mean 0, variance 1: each the sum of two words' eight 16-bit parts."""
    total = np.zeros(count, np.int64)
    for words in (_words(count, seed, stream), _words(count, seed, stream + 1)):
        for shift in (0, 16, 32, 48):
            total += ((words >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    # Eight parts, uniform over 0..65535: mean 8 * 32767.5, variance 8 * (65536**2 - 1) / 12.
    numbers: FloatColumn = (total - 262_140) / np.sqrt(8.0 * (65_536.0 * 65_536.0 - 1.0) / 12.0)
    return numbers


def _exponential(count: int, seed: int, stream: int) -> FloatColumn:
    """Return waiting times of mean 1: minus the logarithm of a uniform number."""
    mantissa, exponent = np.frexp(_uniform(count, seed, stream))
    log2 = (_LOG2[0] * mantissa + _LOG2[1]) * mantissa + _LOG2[2] + exponent
    return np.maximum(log2 * -0.6931471805599453, 0.0)


def _exp2(value: FloatColumn) -> FloatColumn:
    whole = np.floor(value)
    part = value - whole
    result = np.full(len(value), _EXP2[0])
    for coefficient in _EXP2[1:]:
        result = result * part
        result = result + coefficient
    scaled: FloatColumn = np.ldexp(result, whole.astype(np.int32))
    return scaled


def _season(ts_ns: IntColumn, step_ns: int) -> FloatColumn:
    """Activity by hour and weekday, straight lines between the hours; 1 for bars of 12 hours and more."""
    days = ts_ns // NS_PER_DAY
    weekend = np.where((days + 3) % 7 >= 5, _WEEKEND, 1.0)  # day 0 was a Thursday
    if step_ns >= NS_PER_DAY // 2:
        return weekend if step_ns <= NS_PER_DAY else np.ones(len(ts_ns))
    hours = np.array((*_HOURS, _HOURS[0]))
    hour_ns = NS_PER_DAY // 24
    since_midnight = ts_ns % NS_PER_DAY
    hour = since_midnight // hour_ns
    part = (since_midnight % hour_ns) / hour_ns
    activity: FloatColumn = (hours[hour] * (1.0 - part) + hours[hour + 1] * part) * weekend
    return activity


def _heat(count: int, seed: int, step_ns: int) -> FloatColumn:
    """Log2 of volatility's factors: each keeps its value until a draw renews it."""
    heat = np.zeros(count)
    places = np.arange(count)
    for index, minutes in enumerate(_FACTOR_MINUTES):
        renewal = min(step_ns / (minutes * 60 * NS_PER_SECOND), 1.0)
        renewed = _uniform(count, seed, 100 + 2 * index) < renewal
        since = np.maximum.accumulate(np.where(renewed, places, 0))
        heat += (_uniform(count, seed, 101 + 2 * index)[since] * 2.0 - 1.0) * _FACTOR_LOG2
    return heat


def _jumps(count: int, seed: int, step_ns: int, volatility: FloatColumn) -> FloatColumn:
    chance = min(_JUMPS_A_DAY * step_ns / NS_PER_DAY, 0.05)
    happens = _uniform(count, seed, 20) < chance
    size = (4.0 + 8.0 * _uniform(count, seed, 21)) * volatility
    jumps: FloatColumn = np.where(happens, np.where(_uniform(count, seed, 22) < 0.5, -size, size), 0.0)
    return jumps


def _opens(close: FloatColumn, spread: FloatColumn, seed: int, first: float) -> FloatColumn:
    """Return the last close, in some bars a tick or a little more away from it."""
    count = len(close)
    gap = np.rint(_normal(count, seed, 30) * spread * 0.05)
    gap = np.where(_uniform(count, seed, 32) < _GAP_SHARE, gap, 0.0)
    previous = np.concatenate(([first], close[:-1]))
    opening: FloatColumn = np.maximum(previous + gap, 1.0)
    return opening


def _extremes(
    opening: FloatColumn, close: FloatColumn, spread: FloatColumn, seed: int
) -> tuple[FloatColumn, FloatColumn]:
    """High and low of a Brownian bridge from open to close (each with its own law, drawn apart)."""
    count = len(opening)
    move = close - opening
    up = (move + np.sqrt(move * move + spread * spread * 2.0 * _exponential(count, seed, 40))) * 0.5
    down = (move - np.sqrt(move * move + spread * spread * 2.0 * _exponential(count, seed, 41))) * 0.5
    top = np.maximum(opening, close)
    bottom = np.minimum(opening, close)
    high = np.maximum(np.floor(opening + up), top)
    low = np.maximum(np.minimum(np.floor(opening + down) + 1.0, bottom), 1.0)
    return high, low


def _lots(
    ranges: FloatColumn,
    spread: FloatColumn,
    heat: FloatColumn,
    activity: FloatColumn,
    seed: int,
    step_ns: int,
    start_price: float,
    lot_decimals: int,
) -> FloatColumn:
    """Volume in lots: more in a wide bar, in hot times, in busy hours; cheap markets trade more."""
    count = len(ranges)
    usual = _VOLUME_A_DAY * (step_ns / NS_PER_DAY) * (START_PRICE / start_price) * float(10**lot_decimals)
    noise = _exp2(_normal(count, seed, 50) * 0.7)
    volume = (ranges / spread + 0.15) * 0.5 * _exp2(heat * 0.8) * activity * noise * usual
    return np.maximum(np.rint(np.minimum(volume, 2.0**50)), 1.0)
