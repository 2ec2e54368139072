"""Every `tapewright backtest` goes into the store: its rows, its figures, and what happens where that is in the way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

import adapters.store.whole
from adapters.store import FinishedRun, StoreReader
from adapters.store.process import StoringProcess
from config.document import from_document
from config.loader import load
from daemon import storing_aside
from daemon.cli import run
from daemon.storing import STORE_FILE
from tests.backtests import BARS, backtested, json_by, make_home, said_by
from tests.stores import run_rows


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path)


def test_a_backtest_is_in_the_store_as_it_is_in_its_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = backtested(capsys, home, "funding.enabled=true", "funding.rate=0.0001")
    folder = Path(done["folder"])
    with StoreReader(home / "strategy.sqlite") as reader:
        (row,) = reader.runs()
        fills, orders = reader.fills(row.run_id), reader.orders(row.run_id)
        trades, curve = reader.trades(row.run_id), reader.equity(row.run_id)
        funding, positions = reader.funding(row.run_id), reader.positions(row.run_id)
    assert (row.name, row.mode, row.status, row.hash) == (folder.name, "backtest", "finished", done["hash"])
    files = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("fills", "orders", "equity", "run_log")}
    assert [fill.cash for fill in fills] == files["fills"]["cash_units"].to_list()
    assert [fill.fee for fill in fills] == files["fills"]["fee_units"].to_list()
    told = [order for order in orders if order.type is not None]  # a fill's transition is among the fills
    assert [order.state for order in told] == files["orders"]["state"].to_list()
    assert [order.state for order in orders if order.type is None] == ["FILLED"] * len(fills)
    assert [each.equity for each in curve[:-2] + curve[-1:]] == files["equity"]["equity_units"].to_list()
    assert sum(each.payment for each in funding) == files["run_log"].filter(pl.col("event") == "funding")["units"].sum()
    assert len(funding) > 0
    assert [f"{trade.pnl / 10**8:.8f}" for trade in trades] == [
        f"{float(value):.8f}" for value in pl.read_csv(folder / "trades.csv", infer_schema=False)["pnl"]
    ]
    assert [position.lots for position in positions] == [0]
    config = load(home / "run.yaml", overrides=["funding.enabled=true", "funding.rate=0.0001"])
    assert from_document(json.loads(row.config)) == config


@pytest.mark.parametrize(
    "settings", [(), ("slippage_bps=", "slippage={model: spread, spread_bps: 4, bps: 0}", "diagnostics.annualise=true")]
)
def test_its_figures_are_those_of_metrics_json(
    home: Path, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]
) -> None:
    done = backtested(capsys, home, *settings)
    view = json_by(capsys, home, "runs", "show", done["run_id"])
    written = json.loads((Path(done["folder"]) / "metrics.json").read_text())["figures"]
    written["equity"]["buy_and_hold_return"] = None  # no prices are stored
    assert view["figures"] == written
    assert (written["costs"]["spread"] != "0.00000000") == (written["equity"]["sharpe"] is not None) == bool(settings)
    shown = said_by(capsys, home, "runs", "show", 1)
    for text in (f"{100 * written['equity']['total_return']:.2f}%", f"{written['trades']['count']:,}, "):
        assert text in shown


def test_of_every_tenth_sample_the_end_is_the_same(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = backtested(capsys, home, "store.sample_every=10", "store.path=deep/other.sqlite")
    assert not (home / "strategy.sqlite").exists()
    with StoreReader(home / "deep" / "other.sqlite") as reader:
        (row,) = reader.runs()
        curve = reader.equity(row.run_id)
    assert (row.sample_every, row.samples_stored) == (10, BARS + 1)
    assert [each.n for each in curve] == [*range(0, BARS + 1, 10)]
    assert f"{curve[-1].equity / 10**8:.8f}" == done["final_equity"]
    store = ("--store", home / "deep" / "other.sqlite")
    (listed,) = json_by(capsys, home, "runs", "list", *store)["runs"]
    assert (listed["trades"], listed["equity"]) == (done["trades"], done["final_equity"])


def test_a_backtest_that_is_not_to_be_stored_makes_no_store(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = backtested(capsys, home, "store.enabled=false")
    assert Path(done["folder"]).is_dir()
    assert not (home / "strategy.sqlite").exists()


def test_where_the_store_is_locked_the_files_are_written_and_the_end_says_so(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backtested(capsys, home)
    monkeypatch.setattr(adapters.store.whole, "WAIT_SECONDS", 0.2)
    with closing(sqlite3.connect(home / "strategy.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        second = backtested(capsys, home, code=75)
        other.execute("ROLLBACK")
    assert "is being written to by another process" in second["stderr"]
    assert second["hash"] == first["hash"]
    assert (Path(second["folder"]) / "metrics.json").exists()
    with StoreReader(home / "strategy.sqlite") as reader:
        assert [run.name for run in reader.runs()] == [first["run_id"]]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """However short a run is, a process of its own stores it, from the loop's first steps on; what it is given then."""
    given: list[int] = []
    give = StoringProcess.give
    monkeypatch.setattr(StoringProcess, "give", lambda own, rows: (given.append(len(rows)), give(own, rows))[1])
    monkeypatch.setattr(storing_aside, "PROCESS_ROWS_MIN", 1)
    monkeypatch.setattr(storing_aside, "ROWS_A_MESSAGE_MIN", 1)
    monkeypatch.setattr(storing_aside, "AHEAD_SECONDS_MAX", 600.0)
    return given


@pytest.mark.parametrize("held_seconds", [600.0, 0.0])
def test_stored_ahead_of_its_end_it_has_the_rows_that_it_has_without(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ahead: list[int],
    held_seconds: float,
) -> None:
    """Where the loop takes too long, what was begun is undone, and all is stored at its end."""
    forgotten: list[bool] = []
    forget = StoringProcess.forget
    monkeypatch.setattr(StoringProcess, "forget", lambda own: (forgotten.append(True), forget(own))[1])
    monkeypatch.setattr(storing_aside, "HELD_SECONDS_MAX", held_seconds)
    first = backtested(capsys, home)
    assert ahead
    assert bool(forgotten) == (held_seconds == 0)
    monkeypatch.setattr(storing_aside, "PROCESS_ROWS_MIN", 10**9)
    after = backtested(capsys, home)
    assert first["hash"] == after["hash"]
    assert run_rows(home / STORE_FILE, first["run_id"]) == run_rows(home / STORE_FILE, after["run_id"])


@pytest.mark.usefixtures("ahead")
def test_where_its_process_is_killed_the_run_is_stored_all_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = StoringProcess.finish

    def killed(own: StoringProcess, run: FinishedRun) -> None:
        os.kill(own.process_id, signal.SIGKILL)
        finish(own, run)

    monkeypatch.setattr(StoringProcess, "finish", killed)
    done = backtested(capsys, home)
    with StoreReader(home / "strategy.sqlite") as reader:
        assert [(run.name, run.status) for run in reader.runs()] == [(done["run_id"], "finished")]


@pytest.mark.usefixtures("ahead")
def test_where_there_is_no_process_to_be_had_the_run_is_stored_all_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(home / "nothing"))
    done = backtested(capsys, home)
    assert [run["name"] for run in json_by(capsys, home, "runs", "list")["runs"]] == [done["run_id"]]


def test_where_the_strategy_raises_nothing_of_what_was_stored_ahead_is_left(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ahead: list[int]
) -> None:
    monkeypatch.setattr(adapters.store.whole, "WAIT_SECONDS", 0.2)  # what is begun is undone before
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "breaks.py").write_text(
        'def schema():\n    return {"id": "breaks", "name": "Breaks"}\n\n\n'
        "def on_bar(ctx, i):\n    if i == 5:\n        ctx.buy(1)\n    return 1 / (ctx.position.size + i - 20_001)\n",
        encoding="utf-8",
    )
    backtested(capsys, home, "strategy={name: breaks}", code=65)
    assert ahead
    (row,) = json_by(capsys, home, "runs", "list")["runs"]
    assert row["status"] == "failed"


def test_another_program_s_database_is_left_as_it_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(home / "strategy.sqlite")) as connection:
        connection.execute("CREATE TABLE mine (n)")
    before = (home / "strategy.sqlite").read_bytes()
    done = backtested(capsys, home, code=65)
    assert "is another program's database" in done["stderr"]
    assert (Path(done["folder"]) / "trades.csv").exists()
    assert (home / "strategy.sqlite").read_bytes() == before


def test_a_strategy_that_raises_leaves_a_failed_run_with_its_error(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "breaks.py").write_text(
        'def schema():\n    return {"id": "breaks", "name": "Breaks"}\n\n\n'
        "def on_bar(ctx, i):\n    if i == 5:\n        ctx.buy(1)\n    return 1 / (i - 700)\n",
        encoding="utf-8",
    )
    assert run(["--home", str(home), "backtest", str(home / "run.yaml"), "--strategy", "breaks"]) == 65
    assert "Stored as failed: SYNTH_breaks_" in capsys.readouterr().err
    view = json_by(capsys, home, "runs", "show", "SYNTH_breaks_")
    assert view["run"]["status"] == "failed"
    assert view["run"]["name"].endswith("_failed")
    assert view["totals"]["fill_count"] == 1
    assert view["run"]["samples_stored"] == 701  # up to the bar at which it raised
    (error,) = view["errors"]
    assert (error["kind"], error["message"].split("\n")[0]) == (
        "StrategyError", "breaks: on_bar at bar 700 on SYNTH: ZeroDivisionError: division by zero",
    )  # fmt: skip
    assert not (home / "results").exists()
