"""Runs of several symbols through the command line: a folder and a journal for each, and how they fit together."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run
from engine.bars import Bars
from tests.reports import embedded

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ohlcv"
BARS = 20_160
LATE = 5_000  # bars that the second symbol begins later
CONFIG = """symbols: [ONE, TWO]
timeframe: 1m
strategy:
  entry: {name: ema_cross, params: {fast: 20, slow: 50}}
  exit: {name: fixed_tp_sl, params: {tp: 0.01, sl: 0.005}}
indicators: [sma_20, sma_5_15m, bbands_20_2_1m]
initial_cash: 100000
leverage: 10
commission_bps: 4
sizing: {type: fixed, value: 2}
funding: {enabled: true, rate: 0.0001}
"""
FIRST = ["timestamp", "symbol", "price", "entry_signal", "exit_signal", "in_position", "position_size"]
FIRST += ["capital", "drawdown"]


def _later(bars: Bars, first: int) -> Bars:
    columns = (bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.timeframe, *(column[first:].copy() for column in columns))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fortnight of minutes of one symbol, a part of it of another, and a config for both."""
    folder = tmp_path_factory.mktemp("home")
    path_of(folder, "ONE", "1m").parent.mkdir(parents=True)
    write_bars(path_of(folder, "ONE", "1m"), synthesize("ONE", "1m", BARS, 3))
    write_bars(path_of(folder, "TWO", "1m"), _later(synthesize("TWO", "1m", BARS, 4), LATE))
    (folder / "both.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def _backtest(home: Path, capsys: pytest.CaptureFixture[str], *settings: str) -> dict[str, Any]:
    assert run(["--home", str(home), "backtest", str(home / "both.yaml"), "--json", *settings]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def _run_json(home: Path) -> dict[str, Any]:
    """What a process of its own prints with `--json`."""
    command = [sys.executable, "-m", "daemon", "--home", home, "backtest", home / "both.yaml", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def both(home: Path) -> dict[str, Any]:
    """What the run of both symbols printed."""
    return _run_json(home)


def _journal(found: dict[str, Any], symbol: str) -> pl.DataFrame:
    return pl.read_parquet(found["journals"][symbol])


def _trades(folder: str) -> pl.DataFrame:
    return pl.read_csv(Path(folder) / "trades.csv", try_parse_dates=True)


def _folders(found: dict[str, Any]) -> dict[str, str]:
    return {result["symbol"]: result["folder"] for result in found["symbol_results"]}


def test_files_are_named_as_document_b_names_them(home: Path, both: dict[str, Any]) -> None:
    """One folder for the account, one for each symbol, one journal for each, all of one stamp."""
    account = Path(both["folder"])
    assert account.name.startswith("ONE+TWO_ema_cross_fixed_tp_sl_")
    tail = account.name.removeprefix("ONE+TWO_")
    for symbol in ("ONE", "TWO"):
        folder = Path(_folders(both)[symbol])
        assert folder == home / "results" / f"{symbol}_{tail}"
        assert {"trades.csv", "metrics.json", "equity.parquet"} <= {path.name for path in folder.iterdir()}
        assert Path(both["journals"][symbol]) == home / "data" / "journals" / f"{symbol}_{tail}.parquet"
        told = json.loads((folder / "metrics.json").read_text())["run"]
        assert (told["symbol"], told["account"]) == (symbol, account.name)
        assert told["journal"] == f"data/journals/{symbol}_{tail}.parquet"
    told = json.loads((account / "metrics.json").read_text())["run"]
    assert told["journals"] == {symbol: f"data/journals/{symbol}_{tail}.parquet" for symbol in ("ONE", "TWO")}
    assert not [path for path in (home / "data" / "journals").iterdir() if path.suffix != ".parquet"]


def test_columns_and_rows_of_a_journal(home: Path, both: dict[str, Any]) -> None:
    """Those of document B in its order, then what the config names, then what the strategy asked for."""
    for symbol in ("ONE", "TWO"):
        journal = _journal(both, symbol)
        bars = pl.read_parquet(path_of(home, symbol, "1m"))
        bands = [f"bbands_20_2_1m.{output}" for output in ("basis", "upper", "lower")]
        assert set(journal.columns[10:-2]) == {"sma_5_15m", *bands}
        assert journal.columns == [*FIRST, "sma_20_1m", *journal.columns[10:-2], "ema_20_1m", "ema_50_1m"]
        assert journal["timestamp"].dtype == pl.Datetime("ms", "UTC")
        assert journal["timestamp"].dt.epoch("ms").to_list() == bars["ts"].to_list()
        assert journal["price"].to_list() == bars["close"].to_list()
        assert set(journal["symbol"]) == {symbol}


def test_indicators_are_those_of_the_bars(home: Path, both: dict[str, Any]) -> None:
    """Averages by polars; of the 15 minutes the last one over at the minute's close."""
    journal = _journal(both, "ONE")
    bars = pl.read_parquet(path_of(home, "ONE", "1m")).with_columns(time=pl.from_epoch("ts", time_unit="ms"))
    expected = bars["close"].rolling_mean(20)
    assert journal["sma_20_1m"].is_null().to_list() == expected.is_null().to_list()
    assert (journal["sma_20_1m"] - expected).abs().max() < 1e-9
    higher = bars.group_by_dynamic("time", every="15m").agg(pl.col("close").last())
    higher = higher.with_columns(average=pl.col("close").rolling_mean(5), over=pl.col("time").dt.offset_by("15m"))
    closes = bars.select(closed=pl.col("time").dt.offset_by("1m"))
    seen = closes.join_asof(higher.select("over", "average"), left_on="closed", right_on="over")["average"]
    assert journal["sma_5_15m"].is_null().to_list() == seen.is_null().to_list()
    assert (journal["sma_5_15m"] - seen).abs().max() < 1e-9


def test_positions_and_signals_are_those_of_the_trades(both: dict[str, Any]) -> None:
    """Orders fill at the next open: a signal stands in the bar before its position begins or ends."""
    for symbol in ("ONE", "TWO"):
        journal = _journal(both, symbol).with_columns(change=pl.col("in_position").cast(pl.Int8).diff().fill_null(0))
        trades = _trades(_folders(both)[symbol])
        assert len(trades) > 5
        assert set(trades["symbol"]) == {symbol}
        by_order = trades.filter(pl.col("exit_reason") == "order")
        begun = journal.filter(pl.col("change") == 1)["timestamp"].to_list()
        ended = journal.filter(pl.col("change") == -1)["timestamp"].to_list()
        assert begun == trades["entry_time"].dt.cast_time_unit("ms").to_list()
        assert ended[: len(by_order)] == by_order["exit_time"].dt.cast_time_unit("ms").to_list()
        assert len(ended) == len(trades)  # what is closed at the end is closed in the last row
        assert journal["change"].shift(-1).eq(1).fill_null(False).to_list() == journal["entry_signal"].to_list()
        exits = journal.with_row_index().filter("exit_signal")["index"].to_list()
        closed = journal.with_row_index().filter(pl.col("change") == -1)["index"].to_list()
        assert [row + 1 for row in exits] == closed[: len(by_order)]
        assert set(journal.filter("in_position")["position_size"]) == {2.0}
        assert set(journal.filter(~pl.col("in_position"))["position_size"]) == {0.0}


def test_capital_and_drawdown_are_the_accounts(both: dict[str, Any]) -> None:
    """Capital from the run's own audit: what fills realised and cost and what funding took, up to each bar's open."""
    account = Path(both["folder"])
    log = pl.read_parquet(account / "run_log.parquet").filter(pl.col("event") == "funding")
    fills = pl.read_parquet(account / "fills.parquet")
    assert len(log) > 10
    changes = pl.concat(
        [
            fills.select("ts_ns", change=pl.col("pnl_units") - pl.col("fee_units")),
            log.select("ts_ns", change=-pl.col("units")),
        ]
    ).sort("ts_ns")
    changes = changes.with_columns(units=100_000 * 10**8 + pl.col("change").cum_sum())
    changes = changes.group_by("ts_ns", maintain_order=True).last()
    equity = pl.read_parquet(account / "equity.parquet")
    drawdowns = dict(zip(equity["ts"], equity["drawdown"], strict=True))
    for symbol in ("ONE", "TWO"):
        journal = _journal(both, symbol)
        opens = journal.select(ts_ns=pl.col("timestamp").dt.epoch("ns"))
        units = opens.join_asof(changes, on="ts_ns")["units"].fill_null(100_000 * 10**8)
        assert journal["capital"][:-1].to_list() == [each / 10**8 for each in units[:-1]]
        assert journal["capital"][-1] == changes["units"][-1] / 10**8  # positions are closed at the last bar's close
        closes = journal["timestamp"].dt.epoch("ms") + 60_000
        assert journal["drawdown"].to_list() == [drawdowns[ts] for ts in closes]


def test_symbols_add_up_to_the_account_at_every_bar(both: dict[str, Any]) -> None:
    """In whole cash units; before its first bar a symbol has gained nothing."""
    account = pl.read_parquet(Path(both["folder"]) / "equity.parquet")
    initial = 100_000 * 10**8
    total = pl.Series([0] * len(account))
    for folder in _folders(both).values():
        curve = pl.read_parquet(Path(folder) / "equity.parquet")
        joined = account.select("ts").join(
            curve.select("ts", "equity_units"), on="ts", how="left", maintain_order="left"
        )
        total += joined["equity_units"].fill_null(initial) - initial
    assert total.to_list() == (account["equity_units"] - initial).to_list()
    for name in ("fees", "funding"):
        parts = [Decimal(result[name]) for result in both["symbol_results"]]
        assert sum(parts) == Decimal(both[name])
    assert sum(result["trades"] for result in both["symbol_results"]) == both["trades"]
    assert sum(result["fills"] for result in both["symbol_results"]) == both["fills"]


@pytest.mark.parametrize("symbol", ["ONE", "TWO"])
def test_a_symbols_figures_are_those_of_a_run_of_it_alone(
    home: Path, both: dict[str, Any], symbol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With sizes that do not depend on the account, each symbol trades as if the other were not there."""
    alone = _backtest(home, capsys, "--set", f"symbols=[{symbol}]")
    own = next(result for result in both["symbol_results"] if result["symbol"] == symbol)
    assert "symbol_results" not in alone
    assert own["figures"] == alone["figures"]
    assert (own["bars"], own["orders"], own["fills"]) == (alone["bars"], alone["orders"], alone["fills"])
    curves = [pl.read_parquet(Path(found["folder"]) / "equity.parquet") for found in (own, alone)]
    assert curves[0].equals(curves[1])
    columns = pl.exclude("trade_id")
    assert _trades(own["folder"]).select(columns).equals(_trades(alone["folder"]).select(columns))
    # The journal of the run alone: the same but for what is the account's.
    journals = [_journal(found, symbol).drop("capital", "drawdown") for found in (both, alone)]
    assert journals[0].equals(journals[1])


OWN_BARS = """
def schema():
    return {"id": "quarters", "name": "Quarters"}


def on_bar(ctx, i):
    fast, hour = ctx.ind.sma(ctx.close, 3), ctx.tf("1h").ind.sma(2)
    ctx.ind.ema(fast, 4)
    if len(hour) and i > 3 and not ctx.orders:
        if ctx.close[i] > fast[i] and ctx.position.size == 0:
            ctx.buy(1)
        elif ctx.close[i] < fast[i] and ctx.position.size > 0:
            ctx.flatten()
"""


def test_a_strategy_with_bars_of_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its indicators, of bars of 15 minutes and of the hours made of them, stand beside the run's minutes.

    Against averages by polars: at a minute's close the last bar of 15 minutes (an hour) that is over.
    """
    (home / "strategies" / "custom").mkdir(parents=True, exist_ok=True)
    (home / "strategies" / "custom" / "quarters.py").write_text(OWN_BARS, encoding="utf-8")
    settings = (
        "--set",
        "symbols=[ONE]",
        "--set",
        "strategy={name: quarters, timeframe: 15m}",
        "--set",
        "indicators=[]",
    )
    journal = _journal(_backtest(home, capsys, *settings), "ONE")
    assert journal.columns == [*FIRST, "sma_3_15m", "ema(sma(close, 3), 4)_15m", "sma_2_1h"]
    assert journal["entry_signal"].sum() > 50
    bars = pl.read_parquet(path_of(home, "ONE", "1m")).with_columns(time=pl.from_epoch("ts", time_unit="ms"))
    closes = bars.select(closed=pl.col("time").dt.offset_by("1m"))
    for name, length, every in (("sma_3_15m", 3, "15m"), ("sma_2_1h", 2, "1h")):
        higher = bars.group_by_dynamic("time", every=every).agg(pl.col("close").last())
        higher = higher.with_columns(
            average=pl.col("close").rolling_mean(length), over=pl.col("time").dt.offset_by(every)
        )  # fmt: skip
        seen = closes.join_asof(higher.select("over", "average"), left_on="closed", right_on="over")["average"]
        assert journal[name].is_null().to_list() == seen.is_null().to_list()
        assert (journal[name] - seen).abs().max() < 1e-9


def test_a_symbols_regimes_are_those_that_the_account_tells_of_it(both: dict[str, Any]) -> None:
    def rows(folder: str, symbol: str) -> list[dict[str, Any]]:
        found = json.loads((Path(folder) / "metrics.json").read_text())["diagnostics"]["regimes"]["rows"]
        # Its share is of all pnl there are: the account's there, its own here.
        return [{name: row[name] for name in row if name != "pnl_share"} for row in found if row["symbol"] == symbol]

    for symbol in ("ONE", "TWO"):
        own = rows(_folders(both)[symbol], symbol)
        assert own == rows(both["folder"], symbol)
        assert sum(row["trades"] for row in own) > 0
        assert sum(row["bars"] for row in own) == BARS - (LATE if symbol == "TWO" else 0)


def test_it_can_be_switched_off(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((home / "data" / "journals").iterdir())
    found = _backtest(home, capsys, "--set", "journal.enabled=false")
    assert found["journals"] == {}
    assert sorted((home / "data" / "journals").iterdir()) == before
    assert json.loads((Path(found["folder"]) / "metrics.json").read_text())["run"]["journals"] == {}


def test_the_summary_has_a_line_for_each_symbol(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(home), "backtest", str(home / "both.yaml")]) == 0
    printed = capsys.readouterr()
    lines = {line.split()[0]: line.split() for line in printed.out.splitlines() if line.split()}
    assert int(lines["ONE"][1]) + int(lines["TWO"][1]) == int(lines["Account"][1])
    assert printed.err.count("Journal: ") == 2


def test_a_report_for_each_symbol_and_for_the_account(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _backtest(home, capsys, "--report")
    pages = []
    for folder in (found["folder"], *_folders(found).values()):
        for name in ("equity.png", "drawdown.png", "report.html"):
            assert (Path(folder) / name).stat().st_size > 0
            assert str(Path(folder) / name) in found["report"]
        pages.append(embedded(Path(folder) / "report.html"))
    account, *symbols = pages
    assert [part.symbol for part in account.symbols] == ["ONE", "TWO"]
    for page, result in zip(symbols, found["symbol_results"], strict=True):
        assert [part.symbol for part in page.symbols] == [result["symbol"]]
        assert page.markers.time.count == result["fills"]
        assert page.trade_spans.trade.count == result["trades"]
        assert page.equity.time.count == result["bars"]
        assert page.stats == result["figures"]


# The document's config, as printed.
PRINTED = """\
symbols: ["BTCUSDT", "ETHUSDT"]      # Assets to test
timeframe: "1m"                      # Engine timeframe
strategy:
  entry:
    name: "ema_cross"               # File: strategies/entry/ema_cross.py
    params: {fast: 20, slow: 50}    # Strategy parameters
  exit:
    name: "fixed_tp_sl"             # File: strategies/exit/fixed_tp_sl.py
    params: {tp: 0.05, sl: 0.02}    # TP 5%, SL 2%
indicators:                         # List of required indicators
  - sma_20_1m
  - rsi_14_1m
  - ema_50_4h
"""


@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is absent")
def test_document_bs_example_on_real_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """January 2022 of both symbols, with every file and column that the document names."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        source = SHARED / f"binance_spot_{symbol}_1m_2022.parquet"
        arguments = ["data", "import", str(source), "--symbol", symbol, "--timeframe", "1m"]
        assert run(["--home", str(tmp_path), *arguments]) == 0
    (tmp_path / "both.yaml").write_text(PRINTED, encoding="utf-8")
    capsys.readouterr()
    found = _backtest(tmp_path, capsys, "--set", "end=2022-02-01")
    total = 0
    for symbol, folder in _folders(found).items():
        journal, trades = _journal(found, symbol), _trades(folder)
        assert len(journal) == 31 * 1_440
        assert journal.columns == [*FIRST, "sma_20_1m", "rsi_14_1m", "ema_50_4h", "ema_20_1m", "ema_50_1m"]
        assert journal.null_count().row(0)[-5:] == (19, 14, 50 * 240 - 1, 19, 49)
        begun = journal.filter(pl.col("in_position").cast(pl.Int8).diff() == 1)
        assert len(trades) > 10
        assert begun["timestamp"].to_list() == trades["entry_time"].dt.cast_time_unit("ms").to_list()
        signals = journal.filter("entry_signal")["timestamp"].dt.offset_by("1m").to_list()
        assert signals == begun["timestamp"].to_list()
        equity = pl.read_parquet(Path(folder) / "equity.parquet")
        total += equity["equity_units"] - 10_000 * 10**8
    account = pl.read_parquet(Path(found["folder"]) / "equity.parquet")
    assert (total + 10_000 * 10**8).to_list() == account["equity_units"].to_list()
