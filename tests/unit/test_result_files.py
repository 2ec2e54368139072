"""Result files read back, their names, their failures; and the printed summary."""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars
import pytest

from adapters.result_files import results_folder, write_columns, write_equity, write_results, write_trades
from adapters.summary import NULL, RunFacts, summary_text
from engine.bars import NS_PER_SECOND
from engine.errors import UsageError
from engine.figures.equity import EquityCurve
from engine.figures.metrics import Metrics, metrics
from engine.figures.trades import Trade

UNIT = 10**8
HOUR_NS = 3_600 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01 00:00 UTC
STAMP = datetime(2025, 1, 16, 14, 30, 25, tzinfo=UTC)
WINNER = Trade(
    trade_id=1, strategy="ema, cross", symbol="BTCUSDT", side="long", entry_ts_ns=START_NS + HOUR_NS,
    exit_ts_ns=START_NS + 3 * HOUR_NS + 500_000_000, entry_price=100.0, exit_price=110.5, size=Decimal("0.5"),
    gross_pnl=Decimal("5.25"), fees=Decimal("0.10000001"), funding=Decimal("-0.00000001"),
    pnl=Decimal("5.15"),
    pnl_percent=10.3, mae=Decimal(-1), mfe=Decimal("6.5"), mae_percent=-2.0, mfe_percent=13.0, mae_r=None,
    mfe_r=None, bars_held=2, fills=3, exit_reason="order",
)  # fmt: skip
LOSER = msgspec.structs.replace(
    WINNER, trade_id=2, side="short", pnl=Decimal("-2.5"), pnl_percent=-5.0, funding=Decimal("1E-8"),
    mae_r=-1.25, mfe_r=0.5, exit_reason="liquidation",
)  # fmt: skip


def curve(equity: list[float]) -> EquityCurve:
    """Make a curve of hourly bars with half of the equity at stake."""
    units = np.array([round(value * UNIT) for value in equity], dtype=np.int64)
    times = START_NS + HOUR_NS * np.arange(1, len(equity) + 1, dtype=np.int64)
    return EquityCurve(START_NS, times, units, units // 2, units // 4)


def run_metrics(equity: list[float], trades: list[Trade]) -> Metrics:
    return metrics(curve(equity), trades, initial_cash=Decimal(1_000))


# --- files ---


def test_write_results_writes_three_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    found = run_metrics([1000, 1005.15], [WINNER])
    run = {"symbol": "BTCUSDT", "leverage": Decimal("1.5"), "none": None, "nan": float("nan"), "at": STAMP}
    written = write_results(tmp_path, trades=[WINNER], equity=curve([1000, 1005.15]), metrics=found, run=run)
    assert [path.name for path in written] == ["trades.csv", "equity.parquet", "metrics.json"]
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_metrics_json_holds_facts_figures_and_definitions(tmp_path: Path) -> None:
    found = run_metrics([1000, 1005.15], [WINNER])
    run = {"symbol": "BTCUSDT", "leverage": Decimal("1.5"), "nan": float("nan"), "folder": tmp_path}
    write_results(tmp_path, trades=[WINNER], equity=curve([1000, 1005.15]), metrics=found, run=run)
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are not JSON
    assert document["run"] == {"symbol": "BTCUSDT", "leverage": "1.5", "nan": None, "folder": str(tmp_path)}
    assert document["cash_decimals"] == 8
    assert document["figures"]["equity"]["final"] == "1005.15000000"
    assert document["figures"]["equity"]["sharpe"] is None  # two hours are not annualised
    assert document["figures"]["trades"]["count"] == 1
    assert "risk-free rate 0" in document["definitions"]["equity"]["sharpe"]
    for group, names in document["figures"].items():
        assert names.keys() == document["definitions"][group].keys()


def test_metrics_json_is_the_same_twice(tmp_path: Path) -> None:
    found = run_metrics([1000, 990, 1005.15], [WINNER, LOSER])
    texts = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths = write_results(
            tmp_path / name, trades=[WINNER, LOSER], equity=curve([1000, 990, 1005.15]), metrics=found, run={}
        )
        texts.add(tuple(path.read_bytes() for path in paths))
    assert len(texts) == 1


def test_trades_csv(tmp_path: Path) -> None:
    with write_trades(tmp_path / "trades.csv", [WINNER, LOSER]).open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "trade_id": "1", "strategy": "ema, cross", "symbol": "BTCUSDT", "side": "long",
        "entry_time": "2022-01-01T01:00:00.000Z", "exit_time": "2022-01-01T03:00:00.500Z",
        "entry_price": "100.0", "exit_price": "110.5", "size": "0.5", "gross_pnl": "5.25",
        "fees": "0.10000001",
        "funding": "-0.00000001", "pnl": "5.15", "pnl_percent": "10.3", "mae": "-1", "mfe": "6.5",
        "mae_percent": "-2.0", "mfe_percent": "13.0", "bars_held": "2", "duration_seconds": "7200.5",
        "exit_reason": "order", "mae_r": "", "mfe_r": "", "fills": "3",
    }  # fmt: skip
    assert (second["funding"], second["mae_r"], second["mfe_r"]) == ("0.00000001", "-1.25", "0.5")


def test_trades_csv_floats_read_back_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(0, 10.0 ** np.arange(-9, 9)).tolist()
    trades = [msgspec.structs.replace(WINNER, pnl_percent=value) for value in values]
    with write_trades(tmp_path / "trades.csv", trades).open(encoding="utf-8", newline="") as file:
        assert [float(row["pnl_percent"]) for row in csv.DictReader(file)] == values


def test_trades_csv_without_trades_has_its_header(tmp_path: Path) -> None:
    lines = write_trades(tmp_path / "trades.csv", []).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("trade_id,strategy,symbol,side,entry_time,exit_time,entry_price")


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_equity_parquet(tmp_path: Path, rows: int) -> None:
    equity = curve([1100, 880, 968.00000001][:rows])
    frame = polars.read_parquet(write_equity(tmp_path / "equity.parquet", equity, Decimal(1_000)))
    assert frame.schema == {
        "ts": polars.Int64, "equity": polars.Float64, "exposure": polars.Float64, "margin": polars.Float64,
        "drawdown": polars.Float64, "equity_units": polars.Int64,
    }  # fmt: skip
    assert frame["ts"].to_list() == [1_640_995_200_000 + 3_600_000 * (row + 1) for row in range(rows)]
    assert frame["equity"].to_list() == [1100.0, 880.0, 968.00000001][:rows]
    assert frame["equity_units"].to_list() == equity.equity.tolist()
    # 880 and 968 below the peak of 1100.
    assert frame["drawdown"].to_list() == pytest.approx([0.0, 0.2, 0.12][:rows])


def test_write_columns_takes_arrays_and_lists(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"seq": np.arange(3, dtype=np.int64), "note": ["a", None, "c"]}
    frame = polars.read_parquet(write_columns(tmp_path / "run_log.parquet", columns))
    assert frame.to_dict(as_series=False) == {"seq": [0, 1, 2], "note": ["a", None, "c"]}
    with pytest.raises(AssertionError, match=r"fills\.parquet: columns differ"):
        write_columns(tmp_path / "fills.parquet", {"a": [1], "b": [1, 2]})


def test_an_older_file_is_replaced_whole(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades.csv", [WINNER, LOSER])
    write_trades(tmp_path / "trades.csv", [])
    assert (tmp_path / "trades.csv").read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.parametrize("place", ["absent/trades.csv", "file/trades.csv", "file/equity.parquet"])
def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")

    def write(path: Path) -> Path:
        return write_trades(path, [WINNER]) if path.suffix == ".csv" else write_columns(path, {"a": [1]})

    with pytest.raises(UsageError) as caught:
        write(tmp_path / place)
    assert str(tmp_path / place) in str(caught.value)
    assert "a folder you may write to" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where others may not")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            write_trades(tmp_path / "trades.csv", [WINNER])
    finally:
        tmp_path.chmod(0o700)


# --- the folder's name ---


def test_results_folder_is_named_as_the_documents_name_it(tmp_path: Path) -> None:
    folder = results_folder(tmp_path, "BTCUSDT", "ema_cross_fixed_tp_sl", STAMP)
    assert folder == tmp_path / "results" / "BTCUSDT_ema_cross_fixed_tp_sl_20250116_143025"
    assert folder.is_dir()


def test_a_second_run_in_the_same_second_gets_the_next_number(tmp_path: Path) -> None:
    names = [results_folder(tmp_path, "BTCUSDT", "x", STAMP).name for _ in range(3)]
    stem = "BTCUSDT_x_20250116_143025"
    assert names == [stem, f"{stem}_2", f"{stem}_3"]


@pytest.mark.parametrize(
    ("symbol", "strategy", "name"),
    [
        ("BTC/USDT:USDT", "ema cross", "BTC_USDT_USDT_ema_cross"),
        ("../../etc", "..", "etc_unnamed"),
        ("", "a\nb", "unnamed_a_b"),
        ("X" * 500, "é" * 500, "X" * 100 + "_" + "é" * 50),  # 100 bytes each: é takes two
    ],
)
def test_names_that_files_cannot_bear(tmp_path: Path, symbol: str, strategy: str, name: str) -> None:
    folder = results_folder(tmp_path, symbol, strategy, STAMP)
    assert folder == tmp_path / "results" / f"{name}_20250116_143025"


def test_stamps_are_written_in_utc(tmp_path: Path) -> None:
    tokyo = STAMP.astimezone(timezone(timedelta(hours=9)))
    assert results_folder(tmp_path, "A", "b", tokyo).name == "A_b_20250116_143025"


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(UsageError, match="home"):
        results_folder(tmp_path / "home", "A", "b", STAMP)


# --- the printed summary ---


FACTS = RunFacts("BTCUSDT", "ema_cross", "1h", "close_to_open", ambiguous_bars=12, run_hash="9f86d081884c7d65" * 4)


def lines_of(text: str) -> dict[str, str]:
    """Label → what follows it; labels are padded by at least two spaces."""
    parts = [line.strip().split("  ", 1) for line in text.splitlines()]
    return {part[0]: part[1].strip() for part in parts if len(part) == 2}


def test_summary_of_a_losing_run() -> None:
    text = summary_text([(FACTS, run_metrics([1100, 880, 968], [WINNER, LOSER]))])
    found = lines_of(text)
    assert "\x1b" not in text
    assert found["Span"] == "2022-01-01 to 2022-01-01"
    assert found["Bars"] == "3 x 1h"
    assert found["Trades"] == "2 (1 long, 1 short)"
    assert found["Win rate"] == "50.00%"
    assert found["Return"] == "-3.20%"  # 968 of 1000
    assert found["Final equity"] == "968.00"
    assert found["Max drawdown"] == "-20.00%"  # 880 of 1100
    assert found["Sharpe"] == NULL
    assert found["Profit factor"] == "2.06"  # 5.15 won, 2.5 lost
    assert found["Expectancy"] == "+1.32"  # 2.65 over two is 1.325: half to even
    assert found["Ambiguous bars"] == "12"
    assert found["Hash"] == "9f86d081884c7d65"


def test_summary_without_trades_shows_dashes_not_zeros() -> None:
    found = lines_of(summary_text([(FACTS, run_metrics([1000, 1000], []))]))
    for label in ("Win rate", "Profit factor", "Expectancy", "Sharpe", "Sortino", "Buy and hold"):
        assert found[label] == NULL
    assert found["Max drawdown"] == "0.00%"


def test_summary_colours_gains_green_and_losses_red() -> None:
    red, green = "\x1b[31m", "\x1b[32m"
    losing = summary_text([(FACTS, run_metrics([900], [LOSER]))], colour=True).splitlines()
    gaining = summary_text([(FACTS, run_metrics([1100], [WINNER]))], colour=True).splitlines()
    for label in ("Return", "Final equity", "Expectancy"):
        assert any(label in line and red in line for line in losing)
        assert any(label in line and green in line for line in gaining)
    assert any("Max drawdown" in line and red in line for line in losing)
    # 5.15 won and 7.50 lost: a factor below 1 loses.
    mixed = summary_text([(FACTS, run_metrics([900], [WINNER, LOSER, LOSER, LOSER]))], colour=True)
    assert any("Profit factor" in line and red in line for line in mixed.splitlines())
    assert not any("Fees" in line and "\x1b[3" in line for line in losing + gaining)


def test_summary_of_several_symbols_is_a_column_each_and_fits() -> None:
    other = msgspec.structs.replace(FACTS, symbol="[red]ETH/USDT", ambiguous_bars=None)
    text = summary_text([(FACTS, run_metrics([900], [LOSER])), (other, run_metrics([1100], [WINNER]))], width=80)
    assert "BTCUSDT" in text
    assert "[red]ETH/USDT" in text  # names are text, never markup
    assert lines_of(text)["Ambiguous bars"].split() == ["12", NULL]
    assert max(map(len, text.splitlines())) <= 80
