"""Backtests through the command line on a made-up market: what the tests of stored runs have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run

CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""
BARS = 20_160


def make_home(folder: Path, *symbols: str) -> Path:
    """A home with a fortnight of minutes of each symbol (SYNTH, if none is named) and a config."""
    for seed, symbol in enumerate(symbols or ("SYNTH",), start=3):
        target = path_of(folder, symbol, "1m")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bars(target, synthesize(symbol, "1m", BARS, seed))
    (folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def backtested(capsys: pytest.CaptureFixture[str], home: Path, *settings: str, code: int = 0) -> dict[str, Any]:
    """The JSON of a backtest with these settings."""
    words = [word for setting in settings for word in ("--set", setting)]
    ended = run(["--home", str(home), "backtest", str(home / "run.yaml"), "--json", *words])
    said = capsys.readouterr()
    assert ended == code, said.err
    found: dict[str, Any] = json.loads(said.out) if said.out else {}
    return found | {"stderr": said.err}


def said_by(capsys: pytest.CaptureFixture[str], home: Path, *words: object, code: int = 0) -> str:
    """What a command prints; what it says is wrong, where it fails."""
    ended = run(["--home", str(home), *(str(word) for word in words)])
    said = capsys.readouterr()
    assert ended == code, said.err
    return said.err if code else said.out


def json_by(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> dict[str, Any]:
    """The one object that a command prints with `--json`."""
    found: dict[str, Any] = json.loads(said_by(capsys, home, *words, "--json"))
    return found
