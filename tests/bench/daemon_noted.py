"""The daemon's command with one thing added: a note of when each step's decisions were made, and of what it holds.

`python -m tests.bench.daemon_noted NOTES STEPS_MOST COMMAND...`. The room for the notes is taken before the session
begins, so that it is no growth; a step costs 1 µs more.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from daemon.cli import main
from daemon.session import loop, pump

_NS_PER_SECOND = 1_000_000_000
HELD = ("monotonic_ns", "resident_bytes", "descriptors", "tasks", "cpu_ns")


class Notes:
    """(seq, decided ns) of each step; once a second the process's memory, descriptors and tasks."""

    def __init__(self, steps_most: int) -> None:
        self.steps = np.full((steps_most, 2), -1, dtype=np.int64)
        self.held = np.full((steps_most // 100 + 60, len(HELD)), -1, dtype=np.int64)
        self.base_ns = 0
        self.step_count = self.held_count = 0
        self._held_ns = 0

    def step(self, said: pump.Said) -> None:
        """A step was taken."""
        if self.step_count < len(self.steps):
            self.steps[self.step_count] = said.last_seq, said.decided_ns
            self.step_count += 1
        if said.decided_ns - self._held_ns >= _NS_PER_SECOND and self.held_count < len(self.held):
            self._held_ns = said.decided_ns
            self.held[self.held_count] = (
                said.decided_ns, resident_bytes(), len(list(Path("/proc/self/fd").iterdir())),
                len(asyncio.all_tasks()), time.process_time_ns(),
            )  # fmt: skip
            self.held_count += 1

    def write(self, path: Path) -> None:
        """Write everything down."""
        np.savez(path, steps=self.steps[: self.step_count], held=self.held[: self.held_count], base_ns=self.base_ns)


def resident_bytes() -> int:
    """Memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run() -> None:
    """Run the command, and write the notes at its end."""
    path, steps_most = Path(sys.argv[1]), int(sys.argv[2])
    sys.argv[1:] = sys.argv[3:]
    notes = Notes(steps_most)
    publish, begin = pump.StorePump.publish, loop.RunLoop.__init__

    def noted_publish(self: pump.StorePump, said: pump.Said) -> None:
        notes.step(said)
        publish(self, said)

    def noted_begin(self: loop.RunLoop, *arguments: Any) -> None:
        begin(self, *arguments)
        notes.base_ns = self._clock.now_ns() - time.monotonic_ns()

    pump.StorePump.publish = noted_publish  # type: ignore[method-assign]
    loop.RunLoop.__init__ = noted_begin  # type: ignore[method-assign]
    try:
        main()
    finally:
        notes.write(path)


if __name__ == "__main__":
    run()
