"""Regimes, drawdowns and excursions against naive twins in plain Python, straight from the definitions."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import NS_PER_SECOND, Bars
from engine.figures.drawdowns import drawdown_periods, under_water_ns
from engine.figures.equity import EquityCurve
from engine.figures.excursions import excursion_table
from engine.figures.regimes import TradedSymbol, regime_table, regimes_of, window_bars_of
from engine.figures.trades import Trade

MINUTE_NS = 60 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01 00:00 UTC
UNKNOWN = -2


def bars_of(closes: list[float], gaps: list[int] | None = None, symbol: str = "BTCUSDT") -> Bars:
    """Minute bars that stand still inside; `gaps`: minutes from each bar's open to the next one's."""
    column = np.array(closes, dtype=np.float64)
    steps = np.array([0, *(gaps or [1] * len(closes))][: len(closes)], dtype=np.int64)
    ts_ns = START_NS + np.cumsum(steps) * MINUTE_NS
    return Bars(symbol, "1m", ts_ns, column, column, column, column, np.ones(len(closes)))


# Few values, so that returns of 0, ties of windows and single moves come up often.
closes_lists = st.one_of(
    st.lists(st.sampled_from([100.0, 101.0, 99.0, 150.0]), max_size=60),
    st.lists(st.floats(1, 1_000), max_size=60),
)


def twin_regime(closes: list[float], i: int, length: int) -> tuple[int, int]:
    """The regime of bar i, from nothing but the closes before it."""
    before = closes[:i]
    # In whole units of 10^-7; one bar's is held within e^±4, as defined.
    returns = [round(min(max(1e7 * math.log(after / first), -4e7), 4e7)) for first, after in pairwise(before)]
    if len(returns) < length:
        return UNKNOWN, UNKNOWN
    own = returns[-length:]
    varied = sum(value**2 for value in own)
    trend = 0 if sum(own) ** 2 <= varied else (1 if sum(own) > 0 else -1)
    past = sorted(
        sum(value**2 for value in returns[begin : begin + length])
        for begin in range(0, len(returns) - length + 1, length)
    )
    if len(past) < 5:
        return trend, UNKNOWN
    third = len(past) // 3
    return trend, -1 if varied < past[third] else 1 if varied > past[-1 - third] else 0


@settings(max_examples=150, deadline=None)
@given(closes_lists, st.integers(1, 7))
def test_regimes_equal_their_naive_twin(closes: list[float], length: int) -> None:
    found = regimes_of(bars_of(closes), length)
    expected = [twin_regime(closes, i, length) for i in range(len(closes))]
    assert list(zip(found.trend.tolist(), found.volatility.tolist(), strict=True)) == expected


@settings(max_examples=100, deadline=None)
@given(closes_lists, closes_lists, st.integers(1, 7))
def test_a_bar_of_the_future_changes_no_regime_before_it(closes: list[float], future: list[float], length: int) -> None:
    whole = regimes_of(bars_of([*closes, *future]), length)
    alone = regimes_of(bars_of(closes), length)
    # The bar after the last known close is decided too: nothing of its own counts.
    known = len(closes)
    assert whole.trend[:known].tolist() == alone.trend.tolist()
    assert whole.volatility[:known].tolist() == alone.volatility.tolist()
    if future:
        changed = regimes_of(bars_of([*closes, *(2 * close for close in future)]), length)
        assert (changed.trend[known], changed.volatility[known]) == (whole.trend[known], whole.volatility[known])


def test_regimes_of_a_market_that_anyone_would_name_so() -> None:
    # 60 calm bars that go nowhere, then 20 that rise by 1 % each, then 20 that fall: named once ten bars show it.
    closes = [100 + 0.01 * (i % 2) for i in range(60)]
    closes += [closes[-1] * 1.01**i for i in range(1, 21)]
    closes += [closes[-1] * 0.99**i for i in range(1, 21)]
    found = regimes_of(bars_of(closes), 10)
    assert set(found.trend[11:60].tolist()) == {0}
    assert set(found.trend[65:80].tolist()) == {1}
    assert set(found.trend[92:].tolist()) == {-1}
    assert set(found.volatility[62:].tolist()) == {1}


def test_the_window_is_a_day_within_bounds() -> None:
    assert [window_bars_of(name) for name in ("1s", "1m", "5m", "1h", "4h", "1d")] == [1_440, 1_440, 288, 24, 20, 20]


@st.composite
def traded(draw: st.DrawFn, symbol: str) -> TradedSymbol:
    closes = draw(st.lists(st.sampled_from([100.0, 101.0, 99.0, 150.0]), min_size=1, max_size=40))
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 5]), min_size=len(closes), max_size=len(closes)))
    bars = bars_of(closes, gaps, symbol)
    trades, entered = [], []
    for number in range(draw(st.integers(0, 8))):
        first = draw(st.integers(0, len(closes) - 1))
        last = draw(st.integers(first, len(closes) - 1))
        pnl = Decimal(draw(st.integers(-300, 300))).scaleb(-2)
        trades.append(
            Trade(
                trade_id=number, strategy="s", symbol=symbol, side="long",
                entry_ts_ns=int(bars.ts_ns[first]) + draw(st.sampled_from([0, MINUTE_NS])),
                exit_ts_ns=int(bars.ts_ns[last]) + MINUTE_NS,
                entry_price=1.0, exit_price=1.0, size=Decimal(1), gross_pnl=pnl, fees=Decimal(0), funding=Decimal(0),
                pnl=pnl, pnl_percent=0.0, mae=Decimal(0), mfe=Decimal(0), mae_percent=0.0, mfe_percent=0.0,
                mae_r=None, mfe_r=None, bars_held=1, fills=2, exit_reason="order",
            )
        )  # fmt: skip
        entered.append(first)
    since = [int(bars.ts_ns[draw(st.integers(0, len(closes) - 1))]) for _ in range(draw(st.integers(0, 1)))]
    return TradedSymbol(bars, trades, np.array(entered, dtype=np.int64), since)


@settings(max_examples=100, deadline=None)
@given(traded("A"), traded("B"))
def test_the_table_of_regimes_equals_its_twin_and_sums_to_the_totals(first: TradedSymbol, second: TradedSymbol) -> None:
    symbols = [first, second]
    series = [regimes_of(each.bars, 2) for each in symbols]
    rows = regime_table(series, symbols, 2)
    codes = {"unknown": -2, "down": -1, "sideways": 0, "up": 1, "low": -1, "normal": 0, "high": 1}
    total = sum((trade.pnl for each in symbols for trade in each.trades), Decimal(0))
    seen = []
    for row in rows:
        each = symbols["AB".index(row.symbol)]
        regime = series["AB".index(row.symbol)]
        wanted = (codes[row.trend], codes[row.volatility])
        here = [bar for bar in range(len(each.bars)) if (regime.trend[bar], regime.volatility[bar]) == wanted]
        seen += [(row.symbol, bar) for bar in here]
        pnl = [trade.pnl for trade, bar in zip(each.trades, each.entered.tolist(), strict=True) if bar in here]
        opens = [*each.bars.ts_ns.tolist(), int(each.bars.ts_ns[-1]) + MINUTE_NS]
        held = [(trade.entry_ts_ns, trade.exit_ts_ns) for trade in each.trades]
        held += [(since, opens[-1]) for since in each.open_since_ns]
        # Everything stands on whole minutes: look at each minute of these bars.
        minutes = [minute for bar in here for minute in range(opens[bar], opens[bar + 1], MINUTE_NS)]
        covered = sum(any(begin <= minute < end for begin, end in held) for minute in minutes)
        won, lost = sum(value for value in pnl if value > 0), -sum(value for value in pnl if value < 0)
        assert (row.bars, row.span_ns, row.in_market_ns) == (len(here), len(minutes) * MINUTE_NS, covered * MINUTE_NS)
        assert (row.trades, row.net_pnl) == (len(pnl), sum(pnl, Decimal(0)))
        assert (row.wins, row.losses) == (sum(value > 0 for value in pnl), sum(value < 0 for value in pnl))
        assert row.profit_factor == (float(Fraction(won) / Fraction(lost)) if lost else None)
        assert row.pnl_share == (float(Fraction(row.net_pnl) / Fraction(total)) if total else None)
        assert row.share_of_bars == len(here) / len(each.bars)
    # Each bar stands in one row, so the rows sum to the whole.
    assert sorted(seen) == [
        (name, bar) for name, each in zip("AB", symbols, strict=True) for bar in range(len(each.bars))
    ]
    assert sum((row.net_pnl for row in rows), Decimal(0)) == total
    assert sum(row.trades for row in rows) == len(first.trades) + len(second.trades)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([900, 1_000, 1_050, 1_100, 1_200, -5]), max_size=25))
def test_drawdowns_equal_their_naive_twin(equity: list[int]) -> None:
    initial = 1_000
    rows = len(equity)
    nothing = np.zeros(rows, dtype=np.int64)
    ts_ns = START_NS + MINUTE_NS * np.arange(1, rows + 1, dtype=np.int64)
    curve = EquityCurve(START_NS, ts_ns, np.array(equity, dtype=np.int64), nothing, nothing, 2)
    values, times = [initial, *equity], [START_NS, *ts_ns.tolist()]
    expected: list[dict[str, Any]] = []
    begin = 0
    while begin < len(values):
        peak = values[begin]
        end = next((row for row in range(begin + 1, len(values)) if values[row] >= peak), None)
        below = values[begin + 1 : end]
        if below:
            trough = begin + 1 + below.index(min(below))
            last = len(values) - 1 if end is None else end
            expected.append(
                {
                    "start_ns": times[begin],
                    "trough_ns": times[trough],
                    "end_ns": None if end is None else times[end],
                    "depth": float(Fraction(peak - min(below), peak)),
                    "depth_money": Decimal(peak - min(below)).scaleb(-2),
                    "peak": Decimal(peak).scaleb(-2),
                    "duration_ns": times[last] - times[begin],
                    "to_trough_ns": times[trough] - times[begin],
                    "recovery_ns": None if end is None else times[end] - times[trough],
                }
            )
        if end is None:
            break
        begin = end
    deepest = sorted(expected, key=lambda each: -each["depth"])
    longest = sorted(expected, key=lambda each: -each["duration_ns"])
    assert [msgspec.structs.asdict(each) for each in drawdown_periods(curve, initial, most=3)] == deepest[:3]
    found = drawdown_periods(curve, initial, most=100, by="duration")
    assert [msgspec.structs.asdict(each) for each in found] == longest
    durations = [each["duration_ns"] for each in expected]
    assert under_water_ns(curve, initial) == (sum(durations), max(durations, default=0))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.integers(-500, 0), st.integers(0, 500), st.none() | st.floats(-3, 0)),
        max_size=30,
    )
)
def test_excursions_equal_their_naive_twin(given_trades: list[tuple[int, int, int, float | None]]) -> None:
    trades = [
        Trade(
            trade_id=number, strategy="s", symbol="A", side="long", entry_ts_ns=0, exit_ts_ns=1, entry_price=1.0,
            exit_price=1.0, size=Decimal(1), gross_pnl=Decimal(pnl), fees=Decimal(0), funding=Decimal(0),
            pnl=Decimal(pnl), pnl_percent=0.0, mae=Decimal(mae).scaleb(-2), mfe=Decimal(mfe).scaleb(-2),
            mae_percent=mae / 7, mfe_percent=mfe / 7, mae_r=in_r, mfe_r=None if in_r is None else -in_r, bars_held=1,
            fills=2, exit_reason="order",
        )
        for number, (pnl, mae, mfe, in_r) in enumerate(given_trades)
    ]  # fmt: skip
    rows = {(row.group, row.measure, row.unit): row for row in excursion_table(trades, 2)}
    assert len(rows) == 3 * 2 * 3
    for (group, measure, unit), row in rows.items():
        members = [each for each in trades if group == "all" or (each.pnl > 0 if group == "winners" else each.pnl < 0)]
        name = measure if unit == "money" else f"{measure}_{unit.lower()}"
        values = [getattr(each, name) for each in members if getattr(each, name) is not None]
        assert row.count == len(values)
        if not values:
            assert (row.average, row.p05, row.p50, row.p95) == (None, None, None, None)
            continue
        average = sum(map(Fraction, values), Fraction(0)) / len(values)
        assert row.average is not None
        assert abs(Fraction(row.average) - average) <= (Fraction(1, 200) if unit == "money" else Fraction(1, 10**12))
        for field, share in (("p05", 5), ("p25", 25), ("p50", 50), ("p75", 75), ("p95", 95)):
            # The least value that at least so many percent of the values are at or below.
            expected = min(
                value for value in values if 100 * sum(each <= value for each in values) >= share * len(values)
            )
            assert getattr(row, field) == expected, (field, values)
