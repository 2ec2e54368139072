"""A tape and a config to a run, and the run to its results: what `replay`, `verify` and `inspect` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from adapters.captures.importing import software
from adapters.latency_files import read_latencies, write_latencies
from adapters.replay_files import (
    LATENCY_FILE,
    SnapshotPlace,
    StoredCode,
    StoredReplay,
    write_code,
    write_replay,
    write_snapshot,
)
from adapters.result_files import results_folder, write_results
from adapters.run_log import write_run_log
from adapters.summary import RunFacts
from adapters.tape import Session, TapeFacts, TapeReader
from adapters.tape.reader import BATCH_RECORDS
from config.document import to_document
from config.model import RunConfig
from daemon.driving import Loader, TapeDriver, aborted_calls
from daemon.fallbacks import fallback_lines
from daemon.runs import figures_of, refuse_signals_only, run_document, strategy_runs
from daemon.stages import Quiet, Stages
from daemon.tape_bars import holds_bars, made_markets, stored_markets
from daemon.tape_markets import Part, Reading, chosen_markets, tape_instruments, tape_markets, with_venue_fees
from engine import book_engine
from engine.bars import NS_PER_SECOND, timeframe_ns
from engine.book_state import Latency
from engine.compiled import CompiledCallback
from engine.errors import ConfigError, InputMissingError
from engine.figures.metrics import Metrics
from engine.figures.trades import Trade
from engine.isolation import Policy
from engine.kernels.compile import is_compiled
from engine.market import Market
from engine.replay import Replay, RunResult, StrategyRun
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.registry import Registry

SNAPSHOTS_COUNT = 4
_BARS_ONLY = "Run it on bars made of the prints: --set book.fills=bars"


class TapeRun(msgspec.Struct, frozen=True):
    """A run on a tape that is ready to start: on its records (`tape`), or else on bars (`markets`)."""

    config: RunConfig
    reading: Reading
    facts: TapeFacts
    session: Session
    runs: tuple[StrategyRun, ...]
    symbols: tuple[str, ...]
    notes: tuple[str, ...]
    latencies: tuple[Latency, ...] = ()
    tape: TapeInput | None = None
    markets: tuple[Market, ...] = ()

    @property
    def start_ns(self) -> int:
        """When the run's starting balance stood."""
        if self.tape is not None:
            return max(self.facts.first_ns, self.reading.start_ns or 0)
        return min(int(market.bars.ts_ns[0]) for market in self.markets)


def tape_run(
    reader: TapeReader, config: RunConfig, registry: Registry, *, latencies: Sequence[Latency] = (),
    last_seq: int | None = None,
    is_market_only: bool = False, batch_records: int = BATCH_RECORDS,
) -> TapeRun:  # fmt: skip
    """Make a run ready: markets from the tape's SESSION, strategies from the config (none, if `is_market_only`).

    `last_seq`: read no further. Raises a TapewrightError with its remedy where the two do not fit together.
    """
    facts, session = reader.facts(), reader.session()
    config = with_venue_fees(config, session)
    if facts.first_ns == 0:
        raise InputMissingError(f"{reader.folder} holds no record but documents", remedy="Import a recording into it.")
    reading = Reading(
        reader, facts.first_ns, facts.last_seq if last_seq is None else last_seq, config.start_ns, config.end_ns,
        batch_records,
    )  # fmt: skip
    chosen = chosen_markets(str(reader.folder), session, config)
    is_stored = [holds_bars(session.instruments[number]) for number in chosen]
    if any(is_stored) and not all(is_stored):
        bars = [session.instruments[number].symbol for number, each in zip(chosen, is_stored, strict=True) if each]
        raise ConfigError(
            f"{reader.folder} holds bars of {', '.join(bars)}, and books or prints of the others",
            remedy="Choose symbols of one kind with --set symbols=[...].",
        )
    is_on_bars = any(is_stored) or config.settings.book.fills == "bars"
    known = tuple(instrument.symbol for instrument in session.instruments)
    symbols = tuple(known[number] for number in chosen) if is_on_bars else known
    runs: tuple[StrategyRun, ...] = ()
    if not is_market_only:
        named = msgspec.structs.replace(config, symbols=tuple(known[number] for number in chosen))
        runs = tuple(strategy_runs(registry, named, symbols))
    made = TapeRun(config, reading, facts, session, runs, symbols, (), tuple(latencies))
    if is_on_bars:
        return _on_bars(made, chosen, is_stored=any(is_stored))
    return _on_records(made)


def _on_records(made: TapeRun) -> TapeRun:
    refuse_signals_only(made.runs, _BARS_ONLY)
    tape, notes = _tape_input(made)
    return msgspec.structs.replace(made, tape=tape, notes=tuple(notes))


def _tape_input(made: TapeRun) -> tuple[TapeInput, list[str]]:
    instruments = tape_instruments(made.session, made.config)
    markets, notes = tape_markets(made.reading, made.session)
    lines = [
        f"{entry.symbol}: {instrument.kind}, tick {instrument.tick_size}, lot {instrument.lot_size};"
        f" {', '.join(entry.channels) or 'nothing'}; clock offset {market.clock_offset_ns / NS_PER_SECOND:+.6f} s"
        for entry, instrument, market in zip(made.session.instruments, instruments, markets, strict=True)
    ]
    records = min(made.facts.records_count, made.reading.last_seq)
    return TapeInput(instruments, markets, made.reading.batches, made.latencies, records), [*lines, *notes]


def _on_bars(made: TapeRun, chosen: list[int], *, is_stored: bool) -> TapeRun:
    for run in made.runs:
        if isinstance(run.strategy.on_bar, CompiledCallback) or not (run.strategy.on_bar or run.strategy.signals):
            raise ConfigError(
                f"{run.name} has no on_bar in Python and no signals, so that bars alone do not tell it anything",
                remedy="The tape holds bars: run another strategy." if is_stored else "Run it with book.fills: book.",
            )
    frames = {run.timeframe for run in made.runs if run.timeframe}
    default = any(not run.timeframe for run in made.runs) or not made.runs
    wanted = sorted(frames | ({made.config.timeframe} if default else set()), key=timeframe_ns)
    if len(wanted) > 1:
        raise ConfigError(
            f"{made.config.source}: strategies want bars of {', '.join(wanted)}; a run on bars has one length",
            remedy="Give all strategies one timeframe, or run them with book.fills: book.",
        )
    if is_stored:
        markets, notes = stored_markets(made.reading, made.session, chosen, wanted[0], made.config)
    else:
        tape, first = _tape_input(made)
        markets, notes = made_markets(tape, made.reading, chosen, wanted[0], made.config)
        notes = [*first, *notes]
    if made.config.funding.enabled and made.config.funding.file:
        notes.append("funding.file is not read: a tape carries its own funding")
    return msgspec.structs.replace(made, markets=tuple(markets), notes=tuple(notes))


Snapshots = Callable[[bytes, int, int], None]


def run_to_end(run: TapeRun, stages: Stages | None = None, snapshots: Snapshots | None = None) -> RunResult:
    """Run from the start to the end; `snapshots` is handed some on the way: each, the next record's seq, the time."""
    stages = stages or Quiet()
    if run.tape is None:
        on_bars = Replay(run.config.settings, run.markets, run.runs)
        on_bars.prepare()
        return on_bars.run(stages.progress)
    on_tape = tape_driver(run)
    on_tape.start()
    consume(run, on_tape, run.reading.parts(), stages, snapshots)
    return on_tape.finish()


def consume(
    run: TapeRun, on_tape: TapeDriver, parts: Iterable[Part], stages: Stages, snapshots: Snapshots | None = None
) -> None:  # fmt: skip
    """Let a run go on over these parts of its tape, from the first one to the last."""
    assert run.tape is not None
    total, done = run.tape.records, 0
    due = [total * number // (SNAPSHOTS_COUNT + 1) for number in range(1, SNAPSHOTS_COUNT + 1)] if snapshots else []
    for part in parts:
        for piece in _pieces(part, [count - done for count in due]):
            on_tape.consume(piece.first_seq, piece.records)
            done += len(piece.records)
            stages.progress(done, max(total, done + 1))
            if snapshots is not None and done in due:
                snapshots(on_tape.snapshot(), piece.next_seq, int(piece.records["ts_receive_ns"][-1]))
    stages.progress(max(total, done), max(total, done))


def _pieces(part: Part, counts: list[int]) -> Iterator[Part]:
    """A part, cut after these numbers of records."""
    stops = sorted({count for count in counts if 0 < count < len(part.records)})
    for start, stop in zip([0, *stops], [*stops, len(part.records)], strict=True):
        next_seq = part.next_seq if stop == len(part.records) else part.first_seq + stop
        yield Part(part.first_seq + start, part.records[start:stop], next_seq)


def tape_driver(run: TapeRun) -> TapeDriver:
    """The run on records, before its first one. A run of mode paper does what the session did that wrote the tape.

    It is told the same commands, its bars grow after the same history, and a strategy that failed is taken out alone.
    """
    assert run.tape is not None
    config, is_paper = run.config, run.config.mode == "paper"
    policy = Policy(is_isolated=is_paper, is_flattened=is_paper and config.daemon.paper.on_fault == "flatten")
    aborted = aborted_calls(run.reading.reader) if is_paper else ()
    replay_ = TapeReplay(
        config.settings, run.tape, run.runs, config.timeframe, is_growing=is_paper, policy=policy, aborted=aborted
    )
    return TapeDriver(replay_, Loader(config, run.runs), obeys=is_paper)


class Timings(msgspec.Struct, frozen=True):
    """Seconds of each stage, monotonic clock."""

    load: float
    loop: float
    write: float
    total: float


class ReplayReport(msgspec.Struct, frozen=True):
    """A finished replay: its figures, its files, how long it took."""

    run_id: str
    folder: Path
    facts: RunFacts
    records: int
    result: RunResult
    trades: list[Trade]
    metrics: Metrics
    timings: Timings


def replay(
    home: Path, folder: Path, config: RunConfig, stages: Stages | None = None, *, store: Path | None = None
) -> ReplayReport:  # fmt: skip
    """Run a config on a tape and write its results under the home folder, and into the store where one is named.

    Raises a TapewrightError with its remedy for every expected trouble; then no results are left behind.
    """
    stages = stages or Quiet()
    begun = time.perf_counter()
    latency_file = config.settings.book.latency_file
    latencies = read_latencies(home / latency_file) if latency_file else ()
    run = tape_run(TapeReader(folder), config, Registry(home), latencies=latencies)
    if store is not None:
        from adapters.store import prepare  # here and in _store: runs without a store need not wait for its imports

        prepare(store)  # trouble with it comes before the work
    for line in run.notes:
        stages.stage(line)
    stages.stage(f"Tape opened ({run.facts.records_count:,} records)")
    if not is_core_compiled(run):
        stages.stage("Compiling the engine: once for this version, some 30 seconds")
    kept: list[tuple[bytes, int, int]] = []
    after_load = time.perf_counter()
    stages.stage("Starting replay loop...")
    result = run_to_end(run, stages, lambda *snapshot: kept.append(snapshot))
    after_loop = time.perf_counter()
    stages.stage("Calculating metrics...")
    curve, trades, figures = figures_of(result, run.start_ns, config, [market.bars for market in run.markets])
    results = results_folder(home, "-".join(_traded(run)), "-".join(each.name for each in run.runs), datetime.now(UTC))
    document = run_document(config, run.runs, result) | {"tape": str(folder), "tape_digest": run.facts.digest}
    write_results(results, trades=trades, equity=curve, metrics=figures, run=document)
    fallen = fallback_lines(config.settings, result, is_book=run.tape is not None)
    for line in fallen:
        stages.stage(line)
    write_run_log(results, result, [*run.notes, *fallen], with_book=run.tape is not None)
    _write_run(results, run, result, kept)
    if store is not None:
        stages.stage(f"Storing the run: {store}")
        _store(store, results.name, run, result)
    end = time.perf_counter()
    stages.stage(f"Replay completed: {results}")
    timings = Timings(after_load - begun, after_loop - after_load, end - after_loop, end - begun)
    return ReplayReport(
        results.name, results, facts_of(run, result), _records(run), result, trades, figures, timings
    )  # fmt: skip


def is_core_compiled(run: TapeRun) -> bool:
    """Whether the machine code that a run needs lies in the cache."""
    if run.tape is None:
        return is_compiled()
    return book_engine.is_compiled()


def _traded(run: TapeRun) -> list[str]:
    """The symbols that a strategy trades, in the order of the tape."""
    markets = {market for each in run.runs for market in each.markets}
    return [symbol for number, symbol in enumerate(run.symbols) if number in markets]


def _records(run: TapeRun) -> int:
    return min(run.facts.records_count, run.reading.last_seq)


def facts_of(run: TapeRun, result: RunResult) -> RunFacts:
    """What the summary of a run says besides its figures."""
    book, is_book = run.config.settings.book, run.tape is not None
    return RunFacts(
        symbol="-".join(_traded(run)),
        strategy="-".join(each.name for each in run.runs),
        timeframe=f"{book.sample_ms} ms" if is_book else run.markets[0].bars.timeframe,
        fill_model=f"book, queue {book.queue_model}" if is_book else run.config.settings.execution.fill_model,
        ambiguous_bars=None if is_book else result.figures["ambiguous_bars"],
        run_hash=f"{result.hash:016x}",
        rows="Samples" if is_book else "Bars",
    )


def _write_run(folder: Path, run: TapeRun, result: RunResult, snapshots: list[tuple[bytes, int, int]]) -> None:
    """Write what `verify` and `inspect` need."""
    places: list[SnapshotPlace] = [write_snapshot(folder, *snapshot) for snapshot in snapshots]
    code: list[StoredCode] = [row for each in run.runs for row in write_code(folder, each.name, each.strategy.files)]
    if run.latencies:
        write_latencies(folder / LATENCY_FILE, run.latencies)
    document: dict[str, Any] = to_document(run.config)
    stored = StoredReplay(
        software=software(), hash=f"{result.hash:016x}", tape=str(run.reading.reader.folder.resolve()),
        tape_id=run.facts.tape_id, tape_digest=run.facts.digest, last_seq=run.reading.last_seq, records=_records(run),
        config=document, strategies=tuple(code), snapshots=tuple(places),
    )  # fmt: skip
    write_replay(folder, stored, result.outputs, result.samples)


def _store(path: Path, name: str, run: TapeRun, result: RunResult) -> None:
    from adapters.store import store_whole
    from daemon.storing import end_of, result_of, run_start

    start = run_start(name, "replay", run.config, run.runs, result.scales, run.start_ns)
    store_whole(path, result_of(start, result, end_of(result, run.start_ns)))
