"""`tapewright strategies` through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from daemon.commands.strategies import app
from engine.errors import InputMissingError

SOUND = 'def schema():\n    return {{"id": "{}", "name": "Mine", "tags": ["own"]}}\ndef on_bar(ctx, i):\n    pass\n'
BROKEN = "def schema():\n    return {}\ndef on_bars(ctx, i):\n    pass\n"


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), obj=SimpleNamespace(home=home))


def json_of(home: Path, *arguments: str) -> Any:
    result = run(home, *arguments, "--json")
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in (("custom/mine.py", SOUND.format("ema_cross")), ("custom/wrong.py", BROKEN)):
        path = tmp_path / "strategies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_list_shows_what_there_is_what_is_broken_and_what_is_hidden(home: Path) -> None:
    result = run(home, "list")
    assert result.exit_code == 0
    assert "Strategies:\n" in result.stdout
    assert "Entries:\n" in result.stdout
    assert "Exits:\n  fixed_tp_sl" in result.stdout
    assert "Mine  [strategies/custom/mine.py]" in result.stdout
    assert "BROKEN  strategies/custom/wrong.py" in result.stdout
    assert "on_bars(): no such callback; did you mean on_bar(ctx, i)?" in result.stdout
    assert "[shipped]  (not used: strategies/custom/mine.py comes first)" in result.stdout
    assert "fast=12, slow=26, size=1.0" in result.stdout


def test_list_as_json(home: Path) -> None:
    listed = {each["file"]: each for each in json_of(home, "list")["strategies"]}
    mine = listed["strategies/custom/mine.py"]
    assert (mine["kind"], mine["id"], mine["ok"], mine["shipped"]) == ("strategy", "ema_cross", True, False)
    assert listed["strategies/custom/wrong.py"]["ok"] is False
    shipped = listed["strategies/builtins/bollinger_reversion.py"]
    assert shipped["shipped"] is True
    assert shipped["inputs"]["direction"] == {
        "type": "select", "default": "both", "options": ["long", "short", "both"],
    }  # fmt: skip
    assert len(shipped["source_sha256"]) == 64
    assert listed["strategies/builtins/ema_cross.py"]["hidden_by"] == "strategies/custom/mine.py"


def test_check_finds_every_mistake_and_ends_with_1(home: Path) -> None:
    result = run(home, "check")
    assert result.exit_code == 1
    assert "strategies/custom/wrong.py (strategy): BROKEN" in result.stdout
    for said in ("on_bars()", "schema().id", "schema().name", "none of on_bar"):
        assert said in result.stdout
    assert "strategies/custom/mine.py (strategy): no mistakes" in result.stdout


def test_check_takes_names_and_paths(home: Path, tmp_path: Path) -> None:
    assert run(home, "check", "rsi_reversion", "fixed_tp_sl").exit_code == 0
    found = json_of(home, "check", "ema_cross")
    assert found["ok"] is True
    assert [(each["kind"], each["file"]) for each in found["strategies"]] == [
        ("strategy", "strategies/custom/mine.py"),
        ("entry", "strategies/entry/ema_cross.py"),
    ]
    assert run(home, "check", str(home / "strategies" / "custom" / "wrong.py")).exit_code == 1
    elsewhere = tmp_path / "draft.py"
    elsewhere.write_text(SOUND.format("draft"))
    assert json_of(home, "check", str(elsewhere))["strategies"][0]["id"] == "draft"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("emma_cross", 'Strategy not found: "emma_cross". Did you mean "ema_cross"?'),
        ("no/such.py", "Strategy file not found: no/such.py"),
    ],
)
def test_check_of_what_is_not_there(home: Path, target: str, said: str) -> None:
    error = run(home, "check", target).exception
    assert isinstance(error, InputMissingError)
    assert said in error.message
