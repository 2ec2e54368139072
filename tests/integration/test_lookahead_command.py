"""`tapewright lookahead`: planted cheats are named with their line, and nothing honest is suspected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run

BARS = 2_880
CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two days of minutes of two markets."""
    folder = tmp_path_factory.mktemp("home")
    for symbol, seed in (("SYNTH", 3), ("OTHER", 4)):
        target = path_of(folder, symbol, "1m")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bars(target, synthesize(symbol, "1m", BARS, seed))
    (folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    for kind in ("custom", "entry", "exit", "indicators"):
        (folder / "strategies" / kind).mkdir(parents=True)
    return folder


def _write(home: Path, name: str, body: str, kind: str = "custom") -> Path:
    """A strategy's file; each says in a comment which of its lines is the cheat."""
    schema = f'def schema():\n    return {{"id": "{name}", "name": "{name}", "inputs": {{}}}}\n\n\n'
    path = home / "strategies" / kind / f"{name}.py"
    text = (schema if kind == "custom" else "") + body.replace("@TRADE", TRADE)
    path.write_text(text, encoding="utf-8")
    return path


def _line_of(path: Path, mark: str = "# here") -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if mark in line)


def _check(
    home: Path, capsys: pytest.CaptureFixture[str], *arguments: str, config: str = "run.yaml"
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    code = run(["--home", str(home), "lookahead", str(home / config), "--cuts", "5", "--json", *arguments])
    captured = capsys.readouterr()
    assert captured.out, captured.err
    found: dict[str, Any] = json.loads(captured.out)
    return code, found


TRADE = """    elif ctx.position.size > 0 and ctx.close[i] > ctx.position.entry_price * 1.002:
        ctx.flatten()
"""
# Each by its name; the mark stands at the line that is named as the one that moved the decision.
CHEATS = {
    "one_bar": """def on_bar(ctx, i):
    coming = ctx.close.base[min(i + 1, len(ctx.close.base) - 1)]  # here
    if coming > ctx.close[i] and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "one_bar_unnamed": """def on_bar(ctx, i):
    if i + 1 == len(ctx.close.base):
        return
    if ctx.close.base[i + 1] > ctx.close[i] and ctx.position.size == 0:  # here
        ctx.buy(1)
@TRADE""",
    "own_hour": """def on_bar(ctx, i):
    start = i - i % 60
    hour = ctx.close.base[start : start + 60]  # here
    if i % 60 == 20 and hour[-1] > ctx.close[i] and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "open_hour": """def on_bar(ctx, i):
    hours = ctx.tf('1h').close
    count = len(hours)
    if not count or count >= len(hours.base) or i % 60 != 10:
        return
    whole = hours.base[count]  # here
    if whole > ctx.close[i] and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "indicator_base": """def on_bar(ctx, i):
    ema = ctx.ind.ema(ctx.close, 12)
    if i < 20 or i + 3 >= len(ema.base):
        return
    coming = ema.base[i + 3]  # here
    if coming > ema[i] and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "spec_base": """def on_bar(ctx, i):
    ema = ctx.ind['ema_5_15m']
    if i < 200 or i + 15 >= len(ema.base):
        return
    coming = ema.base[i + 15]  # here
    if coming > ema[i] and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "matrix_base": """def on_bar(ctx, i):
    whole = ctx.bars.base  # here
    if i + 1 < len(whole) and whole[i + 1][4] > ctx.close[i] and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "normalised": """def on_bar(ctx, i):
    mean = float(ctx.close.base.mean())  # here
    if ctx.close[i] < mean and ctx.position.size == 0:
        ctx.buy(1)
@TRADE""",
    "normalised_signals": """def signals(ctx):
    close = ctx.close
    score = (close - close.mean()) / close.std()  # here
    return {'buy': score < -1, 'sell': score > 1, 'size': 1.0}
""",
    "shifted": """import numpy as np


def signals(ctx):
    close = ctx.close
    coming = np.append(close[1:], np.nan)  # here
    average = ctx.ind.sma(close, 20)
    return {'buy': coming > average, 'sell': coming < average, 'size': 1.0}
""",
    "later_level": """def signals(ctx):
    level = ctx.close[2000]  # here
    return {'buy': ctx.close < level, 'sell': ctx.close > level, 'size': 1.0}
""",
    "remembered": """def on_bar(ctx, i):
    if ctx.state.pop('rise', False) and ctx.position.size == 0:
        ctx.buy(1)
@TRADE    if i + 2 < len(ctx.close.base):
        coming = ctx.close.base[i + 2]  # here
        ctx.state['rise'] = coming > ctx.close[i]
""",
}


@pytest.mark.parametrize("name", list(CHEATS))
def test_a_cheat_is_named_with_the_line_that_looks(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = _write(home, name, CHEATS[name])
    code, found = _check(home, capsys, "--strategy", name)
    assert code == 1
    first = found["findings"][0]
    assert (first["kind"], first["strategy"], first["symbol"]) == ("decision", name, "SYNTH")
    assert first["was"] != first["became"]
    assert first["cause"]["line"]["path"] == f"strategies/custom/{name}.py"
    assert first["cause"]["line"]["line"] == _line_of(path), first
    # The bar that is named is the one at whose close the decision was made: a minute a bar, from the first on.
    first_ns = int(synthesize("SYNTH", "1m", 1, 3).ts_ns[0])
    assert first["ts_ns"] == first_ns + (first["bar_index"] + 1) * 60_000_000_000


def test_the_line_of_the_order_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = CHEATS["one_bar"].replace("ctx.buy(1)", "ctx.buy(1)  # order")
    path = _write(home, "ordering", body)
    _, found = _check(home, capsys, "--strategy", "ordering")
    assert found["findings"][0]["ordered_at"]["line"] == _line_of(path, "# order")


def test_an_entry_that_looks_ahead_is_named_by_its_own_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(
        home,
        "peeker",
        "class Peeker:\n    def should_enter(self, window):\n        whole = window.close.base  # here\n"
        "        count = len(window.close)\n        return count < len(whole) and whole[count] > window.close[-1]\n",
        "entry",
    )  # fmt: skip
    (home / "pair.yaml").write_text(
        "symbols: [SYNTH]\ntimeframe: 1m\nstrategy:\n  entry: {name: peeker}\n"
        "  exit: {name: fixed_tp_sl, params: {tp: 0.01, sl: 0.005}}\n",
        encoding="utf-8",
    )
    code, found = _check(home, capsys, config="pair.yaml")
    assert code == 1
    line = found["findings"][0]["cause"]["line"]
    assert (line["path"], line["line"]) == ("strategies/entry/peeker.py", _line_of(path))


def test_a_plug_in_that_passes_its_trial_and_looks_ahead_all_the_same(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trial at loading has 240 bars; this one looks ahead from 1,000 on."""
    _write(
        home, "coming", "import numpy as np\n\ninputs = ('source',)\nparameters = {}\n\n\ndef compute(close):\n"
        "    found = np.full(len(close), np.nan)\n    if len(close) > 1000:\n        found[:-5] = close[5:]\n"
        "    return found\n",
        "indicators",
    )  # fmt: skip
    _write(
        home, "with_coming",
        "def on_bar(ctx, i):\n    coming = ctx.ind.coming(ctx.close)\n"
        "    if coming[i] > ctx.close[i] * 1.001 and ctx.position.size == 0:\n        ctx.buy(1)\n@TRADE",
    )  # fmt: skip
    code, found = _check(home, capsys, "--strategy", "with_coming")
    assert code == 1
    moved = [each["indicator"] for each in found["findings"] if each["indicator"]]
    assert moved[0]["name"] == "coming_1m"
    closes = synthesize("SYNTH", "1m", BARS, 3).close
    assert moved[0]["was"] == repr(float(closes[moved[0]["bar_index"] + 5]))
    assert found["findings"][0]["kind"] == "decision"


READERS = {
    "polars": "import polars as pl\n\nFUTURE = pl.read_parquet('{data}')['close'].to_numpy()  # here\n",
    "lazy": "import polars as pl\n\nFUTURE = pl.scan_parquet('{data}').collect()['close'].to_numpy()  # here\n",
    "opened": """import io

import polars as pl

with open('{data}', 'rb') as file:  # here
    FUTURE = pl.read_parquet(io.BytesIO(file.read()))['close'].to_numpy()
""",
}


@pytest.mark.parametrize("name", list(READERS))
@pytest.mark.parametrize("is_relative", [True, False], ids=["relative", "absolute"])
def test_a_strategy_that_reads_the_stored_future(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, is_relative: bool,
) -> None:  # fmt: skip
    monkeypatch.chdir(home)
    data = path_of(Path() if is_relative else home, "SYNTH", "1m")
    path = _write(
        home, f"reads_{name}",
        READERS[name].format(data=data) + "\n\ndef on_bar(ctx, i):\n"
        "    if i + 1 < len(FUTURE) and FUTURE[i + 1] > ctx.close[i] and ctx.position.size == 0:\n"
        "        ctx.buy(1)\n@TRADE",
    )  # fmt: skip
    status, found = _check(home, capsys, "--strategy", f"reads_{name}")
    assert status == 1
    by_kind = {each["kind"]: each for each in found["findings"]}
    assert by_kind["outside"]["outside"]["line"] == _line_of(path)
    assert by_kind["outside"]["how"] == f"reads the file {data}"
    if is_relative:  # where the run is made elsewhere, with other bars stored there, its decisions give it away too
        assert by_kind["files"]["strategy"] == f"reads_{name}"
    assert Path.cwd() == home


def test_what_cannot_be_repeated_is_said_and_ends_the_check(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(
        home, "throws_dice",
        "import random\n\n\ndef on_bar(ctx, i):\n    if random.random() < 0.2:\n        ctx.buy(0.01)\n",
    )  # fmt: skip
    code, found = _check(home, capsys, "--strategy", "throws_dice")
    assert code == 1
    assert [each["kind"] for each in found["findings"]] == ["not_repeatable"]


def test_who_decides_nothing_is_not_called_clean(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(home, "idle", "def on_bar(ctx, i):\n    pass\n")
    code, found = _check(home, capsys, "--strategy", "idle")
    assert (code, found["clean"], found["findings"], found["idle"]) == (1, False, [], ["idle"])


HONEST = {
    "everything": """import json
import math


def on_init(ctx):
    ctx.state["bars"] = 0


def on_bar(ctx, i):
    ctx.state["bars"] += 1
    hours = ctx.tf("1h")
    if i < 300 or not len(hours.close):
        return
    trend = ctx.ind["ema_3_1h"]
    upper, middle, lower = ctx.ind.bbands(ctx.close, 20)
    smooth = ctx.ind.sma(ctx.ind.rsi(ctx.close, 14), 5)
    own = ctx.ind.ema(ctx.close[-50:] * 2.0, 5)
    row = ctx.bars[-1]
    if ctx.orders or math.isnan(trend[i]) or row[4] != ctx.close[i]:
        return
    if ctx.position.size == 0 and ctx.close[i] < lower[i] and smooth[i] < 50 and own[-1] > 0:
        size = ctx.size.percent_equity(0.2)
        ctx.buy(size, price=float(ctx.low[i]), tif="GTC")
        ctx.buy(size, price=float(ctx.high[i]) * 1.001, type="stop")
    elif ctx.position.size > 0 and (ctx.close[i] > middle[i] or hours.is_new):
        ctx.cancel_all()
        ctx.flatten()


def on_order(ctx, order):
    if order.state == "FILLED" and order.type == "limit":
        ctx.cancel_all()
        ctx.sell(order.size, price=order.fill_price * 1.002, reduce_only=True)
        ctx.logger.info(json.dumps({"at": order.fill_price}))
""",
    "long_warm_up": """def on_bar(ctx, i):
    average = ctx.ind.ema(ctx.close, 2000)
    if i and (ctx.close[i] > average[i]) != (ctx.close[i - 1] > average[i - 1]) and not ctx.orders:
        ctx.buy(0.5) if ctx.position.size == 0 else ctx.flatten()
""",
    "at_the_end": """def on_bar(ctx, i):
    if i % 500 == 499:
        ctx.buy(0.1)


def on_trade(ctx, trade):
    ctx.logger.info(trade.pnl)
""",
    "closures": """import numpy as np

SEEN = []


def on_bar(ctx, i):
    SEEN.append(float(ctx.close[-1]))
    recent = np.array(SEEN[-30:])
    if len(SEEN) > 30 and ctx.close[i] > recent.mean() + 2 * recent.std() and not ctx.orders:
        ctx.sell(0.2) if ctx.position.size >= 0 else ctx.flatten()
""",
    "short_signals": """import numpy as np


def signals(ctx):
    windows = np.lib.stride_tricks.sliding_window_view(ctx.close, 200)
    mean = np.concatenate((np.full(199, np.nan), windows.mean(axis=1)))
    return {"target": np.where(np.isnan(mean), np.nan, np.where(ctx.close > mean, 1.0, -1.0))}
""",
}


@pytest.mark.parametrize("name", list(HONEST))
def test_what_is_honest_is_clean(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Frames, warm-up, sizes by equity, stops, callbacks, module state, funding, the end: none of it is a finding."""
    _write(home, name, HONEST[name])
    funding = ("--set", "funding.enabled=true", "--set", "funding.rate=0.0001")
    code, found = _check(home, capsys, "--strategy", name, *funding)
    assert (code, found["findings"], found["idle"]) == (0, [], []), found
    assert found["decisions"] > 0


SHIPPED = ("bollinger_reversion", "buy_and_hold", "donchian_breakout", "ema_cross", "ema_cross_signals", "macd_cross",
           "rsi_reversion")  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_clean(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, found = _check(home, capsys, "--strategy", name)
    assert (code, found["findings"]) == (0, []), found


def test_the_shipped_pair_is_clean_on_two_markets_and_higher_bars(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "two.yaml").write_text(
        "symbols: [SYNTH, OTHER]\ntimeframe: 1m\nstrategy:\n  entry: {name: ema_cross, timeframe: 5m}\n"
        "  exit: {name: fixed_tp_sl, params: {tp: 0.01, sl: 0.005}}\nindicators: [sma_20_1m]\n"
        "sizing: {type: percent_equity, value: 0.3}\n",
        encoding="utf-8",
    )
    code, found = _check(home, capsys, config="two.yaml")
    assert (code, found["findings"], found["idle"]) == (0, [], [])


def test_a_market_that_begins_later_is_no_finding(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = synthesize("LATE", "1m", BARS, 6)
    columns = {name: getattr(bars, name)[1_000:] for name in ("ts_ns", "open", "high", "low", "close", "volume")}
    write_bars(path_of(home, "LATE", "1m"), msgspec.structs.replace(bars, **columns))
    (home / "late.yaml").write_text(
        "symbols: [SYNTH, LATE]\ntimeframe: 1m\nstrategies: [ema_cross, ema_cross_signals]\n"
        "funding: {enabled: true, rate: 0.0001}\n",
        encoding="utf-8",
    )
    code, found = _check(home, capsys, config="late.yaml")
    assert (code, found["findings"], found["idle"]) == (0, [], [])


def test_one_of_two_strategies_is_named_though_both_move(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They share the account, so what one does changes the other's sizes: only the one that looks is to blame."""
    path = _write(home, "one_bar", CHEATS["one_bar"])
    _write(home, "everything", HONEST["everything"])
    (home / "both.yaml").write_text(
        "symbols: [OTHER]\ntimeframe: 1m\nstrategies: [everything, one_bar]\ninitial_cash: 1000000\n", encoding="utf-8"
    )
    code, found = _check(home, capsys, config="both.yaml")
    assert code == 1
    assert {each["strategy"] for each in found["findings"]} == {"one_bar"}
    assert found["findings"][0]["cause"]["line"]["line"] == _line_of(path)


def test_the_text_says_where_and_what(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(home, "one_bar", CHEATS["one_bar"])
    assert run(["--home", str(home), "lookahead", str(home / "run.yaml"), "--strategy", "one_bar", "--cuts", "2"]) == 1
    captured = capsys.readouterr()
    assert "one_bar decides by what comes later" in captured.out
    assert "asked for at strategies/custom/one_bar.py:8    ctx.buy(1)" in captured.out
    assert "moved at strategies/custom/one_bar.py:6    coming = " in captured.out
    assert "100%" in captured.err
