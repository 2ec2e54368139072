"""`tapewright backtest`, `demo`, `doctor` as a user meets them: real files, exit codes, figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run

CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a fortnight of minutes and a config."""
    folder = tmp_path_factory.mktemp("home")
    target = path_of(folder, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, synthesize("SYNTH", "1m", 20_160, 3))
    (folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(list(arguments)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_json_figures_are_those_of_the_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "--home", str(home), "backtest", str(home / "run.yaml"), "--json")
    folder = Path(found["folder"])
    fills = pl.read_parquet(folder / "fills.parquet")
    trades = pl.read_csv(folder / "trades.csv")
    equity = pl.read_parquet(folder / "equity.parquet")
    log = pl.read_parquet(folder / "run_log.parquet")
    orders = pl.read_parquet(folder / "orders.parquet")
    assert folder.name == found["run_id"]
    assert found["bars"] == 20_160 == len(equity)
    assert found["fills"] == len(fills) == int((log["event"] == "fee").sum())
    assert found["trades"] == len(trades)
    assert found["wins"] == int((trades["pnl"] > 0).sum())
    assert found["fees"] == f"{fills['fee_units'].sum() / 10**8:.8f}"
    assert found["final_equity"] == f"{fills['cash_units'][-1] / 10**8:.8f}"
    assert equity["equity_units"][-1] == fills["cash_units"][-1]
    assert set(orders["state"]) == {"NEW", "ACTIVE"}
    assert json.loads((folder / "metrics.json").read_text())["run"]["hash"] == found["hash"]


def test_two_runs_give_one_hash_and_two_folders(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (_json(capsys, "--home", str(home), "backtest", str(home / "run.yaml"), "--json") for _ in range(2))
    assert first["hash"] == second["hash"]
    assert first["folder"] != second["folder"]


def test_set_changes_a_value_for_one_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = _json(capsys, "--home", str(home), "backtest", str(home / "run.yaml"), "--json", "--set", "commission_bps=0")
    assert free["fees"] == "0.00000000"


def test_funding_is_paid_from_a_static_rate_and_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--set", "funding.enabled=true", "--set", "funding.rate=0.0001")
    found = _json(capsys, "--home", str(home), "backtest", str(home / "run.yaml"), "--json", *settings)
    log = pl.read_parquet(Path(found["folder"]) / "run_log.parquet")
    paid = log.filter(pl.col("event") == "funding")
    assert len(paid) > 0
    assert set(paid["text"]) == {"static"}
    assert found["funding"] == f"{paid['units'].sum() / 10**8:.8f}"
    assert any("static rate 0.0001 every 8 h" in text for text in log.filter(pl.col("event") == "note")["text"])


def test_entry_and_exit_files_by_config(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Document B's pair: entry ema_cross, exit fixed_tp_sl."""
    config = home / "pair.yaml"
    config.write_text(
        "symbols: [SYNTH]\ntimeframe: 1m\nstrategy:\n"
        "  entry: {name: ema_cross, params: {fast: 20, slow: 50}}\n"
        "  exit: {name: fixed_tp_sl, params: {tp: 0.01, sl: 0.005}}\n"
        "indicators: [sma_20_1m, rsi_14_1m]\n",
        encoding="utf-8",
    )
    found = _json(capsys, "--home", str(home), "backtest", str(config), "--json")
    log = pl.read_parquet(Path(found["folder"]) / "run_log.parquet")
    texts = log.filter(pl.col("event") == "info")["text"].to_list()
    assert found["run_id"].startswith("SYNTH_ema_cross_fixed_tp_sl_")
    assert found["trades"] > 0
    assert any(text.startswith("ENTER at ") for text in texts)
    assert any(text.startswith("EXIT at ") and "P&L: " in text for text in texts)


ERRORS = [
    # arguments after `backtest CONFIG` | exit | what is said
    (("--set", "fill_model=close_to_opne"), 78, 'did you mean "close_to_open"?'),
    (("--set", "strategy.params.fast=500"), 78, "ema_cross: parameter fast: 500 is above the maximum 200"),
    (("--set", "strategy.params.fats=5"), 78, "unknown parameter 'fats'; did you mean 'fast'?"),
    (("--set", "indicators=[smaa_20_1m]"), 78, 'Indicator not implemented: "smaa". Did you mean "sma"?'),
    (("--set", "symbols=[NONE]"), 66, "Data file not found: data/raw/NONE_1m.parquet"),
    (("--strategy", "emma_cross"), 66, "Create strategies/custom/emma_cross.py"),
    (("--set", "start=2031-01-01"), 66, "no bars between start and end"),
    (("--set", "instruments.SYNTH.tick_size=0.5"), 65, "SYNTH open"),
    (("--set", "funding.enabled=true", "--set", "funding.file=nowhere.csv"), 66, "Funding file not found"),
    (("--set", "cash_decimals=2", "--set", "instruments.SYNTH.lot_size=0.00001"), 78, "Raise cash_decimals"),
    (("--set", "symbols=", "--set", "book={sample_ms: 5}"), 78, "no symbol is named"),
    (("--set", "strategy.timeframe=90s"), 78, "timeframe 90s is no multiple of the bars' own 1m"),
    (("--set", "strategy.timeframe=30s"), 78, "set the run's timeframe to 30s"),
    (("--nonsense",), 64, "No such option"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), ERRORS, ids=[text[:30] for _, _, text in ERRORS])
def test_what_goes_wrong_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, text: str
) -> None:
    before = sorted((home / "results").glob("*")) if (home / "results").exists() else []
    assert run(["--home", str(home), "backtest", str(home / "run.yaml"), *arguments]) == code
    assert text in capsys.readouterr().err
    after = sorted((home / "results").glob("*")) if (home / "results").exists() else []
    assert before == after


def test_a_strategy_that_raises_names_its_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True, exist_ok=True)
    (custom / "breaks.py").write_text(
        'def schema():\n    return {"id": "breaks", "name": "Breaks"}\n\n\n'
        "def on_bar(ctx, i):\n    return 1 / (i - 7)\n",
        encoding="utf-8",
    )
    assert run(["--home", str(home), "backtest", str(home / "run.yaml"), "--strategy", "breaks"]) == 65
    said = capsys.readouterr().err
    assert "breaks: on_bar at bar 7 on SYNTH: ZeroDivisionError" in said
    assert "breaks.py:6" in said


def test_demo_runs_and_says_where_things_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "demo", "--year", "--folder", str(tmp_path), "--json")
    assert found["bars"] == 525_600
    assert (tmp_path / "year.yaml").is_file()
    assert Path(found["folder"]).is_dir()


def test_doctor_finds_everything_here(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _json(capsys, "--home", str(home), "doctor", "--json")["ok"] is True
    assert run(["--home", str(home / "nowhere"), "doctor"]) == 1
    assert "create it, or name another with --home" in capsys.readouterr().out


def test_the_installed_command_answers_without_the_engine(home: Path) -> None:
    script = Path(sys.executable).with_name("tapewright")
    result = subprocess.run([script, "--home", home, "data", "check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "20,160" in result.stdout


def test_one_bar_and_a_year_cut_short(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A span of a single bar still runs and gives figures, most of them null."""
    span = ("--set", "start=2024-01-01T00:00:00Z", "--set", "end=2024-01-01T00:01:00Z")
    found = _json(capsys, "--home", str(home), "backtest", str(home / "run.yaml"), "--json", *span)
    assert (found["bars"], found["trades"], found["sharpe"]) == (1, 0, None)
