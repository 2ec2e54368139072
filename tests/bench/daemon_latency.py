"""From a message's due time to the decision on it, at a fixed rate: exchange and daemon are processes, as in life.

The exchange sends message k at its time whatever the daemon does, and the latency of k is counted from that time, so
that a stall is seen in every message that waits because of it. What is between the two times: the exchange's lateness,
the socket, the daemon up to the end of the step that the message's last record was in.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.tape import TapeReader
from engine.kernels import layout
from tests.bench.daemon_frames import CONFIG
from tests.bench.measuring import ROOT, Section
from tests.sessions import Lines, end

P99_AIM_MS, P999_AIM_MS = 1.0, 5.0
SLOPE_LIMIT_MB = 5.0  # an hour
_DRAIN_SECONDS = 3.0
_SOAK_WARM_SECONDS = 120.0
_BEGINNING_SECONDS = 5.0  # the first depth message may be in the book's snapshot already, and is left out then
_NAME = "bench"
_QUANTILES = (50.0, 99.0, 99.9, 99.99, 100.0)


def _is_trouble(line: dict[str, Any]) -> bool:
    """Whether a log line tells of what should not be; the market may go through a post-only price."""
    if line["event"] == "order" and line.get("reason") == "post_only":
        return False
    return line.get("level") in {"warning", "error"}


class Run:
    """One run of both processes: the exchange's notes, the daemon's, the tape."""

    def __init__(self, folder: Path, rate: int, seconds: float, frames: int) -> None:
        self.rate = rate
        self.load_before = os.getloadavg()[0]
        notes, noted = folder / "sent.npy", folder / "noted.npz"
        home = folder / "home"
        home.mkdir()
        config = home / f"{_NAME}.yaml"
        config.write_text(CONFIG)
        load = start("tests.bench.daemon_load", "--rate", str(rate), "--seconds", str(seconds), "--frames",
                      str(frames), "--notes", str(notes))  # fmt: skip
        try:
            lines = Lines(load)
            self.listening = lines.wait_for("listening")
            daemon = start(
                "tests.bench.daemon_noted", str(noted), str(round(rate * (seconds + 30))), "--home", str(home), "run",
                str(config), "--name", _NAME, "--set", f"feed.rest={self.listening['rest']}", "--set",
                f"feed.websocket={self.listening['websocket']}",
            )  # fmt: skip
            try:
                said = Lines(daemon)
                said.wait_for("running")
                lines.wait_for("sent", seconds=seconds + 60)
                self.load_after = os.getloadavg()[0]
                time.sleep(_DRAIN_SECONDS)  # what is still on its way must not be missing
                daemon.send_signal(signal.SIGTERM)
                if daemon.wait(60):
                    raise RuntimeError(f"the daemon ended with {daemon.returncode}: {said.tail()}")
                said.finish()
                self.hash = str(said.of("stopped")[-1]["hash"])
                self.warnings = [line["event"] for line in said.events if _is_trouble(line)]
            finally:
                end(daemon)
        finally:
            end(load)
        self.sent = np.load(notes)
        with np.load(noted) as found:
            self.steps, self.held, self.base_ns = found["steps"], found["held"], int(found["base_ns"])
        self.tape = home / "sessions" / _NAME / "tape"


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A module as a process of its own, its output to be read."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def latencies_of(run: Run, warm_seconds: float) -> dict[str, Any]:
    """Latencies in ns of every message that is on the tape, those of the first seconds apart, and what is missing."""
    seqs, received = _last_records(run)
    is_followed = run.sent[:, 0] > 0
    due, sent = run.sent[:, 2], run.sent[:, 3]
    is_warm = due >= due[0] + round(warm_seconds * 1e9)
    chosen = is_followed & is_warm
    is_there = chosen & (seqs > 0)
    place = np.searchsorted(run.steps[:, 0], seqs[is_there])
    decided = run.steps[:, 1][place]
    return {
        "due_to_decision": decided - due[is_there],
        "receive_to_decision": decided - (received[is_there] - run.base_ns),
        "due_to_sent": (sent - due)[is_there],
        "missing": int(chosen.sum() - is_there.sum()),
        "steps": len(np.unique(place)),
    }


def _last_records(run: Run) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each message the seq and the receive time of the last record that it made, 0 where there is none."""
    seqs = np.zeros(len(run.sent), dtype=np.int64)
    received = np.zeros(len(run.sent), dtype=np.int64)
    order = {}
    for kind in (layout.LEVEL, layout.QUOTE, layout.PRINT):
        places = np.flatnonzero(run.sent[:, 0] == kind)
        order[kind] = (places, run.sent[places, 1])  # ids rise
    words = {layout.LEVEL: "c", layout.QUOTE: "e", layout.PRINT: "c"}
    for batch in TapeReader(run.tape).batches():
        for kind, (places, ids) in order.items():
            own = np.flatnonzero(batch.records["kind"] == kind)
            found = np.searchsorted(ids, batch.records[words[kind]][own])
            is_known = found < len(ids)
            is_known[is_known] = ids[found[is_known]] == batch.records[words[kind]][own][is_known]
            target = places[found[is_known]]
            seqs[target] = batch.first_seq + own[is_known]  # the last one of a message stays
            received[target] = batch.records["ts_receive_ns"][own[is_known]]
    return seqs, received


def quantiles_ms(values: NDArray[np.int64]) -> dict[str, float]:
    """p50, p99, p99.9, p99.99 and the longest, in ms."""
    found = np.percentile(values, _QUANTILES) / 1e6
    return {f"p{name:g}": float(value) for name, value in zip(_QUANTILES, found, strict=True)}


def latency_section(*, rate: int, seconds: float, frames: int, warm_seconds: float) -> Section:
    """The figures as a section of the report."""
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        run = Run(folder, rate, seconds + warm_seconds, frames)
        found = latencies_of(run, warm_seconds)
    finally:
        shutil.rmtree(folder)
    section = Section("latency", f"Latency at {rate:,} messages/s for {seconds:g} s, ms",
                      ("", "p50", "p99", "p99.9", "p99.99", "longest"))  # fmt: skip
    figures: dict[str, Any] = {"source": run.listening["source"], "rate": rate, "seconds": seconds}
    names = {
        "due_to_decision": "due until decided", "receive_to_decision": "received until decided",
        "due_to_sent": "the exchange's own lateness",
    }  # fmt: skip
    for name, title in names.items():
        quantiles = quantiles_ms(found[name])
        figures[name] = quantiles
        section.rows.append((title, *(f"{value:.3f}" for value in quantiles.values())))
    figures |= {
        "messages": len(found["due_to_decision"]), "missing": found["missing"], "steps": found["steps"],
        "load_before": run.load_before, "load_after": run.load_after, "cpu_share": _cpu_share(run), "hash": run.hash,
        "warnings": sorted(set(run.warnings)),
    }  # fmt: skip
    section.notes = [
        (
            f"{figures['messages']:,} messages in {found['steps']:,} steps, {found['missing']} missing; the daemon used"
            f" {figures['cpu_share']:.0%} of a core; load {run.load_before:.1f} before, {run.load_after:.1f} after"
        ),
        f"aimed at: p99 {P99_AIM_MS:g} ms, p99.9 {P999_AIM_MS:g} ms; the first {warm_seconds:g} s are not counted",
    ]  # fmt: skip
    section.figures = figures
    return section


def _cpu_share(run: Run) -> float:
    held = run.held[len(run.held) // 4 :]
    return float((held[-1, 4] - held[0, 4]) / (held[-1, 0] - held[0, 0])) if len(held) > 1 else float("nan")


def soak_section(*, rate: int, seconds: float, frames: int) -> Section:
    """Memory, descriptors and tasks over minutes of the same load."""
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        run = Run(folder, rate, seconds, frames)
        found = latencies_of(run, min(_BEGINNING_SECONDS, seconds / 4))
    finally:
        shutil.rmtree(folder)
    warm_seconds = min(_SOAK_WARM_SECONDS, seconds / 4)
    times = (run.held[:, 0] - run.held[0, 0]) / 1e9
    held = run.held[times >= warm_seconds]
    hours, megabytes = (held[:, 0] - held[0, 0]) / 3.6e12, held[:, 1] / 1e6
    slope = float(np.polyfit(hours, megabytes, 1)[0])
    ends = {name: (int(held[0, column]), int(held[-1, column]), int(held[:, column].max()))
            for name, column in (("descriptors", 2), ("tasks", 3))}  # fmt: skip
    section = Section("soak", f"{seconds:g} s at {rate:,} messages/s", ("", "after warm-up", "at the end", "most"))
    section.rows = [
        ("memory, MB", f"{megabytes[0]:.1f}", f"{megabytes[-1]:.1f}", f"{megabytes.max():.1f}"),
        *((name, *map(str, values)) for name, values in ends.items()),
    ]
    section.figures = {
        "rate": rate, "seconds": seconds, "warm_seconds": warm_seconds, "slope_mb_per_hour": slope,
        "memory_mb": [float(megabytes[0]), float(megabytes[-1]), float(megabytes.max())], **ends,
        "missing": found["missing"], "due_to_decision": quantiles_ms(found["due_to_decision"]),
        "cpu_share": _cpu_share(run), "warnings": sorted(set(run.warnings)), "hash": run.hash,
    }  # fmt: skip
    section.notes = [
        (
            f"memory grows by {slope:.2f} MB/h after {warm_seconds:g} s (limit {SLOPE_LIMIT_MB:g}, a line fitted"
            f" through {len(held)} seconds); {found['missing']} of {len(found['due_to_decision']):,} messages missing"
        ),
    ]  # fmt: skip
    return section
