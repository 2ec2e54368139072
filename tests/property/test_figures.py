"""Every figure against a naive twin: plain Python, a bar and a trade at a time, straight from the prose."""

from __future__ import annotations

import json
import math
import statistics
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import NS_PER_DAY, NS_PER_SECOND
from engine.figures.equity import EquityCurve, drawdown_series
from engine.figures.metrics import as_json, metrics
from engine.figures.trades import Trade

UNIT = 100  # cents: two cash decimals keep the numbers small enough to read in a failure
HOUR_NS = 3_600 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01 00:00 UTC

amounts = st.integers(-50_000, 300_000)
held_amounts = st.integers(0, 500_000)
gaps_hours = st.sampled_from([1, 1, 1, 6, 23, 24, 25, 80, 300])


@st.composite
def curves(draw: st.DrawFn) -> EquityCurve:
    """Up to 40 bars, hours to days apart, from any hour of a day; equity may be 0, negative or constant."""
    rows = draw(st.integers(0, 40))
    start_ns = START_NS + draw(st.integers(0, 30)) * HOUR_NS
    gaps = draw(st.lists(gaps_hours, min_size=rows, max_size=rows))
    values = draw(st.sampled_from([amounts, st.integers(1, 300_000), st.just(100_000)]))
    column = st.lists(held_amounts, min_size=rows, max_size=rows)
    return EquityCurve(
        start_ns=start_ns,
        ts_ns=start_ns + np.cumsum(np.array(gaps, dtype=np.int64)) * HOUR_NS,
        equity=np.array(draw(st.lists(values, min_size=rows, max_size=rows)), dtype=np.int64),
        exposure=np.array(draw(st.one_of(st.just([0] * rows), column)), dtype=np.int64),
        margin=np.array(draw(column), dtype=np.int64),
        cash_decimals=2,
    )


def cents(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda value: Decimal(value).scaleb(-2))


ratios = st.none() | st.floats(-5, 5)


@st.composite
def trade_lists(draw: st.DrawFn) -> list[Trade]:
    """Up to 12 trades in any order; they may overlap, break even, and reach past both ends of the curve."""
    trades = []
    for index in range(draw(st.integers(0, 12))):
        begin = START_NS + draw(st.integers(-50, 1_000)) * HOUR_NS
        gross, fees, funding = draw(cents(-999, 999)), draw(cents(-9, 99)), draw(cents(-99, 99))
        pnl = draw(st.sampled_from([gross - fees - funding, Decimal(0), Decimal("0.01"), Decimal("-0.01")]))
        trades.append(
            Trade(
                trade_id=index,
                strategy="twin",
                symbol="BTCUSDT",
                side=draw(st.sampled_from(["long", "short"])),
                entry_ts_ns=begin,
                exit_ts_ns=begin + draw(st.integers(0, 400)) * HOUR_NS,
                entry_price=1.0,
                exit_price=1.0,
                size=Decimal(1),
                gross_pnl=pnl + fees + funding,
                fees=fees,
                funding=funding,
                pnl=pnl,
                pnl_percent=float(pnl) / draw(st.sampled_from([0.07, 1.0, 13.0])),
                mae=draw(cents(-999, 0)),
                mfe=draw(cents(0, 999)),
                mae_percent=draw(st.floats(-90, 0)),
                mfe_percent=draw(st.floats(0, 90)),
                mae_r=draw(ratios),
                mfe_r=draw(ratios),
                bars_held=draw(st.integers(0, 99)),
                fills=2,
                exit_reason=draw(st.sampled_from(["order", "liquidation", "end", "guard"])),
            )
        )
    return trades


# --- the twin ---


def rounded(value: Fraction) -> Decimal:
    """Round to two places, half to even, in whole numbers."""
    return (Decimal(round(value * UNIT)) / UNIT).quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def mean_money(values: list[Decimal]) -> Decimal | None:
    return rounded(sum(map(Fraction, values), Fraction(0)) / len(values)) if values else None


def mean_float(values: list[float]) -> float | None:
    return float(sum(map(Fraction, values), Fraction(0)) / len(values)) if values else None


def twin_daily_returns(curve: EquityCurve, initial: int) -> list[Fraction] | None:
    """Walk the calendar day by day; None if one ends at or below 0."""
    rows = list(zip(curve.ts_ns.tolist(), curve.equity.tolist(), strict=True))
    daily = [initial]
    day_end = curve.start_ns - curve.start_ns % NS_PER_DAY + NS_PER_DAY
    while True:
        before = [value for ts_ns, value in rows if ts_ns <= day_end]
        daily.append(before[-1] if before else initial)
        if day_end >= rows[-1][0]:
            break
        day_end += NS_PER_DAY
    if min(daily) <= 0:
        return None
    return [Fraction(daily[i] - daily[i - 1], daily[i - 1]) for i in range(1, len(daily))]


def twin_equity(curve: EquityCurve, initial: int, *, annualise_short: bool) -> dict[str, Any]:
    values = [initial, *curve.equity.tolist()]
    times = [curve.start_ns, *curve.ts_ns.tolist()]
    span_ns = times[-1] - times[0]
    out: dict[str, Any] = dict.fromkeys(
        ("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown",
         "max_drawdown_money",
         "max_drawdown_duration_seconds", "time_under_water", "buy_and_hold_return")
    )  # fmt: skip
    out["initial"] = Decimal(initial).scaleb(-2)
    out["final"] = Decimal(values[-1]).scaleb(-2)
    out["net_profit"] = out["final"] - out["initial"]
    out["peak"] = Decimal(max(values)).scaleb(-2)
    if len(values) == 1:
        return out
    out["total_return"] = float(Fraction(values[-1] - initial, initial))
    deepest, money, longest_ns = Fraction(0), 0, 0
    stretches: set[tuple[int, int]] = set()
    for i, value in enumerate(values):
        peak = max(values[: i + 1])
        deepest = max(deepest, Fraction(peak - value, peak))
        money = max(money, peak - value)
        if value < peak:
            at_peak = max(j for j in range(i) if values[j] == peak)
            regained = next((j for j in range(i, len(values)) if values[j] >= peak), len(values) - 1)
            longest_ns = max(longest_ns, times[regained] - times[at_peak])
            stretches.add((at_peak, regained))
    out["max_drawdown"], out["max_drawdown_money"] = float(deepest), Decimal(money).scaleb(-2)
    out["max_drawdown_duration_seconds"] = longest_ns / NS_PER_SECOND
    out["time_under_water"] = sum(times[end] - times[begin] for begin, end in stretches) / span_ns
    if span_ns < 30 * NS_PER_DAY and not annualise_short:
        return out
    returns = twin_daily_returns(curve, initial)
    if returns is not None:
        mean = sum(returns, Fraction(0)) / len(returns)
        if len(returns) > 1:
            deviation = float(statistics.stdev(returns))
            out["volatility"] = deviation * math.sqrt(365)
            out["sharpe"] = float(mean) / deviation * math.sqrt(365) if deviation else None
        squares = [min(value, Fraction(0)) ** 2 for value in returns]
        downside = math.sqrt(sum(squares, Fraction(0)) / len(returns))
        out["sortino"] = float(mean) / downside * math.sqrt(365) if downside else None
    if values[-1] > 0:
        years = span_ns / NS_PER_DAY / 365
        logarithm = math.log(values[-1] / initial) / years
        out["cagr"] = math.expm1(logarithm) if logarithm < 709 else None
        out["calmar"] = out["cagr"] / out["max_drawdown"] if out["cagr"] is not None and deepest else None
    return out


def twin_exposure(curve: EquityCurve, trades: list[Trade], open_since_ns: list[int]) -> dict[str, Any]:
    rows = len(curve)
    if rows == 0:
        return dict.fromkeys(
            ("time_in_market", "exposure_average", "exposure_max", "margin_max", "leverage_max", "leverage_average",
             "margin_average", "margin_usage_max", "margin_usage_average")
        )  # fmt: skip
    first, last = curve.start_ns, int(curve.ts_ns[-1])
    held = [(trade.entry_ts_ns, trade.exit_ts_ns) for trade in trades] + [(ts, last) for ts in open_since_ns]
    # Everything stands on whole hours: look at each hour of the run.
    hours = range(first, last, HOUR_NS)
    covered = sum(any(begin <= hour < end for begin, end in held) for hour in hours)
    exposure, equity = curve.exposure.tolist(), curve.equity.tolist()
    margin = curve.margin.tolist()

    def greatest(held: list[int]) -> float | None:
        pairs = list(zip(held, equity, strict=True))
        if any(at_stake and own <= 0 for at_stake, own in pairs):
            return None
        return float(max(Fraction(at_stake, own) if at_stake else Fraction(0) for at_stake, own in pairs))

    return {
        "time_in_market": covered / len(hours),
        "exposure_average": rounded(Fraction(sum(exposure), rows * UNIT)),
        "exposure_max": Decimal(max(exposure)).scaleb(-2),
        "margin_max": Decimal(max(curve.margin.tolist())).scaleb(-2),
        "leverage_max": greatest(exposure),
        "leverage_average": sum(exposure) / sum(equity) if sum(equity) > 0 else None,
        "margin_average": rounded(Fraction(sum(margin), rows * UNIT)),
        "margin_usage_max": greatest(margin),
        "margin_usage_average": sum(margin) / sum(equity) if sum(equity) > 0 else None,
    }


def longest(signs: str, wanted: str) -> int:
    return max(
        (end - begin for begin in range(len(signs)) for end in range(begin, len(signs) + 1)
         if set(signs[begin:end]) <= {wanted}),
        default=0,
    )  # fmt: skip


def twin_trades(trades: list[Trade], days: float) -> dict[str, Any]:
    trades = sorted(trades, key=lambda trade: (trade.exit_ts_ns, trade.trade_id))
    pnl = [trade.pnl for trade in trades]
    percents = [trade.pnl_percent for trade in trades]
    signs = "".join("+" if value > 0 else "-" if value < 0 else "0" for value in pnl)
    won, lost = [value for value in pnl if value > 0], [value for value in pnl if value < 0]
    up = sum((Fraction(value) for value in percents if value > 0), Fraction(0))
    down = sum((Fraction(value) for value in percents if value < 0), Fraction(0))
    durations = [Fraction(trade.exit_ts_ns - trade.entry_ts_ns, NS_PER_SECOND) for trade in trades]
    growth = 1.0
    for percent in percents:
        growth *= 1 + percent / 100
    count = len(trades)
    return {
        "count": count,
        "wins": signs.count("+"),
        "losses": signs.count("-"),
        "breakevens": signs.count("0"),
        "win_rate": len(won) / count if count else None,
        "net_pnl": sum(pnl, Decimal(0)),
        "gross_profit": sum(won, Decimal(0)),
        "gross_loss": -sum(lost, Decimal(0)),
        "profit_factor": float(sum(map(Fraction, won)) / -sum(map(Fraction, lost))) if lost else None,
        "profit_factor_percent": float(up / -down) if down else None,
        "expectancy": mean_money(pnl),
        "expectancy_percent": mean_float(percents),
        "average_percent_geometric": (100 * (growth ** (1 / count) - 1) if count and min(percents) > -100 else None),
        "best": max(pnl) if pnl else None,
        "best_percent": max(percents) if percents else None,
        "worst": min(pnl) if pnl else None,
        "worst_percent": min(percents) if percents else None,
        "average_win": mean_money(won),
        "average_loss": mean_money(lost),
        "payoff_ratio": (
            float((sum(map(Fraction, won)) / len(won)) / (-sum(map(Fraction, lost)) / len(lost)))
            if won and lost
            else None
        ),
        "longest_winning_run": longest(signs, "+"),
        "longest_losing_run": longest(signs, "-"),
        "mae_average": mean_money([trade.mae for trade in trades]),
        "mae_average_percent": mean_float([trade.mae_percent for trade in trades]),
        "mae_average_r": mean_float([trade.mae_r for trade in trades if trade.mae_r is not None]),
        "mfe_average": mean_money([trade.mfe for trade in trades]),
        "mfe_average_percent": mean_float([trade.mfe_percent for trade in trades]),
        "mfe_average_r": mean_float([trade.mfe_r for trade in trades if trade.mfe_r is not None]),
        "bars_held_average": mean_float([float(trade.bars_held) for trade in trades]),
        "duration_average_seconds": float(sum(durations) / count) if count else None,
        "duration_max_seconds": float(max(durations)) if count else None,
        "liquidations": sum(trade.exit_reason == "liquidation" for trade in trades),
        "trades_per_day": count / days if days else None,
    }


# --- both, side by side ---


def agree(found: Any, expected: dict[str, Any]) -> None:
    assert set(found.__struct_fields__) == set(expected)
    for name, value in expected.items():
        mine = getattr(found, name)
        if isinstance(value, float) and mine is not None:
            assert mine == pytest.approx(value, rel=1e-9, abs=1e-11), name
        else:
            assert mine == value, name


@settings(max_examples=150, deadline=None)
@given(curves(), trade_lists(), st.booleans(), st.lists(st.integers(-50, 1_000), max_size=2))
def test_every_figure_equals_its_naive_twin(
    curve: EquityCurve, trades: list[Trade], annualise_short: bool, open_since_hours: list[int]
) -> None:
    initial = 100_000
    open_since_ns = [START_NS + hours * HOUR_NS for hours in open_since_hours]
    found = metrics(
        curve,
        trades,
        initial_cash=Decimal(1_000),
        annualise_short=annualise_short,
        open_since_ns=open_since_ns,
    )
    days = curve.span_ns / NS_PER_DAY
    agree(found.equity, twin_equity(curve, initial, annualise_short=annualise_short))
    agree(found.exposure, twin_exposure(curve, trades, open_since_ns))
    agree(found.trades, twin_trades(trades, days))
    agree(found.long, twin_trades([trade for trade in trades if trade.side == "long"], days))
    agree(found.short, twin_trades([trade for trade in trades if trade.side == "short"], days))
    assert found.costs.fees == sum((trade.fees for trade in trades), Decimal(0))
    assert found.costs.funding == sum((trade.funding for trade in trades), Decimal(0))
    assert (found.span.days, found.span.bars) == (days, len(curve))


@settings(max_examples=50, deadline=None)
@given(curves(), trade_lists(), st.randoms(use_true_random=False))
def test_the_order_of_trades_does_not_show(curve: EquityCurve, trades: list[Trade], random: Any) -> None:
    shuffled = list(trades)
    random.shuffle(shuffled)
    assert metrics(curve, shuffled, initial_cash=Decimal(1_000)) == metrics(curve, trades, initial_cash=Decimal(1_000))


@settings(max_examples=50, deadline=None)
@given(curves(), trade_lists(), st.booleans())
def test_json_is_finite_and_long_and_short_add_up(
    curve: EquityCurve, trades: list[Trade], annualise_short: bool
) -> None:
    found = metrics(curve, trades, initial_cash=Decimal(1_000), annualise_short=annualise_short)
    json.dumps(as_json(found), allow_nan=False)
    assert found.trades.net_pnl == found.long.net_pnl + found.short.net_pnl
    assert found.trades.count == found.long.count + found.short.count


@settings(max_examples=50, deadline=None)
@given(curves())
def test_the_drawdown_series_reaches_the_drawdown(curve: EquityCurve) -> None:
    series = drawdown_series(curve, 100_000).tolist()
    values = [100_000, *curve.equity.tolist()]
    peaks = [max(values[: index + 1]) for index in range(len(values))]
    pairs = zip(values[1:], peaks[1:], strict=True)
    assert series == [float(Fraction(peak - value, peak)) for value, peak in pairs]
    assert metrics(curve, [], initial_cash=Decimal(1_000)).equity.max_drawdown == max(series, default=None)
