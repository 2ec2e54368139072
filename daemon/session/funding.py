"""Funding that must not be missed: asked for by REST where the stream does not tell it, static where no venue does.

The engine pays each (symbol, funding time) once, however often it is told. So telling too often does no harm, and what
is told late is still paid on what was held then.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import anyio
import msgspec

from adapters.captures.decimals import micro_ticks, rate_e12
from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.tape import TapeInstrument
from adapters.venue_rest.funding import settled_funding
from daemon.logs import get_logger
from daemon.session.sequencer import Sequencer
from engine.bars import NS_PER_SECOND
from engine.errors import InputMissingError, TapewrightError
from engine.tape_replay import TapeReplay

_LOOK_SECONDS = 1.0
_ASK_AFTER_NS = 10 * NS_PER_SECOND
_ASK_EVERY_NS = 15 * NS_PER_SECOND
_ALARM_AFTER_NS = 45 * NS_PER_SECOND
_HOUR_NS = 3_600 * NS_PER_SECOND


class Due(msgspec.Struct):
    """A funding time of one instrument that has passed, and is not paid yet."""

    settled_ns: int
    asked_ns: int = 0
    is_alarmed: bool = False


class StaticRate(msgspec.Struct, frozen=True):
    """The rate to be paid where the venue tells none: a fraction, every so many hours from midnight UTC."""

    rate: Decimal
    interval_hours: int


class FundingWatch:
    """Looks after the funding of every instrument that has some. `next_ns` tells each one's announced time."""

    def __init__(
        self, instruments: tuple[TapeInstrument, ...], replay: TapeReplay, sequencer: Sequencer, gate: RestGate,
        venue: Venue, rest: str, venue_now_ns: Callable[[], int], next_ns: Callable[[str], int],
        static: StaticRate | None, down_from_ns: int | None = None,
    ) -> None:  # fmt: skip
        self.alarms = 0
        self._instruments = instruments
        self._replay = replay
        self._sequencer = sequencer
        self._gate = gate
        self._venue = venue
        self._rest = rest
        self._venue_now_ns = venue_now_ns
        self._next_ns = next_ns
        self._static = static
        self._down_from_ns = down_from_ns  # venue's time at which the last process ended; None: there was none
        self._due: dict[int, Due] = {}
        self._announced: dict[int, int] = {}
        self._log = get_logger("funding")

    async def run(self) -> None:
        """Look every second, until cancelled; after a restart also for what was settled meanwhile.

        Each instrument is looked after by itself: one whose REST answers wait out a ban keeps no other's alarm back.
        """
        async with anyio.create_task_group() as tasks:
            for index, instrument in enumerate(self._instruments):
                if instrument.kind == "spot":
                    continue
                tasks.start_soon(self._keep, index, instrument)
                if self._down_from_ns is not None and "funding" in instrument.channels:
                    tasks.start_soon(self._catch_up, index, instrument, self._down_from_ns)

    async def _catch_up(self, index: int, instrument: TapeInstrument, since_ns: int) -> None:
        """Ask for what was settled while no process ran, until an answer comes: nothing else would tell it."""
        while not await self._ask(index, instrument, since_ns):
            await anyio.sleep(_ASK_EVERY_NS / NS_PER_SECOND)

    async def _keep(self, index: int, instrument: TapeInstrument) -> None:
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            if "funding" in instrument.channels:
                await self._look(index, instrument)
            elif self._static is not None:
                self._pay_static(index)

    async def _look(self, index: int, instrument: TapeInstrument) -> None:
        now_ns = self._venue_now_ns()
        announced = self._next_ns(instrument.symbol)
        before = self._announced.get(index, 0)
        if announced and announced != before:
            self._announced[index] = announced
        if before and before <= now_ns and (index not in self._due or self._due[index].settled_ns < before):
            self._due[index] = Due(before)
        due = self._due.get(index)
        if due is None:
            return
        if int(self._replay.engine.state.instruments["funding_ts_ns"][index]) >= _whole_second(due.settled_ns):
            del self._due[index]
            self._announced.pop(index, None)
            return
        late_ns = now_ns - due.settled_ns
        if late_ns >= _ALARM_AFTER_NS and not due.is_alarmed:
            due.is_alarmed = True
            self.alarms += 1
            self._log.error(
                "funding missing: neither the stream nor REST has told it", symbol=instrument.symbol,
                funding_time_ns=due.settled_ns, late_seconds=round(late_ns / NS_PER_SECOND),
            )  # fmt: skip
        if late_ns >= _ASK_AFTER_NS and now_ns - due.asked_ns >= _ASK_EVERY_NS:
            due.asked_ns = now_ns
            # A ban may last for longer than the alarm can wait.
            patience_ns = _ASK_EVERY_NS if due.is_alarmed else min(_ASK_EVERY_NS, _ALARM_AFTER_NS - late_ns)
            with anyio.move_on_after(patience_ns / NS_PER_SECOND):
                await self._ask(index, instrument, due.settled_ns - NS_PER_SECOND)

    async def _ask(self, index: int, instrument: TapeInstrument, since_ns: int) -> bool:
        """Write down what REST has of an instrument since a time, as far as it is not paid yet.

        False where it did not say, and may another time.
        """
        try:
            found = await settled_funding(
                self._gate, self._venue, instrument.symbol, since_ns=since_ns, rest=self._rest
            )
        except TapewrightError as error:
            self._log.warning("funding not told by REST", symbol=instrument.symbol, why=error.message)
            return isinstance(error, InputMissingError)
        paid_ns = int(self._replay.engine.state.instruments["funding_ts_ns"][index])
        for each in found:
            if max(since_ns, paid_ns) < each.ts_ns <= self._venue_now_ns():
                mark = micro_ticks(each.mark, instrument.tick_size) if each.mark else 0
                self._sequencer.funding(index, each.ts_ns, rate_e12(each.rate), mark, is_static=False)
                self._log.info(
                    "funding told by REST", symbol=instrument.symbol, rate=each.rate, funding_time_ns=each.ts_ns
                )
        return True

    def _pay_static(self, index: int) -> None:
        assert self._static is not None
        step_ns = self._static.interval_hours * _HOUR_NS
        now_ns = self._venue_now_ns()
        settled_ns = now_ns // step_ns * step_ns
        began_ns = now_ns if self._down_from_ns is None else self._down_from_ns
        before = self._announced.get(index, began_ns // step_ns * step_ns)
        self._announced[index] = settled_ns
        rate = rate_e12(f"{self._static.rate:f}")
        for each_ns in range(before + step_ns, settled_ns + 1, step_ns):  # several where no process ran
            self._sequencer.funding(index, each_ns, rate, 0, is_static=True)


def _whole_second(ts_ns: int) -> int:
    return (ts_ns + NS_PER_SECOND // 2) // NS_PER_SECOND * NS_PER_SECOND
