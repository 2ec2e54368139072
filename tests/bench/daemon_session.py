"""A session's own parts without its sockets: benchmarks hand it frames, and its tasks bring them to the store.

The session's clock is the frames': bars, timers and latencies come as they would with the market in its own time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.rest_gate import RestGate
from adapters.store import prepare
from adapters.store.writer import StoreWriter
from config.loader import parse
from daemon.logs import configure_logs
from daemon.session.beginning import write_documents
from daemon.session.folder import SessionFolder
from daemon.session.parts import Opened, Parts, build_parts, open_parts
from daemon.session.venue import ask_venue
from daemon.storing import run_start
from tests.bench.daemon_frames import CONFIG, SYMBOL, TimedFrame, new_market


class Own:
    """A session's parts, driven as its feed drives them. The session's clock is the frames'."""

    def __init__(self, opened: Opened, parts: Parts, start_ns: int) -> None:
        self.opened = opened
        self.parts = parts
        self._start_ns = start_ns
        self._now_ns = start_ns
        opened.clock.now_ns = lambda: self._now_ns  # type: ignore[method-assign]
        opened.feed._clock_ns = opened.clock.now_ns
        links = opened.feed._parts.links
        self._links = {"l2_book" in {each.channel for each in link.heard.channels}: link for link in links}

    def begin(self, snapshot: bytes) -> None:
        """The book of REST."""
        feed: Any = self.opened.feed
        name = next(name for name, own in self.opened.known.listing.names.items() if own == SYMBOL)
        message = self._links[True].exchange.snapshot(name, snapshot, self._start_ns)
        feed._parts.transcriber.take_feed(message, len(feed._parts.links))
        self.opened.sequencer.wake()

    async def take(self, frames: Sequence[TimedFrame], step_frames: int) -> None:
        """Let frames through to the store, the run loop stepping after every so many."""
        take, links, sequencer = self.opened.feed._take, self._links, self.opened.sequencer
        for number, frame in enumerate(frames, 1):
            self._now_ns = self._start_ns + frame.at_ns
            await take(links[frame.is_public], frame.text, self._now_ns, time.monotonic())
            if not sequencer.has_room:
                await sequencer.room()
            if number % step_frames == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.opened.recorder.sync()
        await self.parts.pump.drained()


@asynccontextmanager
async def session(home: Path, start_ns: int) -> AsyncIterator[Own]:
    """A session's parts with the tasks that bring messages to the store; the one socket is of the venue's REST."""
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
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - the stack closes it
        stack.enter_context(
            configure_logs(config.daemon.logs, session="bench", run="bench", mode="paper", stream=nowhere)
        )  # fmt: skip
        folder = stack.enter_context(SessionFolder(home, "bench"))
        store_path = home / config.daemon.store.path
        prepare(store_path)
        known = await ask_venue(home, config.daemon.feed, gate, None)
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
            home, opened, folder, gate, store, stored, _refuse, lambda: None,
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
