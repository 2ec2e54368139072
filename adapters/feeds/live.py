"""The live feed: cryptofeed's exchange classes over websockets that we open, watch and close ourselves.

One task for each connection, one that watches for silence, one for each book whose snapshots are fetched, and one for
each thing that is polled, all in one task group: cancelling `run` leaves no task and no socket. A frame becomes records
in the builder at once, on the event loop; what happens to connections and books is told to the sink.

A lost book is made whole again by a snapshot where the venue's are fetched, for that instrument alone. Where they come
in the stream, cryptofeed's classes cannot ask for one instrument again, so its connection is made anew: at once the
first time, then ever more rarely, as it costs the others on that connection theirs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

import anyio

from adapters.captures.record_builder import RecordBuilder
from adapters.feeds.connection import NETWORK_ERRORS, reason_of
from adapters.feeds.exchange import Listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.link import Link
from adapters.feeds.live_parts import LiveParts, build_parts
from adapters.feeds.live_plan import plan_feed
from adapters.feeds.normaliser import Loss
from adapters.feeds.polling import keep_polling
from adapters.feeds.sink import FeedSink
from adapters.feeds.staleness import newly_stale
from adapters.feeds.statistics import FeedStatistics
from adapters.feeds.supervision import Supervision, was_reached
from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate
from adapters.tape.documents import TapeInstrument, TapeSource
from engine.errors import TapewrightError
from engine.kernels.layout import GAP_DISCONNECTED

__all__ = ["FeedLimits", "FeedSink", "FeedStatistics", "LiveFeed"]

# A loop that stood still for so long heard nothing because of itself, not of the venue.
_STANDSTILL_SECONDS = 1.0
_FRAMES_WITHOUT_PAUSE = 16


class LiveFeed:
    """The live data of some instruments of one exchange, as records in `builder`.

    `symbols` are cryptofeed's names or the venue's own, `channels` cryptofeed's; `instruments` those of the session
    before, which keep their numbers. `rest` and `websocket` replace the venue's scheme and host. `clock_ns` gives the
    receive time. Making one does no I/O; raises UsageError or DataError as `plan_feed` does. `notes` say what was left
    out, and why.
    """

    def __init__(
        self,
        venue: Venue,
        listing: Listing,
        symbols: Sequence[str],
        channels: Sequence[str],
        *,
        builder: RecordBuilder,
        sink: FeedSink,
        clock_ns: Callable[[], int],
        gate: RestGate,
        limits: FeedLimits | None = None,
        rest: str = "",
        websocket: str = "",
        keys: Mapping[str, str] | None = None,
        keep_raw: bool = False,
        instruments: Sequence[TapeInstrument] = (),
    ) -> None:
        plan = plan_feed(venue, listing, symbols, channels, instruments)
        self.statistics = FeedStatistics()
        self._sink = sink
        self._clock_ns = clock_ns
        self._gate = gate
        self._limits = limits or FeedLimits()
        self._keep_raw = keep_raw
        self._parts: LiveParts = build_parts(
            venue, listing, plan, self._limits, builder, sink, self.statistics,
            clock_ns=clock_ns, gate=gate, rest=rest, websocket=websocket, keys=keys,
        )  # fmt: skip
        self._supervision = Supervision(len(self._parts.links), self._limits)
        self.instruments: tuple[TapeInstrument, ...] = plan.instruments
        self.sources: tuple[TapeSource, ...] = self._parts.sources
        self.notes: tuple[str, ...] = plan.notes

    async def run(self) -> None:
        """Keep all of it going until cancelled."""
        parts = self._parts
        async with anyio.create_task_group() as tasks:
            for link in parts.links:
                tasks.start_soon(self._supervise, link)
            tasks.start_soon(self._watch)
            if parts.keeper is not None:
                for symbol in parts.keeper.symbols:
                    tasks.start_soon(parts.keeper.keep, symbol)
            for poll in parts.polls:
                tasks.start_soon(keep_polling, poll, self._gate, self._take_answer, parts.rest_failed)

    def resync(self, symbol: str) -> None:
        """Begin the book of one symbol anew: it cannot be right although no message was missing, as it is crossed."""
        self._parts.books.resync(symbol)
        self._sink.changed()

    def next_funding_ns(self, symbol: str) -> int:
        """The funding time that the venue has announced last for an instrument, 0 where none is known."""
        return self._parts.transcriber.next_funding_ns(symbol)

    def ignored(self) -> dict[str, int]:
        """What was left out on purpose, by reason: history, what has no sizes, what was not asked for."""
        counts: Counter[str] = Counter()
        for link in self._parts.links:
            counts.update(link.exchange.normaliser.ignored)
        return dict(counts)

    # -- one connection -------------------------------------------------------------------------------------------

    async def _supervise(self, link: Link) -> None:
        """Make a connection, again and again."""
        while True:
            await self._supervision.admit(link.number)
            self.statistics.attempts += 1
            reason, is_reached = await self._live(link)
            self._end(link, reason, is_reached=is_reached)

    async def _live(self, link: Link) -> tuple[str, bool]:
        """One life of a connection: why it ended, and whether the venue was reached at all."""
        reason, is_reached = "closed: the venue ended the stream", True
        with link.begin() as scope:
            try:
                async with link.connection.opened():
                    self._begin(link)
                    await link.connection.subscribe(self._clock_ns())
                    await self._read(link)
            except NETWORK_ERRORS as error:
                reason, is_reached = reason_of(error), link.is_open or was_reached(error)
            except (TapewrightError, AssertionError):
                raise
            except Exception as error:  # the supervisor: cryptofeed's code may raise anything
                reason = reason_of(error)
        return (link.cut_reason if scope.cancelled_caught else reason), is_reached

    def _begin(self, link: Link) -> None:
        link.open(time.monotonic())
        self.statistics.connects[link.number] += 1
        self._sink.connected(link.number, link.connection.address)

    def _end(self, link: Link, reason: str, *, is_reached: bool) -> None:
        was_open = link.is_open
        lived_seconds = link.close(time.monotonic())
        self._supervision.ended(link.number, lived_seconds, was_reached=is_reached)
        self.statistics.reconnects[reason.partition(":")[0]] += 1
        if was_open:
            self._parts.transcriber.take_feed(Loss("", self._clock_ns(), GAP_DISCONNECTED), link.number)
            self._sink.changed()
        self._sink.disconnected(link.number, link.connection.address, reason)

    async def _read(self, link: Link) -> None:
        """Take frames as they come. A pause now and then lets others run where frames wait in a row."""
        async with aclosing(link.connection.frames()) as frames:
            async for frame in frames:
                receive_ns, now = self._clock_ns(), time.monotonic()
                link.frame_at = now
                link.frames_count += 1
                if link.frames_count == 1:
                    self._supervision.heard(link.number)
                if self._keep_raw:
                    self._sink.raw(link.number, receive_ns, frame)
                await self._take(link, frame, receive_ns, now)
                if not self._sink.has_room:
                    link.waiting_since = now
                    await self._sink.room()
                    link.waiting_since = 0.0
                if link.frames_count % _FRAMES_WITHOUT_PAUSE == 0:
                    await anyio.sleep(0)

    async def _take(self, link: Link, frame: str | bytes, receive_ns: int, now: float) -> None:
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        place = self._parts.places[link.number]
        place.frames += 1
        messages = await link.exchange.handle(text, link.connection.raw, receive_ns, place.place)
        transcriber = self._parts.transcriber
        for message in messages:
            if type(message) is Loss and not link.has_books:
                continue  # a trade or a mark that cannot be read is left out alone
            link.heard.take(message, receive_ns, now)
            transcriber.take_feed(message, link.number)
        if messages:
            self._sink.changed()

    # -- beside the connections -----------------------------------------------------------------------------------

    async def _take_answer(self, symbol: str, body: bytes) -> None:
        """What was polled."""
        poller = self._parts.poller
        assert poller is not None
        receive_ns, now = self._clock_ns(), time.monotonic()
        number = len(self._parts.links)
        place = self._parts.places[number]
        place.frames += 1
        text = body.decode(errors="replace")
        for message in await poller.exchange.handle(text, None, receive_ns, place.place):
            poller.heard.take(message, receive_ns, now)
            self._parts.transcriber.take_feed(message, number)
        poller.answered(symbol, now)
        self._sink.changed()

    async def _watch(self) -> None:
        """Look for silence, and after the books."""
        parts, every = self._parts, self._limits.check_seconds
        last = time.monotonic()
        if parts.poller is not None:
            parts.poller.begun_at = last
        while True:
            await anyio.sleep(every)
            now = time.monotonic()
            if now - last > every + _STANDSTILL_SECONDS:
                for link in parts.links:
                    link.resumed_at = now
            last = now
            for link in parts.links:
                if link.is_alive:
                    self._inspect(link, now)
            if parts.books.tick(now):
                self._sink.changed()
            if parts.poller is not None:
                for heard, silence in newly_stale(parts.poller.heard.channels, parts.poller.begun_at, now):
                    self._sink.stale(heard.symbol, heard.channel, silence)

    def _inspect(self, link: Link, now: float) -> None:
        """See whether a connection, or a channel on it, has been silent for too long."""
        if link.is_held_up(now):
            link.resumed_at = now
            return
        since = link.silent_since()
        if link.frames_count == 0:
            self._inspect_mute(link, now - since)
            return
        quiet = now - max(link.frame_at, since)
        for heard, silence in newly_stale(link.heard.channels, since, now):
            self._sink.stale(heard.symbol, heard.channel, silence)
            if heard.channel == "l2_book":
                self._parts.books.lose(heard.symbol, GAP_DISCONNECTED)
                self._sink.changed()
        for heard in link.heard.channels:
            if heard.is_stale and quiet >= heard.limit_seconds:
                link.cut(f"silent: no message for {quiet:.1f} s")
            elif heard.is_stale and heard.channel == "l2_book" and self._parts.books.may_rejoin(heard.symbol, now):
                link.cut(f"stale: the book of {heard.symbol} has not changed for {now - max(heard.at, since):.1f} s")

    def _inspect_mute(self, link: Link, silence: float) -> None:
        """A connection on which nothing has come yet."""
        patience = self._limits.first_message_seconds
        if link.is_steady:
            if silence >= patience:
                link.cut(f"mute: no message in the first {silence:.1f} s")
            return
        if silence >= self._limits.follow_seconds:
            self._supervision.heard(link.number)  # trades alone may be rare: that it stays open must do
        longest = max((heard.limit_seconds for heard in link.heard.channels), default=0.0)
        if longest and silence >= max(patience, longest):
            link.cut(f"mute: no message in the first {silence:.1f} s")
