"""`tapewright tape`: what lies on a tape, whether it is sound, and what can be made of it.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands.tape_import import import_
from engine.errors import EXIT_FINDINGS

if TYPE_CHECKING:
    from adapters.tape import TapeFacts, TapeReader
    from adapters.tape.census import Census

tape_app = typer.Typer(help="Look at tapes, check, repair, cut and export them.", no_args_is_help=True)
tape_app.command("import")(import_)

Tape = Annotated[Path, typer.Argument(metavar="TAPE", help="Folder of a tape.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_SHOW_FROM_RECORDS = 5_000_000


@tape_app.command()
def info(tape: Tape, as_json: Json = False) -> None:
    """Tell span, records, sessions, sources, size; whether it is sealed. Reads the tape whole."""
    from adapters.tape import TapeReader
    from adapters.tape.census import take_census

    reader = TapeReader(tape)
    facts = reader.facts()
    with _progress("Reading", facts, as_json=as_json) as on_progress:
        census = take_census(reader, on_progress)
    if as_json:
        sessions = [{"seq": seq, "session": session} for seq, session in reader.sessions()]
        content = {"tape": str(tape), "facts": facts, "census": census, "sessions": sessions}
        _print_json(content | {"bytes_per_record": facts.bytes_count / max(1, facts.records_count)})
        return
    _print_lines(_info_lines(tape, reader, facts, census))


@tape_app.command()
def check(tape: Tape, as_json: Json = False) -> None:
    """Read every byte of a tape and tell what is wrong with it. Ends with 1 where something was found."""
    from adapters.tape import TapeReader
    from adapters.tape.checking import check as check_tape

    facts = TapeReader(tape).facts()
    with _progress("Checking", facts, as_json=as_json) as on_progress:
        findings = check_tape(tape, on_progress)
    if as_json:
        _print_json({"tape": str(tape), "sound": not findings, "findings": findings, "facts": facts})
    elif findings:
        _print_lines([f"{tape}: NOT SOUND", *(f"  {finding.line()}" for finding in findings)])
        _print_lines([f"  tapewright tape repair {tape} --out NEW writes a tape of what can be read."])
    else:
        seal = f"sealed, digest {facts.digest}" if facts.is_sealed else "not sealed yet"
        _print_lines([f"{tape}: {facts.records_count:,} records, sound, {seal}"])
    if findings:
        raise typer.Exit(EXIT_FINDINGS)


@tape_app.command()
def repair(
    tape: Tape, out: Annotated[Path, typer.Option(help="Folder of the new tape.")], as_json: Json = False
) -> None:
    """Write a new tape of what can be read, with GAPs for what cannot; TAPE is not touched."""
    from adapters.tape import TapeReader
    from adapters.tape.repair import repair as repair_tape

    with _progress("Repairing", TapeReader(tape).facts(), as_json=as_json) as on_progress:
        done = repair_tape(tape, out, on_progress)
    if as_json:
        _print_json(done)
        return
    lost = f"{done.gaps_count:,} GAPs for {done.records_lost:,} lost ones" if done.gaps_count else "nothing was lost"
    _print_lines([f"Wrote {done.records_count:,} records, {lost}: {out}"])


@tape_app.command()
def cut(
    tape: Tape,
    out: Annotated[Path, typer.Option(help="Folder of the new tape.")],
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="Receive time: ISO (UTC) or ns.")] = "",
    to: Annotated[str, typer.Option(metavar="TIME", help="Up to before this time.")] = "",
    symbol: Annotated[list[str] | None, typer.Option(help="Keep this market; may be repeated [all].")] = None,
    from_seq: Annotated[int, typer.Option(help="From this record on.", min=1)] = 1,
    to_seq: Annotated[int | None, typer.Option(help="Up to and with this record.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Write a part of a tape as a tape of its own; it begins with a GAP, as what came before is not on it."""
    from adapters.tape import TapeReader
    from adapters.tape.cut import Range
    from adapters.tape.cut import cut as cut_tape
    from adapters.tape.times import parse_time, time_text

    wanted = Range(
        from_ns=parse_time(from_) if from_ else None,
        to_ns=parse_time(to) if to else None,
        start_seq=from_seq,
        stop_seq=None if to_seq is None else to_seq + 1,
        symbols=tuple(symbol or ()),
    )
    with _progress("Cutting", TapeReader(tape).facts(), as_json=as_json) as on_progress:
        done = cut_tape(tape, out, wanted, on_progress)
    if as_json:
        _print_json(done)
        return
    _print_lines(
        [
            f"Wrote {done.records_count:,} records: {out}",
            f"  records {done.start_seq:,} to {done.stop_seq - 1:,} of {tape}",
            f"  {time_text(done.first_ns)} to {time_text(done.last_ns)}",
        ]
    )


@tape_app.command()
def export(
    tape: Tape,
    out: Annotated[Path, typer.Option(help="A new folder.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="levels, prints, quotes, marks, ...; may be repeated [all].")
    ] = None,
    bars: Annotated[
        list[str] | None, typer.Option(help="Bars of this length built from the prints, such as 1m; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a tape's records as Parquet, a table for each kind, in real units and in integers; or its bars."""
    if bars:
        from daemon.commands.tape_bars import export_bars

        export_bars(tape, bars, out, as_json=as_json)
        return
    from adapters.tape import TapeReader
    from adapters.tape.export import export as export_tape

    with _progress("Exporting", TapeReader(tape).facts(), as_json=as_json) as on_progress:
        done = export_tape(tape, out, tuple(kind or ()), on_progress)
    if as_json:
        _print_json(done)
        return
    _print_lines([f"Wrote {len(done.files):,} files: {out}"])
    _print_lines([f"  {name}-*.parquet: {count:,} rows" for name, count in done.rows.items()])
    if done.left_out:
        _print_lines([f"  {done.left_out:,} records of other kinds left out"])


def _info_lines(tape: Path, reader: TapeReader, facts: TapeFacts, census: Census) -> list[str]:
    from adapters.tape.times import time_text

    lines = [f"{tape}: {facts.records_count:,} records, {'sealed' if facts.is_sealed else 'not sealed'}"]
    if facts.records_count:
        seconds = (facts.last_ns - facts.first_ns) / 1e9
        lines.append(f"  {time_text(facts.first_ns)} to {time_text(facts.last_ns)} ({seconds:,.0f} s)")
        per_record = facts.bytes_count / facts.records_count
        lines.append(f"  {facts.bytes_count:,} bytes in {len(facts.segments)} segments, {per_record:.2f} a record")
    if facts.digest:
        lines.append(f"  digest {facts.digest}")
    lines.append("Records:")
    width = max((len(count.kind) for count in census.counts), default=0)
    lines += [
        f"  {count.kind:<{width}}  {count.records_count:>14,}  {count.symbol}".rstrip() for count in census.counts
    ]
    if census.gaps:
        lines.append("Gaps: " + ", ".join(f"{name} {count:,}" for name, count in census.gaps.items()))
    if census.lost_count:
        lines.append(f"  {census.lost_count:,} records are lost. Run: tapewright tape check {tape}")
    for seq, session in reader.sessions():
        lines.append(f"Session {session.session}, from record {seq:,}, by {session.software}")
        lines += [
            f"  {number}: {each.symbol} {each.venue} {each.kind}, tick {each.tick_size}, lot {each.lot_size}"
            for number, each in enumerate(session.instruments)
        ]
        lines += [
            f"  source {number}: {source.name} ({source.kind}), clock offset"
            f" {source.clock_offset_ns / 1e9:+.3f} s, {source.clock_offset_is}"
            for number, source in enumerate(session.sources)
        ]
        lines += [f"  note: {note}" for note in session.notes]
    return lines


@contextlib.contextmanager
def _progress(title: str, facts: TapeFacts, *, as_json: bool) -> Iterator[Callable[[int], None] | None]:
    """Show how far long work is, on the error stream and where somebody looks."""
    from rich.console import Console

    console = Console(stderr=True)
    if as_json or not console.is_terminal or facts.records_count < _SHOW_FROM_RECORDS:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=facts.last_seq)

        def on_progress(seq: int) -> None:
            progress.update(task, completed=seq)

        yield on_progress


def _print_lines(lines: list[str]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(line)


def _print_json(content: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(content).decode())
