"""The data commands through the command line, each in a home folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from adapters.bar_files import read_bars
from adapters.funding_files import read_funding_table
from daemon.commands.data import app
from engine.errors import DataError, InputMissingError, TapewrightError, UsageError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
HEADER = "ts,open,high,low,close,volume\n"
SIX = HEADER + "1640995200000,10,12,9,11,5\n1640995260000,11,13,10,12,6\n1640995440000,11,13,10,12,0\n"


class Home:
    """A home folder and the command that works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: object) -> Result:
        """Run `data` with these arguments."""
        obj = SimpleNamespace(home=self.folder)
        return CliRunner().invoke(app, [str(argument) for argument in arguments], obj=obj)

    def json(self, *arguments: object) -> Any:
        """Run with --json: one object on one line and nothing else."""
        result = self.run(*arguments, "--json")
        assert result.stdout.count("\n") == 1
        return json.loads(result.stdout)

    def file(self, text: str, name: str = "source.csv") -> Path:
        """Write a source file beside the stored ones."""
        path = self.folder / name
        path.write_text(text)
        return path

    def stored(self) -> dict[str, bytes]:
        """Return everything under data/, byte for byte."""
        return {path.name: path.read_bytes() for path in (self.folder / "data").rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def raised(result: Result, kind: type[TapewrightError]) -> TapewrightError:
    assert isinstance(result.exception, kind), result.output
    assert result.exception.remedy
    return result.exception


def test_import_tells_what_it_read_and_stores_it(home: Home) -> None:
    result = home.run("import", home.file(SIX), "--symbol", "BTCUSDT", "--timeframe", "1m")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "Stored 3 bars of BTCUSDT 1m: data/raw/BTCUSDT_1m.parquet",
        "  times read as integers in ms",
        "  2022-01-01 00:00:00 to 2022-01-01 00:04:00 UTC",
        "  2 bars missing in 1 runs, longest 2: 2022-01-01 00:02:00 (2)",
        "  1 bars with volume 0",
    ]
    assert len(read_bars(home.folder / "data/raw/BTCUSDT_1m.parquet", "BTCUSDT", "1m")) == 3


def test_import_json(home: Home) -> None:
    report = home.json("import", home.file(SIX), "--symbol", "BTCUSDT", "--timeframe", "1m")
    assert (report["stored"], report["quality"]["rows_count"]) == ("data/raw/BTCUSDT_1m.parquet", 3)
    assert report["quality"]["gaps"]["bars_missing"] == 2


def test_a_refused_import_names_rows_and_loses_nothing(home: Home) -> None:
    home.run("import", home.file(SIX), "--symbol", "BTCUSDT", "--timeframe", "1m")
    before = home.stored()
    bad = home.file(SIX.replace("11,13,10,12,0", "11,9,10,12,0"), "bad.csv")
    error = raised(home.run("import", bad, "--symbol", "BTCUSDT", "--timeframe", "1m"), DataError)
    assert error.exit_code == 65
    assert "bad.csv was not stored: 1 high_below_low" in error.message
    assert "row 3 (line 4)" in error.message
    assert home.stored() == before
    report = home.json("import", bad, "--symbol", "BTCUSDT", "--timeframe", "1m")
    assert (report["stored"], report["quality"]["counts"]) == ("", {"high_below_low": 1})
    assert home.stored() == before


def test_repair_stores_and_records(home: Home) -> None:
    bad = home.file(SIX.replace("11,13,10,12,0", "11,9,10,12,0"))
    result = home.run("import", bad, "--symbol", "BTCUSDT", "--timeframe", "1m", "--repair")
    assert result.exit_code == 0, result.output
    assert "1 repairs, each one recorded in data/raw/BTCUSDT_1m.repairs.jsonl" in result.stdout
    record = json.loads((home.folder / "data/raw/BTCUSDT_1m.repairs.jsonl").read_text())
    assert (record["action"], record["kind"], record["line"]) == ("widened", "high_below_low", 4)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--symbol", "BTCUSDT"), UsageError, "timeframe of the bars is not given"),
        (("--symbol", "BTCUSDT", "--timeframe", "1x"), UsageError, "is not a timeframe"),
        (("--symbol", "BTC/USDT", "--timeframe", "1m"), UsageError, "is not a symbol"),
        (("--symbol", "BTCUSDT", "--timeframe", "5m"), DataError, "off_grid"),
        (("--symbol", "BTCUSDT", "--kind", "funding"), DataError, "funding_rate"),
    ],
)
def test_wrong_arguments(home: Home, arguments: tuple[str, ...], kind: type[TapewrightError], message: str) -> None:
    assert message in raised(home.run("import", home.file(SIX), *arguments), kind).message
    assert not (home.folder / "data").exists()


def test_wrong_files(home: Home) -> None:
    arguments = ("--symbol", "BTCUSDT", "--timeframe", "1m")
    assert "File not found" in raised(home.run("import", "none.csv", *arguments), InputMissingError).message
    assert "is a directory" in raised(home.run("import", home.folder, *arguments), DataError).message
    assert "is empty" in raised(home.run("import", home.file(""), *arguments), DataError).message
    assert "has no rows" in raised(home.run("import", home.file(HEADER), *arguments), DataError).message
    no_volume = home.file("ts,open,high,low,close\n1640995200,10,12,9,11\n")
    assert "--no-volume" in raised(home.run("import", no_volume, *arguments), DataError).remedy
    assert home.run("import", no_volume, *arguments, "--no-volume").exit_code == 0


def test_synth_makes_a_market_and_does_not_replace_another(home: Home) -> None:
    first = home.json("synth", "--days", 2)
    assert (first["rows_count"], first["stored"]) == (2880, "data/raw/SYNTH_1m.parquet")
    assert home.json("synth", "--days", 2) == first
    assert "is stored already" in raised(home.run("synth", "--days", 2, "--seed", 9), UsageError).message
    assert home.json("synth", "--days", 2, "--seed", 9, "--replace")["content_sha256"] != first["content_sha256"]
    result = home.run("synth", "--symbol", "X", "--timeframe", "1h", "--days", 3)
    assert result.stdout == "Made 72 bars of X 1h, seed 1: data/raw/X_1h.parquet\n"
    assert "0 bars" in raised(home.run("synth", "--symbol", "Y", "--days", 0), UsageError).message


def test_check_of_everything_stored(home: Home) -> None:
    assert "No bars are stored" in raised(home.run("check"), InputMissingError).message
    home.run("synth", "--days", 1)
    home.run("import", home.file(SIX), "--symbol", "BTCUSDT", "--timeframe", "1m")
    result = home.run("check")
    assert result.exit_code == 0
    assert "data/raw/SYNTH_1m.parquet: 1,440 bars of 1m, sound" in result.stdout
    report = home.json("check")
    assert report["sound"] is True
    assert [file["symbol"] for file in report["files"]] == ["BTCUSDT", "SYNTH"]
    assert report["files"][1]["tick_size"] == "0.01"
    assert len(home.json("check", "--symbol", "SYNTH")["files"]) == 1
    missing = raised(home.run("check", "--symbol", "ETHUSDT", "--timeframe", "1m"), InputMissingError)
    assert missing.message == "Data file not found: data/raw/ETHUSDT_1m.parquet"


def test_check_finds_and_ends_with_1(home: Home) -> None:
    bad = home.file(SIX.replace("11,13,10,12,0", "11,9,10,12,0"))
    result = home.run("check", bad, "--timeframe", "1m")
    assert result.exit_code == 1
    assert "NOT SOUND" in result.stdout
    assert "high_below_low: row 3 (line 4) 2022-01-01 00:04:00: high 9.0" in result.stdout
    assert home.json("check", bad, "--timeframe", "1m")["sound"] is False
    assert "is not known" in raised(home.run("check", bad), UsageError).message


def test_check_finds_a_damaged_file_among_good_ones_and_one_that_was_changed(home: Home) -> None:
    home.run("synth", "--days", 1)
    home.run("synth", "--days", 1, "--symbol", "CUT")
    home.run("synth", "--days", 1, "--symbol", "CHANGED")
    cut = home.folder / "data/raw/CUT_1m.parquet"
    cut.write_bytes(cut.read_bytes()[:-10])
    changed = home.folder / "data/raw/CHANGED_1m.parquet"
    metadata = {key: value for key, value in pl.read_parquet_metadata(changed).items() if key != "ARROW:schema"}
    pl.read_parquet(changed).with_columns(pl.col("volume") + 1).write_parquet(changed, metadata=metadata)
    result = home.run("check")
    assert result.exit_code == 1
    assert "SYNTH_1m.parquet: 1,440 bars of 1m, sound" in result.stdout
    assert "is damaged" in result.stdout
    assert "the file has changed since" in result.stdout
    report = home.json("check")
    assert [file["hash_differs"] for file in report["files"]] == [True, False]
    assert len(report["unreadable"]) == 1
    raised(home.run("check", cut), DataError)


def test_funding_and_mark_prices(home: Home) -> None:
    rates = home.file("ts,funding_rate\n1664582400008,0.0001\n1664582400008,0.0001\n")
    result = home.run("import", rates, "--symbol", "BTCUSDT", "--kind", "funding")
    assert "Stored 1 funding rows of BTCUSDT: data/funding/BTCUSDT.parquet" in result.stdout
    assert "1 equal repeats dropped" in result.stdout
    marks = home.file("ts,open\n1664582400000,20000.5\n")
    report = home.json("import", marks, "--symbol", "BTCUSDT", "--kind", "mark")
    assert report["stored"] == "data/mark/BTCUSDT.parquet"
    folder = home.folder / "data"
    table = read_funding_table("BTCUSDT", folder / "funding/BTCUSDT.parquet", folder / "mark/BTCUSDT.parquet")
    assert (table.rate_e12.tolist(), table.mark_e8.tolist()) == ([10**8], [2_000_050_000_000])


def test_the_command_loads_nothing_heavy_before_it_runs() -> None:
    code = (
        "import sys, daemon.commands.data\n"
        "print(sorted({'polars', 'rich', 'numpy', 'numba', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.real_data
def test_real_gaps_are_told(home: Home) -> None:
    path = DATA / "ohlcv" / "bitfinex_spot_BTCUSD_1m_2019.parquet"
    if not path.exists():
        pytest.skip("../shared/data is not there")
    result = home.run("import", path, "--symbol", "BTCUSD", "--timeframe", "1m")
    assert "12,873 bars missing in 9,955 runs, longest 197" in result.stdout
    assert home.json("check", "--symbol", "BTCUSD", "--timeframe", "1m")["sound"] is True
