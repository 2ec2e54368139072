"""Where a session keeps its things, and the lock that makes it the only one there."""

from __future__ import annotations

import fcntl
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import EXIT_LOCKED, TapewrightError, UsageError

SESSIONS = "sessions"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class SessionLockedError(TapewrightError):
    """Another process runs the session."""

    exit_code = EXIT_LOCKED


class SessionFolder:
    """The paths of one session: `tape`, `snapshots`, the control socket, the marks of a process that died."""

    def __init__(self, home: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a session", remedy="Use 1 to 64 letters, digits, dots, - and _: --name NAME"
            )
        self.home = home
        self.name = name
        self.path = home / SESSIONS / name
        self.tape = self.path / "tape"
        self.raw = self.path / "raw"
        self.snapshots = self.path / "snapshots"
        self.socket = self.path / "control.sock"
        self.token = self.path / "control-token"
        self.mark = self.path / "callback.mark"
        self.deaths = self.path / "deaths.json"
        self._lock = -1

    @property
    def has_tape(self) -> bool:
        """Whether the session has run before."""
        return self.tape.is_dir() and any(self.tape.glob("*.tape"))

    def __enter__(self) -> Self:
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        os.close(self._lock)
        self._lock = -1

    def set_aside(self) -> Path:
        """Move what the session has recorded away, so that it begins anew; returns where it is now. Under the lock."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self.path / f"before-{stamp}"
        aside.mkdir()
        for each in (self.tape, self.snapshots, self.mark, self.deaths):
            if each.exists():
                each.rename(aside / each.name)
        return aside

    def _take(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be written: {error.strerror or error}",
                remedy="Make it a folder that you may write to, or choose another one with --home.",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise SessionLockedError(
                f"The session {self.name} is run by another process (pid {owner}): it holds {self.path / 'lock'}",
                remedy=f"Stop that one (tapewright ctl --session {self.name} shutdown), or choose another --name.",
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)


def refuse_held(home: Path, name: str) -> None:
    """Raise SessionLockedError where a process runs the session of this name; what is no session's name is passed."""
    if _NAME.fullmatch(name) and (home / SESSIONS / name / "lock").exists():
        with SessionFolder(home, name):
            pass
