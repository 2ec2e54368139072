"""Paper sessions for tests: a loopback exchange and the daemon, each a process of its own, as people run them.

Both log JSON lines, which threads collect; a test waits for what it expects, and fails with the last lines where it
does not come.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

WAIT_SECONDS = 60.0
CONFIG = """
mode: paper
symbols: [BTCUSDT, ETHUSDT]
timeframe: 1s
strategies:
  - {name: ema_cross, params: {fast: 3, slow: 8}}
  - {name: market_maker, symbols: [BTCUSDT], params: {liquidity: 20.0, average: 30, warm_up: 10, horizon: 20}}
initial_cash: 1000000
leverage: 5
commission: {schedule: venue}
book: {order_latency_ms: 5, response_latency_ms: 5}
paper: {warmup: none, snapshot_seconds: 2}
logs: {format: json}
"""
"""Two strategies that trade often on the seeded market: one on bars, one on books."""


class Lines:
    """A process' JSON lines on standard output, and everything that it wrote to standard error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        targets = (self._read_events, self._read_errors)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def wait_for(self, event: str, *, count: int = 1, seconds: float = WAIT_SECONDS, **fields: Any) -> dict[str, Any]:
        """The `count`-th line with this event and these fields; fails where it does not come."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = self.of(event, **fields)
            return len(found) >= count

        wait_until(is_there, seconds, lambda: f"{event} {fields}: {self.tail()}", self.process)
        return found[count - 1]

    def of(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """All lines with this event and these fields, so far."""
        return [
            line for line in list(self.events)
            if line.get("event") == event and all(line.get(name) == value for name, value in fields.items())
        ]  # fmt: skip

    def tail(self) -> str:
        """The last lines, for a message."""
        return "\n".join([*map(str, self.events[-15:]), *self.errors[-15:]])

    def finish(self) -> None:
        """Wait until everything was read; the process has ended."""
        for thread in self._threads:
            thread.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                self.events.append(json.loads(line))
            except json.JSONDecodeError:
                self.errors.append(f"not JSON: {line}")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)


def wait_until(
    is_true: Callable[[], bool], seconds: float, message: Callable[[], str],
    process: subprocess.Popen[str] | None = None,
) -> None:  # fmt: skip
    """Look every 20 ms; fails after so long, or where the process ends first."""
    end = time.monotonic() + seconds
    while not is_true():
        has_ended = process is not None and process.poll() is not None
        if has_ended or time.monotonic() > end:
            time.sleep(0.2)  # its last lines may still be on their way
            if is_true():
                return
            raise AssertionError(
                f"did not come within {seconds} s" + (" (it has ended)" if has_ended else "") + f": {message()}"
            )
        time.sleep(0.02)


class Exchange:
    """A loopback exchange that runs; `rest` and `websocket` are its addresses."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        listening = lines.wait_for("listening")
        self.rest, self.websocket, self.port = listening["rest"], listening["websocket"], listening["port"]

    def settings(self) -> list[str]:
        """What a daemon must be told to use it."""
        return ["--set", f"feed.rest={self.rest}", "--set", f"feed.websocket={self.websocket}"]


@contextmanager
def exchange(*arguments: str, port: int = 0) -> Iterator[Exchange]:
    """A loopback exchange as its own process: `exchange("--seed", "3", "--fault", "gap@5")`."""
    process = start(["exchange", "--json", "--port", str(port), *arguments])
    lines = Lines(process)
    try:
        yield Exchange(lines)
    finally:
        end(process)


class Daemon:
    """`tapewright run` as its own process, in a home folder of its own."""

    def __init__(
        self, home: Path, venue: Exchange, *, config: str = CONFIG, arguments: Sequence[str] = (), name: str = "s",
        environment: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.home = home
        self.name = name
        home.mkdir(exist_ok=True)
        self.config = home / f"{name}.yaml"
        self.config.write_text(config, encoding="utf-8")
        self._arguments = [*venue.settings(), *arguments]
        self._environment = environment or {}
        self.lines = self._start()

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that runs now."""
        return self.lines.process

    @property
    def tape(self) -> Path:
        """The session's tape."""
        return self.home / "sessions" / self.name / "tape"

    @property
    def store(self) -> Path:
        """The store."""
        return self.home / "strategy.sqlite"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            error.add_note(f"The daemon (exit code {self.process.poll()}) said last:\n{self.lines.tail()}")
        end(self.process)

    def running(self) -> Self:
        """Wait until it runs."""
        self.lines.wait_for("running")
        return self

    def synchronised(self, *symbols: str) -> Self:
        """Wait until the books of these symbols are whole."""
        for symbol in symbols or ("BTCUSDT", "ETHUSDT"):
            self.lines.wait_for("book synchronised", symbol=symbol)
        return self

    def ctl(self, *arguments: str) -> Any:
        """What `tapewright ctl ... --json` answers."""
        done = cli("--home", str(self.home), "ctl", "--session", self.name, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stop(self, seconds: float = WAIT_SECONDS) -> str:
        """SIGTERM; returns the hash that it ended with."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == 0, self.lines.tail()
        self.lines.finish()
        return str(self.lines.of("stopped")[-1]["hash"])

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)
        self.lines.finish()

    def again(self, *arguments: str) -> Self:
        """Start it again in the same home, perhaps with more arguments."""
        self._arguments += arguments
        self.lines = self._start()
        return self

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the store answers."""
        with sqlite3.connect(f"{self.store.absolute().as_uri()}?mode=ro", uri=True) as connection:
            found = connection.execute(sql).fetchall()
        connection.close()
        return found

    def verify(self) -> Any:
        """`tapewright verify SESSION --json`, which must find the session equal to its replay."""
        done = cli("--home", str(self.home), "verify", self.name, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def _start(self) -> Lines:
        arguments = ["--home", str(self.home), "run", str(self.config), "--name", self.name, *self._arguments]
        return Lines(start(arguments, self._environment))


def start(arguments: Sequence[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The command line as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "daemon", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line to its end."""
    return subprocess.run([sys.executable, "-m", "daemon", *arguments], capture_output=True, text=True, check=False)


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, and SIGKILL where that does not help."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
