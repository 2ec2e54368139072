"""`tapewright backtest --watch` as a process: real files are saved, what it prints is read from its pipe."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import polars as pl
import pytest

from adapters.bar_files import path_of, read_bars, write_bars
from adapters.synthetic_market import synthesize
from config.loader import load
from daemon.kept_markets import KeptMarkets

STRATEGY = """def schema():
    return {"id": "dip", "name": "Dip", "inputs": {"share": {"type": "float", "default": 0.995}}}


def on_bar(ctx, i):
    if i >= 3 and ctx.close[i] < ctx.close[i - 3] * ctx.params["share"] and ctx.position.size == 0:
        ctx.buy(0.1)
    elif ctx.position.size > 0 and ctx.close[i] > ctx.close[i - 3]:
        ctx.flatten()
"""
CONFIG = "symbols: [SYNTH]\ntimeframe: 1m\nstrategy: {name: dip}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a week of minutes, a config and a strategy."""
    target = path_of(tmp_path, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, synthesize("SYNTH", "1m", 10_080, 3))
    (tmp_path / "strategies" / "custom").mkdir(parents=True)
    _save(tmp_path / "strategies" / "custom" / "dip.py", STRATEGY)
    _save(tmp_path / "run.yaml", CONFIG)
    return tmp_path


def _save(path: Path, text: str) -> None:
    """As editors do: another file, renamed over the old one."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


class Watch:
    """A running watch, and the lines that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)

    def line(self) -> str:
        """The next line, waited for."""
        return self._lines.get(timeout=180)

    def document(self) -> dict[str, Any]:
        """The next line as JSON."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def until(self, text: str) -> str:
        """All lines up to one that has this text."""
        found = ""
        while text not in found:
            found += self.line()
        return found

    def is_silent(self) -> bool:
        """Whether nothing comes for longer than a save takes to be noticed."""
        try:
            self._lines.get(timeout=3)
        except queue.Empty:
            return True
        return False

    def interrupt(self) -> int:
        """Ctrl-C, and what it ended with."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextlib.contextmanager
def watch(home: Path, *arguments: str) -> Iterator[Watch]:
    command = [sys.executable, "-m", "daemon", "--home", str(home), "backtest", str(home / "run.yaml"), "--watch"]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONUTF8": "1"},
    )  # fmt: skip
    try:
        yield Watch(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def test_each_save_runs_again_and_errors_are_waited_out(home: Path) -> None:
    strategy = home / "strategies" / "custom" / "dip.py"
    with watch(home, "--json") as watched:
        first = watched.document()
        assert (first["number"], first["ok"], first["saved"], first["changes"]) == (1, True, [], {})
        _save(strategy, STRATEGY.replace("0.995", "0.999"))
        second = watched.document()
        assert second["saved"] == [str(strategy)]
        # The figures before and after are those of the two runs, and of their files.
        assert second["changes"]["trades"] == [first["trades"], second["trades"]]
        assert second["changes"]["hash"] == [first["hash"], second["hash"]]
        assert second["trades"] == len(pl.read_csv(Path(second["folder"]) / "trades.csv")) > first["trades"]
        assert "bars" not in second["changes"]
        _save(strategy, STRATEGY + "def broken(\n")
        third = watched.document()
        assert (third["ok"], third["exit_code"]) == (False, 65)
        assert f"{strategy}:10: '(' was never closed" in third["error"]
        assert third["remedy"]
        _save(strategy, STRATEGY.replace("ctx.buy(0.1)", "ctx.buy(1 / 0)"))
        fourth = watched.document()
        assert (fourth["ok"], fourth["exit_code"]) == (False, 65)
        assert "ZeroDivisionError" in fourth["error"]
        _save(home / "run.yaml", CONFIG + "commision_bps: 3\n")
        fifth = watched.document()
        assert (fifth["ok"], fifth["exit_code"]) == (False, 78)
        assert 'did you mean "commission_bps"?' in fifth["error"]
        _save(home / "run.yaml", CONFIG)
        assert watched.document()["ok"] is False  # the strategy is broken still
        _save(strategy, STRATEGY)
        last = watched.document()
        # Back to what it was: no code, no bars, no figures of between are left.
        assert (last["number"], last["ok"], last["hash"]) == (7, True, first["hash"])
        assert last["changes"]["hash"] == [second["hash"], first["hash"]]
        assert watched.interrupt() == 0


def test_what_has_nothing_to_do_with_the_run_is_passed_over(home: Path) -> None:
    with watch(home, "--json") as watched:
        watched.document()
        _save(home / "strategies" / "custom" / "other.py", STRATEGY.replace("dip", "other").replace("Dip", "Other"))
        (home / "run.yaml").touch()
        assert watched.is_silent()
        # One that comes first is one: entries and exits, and a file of the same id.
        _save(home / "run.yaml", CONFIG + "commission_bps: 3\n")
        assert watched.document()["changes"]["fees"][0] == "0.00000000"


def test_new_bars_are_seen_at_the_next_save(home: Path) -> None:
    with watch(home, "--json") as watched:
        first = watched.document()
        write_bars(path_of(home, "SYNTH", "1m"), synthesize("SYNTH", "1m", 20_160, 3))
        _save(home / "strategies" / "custom" / "dip.py", STRATEGY + "\n# saved\n")
        second = watched.document()
        assert (first["bars"], second["bars"]) == (10_080, 20_160)


def test_people_see_what_changed_and_the_last_good_run(home: Path) -> None:
    strategy = home / "strategies" / "custom" / "dip.py"
    with watch(home) as watched:
        summary = watched.until("Watching config and strategies; Ctrl-C ends.")
        first = next(line.split()[1] for line in summary.splitlines() if line.strip().startswith("Hash"))
        _save(strategy, STRATEGY.replace("0.995", "0.999"))
        changed = watched.until("results/")
        assert "saved: strategies/custom/dip.py" in changed
        assert f"{first} → " in changed
        second = next(line.split("→")[1].strip() for line in changed.splitlines() if " Hash" in line)
        assert "Bars" not in changed
        _save(strategy, "def schema(:\n")
        wrong = watched.until("The last good run: ")
        assert "error: " in wrong
        assert f"{strategy}:1: " in wrong
        assert second in wrong
        assert watched.interrupt() == 0


def test_kept_bars_are_used_again_unless_anything_about_them_differs(home: Path) -> None:
    kept = KeptMarkets()
    config = load(home / "run.yaml")
    first, _ = kept.load(home, "SYNTH", config)
    again, _ = kept.load(home, "SYNTH", config)
    assert again is first
    shorter, _ = kept.load(home, "SYNTH", load(home / "run.yaml", overrides=("start=2024-01-02",)))
    assert len(shorter.bars) == 10_080 - 1_440
    first, _ = kept.load(home, "SYNTH", config)
    # A strategy that writes where it should not must not change what the next run sees.
    first.bars.close.flags.writeable = True
    first.bars.close[5] = 1.0
    clean, _ = kept.load(home, "SYNTH", config)
    assert clean is not first
    assert clean.bars.close.tolist() == read_bars(path_of(home, "SYNTH", "1m"), "SYNTH", "1m").close.tolist()
