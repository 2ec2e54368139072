"""The composition root of a paper session: builds its parts, runs their tasks, and ends it in order.

The order of the beginning: lock, store, venue's lists, tape, the run (new or taken up), the documents of this start,
bars of before. Then all tasks run in one task group; the first that fails ends the session, and a restart goes on.
"""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from adapters.captures.importing import session_name, software
from adapters.feeds.exchange import Listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.live import LiveFeed
from adapters.feeds.venues import VENUES, Venue
from adapters.metrics import DaemonFigures, MetricsEndpoint
from adapters.rest_gate import RestGate
from adapters.store import Position, RunEnd, StoredError, StoredRun, StoreReader, StoreWriter, prepare
from adapters.tape import CLOSING, CONFIG, SESSION, STRATEGY, Closing, Session, TapeInstrument, TapeSource, TapeWriter
from adapters.tape.documents import HISTORY, REPLACEMENT
from adapters.venue_rest.fees import venue_fees
from adapters.venue_rest.lists import InstrumentCache, instrument_lists
from adapters.venue_rest.server_time import clock_offset_ns
from config.daemon_model import FeedConfig
from config.document import to_document
from config.model import RunConfig
from daemon.control.http_server import ControlHttp
from daemon.control.model import SessionState
from daemon.control.socket_server import ControlSocket
from daemon.control.stream import Broadcast, StreamKind
from daemon.control.token import control_token
from daemon.driving import replacement_of, strategy_files
from daemon.logs import get_logger
from daemon.notify import Notifier
from daemon.runs import strategy_runs
from daemon.session.clock import SessionClock
from daemon.session.commanding import Commander
from daemon.session.controller import SessionController, SessionFacts
from daemon.session.feedwatch import FeedWatch
from daemon.session.figures import Figures
from daemon.session.folder import SessionFolder
from daemon.session.funding import FundingWatch, StaticRate
from daemon.session.guard import DEATHS_MOST, Guard, note_death
from daemon.session.loop import RunLoop
from daemon.session.narrator import Narrator
from daemon.session.opening import Earlier, Run, new_run, read_earlier, refuse_other_run, taken_up
from daemon.session.pump import StorePump
from daemon.session.raw import RawFrames
from daemon.session.recorder import Recorder
from daemon.session.sequencer import Sequencer
from daemon.session.snapshots import keep_snapshots, store_snapshot, take_snapshot
from daemon.session.warmup import Wanted, stored_history, venue_history
from daemon.storing import run_start
from daemon.watching import watch_files
from engine.bars import NS_PER_SECOND
from engine.commands import Replace, words_of
from engine.errors import InputMissingError, TapewrightError
from engine.isolation import Aborted, Failure, Policy
from engine.kernels import layout
from engine.replay import StrategyRun
from strategies.registry import Registry

_DRAIN_SECONDS = 5.0
_WATCHDOG_SECONDS = 1.0
_HEALTHY_NS = 5 * NS_PER_SECOND
_FIGURES_SECONDS = 1.0


class Venued(msgspec.Struct, frozen=True):
    """What was asked of the venue before the start."""

    venue: Venue
    listing: Listing
    offset_ns: int
    offset_is: str


class PaperSession:
    """One session from its lock to its end. `figures` are those of the last second; `started` is set when it trades."""

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
        self._error_count = 0

    def shut_down(self) -> None:
        """Drain and end."""
        self._stop.set()

    async def run(self) -> None:
        """Run until a signal, a command or `shut_down` ends it; raises what broke it."""
        daemon = self._config.daemon
        if daemon.paper.on_restart == "reset" and self._folder.has_tape:
            aside = self._folder.set_aside()
            self._log.warning("begun anew: what was recorded lies aside", folder=str(aside))
        store_path = self._home / daemon.store.path
        prepare(store_path)
        async with AsyncExitStack() as stack:
            gate = await stack.enter_async_context(RestGate())
            earlier = read_earlier(self._folder.tape) if self._folder.has_tape else None
            venued = await self._ask_venue(gate, earlier)
            with ExitStack() as parts:
                await self._run_parts(gate, earlier, venued, store_path, parts)

    async def _ask_venue(self, gate: RestGate, earlier: Earlier | None) -> Venued:
        feed = self._config.daemon.feed
        venue = VENUES[feed.exchange]
        found = await instrument_lists(gate, venue, InstrumentCache(self._home / "cache" / "instruments"), feed.rest)
        if found.note:
            self._log.warning("instrument lists", note=found.note)
        if earlier is not None:
            source = earlier.session.sources[0]
            return Venued(venue, found.listing, source.clock_offset_ns, source.clock_offset_is)
        try:
            offset = await clock_offset_ns(gate, venue, feed.rest)
        except TapewrightError as error:
            self._log.warning("the venue's time is not known: clocks are taken to agree", why=error.message)
            return Venued(venue, found.listing, 0, "none")
        if abs(offset.offset_ns) <= offset.uncertainty_ns + NS_PER_SECOND // 10:
            return Venued(venue, found.listing, 0, "none")  # they agree as far as can be told
        self._log.warning("clocks differ", offset_seconds=offset.offset_ns / NS_PER_SECOND, source=offset.source)
        return Venued(venue, found.listing, offset.offset_ns, "estimated")

    async def _run_parts(
        self, gate: RestGate, earlier: Earlier | None, venued: Venued, store_path: Path, parts: ExitStack
    ) -> None:  # fmt: skip
        """Build what a session is made of, and run it."""
        daemon, folder = self._config.daemon, self._folder
        death = note_death(folder.mark, folder.deaths) if earlier is not None else None
        guard = Guard(folder.mark, daemon.paper.strategy_timeout_ms)
        parts.callback(guard.close)
        added: tuple[Aborted, ...] = ()
        if death is not None:
            self._log.error(
                "the last process died in a callback", strategy=death.strategy, call=death.call, times=death.count
            )
            if death.count >= DEATHS_MOST:
                reason = f"the process died in this call {death.count} times"
                added = (Aborted(death.strategy, death.call, (), reason, "quarantined"),)
        clock = SessionClock(earlier.last_ns if earlier is not None else 0)
        sequencer = Sequencer(clock)
        raw = RawFrames(folder.raw) if daemon.feed.keep_raw else None
        if raw is not None:
            parts.callback(raw.close)
        watch = FeedWatch(sequencer, raw)
        feed = LiveFeed(
            venued.venue, venued.listing, self._config.symbols, daemon.feed.channels, builder=sequencer.builder,
            sink=watch, clock_ns=clock.now_ns, gate=gate, limits=_limits(daemon.feed), rest=daemon.feed.rest,
            websocket=daemon.feed.websocket, keys=_keys(self._home, daemon.feed), keep_raw=daemon.feed.keep_raw,
            instruments=earlier.session.instruments if earlier is not None else (),
        )  # fmt: skip
        for note in feed.notes:
            self._log.warning("feed", note=note)
        session = _session_document(feed, venued, clock.now_ns(), earlier)
        policy = Policy(is_isolated=True, is_flattened=daemon.paper.on_fault == "flatten")
        run = self._open_run(earlier, session, policy, guard, store_path, added)
        guard.is_busy = lambda: run.driver.replay.account.is_busy
        writer = TapeWriter(folder.tape, is_new=not folder.has_tape, syncs_itself=False)
        parts.callback(writer.abandon)
        if writer.torn_tail is not None:
            self._log.warning("a torn tail was cut off the tape", tail=msgspec.to_builtins(writer.torn_tail))
        recorder = Recorder(writer)
        await self._run_tasks(
            gate, earlier, venued, clock, sequencer, watch, feed, session, run, recorder, store_path, added
        )

    def _open_run(
        self, earlier: Earlier | None, session: Session, policy: Policy, guard: Guard, store_path: Path,
        added: tuple[Aborted, ...],
    ) -> Run:  # fmt: skip
        if earlier is None:
            run = new_run(self._home, self._config, session, policy, guard)
            run.driver.start()
            return run
        refuse_other_run(self._folder.path, earlier.config, self._config)
        begun = time.perf_counter()
        stored = _stored_position(store_path, earlier.session.session)
        run = taken_up(earlier, self._folder.snapshots, stored, policy, guard, added)
        self._log.info(
            "taken up", records=run.replayed, seconds=round(time.perf_counter() - begun, 3), seq=earlier.last_seq,
            hash=f"{run.driver.replay.engine.hash:016x}", restarts=earlier.starts,
        )  # fmt: skip
        return run

    async def _run_tasks(
        self, gate: RestGate, earlier: Earlier | None, venued: Venued, clock: SessionClock, sequencer: Sequencer,
        watch: FeedWatch, feed: LiveFeed, session: Session, run: Run, recorder: Recorder, store_path: Path,
        added: tuple[Aborted, ...],
    ) -> None:  # fmt: skip
        daemon, replay = self._config.daemon, run.driver.replay
        name = (earlier.session if earlier is not None else session).session
        store = StoreWriter(store_path)
        broadcast = Broadcast()
        async with anyio.create_task_group() as outer:
            outer.start_soon(store.run)
            start = run_start(
                name, "paper", run.config, replay.runs, replay.scales, session.created_ns,
                sample_every=daemon.store.sample_every,
            )  # fmt: skip
            stored = await store.begin(start)
            self._error_count = stored.errors
            pump = StorePump(recorder, store, stored.run_id, stored.position, recorder.last_seq)
            narrator = Narrator(
                replay.scales, tuple(each.name for each in replay.runs), broadcast,
                lambda failure: outer.start_soon(self._record_failure, store, stored, failure, replay.runs),
            )  # fmt: skip
            loop = RunLoop(run.driver, sequencer, recorder, pump, clock, narrator.take)
            configured = strategy_runs(Registry(self._home), self._config, [s.instrument.symbol for s in replay.scales])
            commander = Commander(
                self._home, self._config, replay, run.loader, sequencer, recorder, loop, broadcast, self.shut_down,
                [_files_of(each) for each in configured],
            )  # fmt: skip
            facts = SessionFacts(
                self._folder.name, self._config.source, clock.now_ns(), daemon.feed.exchange,
                earlier.starts if earlier is not None else 0,
            )  # fmt: skip
            funding = FundingWatch(
                session.instruments, replay, sequencer, gate, venued.venue, daemon.feed.rest,
                lambda: clock.now_ns() + venued.offset_ns, feed.next_funding_ns, _static_rate(run.config),
            )  # fmt: skip
            figures = Figures(
                facts, replay, feed, watch, gate, sequencer, recorder, loop, pump, store, narrator, commander, funding
            )
            controller = SessionController(
                facts, replay, feed, watch, sequencer, recorder, pump, narrator, commander, clock, broadcast,
                lambda: self._state, lambda: loop.applied_seq,
            )  # fmt: skip
            self._write_beginning(sequencer, session, run, earlier, added)
            loop.step()
            await self._warm_up(gate, venued, sequencer, session, replay, clock)
            self._go_on_with(configured, run, sequencer)
            loop.step()
            async with self._serving(controller, figures):
                await self._until_stopped(
                    [
                        feed.run, loop.run, loop.tick, recorder.run, pump.run, funding.run,
                        lambda: self._publish_figures(figures, broadcast, controller),
                        lambda: self._feed_watchdog(loop, pump),
                        lambda: self._resync_crossed(replay, feed),
                        lambda: keep_snapshots(
                            run.driver, recorder, pump, self._folder.snapshots, (_tape_id(recorder), software()),
                            daemon.paper.snapshot_seconds,
                        ),
                        *([lambda: watch_files(
                            lambda: sorted(set().union(*commander.files)), debounce_ms=daemon.reload.debounce_ms,
                            changed=commander.reload_changed,
                        )] if daemon.reload.enabled else []),
                    ]
                )  # fmt: skip
                broadcast.close()
            await self._end(run, sequencer, recorder, loop, pump, store, stored, clock)
            outer.cancel_scope.cancel()

    async def _until_stopped(self, tasks: list[Callable[[], Any]]) -> None:
        """Run the tasks of a session until it is to stop."""
        gc.collect()
        gc.freeze()  # what a session is made of stays: the collector need not look at it again
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(task)
            self._state = "running"
            self.started.set()
            self._notifier.ready(f"session {self._folder.name}")
            self._log.info(
                "running", symbols=", ".join(self._config.symbols), exchange=self._config.daemon.feed.exchange
            )
            await self._stop.wait()
            self._state = "draining"
            self._notifier.stopping("draining")
            group.cancel_scope.cancel()
        gc.unfreeze()

    def _write_beginning(
        self, sequencer: Sequencer, session: Session, run: Run, earlier: Earlier | None, added: tuple[Aborted, ...]
    ) -> None:  # fmt: skip
        """The documents of this start, after the time that nobody recorded."""
        from adapters.tape.documents import ABORTED, AbortedCall

        if earlier is not None:
            sequencer.gap(layout.GAP_DOWNTIME, earlier.last_ns)
        sequencer.document(SESSION, session)
        sequencer.document(CONFIG, to_document(self._config if earlier is not None else run.config))
        for each in run.driver.replay.runs:
            for file in strategy_files(each):
                sequencer.document(STRATEGY, file)
        for call in added:
            sequencer.document(ABORTED, AbortedCall(call.strategy, call.call, (), call.reason, "quarantined"))

    async def _warm_up(
        self, gate: RestGate, venued: Venued, sequencer: Sequencer, session: Session, replay: Any, clock: SessionClock
    ) -> None:  # fmt: skip
        """Bars of before, for every market and length that a strategy has bars of."""
        paper, rest = self._config.daemon.paper, self._config.daemon.feed.rest
        if paper.warmup == "none" or paper.warmup_bars == 0:
            return
        for (market, timeframe), columns in replay.columns.items():
            runs = [run for run in replay.runs if market in run.markets and run.strategy.on_bar is not None]
            if not runs:
                continue
            wanted = Wanted(market, session.instruments[market], timeframe, paper.warmup_bars, columns.last_ns)
            venue_ns = clock.now_ns() + venued.offset_ns
            try:
                if paper.warmup == "rest":
                    history = await venue_history(gate, venued.venue, rest, wanted, venue_ns)
                else:
                    history = stored_history(self._home, wanted, venue_ns)
            except InputMissingError as error:
                self._log.warning("no bars of before", symbol=wanted.instrument.symbol, why=error.message)
                continue
            sequencer.document(HISTORY, history)
            self._log.info(
                "warmed up", symbol=wanted.instrument.symbol, timeframe=timeframe, bars=len(history.rows),
                source=history.source,
            )  # fmt: skip

    def _go_on_with(self, configured: list[StrategyRun], run: Run, sequencer: Sequencer) -> None:
        """Parameters and code that are others than when the last process ended take effect now, as commands."""
        for index, (now, before) in enumerate(zip(configured, run.driver.replay.runs, strict=True)):
            if (now.params, now.strategy.source_hash) == (before.params, before.strategy.source_hash):
                continue
            sequencer.document(REPLACEMENT, replacement_of(index, now))
            sequencer.command(words_of(Replace(index, now)))
            self._log.info("goes on with other code or parameters", strategy=now.name)

    @asynccontextmanager
    async def _serving(self, controller: SessionController, figures: Figures) -> AsyncIterator[None]:
        """Control and metrics, while the block lasts."""
        daemon = self._config.daemon
        self.figures = figures.now()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(ControlSocket(self._folder.socket, controller).running())
            if daemon.control.http_port:
                token_file = self._home / daemon.control.token_file if daemon.control.token_file else None
                token = control_token(self._folder.path, token_file)
                http = ControlHttp(controller, token=token, port=daemon.control.http_port, version=software())
                self.http = await stack.enter_async_context(http.running())
                self._log.info("control over HTTP", address=self.http.address)
            if daemon.metrics.port:
                self.endpoint = stack.enter_context(MetricsEndpoint(self._last_figures, daemon.metrics.port))
                self._log.info("metrics", address=self.endpoint.address)
            yield

    def _last_figures(self) -> DaemonFigures:
        assert self.figures is not None
        return self.figures

    async def _publish_figures(self, figures: Figures, broadcast: Broadcast, controller: SessionController) -> None:
        while True:
            self.figures = figures.now()
            if broadcast.is_watched:
                broadcast.publish(StreamKind.STATUS, "", controller.status())
                broadcast.publish(StreamKind.EQUITY, "", self.figures.account)
            await anyio.sleep(_FIGURES_SECONDS)

    async def _feed_watchdog(self, loop: RunLoop, pump: StorePump) -> None:
        """Tell the service manager that all is well: only while steps are taken, and what they bring is stored."""
        interval = min(_WATCHDOG_SECONDS, self._notifier.watchdog_interval_seconds or _WATCHDOG_SECONDS)
        while True:
            now_ns = time.monotonic_ns()
            if now_ns - loop.stepped_ns < _HEALTHY_NS and (pump.is_idle or now_ns - pump.stored_ns < _HEALTHY_NS):
                self._notifier.watchdog()
            await anyio.sleep(interval)

    async def _resync_crossed(self, replay: Any, feed: LiveFeed) -> None:
        """A book that the engine cannot believe, though no message of it is missing, begins anew."""
        while True:
            await anyio.sleep(0.25)
            states = replay.engine.state.books["state"]
            for index, scale in enumerate(replay.scales):
                symbol = scale.instrument.symbol
                if states[index] == layout.BOOK_INVALID_STATE and feed.statistics.books.get(symbol):
                    feed.resync(symbol)

    async def _record_failure(
        self, store: StoreWriter, stored: StoredRun, failure: Failure, runs: list[StrategyRun]
    ) -> None:  # fmt: skip
        number, self._error_count = self._error_count, self._error_count + 1
        await store.record(
            StoredError(
                stored.run_id, number, failure.seq, failure.ts_ns, "strategy_faulted", failure.message,
                runs[failure.strategy].name, failure.symbol,
            )
        )  # fmt: skip

    async def _end(
        self, run: Run, sequencer: Sequencer, recorder: Recorder, loop: RunLoop, pump: StorePump, store: StoreWriter,
        stored: StoredRun, clock: SessionClock,
    ) -> None:  # fmt: skip
        """Everything that is there goes through, to the disk, and into the store; then the tape is sealed."""
        replay = run.driver.replay
        sequencer.document(CLOSING, Closing())
        loop.step()
        with anyio.fail_after(_DRAIN_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(pump.run)
                await recorder.sync()
                await pump.drained()
                snapshot = take_snapshot(run.driver, _tape_id(recorder), software(), recorder.last_seq)
                await store_snapshot(snapshot, recorder, pump, self._folder.snapshots)
                group.cancel_scope.cancel()
            self.hash = f"{replay.engine.hash:016x}"
            await store.end(RunEnd(stored.run_id, "stopped", clock.now_ns(), replay.engine.hash))
            await store.close()
        recorder.writer.close()
        self._log.info("stopped", seq=recorder.last_seq, hash=self.hash)


async def stop_on_signals(session: PaperSession) -> None:
    """Drain on SIGTERM and SIGINT, until cancelled."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            get_logger("session").info("signal", signal=number.name)
            session.shut_down()


def _limits(feed: FeedConfig) -> FeedLimits:
    stale = {
        "l2_book": feed.stale_book_seconds, "trades": feed.stale_trades_seconds, "ticker": feed.stale_ticker_seconds,
        "funding": feed.stale_funding_seconds, "open_interest": feed.stale_open_interest_seconds,
    }  # fmt: skip
    return FeedLimits(
        first_message_seconds=float(feed.first_message_seconds),
        stale_seconds={channel: float(seconds) for channel, seconds in stale.items()},
    )


def _keys(home: Path, feed: FeedConfig) -> dict[str, str] | None:
    """Keys of a venue that gives public data to known customers only: lines `name = value` of a file."""
    if not feed.key_file:
        return None
    path = home / feed.key_file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputMissingError(
            f"feed.key_file: {path} cannot be read: {error.strerror or error}",
            remedy="Write key_id = … and key_secret = … into it, or leave feed.key_file out.",
        ) from error
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _session_document(feed: LiveFeed, venued: Venued, now_ns: int, earlier: Earlier | None) -> Session:
    offset_is: Any = venued.offset_is
    sources = tuple(
        TapeSource(each.name, each.kind, clock_offset_ns=venued.offset_ns, clock_offset_is=offset_is)
        for each in feed.sources
    )  # fmt: skip
    before = {each.symbol: each for each in earlier.session.instruments} if earlier is not None else {}
    instruments = tuple(_with_fees(each, before.get(each.symbol)) for each in feed.instruments)
    return Session(
        session=session_name(now_ns, sources), created_ns=now_ns, software=software(), instruments=instruments,
        sources=sources, notes=feed.notes,
    )  # fmt: skip


def _with_fees(instrument: TapeInstrument, before: TapeInstrument | None) -> TapeInstrument:
    """The instrument with its venue's published fees in its metadata; a session keeps those that it began with."""
    if before is not None and "maker_bps" in before.metadata:
        known = {
            name: before.metadata[name] for name in ("maker_bps", "taker_bps", "fees_of") if name in before.metadata
        }
    else:
        fees = venue_fees(instrument.venue, "spot" if instrument.kind == "spot" else "perpetual")
        if fees is None:
            return instrument
        known = {"maker_bps": f"{fees.maker_bps:f}", "taker_bps": f"{fees.taker_bps:f}", "fees_of": fees.as_of}
    return msgspec.structs.replace(instrument, metadata={**instrument.metadata, **known})


def _files_of(run: StrategyRun) -> frozenset[Path]:
    return frozenset(Path(file.path).resolve() for file in run.strategy.files)


def _static_rate(config: RunConfig) -> StaticRate | None:
    funding = config.funding
    return StaticRate(funding.rate, funding.interval_hours) if funding.enabled and funding.rate else None


def _stored_position(path: Path, name: str) -> Position:
    with StoreReader(path) as reader:
        for run in reader.runs():
            if run.name == name:
                return Position(run.outputs_stored, run.samples_stored)
    return Position(0, 0)


def _tape_id(recorder: Recorder) -> str:
    return recorder.writer.tape_id.hex()


async def run_paper(home: Path, config: RunConfig, name: str, *, seconds: float | None = None) -> PaperSession:
    """Run a session until a signal ends it, or for so many seconds; raises a TapewrightError where it cannot go on."""
    with SessionFolder(home, name) as folder, Notifier() as notifier:
        session = PaperSession(home, config, folder, notifier)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop_on_signals, session)
                if seconds is not None:
                    tasks.start_soon(_stop_after, session, seconds)
                await session.run()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _only(group) from group
        return session


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


def session_title(config: RunConfig) -> str:
    """What a session is called where nobody has said it: the config file's name."""
    stem = Path(config.source).stem if config.source else "paper"
    return "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in stem) or "paper"
