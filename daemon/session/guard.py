"""Looks after callbacks in Python: ends one that takes too long, and leaves a mark of one that the process dies in.

The interval timer's signal is handled between two steps of Python, so it ends a loop in Python, not one in numba or
numpy. Those only the service's watchdog ends, with the process; the mark then says which call it was.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import msgspec

from engine.isolation import InterruptedCallbackError

_MARK = struct.Struct("<qqq")  # 1: inside, strategy, call
_AGAIN_SECONDS = 0.001
DEATHS_MOST = 2


class Death(msgspec.Struct, frozen=True):
    """A call that a process died in, and how often in a row."""

    strategy: int
    call: int
    count: int


class Guard:
    """The watch of a live run. `timeout_ms` 0: callbacks may take as long as they like."""

    def __init__(self, mark: Path, timeout_ms: int) -> None:
        self._file = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._file, _MARK.size)
        self._map = mmap.mmap(self._file, _MARK.size)
        _MARK.pack_into(self._map, 0, 0, 0, 0)  # what the last process left there has been noted
        self._seconds = timeout_ms / 1000
        self._is_inside = False
        self._is_over = False
        self.is_busy: Callable[[], bool] = lambda: False
        self._before: signal.Handlers | Callable[[int, FrameType | None], object] | int | None = None
        if self._seconds:
            self._before = signal.signal(signal.SIGALRM, self._interrupt)

    def enter(self, strategy: int, call: int) -> None:
        """A callback begins."""
        _MARK.pack_into(self._map, 0, 1, strategy, call)
        self._is_over = False
        self._is_inside = True
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def leave(self) -> None:
        """It has ended; raises InterruptedCallbackError where it was interrupted, whatever its code made of that."""
        self._is_inside = False
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _MARK.pack_into(self._map, 0, 0, 0, 0)
        if self._is_over:
            raise self._too_long()

    def close(self) -> None:
        """Let go of the mark and the signal."""
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
        self._map.close()
        os.close(self._file)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        if not self._is_inside:
            return
        if self.is_busy():  # an order is just being sent
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            return
        if _is_compiling(frame):  # the first use of an indicator: no fault of the strategy
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
            return
        self._is_over = True
        signal.setitimer(signal.ITIMER_REAL, self._seconds)  # again, for code that catches everything and goes on
        raise self._too_long()

    def _too_long(self) -> InterruptedCallbackError:
        return InterruptedCallbackError(f"took longer than {self._seconds * 1000:.0f} ms")


def _is_compiling(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("numba."):
            return True
        frame = frame.f_back
    return False


def note_death(mark: Path, deaths: Path) -> Death | None:
    """Whether the last process died inside a callback: which, and how often in a row. Noted in `deaths`."""
    try:
        is_inside, strategy, call = _MARK.unpack(mark.read_bytes()[: _MARK.size])
    except (OSError, struct.error):
        is_inside = strategy = call = 0
    if not is_inside:
        deaths.unlink(missing_ok=True)
        return None
    before = _read(deaths)
    count = before.count + 1 if before is not None and (before.strategy, before.call) == (strategy, call) else 1
    death = Death(strategy, call, count)
    partial = deaths.with_suffix(".partial")
    partial.write_text(json.dumps(msgspec.to_builtins(death)), encoding="utf-8")
    partial.replace(deaths)
    return death


def _read(deaths: Path) -> Death | None:
    try:
        return msgspec.json.decode(deaths.read_bytes(), type=Death)
    except (OSError, msgspec.DecodeError):
        return None
