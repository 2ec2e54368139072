"""What a message costs from the socket to the rows that it led to, beside cryptofeed alone at the same sockets.

The same load as of the latencies, and processes as in life: the daemon, then cryptofeed with callbacks that do nothing,
in turns. CPU time is that of the whole process, over the same seconds of the load; so what a message costs includes
reading it, and messages come together in a step as they do at this rate.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.bench.daemon_latency import Run, start
from tests.bench.measuring import Section
from tests.sessions import Lines, end

LIMIT, AIM = 2.0, 1.5
_WARM_SHARE = 0.25
_PEER_DRAIN_SECONDS = 1.5


def sockets_section(*, rate: int, seconds: float, frames: int, repeats: int) -> Section:
    """The figures as a section of the report."""
    pairs = []
    for _ in range(repeats):
        folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
        try:
            pairs.append((_own_us(folder, rate, seconds, frames), _peer_us(folder, rate, seconds, frames)))
        finally:
            shutil.rmtree(folder)
    own, peer = (median(column) for column in zip(*pairs, strict=True))
    ratios = [own_us / peer_us for own_us, peer_us in pairs]
    title = f"CPU µs a message, from its socket to its rows in SQLite, at {rate:,} messages/s"
    section = Section("sockets", title, ("", "tapewright", "cryptofeed", "ratio"))
    section.rows = [("processes at sockets", f"{own:.1f}", f"{peer:.1f}", f"{median(ratios):.2f}")]
    section.notes = [
        f"ratios {', '.join(f'{ratio:.2f}' for ratio in ratios)}, {seconds:g} s each; limit {LIMIT:g}, aim {AIM:g}"
    ]
    figures: dict[str, Any] = {"rate": rate, "seconds": seconds, "own_us": own, "peer_us": peer}
    section.figures = figures | {"ratio": median(ratios), "ratios": ratios, "limit": LIMIT, "aim": AIM}
    return section


def _own_us(folder: Path, rate: int, seconds: float, frames: int) -> float:
    run = Run(folder, rate, seconds, frames)
    sent_ns = run.sent[:, 3]
    held = run.held[(run.held[:, 0] > sent_ns[0] + seconds * _WARM_SHARE * 1e9) & (run.held[:, 0] < sent_ns[-1])]
    messages = np.count_nonzero((sent_ns > held[0, 0]) & (sent_ns <= held[-1, 0]))
    return float(held[-1, 4] - held[0, 4]) / 1e3 / messages


def _peer_us(folder: Path, rate: int, seconds: float, frames: int) -> float:
    load = start(
        "tests.bench.daemon_load", "--rate", str(rate), "--seconds", str(seconds), "--frames", str(frames), "--notes",
        str(folder / "peer.npy"),
    )  # fmt: skip
    try:
        lines = Lines(load)
        listening = lines.wait_for("listening")
        peer = start("tests.bench.daemon_peer", listening["rest"], listening["websocket"])
        try:
            said = Lines(peer)
            lines.wait_for("sent", seconds=seconds + 60)
            time.sleep(_PEER_DRAIN_SECONDS)
            held = said.of("held")
        finally:
            end(peer)
    finally:
        end(load)
    least, most = rate * seconds * _WARM_SHARE, rate * (seconds - 1)
    within = [line for line in held if least < line["messages"] < most]
    first, last = within[0], within[-1]
    return float(last["cpu_ns"] - first["cpu_ns"]) / 1e3 / (last["messages"] - first["messages"])
