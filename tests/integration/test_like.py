"""Figures by other packages' definitions against the packages themselves, on the same equity and trades.

The packages are installed from the package index into an environment of their own: none of them is a dependency.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.bar_import import import_bars
from config.loader import load
from daemon.app import backtest
from engine.bars import NS_PER_DAY, NS_PER_SECOND
from engine.errors import UsageError
from engine.figures.equity import EquityCurve
from engine.figures.like import PACKAGES, check_like, like_figures, like_input
from engine.figures.like_input import LikeInput
from engine.figures.steps import trade_steps
from engine.figures.trades import Trade

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SCRIPT = Path(__file__).parents[1] / "package_figures.py"
HOUR_NS = 3_600 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01 00:00 UTC, a Saturday
CASH = 10_000
# backtesting.py shows no commissions of trades that are handed to it; the rest are sums and counts that freqtrade makes
# in a module that cannot be loaded without an exchange library and a database.
UNCHECKED = {
    "quantstats": set(),
    "backtesting.py": {"Commissions [$]"},
    "freqtrade": {
        "total_trades", "trade_count_long", "trade_count_short", "wins", "losses", "draws", "winrate", "profit_mean",
        "profit_median", "profit_total", "profit_total_abs", "profit_total_long", "profit_total_long_abs",
        "profit_total_short", "profit_total_short_abs", "profit_factor", "backtest_days", "trades_per_day",
    },
}  # fmt: skip
# Where no drawdown lasts longer than a bar, backtesting.py shows its depth where the duration stands.
DEPTH_FOR_DURATION = {
    ("two days", "backtesting.py", "Max. Drawdown Duration"),
    ("two days", "backtesting.py", "Avg. Drawdown Duration"),
}


@pytest.fixture(scope="session")
def python_of_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the packages, in the versions whose definitions are written out."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is absent, which would install the packages to compare with")
    folder = tmp_path_factory.mktemp("packages") / "environment"
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    python = folder / "bin" / "python"
    freqtrade = f"freqtrade=={PACKAGES['freqtrade'].version}"
    others = [f"quantstats=={PACKAGES['quantstats'].version}", f"backtesting=={PACKAGES['backtesting.py'].version}"]
    pinned = ["pandas==3.1.1", "numpy==2.4.6", "scipy==1.17.1"]
    for command in (
        [uv, "venv", "--no-project", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(python), *others, *pinned],
        [uv, "pip", "install", "--python", str(python), "--no-deps", freqtrade],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the packages to compare with cannot be installed: {done.stderr.strip()[-200:]}")
    return python


def trades_on(
    values: np.ndarray[Any, np.dtype[np.float64]], bar_ns: int, pnl: list[float]
) -> tuple[list[Trade], Any, Any]:
    """Trades of these profits, spread over the bars; every third is short."""
    rows = len(values)
    entries = np.linspace(0, rows - 1, len(pnl), dtype=np.int64) if pnl else np.zeros(0, dtype=np.int64)
    exits = np.minimum(entries + 1 + np.arange(len(pnl)) % 5, rows - 1)
    trades = [
        Trade(
            trade_id=number + 1, strategy="s", symbol="A", side="short" if number % 3 == 0 else "long",
            entry_ts_ns=START_NS + int(entry) * bar_ns, exit_ts_ns=START_NS + (int(exit_) + 1) * bar_ns,
            entry_price=100.0, exit_price=100.0, size=Decimal(1), gross_pnl=Decimal(str(amount)), fees=Decimal(0),
            funding=Decimal(0), pnl=Decimal(str(amount)), pnl_percent=amount / (50 + number % 7), mae=Decimal(0),
            mfe=Decimal(0), mae_percent=0.0, mfe_percent=0.0, mae_r=None, mfe_r=None, bars_held=1, fills=2,
            exit_reason="order",
        )
        for number, (amount, entry, exit_) in enumerate(zip(pnl, entries, exits, strict=True))
    ]  # fmt: skip
    return trades, entries, exits


def case(equity: list[float], bar_ns: int, pnl: list[float], *, skip_days: bool = False, seed: int = 0) -> LikeInput:
    """A run of bars with this equity and trades with these profits; `skip_days`: some days have no bar."""
    values = np.array(equity, dtype=np.float64)
    rows = np.arange(1, len(values) + 1, dtype=np.int64)
    if skip_days:
        rows += 3 * (rows // 7)
    units = np.rint(values * 1e8).astype(np.int64)
    nothing = np.zeros(len(values), dtype=np.int64)
    curve = EquityCurve(START_NS, START_NS + rows * bar_ns, units, nothing, nothing)
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(values))))
    trades, entries, exits = trades_on(values, bar_ns, pnl)
    found = like_input(
        curve, trades, initial_units=CASH * 10**8, bar_ns=bar_ns, closes=closes, entry_bars=entries, exit_bars=exits
    )
    assert found is not None
    return found


def walk(seed: int, rows: int, step: float, drift: float = 0.0) -> list[float]:
    steps = np.random.default_rng(seed).normal(drift, step, rows)
    return [round(value, 8) for value in (CASH * np.exp(np.cumsum(steps))).tolist()]


def profits(seed: int, count: int) -> list[float]:
    return [round(value, 2) for value in np.random.default_rng(seed).normal(1, 40, count).tolist()]


CASES = {
    "daily walk": case(walk(1, 400, 0.02), NS_PER_DAY, profits(1, 60)),
    "daily walk upward": case(walk(2, 300, 0.01, 0.003), NS_PER_DAY, profits(2, 45)),
    "hourly walk": case(walk(3, 24 * 90, 0.004), HOUR_NS, profits(3, 200)),
    "quarters of an hour": case(walk(4, 4 * 24 * 20, 0.002), HOUR_NS // 4, profits(4, 50)),
    "weekly walk": case(walk(5, 120, 0.03), 7 * NS_PER_DAY, profits(5, 20)),
    "days without bars": case(walk(6, 200, 0.02), NS_PER_DAY, profits(6, 30), skip_days=True),
    "flat days between": case(
        [round(CASH * (1.01 if (i // 9) % 2 else 0.995), 8) for i in range(150)], NS_PER_DAY, [3.5, -2.0]
    ),
    "flat throughout": case([CASH] * 90, NS_PER_DAY, []),
    "no trades": case(walk(7, 90, 0.01), NS_PER_DAY, []),
    "one trade": case(walk(8, 90, 0.01), NS_PER_DAY, [12.5]),
    "one losing trade": case(walk(9, 90, 0.01), NS_PER_DAY, [-12.5]),
    "all losers": case(
        [CASH - 3.0 * i - i % 3 for i in range(120)], NS_PER_DAY, [-round(1 + i % 4 + i / 7, 2) for i in range(30)]
    ),
    "all winners": case(
        [CASH + 3.0 * i + i % 3 for i in range(120)], NS_PER_DAY, [round(1 + i % 4 + i / 7, 2) for i in range(30)]
    ),
    "breakevens": case(walk(10, 60, 0.01), NS_PER_DAY, [0.0, 5.0, 0.0, -4.0, 0.0]),
    "two days": case([CASH + 10.0, CASH - 20.0], NS_PER_DAY, [-20.0]),
    "hours of one day": case(walk(11, 20, 0.01), HOUR_NS, [1.0, -2.0]),
}


def as_run(given: LikeInput) -> dict[str, Any]:
    return {
        "initial": given.initial,
        "equity": given.equity.tolist(),
        "daily": given.daily.tolist(),
        "open_ns": given.open_ns.tolist(),
        "closes": None if given.closes is None else given.closes.tolist(),
        "pnl": given.pnl.tolist(),
        "returns": given.returns.tolist(),
        "exit_ns": [trade.exit_ts_ns for trade in given.trades],
        "entry_bars": given.entry_bars.tolist(),
        "exit_bars": given.exit_bars.tolist(),
    }


def of_packages(python: Path, given: list[LikeInput]) -> list[dict[str, dict[str, Any]]]:
    done = subprocess.run(
        [str(python), str(SCRIPT)], input=json.dumps([as_run(each) for each in given]), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    found: list[dict[str, dict[str, Any]]] = json.loads(done.stdout)
    return found


def compare(name: str, given: LikeInput, expected: dict[str, dict[str, Any]]) -> list[str]:
    """What differs: package, figure, ours, theirs."""
    different = []
    for package, theirs in expected.items():
        ours = like_figures(package, given)
        assert theirs.keys() <= ours.keys(), theirs.keys() - ours.keys()
        if len(given.trades):
            assert ours.keys() - theirs.keys() <= UNCHECKED[package]
        for figure, value in theirs.items():
            mine = ours[figure]
            is_equal = mine is None if value is None else mine == pytest.approx(value, rel=1e-9, abs=1e-12)
            if (name, package, figure) in DEPTH_FOR_DURATION:
                assert (mine, value) == (None, pytest.approx(-theirs["Avg. Drawdown [%]"] / 100))
            elif not is_equal:
                different.append(f"{name}: {package} {figure}: {mine} here, {value} there")
    return different


def test_every_figure_equals_the_packages(python_of_packages: Path) -> None:
    found = of_packages(python_of_packages, list(CASES.values()))
    different = []
    for (name, given), expected in zip(CASES.items(), found, strict=True):
        different += compare(name, given, expected)
    assert not different, "\n".join(different)


@pytest.mark.real_data
def test_a_year_of_real_bars_equals_the_packages(python_of_packages: Path, tmp_path: Path) -> None:
    data = SHARED / "ohlcv" / "binance_spot_BTCUSDT_15m_2022.parquet"
    if not data.exists():
        pytest.skip(f"real data is absent: {data.name} under ../shared/data/ohlcv")
    import_bars(tmp_path, data, "BTCUSDT", "15m")
    config = tmp_path / "run.yaml"
    config.write_text(
        "symbols: [BTCUSDT]\ntimeframe: 15m\nstrategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 0.1}}\n"
        "initial_cash: 20000\ncommission_bps: 4\nslippage_bps: 2\n",
        encoding="utf-8",
    )
    report = backtest(tmp_path, load(config))
    assert len(report.trades) > 300
    steps = trade_steps(report.result, report.trades)
    assert steps is not None
    given = like_input(
        report.curve, report.trades, initial_units=20_000 * 10**8, bar_ns=HOUR_NS // 4, closes=report.bars[0].close,
        entry_bars=steps[0], exit_bars=steps[1],
    )  # fmt: skip
    assert given is not None
    # Market orders fill at the open of a bar: the bar of an entry is the one that opens then.
    assert given.open_ns[given.entry_bars].tolist() == [trade.entry_ts_ns for trade in given.trades]
    different = compare("BTCUSDT", given, of_packages(python_of_packages, [given])[0])
    assert not different, "\n".join(different)


def test_an_unknown_package_is_named_with_the_known() -> None:
    with pytest.raises(UsageError, match="vectorbt") as caught:
        check_like("vectorbt")
    assert "quantstats, backtesting.py, freqtrade" in caught.value.remedy


def test_a_run_without_bars_has_no_such_figures() -> None:
    assert like_figures("quantstats", None) == {}


def test_a_run_of_several_markets_has_none_to_compare_with() -> None:
    given = CASES["daily walk"]
    found = like_figures("backtesting.py", msgspec.structs.replace(given, closes=None))
    assert (found["Beta"], found["Alpha [%]"], found["Buy & Hold Return [%]"]) == (None, None, None)
    assert found["# Trades"] == 60
