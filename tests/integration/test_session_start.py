"""Starts of a session that do not come to anything: each says why, writes no tape, and ends at once when told to."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import EXIT_UNAVAILABLE, EXIT_USAGE
from tests.sessions import Daemon, exchange


@contextmanager
def listener() -> Iterator[socket.socket]:
    """A socket that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def at(rest: str) -> Any:
    """A venue of which only the REST address counts."""
    return SimpleNamespace(settings=lambda: ["--set", f"feed.rest={rest}"])


def test_a_start_that_waits_for_the_venue_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with listener() as silent, Daemon(tmp_path / "home", at(f"http://127.0.0.1:{silent.getsockname()[1]}")) as daemon:
        asked, _ = silent.accept()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(30) == 0  # its requests would wait for longer
        daemon.lines.finish()
        asked.close()
        assert daemon.lines.of("stopped before it began")
        assert not daemon.tape.exists()


def test_a_venue_that_is_not_there_is_no_reason_to_stay_down(tmp_path: Path) -> None:
    """The unit starts again after this code: a network that comes later must do."""
    with listener() as server:
        rest = f"http://127.0.0.1:{server.getsockname()[1]}"
    with Daemon(tmp_path / "home", at(rest)) as daemon:
        assert daemon.process.wait(60) == EXIT_UNAVAILABLE
        daemon.lines.finish()
        assert rest in daemon.lines.tail()
        assert not daemon.tape.exists()
    unit = Path("systemd/tapewright.service").read_text(encoding="utf-8")
    never_again = next(line for line in unit.splitlines() if line.startswith("RestartPreventExitStatus="))
    assert str(EXIT_UNAVAILABLE) not in never_again.partition("=")[2].split()


@pytest.mark.parametrize("field", ["metrics.port", "control.http_port"])
def test_a_port_that_is_taken_is_told_before_anything_is_written(tmp_path: Path, field: str) -> None:
    with exchange("--seed", "3") as venue, listener() as taken:
        setting = f"{field}={taken.getsockname()[1]}"
        with Daemon(tmp_path / "home", venue, arguments=["--set", setting]) as daemon:
            assert daemon.process.wait(60) == EXIT_USAGE
            daemon.lines.finish()
            assert field in daemon.lines.tail()
            assert not daemon.tape.exists()
