"""Every command and file of the README works as it stands there."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from daemon.cli import run
from tests.sessions import cli, exchange

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fences if name == language]


def _write_capture(path: Path) -> None:
    """A raw capture of Binance of some minutes before midnight, 2024-08-08: a snapshot, trades, changes of the book."""
    start_ms = 1_723_161_300_000
    snapshot = {"bids": [["61000.0", "5.000"]], "asks": [["61000.1", "5.000"]]}
    lines = [(start_ms, {"lastUpdateId": 1, "E": start_ms, "T": start_ms, **snapshot})]
    for step in range(1, 400):
        now_ms, common = start_ms + 1_000 * step, {"E": start_ms + 1_000 * step, "T": start_ms + 1_000 * step}
        trade = {"e": "trade", **common, "s": "BTCUSDT", "t": step, "p": f"61000.{step % 2}", "q": "0.010"}
        change = {"e": "depthUpdate", **common, "s": "BTCUSDT", "U": step + 1, "u": step + 1, "pu": step, "a": []}
        lines.append((now_ms, {"stream": "btcusdt@trade", "data": {**trade, "X": "MARKET", "m": step % 2 == 0}}))
        lines.append((now_ms, {"stream": "btcusdt@depth@0ms", "data": {**change, "b": [["60990.0", f"{step}.000"]]}}))
    text = "".join(f"{now_ms}000000 {json.dumps(message)}\n" for now_ms, message in lines)
    path.write_bytes(gzip.compress(text.encode()))


def test_the_first_strategy_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (config, _), (strategy,) = _blocks("yaml"), _blocks("python")
    Path("first.yaml").write_text(config, encoding="utf-8")
    Path("strategies/custom").mkdir(parents=True)
    Path("strategies/custom/my_first.py").write_text(strategy, encoding="utf-8")
    rows = ["ts,open,high,low,close,volume", "1699999980000,100,101,99,100.5,3", "1700000040000,100.5,102,100,101,2"]
    Path("bars.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    _write_capture(Path("btcusdt.gz"))
    names = ["data", "data", "backtest", "tape", "replay", "inspect", "verify"]
    assert [command[0] for command in _commands()][: len(names)] == names
    for command in _commands()[: len(names)]:
        assert run(command) == 0, (command, capsys.readouterr().err)
    replayed, folder = sorted(Path("results").iterdir())
    assert replayed.name.startswith("BTCUSDT_my_first_")
    assert run(["verify", replayed.name]) == 0
    assert folder.name.startswith("SYNTH_my_first_")
    named = set(re.findall(r"`([a-z_]+\.(?:csv|parquet|json))`", README))
    assert named <= {file.name for file in folder.iterdir()}


def _commands() -> list[list[str]]:
    return [
        line.removeprefix("uv run tapewright ").split()
        for block in _blocks("")
        for line in block.splitlines()
        if line.startswith("uv run tapewright ") and "demo" not in line
    ]


def test_paper_trading_runs(tmp_path: Path) -> None:
    commands = _commands()[7:]
    assert [command[0] for command in commands] == ["exchange", "run", "verify", "runs"]
    _, config = _blocks("yaml")
    with exchange() as venue:
        assert commands[0] == ["exchange", "--port", "8765"]
        (tmp_path / "paper.yaml").write_text(config.replace("8765", f"{venue.port}"), encoding="utf-8")
        run_command = ["6" if word == "60" else word for word in commands[1]]  # six seconds show as much
        for command in (run_command, *commands[2:]):
            done = cli(
                "--home", str(tmp_path), *[f"{tmp_path}/{word}" if word.endswith(".yaml") else word for word in command]
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert (tmp_path / "sessions" / "paper" / "tape").is_dir()


def test_the_commands_of_the_table_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for line in re.findall(r"^\| `tapewright ([^|]*)\|", README, re.MULTILINE):
        names = re.findall(r"[a-z]+", line.split("`")[0])
        for option in [names[1:2] or [""]] + [[name] for name in re.findall(r"`([a-z]+)`", line)]:
            arguments = [name for name in (names[0], *option) if name and name.islower()]
            assert run([*arguments, "--help"]) == 0, arguments
    assert "Usage:" in capsys.readouterr().out
