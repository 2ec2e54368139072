"""`config check` and `config schema` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import config
from config.schema import json_schema
from daemon.commands.config import app
from engine.errors import EXIT_CONFIG, ConfigError, InputMissingError

RUNNER = CliRunner()


@pytest.fixture
def right(tmp_path: Path) -> Path:
    path = tmp_path / "ema.yaml"
    path.write_text("symbols: [BTCUSDT]\ntimeframe: 1m\nstrategy: ema_cross\n")
    return path


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text("symbols: [BTCUSDT]\ntimeframe: 1m\ncomission_bps: 4\nfill_model: close_to_opne\n")
    return path


def test_check(right: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(right)])
    assert result.exit_code == 0
    assert result.stdout == f"{right}: no problems\n  backtest of BTCUSDT at 1m: ema_cross\n"


def test_check_with_options(right: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(right), "--set", "mode=paper", "--set", "symbols=[A]", "--strategy", "b"])
    assert result.stdout.endswith("paper of A at 1m: b\n")
    result = RUNNER.invoke(app, ["check", str(right), "--set", "strategy="])
    assert "no strategy is named" in result.stdout


def test_the_shipped_files() -> None:
    files = sorted((Path(config.__file__).parent / "defaults").glob("*.yaml"))
    assert {file.name for file in files} >= {"backtest.yaml", "paper.yaml", "portfolio.yaml"}
    for file in files:
        result = RUNNER.invoke(app, ["check", str(file)])
        assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"{file}: no problems")


def test_problems_reach_main(wrong: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(wrong), "--set", "leverage=0"])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.exit_code == EXIT_CONFIG
    assert result.exception.problems == (
        f'{wrong}:3: comission_bps: unknown field; did you mean "commission_bps"?',
        (
            f'{wrong}:4: fill_model: "close_to_opne" is not allowed; one of close_to_open, close_to_close;'
            ' did you mean "close_to_open"?'
        ),
        "--set leverage=0: 0 is not allowed; a number from 1 to 1000",
    )


def test_json(right: Path, wrong: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(right), "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"ok": True, "problems": []})
    result = RUNNER.invoke(app, ["check", str(wrong), "--json"])
    assert result.exit_code == EXIT_CONFIG
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert len(told["problems"]) == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["check", str(tmp_path / "none.yaml"), "--json"])
    assert isinstance(result.exception, InputMissingError)


def test_schema() -> None:
    result = RUNNER.invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_show(right: Path) -> None:
    base = right.with_name("base.toml")
    base.write_text("leverage = 3\n")
    right.write_text(f"extends: base.toml\n{right.read_text()}")
    result = RUNNER.invoke(app, ["show", str(right), "--set", "seed=5", "--strategy", "b"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert f"timeframe: 1m                                     # {right}:3" in lines
    assert f"leverage: 3                                       # {base}:1" in lines
    assert "seed: 5                                           # --set seed=5" in lines
    assert "    name: b                                       # --strategy b" in lines
    assert "margin: cross                                     # default" in lines
    result = RUNNER.invoke(app, ["show", str(right), "--json"])
    found = json.loads(result.stdout)
    assert (found["files"], found["migrated"]) == ([str(right), str(base)], [])
    assert found["origins"]["leverage"] == f"{base}:1"
    assert found["config"]["leverage"] == "3"
