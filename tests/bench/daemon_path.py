"""What a message costs, from its text to the rows that it led to, beside cryptofeed's class alone.

Both take the same frames, part by part in turn, in one process and one event loop: ours through all of a session's own
parts (feed, sequencer, tape, engine, strategies, store), the peer with callbacks that do nothing. CPU time is that of
the whole process, so the threads of the store and of the tape's syncs count; each part ends when all of it is stored.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import msgspec
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols

from adapters.feeds.exchange import Listing
from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.rest_gate import RestGate
from adapters.store import StoreWriter, prepare
from config.loader import parse
from daemon.logs import configure_logs
from daemon.session.beginning import write_documents
from daemon.session.folder import SessionFolder
from daemon.session.parts import Opened, Parts, build_parts, open_parts
from daemon.session.venue import KnownVenue, ask_venue
from daemon.storing import run_start
from tests.bench.daemon_frames import CONFIG, TimedFrame, frames_of, new_market, snapshot_of
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

        name = next(name for name, own in listing.names.items() if own == "BTCUSDT")
        channels = {channel: [name] for channel in ("l2_book", "trades", "ticker", "funding")}
        Symbols.set(EXCHANGE, listing.names, listing.info)
        self.feed: Any = EXCHANGE_MAP[EXCHANGE](
            config={"log": {"disabled": True}}, subscription=channels, callbacks=dict.fromkeys(channels, nothing)
        )
        atexit.unregister(self.feed.http_conn.__del__)
        self.feed.http_conn.read = read
        self.feed._reset()  # noqa: SLF001 - subscribing does it, and connects

    async def take(self, frames: Sequence[TimedFrame]) -> None:
        """Let it handle frames."""
        handle = self.feed.message_handler
        for frame in frames:
            await handle(frame.text, None, time.time())


class Own:
    """A session's parts, driven as its feed drives them. The session's clock is the frames'."""

    def __init__(self, opened: Opened, parts: Parts, start_ns: int) -> None:
        self.opened = opened
        self.parts = parts
        self._start_ns = start_ns
        self._now_ns = start_ns
        opened.clock.now_ns = lambda: self._now_ns  # type: ignore[method-assign]
        opened.feed._clock_ns = opened.clock.now_ns  # noqa: SLF001 - the market's time, not the benchmark's
        links = opened.feed._parts.links  # noqa: SLF001 - the feed's own way in is a socket
        self._links = {"l2_book" in {each.channel for each in link.heard.channels}: link for link in links}

    def begin(self, snapshot: bytes) -> None:
        """The book of REST."""
        feed: Any = self.opened.feed
        name = next(name for name, own in self.opened.known.listing.names.items() if own == "BTCUSDT")
        message = self._links[True].exchange.snapshot(name, snapshot, self._start_ns)
        feed._parts.transcriber.take_feed(message, len(feed._parts.links))
        self.opened.sequencer.wake()

    async def take(self, frames: Sequence[TimedFrame], step_frames: int) -> None:
        """Let frames through to the store, the run loop stepping after every so many."""
        take, links, room = self.opened.feed._take, self._links, self.opened.sequencer.room  # noqa: SLF001 - as above
        for number, frame in enumerate(frames, 1):
            self._now_ns = self._start_ns + frame.at_ns
            await take(links[frame.is_public], frame.text, self._now_ns, time.monotonic())
            await room()
            if number % step_frames == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.opened.recorder.sync()
        await self.parts.pump.drained()


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


@asynccontextmanager
async def session(home: Path, start_ns: int) -> AsyncIterator[Own]:
    """A session's parts with the tasks that bring messages to the store, and no socket but the venue's REST at first."""
    async with AsyncExitStack() as entered:
        market, _ = new_market()
        venue = await entered.enter_async_context(
            LoopbackExchange(market, ExchangeOptions(waits_for_client=True)).running()
        )
        gate = await entered.enter_async_context(RestGate())
        config = parse(
            CONFIG, "yaml", source="bench.yaml", mode="paper",
            overrides=(f"feed.rest={venue.rest_address}", f"feed.websocket={venue.websocket_address}"),
        )  # fmt: skip
        stack = entered.enter_context(ExitStack())
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(
            configure_logs(config.daemon.logs, session="bench", run="bench", mode="paper", stream=nowhere)
        )  # fmt: skip
        folder = stack.enter_context(SessionFolder(home, "bench"))
        store_path = home / config.daemon.store.path
        prepare(store_path)
        known: KnownVenue = await ask_venue(home, config.daemon.feed, gate, None)
        opened = open_parts(home, config, folder, gate, known, None, store_path, stack)
        store = StoreWriter(store_path)
        tasks = await entered.enter_async_context(anyio.create_task_group())
        tasks.start_soon(store.run)
        replay = opened.run.driver.replay
        start = run_start(
            opened.name, "paper", opened.config, replay.runs, replay.scales, start_ns,
            sample_every=config.daemon.store.sample_every,
        )  # fmt: skip
        stored = await store.begin(start)
        parts = build_parts(
            home, opened, folder, gate, store, stored, lambda failure: _refuse(failure), lambda: None,
            lambda: "running",
        )  # fmt: skip
        own = Own(opened, parts, start_ns)
        write_documents(opened.sequencer, opened.session, opened.config, replay.runs, None, ())
        parts.loop.step()
        for task in (parts.loop.run, parts.loop.tick, opened.recorder.run, parts.pump.run):
            tasks.start_soon(task)
        yield own
        await parts.pump.drained()
        tasks.cancel_scope.cancel()


def _refuse(failure: object) -> None:
    raise AssertionError(f"a strategy failed: {failure}")


async def cost_of(home: Path, frames: Sequence[TimedFrame], snapshot: bytes, start_ns: int, step_frames: int) -> Cost:
    """Both sides over all frames, part by part in turn."""
    async with session(home, start_ns) as own:
        peer = Peer(own.opened.known.listing, snapshot)
        own.begin(snapshot)
        found = Cost(step_frames, [], [], len(frames), 0, 0, 0, 0, 0, 0, "")
        gc.collect()
        gc.freeze()
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
        gc.unfreeze()
        parts, recorder = own.parts, own.opened.recorder
        core = parts.replay.engine.state.core
        found.records, found.outputs = recorder.last_seq, parts.pump.position.outputs
        found.fills, found.rows = int(core["fill_count"][0]), parts.store.statistics().rows
        found.tape_bytes = recorder.writer.written_bytes
        found.rejects = sum(own.opened.feed.statistics.rejects.values())
        found.hash = f"{parts.replay.engine.hash:016x}"
        return found


class Phases:
    """Thread CPU µs that a session's event loop spends in each part of the way, by wrapping what leads into it."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = {}
        self._inside: list[int] = []

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Count what a method takes, less what is counted inside it."""
        plain = getattr(owner, method)
        self.ns[name] = 0

        def timed(*arguments: Any, **named: Any) -> Any:
            with self._timing(name):
                return plain(*arguments, **named)

        async def timed_later(*arguments: Any, **named: Any) -> Any:
            with self._timing(name):
                return await plain(*arguments, **named)

        setattr(owner, method, timed_later if asyncio.iscoroutinefunction(plain) else timed)

    @contextmanager
    def _timing(self, name: str) -> Iterator[None]:
        self._inside.append(0)
        begun = time.thread_time_ns()
        yield
        took = time.thread_time_ns() - begun
        self.ns[name] += took - self._inside.pop()
        if self._inside:
            self._inside[-1] += took


async def phases_of(home: Path, frames: Sequence[TimedFrame], snapshot: bytes, start_ns: int) -> dict[str, float]:
    """µs a message in each phase, a step for every message. The clocks cost too: compare phases, not sums."""
    async with session(home, start_ns) as own:
        own.begin(snapshot)
        phases, opened, parts = Phases(), own.opened, own.parts
        warm = frames[: _WARM_PARTS * _PART_FRAMES]
        await own.take(warm, 1)
        feed: Any = opened.feed
        phases.wrap(feed, "_take", "feed: bookkeeping")
        for link in feed._parts.links:  # noqa: SLF001 - as above
            phases.wrap(link.exchange, "handle", "parse: cryptofeed's class and the normaliser")
        phases.wrap(feed._parts.transcriber, "take_feed", "records: ticks, lots, book chain, packing")
        phases.wrap(parts.loop, "step", "step: bookkeeping")
        phases.wrap(opened.sequencer, "take", "records taken")
        phases.wrap(opened.recorder, "append", "tape: append, pack, write")
        phases.wrap(opened.run.driver, "consume", "engine and strategies")
        phases.wrap(parts.loop, "_hand_on", "outputs drained, handed on, told")
        begun = time.process_time_ns()
        rest = frames[len(warm) :]
        await own.take(rest, 1)
        total = time.process_time_ns() - begun
        found = {name: ns / 1e3 / len(rest) for name, ns in phases.ns.items()}
        found["store, syncs, event loop, clocks"] = total / 1e3 / len(rest) - sum(found.values())
        return found


def path_section(*, most: int, repeats: int) -> Section:
    """All of it as a section of the report."""
    import uvloop  # noqa: PLC0415 - as the command has it

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
                costs.append(uvloop.run(cost_of(home, frames, snapshot, start_ns, step_frames)))
        home = folder / "phases"
        home.mkdir()
        phases = uvloop.run(phases_of(home, frames, snapshot, start_ns))
    return _section(source, costs, phases)


@contextmanager
def _temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _section(source: str, costs: Sequence[Cost], phases: dict[str, float]) -> Section:
    section = Section("path", "CPU µs a message, its text to its rows in SQLite", ("", "tapewright", "cryptofeed", "ratio"))
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
        f"{source}: {last.messages:,} messages, {last.records:,} records, {last.tape_bytes / 1e6:.1f} MB of tape,"
        f" {last.outputs:,} outputs, {last.fills:,} fills, {last.rows:,} rows",
        f"asked: at most {LIMIT:g}, aimed at: {AIM:g}; phases in a run of their own, with what their clocks cost",
    ]  # fmt: skip
    section.figures = figures
    return section
