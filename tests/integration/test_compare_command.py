"""`tapewright compare`: what it says of runs that differ in one known thing, from their stored rows.

What a difference should be is worked out here from trades.csv and fills.parquet of both runs, with decimals.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adapters.store import StoreReader
from daemon.commands.compare import _PARTS
from tests.backtests import backtested, json_by, make_home, said_by

ZERO = Decimal(0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("home"), "SYNTH", "OTHER")


class Both:
    """Two runs, what `compare --json` says of them, and their files."""

    def __init__(self, capsys: pytest.CaptureFixture[str], home: Path, *settings: tuple[str, ...]) -> None:
        self.runs = [backtested(capsys, home, *each) for each in settings]
        self.said = json_by(capsys, home, "compare", *(run["run_id"] for run in self.runs))
        self.parts = {name: Decimal(value) for name, value in self.said["attribution"].items()}
        self.trades = [pl.read_csv(Path(run["folder"]) / "trades.csv", infer_schema=False) for run in self.runs]
        finals = [Decimal(run["final_equity"]) for run in self.runs]
        self.difference = finals[1] - finals[0]

    def money(self, run: int, column: str) -> Decimal:
        """The sum of a column of a run's trades.csv."""
        return sum((Decimal(value) for value in self.trades[run][column]), ZERO)

    def assert_whole(self, **expected: Decimal) -> None:
        """The parts are the difference of the accounts; all that are not named are zero."""
        assert sum(self.parts.values()) == Decimal(self.said["net_profit"]["difference"]) == self.difference
        assert self.parts == dict.fromkeys(_PARTS, ZERO) | expected


def test_a_run_and_its_repetition_differ_in_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = Both(capsys, home, (), ())
    both.assert_whole()
    assert both.said["hash_equal"]
    assert (both.said["config"], both.said["code"]) == ([], [])
    assert (both.said["first_decision"], both.said["first_fill"]) == (None, None)
    assert both.said["trades"]["matched"] == both.runs[0]["trades"] > 100
    assert all(each["first"] == each["second"] for each in both.said["figures"].values())
    shown = said_by(capsys, home, "compare", *(run["run_id"] for run in both.runs))
    assert "The hashes are equal: both did the same, to the last unit." in shown
    same = json_by(capsys, home, "compare", both.runs[0]["run_id"], both.runs[0]["run_id"])
    assert set(same["attribution"].values()) == {"0.00000000"}


def test_other_fees_are_fees_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = Both(capsys, home, (), ("commission_bps=7",))
    both.assert_whole(fees=both.money(0, "fees") - both.money(1, "fees"))
    assert both.parts["fees"] < -100
    assert [(each["path"], each["first"], each["second"]) for each in both.said["config"]] == [
        ("commission.maker_bps", "4", "7"), ("commission.taker_bps", "4", "7"),
    ]  # fmt: skip
    assert both.said["first_decision"] is None
    assert both.said["first_fill"] is None


def test_other_slippage_is_told_apart_from_prices(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Base prices are the same, so what differs is what fills add to them, and the fees on that."""
    both = Both(capsys, home, (), ("slippage_bps=5",))
    paid = []
    for run in both.runs:
        fills = pl.read_parquet(Path(run["folder"]) / "fills.parquet")
        columns = zip(fills["price"], fills["base_price"], fills["size"], strict=True)
        exact = ([Decimal(repr(round(value, 6))) for value in row] for row in columns)  # ticks of 0.01
        paid.append(sum(((price - base) * size for price, base, size in exact), ZERO))
    both.assert_whole(slippage=paid[0] - paid[1], fees=both.money(0, "fees") - both.money(1, "fees"))
    assert both.said["figures"]["costs.slippage"] == {
        "first": f"{paid[0]:.8f}", "second": f"{paid[1]:.8f}",
    }  # fmt: skip
    assert both.said["first_decision"] is None
    assert both.said["first_fill"]["first"]["what"].keys() == {"side", "size", "price"}


def test_inverse_contracts_are_taken_apart_as_their_ledger_books_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values are rounded quotients there: base values and slippage must still be the ledger's own."""
    inverse = "instruments.SYNTH={kind: inverse, multiplier: 100, lot_size: 1, tick_size: 0.01}"
    both = Both(capsys, home, (inverse, "slippage_bps=0"), (inverse, "slippage_bps=5"))
    assert both.said["figures"]["costs.slippage"]["first"] == "0.00000000"
    slippage = -Decimal(both.said["figures"]["costs.slippage"]["second"])
    both.assert_whole(slippage=slippage, fees=both.money(0, "fees") - both.money(1, "fees"))
    assert slippage < 0


def test_twice_the_size_is_size_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = Both(capsys, home, (), ("strategy.params.size=2.0",))
    rounding = sum((abs(value) for name, value in both.parts.items() if name != "size"), ZERO)
    assert rounding <= Decimal("0.00000001") * 2 * both.runs[0]["trades"]  # of fees, at each fill
    assert sum(both.parts.values()) == both.difference
    assert abs(both.parts["size"] - both.money(0, "pnl")) <= rounding
    first = both.said["first_decision"]
    assert (first["first"]["what"]["size"], first["second"]["what"]["size"]) == ("1", "2")
    shown = said_by(capsys, home, "compare", *(run["run_id"] for run in both.runs))
    assert "size 1 (A), 2 (B)" in shown


def test_funding_is_a_part_of_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paid = ("funding.enabled=true", "funding.rate=0.0001")
    both = Both(capsys, home, (), paid)
    both.assert_whole(funding=both.money(0, "funding") - both.money(1, "funding"))
    assert both.parts["funding"] != 0


def test_other_parameters_name_the_first_decision(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = Both(capsys, home, (), ("strategy.params.slow=34",))
    assert sum(both.parts.values()) == both.difference
    trades = both.said["trades"]
    for number, name in enumerate(("only_first", "only_second")):
        entries = [each["entry_time"][:23] for each in trades[name]]
        own = {row["entry_time"][:23]: Decimal(row["pnl"]) for row in both.trades[number].iter_rows(named=True)}
        assert entries
        assert both.parts[name] == (-1 if number == 0 else 1) * sum((own[time] for time in entries), ZERO)
        assert trades["matched"] + len(entries) == len(own)
    orders = [
        pl.read_parquet(Path(run["folder"]) / "orders.parquet").filter(pl.col("state") == "NEW") for run in both.runs
    ]
    pairs = list(zip(*(list(frame.select("ts_ns", "size").iter_rows()) for frame in orders), strict=False))
    place = next(place for place, (one, other) in enumerate(pairs) if one != other)
    assert both.said["first_decision"]["ts_ns"] == min(one[0] for one in pairs[place])
    assert both.said["first_decision"]["symbol"] == "SYNTH"
    assert [each["path"] for each in both.said["config"]] == ["strategies[0].params.slow"]


def test_another_set_of_symbols_leaves_the_shared_ones_matched(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = Both(capsys, home, ("symbols=[SYNTH, OTHER]",), ("symbols=[SYNTH]",))
    other = both.trades[0].filter(pl.col("symbol") == "OTHER")
    both.assert_whole(only_first=-sum((Decimal(value) for value in other["pnl"]), ZERO))
    assert both.said["first_decision"] is None
    assert both.said["trades"]["matched_unlike"] == 0


def test_runs_of_other_cash_units_share_the_finer_ones(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fees are rounded to each run's own unit: that is all there is between them."""
    odd = "commission_bps=4.12345"
    both = Both(capsys, home, (odd,), (odd, "cash_decimals=10"))
    assert both.said["net_profit"]["first"].endswith("00")
    both.assert_whole(fees=both.money(0, "fees") - both.money(1, "fees"))
    assert 0 < abs(both.parts["fees"]) < Decimal("0.0001")


def test_runs_are_named_in_every_way(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [backtested(capsys, home, setting) for setting in ("commission_bps=1", "commission_bps=2")]
    with StoreReader(home / "strategy.sqlite") as reader:
        number = reader.run(runs[1]["run_id"]).run_id
    wanted = json_by(capsys, home, "compare", runs[0]["run_id"], runs[1]["run_id"])
    assert json_by(capsys, home, "runs", "compare", runs[0]["folder"], number) == wanted
    assert "holds no run nowhere" in said_by(capsys, home, "compare", runs[0]["run_id"], "nowhere", code=66)
    assert "begins the names of" in said_by(capsys, home, "compare", "SYNTH_", number, code=64)


def test_a_strategy_s_other_code_and_unlike_configs_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True, exist_ok=True)
    schema = 'def schema():\n    return {"id": "once", "name": "Once"}\n\n\n'
    text = schema + "def on_bar(ctx, i):\n    if i == AT:\n        ctx.buy(1)\n"
    names: list[Any] = []
    for at in ("10", "12"):
        (custom / "once.py").write_text(text.replace("AT", at), encoding="utf-8")
        names.append(backtested(capsys, home, "strategy={name: once}")["run_id"])
    said = json_by(capsys, home, "compare", *names)
    assert (said["config"], said["code"]) == ([], ["once"])
    assert said["first_decision"]["first"]["what"] == {
        "action": "order", "side": "buy", "size": "1", "type": "market", "tif": "GTC",
    }  # fmt: skip
    assert said["trades"]["matched"] == 1  # both are held to the end
    assert Decimal(said["attribution"]["entry_price"]) != 0
    assert Decimal(said["attribution"]["exit_price"]) == 0
    shown = said_by(capsys, home, "compare", *names)
    assert "The code of once is not the same." in shown
    assert json.loads(json.dumps(said)) == said


def test_a_field_that_has_come_since_is_no_difference(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run as an earlier version stored it, whose configs had no `report` and no `data.bank`."""
    both = Both(capsys, home, (), ())
    with closing(sqlite3.connect(home / "strategy.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE strategy_runs SET config = json_remove(config, '$.report', '$.data.bank') WHERE name = ?",
            (both.runs[0]["run_id"],),
        )
    found = json.loads(said_by(capsys, home, "compare", *(run["run_id"] for run in both.runs), "--json"))
    assert found["config"] == []
