"""A session of plain data behind the real control socket and HTTP, in the test's loop or in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel

from daemon.control.model import (
    Command,
    CommandResult,
    Flatten,
    Halt,
    OrderStatus,
    PositionStatus,
    QueueStatus,
    Reload,
    Resume,
    SetParams,
    Shutdown,
    StartStrategy,
    Status,
    StopStrategy,
    StrategyState,
    StrategyStatus,
    SymbolStatus,
)
from daemon.control.socket_server import ControlSocket, SocketLimits
from daemon.control.stream import Broadcast, Subscription
from engine.errors import StrategyError, UsageError

START_NS = 1_700_000_000 * 10**9


class PlainController:
    """Keeps what it was told; knows one strategy, `cross`, whose `period` must be at least 2."""

    def __init__(self) -> None:
        self.broadcast = Broadcast()
        self.commands: list[Command] = []
        self.params: dict[str, int | float | bool | str] = {"period": 20}
        self.halted = ""
        self.state: StrategyState = "running"
        self.command_waits = anyio.Event()
        self.command_may_end = anyio.Event()
        self.command_may_end.set()

    def status(self) -> Status:
        """A session of two markets."""
        return Status(
            session="alpha", mode="paper", state="running", pid=4711, version="0.1.0", config_source="paper.yaml",
            started_ns=START_NS, now_ns=START_NS + 3_725 * 10**9, seq=1_234_567, acknowledged_seq=1_234_500,
            hash="00112233445566ff", equity=Decimal("10123.45678901"), cash=Decimal("10100.10"),
            exposure=Decimal(2500), drawdown=0.0125, halted=self.halted,
            symbols=(
                SymbolStatus("BTCUSDT", "valid", Decimal("64000.1"), Decimal("64000.2"), Decimal("64000.1"),
                             Decimal("64000.15"), 12, {"l2_book": 12, "trades": 340}),
                SymbolStatus("ETHUSDT", "none"),
            ),
            queues=(QueueStatus("recorder", 3, 1024, 0),),
        )  # fmt: skip

    def strategies(self) -> list[StrategyStatus]:
        """The one strategy."""
        why = "" if self.state == "running" else "by hand"
        return [
            StrategyStatus(
                "cross", self.state, why,
                dict(self.params), ("BTCUSDT",), {"BTCUSDT": Decimal("0.039")}, 1, Decimal("12.5"), Decimal("0.75"),
                "ab" * 32, "strategies/builtins/ema_cross.py",
            )
        ]  # fmt: skip

    def orders(self) -> list[OrderStatus]:
        """One order."""
        return [
            OrderStatus(7, "cross", "BTCUSDT", "buy", "limit", "PARTIAL", "GTC", Decimal("0.1"), Decimal("0.04"),
                        Decimal("63999.9"), None, START_NS)
        ]  # fmt: skip

    def positions(self) -> list[PositionStatus]:
        """One position."""
        return [PositionStatus("cross", "BTCUSDT", Decimal("0.039"), Decimal(63000), None, Decimal(39), Decimal(0))]

    async def command(self, command: Command) -> CommandResult:
        """Wait until `command_may_end`, then do it."""
        self.command_waits.set()
        await self.command_may_end.wait()
        match command:
            case StartStrategy(strategy) | StopStrategy(strategy) | SetParams(strategy):
                self._check(strategy)
        match command:
            case SetParams(_, params):
                period = params.get("period", 2)
                if not isinstance(period, int) or period < 2:
                    raise UsageError(f"cross: period {period} is too small", remedy="Give 2 or more.")
                self.params |= params
            case StopStrategy():
                self.state = "stopped"
            case StartStrategy():
                self.state = "running"
            case Halt(reason):
                self.halted = reason
            case Resume():
                self.halted = ""
            case Reload(strategy) if strategy == "broken":
                raise StrategyError("broken.py, line 3: invalid syntax", remedy="The old code runs on. Correct it.")
            case Reload() | Flatten() | Shutdown():
                pass
        self.commands.append(command)
        return CommandResult(len(self.commands), f"{type(command).__name__} was applied")

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Of `broadcast`."""
        return self.broadcast.subscribe()

    def _check(self, strategy: str) -> None:
        if strategy != "cross":
            raise UsageError(f"No strategy {strategy}", remedy="There are: cross")


class ServedSession:
    """A session that a thread serves, for clients that block. `call` runs something in its loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.controller: PlainController
        self.server: ControlSocket
        self._ready = threading.Event()
        self._publish: list[Callable[[], None]] = []
        self._stop: anyio.Event
        self.token: anyio.lowlevel.EventLoopToken

    def run(self, limits: SocketLimits) -> None:
        """Serve until `stop`."""
        anyio.run(self._serve, limits)

    async def _serve(self, limits: SocketLimits) -> None:
        self.controller = PlainController()
        self._stop = anyio.Event()
        self.token = anyio.lowlevel.current_token()
        self.server = ControlSocket(self.path, self.controller, limits)
        async with self.server.running():
            self._ready.set()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._await_watchers)
                await self._stop.wait()
                tasks.cancel_scope.cancel()

    async def _await_watchers(self) -> None:
        while True:
            if self._publish and self.controller.broadcast.is_watched:
                self._publish.pop()()
            await anyio.sleep(0.005)

    def when_watched(self, publish: Callable[[], None]) -> None:
        """Call something in the loop once somebody follows the stream."""
        self._publish.append(publish)

    def wait(self) -> None:
        """Until it is served."""
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End it."""
        anyio.from_thread.run_sync(self._stop.set, token=self.token)


@contextmanager
def served(path: Path, limits: SocketLimits | None = None) -> Iterator[ServedSession]:
    """A session that is served at `path`, from a thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    session = ServedSession(path)
    thread = threading.Thread(target=session.run, args=(limits or SocketLimits(),))
    thread.start()
    try:
        session.wait()
        yield session
    finally:
        session.stop()
        thread.join()
