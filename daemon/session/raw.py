"""The feed's frames as they came, beside the tape: gzipped lines of `receive ns, source, frame`, from a thread.

Each start and each day (UTC) has a file of its own: what follows a file that a crash has torn, no reader would find.
"""

from __future__ import annotations

import contextlib
import gzip
import queue
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from daemon.logs import get_logger
from engine.bars import NS_PER_SECOND

FRAMES_WAITING_MAX = 50_000
_LEVEL = 1
_PAUSE_SECONDS = 10.0
"""After trouble with the disk nothing is tried for so long."""
_CLOSE_SECONDS = 2.0
_DAY_NS = 86_400 * NS_PER_SECOND

_Frame = tuple[int, int, bytes]


class RawFrames:
    """Never waits: where the disk is too slow or full, frames are dropped and counted. The tape has what they said."""

    def __init__(self, folder: Path, *, frames_max: int = FRAMES_WAITING_MAX) -> None:
        self._turned_away = self._lost = 0  # one for each thread
        self._folder = folder
        self._queue: queue.Queue[_Frame | None] = queue.Queue(frames_max)
        self._log = get_logger("raw")
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._write, name="raw frames", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were not kept."""
        return self._turned_away + self._lost

    def put(self, source: int, receive_ns: int, frame: bytes | str) -> None:
        """Keep a frame."""
        content = frame.encode() if isinstance(frame, str) else frame
        try:
            self._queue.put_nowait((receive_ns, source, content))
        except queue.Full:
            if not self._turned_away:
                self._log.warning("raw frames are dropped: the disk is too slow", folder=str(self._folder))
            self._turned_away += 1

    def close(self) -> None:
        """Write what waits, for some seconds, and end."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=_CLOSE_SECONDS)
        self._thread.join(_CLOSE_SECONDS)
        if self.dropped:
            self._log.warning("raw frames were dropped", count=self.dropped, folder=str(self._folder))

    def _write(self) -> None:
        item = self._queue.get()
        while item is not None:
            try:
                item = self._fill(item)
            except OSError as error:
                self._log.error("raw frames are not kept", folder=str(self._folder), why=error.strerror or str(error))
                item = self._drop_for(_PAUSE_SECONDS)

    def _fill(self, item: _Frame) -> _Frame | None:
        """Write a file; returns the first frame of the next one, or None at the end."""
        frame: _Frame | None = item
        day = item[0] // _DAY_NS
        with gzip.open(self._folder / f"{_stamp(item[0])}.gz", "ab", compresslevel=_LEVEL) as file:
            while frame is not None and frame[0] // _DAY_NS == day:
                file.write(b"%d %d " % frame[:2] + frame[2].replace(b"\n", b" ") + b"\n")
                frame = self._queue.get()
        return frame

    def _drop_for(self, seconds: float) -> _Frame | None:
        """The first frame after so long; those before it, and the one that met the trouble, are lost."""
        self._lost += 1
        end = time.monotonic() + seconds
        item = self._queue.get()
        while item is not None and time.monotonic() < end:
            self._lost += 1
            item = self._queue.get()
        return item


def _stamp(receive_ns: int) -> str:
    seconds, rest_ns = divmod(receive_ns, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}{rest_ns // 1000:06d}"
