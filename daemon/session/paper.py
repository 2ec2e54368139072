"""A paper session from its lock to its end: what it asks first, what runs meanwhile, how it drains.

All tasks run in one task group; the first that fails ends the session, and a restart goes on where the tape ends.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from adapters.captures.importing import software
from adapters.metrics import DaemonFigures, MetricsEndpoint, refuse_taken_port
from adapters.rest_gate import RestGate
from adapters.store import RunEnd, StoredError, prepare
from adapters.store.backups import daily_backup
from adapters.store.writer import StoreWriter
from adapters.tape import CLOSING, Closing
from config.model import RunConfig
from daemon.control.model import SessionState
from daemon.control.socket_server import ControlSocket
from daemon.control.stream import StreamKind
from daemon.logs import get_logger
from daemon.memory import settled_objects
from daemon.notify import Notifier
from daemon.session.beginning import write_documents, write_history, write_replacements
from daemon.session.folder import SessionFolder
from daemon.session.opening import read_earlier
from daemon.session.parts import Opened, Parts, build_parts, open_parts, tape_facts
from daemon.session.recorder import Recorder
from daemon.session.snapshots import keep_snapshot, keep_snapshots
from daemon.session.venue import ask_venue, session_token
from daemon.storing import run_start
from daemon.watching import watch_files
from engine import book_engine, indicators
from engine.bars import NS_PER_SECOND
from engine.errors import TapewrightError
from engine.isolation import Failure
from engine.kernels import layout
from engine.replay import texts_of

if TYPE_CHECKING:
    from daemon.control.http_server import ControlHttp

_DRAIN_SECONDS = 5.0
_WATCHDOG_SECONDS = 1.0
_HEALTHY_NS = 5 * NS_PER_SECOND
_FIGURES_SECONDS = 1.0
_BOOKS_SECONDS = 0.25
_FAILURES_SECONDS = 0.01
_COMPILING_SECONDS = 300.0

Task = Callable[[], Coroutine[Any, Any, None]]


class PaperSession:
    """One session. `figures` are those of the last second, `hash` the engine's chain once it has ended in order."""

    def __init__(self, home: Path, config: RunConfig, folder: SessionFolder, notifier: Notifier | None = None) -> None:
        self.started = anyio.Event()
        self.figures: DaemonFigures | None = None
        self.endpoint: MetricsEndpoint | None = None
        self.http: ControlHttp | None = None
        self.hash = ""
        self._home = home
        self._config = config
        self._folder = folder
        self._notifier = notifier or Notifier({})
        self._log = get_logger("session")
        self._state: SessionState = "starting"
        self._stop = anyio.Event()
        self._asking: anyio.CancelScope | None = None  # while the venue is asked for what a start needs
        self._failures_waiting = 0

    def shut_down(self) -> None:
        """Drain and end."""
        self._stop.set()
        if self._asking is not None:
            self._asking.cancel()

    async def run(self) -> None:
        """Run until `shut_down`, a signal or a command ends it; raises what broke it."""
        daemon, folder = self._config.daemon, self._folder
        if daemon.paper.on_restart == "reset" and folder.has_tape:
            self._log.warning("begun anew: what was recorded lies aside", folder=str(folder.set_aside()))
        self._refuse_taken_ports()
        store_path = self._home / daemon.store.path
        prepare(store_path)
        await anyio.to_thread.run_sync(daily_backup, store_path, self._home / "backups")
        async with RestGate() as gate:
            with ExitStack() as stack:
                earlier = read_earlier(folder.tape) if folder.has_tape else None
                if earlier is None and folder.has_tape:
                    self._log.warning("the tape holds no whole beginning: begun anew", folder=str(folder.set_aside()))
                with self._venue_is_asked():
                    known = await ask_venue(self._home, daemon.feed, gate, earlier)
                if self._stop.is_set():
                    self._log.info("stopped before it began")
                    return
                opened = open_parts(self._home, self._config, folder, gate, known, earlier, store_path, stack)
                self._notifier.extend_timeout(_COMPILING_SECONDS)
                # Compiled only when a strategy asks, an indicator would hold up the feed and all others.
                indicators.prepare(indicators.named_in(texts_of(opened.run.driver.replay.runs)))
                await self._run_stored(opened, gate, StoreWriter(store_path))

    def _refuse_taken_ports(self) -> None:
        """Before anything is written: each start that fails later is one more on the tape."""
        daemon = self._config.daemon
        if daemon.metrics.port:
            refuse_taken_port(daemon.metrics.port)
        if daemon.control.http_port:
            from daemon.control.http_server import listening

            with listening(daemon.control.http_port):
                pass

    @contextmanager
    def _venue_is_asked(self) -> Iterator[None]:
        """Inside, `shut_down` waits for no answer: a venue that bans us may let us wait for minutes."""
        with anyio.CancelScope() as self._asking:
            if self._stop.is_set():
                self._asking.cancel()
            yield
        self._asking = None

    async def _run_stored(self, opened: Opened, gate: RestGate, store: StoreWriter) -> None:
        """With the store's writer beside, which ends last."""
        run, daemon = opened.run, opened.config.daemon
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            replay = run.driver.replay
            created_ns = (opened.earlier.session if opened.earlier is not None else opened.session).created_ns
            start = run_start(
                opened.name, "paper", run.config, replay.runs, replay.scales, created_ns,
                sample_every=daemon.store.sample_every,
            )  # fmt: skip
            stored = await store.begin(start)

            def on_failure(failure: Failure) -> None:
                self._failures_waiting += 1
                tasks.start_soon(self._record_failure, opened.recorder, parts, failure)

            parts = build_parts(
                self._home, opened, self._folder, gate, store, stored, on_failure, self.shut_down, lambda: self._state
            )
            parts.loop.take_up()
            downtime_ns = opened.earlier.last_ns if opened.earlier is not None else None
            write_documents(
                opened.sequencer, opened.session, opened.config, replay.runs, downtime_ns, opened.added
            )  # fmt: skip
            parts.loop.step()
            with self._venue_is_asked():
                await write_history(
                    self._home, opened.config, gate, opened.known.venue, opened.sequencer, opened.session, replay,
                    opened.clock.now_ns() + opened.known.offset_ns,
                )  # fmt: skip
            write_replacements(opened.sequencer, parts.configured, replay.runs)
            parts.loop.step()
            async with self._serving(parts):
                await self._until_stopped(self._tasks(opened, parts))
                parts.broadcast.close()
            await self._end(opened, parts)
            tasks.cancel_scope.cancel()

    def _tasks(self, opened: Opened, parts: Parts) -> list[Task]:
        """Everything that runs while the session does."""
        reload, recorder = opened.config.daemon.reload, opened.recorder
        seconds = opened.config.daemon.paper.snapshot_seconds
        tasks: list[Task] = [
            opened.feed.run, parts.loop.run, parts.loop.tick, recorder.run, parts.pump.run, parts.funding.run,
            partial(self._publish_figures, parts), partial(self._feed_watchdog, parts),
            partial(self._resync_crossed, opened, parts),
            partial(keep_snapshots, opened.run.driver, recorder, parts.pump, self._folder.snapshots,
                    tape_facts(recorder), seconds),
        ]  # fmt: skip
        if reload.enabled:
            commander = parts.commander
            tasks.append(
                partial(
                    watch_files, lambda: frozenset().union(*commander.files), debounce_ms=reload.debounce_ms,
                    changed=commander.reload_changed,
                )
            )  # fmt: skip
        return tasks

    async def _until_stopped(self, tasks: list[Task]) -> None:
        with settled_objects():
            async with anyio.create_task_group() as group:
                for task in tasks:
                    group.start_soon(task)
                self._state = "running"
                self.started.set()
                self._notifier.ready(f"session {self._folder.name}")
                exchange = self._config.daemon.feed.exchange
                self._log.info("running", symbols=", ".join(self._config.symbols), exchange=exchange)
                await self._stop.wait()
                self._state = "draining"
                self._notifier.stopping("draining")
                group.cancel_scope.cancel()

    @asynccontextmanager
    async def _serving(self, parts: Parts) -> AsyncIterator[None]:
        """Control and metrics, while the block lasts."""
        daemon = self._config.daemon
        self.figures = parts.figures.now()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(ControlSocket(self._folder.socket, parts.controller).running())
            if daemon.control.http_port:
                token = session_token(self._home, daemon.control, self._folder)
                from daemon.control.http_server import ControlHttp  # its framework takes a third of a second to import

                http = ControlHttp(parts.controller, token=token, port=daemon.control.http_port, version=software())
                self.http = await stack.enter_async_context(http.running())
                self._log.info("control over HTTP", address=self.http.address)
            if daemon.metrics.port:
                self.endpoint = stack.enter_context(MetricsEndpoint(self._last_figures, daemon.metrics.port))
                self._log.info("metrics", address=self.endpoint.address)
            yield

    def _last_figures(self) -> DaemonFigures:
        assert self.figures is not None
        return self.figures

    async def _publish_figures(self, parts: Parts) -> None:
        while True:
            self.figures = parts.figures.now()
            if parts.broadcast.is_watched:
                parts.broadcast.publish(StreamKind.STATUS, "", parts.controller.status())
                parts.broadcast.publish(StreamKind.EQUITY, "", self.figures.account)
            await anyio.sleep(_FIGURES_SECONDS)

    async def _feed_watchdog(self, parts: Parts) -> None:
        """Tell the service manager that all is well: only while steps are taken, and what they bring is stored."""
        interval = min(_WATCHDOG_SECONDS, self._notifier.watchdog_interval_seconds or _WATCHDOG_SECONDS)
        loop, pump = parts.loop, parts.pump
        while True:
            now_ns = time.monotonic_ns()
            if now_ns - loop.stepped_ns < _HEALTHY_NS and (pump.is_idle or now_ns - pump.stored_ns < _HEALTHY_NS):
                self._notifier.watchdog()
            await anyio.sleep(interval)

    async def _resync_crossed(self, opened: Opened, parts: Parts) -> None:
        """A book that the engine cannot believe, though no message of it is missing, begins anew."""
        feed = opened.feed
        while True:
            await anyio.sleep(_BOOKS_SECONDS)
            if opened.sequencer.records_waiting:
                continue  # the engine has not seen yet what the feed knows
            books = parts.replay.engine.state.books
            for index, scale in enumerate(parts.replay.scales):
                symbol = scale.instrument.symbol
                if books["state"][index] == layout.BOOK_INVALID_STATE and feed.statistics.books.get(symbol):
                    feed.resync(symbol)

    async def _record_failure(self, recorder: Recorder, parts: Parts, failure: Failure) -> None:
        """Store a failure once the tape knows of it: a process that is killed before has it again, as the same row."""
        name = parts.replay.runs[failure.strategy].name
        await recorder.acknowledged(recorder.last_seq)
        await parts.store.record(
            StoredError(
                parts.stored.run_id, failure.number, failure.seq, failure.ts_ns, "strategy_faulted", failure.message,
                name, failure.symbol,
            )
        )  # fmt: skip
        self._failures_waiting -= 1

    async def _end(self, opened: Opened, parts: Parts) -> None:
        """Everything that is there goes through, to the disk, and into the store; then the tape is sealed."""
        recorder, pump, engine = opened.recorder, parts.pump, parts.replay.engine
        opened.sequencer.document(CLOSING, Closing())
        parts.loop.step()
        with anyio.fail_after(_DRAIN_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(pump.run)
                await recorder.sync()
                await pump.drained()
                await keep_snapshot(
                    opened.run.driver, recorder, pump, self._folder.snapshots, tape_facts(recorder)
                )  # fmt: skip
                group.cancel_scope.cancel()
            while self._failures_waiting:
                await anyio.sleep(_FAILURES_SECONDS)
            self.hash = f"{engine.hash:016x}"
            await parts.store.end(RunEnd(parts.stored.run_id, "stopped", opened.clock.now_ns(), engine.hash))
            await parts.store.close()
        recorder.writer.close()
        self._log.info("stopped", seq=recorder.last_seq, hash=self.hash)


async def run_paper(home: Path, config: RunConfig, name: str, *, seconds: float | None = None) -> PaperSession:
    """Run a session until a signal ends it, or for so many seconds; raises a TapewrightError where it cannot go on."""
    with SessionFolder(home, name) as folder, Notifier() as notifier:
        if not book_engine.is_compiled():
            get_logger("session").info("compiling the engine: once for this version, some 30 seconds")
            notifier.extend_timeout(_COMPILING_SECONDS)
        book_engine.prepare()
        session = PaperSession(home, config, folder, notifier)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_stop_on_signals, session)
                if seconds is not None:
                    tasks.start_soon(_stop_after, session, seconds)
                await session.run()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _only(group) from group
        return session


def session_title(config: RunConfig) -> str:
    """What a session is called where nobody has said it: the config file's name."""
    stem = Path(config.source).stem if config.source else "paper"
    return "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in stem) or "paper"


async def _stop_on_signals(session: PaperSession) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            get_logger("session").info("signal", signal=number.name)
            session.shut_down()


async def _stop_after(session: PaperSession, seconds: float) -> None:
    await session.started.wait()
    await anyio.sleep(seconds)
    session.shut_down()


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The typed error among what went wrong together, else the first."""
    found: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        each = pending.pop(0)
        if isinstance(each, BaseExceptionGroup):
            pending.extend(each.exceptions)
        else:
            found.append(each)
    typed = [each for each in found if isinstance(each, TapewrightError)]
    return (typed or found)[0]
