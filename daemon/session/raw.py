"""The feed's frames as they came, beside the tape: gzipped lines of `receive ns, source, frame`, from a thread."""

from __future__ import annotations

import gzip
import queue
import threading
from datetime import UTC, datetime
from pathlib import Path

from engine.bars import NS_PER_SECOND

FRAMES_WAITING_MAX = 50_000
_LEVEL = 1


class RawFrames:
    """Never waits: where the disk is too slow, frames are dropped and counted. The tape has what they said."""

    def __init__(self, folder: Path) -> None:
        self.dropped = 0
        self._folder = folder
        self._queue: queue.Queue[tuple[int, int, bytes] | None] = queue.Queue(FRAMES_WAITING_MAX)
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._write, name="raw frames", daemon=True)
        self._thread.start()

    def put(self, source: int, receive_ns: int, frame: bytes | str) -> None:
        """Keep a frame."""
        content = frame.encode() if isinstance(frame, str) else frame
        try:
            self._queue.put_nowait((receive_ns, source, content))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        item = self._queue.get()
        while item is not None:
            day = _day_of(item[0])
            with gzip.open(self._folder / f"{day}.gz", "ab", compresslevel=_LEVEL) as file:
                while item is not None and _day_of(item[0]) == day:
                    file.write(b"%d %d " % item[:2] + item[2].replace(b"\n", b" ") + b"\n")
                    item = self._queue.get()


def _day_of(receive_ns: int) -> str:
    return datetime.fromtimestamp(receive_ns // NS_PER_SECOND, UTC).strftime("%Y%m%d")
