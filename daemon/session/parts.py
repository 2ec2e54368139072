"""The parts of one running session, built in their order and handed to each other: what `paper` runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from adapters.captures.importing import software
from adapters.feeds.live import LiveFeed
from adapters.rest_gate import RestGate
from adapters.store import Position, StoredRun, StoreReader
from adapters.store.writer import StoreWriter
from adapters.tape import Session, TapeWriter
from config.model import RunConfig
from daemon.control.model import SessionState
from daemon.control.stream import Broadcast
from daemon.logs import get_logger
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
from daemon.session.opening import Earlier, Run, new_run, refuse_other_run, taken_up
from daemon.session.pump import StorePump
from daemon.session.raw import RawFrames
from daemon.session.recorder import Recorder
from daemon.session.sequencer import Sequencer
from daemon.session.venue import KnownVenue, keys_of, limits_of, session_document
from daemon.tape_markets import with_venue_fees
from engine.isolation import Aborted, Failure, Policy
from engine.replay import StrategyRun
from engine.tape_replay import TapeReplay
from strategies.registry import Registry


class Opened(msgspec.Struct, frozen=True):
    """A session whose tape is open and whose run stands where it ends. `added`: calls found not to end."""

    config: RunConfig
    session: Session
    name: str
    known: KnownVenue
    earlier: Earlier | None
    run: Run
    clock: SessionClock
    sequencer: Sequencer
    watch: FeedWatch
    feed: LiveFeed
    recorder: Recorder
    added: tuple[Aborted, ...]


class Parts(msgspec.Struct, frozen=True):
    """Everything that has a task or is asked while a session runs."""

    replay: TapeReplay
    store: StoreWriter
    stored: StoredRun
    pump: StorePump
    loop: RunLoop
    commander: Commander
    funding: FundingWatch
    figures: Figures
    controller: SessionController
    broadcast: Broadcast
    configured: tuple[StrategyRun, ...]


def open_parts(
    home: Path, config: RunConfig, folder: SessionFolder, gate: RestGate, known: KnownVenue, earlier: Earlier | None,
    store_path: Path, stack: ExitStack,
) -> Opened:  # fmt: skip
    """Open the tape, and take up the run or make a new one; `stack` closes what is open. Raises a TapewrightError."""
    feed_config, paper = config.daemon.feed, config.daemon.paper
    added = _found_dead(folder) if earlier is not None else ()
    guard = Guard(folder.mark, paper.strategy_timeout_ms)
    stack.callback(guard.close)
    clock = SessionClock(
        earlier.last_ns if earlier is not None else 0, wall_ns=lambda: time.time_ns() + known.shift_ns
    )  # fmt: skip
    sequencer = Sequencer(clock)
    raw = RawFrames(folder.raw) if feed_config.keep_raw else None
    if raw is not None:
        stack.callback(raw.close)
    watch = FeedWatch(sequencer, raw)
    feed = LiveFeed(
        known.venue, known.listing, config.symbols, feed_config.channels, builder=sequencer.builder, sink=watch,
        clock_ns=clock.now_ns, gate=gate, limits=limits_of(feed_config), rest=feed_config.rest,
        websocket=feed_config.websocket, keys=keys_of(home, feed_config), keep_raw=feed_config.keep_raw,
        instruments=earlier.session.instruments if earlier is not None else (),
    )  # fmt: skip
    for note in feed.notes:
        get_logger("feed").warning("left out", note=note)
    session = session_document(feed, known, clock.now_ns(), earlier)
    config = with_venue_fees(config, session)
    name = f"{folder.name}-{(earlier.session if earlier is not None else session).session}"
    policy = Policy(is_isolated=True, is_flattened=paper.on_fault == "flatten")
    if earlier is None:
        run = new_run(home, config, session, policy, guard)
        run.driver.start()
    else:
        refuse_other_run(folder.path, earlier.config, config)
        run = taken_up(earlier, folder.snapshots, _stored_position(store_path, name), policy, guard, added)
        get_logger("session").info(
            "taken up", records=run.replayed, seq=earlier.last_seq, starts=earlier.starts + 1,
            hash=f"{run.driver.replay.engine.hash:016x}",
        )  # fmt: skip
    guard.is_busy = lambda: run.driver.replay.account.is_busy
    writer = TapeWriter(folder.tape, is_new=not folder.has_tape, syncs_itself=False)
    stack.callback(writer.abandon)
    if writer.torn_tail is not None:
        get_logger("tape").warning("a torn tail was cut off", tail=msgspec.to_builtins(writer.torn_tail))
    return Opened(config, session, name, known, earlier, run, clock, sequencer, watch, feed, Recorder(writer), added)


def build_parts(
    home: Path, opened: Opened, folder: SessionFolder, gate: RestGate, store: StoreWriter, stored: StoredRun,
    on_failure: Callable[[Failure], None], shut_down: Callable[[], None], state: Callable[[], SessionState],
) -> Parts:  # fmt: skip
    """Build what runs."""
    config, sequencer, recorder, feed, clock = (
        opened.config, opened.sequencer, opened.recorder, opened.feed, opened.clock
    )  # fmt: skip
    replay, feed_config = opened.run.driver.replay, opened.config.daemon.feed
    broadcast = Broadcast()
    pump = StorePump(recorder, store, stored.run_id, stored.position, recorder.last_seq)
    narrator = Narrator(replay.scales, tuple(run.name for run in replay.runs), broadcast, on_failure)
    narrator.last_why |= _stored_whys(home / config.daemon.store.path, stored.run_id)
    loop = RunLoop(opened.run.driver, sequencer, recorder, pump, clock, narrator.take)
    configured = strategy_runs(Registry(home), config, [scale.instrument.symbol for scale in replay.scales])
    commander = Commander(
        home, config, replay, opened.run.loader, sequencer, recorder, loop, broadcast, shut_down,
        [frozenset(Path(file.path).resolve() for file in run.strategy.files) for run in configured],
    )  # fmt: skip
    starts = opened.earlier.starts if opened.earlier is not None else 0
    facts = SessionFacts(folder.name, config.source, clock.now_ns(), feed_config.exchange, starts)
    static = config.funding
    funding = FundingWatch(
        opened.session.instruments, replay, sequencer, gate, opened.known.venue, feed_config.rest,
        lambda: clock.now_ns() + opened.known.offset_ns, feed.next_funding_ns,
        StaticRate(static.rate, static.interval_hours) if static.enabled and static.rate else None,
        None if opened.earlier is None else opened.earlier.last_ns + opened.known.offset_ns,
    )  # fmt: skip
    figures = Figures(
        facts, replay, feed, opened.watch, gate, sequencer, recorder, loop, pump, store, narrator, commander, funding
    )
    controller = SessionController(
        facts, replay, feed, opened.watch, sequencer, recorder, pump, narrator, commander, clock, broadcast, state,
        lambda: loop.applied_seq,
    )  # fmt: skip
    return Parts(
        replay, store, stored, pump, loop, commander, funding, figures, controller, broadcast, tuple(configured)
    )


def tape_facts(recorder: Recorder) -> tuple[str, str]:
    """What a snapshot must agree with: the tape's id, this software."""
    return recorder.writer.tape_id.hex(), software()


def _found_dead(folder: SessionFolder) -> tuple[Aborted, ...]:
    """The call that the last process died in, where it has died there often enough to be left out from now on."""
    death = note_death(folder.mark, folder.deaths)
    if death is None:
        return ()
    get_logger("session").error(
        "the last process died in a callback", strategy=death.strategy, call=death.call, times=death.count
    )
    if death.count < DEATHS_MOST:
        return ()
    return (Aborted(death.strategy, death.call, (), f"the process died in it {death.count} times", "quarantined"),)


def _stored_whys(path: Path, run_id: int) -> dict[str, str]:
    """Why each strategy failed last, as far as it did before the last restart."""
    with StoreReader(path) as reader:
        return {error.strategy_id: error.message for error in reader.errors(run_id) if error.strategy_id}


def _stored_position(path: Path, name: str) -> Position:
    with StoreReader(path) as reader:
        for run in reader.runs():
            if run.name == name:
                return Position(run.outputs_stored, run.samples_stored)
    return Position(0, 0)
