"""Taking times and memory: interleaved runs, medians, peaks; and a section of figures with its table."""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000


class Section(msgspec.Struct):
    """One part of the report: figures by name for machines, rows of text for people, sentences below them."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    figures: dict[str, Any] = {}

    def text(self) -> str:
        """The section as it is printed."""
        table = [self.header, *self.rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.header))]
        lines = [_line(row, widths) for row in table]
        lines[:1] = [lines[0], "  ".join("-" * width for width in widths)] if any(self.header) else []
        return "\n".join([self.title, *(f"  {line.rstrip()}" for line in lines), *(f"  {note}" for note in self.notes)])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *numbers])


class Contender(msgspec.Struct):
    """What is timed: `prepare` makes its input anew, untimed; `run` takes that and returns its result."""

    prepare: Callable[[], Any]
    run: Callable[[Any], Any]


class Timing(msgspec.Struct):
    """Seconds of every run of one contender, wall clock, and the result of the last one."""

    seconds: list[float]
    result: Any = None

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)


def interleaved(repeats: int, contenders: Sequence[Contender], warm: int = 1) -> list[Timing]:
    """Run the contenders in turn, so that a slow minute of the machine meets them all; garbage collected between."""
    timings = [Timing([]) for _ in contenders]
    for turn in range(warm + repeats):
        for contender, timing in zip(contenders, timings, strict=True):
            timing.result = None
            prepared = contender.prepare()
            gc.collect()
            begun = time.perf_counter()
            timing.result = contender.run(prepared)
            seconds = time.perf_counter() - begun
            if turn >= warm:
                timing.seconds.append(seconds)
    return timings


def median_of(rows: Sequence[Mapping[str, float]], name: str) -> float:
    """Middle value of one figure over several runs."""
    return median(row[name] for row in rows)


def seconds_text(seconds: float) -> str:
    """Seconds with three digits that mean something."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds:.3f} s"


def verdict(value: float, limit: float) -> str:
    """A figure against its limit, in one word and the limit."""
    return f"{'within' if value <= limit else 'OVER'} the limit of {limit:g}"


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Greatest memory that this process has held, or that of another one's `status`.

    From VmHWM where there is one: Linux lets `ru_maxrss` of a new program start at the peak of its parent.
    """
    if status.exists():
        line = next((each for each in status.read_text().splitlines() if each.startswith("VmHWM")), "")
        if line:
            return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> int:
    """Let the peak start again from what is held now, where the system can; that, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def in_child(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a Python program that prints one JSON object last; that, its seconds and CPU seconds seen from outside."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    lines = done.stdout.strip().splitlines()
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found | {"wall_seconds": wall, "cpu_seconds": cpu}
