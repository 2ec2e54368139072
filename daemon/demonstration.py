"""The whole of it on one machine without network: an exchange, a session that trades on it, and the proof."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.control.client import ControlClient, socket_path
from daemon.control.model import Status
from daemon.session_verifying import SessionVerdict, session_folder, verify_session
from daemon.stages import Stages
from engine.errors import TapewrightError

NAME = "demo"
CONFIG = """# What `tapewright demo` runs. Change it, and run it again: see the lines at the end of the demo.
mode: paper
symbols: [BTCUSDT, ETHUSDT]
timeframe: 1s
strategies:
  - {name: ema_cross, params: {fast: 5, slow: 15}, symbols: [ETHUSDT]}
  - {name: market_maker, params: {liquidity: 20.0, average: 30, warm_up: 10, horizon: 20}, symbols: [BTCUSDT]}
initial_cash: 100000
leverage: 3
commission: {schedule: venue}   # the venue's published fees
book: {order_latency_ms: 5, response_latency_ms: 5}
paper: {warmup: none}           # bars of 1 s: no venue has them by REST
logs: {format: json}
"""
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_LINE_SECONDS = 1.0
_QUIET_LINES_EVERY = 5


class DemoError(TapewrightError):
    """A part of the demo did not come up."""


def demonstrate(
    home: Path, seed: int, seconds: float, stages: Stages, *, is_terminal: bool, is_quiet: bool = False
) -> SessionVerdict:  # fmt: skip
    """Run the exchange and a session of two strategies for so long, stop both, and replay the session.

    Raises DemoError, with what the part said last, where one of them ends by itself.
    """
    config = home / f"{NAME}.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    log = home / f"{NAME}.log"
    with _process(["exchange", "--json", "--port", "0", "--seed", str(seed), "--funding-seconds", "20"]) as exchange:
        listening = _first_line(exchange)
        stages.stage(f"An exchange of a made-up market (seed {seed}) listens on {listening['rest']}")
        addresses = [f"feed.rest={listening['rest']}", f"feed.websocket={listening['websocket']}"]
        settings = [word for address in addresses for word in ("--set", address)]
        with log.open("w", encoding="utf-8") as file:
            arguments = ["--home", str(home), "run", str(config), "--name", NAME, *settings]
            with _process(arguments, file) as daemon:
                _await_socket(home, daemon, log)
                stages.stage(f"Two strategies trade on it, on paper, for {seconds:.0f} s")
                _watch(home, daemon, seconds, log, is_terminal=is_terminal, is_quiet=is_quiet)
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(_STOP_SECONDS)
    stages.stage("Stopped. Its tape is replayed through the same engine")
    folder = session_folder(home, Path(NAME))
    assert folder is not None
    return verify_session(home, folder, stages)


@contextlib.contextmanager
def _process(arguments: list[str], output: Any = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """A command of ours as a process of its own, ended with the block."""
    command = [sys.executable, "-m", "daemon", *arguments]
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)  # noqa: S603 - ourselves
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _first_line(exchange: subprocess.Popen[str]) -> dict[str, Any]:
    assert exchange.stdout is not None
    line = exchange.stdout.readline()
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        raise DemoError(f"The exchange did not start: {line.strip()}", remedy="Run: tapewright doctor") from None
    return found


def _await_socket(home: Path, daemon: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and daemon.poll() is None:
        with contextlib.suppress(TapewrightError, OSError), ControlClient(socket_path(home, NAME)) as client:
            if client.status().state == "running":
                return
        time.sleep(0.1)
    raise _ended(log)


def _watch(
    home: Path, daemon: subprocess.Popen[str], seconds: float, log: Path, *, is_terminal: bool, is_quiet: bool
) -> None:  # fmt: skip
    """A line that lives, on a terminal; elsewhere a line now and then."""
    begun = time.monotonic()
    number = 0
    with ControlClient(socket_path(home, NAME)) as client:
        while (elapsed := time.monotonic() - begun) < seconds:
            if daemon.poll() is not None:
                raise _ended(log)
            line = _line(elapsed, client.status(), client.positions())
            if is_terminal:
                print(f"\r{line:<110}", end="", file=sys.stderr, flush=True)
            elif not is_quiet and number % _QUIET_LINES_EVERY == 0:
                print(line, file=sys.stderr, flush=True)
            number += 1
            time.sleep(max(0.0, min(_LINE_SECONDS, seconds - (time.monotonic() - begun))))
    if is_terminal:
        print(file=sys.stderr)


def _line(elapsed: float, status: Status, positions: list[Any]) -> str:
    books = "  ".join(f"{each.symbol} {each.bid or '-'}/{each.ask or '-'}" for each in status.symbols)
    held = ", ".join(f"{each.size:+f} {each.symbol}" for each in positions) or "flat"
    return f"  {elapsed:3.0f} s  equity {status.equity:,.2f}  {books}  {held}  record {status.seq:,}"


def _ended(log: Path) -> DemoError:
    last = log.read_text(encoding="utf-8").strip().splitlines()[-3:]
    return DemoError("The session did not come up, or ended by itself:\n  " + "\n  ".join(last), remedy=f"See {log}")
