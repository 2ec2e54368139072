"""Figures against worked examples, against pandas, and what two other packages print for real runs."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.bars import NS_PER_DAY, NS_PER_SECOND
from engine.errors import CapacityError
from engine.figures import money
from engine.figures.definitions import FIGURES, TRADE_GROUPS, definitions, markdown_table
from engine.figures.equity import EquityCurve, drawdown_series
from engine.figures.equity_figures import growth_a_year
from engine.figures.metrics import CostFigures, Metrics, as_json, metrics
from engine.figures.times import utc_text
from engine.figures.trades import Trade

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT.parent / "shared" / "data" / "golden"
UNIT = 10**8
MINUTE_NS = 60 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01 00:00 UTC
CASH = Decimal(1_000)


def curve(
    equity: list[float],
    *,
    step_ns: int = NS_PER_DAY,
    start_ns: int = START_NS,
    exposure: list[float] | None = None,
) -> EquityCurve:
    """Make a curve of bars `step_ns` long; amounts in money."""
    rows = len(equity)
    at_stake = np.array([round(value * UNIT) for value in exposure or [0.0] * rows], dtype=np.int64)
    return EquityCurve(
        start_ns=start_ns,
        ts_ns=start_ns + step_ns * np.arange(1, rows + 1, dtype=np.int64),
        equity=np.array([round(value * UNIT) for value in equity], dtype=np.int64),
        exposure=at_stake,
        margin=at_stake // 2,
    )


def trade(pnl: str = "1", **changes: Any) -> Trade:
    """Make a long trade of one day with entry notional 100, without costs unless changed."""
    amount = Decimal(pnl)
    base = Trade(
        trade_id=0, strategy="test", symbol="BTCUSDT", side="long", entry_ts_ns=START_NS,
        exit_ts_ns=START_NS + NS_PER_DAY, entry_price=100.0, exit_price=100.0 + float(amount),
        size=Decimal(1),
        gross_pnl=amount, fees=Decimal(0), funding=Decimal(0), pnl=amount, pnl_percent=float(amount),
        mae=Decimal(0), mfe=Decimal(0), mae_percent=0.0, mfe_percent=0.0, mae_r=None, mfe_r=None,
        bars_held=1, fills=2, exit_reason="order",
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


# --- worked examples: every number can be followed with pencil and paper ---


def test_equity_figures_of_four_days() -> None:
    # 1000 -> 1100 -> 880 -> 968: daily returns +0.1, -0.2, +0.1; their mean is 0.
    found = metrics(curve([1100, 880, 968]), [], initial_cash=CASH, annualise_short=True).equity
    assert found.final == Decimal(968)
    assert found.net_profit == Decimal(-32)
    assert found.total_return == -0.032
    assert found.peak == Decimal(1100)
    # Below the peak of 1100: 220 at most, a fifth; from day 1 to the end at day 3.
    assert found.max_drawdown == 0.2
    assert found.max_drawdown_money == Decimal(220)
    assert found.max_drawdown_duration_seconds == 2 * 86_400
    # std(ddof 1) = sqrt((0.01 + 0.04 + 0.01) / 2) = sqrt(0.03).
    assert found.volatility == pytest.approx(math.sqrt(0.03 * 365), rel=1e-14)
    assert found.sharpe == pytest.approx(0, abs=1e-14)
    # 0.968 over three days: 0.968^(365 / 3) - 1.
    assert found.cagr == pytest.approx(0.968 ** (365 / 3) - 1, rel=1e-14)
    assert found.calmar == pytest.approx((0.968 ** (365 / 3) - 1) / 0.2, rel=1e-14)


def test_sharpe_and_sortino_of_two_days() -> None:
    # Returns +0.2 and -0.1: mean 0.05, std(ddof 1) = 0.3 / sqrt(2), downside = sqrt(0.01 / 2).
    found = metrics(curve([1200, 1080]), [], initial_cash=CASH, annualise_short=True).equity
    assert found.sharpe == pytest.approx(0.05 / (0.3 / math.sqrt(2)) * math.sqrt(365), rel=1e-12)
    assert found.sortino == pytest.approx(0.05 / math.sqrt(0.005) * math.sqrt(365), rel=1e-12)


def test_drawdown_counts_the_starting_balance_as_a_peak() -> None:
    falling = curve([900, 950])
    # 1000 -> 900: a tenth, though no bar ever stood at 1000.
    assert metrics(falling, [], initial_cash=CASH).equity.max_drawdown == 0.1
    assert drawdown_series(falling, 1000 * UNIT).tolist() == [0.1, 0.05]


def test_a_dip_of_one_bar_is_two_bars_under_water() -> None:
    # From the start at 1000 to day 2, which stands at 1000 again; day 1 alone was below.
    found = metrics(curve([900, 1000, 1100]), [], initial_cash=CASH)
    assert found.equity.max_drawdown_duration_seconds == 2 * 86_400


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_that_ends() -> None:
    # Hourly, one day: 24 bars, the last closing at the next midnight. One day is one return: no spread.
    day = metrics(curve([1010.0] * 24, step_ns=60 * MINUTE_NS), [], initial_cash=CASH, annualise_short=True)
    assert day.span.days == 1.0
    assert day.equity.volatility is None
    # One bar more begins the second day.
    two = metrics(curve([1010.0] * 25, step_ns=60 * MINUTE_NS), [], initial_cash=CASH, annualise_short=True)
    assert two.equity.volatility is not None


def test_days_without_bars_are_flat_days() -> None:
    # Bars at the ends of day 1 and day 4 only: returns +0.1, 0, 0, +0.1.
    gap = EquityCurve(
        start_ns=START_NS,
        ts_ns=START_NS + NS_PER_DAY * np.array([1, 4]),
        equity=np.array([1100, 1210]) * UNIT,
        exposure=np.zeros(2, dtype=np.int64),
        margin=np.zeros(2, dtype=np.int64),
    )
    found = metrics(gap, [], initial_cash=CASH, annualise_short=True).equity
    # mean 0.05, std(ddof 1) = sqrt(4 * 0.05^2 / 3).
    assert found.sharpe == pytest.approx(0.05 / math.sqrt(0.01 / 3) * math.sqrt(365), rel=1e-12)
    assert found.sortino is None  # no day lost


def test_trade_figures_of_five_trades() -> None:
    # By exit time: win 10, win 30, even 0, loss -20, win 5; gross is 1 more each, eaten by a fee of 1.
    pnl = ["10", "30", "0", "-20", "5"]
    closed = [
        trade(
            amount, trade_id=index, gross_pnl=Decimal(amount) + 1, fees=Decimal(1),
            side="short" if index == 3 else "long",
            exit_ts_ns=START_NS + (index + 1) * NS_PER_DAY, mae=Decimal(-index), mfe=Decimal(2 * index),
            mae_percent=-0.5 * index, mfe_percent=float(index), mae_r=-0.5 if index < 2 else None,
            mfe_r=1.5 if index == 0 else None, bars_held=index,
            exit_reason="liquidation" if index == 3 else "order",
        )
        for index, amount in enumerate(pnl)
    ]  # fmt: skip
    # Handed over in reverse: runs are counted by exit time all the same.
    found = metrics(curve([1005, 1010, 1015, 1020, 1025]), closed[::-1], initial_cash=CASH)
    figures = found.trades
    assert (figures.count, figures.wins, figures.losses, figures.breakevens) == (5, 3, 1, 1)
    assert figures.win_rate == 3 / 5
    assert (figures.gross_profit, figures.gross_loss, figures.net_pnl) == tuple(map(Decimal, (45, 20, 25)))
    assert figures.profit_factor == 45 / 20
    assert figures.profit_factor_percent == 45 / 20  # entry notional 100: a percent is a unit
    assert figures.expectancy == Decimal(5)
    assert figures.expectancy_percent == 5.0
    # (1.1 * 1.3 * 1 * 0.8 * 1.05)^(1/5) - 1
    assert figures.average_percent_geometric == pytest.approx(100 * (1.2012**0.2 - 1), rel=1e-12)
    assert (figures.best, figures.worst) == (Decimal(30), Decimal(-20))
    assert (figures.best_percent, figures.worst_percent) == (30.0, -20.0)
    assert (figures.average_win, figures.average_loss) == (Decimal(15), Decimal(-20))
    assert figures.payoff_ratio == 15 / 20
    assert (figures.longest_winning_run, figures.longest_losing_run) == (2, 1)
    assert (figures.mae_average, figures.mfe_average) == (Decimal(-2), Decimal(4))  # mean of 0..4 is 2
    assert (figures.mae_average_percent, figures.mfe_average_percent) == (-1.0, 2.0)
    assert (figures.mae_average_r, figures.mfe_average_r) == (-0.5, 1.5)  # over those that knew it
    assert figures.bars_held_average == 2.0
    assert figures.duration_average_seconds == 3 * 86_400  # mean of 1..5 days
    assert figures.duration_max_seconds == 5 * 86_400
    assert figures.liquidations == 1
    assert figures.trades_per_day == 1.0
    assert (found.long.count, found.short.count) == (4, 1)
    assert found.short.net_pnl == -20
    assert found.costs == CostFigures(fees=Decimal(5), funding=Decimal(0), slippage=None)


def test_averages_of_money_round_once_half_to_even() -> None:
    # A unit over two trades is half a unit: to even, 0. Three over two is one and a half: to even, 2.
    for pnl, expected in ((["0.00000001", "0"], "0E-8"), (["0.00000003", "0"], "2E-8")):
        figures = metrics(curve([1000]), [trade(amount) for amount in pnl], initial_cash=CASH).trades
        assert str(figures.expectancy) == expected


def test_time_in_market_counts_overlaps_once_and_open_positions_to_the_end() -> None:
    def held(begin: float, end: float) -> Trade:
        return trade(entry_ts_ns=START_NS + round(begin * NS_PER_DAY), exit_ts_ns=START_NS + round(end * NS_PER_DAY))

    ten_days = curve([1000.0] * 10)
    overlapping = [held(1, 3), held(2, 4), held(2.5, 2.75), held(6, 7)]
    # 1..4 and 6..7 of ten days.
    assert metrics(ten_days, overlapping, initial_cash=CASH).exposure.time_in_market == 0.4
    # The open one adds 8..10.
    still_open = [START_NS + 8 * NS_PER_DAY]
    found = metrics(ten_days, overlapping, initial_cash=CASH, open_since_ns=still_open)
    assert found.exposure.time_in_market == pytest.approx(0.6)


def test_exposure_figures() -> None:
    # Notional 0, 500, 2000 on equity 1000, 1000, 800: leverage 2.5 at the last bar; margin is half.
    found = metrics(curve([1000, 1000, 800], exposure=[0, 500, 2000]), [], initial_cash=CASH).exposure
    assert found.exposure_max == 2000
    assert found.margin_max == 1000
    assert found.leverage_max == 2.5
    assert found.exposure_average == Decimal("833.33333333")


def test_sums_of_columns_do_not_wrap() -> None:
    # Four times 2^62 is 2^64, which int64 would make 0.
    assert money.column_sum(np.full(4, 2**62, dtype=np.int64)) == 2**64
    assert money.column_sum(np.array([-(2**63), -1, 5])) == -(2**63) + 4


def test_buy_and_hold() -> None:
    found = metrics(curve([1000, 1000]), [], initial_cash=CASH, closes=np.array([50.0, 40.0, 60.0]))
    assert found.equity.buy_and_hold_return == 0.2


def test_costs_of_the_ledger_win_over_those_of_the_trades() -> None:
    ledger = CostFigures(fees=Decimal("1.5"), funding=Decimal("-0.5"), slippage=Decimal(2))
    found = metrics(curve([1010]), [trade(), trade()], initial_cash=CASH, costs=ledger).costs
    # 1.5 - 0.5 + 2 = 3 for two trades; the account won 10 net, so 13 without costs.
    assert found == msgspec.structs.replace(
        ledger, total=Decimal(3), total_per_trade=Decimal("1.5"), share_of_gross=3 / 13
    )
    lost = metrics(curve([997]), [], initial_cash=CASH, costs=ledger).costs
    assert (lost.total, lost.total_per_trade, lost.share_of_gross) == (Decimal(3), None, None)


# --- undefined is null ---


def nulls(found: Metrics, group: str) -> set[str]:
    values = getattr(found, group)
    return {name for name in values.__struct_fields__ if getattr(values, name) is None}


ANNUALISED = {"cagr", "volatility", "sharpe", "sortino", "calmar"}


def test_no_trades_leave_no_averages() -> None:
    found = metrics(curve([1000.0] * 40), [], initial_cash=CASH)
    values = {name for name in found.trades.__struct_fields__ if getattr(found.trades, name) is not None}
    assert values == {
        "count", "wins", "losses", "breakevens", "net_pnl", "gross_profit", "gross_loss",
        "longest_winning_run",
        "longest_losing_run", "liquidations", "trades_per_day",
    }  # fmt: skip
    assert found.exposure.time_in_market == 0.0


def test_only_wins_leave_no_factor_and_no_loss() -> None:
    found = metrics(curve([1000.0]), [trade("3"), trade("4")], initial_cash=CASH)
    assert nulls(found, "trades") == {
        "profit_factor", "profit_factor_percent", "average_loss", "payoff_ratio", "mae_average_r",
        "mfe_average_r",
    }  # fmt: skip


def test_a_total_loss_leaves_no_geometric_average() -> None:
    # 1 - 100 % is 0: its logarithm does not exist.
    found = metrics(curve([1000.0]), [trade("3"), trade("-100")], initial_cash=CASH)
    assert found.trades.average_percent_geometric is None
    assert found.trades.expectancy_percent == -48.5


def test_constant_equity_has_volatility_0_and_no_ratios() -> None:
    found = metrics(curve([1000.0] * 40), [], initial_cash=CASH)
    assert nulls(found, "equity") == {"sharpe", "sortino", "calmar", "buy_and_hold_return"}
    assert (found.equity.volatility, found.equity.cagr, found.equity.max_drawdown) == (0.0, 0.0, 0.0)


def test_constant_growth_has_no_sharpe_whatever_rounding_leaves() -> None:
    # A tenth a day: 100/1000, 110/1100, 121/1210 are the same float, but a third of their sum is not.
    found = metrics(curve([1100, 1210, 1331]), [], initial_cash=CASH, annualise_short=True).equity
    assert (found.volatility, found.sharpe, found.sortino) == (0.0, None, None)


def test_nothing_is_annualised_under_thirty_days_unless_asked() -> None:
    wave = [1000.0 + (-1) ** day * day for day in range(1, 31)]
    assert nulls(metrics(curve(wave[:29]), [], initial_cash=CASH), "equity") >= ANNUALISED
    assert not nulls(metrics(curve(wave), [], initial_cash=CASH), "equity") & ANNUALISED
    assert not nulls(metrics(curve(wave[:29]), [], initial_cash=CASH, annualise_short=True), "equity") & ANNUALISED


@pytest.mark.parametrize("last", [0.0, -100.0])
def test_equity_at_or_below_zero_bears_no_ratio(last: float) -> None:
    ruined = curve([1000.0] * 39 + [last], exposure=[100.0] * 40)
    found = metrics(ruined, [], initial_cash=CASH)
    assert nulls(found, "equity") == ANNUALISED | {"buy_and_hold_return"}
    assert found.equity.max_drawdown == 1 - last / 1000  # debts are deeper than 100 %
    assert found.equity.total_return == last / 1000 - 1
    assert found.exposure.leverage_max is None  # 100 held on nothing


def test_no_bars() -> None:
    found = metrics(curve([]), [], initial_cash=CASH)
    assert (found.span.bars, found.span.days, found.span.start_time) == (0, 0.0, found.span.end_time)
    assert (found.equity.final, found.equity.peak) == (CASH, CASH)
    assert found.equity.total_return is None
    assert len(nulls(found, "exposure")) == 9
    assert found.trades.trades_per_day is None
    json.dumps(as_json(found), allow_nan=False)


def test_growth_past_the_greatest_float_is_null() -> None:
    # 1000-fold in one second: 1000^31,536,000.
    assert growth_a_year(1, 1000, NS_PER_SECOND) is None


def test_cash_finer_than_its_decimals_is_refused() -> None:
    with pytest.raises(CapacityError, match="more than 8 decimals"):
        metrics(curve([1000.0]), [], initial_cash=Decimal("1000.000000001"))


# --- the table of definitions ---


def test_every_figure_is_defined_once_and_nothing_else_is() -> None:
    found = as_json(metrics(curve([1000.0]), [], initial_cash=CASH))
    assert {group: list(names) for group, names in definitions().items()} == {
        group: list(names) for group, names in found.items()
    }
    assert len({(figure.group, figure.name) for figure in FIGURES}) == len(FIGURES)
    assert set(TRADE_GROUPS) <= set(found)


def test_units_of_the_table_fit_the_values() -> None:
    closed = [trade("5", mae_r=-1.0, mfe_r=1.0), trade("-4")]
    wave = [1000.0 + (-1) ** day * day for day in range(1, 41)]
    found = as_json(
        metrics(curve(wave), closed, initial_cash=CASH, closes=np.ones(2),
                costs=CostFigures(Decimal(0), Decimal(0), Decimal(0), Decimal(0)))
    )  # fmt: skip
    for figure in FIGURES:
        kind = {"money": str, "time": str, "count": int}.get(figure.unit, float)
        assert type(found[figure.group][figure.name]) is kind, figure.name


def test_the_document_holds_the_table() -> None:
    assert markdown_table() in (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")


def test_json_writes_money_in_plain_digits() -> None:
    found = as_json(metrics(curve([1000.0]), [trade("0.00000001"), trade("-0.00000001")], initial_cash=CASH))
    assert found["trades"]["best"] == "0.00000001"
    assert found["trades"]["expectancy"] == "0.00000000"
    assert found["equity"]["initial"] == "1000.00000000"
    assert money.money_text(Decimal("-0.000000001"), 8) == "0.00000000"
    assert money.money_text(Decimal("1E+3"), 2) == "1000.00"


def test_utc_text() -> None:
    # The example of the results folder: 2025-01-16 14:30:25.
    stamp = datetime(2025, 1, 16, 14, 30, 25, tzinfo=UTC)
    assert utc_text(int(stamp.timestamp()) * NS_PER_SECOND + 7_999_999) == "2025-01-16T14:30:25.007Z"


# --- pandas ---


@pytest.mark.parametrize("seed", range(5))
def test_ratios_equal_those_of_pandas(seed: int) -> None:
    import pandas  # noqa: PLC0415 - half a second, for this test only

    random = np.random.default_rng(seed)
    rows = 5_000
    minutes = np.cumsum(random.choice([15, 30, 3_000], size=rows, p=[0.6, 0.39, 0.01]))
    equity = (1_000 * np.exp(np.cumsum(random.normal(0, 0.003, rows))) * UNIT).astype(np.int64)
    walk = EquityCurve(
        start_ns=START_NS, ts_ns=START_NS + minutes * MINUTE_NS, equity=equity,
        exposure=np.zeros(rows, dtype=np.int64), margin=np.zeros(rows, dtype=np.int64),
    )  # fmt: skip
    found = metrics(walk, [], initial_cash=CASH).equity

    times = pandas.to_datetime(np.append(START_NS, walk.ts_ns), unit="ns")
    series = pandas.Series(np.append(1_000 * UNIT, equity).astype(float), index=times)
    returns = series.resample("D", closed="right", label="left").last().ffill().pct_change().dropna()
    assert found.sharpe == pytest.approx(returns.mean() / returns.std() * math.sqrt(365), rel=1e-9)
    assert found.volatility == pytest.approx(returns.std() * math.sqrt(365), rel=1e-9)
    downside = math.sqrt((returns.clip(upper=0) ** 2).sum() / len(returns))
    assert found.sortino == pytest.approx(returns.mean() / downside * math.sqrt(365), rel=1e-9)
    assert found.max_drawdown == pytest.approx((1 - series / series.cummax()).max(), rel=1e-12)
    assert found.max_drawdown_money == Decimal(int((series.cummax() - series).max())).scaleb(-8)
    span = (times[-1] - times[0]) / pandas.Timedelta(days=365)
    assert found.cagr == pytest.approx((series.iloc[-1] / series.iloc[0]) ** (1 / span) - 1, rel=1e-12)
    stretches = (series == series.cummax()).cumsum()
    # A stretch ends at the bar that regains the peak, which begins the next one.
    begun = [part.index[0] for _, part in series.groupby(stretches)]
    whole = [
        (after if len(part) > 1 else part.index[0]) - part.index[0]
        for (_, part), after in zip(series.groupby(stretches), [*begun[1:], times[-1]], strict=True)
    ]
    assert found.max_drawdown_duration_seconds == max(whole).total_seconds()


# --- other packages on real data ---


def golden(name: str) -> Path:
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"real data is absent: {path.name} under ../shared/data/golden")
    return path


def sma_cross_by_hand() -> tuple[EquityCurve, list[Trade], list[float]]:
    """Replay the SMA cross on GOOG in plain Python from the rules in words: whole cents, so exact.

    Rules: SMA(10) and SMA(30) of close; a cross up closes and buys, a cross down closes and sells, at the
    next open, floor(0.9999 * equity / price) units; the last trade is closed at the open of the last bar.
    """
    with golden("backtestingpy_GOOG.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    day_ns = [int(datetime.fromisoformat(row[""]).replace(tzinfo=UTC).timestamp()) * NS_PER_SECOND for row in rows]
    opens = [Decimal(row["Open"]) for row in rows]
    closes = [Decimal(row["Close"]) for row in rows]

    def above(bar: int) -> bool:
        return sum(closes[bar - 9 : bar + 1]) * 3 > sum(closes[bar - 29 : bar + 1])

    cash, size, entry, entered = Decimal(10_000), 0, Decimal(0), 0
    wanted = 0
    trades: list[Trade] = []
    equity: list[Decimal] = []
    for bar in range(len(rows)):
        last = bar == len(rows) - 1
        if wanted or last:
            if size:
                pnl = size * (opens[bar] - entry)
                cash += pnl
                trades.append(
                    trade(
                        str(pnl), trade_id=len(trades), side="long" if size > 0 else "short",
                        pnl_percent=float(pnl / (abs(size) * entry) * 100), entry_ts_ns=day_ns[entered],
                        exit_ts_ns=day_ns[bar], bars_held=bar - entered,
                    )
                )  # fmt: skip
                size = 0
            if wanted and not last:
                size = wanted * int(Decimal("0.9999") * cash / opens[bar])
                entry, entered = opens[bar], bar
        equity.append(cash + size * (closes[bar] - entry))
        wanted = 0
        if bar >= 30 and above(bar) != above(bar - 1):
            wanted = 1 if above(bar) else -1
    units = np.array([int(value * UNIT) for value in equity], dtype=np.int64)
    nothing = np.zeros(len(rows), dtype=np.int64)
    return (
        EquityCurve(day_ns[0], np.array(day_ns, dtype=np.int64) + NS_PER_DAY, units, nothing, nothing),
        trades,
        [float(value) for value in closes],
    )


@pytest.mark.real_data
def test_backtesting_py_prints_the_same_for_goog() -> None:
    # Only what shares a definition: its Sharpe, Sortino and CAGR are on other calendars.
    path = golden("backtestingpy_GOOG_SmaCross.expected.json")
    expected = json.loads(path.read_text(encoding="utf-8"))["expected"]
    equity, closed, closes = sma_cross_by_hand()
    # Its buy-and-hold starts where the indicators do: the 30th bar.
    found = metrics(equity, closed, initial_cash=Decimal(10_000), closes=np.array(closes[29:]))
    assert found.trades.count == expected["# Trades"]
    assert found.equity.final == Decimal("51422.99")  # "Equity Final [$]", to the cent
    assert found.equity.net_profit == found.trades.net_pnl
    seconds = {"584 days": 584 * 86_400.0, "183 days": 183 * 86_400.0}
    pairs = [
        (float(found.equity.peak), expected["Equity Peak [$]"]),
        (100 * (found.equity.total_return or 0), expected["Return [%]"]),
        (100 * (found.equity.buy_and_hold_return or 0), expected["Buy & Hold Return [%]"]),
        (-100 * (found.equity.max_drawdown or 0), expected["Max. Drawdown [%]"]),
        (found.equity.max_drawdown_duration_seconds, seconds[expected["Max. Drawdown Duration"]]),
        (100 * (found.trades.win_rate or 0), expected["Win Rate [%]"]),
        (found.trades.best_percent, expected["Best Trade [%]"]),
        (found.trades.worst_percent, expected["Worst Trade [%]"]),
        (found.trades.average_percent_geometric, expected["Avg. Trade [%]"]),
        (found.trades.duration_max_seconds, seconds[expected["Max. Trade Duration"]]),
        (found.trades.profit_factor_percent, expected["Profit Factor"]),
        (found.trades.expectancy_percent, expected["Expectancy [%]"]),
    ]
    for mine, theirs in pairs:
        assert mine == pytest.approx(theirs, rel=1e-10)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ours", "hibou", "abeille"])
def test_freqtrade_prints_the_same_for_its_futures_runs(name: str) -> None:
    path = golden(f"freqtrade_2022Q4_{name}.result.json")
    (expected,) = json.loads(path.read_text(encoding="utf-8"))["strategy"].values()
    # Its drawdown is on the balance at each trade's close: feed that as the curve. Money has 8 decimals.
    cash = Decimal(str(expected["starting_balance"]))
    rows = sorted(expected["trades"], key=lambda row: row["close_timestamp"])
    profits = [Decimal(f"{row['profit_abs']:.8f}") for row in rows]
    balances = np.cumsum([int((cash if index == 0 else 0) * UNIT) + int(profit * UNIT)
                          for index, profit in enumerate(profits)])  # fmt: skip
    closed = [
        trade(
            str(profit), trade_id=index, side="short" if row["is_short"] else "long",
            pnl_percent=100 * row["profit_ratio"], entry_ts_ns=row["open_timestamp"] * 10**6,
            exit_ts_ns=row["close_timestamp"] * 10**6,
        )
        for index, (row, profit) in enumerate(zip(rows, profits, strict=True))
    ]  # fmt: skip
    nothing = np.zeros(len(rows), dtype=np.int64)
    times = np.array([row["close_timestamp"] * 10**6 for row in rows], dtype=np.int64)
    equity = EquityCurve(expected["backtest_start_ts"] * 10**6, times, balances, nothing, nothing)
    found = metrics(equity, closed, initial_cash=cash)
    figures = found.trades
    assert (figures.count, figures.wins, figures.losses, figures.breakevens) == (
        expected["total_trades"], expected["wins"], expected["losses"], expected["draws"],
    )  # fmt: skip
    assert (found.long.count, found.short.count) == (
        expected["trade_count_long"],
        expected["trade_count_short"],
    )
    days_ns = expected["backtest_days"] * NS_PER_DAY
    pairs = [
        (float(figures.net_pnl), expected["profit_total_abs"]),
        (float(found.short.net_pnl), expected["profit_total_short_abs"]),
        (found.equity.total_return, expected["profit_total"]),
        (figures.profit_factor, expected["profit_factor"]),
        (figures.expectancy_percent, 100 * expected["profit_mean"]),
        (float(found.equity.max_drawdown_money or 0), expected["max_drawdown_abs"]),
        (found.equity.max_drawdown, expected["max_relative_drawdown"]),
        # Its CAGR is on whole days.
        (growth_a_year(int(cash * UNIT), int(balances[-1]), days_ns), expected["cagr"]),
    ]
    for mine, theirs in pairs:
        assert mine == pytest.approx(theirs, rel=1e-7)
    assert figures.duration_average_seconds == pytest.approx(expected["holding_avg_s"], abs=60)  # whole minutes
