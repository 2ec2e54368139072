"""Proof that a run is what its tape makes of it: replay it, and compare every output, sample and the chain."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.latency_files import stored_latencies
from adapters.replay_files import (
    LATENCY_FILE,
    SAMPLE_COLUMNS,
    StoredReplay,
    changed_code,
    read_outputs,
    read_replay,
    read_samples,
    write_code,
)
from adapters.tape import CONFIG, STRATEGY, Session, StrategyFile, TapeReader
from adapters.tape.checking import check
from adapters.tape.findings import Finding
from config.document import from_document
from config.model import RunConfig
from daemon.quote_check import QuoteCheck, check_quotes
from daemon.replaying import TapeRun, consume, run_to_end, tape_driver, tape_run
from daemon.stages import Quiet, Stages
from daemon.tape_bars import holds_bars
from daemon.tape_markets import Part
from engine.book_engine import BookEngine
from engine.errors import CapacityError, DataError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.replay import Replay, RunResult
from engine.settings import RunSettings
from strategies.registry import Registry

_VIEWS = {
    layout.ORDER_OUTPUT: ("order", layout.ORDER_VIEW),
    layout.FILL_OUTPUT: ("fill", layout.FILL_VIEW),
    layout.FUNDING_OUTPUT: ("funding", layout.FUNDING_VIEW),
    layout.TRADE_OUTPUT: ("trade", layout.TRADE_VIEW),
    layout.RISK_OUTPUT: ("risk", layout.RISK_VIEW),
    layout.BOOK_OUTPUT: ("book", layout.BOOK_VIEW),
}
_HEAD_FIELDS = 8  # of a view: seq, time, and what the header word packs
# Where batches are cut the second time; no size divides another, and single records come between long stretches.
_PIECES = (1, 977, 3, 4_099, 17, 8_191)
_BATCH_RECORDS = 50_000
_CASH_DECIMALS = range(8, 13)


class Difference(msgspec.Struct, frozen=True):
    """The first thing that is not the same; a value is None where one side has no such row."""

    what: str
    row: int
    seq: int | None
    ts_ns: int | None
    kind: str
    field: str
    first: int | str | None
    second: int | str | None


class RunVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing a stored run with its replay gave."""

    run_id: str
    folder: str
    tape: str
    equal: bool
    stored_hash: str
    replayed_hash: str
    outputs: int
    samples: int
    records: int
    difference: Difference | None = None
    notes: tuple[str, ...] = ()


class TapeVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a tape, and running it in two different ways, gave."""

    tape: str
    sound: bool
    findings: list[Finding]
    equal: bool
    hash: str
    hash_cut_elsewhere: str
    records: int
    strategies: tuple[str, ...] = ()
    difference: Difference | None = None
    quotes: QuoteCheck | None = None
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing at all was found."""
        return self.sound and self.equal and not (self.quotes and self.quotes.mismatches)


def verify_run(folder: Path, tape: Path | None = None, stages: Stages | None = None) -> RunVerdict:
    """Replay a stored run with its own config and code on its tape (or `tape`), and compare.

    Raises InputMissingError where the run or its tape is gone, DataError where what is stored is not what ran.
    """
    stages = stages or Quiet()
    stored = read_replay(folder)
    outputs, samples = read_outputs(folder), read_samples(folder)
    run = stored_run(folder, stored, tape)
    notes = _tape_notes(stored, run)
    for line in notes:
        stages.stage(line)
    stages.stage(f"Replaying {run.reading.reader.folder}")
    result = run_to_end(run, stages)
    found = f"{result.hash:016x}"
    difference = first_difference((outputs, samples, stored.hash), (result.outputs, result.samples, found))
    return RunVerdict(
        run_id=folder.resolve().name, folder=str(folder), tape=str(run.reading.reader.folder),
        equal=difference is None, stored_hash=stored.hash, replayed_hash=found, outputs=len(outputs),
        samples=len(samples), records=stored.records, difference=difference, notes=tuple(notes),
    )  # fmt: skip


def stored_run(folder: Path, stored: StoredReplay, tape: Path | None = None) -> TapeRun:
    """A stored run, ready to start again; raises as `verify_run` does."""
    changed = changed_code(folder, stored)
    if changed:
        raise DataError(
            f"{folder}: {', '.join(changed)}: not the code that ran", remedy="Put it back, or replay the tape again."
        )
    config = from_document(stored.config, source=str(folder))
    latencies = stored_latencies(folder / LATENCY_FILE) if (folder / LATENCY_FILE).is_file() else ()
    reader = TapeReader(tape or Path(stored.tape))
    return tape_run(reader, config, Registry(folder), latencies=latencies, last_seq=stored.last_seq)


def _tape_notes(stored: StoredReplay, run: TapeRun) -> list[str]:
    facts = run.facts
    if facts.tape_id != stored.tape_id:
        return [f"This is not the tape that ran: its id is {facts.tape_id}, that of the run's was {stored.tape_id}"]
    if facts.last_seq > stored.last_seq:
        return [f"The tape has grown since; it is read up to record {stored.last_seq:,}, as then"]
    if stored.tape_digest and facts.digest != stored.tape_digest:
        return [f"The tape's digest is {facts.digest or 'none'}; when it ran it was {stored.tape_digest}"]
    return []


def verify_tape(folder: Path, stages: Stages | None = None) -> TapeVerdict:
    """Check a tape's files, run it twice with its batches cut differently, hold its books against its quotes."""
    stages = stages or Quiet()
    findings = check(folder)
    reader = TapeReader(folder)
    stages.stage(f"Files checked: {len(findings)} findings")
    with tempfile.TemporaryDirectory(prefix="tapewright-") as home:
        config, code, notes = _carried(reader)
        for each in code:
            write_code(Path(home), each.id, [each])
        whole, cut = (
            tape_run(reader, config, Registry(Path(home)), is_market_only=not code, batch_records=records)
            for records in (1 << 16, _BATCH_RECORDS)
        )
        stages.stage("Replaying in whole batches" + ("" if code else " (the market alone: no run on the tape)"))
        first, first_state = _whole(whole, stages)
        stages.stage("Replaying in batches cut elsewhere")
        second, second_state = _cut_elsewhere(cut, stages)
    hashes = f"{first.hash:016x}", f"{second.hash:016x}"
    difference = first_difference(
        (first.outputs, first.samples, hashes[0]), (second.outputs, second.samples, hashes[1])
    ) or _state_difference(first_state, second_state)
    quotes = None
    if whole.tape is not None:
        quotes = check_quotes(whole)
        stages.stage(f"Books held against {quotes.compared:,} quotes: {quotes.mismatches:,} mismatches")
    return TapeVerdict(
        tape=str(folder), sound=not findings, findings=findings, equal=difference is None, hash=hashes[0],
        hash_cut_elsewhere=hashes[1], records=whole.facts.records_count, strategies=tuple(each.id for each in code),
        difference=difference, quotes=quotes, notes=tuple(notes),
    )  # fmt: skip


def _carried(reader: TapeReader) -> tuple[RunConfig, list[StrategyFile], list[str]]:
    """The config and code that a tape carries, of its last session; else a config for its market alone.

    A paper session that was started again goes on with the account of its first start, so there it is the first one;
    what changed later stands between the records.
    """
    config: dict[str, Any] | None = None
    code: dict[tuple[str, str], StrategyFile] = {}
    configs = 0
    for document in reader.documents():
        if document.type == CONFIG:
            if config is not None and config.get("mode") == "paper":
                break
            config, code, configs = document.value, {}, configs + 1
        elif document.type == STRATEGY:
            each = msgspec.convert(document.value, StrategyFile)
            code[each.id, each.path] = each
    notes = [f"The tape carries {configs} configs; the last one is run"] if configs > 1 else []
    if config is None or not code:
        return market_config(reader.session()), [], notes
    return from_document(config, source=f"{reader.folder} (CONFIG)"), list(code.values()), notes


def market_config(session: Session) -> RunConfig:
    """A config for a tape that carries none: its books and prints, or else its bars; cash fine enough for them."""
    entries = [entry for entry in session.instruments if not holds_bars(entry)] or list(session.instruments)
    decimals = next((decimals for decimals in _CASH_DECIMALS if _fits(session, decimals)), _CASH_DECIMALS[-1])
    return RunConfig(
        symbols=tuple(entry.symbol for entry in entries),
        timeframe=next((entry.metadata["timeframe"] for entry in entries if "timeframe" in entry.metadata), "1m"),
        settings=RunSettings(cash_decimals=decimals),
    )


def _fits(session: Session, cash_decimals: int) -> bool:
    try:
        for entry in session.instruments:
            instrument = Instrument(
                entry.symbol, entry.tick_size, entry.lot_size, kind=entry.kind, multiplier=entry.multiplier
            )
            instrument.value_factor(cash_decimals)
    except CapacityError:
        return False
    return True


State = dict[str, dict[str, Any]]


def _whole(run: TapeRun, stages: Stages) -> tuple[RunResult, State]:
    if run.tape is None:
        return run_to_end(run, stages), {}
    driver = tape_driver(run)
    driver.start()
    consume(run, driver, run.reading.parts(), stages)
    state = _state_of(run, driver.replay.engine)
    return driver.finish(), state


def _cut_elsewhere(run: TapeRun, stages: Stages) -> tuple[RunResult, State]:
    if run.tape is None:
        return _bars_in_pieces(run), {}
    driver = tape_driver(run)
    driver.start()
    consume(run, driver, in_pieces(run.reading.parts()), stages)
    state = _state_of(run, driver.replay.engine)
    return driver.finish(), state


def _bars_in_pieces(run: TapeRun) -> RunResult:
    replay = Replay(run.config.settings, run.markets, run.runs)
    replay.start()
    sizes = cycle(_PIECES)
    if run.runs:
        while replay.run_bars(next(sizes)):
            pass
    else:
        account, stop = replay.account, len(replay.stream.records)
        while account.stop < stop:
            account.stop = min(stop, account.stop + next(sizes))
            account.catch_up()
    return replay.finish()


def in_pieces(parts: Iterable[Part]) -> Iterator[Part]:
    """The same records in pieces of other sizes, some of a single record."""
    sizes = cycle(_PIECES)
    for part in parts:
        start = 0
        while start < len(part.records):
            stop = min(len(part.records), start + next(sizes))
            next_seq = part.next_seq if stop == len(part.records) else part.first_seq + stop
            yield Part(part.first_seq + start, part.records[start:stop], next_seq)
            start = stop


def _state_of(run: TapeRun, engine: BookEngine) -> State:
    """Books and prices at the end, which outputs tell nothing of where nobody trades."""
    found: State = {}
    for market, symbol in enumerate(run.symbols):
        book, instrument = engine.state.books[market], engine.state.instruments[market]
        found[symbol] = {name: int(book[name]) for name in ("state", "update_id", "best_bid", "best_ask", "book_ns")}
        found[symbol] |= {name: int(instrument[name]) for name in ("last", "mark", "bars")}
        for name, side in (("bids", layout.BID), ("asks", layout.ASK)):
            found[symbol][name] = engine.depth(market, side, 1 << 30).tolist()
    return found


def _state_difference(first: State, second: State) -> Difference | None:
    for symbol, own in first.items():
        for name, value in own.items():
            other = second[symbol][name]
            if value != other:
                return Difference(f"{symbol} at the end", 0, None, None, "market", name, str(value), str(other))
    return None


Said = tuple[NDArray[np.int64], NDArray[np.int64], str]


def first_difference(first: Said, second: Said) -> Difference | None:
    """The first output that two runs do not share, else the first sample, else the hash; None where all is equal."""
    found = _first_row(first[0], second[0])
    if found is not None:
        row, word = found
        return _of_output(row, word, _at(first[0], row), _at(second[0], row))
    found = _first_row(first[1], second[1])
    if found is not None:
        row, word = found
        ours, theirs = _at(first[1], row), _at(second[1], row)
        ts_ns = next((int(each[0]) for each in (ours, theirs) if each is not None), None)
        values = [None if each is None else int(each[word]) for each in (ours, theirs)]
        return Difference("sample", row, None, ts_ns, "sample", SAMPLE_COLUMNS[word], *values)
    if first[2] != second[2]:
        return Difference("hash", 0, None, None, "hash", "hash", first[2], second[2])
    return None


def _first_row(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[int, int] | None:
    count = min(len(first), len(second))
    differs = first[:count] != second[:count]
    rows = np.flatnonzero(differs.any(axis=1))
    if len(rows):
        row = int(rows[0])
        return row, int(np.argmax(differs[row]))
    return (count, 0) if len(first) != len(second) else None


def _at(rows: NDArray[np.int64], row: int) -> NDArray[np.int64] | None:
    return rows[row] if row < len(rows) else None


def _of_output(
    row: int, word: int, first: NDArray[np.int64] | None, second: NDArray[np.int64] | None
) -> Difference:  # fmt: skip
    known = first if first is not None else second
    assert known is not None
    seq, ts_ns = int(known[0]), int(known[1])
    name, view = _VIEWS.get(int(known[2]) & 0xFF, (f"kind {int(known[2]) & 0xFF}", layout.ORDER_VIEW))
    if first is None or second is None:
        whole = tuple(None if each is None else f"one {name}" for each in (first, second))
        return Difference("output", row, seq, ts_ns, name, "row", *whole)
    fields = view.names
    assert fields is not None
    if word != 2:
        field = fields[word] if word < 2 else fields[_HEAD_FIELDS + word - 3]
        return Difference("output", row, seq, ts_ns, name, field, int(first[word]), int(second[word]))
    heads = [np.ascontiguousarray(each).view(view)[0] for each in (first, second)]
    field = next(each for each in fields[2:_HEAD_FIELDS] if heads[0][each] != heads[1][each])
    return Difference("output", row, seq, ts_ns, name, field, int(heads[0][field]), int(heads[1][field]))
