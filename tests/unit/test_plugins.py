"""Plug-in indicators: used like built-in ones; what looks ahead or breaks the contract is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run
from engine.errors import StrategyError
from engine.indicators import DEFINITIONS, RunningIndicator, compute, use_plugins
from strategies.plugins import load_named, load_plugin

PAGE = (Path(__file__).parents[2] / "docs" / "indicators.md").read_text()
RANGE = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]  # the page's own example


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    use_plugins(())


def write(home: Path, name: str, text: str) -> Path:
    path = home / "strategies" / "indicators" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def simple(body: str, more: str = "") -> str:
    return f'import numpy as np\n\ninputs = ("close",)\n{more}\n\ndef compute(close):\n    {body}\n'


def test_a_plug_in_is_asked_for_like_any_other(tmp_path: Path) -> None:
    plugin = load_plugin(write(tmp_path, "barrange", RANGE))
    use_plugins([plugin.definition])
    bars = synthesize("SYNTH", "1m", 200, 1)
    mean, last = compute("barrange", (3,), (bars.high, bars.low))
    assert last.tobytes() == (bars.high - bars.low).tobytes()
    running = RunningIndicator("barrange", (3,))
    outputs = (np.zeros(200), np.zeros(200))
    inputs = (bars.high, bars.low)
    for start, stop in ((0, 1), (1, 50), (50, 200)):
        running.update(inputs, start, stop, outputs)
    assert outputs[0].tobytes() == mean.tobytes()
    use_plugins(())
    assert "barrange" not in DEFINITIONS


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return np.concatenate((close[1:], close[-1:]))", "when later bars are missing"),
        ("return (close - close.mean()) / close.std()", "when later bars are missing"),
        ("return np.where(np.arange(len(close)) == 100, close.max(), close)", "when later bars"),
        ("return close + np.random.default_rng().random(len(close))", "when it is called again"),
        ("return np.maximum.accumulate(close[::-1])[::-1]", "when later bars"),
        ("return np.full(len(close), float(len(close)))", "when later bars are missing"),
    ],
)
def test_what_looks_ahead_is_refused_with_its_line(tmp_path: Path, body: str, said: str) -> None:
    path = write(tmp_path, "ahead", simple(body))
    with pytest.raises(StrategyError, match=said) as caught:
        load_plugin(path)
    assert caught.value.message.startswith(f"{path}:6: compute ")
    assert "A value may depend on its own bar" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sma", simple("return close"), "there is a built-in indicator sma"),
        ("two_words", simple("return close"), "small letters only"),
        ("noinputs", "def compute(close):\n    return close\n", "inputs is None; a tuple of source"),
        ("nocompute", 'inputs = ("close",)\n', "no compute()"),
        ("syntax", "inputs = (\n", "syntax.py:1:"),
        ("fails", simple("return close.nothing"), "fails.py:7: compute: AttributeError"),
        ("writes", simple("close[0] = 1; return close"), "read-only"),
        ("short", simple("return close[1:]"), "gave columns of shapes (239,) for 240 bars"),
        ("words", simple("return ['a'] * len(close)"), "not of numbers"),
        (
            "range",
            simple("return close", 'parameters = {"n": {"type": "bool", "default": True}}'),
            "parameters.n: bool",
        ),
        ("takes", simple("return close", 'parameters = {"n": {"type": "int", "default": 3}}'), "compute(close)"),
    ],
)
def test_what_breaks_the_contract_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(StrategyError) as caught:
        load_plugin(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.remedy


def test_only_what_is_named_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, "broken", "inputs = (")
    write(tmp_path, "barrange", RANGE)
    assert [plugin.path.stem for plugin in load_named(tmp_path, ["ctx.ind.barrange(3)"])] == ["barrange"]
    assert load_named(tmp_path / "nowhere", ["barrange"]) == []


STRATEGY = """def schema():
    return {"id": "spans", "name": "Spans"}


def on_bar(ctx, i):
    mean, last = ctx.ind.barrange(4)
    wide = ctx.ind["barrange_4_15m"][0]
    assert len(mean) == len(wide) == i + 1
    if ctx.position.size == 0 and last[-1] > mean[-1] and wide[-1] > 0:
        ctx.buy(0.1)
    elif ctx.position.size > 0 and last[-1] < mean[-1]:
        ctx.flatten()
"""


def test_a_backtest_uses_caches_and_records_a_plug_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = path_of(tmp_path, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, synthesize("SYNTH", "1m", 1_000, 3))
    path = write(tmp_path, "barrange", RANGE)
    (tmp_path / "strategies" / "custom").mkdir()
    (tmp_path / "strategies" / "custom" / "spans.py").write_text(STRATEGY)
    config = tmp_path / "run.yaml"
    config.write_text("symbol: SYNTH\ntimeframe: 1m\nstrategy: spans\nindicators: [barrange_4_15m, barrange_4_1m]\n")
    found = []
    for said in ("computed: barrange_4_15m", "from the cache: barrange_4_15m"):
        assert run(["--home", str(tmp_path), "backtest", str(config)]) == 0
        assert said in capsys.readouterr().err
        assert run(["--home", str(tmp_path), "backtest", str(config), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["hash"] == found[1]["hash"]
    assert found[0]["trades"] > 20
    facts = (Path(found[0]["folder"]) / "metrics.json").read_text()
    assert '"barrange"' in facts
    path.write_text(RANGE + "\n# changed\n")
    assert run(["--home", str(tmp_path), "backtest", str(config)]) == 0
    assert "computed: barrange_4_15m" in capsys.readouterr().err
    assert pl.read_parquet(tmp_path / "data/indicators/SYNTH/barrange_4_1m.parquet").columns == ["ts", "mean", "last"]


def test_the_command_lists_and_checks_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "barrange", RANGE)
    assert run(["--home", str(tmp_path), "strategies", "check", "barrange"]) == 0
    assert "barrange.py (indicator): no mistakes" in capsys.readouterr().out
    path = write(tmp_path, "ahead", simple("return close[::-1]"))
    assert run(["--home", str(tmp_path), "strategies", "check", str(path)]) == 1
    assert "ahead.py:6: compute gives other values" in capsys.readouterr().out
    assert run(["--home", str(tmp_path), "strategies", "list"]) == 0
    told = capsys.readouterr().out
    assert "Indicators:" in told
    assert "length=5" in told
