"""What the daemon tells systemd: that it is ready, what it does, that it is alive. No dependency, one datagram each.

The address comes in NOTIFY_SOCKET; without it, on a terminal or in a container, every call does nothing. A message
that cannot be delivered is lost silently: trading does not stop because nobody listens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType

# READY and STOPPING change what systemd does, so they may wait for room in its queue; the rest comes again soon.
_PATIENCE_SECONDS = 1.0
_STATUS_CHARS_MAX = 400
_MICROSECONDS = 1_000_000


class Notifier:
    """Sends to the service manager named by the environment; a no-op where there is none. Never raises."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        self._address = _address(found.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._limit_us = _watchdog_us(found) if self._socket is not None else None

    @property
    def is_listened_to(self) -> bool:
        """Whether there is a service manager to tell."""
        return self._socket is not None

    @property
    def watchdog_interval_seconds(self) -> float | None:
        """How often `watchdog` should be called: half of what the unit's WatchdogSec allows; None: it asks for none."""
        return None if self._limit_us is None else self._limit_us / 2 / _MICROSECONDS

    def ready(self, status: str = "") -> None:
        """Say that start or reload is complete: what waits for this unit may start."""
        self._send("READY=1", *_status(status), wait_seconds=_PATIENCE_SECONDS)

    def status(self, text: str) -> None:
        """Say in one line what the daemon does; `systemctl status` shows it."""
        self._send(*(_status(text) or ["STATUS="]))

    def watchdog(self) -> None:
        """Say that the daemon is alive. Where the unit asks for no watchdog nothing is sent."""
        if self._limit_us is not None:
            self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """Say that the daemon is on its way out."""
        self._send("STOPPING=1", *_status(status), wait_seconds=_PATIENCE_SECONDS)

    def reloading(self, status: str = "") -> None:
        """Say that the configuration is read again; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", *_status(status), wait_seconds=_PATIENCE_SECONDS)

    def extend_timeout(self, seconds: float) -> None:
        """Ask for that much time from now on, for a start, stop or run that would end by a time-out."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}")

    def close(self) -> None:
        """Give the socket back; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._limit_us = None

    def __enter__(self) -> Notifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, *lines: str, wait_seconds: float = 0.0) -> None:
        if self._socket is None or self._address is None:
            return
        # No connection is kept: the manager may be replaced under the same address.
        self._socket.settimeout(wait_seconds)
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _address(named: str) -> str | bytes | None:
    """A path, or a name in Linux' abstract space (`@name`); None for what is neither."""
    if named.startswith("@") and len(named) > 1:
        return b"\0" + os.fsencode(named[1:])
    return named if named.startswith("/") else None


def _watchdog_us(environment: Mapping[str, str]) -> int | None:
    """The watchdog's limit, where it is meant for this process and not for one that started it."""
    limit, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (limit.isascii() and limit.isdigit()) or int(limit) == 0:
        return None
    return int(limit) if pid in {"", str(os.getpid())} else None


def _status(text: str) -> list[str]:
    # A message is lines of NAME=value: a line break in a status would begin another assignment.
    line = " ".join(text.split())[:_STATUS_CHARS_MAX]
    return [f"STATUS={line}"] if line else []
