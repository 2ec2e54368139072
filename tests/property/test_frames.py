"""Higher timeframes: against a naive twin that goes bar by bar, a poisoned future, the exchange's own files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.bars import NS_PER_SECOND, Bars
from engine.errors import StrategyError
from engine.frames import aggregate
from engine.series import Window

COLUMNS = ("ts_ns", "open", "high", "low", "close", "volume")
OHLCV = Path(__file__).parents[3] / "shared" / "data" / "ohlcv"
MINUTE_NS = 60 * NS_PER_SECOND
FRAMES = ("1m", "2m", "3m", "5m", "15m", "1h")

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PRICE = st.integers(1, 10**7).map(lambda ticks: ticks / 100)
VOLUME = st.one_of(
    st.integers(0, 10**9).map(lambda lots: lots / 10**5),
    st.integers(0, 10**4).map(float),
    st.floats(0, 1e12, allow_nan=False),  # digits that no unit holds
)


@st.composite
def minutes(draw: st.DrawFn, least: int = 1) -> Bars:
    """Minutes with gaps, which begin anywhere."""
    count = draw(st.integers(least, 50))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 7, 40]), min_size=count, max_size=count))
    first = draw(st.integers(0, 200))
    prices = np.array(draw(st.lists(st.tuples(PRICE, PRICE, PRICE, PRICE), min_size=count, max_size=count)))
    volume = np.array(draw(st.lists(VOLUME, min_size=count, max_size=count)))
    ts_ns = (first + np.cumsum(steps)).astype(np.int64) * MINUTE_NS
    high, low = prices.max(axis=1), prices.min(axis=1)
    return Bars("X", "1m", ts_ns, prices[:, 0].copy(), high, low, prices[:, 3].copy(), volume)


def cut(bars: Bars, stop: int) -> Bars:
    return Bars(bars.symbol, bars.timeframe, *(getattr(bars, name)[:stop].copy() for name in COLUMNS))


def poisoned(bars: Bars, stop: int) -> Bars:
    """Other prices and volumes from `stop` on, and other times where that leaves the order."""
    columns: dict[str, Any] = {name: getattr(bars, name).copy() for name in COLUMNS}
    for name in COLUMNS[1:]:
        columns[name][stop:] = 1e9 / 7
    columns["ts_ns"][stop:] += 13 * MINUTE_NS
    return Bars(bars.symbol, bars.timeframe, **columns)


def naive(bars: Bars, minutes_each: int) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Bars made one minute after the other, with decimals; how many are over after each minute."""
    length = minutes_each * MINUTE_NS
    made: list[tuple[Any, ...]] = []
    waiting: list[list[Any]] = []
    known = []
    for ts, open_, high, low, close, volume in zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True):
        opens = ts // length * length
        if waiting and waiting[-1][0] == opens:
            _, first, highest, lowest, _, total = waiting[-1]
            waiting[-1] = [opens, first, max(highest, high), min(lowest, low), close, total + Decimal(repr(volume))]
        elif waiting or made or ts == opens or opens > int(bars.ts_ns[0]):
            waiting.append([opens, open_, high, low, close, Decimal(repr(volume))])
        while waiting and waiting[0][0] + length <= ts + MINUTE_NS:
            *rest, total = waiting.pop(0)
            made.append((*rest, float(total)))
        known.append(len(made))
    return made, known


def rows(bars: Bars) -> list[tuple[Any, ...]]:
    return list(zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True))


@quick
@given(bars=minutes(), each=st.sampled_from([1, 2, 3, 5, 15, 60]))
def test_higher_bars_are_those_of_a_naive_twin(bars: Bars, each: int) -> None:
    made = aggregate(bars, f"{each}m")
    expected, known = naive(bars, each)
    assert rows(made.bars) == expected
    assert made.known.tolist() == known


def seen(window: Window, bars: Bars, stops: list[int]) -> list[list[NDArray[Any]]]:
    """Everything a strategy can see of higher timeframes at each of these bars, copied."""
    found = []
    for stop in stops:
        window.show(stop)
        values: list[NDArray[Any]] = []
        for timeframe in FRAMES:
            frame = window.tf(timeframe)
            values += [getattr(frame, name) for name in COLUMNS[1:]] + [frame.time, frame.bars]
            values += [frame.ind.sma(frame.close, 2), frame.ind.atr(2), frame.ind["ema_3_1h"]]
            values += [window.ind[f"ema_2_{timeframe}"], *window.ind[f"macd_2_3_2_{timeframe}"]]
            values.append(np.array([frame.stop, getattr(frame, "is_new", True)]))
        found.append([value.copy() for value in values])
    return found


def same_bits(left: list[list[NDArray[Any]]], right: list[list[NDArray[Any]]]) -> bool:
    return all(
        a.shape == b.shape and a.tobytes() == b.tobytes()
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@quick
@given(bars=minutes(least=4), data=st.data())
def test_nothing_seen_changes_when_the_future_does(bars: Bars, data: st.DataObject) -> None:
    stop = data.draw(st.integers(1, len(bars)))
    stops = list(range(stop + 1))
    expected = seen(Window(bars), bars, stops)
    assert same_bits(seen(Window(poisoned(bars, stop)), bars, stops), expected)
    assert same_bits(seen(Window(cut(bars, stop)), bars, stops), expected)


@quick
@given(bars=minutes(least=2))
def test_columns_that_grow_show_what_whole_ones_show(bars: Bars) -> None:
    stops = list(range(1, len(bars) + 1))
    expected = seen(Window(bars), bars, stops)
    growing = Window(cut(bars, 0))
    found = []
    for stop in stops:
        growing.show(stop, cut(bars, stop))
        found += seen(growing, bars, [stop])
    assert same_bits(found, expected)


def test_a_view_that_was_kept_moves_on_and_back() -> None:
    ts_ns = np.arange(10, dtype=np.int64) * MINUTE_NS
    price = np.arange(1.0, 11.0)
    window = Window(Bars("X", "1m", ts_ns, price, price, price, price, price))
    frame = window.tf("5m")
    ema = frame.ind.ema
    told = []
    for stop in range(1, 11):
        window.show(stop)
        told.append((frame.stop, getattr(frame, "is_new", None), len(ema(frame.close, 1))))
    assert told == [(0, False, 0)] * 4 + [(1, True, 1)] + [(1, False, 1)] * 4 + [(2, True, 2)]
    assert frame.close.tolist() == [5.0, 10.0]
    assert frame.volume.tolist() == [15.0, 40.0]
    window.show(0)
    assert len(frame.close) == 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        window.tf("2m").high[:0].setflags(write=True)
    assert window.tf("1m") is window


@pytest.mark.parametrize(("timeframe", "told"), [("90s", "no multiple"), ("30s", "no bars smaller"), ("4x", "not a")])
def test_a_timeframe_that_cannot_be_made_is_refused(timeframe: str, told: str) -> None:
    ts_ns = np.arange(4, dtype=np.int64) * MINUTE_NS
    price = np.ones(4)
    with pytest.raises(StrategyError, match=told) as caught:
        Window(Bars("X", "1m", ts_ns, price, price, price, price, price)).tf(timeframe)
    assert caught.value.remedy


def stored(symbol: str, timeframe: str) -> Bars:
    frame = pl.read_parquet(OHLCV / f"binance_spot_{symbol}_{timeframe}_2022.parquet")
    columns = [frame[name].to_numpy().copy() for name in COLUMNS[1:]]
    return Bars(symbol, timeframe, frame["ts"].to_numpy() * 1_000_000, *columns)


@pytest.mark.real_data
@pytest.mark.skipif(not OHLCV.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"])
@pytest.mark.parametrize("timeframe", ["15m", "1h"])
def test_minutes_make_the_exchange_s_own_bars(symbol: str, timeframe: str) -> None:
    made, own = aggregate(stored(symbol, "1m"), timeframe).bars, stored(symbol, timeframe)
    for name in COLUMNS:
        assert np.array_equal(getattr(made, name), getattr(own, name)), name
