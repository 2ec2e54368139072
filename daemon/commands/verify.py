"""`tapewright verify`: prove that a session or run is what its tape makes of it, or that a tape is sound and steady."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import EXIT_FINDINGS, InputMissingError

if TYPE_CHECKING:
    from daemon.session_verifying import SessionVerdict
    from daemon.verifying import Difference, RunVerdict, TapeVerdict


def verify(
    context: typer.Context,
    target: Annotated[
        Path, typer.Argument(metavar="SESSION|TAPE|RUN", help="A session, a tape, a results folder, or a run id.")
    ],
    *,
    tape: Annotated[Path | None, typer.Option(help="Where the run's tape lies now [where it lay].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Replay and compare everything. Ends with 1 where something differs.

    A paper session (its name or folder): its chain, and every row that the store has of it. A run: every output and
    sample. A tape: two replays in batches cut differently, and books against quotes.
    """
    import msgspec

    from daemon.memory import keep_freed_memory
    from daemon.stages import Quiet, Terminal

    keep_freed_memory()
    stages = Quiet() if as_json else Terminal(unit="records")
    from daemon.session_verifying import session_folder, verify_session

    verdict: SessionVerdict | RunVerdict | TapeVerdict
    session = session_folder(context.obj.home, target)
    folder = None if session is not None else run_folder(context.obj.home, target)
    if session is not None:
        verdict = session_verdict = verify_session(context.obj.home, session, stages)
        holds, lines = session_verdict.holds, session_lines(session_verdict)
    elif folder is not None:
        from daemon.verifying import verify_run

        verdict = run_verdict = verify_run(folder, tape, stages)
        holds, lines = run_verdict.equal, _run_lines(run_verdict)
    else:
        from daemon.verifying import verify_tape

        verdict = tape_verdict = verify_tape(target, stages)
        holds, lines = tape_verdict.holds, _tape_lines(tape_verdict)
    if as_json:
        typer.echo(msgspec.json.encode(verdict).decode())
    else:
        typer.echo("\n".join(lines))
    if not holds:
        raise typer.Exit(EXIT_FINDINGS)


def run_folder(home: Path, target: Path) -> Path | None:
    """The results folder that is meant, None where it is a tape; raises InputMissingError where there is neither."""
    if target.is_dir():
        if any(target.glob("*.tape")):
            return None
        return target
    folder = home / "results" / target
    if folder.is_dir():
        return folder
    raise InputMissingError(
        f"{target}: there is no session, tape or run of that name",
        remedy=f"Give the folder of a tape, or the name of a folder in {home / 'sessions'} or {home / 'results'}.",
    )


def session_lines(verdict: SessionVerdict) -> list[str]:
    """What is said of a session."""
    same = sum(mark.session == mark.replay for mark in verdict.marks)
    lines = [
        f"Session {verdict.session}: {'EQUAL' if verdict.holds else 'DIFFERENT'}",
        f"  hash of the session   {verdict.session_hash or '(it has not ended in order)'}",
        f"  hash of the replay    {verdict.replay_hash}",
        f"  hashes on the way     {same} of {len(verdict.marks)} snapshots equal",
        f"  {verdict.outputs:,} outputs and {verdict.samples:,} samples of {verdict.records:,} records",
        f"  compared with the store's rows of {verdict.run}",
        f"  files: {'sound' if verdict.sound else f'{len(verdict.findings)} findings'}",
        *[f"    {finding.line()}" for finding in verdict.findings],
        *[f"  {note}" for note in verdict.notes],
    ]
    for mark in verdict.marks:
        if mark.session != mark.replay:
            lines.append(f"  first difference after record {mark.seq:,}: {mark.session}, replayed {mark.replay}")
            break
    if verdict.difference is not None:
        lines.append(f"  first difference: {verdict.difference.line()}")
    return lines


def _run_lines(verdict: RunVerdict) -> list[str]:
    lines = [
        f"Run {verdict.run_id}: {'EQUAL' if verdict.equal else 'DIFFERENT'}",
        f"  hash as stored   {verdict.stored_hash}",
        f"  hash replayed    {verdict.replayed_hash}",
        f"  {verdict.outputs:,} outputs and {verdict.samples:,} samples of {verdict.records:,} records compared",
    ]
    lines += [f"  {note}" for note in verdict.notes]
    if verdict.difference is not None:
        lines += _difference_lines(verdict.difference, ("stored", "replayed"))
    return lines


def _tape_lines(verdict: TapeVerdict) -> list[str]:
    lines = [f"{verdict.tape}: {'HOLDS' if verdict.holds else 'DOES NOT HOLD'}"]
    lines += [f"  files: {'sound' if verdict.sound else f'{len(verdict.findings)} findings'}"]
    lines += [f"    {finding.line()}" for finding in verdict.findings]
    lines += [
        f"  hash in whole batches         {verdict.hash}",
        f"  hash in batches cut elsewhere {verdict.hash_cut_elsewhere}",
        f"  {verdict.records:,} records, strategies: {', '.join(verdict.strategies) or 'none on the tape'}",
    ]
    if verdict.quotes is not None:
        lines.append(
            f"  quotes held against the book: {verdict.quotes.compared:,}, {verdict.quotes.mismatches:,} differ"
        )
        lines += [f"    {mismatch.line()}" for mismatch in verdict.quotes.first]
    lines += [f"  {note}" for note in verdict.notes]
    if verdict.difference is not None:
        lines += _difference_lines(verdict.difference, ("whole", "cut elsewhere"))
    return lines


def _difference_lines(difference: Difference, names: tuple[str, str]) -> list[str]:
    where = f"{difference.what} {difference.row:,}" if difference.what in ("output", "sample") else difference.what
    seq = "" if difference.seq is None else f", seq {difference.seq:,}"
    time = "" if difference.ts_ns is None else f", {difference.ts_ns} ns"
    return [
        f"  first difference: {where}{seq}{time}: {difference.kind}, {difference.field}",
        f"    {names[0]}: {'nothing' if difference.first is None else difference.first}",
        f"    {names[1]}: {'nothing' if difference.second is None else difference.second}",
    ]
