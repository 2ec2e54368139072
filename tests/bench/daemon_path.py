"""What a message costs, from its text to the rows that it led to, beside cryptofeed's class alone.

Both take the same frames, part by part in turn, in one process and one event loop: ours through all of a session's own
parts (feed, sequencer, tape, engine, strategies, store), the peer with callbacks that do nothing. CPU time is that of
the whole process, so the threads of the store and of the tape's syncs count; each part ends when all of it is stored.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import uvloop
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols

from adapters.feeds.exchange import Listing
from daemon.memory import settled_objects
from tests.bench.daemon_frames import SYMBOL, TimedFrame, frames_of, new_market, snapshot_of
from tests.bench.daemon_phases import phases_of
from tests.bench.daemon_session import session
from tests.bench.measuring import Section

EXCHANGE = "BINANCE_FUTURES"
LIMIT, AIM = 2.0, 1.5
STEPS_EACH = (1, 16)
"""Frames a step of the run loop: one, as where they come apart; as many as the feed reads at once."""
_PART_FRAMES = 2_000
_WARM_PARTS = 3


class Peer:
    """cryptofeed's class with callbacks that do nothing."""

    def __init__(self, listing: Listing, snapshot: bytes) -> None:
        async def nothing(_said: Any, _receipt: float) -> None:
            """What somebody would do with it."""

        async def read(_address: str) -> str:
            return snapshot.decode()

        name = next(name for name, own in listing.names.items() if own == SYMBOL)
        channels = {channel: [name] for channel in ("l2_book", "trades", "ticker", "funding")}
        Symbols.set(EXCHANGE, listing.names, listing.info)
        self.feed: Any = EXCHANGE_MAP[EXCHANGE](
            config={"log": {"disabled": True}}, subscription=channels, callbacks=dict.fromkeys(channels, nothing)
        )
        atexit.unregister(self.feed.http_conn.__del__)
        self.feed.http_conn.read = read
        self.feed._reset()

    async def take(self, frames: Sequence[TimedFrame]) -> None:
        """Let it handle frames."""
        handle = self.feed.message_handler
        for frame in frames:
            await handle(frame.text, None, time.time())


class Cost(msgspec.Struct):
    """CPU µs a message of each part of the frames, ours and the peer's; what ours brought."""

    step_frames: int
    own_us: list[float]
    peer_us: list[float]
    messages: int
    records: int
    outputs: int
    fills: int
    rows: int
    tape_bytes: int
    rejects: int
    hash: str

    @property
    def ratio(self) -> float:
        """The middle one of the parts' ratios."""
        return median(own / peer for own, peer in zip(self.own_us, self.peer_us, strict=True))


async def cost_of(home: Path, frames: Sequence[TimedFrame], snapshot: bytes, start_ns: int, step_frames: int) -> Cost:
    """Both sides over all frames, part by part in turn."""
    async with session(home, start_ns) as own:
        peer = Peer(own.opened.known.listing, snapshot)
        own.begin(snapshot)
        found = Cost(step_frames, [], [], len(frames), 0, 0, 0, 0, 0, 0, "")
        with settled_objects():
            for part, first in enumerate(range(0, len(frames) - _PART_FRAMES + 1, _PART_FRAMES)):
                chosen = frames[first : first + _PART_FRAMES]
                begun = time.process_time_ns()
                await own.take(chosen, step_frames)
                between = time.process_time_ns()
                await peer.take(chosen)
                ended = time.process_time_ns()
                if part >= _WARM_PARTS:
                    found.own_us.append((between - begun) / 1e3 / len(chosen))
                    found.peer_us.append((ended - between) / 1e3 / len(chosen))
        parts, recorder = own.parts, own.opened.recorder
        core = parts.replay.engine.state.core
        found.records, found.outputs = recorder.last_seq, parts.pump.position.outputs
        found.fills, found.rows = int(core["fill_count"][0]), parts.store.statistics().rows
        found.tape_bytes = recorder.writer.written_bytes
        found.rejects = sum(own.opened.feed.statistics.rejects.values())
        found.hash = f"{parts.replay.engine.hash:016x}"
        return found


def path_section(*, most: int, repeats: int) -> Section:
    """All of it as a section of the report."""
    start_ns = time.time_ns()
    market, source = new_market()
    snapshot = snapshot_of(market, start_ns)
    frames = frames_of(new_market()[0], start_ns, most)
    costs: list[Cost] = []
    with _temporary() as folder:
        for turn in range(repeats):
            for step_frames in STEPS_EACH:
                home = folder / f"{turn}-{step_frames}"
                home.mkdir()
                # on the event loop that the command has, too
                costs.append(uvloop.run(cost_of(home, frames, snapshot, start_ns, step_frames)))
        home = folder / "phases"
        home.mkdir()
        warm = _WARM_PARTS * _PART_FRAMES
        phases = uvloop.run(phases_of(home, frames[:warm], frames[warm:], snapshot, start_ns))
    return _section(source, costs, phases)


@contextmanager
def _temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _section(source: str, costs: Sequence[Cost], phases: dict[str, float]) -> Section:
    title = "CPU µs a message, from its text to its rows in SQLite"
    section = Section("path", title, ("", "tapewright", "cryptofeed", "ratio"))
    figures: dict[str, Any] = {"source": source, "limit": LIMIT, "aim": AIM, "phases_us": phases}
    for step_frames in STEPS_EACH:
        chosen = [cost for cost in costs if cost.step_frames == step_frames]
        own = median(us for cost in chosen for us in cost.own_us)
        peer = median(us for cost in chosen for us in cost.peer_us)
        ratio = median(cost.ratio for cost in chosen)
        text = "a step for every message" if step_frames == 1 else f"a step for {step_frames} messages"
        section.rows.append((text, f"{own:.1f}", f"{peer:.1f}", f"{ratio:.2f}"))
        figures[f"step_{step_frames}"] = {
            "own_us": own, "peer_us": peer, "ratio": ratio, "ratios": [cost.ratio for cost in chosen],
            **{name: getattr(chosen[-1], name)
               for name in ("messages", "records", "outputs", "fills", "rows", "tape_bytes", "rejects", "hash")},
        }  # fmt: skip
    section.rows += [(f"  {name}", f"{us:.1f}", "", "") for name, us in phases.items()]
    last = costs[-1]
    section.notes = [
        (
            f"{source}: {last.messages:,} messages, {last.records:,} records, {last.tape_bytes / 1e6:.1f} MB of tape,"
            f" {last.outputs:,} outputs, {last.fills:,} fills, {last.rows:,} rows"
        ),
        f"asked: at most {LIMIT:g}, aimed at: {AIM:g}; phases in a run of their own, with what their clocks cost",
    ]  # fmt: skip
    section.figures = figures
    return section
