"""The indicator cache: the same bits as computed, for these bars and this code only, whole under several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import adapters.indicator_cache as kept
from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run
from engine.bars import Bars
from engine.indicators import parse_spec
from engine.series import Window

TOP = Path(__file__).parents[2]
SPECS = [parse_spec(text) for text in ("sma_20_1m", "rsi_14", "ema_50_4h", "bbands_20_2.5_15m")]


def market(seed: int = 3) -> Bars:
    return synthesize("SYNTH", "1m", 3_000, seed)


def same(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    return all(
        a.tobytes() == b.tobytes() for spec in right for a, b in zip(left[spec], right[spec], strict=True)
    ) and list(left) == list(right)


def test_what_is_loaded_is_what_was_computed(tmp_path: Path) -> None:
    first, lines = kept.provide(tmp_path, market(), SPECS)
    assert lines == ["SYNTH: computed: sma_20_1m, rsi_14_1m, ema_50_4h, bbands_20_2.5_15m"]
    files = sorted(path.name for path in (tmp_path / "data/indicators/SYNTH").iterdir())
    assert files == ["bbands_20_2.5_15m.parquet", "ema_50_4h.parquet", "rsi_14_1m.parquet", "sma_20_1m.parquet"]
    second, lines = kept.provide(tmp_path, market(), SPECS)
    assert lines == ["SYNTH: from the cache: sma_20_1m, rsi_14_1m, ema_50_4h, bbands_20_2.5_15m"]
    assert same(first, second)
    window, known = Window(market()), Window(market())
    for spec, columns in second.items():
        known.ind.know(spec, columns)
    for stop in (1, 30, 2_999):
        window.show(stop)
        known.show(stop)
        assert known.ind.sma(known.close, 20).tobytes() == window.ind.sma(window.close, 20).tobytes()
        assert known.ind.sma(known.close, 20).base is second[SPECS[0]][0]  # taken, not computed
        for spec in map(str, SPECS):
            given, wanted = known.ind[spec], window.ind[spec]
            assert np.array_equal(np.stack(given), np.stack(wanted), equal_nan=True)
        assert known.tf("4h").ind.ema(50).tobytes() == window.tf("4h").ind.ema(50).tobytes()


def test_an_entry_holds_for_its_bars_its_spec_and_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.provide(tmp_path, market(), SPECS[:1])
    for bars in (market(4), msgspec.structs.replace(market(), symbol="SYNTH", volume=market().volume + 1)):
        found, lines = kept.provide(tmp_path, bars, SPECS[:1])
        assert lines == ["SYNTH: computed: sma_20_1m"]
        window = Window(bars)
        window.show(len(bars))
        assert next(iter(found.values()))[0].tobytes() == window.ind.sma(window.close, 20).tobytes()
    monkeypatch.setattr(kept, "code_version", lambda: "another")
    assert [entry.state for entry in kept.entries(tmp_path)] == ["old"]
    assert kept.provide(tmp_path, bars, SPECS[:1])[1] == ["SYNTH: computed: sma_20_1m"]
    assert [entry.state for entry in kept.entries(tmp_path)] == ["sound"]


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            data[len(data) // 3] ^= 0x40
            path.write_bytes(data)
        case "other values":
            told = pl.read_parquet_metadata(path)
            frame = pl.read_parquet(path).with_columns(value=pl.lit(1.5))
            frame.write_parquet(path, metadata={key: text for key, text in told.items() if key.startswith("tapew")})
        case "no key":
            pl.read_parquet(path).write_parquet(path)


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "other values", "no key"])
def test_a_damaged_entry_is_computed_again_and_said(tmp_path: Path, how: str) -> None:
    first, _ = kept.provide(tmp_path, market(), SPECS[:1])
    damage(tmp_path / "data/indicators/SYNTH/sma_20_1m.parquet", how)
    second, lines = kept.provide(tmp_path, market(), SPECS[:1])
    assert lines[0].startswith("SYNTH: data/indicators/SYNTH/sma_20_1m.parquet was damaged (")
    assert lines[1] == "SYNTH: computed: sma_20_1m"
    assert same(first, second)
    assert kept.provide(tmp_path, market(), SPECS[:1])[1] == ["SYNTH: from the cache: sma_20_1m"]


def test_a_cache_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "indicators").write_text("no folder")
    found, lines = kept.provide(tmp_path, market(), SPECS[:1])
    assert len(found) == 1
    assert "cannot be written" in lines[0]
    assert "the run goes on" in lines[0]


WORKER = """
import sys
from pathlib import Path
from adapters.indicator_cache import provide
from adapters.synthetic_market import synthesize
from engine.indicators import parse_spec
from engine.series import Window
home, seed = Path(sys.argv[1]), int(sys.argv[2])
bars = synthesize("SYNTH", "1m", 3_000, seed)
specs = [parse_spec(text) for text in ("sma_20_1m", "ema_50_1h")]
window = Window(bars)
window.show(len(bars))
for turn in range(60):
    found, lines = provide(home, bars, specs)
    assert not any("damaged" in line or "cannot" in line for line in lines), lines
    sma = next(iter(found.values()))[0]
    assert sma.tobytes() == window.ind.sma(window.close, 20).tobytes(), turn
print("done")
"""


def test_processes_at_once_never_meet_half_an_entry(tmp_path: Path) -> None:
    """Two of the same bars and one of others, which go on replacing each other's entries."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), seed], cwd=TOP, stdout=subprocess.PIPE, text=True
        )
        for seed in ("3", "3", "4")
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == ["done"] * 3
    assert [entry.state for entry in kept.entries(tmp_path)] == ["sound", "sound"]
    assert not list(tmp_path.rglob("*.tmp"))


CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy:
  entry: {name: ema_cross, params: {fast: 20, slow: 50}, timeframe: 5m}
  exit: {name: fixed_tp_sl, params: {tp: 0.005, sl: 0.002}, timeframe: 15m}
sizing: {type: fixed, value: 0.1}
indicators: [sma_20_1m, rsi_14_1m, ema_50_4h, ema_20_5m]
"""


def test_a_second_backtest_takes_them_from_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = path_of(tmp_path, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, market())
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG)
    hashes = []
    for said in ("computed: sma_20_1m, rsi_14_1m, ema_50_4h, ema_20_5m", "from the cache: sma_20_1m"):
        assert run(["--home", str(tmp_path), "backtest", str(config)]) == 0
        told = capsys.readouterr()
        assert said in told.err
        hashes.append([line for line in told.out.splitlines() if "Hash" in line])
    assert hashes[0] == hashes[1]
    assert run(["--home", str(tmp_path), "cache", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["entries"]
    assert [(entry["spec"], entry["rows"], entry["state"]) for entry in listed] == [
        ("ema_20_5m", 600, "sound"), ("ema_50_4h", 12, "sound"), ("rsi_14_1m", 3_000, "sound"),
        ("sma_20_1m", 3_000, "sound"),
    ]  # fmt: skip
    damage(tmp_path / "data/indicators/SYNTH/sma_20_1m.parquet", "cut")
    assert run(["--home", str(tmp_path), "cache", "list"]) == 0
    assert "damaged" in capsys.readouterr().out
    assert run(["--home", str(tmp_path), "cache", "clean", "--unusable", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 1
    assert run(["--home", str(tmp_path), "cache", "clean"]) == 0
    assert "Removed 3 entries" in capsys.readouterr().out
    assert kept.entries(tmp_path) == []


@pytest.mark.parametrize(("spec", "said"), [("ema_50_90s", "no multiple"), ("ema_50_1s", "no bars smaller")])
def test_a_spec_that_the_bars_cannot_give_is_named(tmp_path: Path, spec: str, said: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.replace("sma_20_1m", spec))
    assert run(["--home", str(tmp_path), "backtest", str(config)]) == 78
    assert said in (told := capsys.readouterr().err)
    assert "indicators[0]" in told


def test_an_entry_s_timeframe_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.replace("timeframe: 5m", "timeframe: 90s"))
    assert run(["--home", str(tmp_path), "backtest", str(config)]) == 78
    assert "strategy.entry.timeframe: 90s is not allowed; a multiple of the bars' 1m" in capsys.readouterr().err
