"""Proof that a paper session is what its tape makes of it: the chain, and every row that is stored of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from adapters.replay_files import write_code
from adapters.store import RunRow, StoreReader
from adapters.tape.checking import check
from adapters.tape.findings import Finding
from daemon.replaying import TapeRun, tape_driver, tape_run
from daemon.session.folder import SESSIONS
from daemon.session.opening import Earlier, read_earlier
from daemon.session.snapshots import SessionSnapshot, read_session_snapshots
from daemon.stages import Quiet, Stages
from daemon.store_compare import WHOLE, RowDifference, compare_rows, prefix_note
from daemon.tape_markets import Part
from engine.errors import InputMissingError
from engine.replay import RunResult
from strategies.registry import Registry


class HashMark(msgspec.Struct, frozen=True):
    """The chain after a record, as the session had it and as the replay has it."""

    seq: int
    session: str
    replay: str


class SessionVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying a session's tape gave. `session_hash` is empty where the session never ended in order."""

    session: str
    run: str
    tape: str
    sound: bool
    findings: list[Finding]
    equal: bool
    session_hash: str
    replay_hash: str
    marks: tuple[HashMark, ...]
    outputs: int
    samples: int
    records: int
    starts: int
    difference: RowDifference | None = None
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing at all was found."""
        return self.sound and self.equal


def session_folder(home: Path, target: Path) -> Path | None:
    """The folder of a session by its name or path; None where there is none of that name."""
    for folder in (target, home / SESSIONS / target):
        if (folder / "tape").is_dir() and any((folder / "tape").glob("*.tape")):
            return folder
    return None


def verify_session(home: Path, folder: Path, stages: Stages | None = None) -> SessionVerdict:
    """Replay a session's tape with the config and code that it carries; compare chain and stored rows.

    Raises InputMissingError where its tape or its store is gone, DataError where they cannot be read.
    """
    stages = stages or Quiet()
    tape = folder / "tape"
    findings = check(tape)
    stages.stage(f"Files checked: {len(findings)} findings")
    earlier = read_earlier(tape)
    if earlier is None:
        raise _no_session(tape)
    name = f"{folder.resolve().name}-{earlier.session.session}"
    store = home / earlier.config.daemon.store.path
    stored = _stored(store, name)
    if stored.status not in WHOLE:  # it may run, and a tape that is opened after the store was read is ahead of it
        earlier = read_earlier(tape)
        if earlier is None:
            raise _no_session(tape)
    snapshots = read_session_snapshots(folder / "snapshots")
    with tempfile.TemporaryDirectory(prefix="tapewright-") as code:
        for each in earlier.code:
            write_code(Path(code), each.id, [each])
        run = tape_run(earlier.reader, earlier.config, Registry(Path(code)))
        stages.stage(f"Replaying {tape} ({run.facts.records_count:,} records)")
        result, marks = _replayed(run, snapshots, stages)
    stages.stage(f"Comparing with {store}, run {name}")
    difference = compare_rows(store, stored, result.outputs, result.samples)
    replay_hash = f"{result.hash:016x}"
    session_hash = (stored.hash or "") if stored.status == "stopped" else ""
    has_same_chain = session_hash in ("", replay_hash) and all(mark.session == mark.replay for mark in marks)
    return SessionVerdict(
        session=folder.resolve().name, run=name, tape=str(tape), sound=not findings, findings=findings,
        equal=difference is None and has_same_chain, session_hash=session_hash, replay_hash=replay_hash, marks=marks,
        outputs=len(result.outputs), samples=len(result.samples), records=run.facts.records_count,
        starts=earlier.starts, difference=difference, notes=_notes(earlier, stored, result),
    )  # fmt: skip


def _replayed(
    run: TapeRun, snapshots: Sequence[SessionSnapshot], stages: Stages
) -> tuple[RunResult, tuple[HashMark, ...]]:  # fmt: skip
    """The whole tape again, with a look at the chain wherever the session left a snapshot."""
    wanted = {each.seq: each.hash for each in snapshots if each.tape_id == run.facts.tape_id}
    driver = tape_driver(run)
    driver.start()
    marks = []
    total = max(1, run.facts.records_count)
    for part in run.reading.parts():
        for piece in _cut_after(part, sorted(wanted)):
            driver.consume(piece.first_seq, piece.records)
            if piece.next_seq - 1 in wanted:
                seq = piece.next_seq - 1
                marks.append(HashMark(seq, wanted[seq], f"{driver.replay.engine.hash:016x}"))
        stages.progress(min(part.next_seq - 1, total - 1), total)
    stages.progress(total, total)
    return driver.finish(), tuple(marks)


def _cut_after(part: Part, seqs: Sequence[int]) -> list[Part]:
    edges = [seq + 1 for seq in seqs if part.first_seq <= seq < part.next_seq - 1]
    starts, stops = [part.first_seq, *edges], [*edges, part.next_seq]
    return [
        Part(start, part.records[start - part.first_seq : stop - part.first_seq], stop)
        for start, stop in zip(starts, stops, strict=True)
    ]


def _no_session(tape: Path) -> InputMissingError:
    return InputMissingError(f"{tape} holds no whole beginning of a session", remedy="Run the session first.")


def _stored(store: Path, name: str) -> RunRow:
    with StoreReader(store) as reader:
        return reader.run(name)


def _notes(earlier: Earlier, stored: RunRow, result: RunResult) -> tuple[str, ...]:
    notes = []
    if stored.status == "running":
        notes.append("The session runs, or did not end in order: compared as far as tape and store reach")
    if earlier.starts > 1:
        notes.append(f"The session was started {earlier.starts} times on this tape")
    prefix = prefix_note(stored, result.outputs, result.samples)
    return (*notes, prefix) if prefix else tuple(notes)
