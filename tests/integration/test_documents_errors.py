"""The errors of the two seed documents, each by the command line as a process, and each remedy followed to the letter.

A row breaks something, runs, looks for exit code and words, does what the remedy says, in its own words where they are
a command or a file's name, and runs again: that must succeed. B is backtest-flow.md, A strategy-architecture.md.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import strategies
from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from engine.kernels.layout import PRINT
from tests.sessions import CONFIG, Daemon, cli, exchange
from tests.tape_folders import BTC, CONFIG_TEXT, flow, flow_session, write_flow

SHIPPED = Path(strategies.__file__).parent
BARS = 3_000
B_YAML = """symbols: ["BTCUSDT", "ETHUSDT"]      # Assets to test
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
PLUGIN = """inputs = ("close",)
parameters = {"length": {"type": "int", "default": 20, "min": 1, "max": 500}}
outputs = ("value",)


def compute(close, length):
    return close * 2.0
"""

Break = Callable[[Path], None]
Follow = Callable[[Path, str], None]


class Error(msgspec.Struct, frozen=True):
    """A row: the document's line, what breaks, how the run ends and what it says, how its remedy is followed."""

    line: str
    breaks: Break
    code: int
    said: str
    follow: Follow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """B's config as printed, with some bars of its two symbols."""
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        target = path_of(tmp_path, symbol, "1m")
        write_bars(target, synthesize(symbol, "1m", BARS, number))
    (tmp_path / "config.yaml").write_text(B_YAML, encoding="utf-8")
    return tmp_path


def edit(old: str, new: str) -> Break:
    """Replace words of the config."""

    def change(home: Path) -> None:
        path = home / "config.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def bars_are_gone(home: Path) -> None:
    path_of(home, "ETHUSDT", "1m").unlink()


def runs(pattern: str, **words: str) -> Follow:
    """Run the command that the remedy names, its capitals filled in."""

    def follow(home: Path, said: str) -> None:
        found = re.search(pattern, said)
        assert found is not None, said
        arguments = [words.get(word, word) for word in shlex.split(found[1])]
        done = cli("--home", str(home), *[word.replace("HOME", str(home)) for word in arguments])
        assert done.returncode == 0, done.stderr

    return follow


def imports(home: Path, said: str) -> None:
    bars = synthesize("ETHUSDT", "1m", BARS, 1)
    rows = zip(bars.ts_ns // 10**6, bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True)
    lines = [",".join(str(value) for value in row) for row in rows]
    (home / "mine.csv").write_text("\n".join(["ts,open,high,low,close,volume", *lines]), encoding="utf-8")
    runs(r"tapewright (data import [^;()]+?) \(", FILE="HOME/mine.csv")(home, said)


def downloads(home: Path, said: str) -> None:
    venue = home / "venue"
    write_bars(path_of(venue, "ETHUSDT", "1m"), synthesize("ETHUSDT", "1m", BARS, 1))
    with exchange("--history", str(venue), "--symbol", "BTCUSDT") as running:
        follow = runs(r"from Binance: tapewright (data download [^;()]+)\)", DATE="2024-01-01")
        # The loopback exchange stands where the network would be.
        follow(home, said.replace("--start DATE --end DATE)", f"--start DATE --end 2024-01-03 --rest {running.rest})"))


def creates(source: Path | str) -> Follow:
    """Create the file that the remedy names."""

    def follow(home: Path, said: str) -> None:
        found = re.search(r"[Cc]reate (strategies/[\w/]+\.py)", said)
        assert found is not None, said
        path = home / found[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        text = source if isinstance(source, str) else source.read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")

    return follow


def corrects(wrong: str) -> Follow:
    """Write what the message takes to be meant in place of what is wrong."""

    def follow(home: Path, said: str) -> None:
        found = re.search(r"[Dd]id you mean [\"']?(\w+)", said)
        assert found is not None, said
        edit(wrong, found[1])(home)

    return follow


def moves(wrong: str, right: str) -> Follow:
    """Write one of the values that the message allows."""

    def follow(home: Path, said: str) -> None:
        assert right in said
        edit(wrong, right)(home)

    return follow


def appended(text: str) -> Break:
    def change(home: Path) -> None:
        path = home / "config.yaml"
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    return change


def only_bars_of_five_minutes(home: Path) -> None:
    edit('timeframe: "1m"', 'timeframe: "5m"')(home)
    edit(B_YAML[B_YAML.index("indicators:") :], "")(home)


def within_the_range(home: Path, said: str) -> None:
    found = re.search(r"is above the maximum (\d+)", said)
    assert found is not None, said
    edit("fast: 501", f"fast: {found[1]}")(home)


NOT_FOUND = "Data file not found: data/raw/ETHUSDT_1m.parquet"
ERRORS = [
    Error('B: Data file not found → "Run scripts/download_data.py"', bars_are_gone, 66, NOT_FOUND, downloads),
    Error("B: Data file not found, by import", bars_are_gone, 66, NOT_FOUND, imports),
    Error(
        "B: Data file not found, made up", bars_are_gone, 66, NOT_FOUND, runs(r"or: tapewright (data synth [^;()]+);")
    ),
    Error(
        "B: Data file not found, the symbol misspelt", edit('"ETHUSDT"', '"ETHUSTD"'), 66, "Did you mean ETHUSDT?",
        corrects("ETHUSTD"),
    ),
    Error(
        "B: Data file not found, bars of another timeframe", only_bars_of_five_minutes, 66,
        "Of BTCUSDT there are bars of 1m", moves('"5m"', "1m"),
    ),
    Error(
        "B: Indicators on different TFs, one that the run's bars cannot make",
        edit('timeframe: "1m"', 'timeframe: "5m"'), 78, "set the run's timeframe to 1m", moves('"5m"', "1m"),
    ),
    Error(
        'B: Strategy not found → "Create strategies/entry/{name}.py"', edit('name: "ema_cross"', "name: own_cross"), 66,
        'Entry strategy not found: "own_cross"', creates(SHIPPED / "entry" / "ema_cross.py"),
    ),
    Error(
        "B: Strategy not found, the exit", edit('name: "fixed_tp_sl"', "name: own_exit"), 66,
        'Exit strategy not found: "own_exit"', creates(SHIPPED / "exit" / "fixed_tp_sl.py"),
    ),
    Error(
        "B: Strategy not found, misspelt", edit('name: "ema_cross"', "name: ema_cros"), 66, 'Did you mean "ema_cross"?',
        corrects("ema_cros"),
    ),
    Error(
        'B: Indicator not implemented → "Create indicators/{name}_calculator.py"', edit("sma_20_1m", "mine_20_1m"), 78,
        'Indicator not implemented: "mine"', creates(PLUGIN),
    ),
    Error(
        "B: Indicator not implemented, misspelt", edit("sma_20_1m", "smaa_20_1m"), 78, 'Did you mean "sma"?',
        corrects("smaa"),
    ),
    Error(
        "B: Invalid config → Message with problematic field", appended("comission_bps: 4\n"), 78,
        "config.yaml:14: comission_bps: unknown field", corrects("comission_bps"),
    ),
    Error(
        "B: Invalid config, a value", appended("fill_model: close_to_opne\n"), 78,
        'config.yaml:14: fill_model: "close_to_opne" is not allowed; one of close_to_open, close_to_close',
        corrects("close_to_opne"),
    ),
    Error(
        "B: Invalid config, a range", appended("leverage: 2000\n"), 78,
        "config.yaml:14: leverage: 2000 is not allowed; a number from 1 to 1000", moves("2000", "1000"),
    ),
    Error(
        "B: Invalid config, a parameter", edit("fast: 20", "fats: 20"), 78, "unknown parameter 'fats'",
        corrects("fats"),
    ),
    Error(
        "B: Invalid config, a parameter's range", edit("fast: 20", "fast: 501"), 78, "is above the maximum",
        within_the_range,
    ),
    Error(
        "B: Invalid config, YAML", appended("risk: {max_drawdown: 0.2\n"), 78, "config.yaml:15:1: not valid YAML",
        lambda home, _: edit("0.2\n", "0.2}\n")(home),
    ),
    Error(
        "B: Invalid config, a layer", appended("extends: base.yaml\n"), 78,
        "base.yaml cannot be read: No such file or directory",
        lambda home, _: (home / "base.yaml").write_text("leverage: 2\n") and None,
    ),
]  # fmt: skip


def run_b(home: Path) -> tuple[int, str]:
    done = cli("--home", str(home), "backtest", str(home / "config.yaml"), "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("error", ERRORS, ids=[error.line for error in ERRORS])
def test_an_error_says_its_remedy_and_the_remedy_works(error: Error, home: Path) -> None:
    error.breaks(home)
    code, said = run_b(home)
    assert (code, error.said in said) == (error.code, True), said
    assert not (home / "results").exists()
    error.follow(home, said)
    code, said = run_b(home)
    assert code == 0, said


def log_of(home: Path) -> list[str]:
    """The notes in the run log of the last run."""
    folder = max((home / "results").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    log = pl.read_parquet(folder / "run_log.parquet")
    return [str(text) for text in log.filter(pl.col("event") == "note")["text"]]


def test_b_cache_corrupted_is_computed_again_and_cleaned(home: Path) -> None:
    """B: Cache corrupted → "Run scripts/cleanup_cache.py"."""
    entry = home / "data" / "indicators" / "BTCUSDT" / "rsi_14_1m.parquet"
    assert run_b(home)[0] == 0
    sound = entry.read_bytes()
    entry.write_bytes(sound[: len(sound) // 2])
    listed = cli("--home", str(home), "cache", "list")
    assert "rsi_14_1m" in listed.stdout
    runs(r"tapewright (cache clean --unusable)\.")(home, listed.stdout)
    assert not entry.exists()
    assert run_b(home)[0] == 0
    assert entry.read_bytes() == sound
    entry.write_bytes(sound[: len(sound) // 2])
    done = cli("--home", str(home), "backtest", str(home / "config.yaml"))
    assert done.returncode == 0, done.stderr
    assert "data/indicators/BTCUSDT/rsi_14_1m.parquet was damaged" in done.stderr
    runs(r"checked by: tapewright (cache list)")(home, done.stderr)
    assert entry.read_bytes() == sound


BROKEN = [
    # what stands in the strategy's file in place of what is right, what is said, in A's words
    ('"type": "int"', '"type": "integer"', "schema", "A: invalid schema"),
    ("def on_bar(ctx, i):", "def on_bar(ctx, i:", "strategies/custom/mine.py:", "A: reload errors are shown: syntax"),
    ("def on_bar(ctx, i):", "def on_bar(ctx):", "on_bar(ctx, i)", "A: the module contract"),
]
MINE = """def schema():
    return {"id": "mine", "name": "Mine", "inputs": {"size": {"type": "int", "default": 1, "min": 1, "max": 9}}}


def on_bar(ctx, i):
    if i == 2:
        ctx.buy(ctx.params["size"])
"""


@pytest.mark.parametrize(("right", "wrong", "said", "line"), BROKEN, ids=[row[3] for row in BROKEN])
def test_a_strategy_file_that_is_wrong_names_its_line(right: str, wrong: str, said: str, line: str, home: Path) -> None:
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "mine.py").write_text(MINE.replace(right, wrong))
    arguments = ("--home", str(home), "backtest", str(home / "config.yaml"), "--set", "strategy=", "--set",
                 "strategy=mine", "--json")  # fmt: skip
    done = cli(*arguments)
    assert (done.returncode, said in done.stderr) == (65, True), (line, done.stderr)
    (custom / "mine.py").write_text(MINE)
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr


def a_json(home: Path) -> None:
    """A's own example as printed, its strategy, and bars of its span."""
    (home / "a.json").write_text(A_JSON, encoding="utf-8")
    bars = synthesize("BTCUSDT", "15m", 1_200, 4)
    step = 15 * 60 * 10**9
    start_ns = 1_700_000_000_000 * 10**6 // step * step
    shifted = msgspec.structs.replace(bars, ts_ns=start_ns + np.arange(1_200) * step)
    write_bars(path_of(home, "BTCUSDT", "15m"), shifted)


A_JSON = """{
  "symbol": "BTCUSDT",
  "timeframe": "15m",
  "start": 1700000000000,
  "end": 1701000000000,
  "initial_cash": 10000,
  "leverage": 1,
  "fill_model": "close_to_open",
  "commission_bps": 4,
  "slippage_bps": 2,
  "funding": {"enabled": true, "rate": 0.0},
  "sizing": {"type": "percent_equity", "value": 0.1}
}
"""


def test_a_json_as_printed_with_strategy(home: Path) -> None:
    """A: "Run config example (JSON)"; funding without the exchange's rates falls back to the static rate, said so."""
    a_json(home)
    arguments = ("--home", str(home), "backtest", str(home / "a.json"))
    assert "run with --strategy NAME" in cli(*arguments).stderr
    done = cli(*arguments, "--strategy", "ema_cross")
    assert done.returncode == 0, done.stderr
    assert "BTCUSDT: no funding file, and the static rate is 0: no funding" in log_of(home)
    done = cli(*arguments, "--strategy", "ema_cross", "--set", "funding.rate=0.0001")
    assert done.returncode == 0, done.stderr
    assert "BTCUSDT: no funding file, so the static rate 0.0001 every 8 h" in log_of(home)


def test_a_no_atr_falls_back_to_bps_and_says_so(home: Path) -> None:
    """A: "If ATR unavailable, fall back to fixed bps." The strategy buys before there is an ATR of 14 bars."""
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    (custom / "mine.py").write_text(MINE)
    slippage = "slippage={model: atr, atr_factor: 0.5, bps: 7}"
    done = cli("--home", str(home), "backtest", str(home / "config.yaml"), "--set", "symbols=[BTCUSDT]",
               "--set", "strategy=", "--set", "strategy=mine", "--set", slippage,
               "--set", "initial_cash=1000000")  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = "BTCUSDT: slippage of 1 fills by 7 bps, as there was no ATR of 14 bars yet"
    assert line in log_of(home)
    assert line in done.stderr
    folder = next((home / "results").iterdir())
    assert pl.read_parquet(folder / "fills.parquet")["model"].to_list() == ["bps", "atr"]


@pytest.mark.parametrize(("slippage", "by"), [("bps: 3", "bps"), ("model: spread, spread_bps: 4, bps: 3", "spread")])
def test_a_no_order_book_falls_back_to_spread_or_bps_and_says_so(slippage: str, by: str, tmp_path: Path) -> None:
    """A: "If order book unavailable, use spread or fixed bps." A tape of prints only."""
    records = flow()
    session = flow_session()
    bare = msgspec.structs.replace(session, instruments=(msgspec.structs.replace(BTC, channels=("prints",)),))
    write_flow(tmp_path / "tape", records[records["kind"] == PRINT], session=bare)
    (tmp_path / "run.yaml").write_text(f"{CONFIG_TEXT}slippage: {{{slippage}}}\n")
    done = cli("--home", str(tmp_path), "replay", str(tmp_path / "tape"), str(tmp_path / "run.yaml"))
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "results").iterdir())
    models = pl.read_parquet(folder / "fills.parquet")["model"].to_list()
    assert set(models) == {by}
    count = len(models)
    line = f"BTCUSDT: {count} of {count} fills met no order book, so price and slippage are {count} by {by}"
    assert line in log_of(tmp_path)


PAPER_MINE = """def schema():
    return {"id": "mine", "name": "Mine", "timer_ms": 300}


def on_timer(ctx):
    ctx.logger.info("good")
"""


def test_a_reload_errors_are_shown_and_the_last_good_version_stays(tmp_path: Path) -> None:
    """A: "Errors go to error dock; last good run stays visible"; and errors in the log files and in SQLite."""
    home = tmp_path / "home"
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True)
    file = custom / "mine.py"
    file.write_text(PAPER_MINE)
    config = CONFIG.replace("initial_cash:", "  - {name: mine, symbols: [BTCUSDT]}\ninitial_cash:", 1)
    with exchange("--seed", "3") as venue, Daemon(home, venue, config=config) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("good")
        file.write_text(PAPER_MINE.replace("def on_timer(ctx):", "def on_timer(ctx:"))
        refused = daemon.lines.wait_for("reload refused: the old code runs on", strategy="mine")
        assert "mine.py:5" in refused["why"]
        told = len(daemon.lines.of("good"))
        daemon.lines.wait_for("good", count=told + 2)
        file.write_text(PAPER_MINE.replace("good", "mended"))
        daemon.lines.wait_for("reloaded", strategy="mine")
        daemon.lines.wait_for("mended")
        file.write_text(PAPER_MINE.replace('ctx.logger.info("good")', "ctx.nothing()"))
        daemon.lines.wait_for("strategy faulted: it is told nothing more, the others run on", strategy="mine")
        daemon.stop()
        assert len(daemon.rows("SELECT message FROM errors WHERE message LIKE '%nothing%'")) == 1
