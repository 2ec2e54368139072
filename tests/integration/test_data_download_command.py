"""`data download`, `data list` and runs that fetch what they lack: processes, output, exit codes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.bar_files import content_hash, path_of, read_bars, write_bars
from adapters.funding_files import FundingSeries, funding_path, mark_path, write_series
from adapters.synthetic_market import synthesize
from daemon.cli import run
from engine.bars import NS_PER_SECOND, Bars
from tests.sessions import Exchange, cli, end, exchange, start, wait_until

MINUTE_NS = 60 * NS_PER_SECOND
START_NS = 1_640_995_200 * NS_PER_SECOND  # 2022-01-01
COUNT = 60 * 1_500
CONFIG = """symbols: [BTCUSDT]
timeframe: 1m
start: 2022-01-03
end: 2022-01-05
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 0.1}}
initial_cash: 1000000
"""
RANGE = ("--symbol", "BTCUSDT", "--timeframe", "1m", "--start", "2022-01-01", "--end", "2022-03-04T12:00")


@pytest.fixture(scope="module")
def bars() -> Bars:
    made = synthesize("BTCUSDT", "1m", COUNT, 5)
    return msgspec.structs.replace(made, ts_ns=START_NS + np.arange(COUNT) * MINUTE_NS)


@pytest.fixture(scope="module")
def venue(bars: Bars, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose bars the exchange gives out."""
    folder = tmp_path_factory.mktemp("venue")
    write_bars(path_of(folder, "BTCUSDT", "1m"), bars)
    return folder


@pytest.fixture(scope="module")
def exchange_of_bars(venue: Path) -> Iterator[Exchange]:
    with exchange("--history", str(venue), "--symbol", "ETHUSDT") as running:
        yield running


class Done(msgspec.Struct, frozen=True):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""

    def run_it(*arguments: str) -> Done:
        capsys.readouterr()
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run_it


def rows_of(home: Path) -> int:
    path = path_of(home, "BTCUSDT", "1m")
    return len(read_bars(path, "BTCUSDT", "1m")) if path.exists() else 0


def test_a_download_that_is_killed_goes_on_to_the_same_bytes(venue: Path, tmp_path: Path) -> None:
    with exchange("--history", str(venue), "--symbol", "ETHUSDT", "--fault", "slow@0:0.03/3600") as running:
        home = tmp_path / "killed"
        arguments = ["--home", str(home), "data", "download", *RANGE, "--rest", running.rest]
        reached = [0]
        for number in (signal.SIGKILL, signal.SIGINT):
            process = start(arguments)
            try:
                wait_until(lambda: rows_of(home) > reached[-1], 60, lambda: f"{rows_of(home)} rows")
                process.send_signal(number)
                process.wait(30)
            finally:
                end(process)
            reached.append(rows_of(home))
        assert process.returncode == 130
        assert 0 < reached[1] < reached[2] < COUNT
        again = cli(*arguments, "--json")
        report = json.loads(again.stdout)
        assert (again.returncode, report["rows_count"]) == (0, COUNT)
        assert report["rows_fetched"] == COUNT - reached[2]
        whole = tmp_path / "whole"
        assert cli("--home", str(whole), *arguments[2:]).returncode == 0
        assert path_of(home, "BTCUSDT", "1m").read_bytes() == path_of(whole, "BTCUSDT", "1m").read_bytes()


def test_what_it_says(command: Command, exchange_of_bars: Exchange, bars: Bars, tmp_path: Path) -> None:
    rest = exchange_of_bars.rest
    wanted = ("--symbol", "BTCUSDT", "--timeframe", "1m", "--start", "2021-12-30", "--end", "2022-01-02")
    done = command("--home", str(tmp_path), "data", "download", *wanted, "--rest", rest)
    day = msgspec.structs.replace(
        bars, **{name: getattr(bars, name)[:1_440] for name in ("ts_ns", "open", "high", "low", "close", "volume")}
    )
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first.startswith("BTCUSDT 1m bars from BINANCE_FUTURES: 1,440 rows fetched by ")
    assert first.endswith(" requests, 1,440 stored: data/raw/BTCUSDT_1m.parquet")
    assert others == [
        "  2022-01-01 00:00:00 to 2022-01-01 23:59:00 UTC",
        "  nothing before 2022-01-01 00:00:00 UTC: the venue's first row",
        "  linear, tick 0.01, lot 0.00001, orders of at least 100: data/instruments/BTCUSDT.json",
        f"  from {rest}/fapi/v1/klines",
        f"  content sha256 {content_hash(day)}",
    ]
    assert "100%" in done.stderr
    files = json.loads(command("--home", str(tmp_path), "data", "list", "--json").stdout)["files"]
    assert files == [
        {
            "path": "data/raw/BTCUSDT_1m.parquet",
            "symbol": "BTCUSDT",
            "timeframe": "1m",
            "kind": "bars",
            "rows_count": 1_440,
            "first_ts_ns": START_NS,
            "last_ts_ns": START_NS + 1_439 * MINUTE_NS,
            "rows_missing": 0,
            "gaps_count": 0,
            "sources": [f"{rest}/fapi/v1/klines"],
            "content_sha256": content_hash(day),
            "error": "",
        }
    ]


def test_the_list_names_imports_gaps_and_what_cannot_be_read(command: Command, tmp_path: Path) -> None:
    assert "Nothing is stored" in command("--home", str(tmp_path), "data", "list").stdout
    source = tmp_path / "six.csv"
    source.write_text("ts,open,high,low,close,volume\n1640995200000,1,2,1,2,5\n1640995500000,1,2,1,2,5\n")
    imported = ("data", "import", str(source), "--symbol", "X", "--timeframe", "1m")
    assert command("--home", str(tmp_path), *imported).returncode == 0
    source.write_text("ts,funding_rate\n1640995200000,0.0001\n1641024000003,0.0002\n1641110400000,0.0003\n")
    assert (
        command("--home", str(tmp_path), "data", "import", str(source), "--symbol", "X", "--kind", "funding").returncode
        == 0
    )
    path_of(tmp_path, "Y", "1m").write_bytes(b"PAR1 and nothing else")
    listed = command("--home", str(tmp_path), "data", "list")
    assert listed.returncode == 1
    lines = listed.stdout.splitlines()
    assert lines[0] == "data/raw/X_1m.parquet: X 1m bars, 2 rows, 4 missing in 1 runs"
    assert lines[2] == "  from six.csv"
    assert lines[4].startswith("data/raw/Y_1m.parquet: Y 1m bars: CANNOT BE READ: data/raw/Y_1m.parquet is damaged")
    assert lines[5] == "data/funding/X.parquet: X funding, 3 rows, 2 missing in 1 runs"


def test_each_wrong_option_ends_with_its_code(command: Command, exchange_of_bars: Exchange, tmp_path: Path) -> None:
    cases = [
        # options beyond the symbol, exit code, words
        (("--timeframe", "1m", "--start", "yesterday"), 64, "--start 'yesterday' is no time"),
        (("--start", "2022-01-01"), 64, "timeframe of the bars is not given"),
        (("--timeframe", "1m", "--start", "2022-01-02", "--end", "2022-01-01"), 64, "is not before --end"),
        (("--timeframe", "7m", "--start", "2022-01-01"), 64, "Choose one of 1m, 3m"),
        (("--timeframe", "1m", "--start", "2022-01-01", "--kind", "trades"), 64, "trades"),
        (("--timeframe", "1m", "--start", "2019-01-01", "--end", "2019-02-01"), 66, "its first are of 2022-01-01"),
    ]
    for options, code, words in cases:
        rest = exchange_of_bars.rest
        done = command("--home", str(tmp_path), "data", "download", "--symbol", "BTCUSDT", *options, "--rest", rest)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
    unscheme = command("--home", str(tmp_path), "data", "download", *RANGE, "--rest", "127.0.0.1")
    assert (unscheme.returncode, "with its scheme" in unscheme.stderr) == (64, True)


def test_a_backtest_fetches_what_it_lacks_and_once(
    command: Command, exchange_of_bars: Exchange, bars: Bars, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG)
    run = ("--home", str(tmp_path), "backtest", str(config))
    without = command(*run)
    assert without.returncode == 66
    assert "tapewright data download --symbol BTCUSDT --timeframe 1m" in without.stderr
    section = f"data: {{download: missing, rest: '{exchange_of_bars.rest}', lookback_bars: 100}}\n"
    config.write_text(CONFIG + section)
    done = command(*run)
    assert done.returncode == 0, done.stderr
    assert "BTCUSDT: 2,980 bars downloaded" in done.stderr
    stored = read_bars(path_of(tmp_path, "BTCUSDT", "1m"), "BTCUSDT", "1m")
    first = 2 * 1_440 - 100
    assert stored.ts_ns.tolist() == bars.ts_ns[first : first + 2_980].tolist()
    before = path_of(tmp_path, "BTCUSDT", "1m").stat().st_mtime_ns
    time.sleep(0.01)
    again = command(*run, "--json")
    assert (again.returncode, json.loads(again.stdout)["bars"]) == (0, 2_880)
    assert path_of(tmp_path, "BTCUSDT", "1m").stat().st_mtime_ns == before
    longer = command(*run, "--set", "end=2022-01-06")
    assert "BTCUSDT: 1,440 bars downloaded" in longer.stderr
    config.write_text((CONFIG + section).replace("start: 2022-01-03\n", ""))
    assert "no start is given" in command(*run).stderr


def test_a_backtest_fetches_its_funding_and_mark_prices_and_goes_on_without(
    command: Command, bars: Bars, tmp_path: Path
) -> None:
    """Settlements of every 8 h from 2022-01-01 on, made up; two days of the run have six."""
    venue = tmp_path / "venue"
    write_bars(path_of(venue, "BTCUSDT", "1m"), bars)
    times = START_NS + np.arange(30) * 8 * 60 * MINUTE_NS
    write_series(funding_path(venue, "BTCUSDT"), FundingSeries(times, np.full(30, 0.0003), 0), "funding", ("x",))
    write_series(mark_path(venue, "BTCUSDT"), FundingSeries(times, np.full(30, 40_000.0), 0), "mark", ("x",))
    home = tmp_path / "mine"
    config = tmp_path / "run.yaml"
    config.write_text(f"{CONFIG}funding: {{enabled: true, rate: 0.0001}}\n")
    run = ("--home", str(home), "backtest", str(config), "--set", "data.download=missing", "--set")
    with exchange("--history", str(venue), "--symbol", "ETHUSDT") as running:
        done = command(*run, f"data.rest={running.rest}")
        assert done.returncode == 0, done.stderr
        assert "BTCUSDT: 6 funding rates downloaded: data/funding/BTCUSDT.parquet" in done.stderr
        assert "BTCUSDT: 6 mark prices downloaded: data/mark/BTCUSDT.parquet" in done.stderr
        assert "BTCUSDT: 6 funding rates from BTCUSDT.parquet" in done.stderr
        again = command(*run, f"data.rest={running.rest}")
        assert (again.returncode, "downloaded" in again.stderr) == (0, False)
    funding_path(home, "BTCUSDT").unlink()
    funding_path(venue, "BTCUSDT").unlink()
    with exchange("--history", str(venue), "--symbol", "ETHUSDT") as running:
        done = command(*run, f"data.rest={running.rest}")
        assert done.returncode == 0, done.stderr
        assert "BTCUSDT: funding rates are not to be had: " in done.stderr
        assert "BTCUSDT: no funding file, so the static rate 0.0001 every 8 h" in done.stderr
