"""`tapewright runs` as a user meets it: lists, one run with its figures, its tables as files."""

from __future__ import annotations

import asyncio
import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from adapters.store import Batch, RunEnd, RunStart, StoredError, StoreReader
from adapters.store.export import export_run
from adapters.store.rows import COLUMNS
from adapters.store.runs import renamed
from daemon.cli import run
from engine.kernels import layout
from engine.replay import RunResult
from tests.stores import bar_result, start_of, tape_result, writing

TABLES = {"strategy_runs", "run_strategies", "run_instruments", "errors", *COLUMNS}
BROKEN = StoredError(2, 0, 7, 1_723_161_540_000_000_000, "StrategyError", "on_bar raised", "ladder", "M0")


def start(result: RunResult, name: str) -> RunStart:
    return msgspec.structs.replace(renamed(start_of(result), name), start_ns=int(result.samples[0, 0]))


async def fill(path: Path) -> None:
    """A finished run on bars, a session that goes on with a fault and a guard's event, an empty one."""
    bars, tape = bar_result(), tape_result()
    risk = np.zeros((2, layout.OUTPUT_WORDS), dtype=np.int64)
    risk[:, :3] = tape.outputs[999, 0], tape.outputs[999, 1], layout.RISK_OUTPUT | 4 << 16
    risk[:, 5] = 99 * 10**12
    risk[1, 2] = layout.RISK_OUTPUT | 1 << 16 | layout.ACCOUNT_WIDE << 32
    async with writing(path) as writer:
        first = await writer.begin(start(bars, "BTC_bars_1"))
        await writer.write(Batch(first.run_id, 0, bars.outputs, 0, bars.samples))
        end = int(bars.samples[-1, 0])
        await writer.end(RunEnd(first.run_id, "finished", end, bars.hash))
        second = await writer.begin(start(tape, "BTC_session"))
        outputs = np.concatenate((tape.outputs[:1_000], risk))
        await writer.write(Batch(second.run_id, 0, outputs, 0, tape.samples[:30]))
        await writer.record(msgspec.structs.replace(BROKEN, run_id=second.run_id))
        await writer.begin(start(tape, "3"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a store of three runs."""
    folder = tmp_path_factory.mktemp("home")
    asyncio.run(fill(folder / "strategy.sqlite"))
    return folder


def said(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> str:
    assert run(["--home", str(home), "runs", *(str(word) for word in words)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def json_of(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(capsys, home, *words, "--json"))
    return found


def test_the_list_has_every_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, home, "list")
    assert [(each["name"], each["status"]) for each in found["runs"]] == [
        ("BTC_bars_1", "finished"), ("BTC_session", "running"), ("3", "running"),
    ]  # fmt: skip
    assert found["store"] == str(home / "strategy.sqlite")
    assert found["runs"][0]["hash"] == f"{bar_result().hash:016x}"
    shown = said(capsys, home, "list")
    for text in ("BTC_bars_1", "BTC_session", "finished", f"{len(bar_result().outputs):,}"):
        assert text in shown


def test_the_figures_of_a_run_are_those_of_its_outputs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = bar_result()
    found = json_of(capsys, home, "show", "BTC_bars_1")
    money, totals, figures = result.scales[0].money, found["totals"], result.figures
    for name, key in (("fees", "fees"), ("funding", "funding"), ("realised", "realised")):
        assert Decimal(totals[name]) == money(figures[key]) != 0, name
    assert totals["fill_count"] == figures["fill_count"]
    assert sum(each["count"] for each in totals["fills"]) == totals["fill_count"]
    assert sum(Decimal(each["fees"]) for each in totals["fills"]) == money(figures["fees"])
    assert sum(totals["orders"].values()) == figures["order_count"]
    assert totals["orders"]["FILLED"] > 0
    trades = result.trades()
    assert sum(each["count"] for each in totals["trades"]) == len(trades)
    assert sum(each["wins"] for each in totals["trades"]) == sum(trade.pnl > 0 for trade in trades)
    assert sum(Decimal(each["pnl"]) for each in totals["trades"]) == sum(trade.pnl for trade in trades)
    assert Decimal(totals["equity"]["equity"]) == money(result.samples[-1, 1])
    peaks = np.maximum(np.maximum.accumulate(result.samples[:, 1]), int(money(1) ** -1) * 10**6)
    assert Decimal(totals["equity"]["drawdown_most"]) == money(int((peaks - result.samples[:, 1]).max()))
    assert totals["last_seq"] == result.outputs[-1, 0]
    assert [each["strategy_id"] for each in found["strategies"]] == list(result.strategies)
    assert (found["errors"], found["risks"]) == ([], [])


def test_a_session_tells_positions_events_and_errors(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, home, "show", "BTC_session")
    fills = np.flatnonzero(tape_result().outputs[:1_000, 2] & 0xFF == layout.FILL_OUTPUT)
    last = {int(row[2]) >> 32: row for row in tape_result().outputs[fills]}
    assert len(found["positions"]) == len(last) == 2
    for position in found["positions"]:
        words = last[list(tape_result().strategies).index(position["strategy_id"])]
        view = words.view(layout.FILL_VIEW)[0]
        assert position["lots"] == view["ledger_lots"]
        assert Decimal(position["size"]) == tape_result().scales[0].size(int(view["ledger_lots"]))
        assert (position["entry_price"] is None) == (position["lots"] == 0)
        if position["lots"]:
            assert 50_000 < position["entry_price"] < 70_000
    assert [each["event"] for each in found["risks"]] == ["resumed", "max_drawdown"]
    assert [each["strategy_id"] for each in found["risks"]] == [tape_result().strategies[0], None]
    assert found["errors"][0]["message"] == "on_bar raised"
    assert found["totals"]["errors"] == {"StrategyError": 1}
    assert found["run"]["outputs_stored"] == 1_002
    shown = said(capsys, home, "show", "BTC_session")
    for text in ("running", "1,002 outputs, 30 samples", "on_bar raised", "max_drawdown", "1 StrategyError"):
        assert text in shown


@pytest.mark.parametrize(
    ("target", "name"),
    [("BTC_bars_1", "BTC_bars_1"), ("BTC_b", "BTC_bars_1"), ("1", "BTC_bars_1"), ("2", "BTC_session"), ("3", "3")],
)
def test_a_run_is_found_by_name_beginning_or_number(
    home: Path, capsys: pytest.CaptureFixture[str], target: str, name: str
) -> None:
    assert json_of(capsys, home, "show", target)["run"]["name"] == name


def test_an_empty_run_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, home, "show", "3")
    assert found["totals"]["equity"] is None
    assert found["totals"]["last_seq"] is None
    assert "0 outputs, 0 samples" in said(capsys, home, "show", "3")


@pytest.mark.parametrize(
    ("words", "code", "texts"),
    [
        (("show", "none"), 66, ("holds no run none", "tapewright runs list")),
        (("show", ""), 66, ("holds no run",)),
        (("show", "BTC"), 64, ("begins the names of 2 runs: BTC_bars_1, BTC_session",)),
        (("export", "BTC_bars_1", "--format", "xml"), 64, ()),
        (("list", "--store", "nowhere.sqlite"), 66, ("nowhere.sqlite is not there", "Run something first")),
    ],
)
def test_what_goes_wrong_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, texts: tuple[str, ...]
) -> None:
    assert run(["--home", str(home), "runs", *words]) == code
    shown = capsys.readouterr().err
    for text in texts:
        assert text in shown


def test_a_home_without_a_store_says_so_and_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("list",), ("show", "1"), ("export", "1")):
        assert run(["--home", str(tmp_path), "runs", *words]) == 66
        assert f"{tmp_path / 'strategy.sqlite'} is not there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def exported(capsys: pytest.CaptureFixture[str], home: Path, out: Path, form: str) -> dict[str, list[dict[str, Any]]]:
    """Every table of the run on bars, as files of a kind hold it: integers, texts, decimals, None."""
    done = json_of(capsys, home, "export", "BTC_bars_1", "--format", form, "--out", out)
    assert {path.name for path in out.iterdir()} == set(done["files"])
    assert set(done["rows"]) == TABLES
    tables = {}
    for table in TABLES:
        if form == "parquet":
            tables[table] = pl.read_parquet(out / f"{table}-*.parquet").to_dicts()
        elif form == "json":
            tables[table] = json.loads((out / f"{table}.json").read_text(encoding="utf-8"))
        else:
            with (out / f"{table}.csv").open(encoding="utf-8", newline="") as file:
                tables[table] = list(csv.DictReader(file))
        assert len(tables[table]) == done["rows"][table]
    return tables


def test_all_formats_hold_the_same_exact_rows(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {form: exported(capsys, home, tmp_path / form, form) for form in ("csv", "parquet", "json")}
    texts = 0
    for table in TABLES:
        for plain, typed, listed in zip(*(found[form][table] for form in ("csv", "parquet", "json")), strict=True):
            assert list(plain) == list(typed) == list(listed)
            for name, value in typed.items():
                if isinstance(value, Decimal):
                    assert Decimal(plain[name]) == Decimal(listed[name]) == value
                    texts += 1
                elif value is None:
                    assert listed[name] is None
                    assert plain[name] == ""
                else:
                    assert plain[name] == str(value)
                    assert listed[name] == value
    assert texts > 10_000


def test_decimals_are_the_integers_in_units(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = bar_result()
    tables = exported(capsys, home, tmp_path / "out", "parquet")
    scales = {scale.instrument.symbol: scale for scale in result.scales}
    with StoreReader(home / "strategy.sqlite") as reader:
        fills, curve = reader.fills(1), reader.equity(1)
        orders, trades, funding = reader.orders(1), reader.trades(1), reader.funding(1)
    assert len(fills) == len(tables["strategy_fills"]) > 100
    for row, fill in zip(tables["strategy_fills"], fills, strict=True):
        scale = scales[row["symbol"]]
        assert (row["n"], row["strategy_id"], row["symbol"]) == (fill.n, fill.strategy_id, fill.symbol)
        assert row["price"] == fill.price_ticks * scale.instrument.tick_size
        assert (row["price_ticks"], row["fee_units"], row["lots"]) == (fill.price_ticks, fill.fee, fill.lots)
        assert (row["size"], row["fee"], row["pnl"]) == (
            scale.size(fill.lots),
            scale.money(fill.fee),
            scale.money(fill.pnl),
        )
        assert row["bid"] is row["confidence"] is None
    limits = 0
    for row, order in zip(tables["strategy_orders"], orders, strict=True):
        tick = scales[row["symbol"]].instrument.tick_size
        assert row["limit_price"] == (order.limit_ticks * tick if order.limit_ticks else None)
        limits += row["limit_price"] is not None
        flags = order.flags
        assert row["flags"] == (
            None if flags is None else {0: "", 1: "post_only", 2: "reduce_only"}.get(flags, row["flags"])
        )
        assert (row["state"], row["type"]) == (order.state, order.type)
    assert limits > 50
    assert [row["pnl_units"] for row in tables["strategy_trades"]] == [trade.pnl for trade in trades]
    for row, paid in zip(tables["funding_payments"], funding, strict=True):
        assert row["rate"] == Decimal(paid.rate_e12).scaleb(-12)
        assert row["mark_price"] == (paid.mark_micro * scales[row["symbol"]].instrument.tick_size).scaleb(-6)
    assert [row["drawdown_units"] for row in tables["equity_curve"]] == [each.drawdown for each in curve]
    (facts,) = tables["strategy_runs"]
    assert facts["initial_cash"] == 1_000_000
    assert json.loads(facts["config"]) == {"fills": "book"}


def test_large_numbers_keep_every_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = np.zeros((1, layout.OUTPUT_WORDS), dtype=np.int64)
    row[0, :3] = 1, 2, layout.FILL_OUTPUT | layout.FILLED << 8 | 1 << 16 | 5 << 24
    row[0, 3:] = 2**62 - 1 - np.arange(13)
    tape = tape_result()

    async def one() -> None:
        async with writing(tmp_path / "strategy.sqlite") as writer:
            await writer.begin(start(tape, "large"))
            await writer.write(Batch(1, 0, row, 0, tape.samples[:0]))

    asyncio.run(one())
    lots = 2**62 - 2
    for form in ("csv", "parquet", "json"):
        said(capsys, tmp_path, "export", "large", "--format", form, "--out", tmp_path / form)
    size = tape.scales[0].instrument.lot_size
    assert size == Decimal("0.001")
    expected = f"{lots // 1_000}.{lots % 1_000:03d}"
    (plain,) = csv.DictReader((tmp_path / "csv" / "strategy_fills.csv").read_text().splitlines())
    (listed,) = json.loads((tmp_path / "json" / "strategy_fills.json").read_text())
    typed = pl.read_parquet(tmp_path / "parquet" / "strategy_fills-000001.parquet").to_dicts()[0]
    for found in (plain["size"], listed["size"], f"{typed['size']:f}"):
        assert found == expected


def test_an_export_goes_to_a_folder_of_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, home, "export", "BTC_s")
    folder = home / "exports" / "BTC_session"
    assert str(folder) in shown
    assert {path.stem for path in folder.iterdir()} == TABLES
    assert run(["--home", str(home), "runs", "export", "BTC_s"]) == 64
    assert f"{folder} is there already" in capsys.readouterr().err
    (home / "file").write_text("")
    assert run(["--home", str(home), "runs", "export", "BTC_s", "--out", str(home / "file" / "below")]) == 64
    assert "cannot be written" in capsys.readouterr().err


def test_parquet_parts_are_one_table(home: Path, tmp_path: Path) -> None:
    with StoreReader(home / "strategy.sqlite") as reader:
        done = export_run(reader, reader.run("BTC_bars_1"), tmp_path / "out", "parquet", part_rows=100)
        expected = [fill.n for fill in reader.fills(1)]
    parts = [name for name in done.files if name.startswith("strategy_fills")]
    assert len(parts) == -(-len(expected) // 100) > 1
    assert pl.read_parquet(tmp_path / "out" / "strategy_fills-*.parquet")["n"].to_list() == expected
