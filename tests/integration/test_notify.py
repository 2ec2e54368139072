"""What systemd would receive, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.notify import Notifier


@pytest.fixture(name="manager")
def made_manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        yield manager


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    name = manager.getsockname()
    return {"NOTIFY_SOCKET": "@" + os.fsdecode(name[1:]) if isinstance(name, bytes) else name, **more}


def test_each_message_is_what_systemd_reads(manager: socket.socket) -> None:
    with Notifier(environment(manager, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))) as notifier:
        assert notifier.is_listened_to
        assert notifier.watchdog_interval_seconds == 15
        notifier.ready("3 instruments")
        assert manager.recv(4096) == b"READY=1\nSTATUS=3 instruments"
        notifier.ready()
        assert manager.recv(4096) == b"READY=1"
        notifier.status("seq 12\u202f345")
        assert manager.recv(4096).decode() == "STATUS=seq 12 345"
        notifier.watchdog()
        assert manager.recv(4096) == b"WATCHDOG=1"
        notifier.extend_timeout(2.5)
        assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=2500000"
        before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        first, second = manager.recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        assert 0 <= int(second.removeprefix("MONOTONIC_USEC=")) - before_us < 10_000_000
        notifier.stopping("drained")
        assert manager.recv(4096) == b"STOPPING=1\nSTATUS=drained"


def test_a_name_in_the_abstract_space_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(b"\0tapewright-test-%d" % os.getpid())
        manager.settimeout(5)
        with Notifier(environment(manager)) as notifier:
            notifier.ready()
            assert manager.recv(4096) == b"READY=1"


def test_a_status_cannot_hold_another_assignment(manager: socket.socket) -> None:
    with Notifier(environment(manager)) as notifier:
        notifier.status("feed lost\nREADY=1\rWATCHDOG=trigger " + "x" * 10_000)
        message = manager.recv(65_536)
        assert message.startswith(b"STATUS=feed lost READY=1 WATCHDOG=trigger xx")
        assert b"\n" not in message
        assert len(message) < 500
        notifier.status("")
        assert manager.recv(4096) == b"STATUS="


@pytest.mark.parametrize(
    ("watchdog", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_is_fed_only_where_this_process_is_watched(
    manager: socket.socket, watchdog: dict[str, str], seconds: float | None
) -> None:
    with Notifier(environment(manager, **watchdog)) as notifier:
        assert notifier.watchdog_interval_seconds == seconds
        notifier.watchdog()
        notifier.status("end")
        assert manager.recv(4096) == (b"STATUS=end" if seconds is None else b"WATCHDOG=1")


@pytest.mark.parametrize("address", ["", "relative/path", "@", "vsock:2:1234"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    with Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}) as notifier:
        assert not notifier.is_listened_to
        assert notifier.watchdog_interval_seconds is None
        say_everything(notifier)


def test_a_manager_that_goes_and_comes_again_is_told_what_comes_then(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"}) as notifier:
        say_everything(notifier)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            notifier.status("first")
            assert manager.recv(4096) == b"STATUS=first"
        say_everything(notifier)
        Path(path).unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            notifier.status("second")
            assert manager.recv(4096) == b"STATUS=second"


def test_a_path_that_is_too_long_for_a_socket_is_nobody(tmp_path: Path) -> None:
    with Notifier({"NOTIFY_SOCKET": str(tmp_path / ("x" * 200))}) as notifier:
        say_everything(notifier)


def test_a_manager_that_does_not_read_holds_up_nobody(manager: socket.socket) -> None:
    with Notifier(environment(manager, WATCHDOG_USEC="3000000")) as notifier:
        # The queue of a datagram socket has some ten places (net.unix.max_dgram_qlen), a large system's some hundred.
        for _ in range(5_000):
            notifier.watchdog()
        assert manager.recv(4096) == b"WATCHDOG=1"


def test_a_closed_notifier_is_silent(manager: socket.socket) -> None:
    notifier = Notifier(environment(manager, WATCHDOG_USEC="3000000"))
    notifier.close()
    notifier.close()
    say_everything(notifier)
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def test_a_process_finds_its_manager_in_the_environment(manager: socket.socket) -> None:
    code = "from daemon.notify import Notifier; n = Notifier(); n.ready('from a child'); n.watchdog(); n.stopping()"
    child = os.environ | environment(manager, WATCHDOG_USEC="3000000")
    subprocess.run([sys.executable, "-c", code], env=child, cwd=Path(__file__).parents[2], check=True)
    assert manager.recv(4096) == b"READY=1\nSTATUS=from a child"
    assert manager.recv(4096) == b"WATCHDOG=1"
    assert manager.recv(4096) == b"STOPPING=1"


def say_everything(notifier: Notifier) -> None:
    notifier.ready("x")
    notifier.status("x")
    notifier.watchdog()
    notifier.reloading()
    notifier.extend_timeout(1)
    notifier.stopping()
