"""The run loop: what waits goes on the tape, then through the engine; what comes of it to the store and watchers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import anyio
import msgspec

from adapters.metrics.histogram import Histogram
from adapters.tape.documents import ABORTED, AbortedCall
from daemon.driving import TapeDriver
from daemon.session.clock import SessionClock
from daemon.session.pump import Said, StorePump
from daemon.session.recorder import Recorder
from daemon.session.sequencer import Sequencer
from engine.bars import NS_PER_SECOND
from engine.ctx import LogLine
from engine.isolation import Failure

_TICK_SECONDS = 0.02


class Step(msgspec.Struct, frozen=True):
    """What one step brought: what the engine said, lines that strategies wrote, strategies that failed."""

    said: Said
    lines: Sequence[LogLine]
    failures: Sequence[Failure]


class RunLoop:
    """Owns the engine of a session. `run` and `tick` are its tasks; `publish` hears of steps that say something."""

    def __init__(
        self, driver: TapeDriver, sequencer: Sequencer, recorder: Recorder, pump: StorePump, clock: SessionClock,
        publish: Callable[[Step], None],
    ) -> None:  # fmt: skip
        self.receive_to_decision = Histogram()
        self.loop_lateness = Histogram()
        self.applied_seq = recorder.last_seq
        self.stepped_ns = time.monotonic_ns()
        self._driver = driver
        self._replay = driver.replay
        self._sequencer = sequencer
        self._recorder = recorder
        self._pump = pump
        self._clock = clock
        self._publish = publish
        self._applied: asyncio.Event | None = None  # of those who wait; most steps nobody does

    async def run(self) -> None:
        """Take what waits, again and again, until cancelled."""
        while True:
            await self._sequencer.woken()
            if not self._pump.has_room:
                await self._pump.room()
            self.step()

    async def tick(self) -> None:
        """Let time pass where no record does it, and look how late the event loop is."""
        core = self._replay.engine.state.core
        while True:
            begun_ns = time.monotonic_ns()
            await anyio.sleep(_TICK_SECONDS)
            late_ns = time.monotonic_ns() - begun_ns - _TICK_SECONDS * NS_PER_SECOND
            self.loop_lateness.observe(max(0.0, late_ns / NS_PER_SECOND))
            if not self._sequencer.records_waiting and int(core["next_due_ns"][0]) <= self._clock.now_ns():
                self._sequencer.time()
                self._sequencer.wake()

    async def applied(self, seq: int) -> None:
        """Wait until the engine has applied a record."""
        while self.applied_seq < seq:
            self._applied = self._applied or asyncio.Event()
            await self._applied.wait()

    def take_up(self) -> None:
        """Store what catching up with the tape has brought. It was told before; only who failed is told again."""
        failures, said = self._taken_failures(), self._said()
        self._replay.account.log.clear()
        self._pump.publish(said)
        self._publish(Step(msgspec.structs.replace(said, outputs=said.outputs[:0]), (), failures))

    def step(self) -> None:
        """Write down what waits, let the engine go on over it, and hand on what it says."""
        failures: list[Failure] = []
        first_ns = 0
        while self._sequencer.records_waiting:
            records = self._sequencer.take()
            first_ns = first_ns or int(records["ts_receive_ns"][0])
            self._driver.consume(self._recorder.append(records), records)
            if self._replay.failures:
                failures += self._taken_failures()
        self.stepped_ns = time.monotonic_ns()
        if not first_ns:
            return
        self.receive_to_decision.observe((self._clock.now_ns() - first_ns) / NS_PER_SECOND)
        self._hand_on(failures)

    def _taken_failures(self) -> list[Failure]:
        """Strategies that have just failed; a call that was interrupted is written down, or no replay could know it."""
        failures = list(self._replay.failures)
        self._replay.failures.clear()
        for failure in failures:
            aborted = failure.aborted
            if aborted is not None:
                call = AbortedCall(
                    aborted.strategy, aborted.call, aborted.requests, aborted.reason, state=aborted.state
                )  # fmt: skip
                self._sequencer.document(ABORTED, call)
        return failures

    def _said(self) -> Said:
        engine = self._replay.engine
        first_output, outputs = engine.drain()
        samples = engine.samples()
        first_sample = engine.step_count - len(samples)
        return Said(first_output, outputs, first_sample, samples, self._recorder.last_seq, time.monotonic_ns())

    def _hand_on(self, failures: Sequence[Failure]) -> None:
        log, said = self._replay.account.log, self._said()
        lines = list(log)
        log.clear()
        self.applied_seq = said.last_seq
        if self._applied is not None:
            self._applied.set()
            self._applied = None
        self._pump.publish(said)
        if len(said.outputs) or lines or failures:
            self._publish(Step(said, lines, failures))
