"""What a person sees of a long command: one line a stage, and a bar that moves, on a terminal only."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

_WIDTH = 24
_REDRAW_SECONDS = 0.1


class Stages(Protocol):
    """Where a command says how far it is."""

    def stage(self, text: str) -> None:
        """Say that something is done or begins."""

    def progress(self, done: int, total: int) -> None:
        """Say how many candles or records of all are done."""


class Quiet:
    """Says nothing: for programs that read."""

    def stage(self, text: str) -> None:
        """Say nothing."""

    def progress(self, done: int, total: int) -> None:
        """Say nothing."""


class Terminal:
    """Stage lines with the seconds since the start; the bar is redrawn in place where the stream is a terminal."""

    def __init__(self, stream: TextIO | None = None, *, unit: str = "candles") -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._unit = unit
        self._is_terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._loop_start = 0.0
        self._drawn = 0.0

    def stage(self, text: str) -> None:
        """Print a line such as `T+1.2s  Data loaded (525,600 candles)`."""
        print(f"T+{time.monotonic() - self._start:.1f}s  {text}", file=self._stream, flush=True)

    def progress(self, done: int, total: int) -> None:
        """Redraw `[=====>   ] 40% (1,200,000 candles/sec)`; a stream that is no terminal gets the last one only."""
        now = time.monotonic()
        if not self._loop_start:
            self._loop_start = self._drawn = now
        is_last = done >= total
        if not is_last and (not self._is_terminal or now - self._drawn < _REDRAW_SECONDS):
            return
        self._drawn = now
        share = done / total if total else 1.0
        filled = int(share * _WIDTH)
        bar = "=" * filled + (">" if filled < _WIDTH else "")
        rate = done / max(now - self._loop_start, 1e-9)
        line = f"[{bar:<{_WIDTH}}] {share:4.0%} ({rate:,.0f} {self._unit}/sec)"
        print(f"\r{line}" if self._is_terminal else line, end="\n" if is_last else "", file=self._stream, flush=True)
        if is_last:
            self._loop_start = 0.0
