"""Where a message's time goes: a session's event loop, timed at the doors between its parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.daemon_frames import TimedFrame
from tests.bench.daemon_session import session


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


async def phases_of(
    home: Path, warm: Sequence[TimedFrame], frames: Sequence[TimedFrame], snapshot: bytes, start_ns: int
) -> dict[str, float]:  # fmt: skip
    """µs a message in each phase, a step for every message. The clocks cost too: compare phases, not sums."""
    async with session(home, start_ns) as own:
        own.begin(snapshot)
        phases, opened, parts = Phases(), own.opened, own.parts
        await own.take(warm, 1)
        feed: Any = opened.feed
        phases.wrap(feed, "_take", "feed: bookkeeping")
        for link in feed._parts.links:
            phases.wrap(link.exchange, "handle", "parse: cryptofeed's class and the normaliser")
        phases.wrap(feed._parts.transcriber, "take_feed", "records: ticks, lots, book chain, packing")
        phases.wrap(parts.loop, "step", "step: bookkeeping")
        phases.wrap(opened.sequencer, "take", "records taken")
        phases.wrap(opened.recorder, "append", "tape: append, pack, write")
        phases.wrap(opened.run.driver, "consume", "engine and strategies")
        phases.wrap(parts.loop, "_hand_on", "outputs drained, handed on, told")
        begun = time.process_time_ns()
        await own.take(frames, 1)
        total = time.process_time_ns() - begun
        found = {name: ns / 1e3 / len(frames) for name, ns in phases.ns.items()}
        found["store, syncs, event loop, clocks"] = total / 1e3 / len(frames) - sum(found.values())
        return found
