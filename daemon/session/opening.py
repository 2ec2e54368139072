"""Before a session runs: a new run, or the one that its tape holds, taken up where the last process ended."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.replay_files import write_code
from adapters.store import Position
from adapters.tape import CONFIG, STRATEGY, Session, StrategyFile, TapeReader
from adapters.tape.documents import SESSION
from config.document import from_document, to_document
from config.model import RunConfig
from daemon.driving import Loader, TapeDriver, aborted_calls
from daemon.runs import refuse_signals_only, strategy_runs
from daemon.session.snapshots import SessionSnapshot, read_session_snapshots
from daemon.tape_markets import tape_instruments, with_venue_fees
from engine.book_state import TapeMarket
from engine.errors import ConfigError, DataError
from engine.isolation import Aborted, Policy, Watch
from engine.replay import StrategyRun
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.registry import Registry

# What a running account cannot change: everything but this may be another after a restart.
_FREE = ("version", "source", "paper", "store", "control", "metrics", "logs", "reload", "feed", "indicators", "journal",
         "diagnostics")  # fmt: skip


class Earlier(msgspec.Struct, frozen=True):
    """What a session's tape says of its beginning: the first session, config and code, and how often it was started."""

    reader: TapeReader
    session: Session
    config: RunConfig
    code: tuple[StrategyFile, ...]
    starts: int
    last_seq: int
    last_ns: int


class Run(msgspec.Struct, frozen=True):
    """A run that stands where its tape ends. `replayed`: records that were gone through for it."""

    driver: TapeDriver
    config: RunConfig
    loader: Loader
    replayed: int = 0


def read_earlier(folder: Path) -> Earlier | None:
    """What a session's tape begins with; None where it holds no whole beginning yet. Raises DataError."""
    reader = TapeReader(folder)
    session: Session | None = None
    config: dict[str, Any] | None = None
    code: list[StrategyFile] = []
    starts = 0
    for document in reader.documents():
        if document.type == SESSION:
            starts += 1
            session = session or msgspec.convert(document.value, Session)
        elif document.type == CONFIG and config is None:
            config = document.value
        elif document.type == STRATEGY and starts == 1:
            code.append(msgspec.convert(document.value, StrategyFile))
    facts = reader.facts()
    if session is None or config is None or not code or facts.first_ns == 0:
        return None
    found = from_document(config, source=f"{folder} (CONFIG)")
    return Earlier(reader, session, found, tuple(code), starts, facts.last_seq, facts.last_ns)


def refuse_other_run(folder: Path, earlier: RunConfig, config: RunConfig) -> None:
    """Raise ConfigError where a session would go on with an account, markets or strategies of another kind."""
    before, now = _fixed(earlier), _fixed(config)
    problems = tuple(
        f"{name}: {_short(before.get(name))} when the session began, {_short(now.get(name))} now"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    )
    if problems:
        raise ConfigError(
            f"{config.source}: the session in {folder} runs with other settings, which its account cannot change",
            problems=problems,
            remedy="Set them back, or give the new run a --name of its own, or begin anew with"
            " --set paper.on_restart=reset (what was recorded is kept aside).",
        )


def _fixed(config: RunConfig) -> dict[str, Any]:
    document = {name: value for name, value in to_document(config).items() if name not in _FREE}
    document["feed.exchange"] = config.daemon.feed.exchange
    document["paper.on_fault"] = config.daemon.paper.on_fault
    document["store.sample_every"] = config.daemon.store.sample_every
    for entry in document.get("strategies", []):
        entry.pop("params", None)
        for half in ("entry", "exit"):
            if half in entry:
                entry[half] = entry[half]["name"]
    return document


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."


def new_run(home: Path, config: RunConfig, session: Session, policy: Policy, watch: Watch) -> Run:
    """A run before its first record. Raises a TapewrightError where config, code and markets do not fit together."""
    config = with_venue_fees(config, session)
    symbols = tuple(entry.symbol for entry in session.instruments)
    runs = strategy_runs(Registry(home), config, symbols)
    refuse_signals_only(runs, "On paper use one with on_bar, such as ema_cross.")
    return _run(config, session, runs, policy, (), watch)


def taken_up(
    earlier: Earlier, snapshots: Path, stored: Position, policy: Policy, watch: Watch, added: Sequence[Aborted] = ()
) -> Run:  # fmt: skip
    """The run of a session's tape, after the last record of it.

    It goes on from the newest snapshot that is not ahead of the tape or of what the store holds (`stored`), else from
    the tape's beginning. `added`: calls that are known not to end, though the tape does not say so yet.
    """
    config = with_venue_fees(earlier.config, earlier.session)
    symbols = tuple(entry.symbol for entry in earlier.session.instruments)
    with tempfile.TemporaryDirectory(prefix="tapewright-") as code:
        for each in earlier.code:
            write_code(Path(code), each.id, [each])
        runs = strategy_runs(Registry(Path(code)), config, symbols)
    aborted = (*aborted_calls(earlier.reader), *added)
    tape_id = earlier.reader.facts().tape_id
    for snapshot in read_session_snapshots(snapshots):
        if snapshot.tape_id != tape_id or not _is_behind(snapshot, earlier.last_seq, stored):
            continue
        run = _run(config, earlier.session, runs, policy, aborted, watch)
        try:
            run.driver.resume(snapshot.run)
        except DataError:
            continue  # of another version
        return _caught_up(run, earlier, snapshot.seq + 1)
    run = _run(config, earlier.session, runs, policy, aborted, watch)
    run.driver.start()
    return _caught_up(run, earlier, 1)


def _is_behind(snapshot: SessionSnapshot, last_seq: int, stored: Position) -> bool:
    return (
        snapshot.seq <= last_seq and snapshot.outputs <= stored.outputs and snapshot.samples <= stored.samples
    )  # fmt: skip


def _caught_up(run: Run, earlier: Earlier, next_seq: int) -> Run:
    replayed = 0
    for batch in earlier.reader.batches(next_seq):
        run.driver.consume(batch.first_seq, batch.records)
        replayed += len(batch.records)
    return msgspec.structs.replace(run, replayed=replayed)


def _run(
    config: RunConfig, session: Session, runs: Sequence[StrategyRun], policy: Policy, aborted: Sequence[Aborted],
    watch: Watch,
) -> Run:  # fmt: skip
    offset_ns = session.sources[0].clock_offset_ns if session.sources else 0
    markets = tuple(TapeMarket("book" in entry.channels, offset_ns) for entry in session.instruments)
    tape = TapeInput(tape_instruments(session, config), markets, tuple)
    replay = TapeReplay(
        config.settings, tape, runs, config.timeframe, is_growing=True, policy=policy, aborted=aborted, watch=watch
    )  # fmt: skip
    loader = Loader(config, runs)
    return Run(TapeDriver(replay, loader, obeys=True), config, loader)
