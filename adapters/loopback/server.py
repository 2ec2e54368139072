"""The exchange itself: a market played on its timeline, its REST and websocket side, and the faults in their time.

One task plays: it waits for what comes next, a message of the market or a fault, and does it. All faults that concern
the stream therefore hit the same messages each time. The market opens at once, or with the first websocket, so that a
capture is heard from its beginning.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from anyio.abc import TaskGroup

from adapters.loopback.damage import STREAM_FAULTS, Damage
from adapters.loopback.faults import Fault, FaultKind, bursts_of
from adapters.loopback.history import History
from adapters.loopback.market import Market
from adapters.loopback.rest import RestApi, json_response
from adapters.loopback.rest_damage import REST_DAMAGES, RestDamage
from adapters.loopback.sockets import ROUTES, Hub, reset_transport
from adapters.loopback.timeline import Timeline
from engine.bars import NS_PER_MS, NS_PER_SECOND
from engine.errors import UsageError

HOST = "127.0.0.1"
_REST_FAULTS = (FaultKind.banned, FaultKind.limited, FaultKind.broken, FaultKind.slow)
_FUNDING_FAULTS = (FaultKind.funding_missing, FaultKind.funding_twice, FaultKind.funding_late)
_STEPS_WITHOUT_PAUSE = 64
_CLOSING_SECONDS = 2.0


class ExchangeOptions(msgspec.Struct, frozen=True):
    """How a market is played. `speed` 0: as fast as the clients take it; `port` 0: any that is free.

    The venue's clock begins at `start_ns` (None: now), and that much ahead: `clock_offset_ns`. At the market's end
    connections are closed, unless it `stays`: then nothing more comes.
    """

    speed: float = 1.0
    faults: tuple[Fault, ...] = ()
    port: int = 0
    waits_for_client: bool = False
    start_ns: int | None = None
    clock_offset_ns: int = 0
    stays: bool = False


class ExchangeCounts(msgspec.Struct, frozen=True):
    """What has happened so far."""

    connections: int
    messages: int
    overflows: int
    requests: int
    refused_requests: int
    faults: int


class LoopbackExchange:
    """One exchange. `ended` is set once the market has come to its end, and all was sent."""

    def __init__(self, market: Market, options: ExchangeOptions, history: History | None = None) -> None:
        _check_symbols(market, options.faults)
        self.ended = anyio.Event()
        self.port = options.port
        self._market = market
        self._options = options
        self._timeline = Timeline(options.speed, bursts_of(options.faults))
        self._made_ns = time.monotonic_ns()
        self._pending = deque(options.faults)
        self._running: dict[FaultKind, Fault] = {}
        self._damage = Damage()
        self._rest_damage = RestDamage()
        self._hub = Hub(lambda: self._played_ns, self._on_connect, is_full_speed=self._timeline.is_full_speed)
        self._rest = RestApi(market, self.now_ms, history)
        self._opened = anyio.Event()
        self._opened_ns = 0  # monotonic
        self._played_ns = 0
        self._refused_requests = 0
        self._faults_count = 0
        application = web.Application(middlewares=[self._middleware()])
        self._rest.add_to(application.router)
        for path in ROUTES:
            application.router.add_get(path, self._hub.handle)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None
        self._tasks: TaskGroup | None = None
        market.begin(self._timeline)

    @property
    def rest_address(self) -> str:
        """Where REST is."""
        return f"http://{HOST}:{self.port}"

    @property
    def websocket_address(self) -> str:
        """Where the websockets are; the routes stand behind it."""
        return f"ws://{HOST}:{self.port}"

    def venue_ns(self) -> int:
        """The venue's time since the start, ns."""
        if not self._timeline.is_running:
            return time.monotonic_ns() - self._made_ns + self._options.clock_offset_ns  # it goes before, too
        if self._timeline.is_full_speed:
            return self._played_ns
        return time.monotonic_ns() - self._opened_ns

    def now_ms(self) -> int:
        """What the venue's clock shows, ms since 1970."""
        return (self._timeline.start_ns + self.venue_ns()) // NS_PER_MS

    def counts(self) -> ExchangeCounts:
        """What has happened so far."""
        hub = self._hub
        requests = (self._rest.requests_count, self._refused_requests)
        return ExchangeCounts(
            hub.connections_count, hub.messages_count, hub.overflows_count, *requests, self._faults_count
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LoopbackExchange]:
        """Listen, and play the market, until the block is left."""
        await self._runner.setup()
        try:
            await self._listen()
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._play)
                if not self._options.waits_for_client:
                    self._open()
                yield self
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                self._hub.close_all()
                with anyio.move_on_after(_CLOSING_SECONDS):
                    while self._hub.subscribers:
                        await anyio.sleep(0.005)
                await self._runner.cleanup()
                self._market.close()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
        try:
            await self._site.start()
        except OSError as error:
            raise UsageError(
                f"Port {self.port} of {HOST} cannot be listened on: {error.strerror}",
                remedy="Another program has it, perhaps another exchange. Choose a port, or leave --port out.",
            ) from None
        self.port = int(self._runner.addresses[0][1])

    def _on_connect(self) -> None:
        if not self._opened.is_set():
            self._open()

    def _open(self) -> None:
        start_ns, offset_ns = self._options.start_ns, self._options.clock_offset_ns
        self._timeline.begin((time.time_ns() if start_ns is None else start_ns) + offset_ns)
        self._opened_ns = time.monotonic_ns()
        self._market.begin(self._timeline)
        self._opened.set()

    async def _play(self) -> None:
        """Do what comes next, in its time, until the market's end."""
        await self._opened.wait()
        steps = 0
        while (market_ns := self._market.next_ns()) is not None:
            due_ns = self._timeline.venue_ns(market_ns)
            fault_ns = self._pending[0].at_ns if self._pending else due_ns + 1
            await self._wait(min(due_ns, fault_ns))
            steps += 1
            if steps % _STEPS_WITHOUT_PAUSE == 0:
                await anyio.sleep(0)
            if fault_ns <= due_ns:
                self._start(self._pending.popleft())
                continue
            for frame in self._market.step():
                for each in self._damage.take(frame):
                    await self._hub.send(each)
        if not self._options.stays:
            self._hub.close_all()
        self.ended.set()

    async def _wait(self, venue_ns: int) -> None:
        wait_ns = venue_ns - self.venue_ns()
        if wait_ns > 0 and not self._timeline.is_full_speed:
            await anyio.sleep(wait_ns / NS_PER_SECOND)
        self._played_ns = max(self._played_ns, venue_ns)

    def _start(self, fault: Fault) -> None:
        """Let a fault begin."""
        self._faults_count += 1
        symbol = fault.symbol or next(iter(self._market.boards))
        kind = fault.kind
        if kind in STREAM_FAULTS:
            self._damage.arm(fault, symbol)
        elif kind in _REST_FAULTS:
            self._running[kind] = fault
        elif kind in REST_DAMAGES:
            self._rest_damage.arm(kind, int(fault.amount))
        elif kind in _FUNDING_FAULTS:
            self._market.boards[symbol].funding.arm(fault)
        elif kind is FaultKind.stall:
            self._hub.stall(fault.until_ns)
        elif kind is FaultKind.channel:
            self._hub.silence(fault.channel, fault.until_ns)
        elif kind is FaultKind.mute:
            self._hub.mute_until_ns = fault.until_ns
        elif kind is FaultKind.close:
            self._hub.close_all(int(fault.amount))
        elif kind is FaultKind.refused:
            assert self._tasks is not None
            self._tasks.start_soon(self._refuse, fault.seconds)
        elif kind in (FaultKind.reset, FaultKind.fin):
            for subscriber in tuple(self._hub.subscribers):
                if kind is FaultKind.reset:
                    subscriber.reset()
                else:
                    subscriber.finish()
        else:
            assert kind is FaultKind.burst, "a burst is part of the timeline"

    async def _refuse(self, seconds: float) -> None:
        """Stop listening, reset who is connected, and listen again."""
        assert self._site is not None
        await self._site.stop()
        assert self._runner.server is not None
        for connection in tuple(self._runner.server.connections):
            reset_transport(connection.transport)
        await anyio.sleep(seconds)
        await self._listen()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def refuse_or_answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            """REST answers as the faults have it; websockets are not concerned."""
            if request.path in ROUTES:
                return await handler(request)
            for kind in _REST_FAULTS:
                fault = self._running.get(kind)
                if fault is None or self.venue_ns() >= fault.until_ns:
                    continue
                if kind is FaultKind.slow:
                    await anyio.sleep(fault.amount)
                    break
                self._refused_requests += 1
                return _refusal(kind, (fault.until_ns - self.venue_ns()) / NS_PER_SECOND)
            return await self._rest_damage.answer(request, handler)

        return refuse_or_answer


def _refusal(kind: FaultKind, seconds_left: float) -> web.Response:
    """What the venue says when it does not answer."""
    if kind is FaultKind.broken:
        return json_response({"code": -1000, "msg": "Service unavailable."}, 503)
    status = 418 if kind is FaultKind.banned else 429
    message = "Way too many requests; IP banned." if kind is FaultKind.banned else "Too many requests."
    return json_response({"code": -1003, "msg": message}, status, {"Retry-After": str(int(seconds_left) + 1)})


def _check_symbols(market: Market, faults: Sequence[Fault]) -> None:
    """Raise UsageError where a fault names an instrument that there is not."""
    for fault in faults:
        if fault.symbol and fault.symbol not in market.boards:
            raise UsageError(
                f"--fault {fault.kind.value} names {fault.symbol}, which this exchange has not",
                remedy=f"It has {', '.join(market.boards)}.",
            )
