"""Live feeds for tests: a sink that remembers, and a feed on a loopback exchange, run until something is so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from adapters.captures.record_builder import RecordBuilder
from adapters.feeds.exchange import read_listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.live import LiveFeed
from adapters.feeds.live_records import GAP_WORDS
from adapters.feeds.venues import VENUES
from adapters.loopback.faults import parse_faults
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.rest_gate import RestGate
from engine.kernels import layout

CHANNELS = ("l2_book", "trades", "ticker", "funding")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC, ETH = 0, 1
# Quick enough for a test, and slow enough for a busy machine.
LIMITS = FeedLimits(
    first_message_seconds=2.0,
    stale_seconds={},
    backoff_seconds=0.2,
    snapshot_pause_seconds=0.1,
    check_seconds=0.05,
    quiet_book_seconds=1.0,
    connects_burst=20,
)
_LONGEST_SECONDS = 15.0


class Told(msgspec.Struct, frozen=True):
    """One call of the sink."""

    name: str
    values: tuple[Any, ...]
    at: float


class Sink:
    """Remembers what it was told. `is_full` keeps the feed waiting while it is set."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.changes = 0
        self.raw_frames: list[tuple[int, int, bytes | str]] = []
        self.is_full = False

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    @property
    def has_room(self) -> bool:
        """As the test says."""
        return not self.is_full

    async def room(self) -> None:
        """Wait while the test holds the feed up."""
        while self.is_full:
            await anyio.sleep(0.01)

    def raw(self, source: int, receive_ns: int, frame: bytes | str) -> None:
        """Keep the frame."""
        self.raw_frames.append((source, receive_ns, frame))

    def connected(self, source: int, address: str) -> None:
        """Note it."""
        self._note("connected", source, address)

    def disconnected(self, source: int, address: str, reason: str) -> None:
        """Note it."""
        self._note("disconnected", source, address, reason)

    def stale(self, symbol: str, channel: str, seconds: float) -> None:
        """Note it."""
        self._note("stale", symbol, channel, seconds)

    def book_invalid(self, symbol: str, reason: str) -> None:
        """Note it."""
        self._note("book_invalid", symbol, reason)

    def book_resynced(self, symbol: str) -> None:
        """Note it."""
        self._note("book_resynced", symbol)

    def trade_gap(self, symbol: str, skipped: int) -> None:
        """Note it."""
        self._note("trade_gap", symbol, skipped)

    def rejected(self, reason: str, place: str, detail: str) -> None:
        """Note it."""
        self._note("rejected", reason, place, detail)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """What was told by one method."""
        return [each.values for each in self.told if each.name == name]

    def _note(self, name: str, *values: Any) -> None:
        self.told.append(Told(name, values, time.monotonic()))


class Running:
    """A feed that runs, and everything that was made for it."""

    def __init__(self, feed: LiveFeed, builder: RecordBuilder, sink: Sink, exchange: LoopbackExchange | None) -> None:
        self.feed = feed
        self.builder = builder
        self.sink = sink
        self.exchange = exchange

    @property
    def books(self) -> dict[str, bool]:
        """Which books are whole."""
        return self.feed.statistics.books

    def are_whole(self) -> bool:
        """Whether all books are."""
        return all(self.books.values())

    async def until(self, is_so: Callable[[], bool], what: str = "") -> None:
        """Wait until something is so; fails where it never is."""
        with anyio.move_on_after(_LONGEST_SECONDS):
            while not is_so():
                await anyio.sleep(0.02)
            return
        raise AssertionError(f"never {what or 'so'}; told: {self.sink.told[-20:]}")

    async def until_whole_again(self, losses: int = 1) -> None:
        """Wait until a book was lost so often, and all are whole."""
        await self.until(lambda: len(self.sink.of("book_invalid")) >= losses, "lost")
        await self.until(self.are_whole, "whole again")

    async def hear(self, count: int = 100) -> None:
        """Wait for so many more messages of books."""
        messages = self.feed.statistics.messages
        wanted = sum(found for (channel, _), found in messages().items() if channel == "l2_book") + count
        await self.until(
            lambda: sum(found for (channel, _), found in messages().items() if channel == "l2_book") >= wanted, "heard"
        )


@asynccontextmanager
async def running_feed(
    *faults: str,
    limits: FeedLimits = LIMITS,
    channels: Sequence[str] = CHANNELS,
    speed: float = 1,
    settings: SeededSettings | None = None,
    waits: bool = True,
    clock_ns: Callable[[], int] = time.time_ns,
    **options: Any,
) -> AsyncIterator[Running]:
    """A feed on a loopback exchange, whose market opens with the first websocket, and whose faults count from there."""
    exchange = LoopbackExchange(
        SeededMarket(settings or SeededSettings()),
        ExchangeOptions(speed, parse_faults(faults), waits_for_client=waits),
    )
    async with exchange.running(), RestGate() as gate:
        answer = await gate.get(f"{exchange.rest_address}/fapi/v1/exchangeInfo")
        sink, builder = Sink(), RecordBuilder()
        feed = LiveFeed(
            VENUES["BINANCE_FUTURES"],
            read_listing(VENUES["BINANCE_FUTURES"], [answer.body]),
            SYMBOLS,
            channels,
            builder=builder,
            sink=sink,
            clock_ns=clock_ns,
            gate=gate,
            limits=limits,
            rest=exchange.rest_address,
            websocket=exchange.websocket_address,
            **options,
        )
        async with run_beside(feed):
            yield Running(feed, builder, sink, exchange)


@asynccontextmanager
async def run_beside(feed: LiveFeed) -> AsyncIterator[None]:
    """Run a feed beside the block."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        yield
        tasks.cancel_scope.cancel()


class Follower:
    """Keeps books from records as the core does, and holds the best prices against quotes of the same update id."""

    def __init__(self, records: Any) -> None:
        self.counts: Counter[int] = Counter()
        self.compared: Counter[int] = Counter()
        self.mismatches: list[str] = []
        self.gaps: list[tuple[int, int]] = []
        self._sides: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
        self._last: dict[int, int] = {}
        self._bests: dict[tuple[int, int], tuple[int, ...]] = {}
        self._quotes: dict[tuple[int, int], tuple[int, ...]] = {}
        for record in records.tolist():
            self._take(*record[2:5], record[7:])

    def _take(self, kind: int, flags: int, instrument: int, words: tuple[int, ...]) -> None:
        self.counts[kind] += 1
        if kind == layout.LEVEL:
            self._level(flags, instrument, words)
        elif kind == layout.QUOTE:
            self._quotes[instrument, words[4]] = words[:4]
            self._compare(instrument, words[4])
        elif kind == layout.GAP:
            self.gaps.append((instrument, words[0]))
            self._sides.pop(instrument, None)

    def _level(self, flags: int, instrument: int, words: tuple[int, ...]) -> None:
        price, size, last, previous, first = words
        if flags & layout.SNAPSHOT and self._last.get(instrument) != last:
            self._sides[instrument] = ({}, {})
            self._last[instrument] = last
        assert instrument in self._sides, "a change of a book that is lost"
        known = self._last[instrument]
        follows = known in (last, previous) or (previous < known and first <= known + 1)
        assert follows, "the chain is broken"
        side = self._sides[instrument][1 if flags & layout.SELL else 0]
        if size:
            side[price] = size
        else:
            side.pop(price, None)
        if flags & layout.LAST:
            self._last[instrument] = last
            bids, asks = self._sides[instrument]
            bid, ask = max(bids), min(asks)
            self._bests[instrument, last] = (bid, bids[bid], ask, asks[ask])
            self._compare(instrument, last)

    def _compare(self, instrument: int, update_id: int) -> None:
        best, quote = self._bests.get((instrument, update_id)), self._quotes.get((instrument, update_id))
        if best is not None and quote is not None:
            self.compared[instrument] += 1
            if best != quote:
                self.mismatches.append(f"{instrument} {update_id}: book {best}, quote {quote}")


def gaps_by_symbol(gaps: list[tuple[int, int]]) -> dict[int, set[str]]:
    """Why each instrument was lost."""
    found: dict[int, set[str]] = {}
    for instrument, reason in gaps:
        found.setdefault(instrument, set()).add(GAP_WORDS[reason])
    return found
