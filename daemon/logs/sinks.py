"""Where lines go, each sink in a thread of its own behind a bounded queue.

Whoever logs never waits: journald that stands still, a terminal stopped with Ctrl+S, a slow disk cost lines, and the
sink says how many were lost once it can. The threads never block for long either, so that closing always ends.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, TextIO

import msgspec

from engine.errors import InputMissingError

QUEUE_BYTES_MAX = 4_000_000
CLOSE_SECONDS = 2.0

_BATCH_LINES_MAX = 256
# A pipe that polls as writable takes this much at once without blocking.
_CHUNK_BYTES = select.PIPE_BUF
_POLL_MS = 100
_FILE_MODE = 0o640


class LogCounts(msgspec.Struct, frozen=True):
    """Lines of one sink: written, and lost because it was full or could not be written."""

    written: int
    lost: int


class Target(Protocol):
    """What a sink's thread writes to."""

    def write(self, lines: Sequence[bytes], give_up: threading.Event) -> None:
        """Write whole lines; raises OSError where that fails, or where `give_up` ended it."""

    def close(self) -> None:
        """Give back what was opened here."""


class Sink:
    """A bounded queue of lines and the thread that writes them. `lost_line(count)` is written after a loss."""

    def __init__(self, target: Target, lost_line: Callable[[int], bytes], *, bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self._target = target
        self._lost_line = lost_line
        self._bytes_max = bytes_max
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._written = self._lost = self._lost_told = 0
        self._is_failing = self._is_closing = False
        self._changed = threading.Condition()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tapewright-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue a line; where there is no room it is counted as lost."""
        with self._changed:
            if self._is_closing or self._queued_bytes + len(line) > self._bytes_max:
                self._lost += 1
                return
            self._tell_lost()
            self._append(line)
            self._changed.notify()

    def counts(self) -> LogCounts:
        """Lines written and lost so far."""
        with self._changed:
            return LogCounts(self._written, self._lost)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what is queued, for as long as that many seconds, and end the thread."""
        with self._changed:
            self._tell_lost()
            self._is_closing = True
            self._changed.notify()
        self._thread.join(seconds)
        self._give_up.set()
        # Another writer of the same pipe can still hold the thread; it must not hold the process.
        self._thread.join(1.0)
        self._target.close()

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._queued_bytes += len(line)

    def _tell_lost(self) -> None:
        if self._lost > self._lost_told and not self._is_failing:
            self._append(self._lost_line(self._lost - self._lost_told))
            self._lost_told = self._lost

    def _run(self) -> None:
        while batch := self._next():
            self._write(batch)

    def _next(self) -> list[bytes]:
        """The lines to write next; none where the sink is closed and empty."""
        with self._changed:
            while not self._lines and not self._is_closing:
                self._changed.wait()
            batch = [self._lines.popleft() for _ in range(min(len(self._lines), _BATCH_LINES_MAX))]
            self._queued_bytes -= sum(map(len, batch))
            return batch

    def _write(self, batch: list[bytes]) -> None:
        try:
            self._target.write(batch, self._give_up)
        except OSError:
            with self._changed:
                self._lost += len(batch)
                is_news, self._is_failing = not self._is_failing, True
            if is_news and not self._give_up.is_set():
                logging.getLogger("daemon.logs").exception("log lines cannot be written")
            return
        with self._changed:
            self._written += len(batch)
            self._is_failing = False


class StreamTarget:
    """Standard output or another open stream; by its descriptor where it has one, so that no write blocks for long."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        try:
            self._descriptor: int | None = stream.fileno()
        except (AttributeError, io.UnsupportedOperation):
            self._descriptor = None

    def write(self, lines: Sequence[bytes], give_up: threading.Event) -> None:
        """Write the lines; where nobody reads, wait until somebody does or `give_up`."""
        data = b"".join(lines)
        if self._descriptor is None:
            self._stream.write(data.decode())
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        left = memoryview(data)
        while left:
            if not poll.poll(_POLL_MS):
                if give_up.is_set():
                    raise TimeoutError("nobody reads the logs")
                continue
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self._descriptor, left[:_CHUNK_BYTES]) :]

    def close(self) -> None:
        """Leave the stream open: it belongs to the process."""


class RotatingFile:
    """A file of bounded size. A full one becomes `NAME.1`, that one `NAME.2`, up to `files_kept`; older ones go.

    Only whole lines are split between files, and a line torn by a crash or a full disk is ended before the next one.
    Raises InputMissingError where the file cannot be opened at first.
    """

    def __init__(self, path: Path, bytes_max: int, files_kept: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._files_kept = files_kept
        self._descriptor: int | None = None
        self._size = 0
        self._is_torn = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise InputMissingError(
                f"The log file {path} cannot be opened: {error.strerror}",
                remedy="Name another under logs.file, or leave it empty where there is a journal.",
            ) from error

    def write(self, lines: Sequence[bytes], give_up: threading.Event) -> None:  # noqa: ARG002 - a disk is not waited for
        """Append the lines, into a new file where they do not fit."""
        for line in lines:
            if self._descriptor is None:
                self._open()
            if self._size and self._size + len(line) > self._bytes_max:
                self._rotate()
            self._append(b"\n" + line if self._is_torn else line)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        self._size = os.fstat(self._descriptor).st_size
        self._is_torn = self._size > 0 and os.pread(self._descriptor, 1, self._size - 1) != b"\n"

    def _append(self, data: bytes) -> None:
        assert self._descriptor is not None
        left = memoryview(data)
        try:
            while left:
                count = os.write(self._descriptor, left)
                self._size += count
                left = left[count:]
        except OSError:
            # Opened again for the next line, it tells by itself whether it ends in the middle of one.
            self.close()
            raise
        self._is_torn = False

    def _rotate(self) -> None:
        self.close()
        if self._files_kept == 0:
            self._path.unlink(missing_ok=True)
        else:
            for number in range(self._files_kept - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            with contextlib.suppress(FileNotFoundError):
                self._path.replace(self._numbered(1))
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
