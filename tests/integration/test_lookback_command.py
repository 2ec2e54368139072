"""`data.lookback_bars` as a user meets it: figures from the start on, indicators that are warm at the first bar.

What the first rows of a journal must hold is read from the journal of a run that begins so many bars earlier.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.report import page
from adapters.synthetic_market import START_NS, synthesize
from daemon.cli import run
from daemon.rerunning import Rerunner
from daemon.stages import Quiet
from tests.backtests import json_by, said_by
from tests.reports import embedded

BARS = 2_880
MINUTE_MS = 60_000
FIRST = 1_440  # the bar of the start: the second day's first minute
LOOKBACK = 600
CONFIG = f"""symbols: [SYNTH]
timeframe: 1m
start: 2024-01-02
strategy: {{name: ema_cross, params: {{fast: 12, slow: 100, size: 1.0}}}}
indicators: [sma_200, rsi_14, ema_5_15m, bbands_5_2_1h]
initial_cash: 1000000
commission_bps: 4
data: {{lookback_bars: {LOOKBACK}}}
"""
RULE = """    if ctx.ind.ema(ctx.close, 9)[i] > ctx.ind['ema_4_15m'][i]:
        if ctx.position.size == 0:
            ctx.buy(1)
    elif ctx.position.size > 0:
        ctx.flatten()
"""
EARLIER = ("--set", "start=2024-01-01T14:00:00", "--set", "data.lookback_bars=0")


@pytest.fixture(autouse=True)
def charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the charting library, which may not have been fetched."""
    monkeypatch.setattr(page, "charts_script", lambda: "globalThis.LightweightCharts={};")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two days of minutes of SYNTH; of LATER all but the first 23 hours."""
    for symbol, first, seed in (("SYNTH", 0, 3), ("LATER", 1_380, 4)):
        bars = synthesize(symbol, "1m", BARS, seed)
        target = path_of(tmp_path, symbol, "1m")
        target.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: getattr(bars, name)[first:] for name in ("ts_ns", "open", "high", "low", "close", "volume")}
        write_bars(target, type(bars)(symbol, "1m", **columns))
    (tmp_path / "run.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "strategies" / "custom").mkdir(parents=True)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> dict[str, Any]:
    return json_by(capsys, home, "backtest", home / "run.yaml", *words)


def _journal(home: Path, found: dict[str, Any], symbol: str = "SYNTH") -> pl.DataFrame:
    return pl.read_parquet(home / found["journals"][symbol])


def _notes(found: dict[str, Any]) -> list[str]:
    log = pl.read_parquet(Path(found["folder"]) / "run_log.parquet")
    return [text for text in log.filter(pl.col("event") == "note")["text"] if "look back" in text]


def _indicators(journal: pl.DataFrame) -> pl.DataFrame:
    plain = {"timestamp", "symbol", "price", "entry_signal", "exit_signal", "in_position", "position_size", "capital",
             "drawdown"}  # fmt: skip
    return journal.select([name for name in journal.columns if name not in plain])


def test_a_run_begins_at_its_start_with_warm_indicators(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _run(capsys, home)
    folder = Path(found["folder"])
    assert found["bars"] == BARS - FIRST
    assert _notes(found) == ["SYNTH: 600 of 600 bars before the start are there to look back on"]
    equity, trades = pl.read_parquet(folder / "equity.parquet"), pl.read_csv(folder / "trades.csv")
    assert len(equity) == BARS - FIRST
    journal = _journal(home, found)
    start_ms = START_NS // 10**6 + FIRST * MINUTE_MS
    times = journal["timestamp"].dt.epoch("ms").to_list()
    assert times == [start_ms + row * MINUTE_MS for row in range(BARS - FIRST)]
    warm = _indicators(journal)
    assert warm.width == 4 + 2 + 2  # those of the config, bbands with three outputs, and the two of the strategy
    assert warm.null_count().sum_horizontal().item() == 0
    earlier = _indicators(_journal(home, _run(capsys, home, *EARLIER)))
    assert warm.equals(earlier[LOOKBACK:])
    assert len(trades) > 5
    assert journal["entry_signal"].sum() >= len(trades)
    cold = _journal(home, _run(capsys, home, "--set", "data.lookback_bars=0"))
    assert cold["sma_200_1m"][:199].null_count() == 199
    assert cold.select("timestamp", "price").equals(journal.select("timestamp", "price"))


def test_the_second_run_takes_them_from_the_cache(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cache's key is the content of the bars, the lookback among them: without it they are others."""
    command = ("backtest", home / "run.yaml")
    for settings, words in (
        ((), "computed"), ((), "from the cache"), (("--set", "data.lookback_bars=0"), "computed"), ((), "computed"),
    ):  # fmt: skip
        assert run(["--home", str(home), *map(str, command), *settings]) == 0
        said = capsys.readouterr()
        assert f"SYNTH: {words}: sma_200_1m, rsi_14_1m, ema_5_15m, bbands_5_2_1h" in said.out + said.err


def test_figures_equal_those_of_a_run_whose_strategy_is_warm_by_itself(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twin: the longer run with the same rule, told to do nothing before the second day."""
    for name, after in (("warm", ""), ("waits", "    if ctx.time[i] < 1_704_153_600_000:\n        return\n")):
        schema = f'def schema():\n    return {{"id": "{name}", "name": "{name}"}}\n\n\n'
        text = schema + "def on_bar(ctx, i):\n" + after + RULE
        (home / "strategies" / "custom" / f"{name}.py").write_text(text, encoding="utf-8")
    found = _run(capsys, home, "--set", "strategy={name: warm}")
    longer = _run(capsys, home, "--set", "strategy={name: waits}", *EARLIER)
    assert found["trades"] >= 20
    for name in ("trades", "wins", "fees", "final_equity", "fills"):
        assert found[name] == longer[name]
    frames = [pl.read_csv(Path(each["folder"]) / "trades.csv").drop("strategy") for each in (found, longer)]
    assert frames[0].equals(frames[1])


def test_fewer_bars_than_asked_for_and_no_start_are_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _run(capsys, home, "--set", "data.lookback_bars=5000")
    assert _notes(found) == ["SYNTH: 1,440 of 5,000 bars before the start are there to look back on"]
    (home / "run.yaml").write_text(CONFIG.replace("start: 2024-01-02\n", ""), encoding="utf-8")
    assert _notes(_run(capsys, home)) == [
        "SYNTH: without a start there are no bars before it to look back on: data.lookback_bars does nothing"
    ]


def test_symbols_each_with_what_there_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """LATER has an hour of bars before the start: its sma_200 is there 140 bars later, SYNTH's at once."""
    found = _run(capsys, home, "--set", "symbols=[SYNTH, LATER]", "--set", "indicators=[sma_200]")
    assert _notes(found) == [
        "SYNTH: 600 of 600 bars before the start are there to look back on",
        "LATER: 60 of 600 bars before the start are there to look back on",
    ]
    assert _journal(home, found)["sma_200_1m"].null_count() == 0
    later = _journal(home, found, "LATER")
    assert later["sma_200_1m"].null_count() == 139
    assert later["sma_200_1m"][:139].null_count() == 139
    assert len(later) == BARS - FIRST
    for own in found["symbol_results"]:
        assert len(pl.read_parquet(Path(own["folder"]) / "equity.parquet")) == BARS - FIRST


def test_its_report_comes_from_running_it_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is a report only where the run comes out with the same hash, so the lookback is loaded again too."""
    found = _run(capsys, home, "--no-report", "--set", "diagnostics.band=true")
    again = json_by(capsys, home, "report", Path(found["folder"]).name, "--only", "html")
    assert [Path(file).name for file in again["files"]] == ["report.html"]
    shown = json_by(capsys, home, "runs", "show", Path(found["folder"]).name)
    assert found["hash"] in json.dumps(shown)


CHEAT = """def schema():
    return {"id": "cheat", "name": "Cheat"}


def on_bar(ctx, i):
    coming = ctx.close.base[min(i + 1, len(ctx.close.base) - 1)]  # here
    if coming > ctx.close[i] and ctx.position.size == 0:
        ctx.buy(1)
    elif ctx.position.size > 0:
        ctx.flatten()
"""
SIGNALS_CHEAT = """import numpy as np


def schema():
    return {"id": "cheat", "name": "Cheat"}


def signals(ctx):
    close = ctx.close
    coming = np.append(close[1:], close[-1])  # here
    return {"target": np.where(coming > close, 1.0, 0.0)}
"""


@pytest.mark.parametrize("text", [CHEAT, SIGNALS_CHEAT])
def test_lookahead_names_a_cheat(home: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """The line is the planted one; its first decision is one of the run; all worlds share what is before it."""
    path = home / "strategies" / "custom" / "cheat.py"
    path.write_text(text, encoding="utf-8")
    words = ("lookahead", str(home / "run.yaml"), "--cuts", "5", "--set", "strategy={name: cheat}", "--json")
    assert run(["--home", str(home), *words]) == 1
    found = json.loads(capsys.readouterr().out)
    (finding,) = found["findings"]
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "# here" in each)
    assert finding["cause"]["line"]["path"] == "strategies/custom/cheat.py"
    assert finding["cause"]["line"]["line"] == line
    assert found["bars"] == BARS - FIRST
    # A bar is named by the index that the strategy knows it by: the first of the run is that after the lookback.
    first_close_ns = START_NS + (FIRST + 1) * MINUTE_MS * 10**6
    assert finding["bar_index"] == LOOKBACK + (finding["ts_ns"] - first_close_ns) // (MINUTE_MS * 10**6)
    assert finding["ts_ns"] >= first_close_ns


@pytest.mark.parametrize("name", ["ema_cross", "ema_cross_signals", "donchian_breakout"])
def test_lookahead_is_clean_on_shipped_strategies(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words = (home / "run.yaml", "--cuts", "4", "--set", f"strategy={{name: {name}}}")
    said = said_by(capsys, home, "lookahead", *words)
    assert "Look-ahead: CLEAN" in said


BLIND = """def schema():
    return {"id": "blind", "name": "Blind"}


def on_bar(ctx, i):
    minute = int(ctx.time[i]) // 60_000
    if ctx.position.size == 0 and not ctx.orders and minute % 30 == 0:
        close = float(ctx.close[i])
        ctx.buy(1.0)
        ctx.sell(1.0, price=round(close * 0.9995, 2), type="stop", reduce_only=True)
        ctx.sell(1.0, price=round(close * 1.0005, 2), type="limit", reduce_only=True)
    elif ctx.position.size == 0 and ctx.orders:
        ctx.cancel_all()
"""


def test_all_that_is_written_begins_at_the_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A strategy that looks back on nothing: with and without a lookback every file and figure is the same."""
    (home / "strategies" / "custom" / "blind.py").write_text(BLIND, encoding="utf-8")
    words: list[object] = ["--report", "--like", "quantstats", "--like", "backtesting.py", "--like", "freqtrade"]
    for setting in (
        "symbols=[SYNTH, LATER]", "strategy={name: blind}", "indicators=[]", "diagnostics.band=true",
        "funding={enabled: true, rate: 0.0001}",
    ):  # fmt: skip
        words += ["--set", setting]
    found, plain = _run(capsys, home, *words), _run(capsys, home, *words, "--set", "data.lookback_bars=0")
    assert found["ambiguous_bars"] > 10
    assert found["trades"] > 50
    assert found["hash"] == plain["hash"]
    owns = zip([found, *found["symbol_results"]], [plain, *plain["symbol_results"]], strict=True)
    for one, other in owns:
        folders = [Path(each["folder"]) for each in (one, other)]
        for name in ("equity.parquet", "fills.parquet", "orders.parquet"):
            frames = [pl.read_parquet(folder / name) for folder in folders if (folder / name).exists()]
            assert not frames or frames[0].equals(frames[1])
        assert (folders[0] / "trades.csv").read_bytes() == (folders[1] / "trades.csv").read_bytes()
        figures = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]
        for each in figures:
            each["run"] = {key: value for key, value in each["run"].items() if key in {"bars", "fills", "hash"}}
        assert figures[0] == figures[1]
        reports = [msgspec.to_builtins(embedded(folder / "report.html")) for folder in folders]
        for each in reports:
            each["run"].pop("id", None)
        assert {name for name in reports[0] if reports[0][name] != reports[1][name]} <= {"run"}
    for symbol in ("SYNTH", "LATER"):
        assert _journal(home, found, symbol).equals(_journal(home, plain, symbol))


def test_buy_and_hold_buys_at_the_first_bar_of_the_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: one order at the close of the first bar, filled at the open of the second; the same run as without."""
    words = ("--set", "strategy={name: buy_and_hold}", "--set", "symbols=[SYNTH, LATER]", "--set", "indicators=[]")
    settings = ("--set", "strategy.params={size: 0.4}")
    found = _run(capsys, home, *words, *settings)
    fills = pl.read_parquet(Path(found["folder"]) / "fills.parquet")
    second_ns = START_NS + (FIRST + 1) * MINUTE_MS * 10**6
    assert fills["ts_ns"].to_list()[:2] == [second_ns, second_ns]
    assert found["trades"] == 2
    assert found["hash"] == _run(capsys, home, *words, *settings, "--set", "data.lookback_bars=0")["hash"]


def test_a_watch_runs_on_markets_that_were_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The expectation is the plain run of the same config."""
    expected = _run(capsys, home)
    rerunner = Rerunner(home, home / "run.yaml", (), None, Quiet())
    for _ in range(2):
        report = rerunner.run().report
        assert report is not None
        assert report.facts.run_hash == expected["hash"]
