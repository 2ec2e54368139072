"""`tapewright tape import`: recordings of others, and stored bars, into a tape.

What was left out of the tape is counted on screen by reason, and so is every guess: tick, lot, and the clock's offset.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError

if TYPE_CHECKING:
    from adapters.captures.importing import ImportOptions, TapeImport
    from adapters.captures.report import ImportSummary
    from adapters.tape import Session

_OFFSET_SECONDS_MOST = 86_400


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Captures (also .gz, .zip), merged by receive time; cryptofeed's recordings of one exchange; or bars."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new tape.")],
    kind: Annotated[
        str, typer.Option(help="What the files are, where their content does not tell; such as binance_usdm.")
    ] = "",
    symbol: Annotated[str, typer.Option(help="Take this symbol only; names the messages that name none.")] = "",
    tick: Annotated[str, typer.Option(help="Price step; else from --meta or the finest decimals.")] = "",
    lot: Annotated[str, typer.Option(help="Size step; else from --meta or the finest decimals.")] = "",
    meta: Annotated[
        Path | None, typer.Option(help="Binance's exchangeInfo (JSON, also .gz): tick, lot, contract.")
    ] = None,
    clock_offset: Annotated[
        str, typer.Option(help="Seconds that the recorder's clock lacks to the venue's; 0 for none. Else estimated.")
    ] = "",
    without: Annotated[
        list[str] | None, typer.Option(help="Leave a channel out: book, prints, quotes, marks, funding, ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Read recordings into a new tape; a file that is refused leaves no tape behind."""
    from adapters.captures.tape_output import write_import

    options = _options(kind, symbol, tick, lot, meta, clock_offset, without or [])
    opened = _opened(files, options)
    summary = write_import(opened, out)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"tape": str(out), "session": opened.session, "report": summary}).decode())
        return
    for line in _lines(out, opened.session, summary):
        typer.echo(line)


def _options(
    kind: str, symbol: str, tick: str, lot: str, meta: Path | None, clock_offset: str, without: list[str]
) -> ImportOptions:
    from adapters.captures.capture_file import CaptureKind
    from adapters.captures.importing import ImportOptions
    from adapters.captures.survey import CHANNELS

    for channel in without:
        if channel not in CHANNELS:
            raise UsageError(f"--without {channel}: there is no such channel", remedy=f"Known: {', '.join(CHANNELS)}.")
    if kind and kind not in tuple(CaptureKind):
        raise UsageError(f"--kind {kind}: there is no such kind", remedy=f"Known: {', '.join(CaptureKind)}.")
    return ImportOptions(
        kind=CaptureKind(kind) if kind else None,
        symbol=symbol.upper(),
        tick_size=_step("--tick", tick),
        lot_size=_step("--lot", lot),
        meta=meta,
        clock_offset_ns=_offset_ns(clock_offset),
        without=frozenset(without),
    )


def _opened(files: list[Path], options: ImportOptions) -> TapeImport:
    from adapters.captures.capture_file import CaptureKind, is_parquet

    if options.kind is CaptureKind.bars or (options.kind is None and all(is_parquet(path) for path in files)):
        from adapters.captures.bars_tape import open_bars

        return open_bars(files, options)
    from adapters.feeds.capture import is_ws_capture

    if options.kind is None and all(is_ws_capture(path) for path in files):
        from adapters.feeds.ws_import import open_ws_capture

        return open_ws_capture(files, options)
    from adapters.captures.importing import open_captures

    return open_captures(files, options)


def _number(option: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise UsageError(f"{option} {text!r} is not a number", remedy="Write it as a decimal, such as 0.001.")
    return value


def _step(option: str, text: str) -> Decimal | None:
    if not text:
        return None
    value = _number(option, text)
    if not Decimal("1e-18") <= value <= Decimal("1e18"):
        raise UsageError(f"{option} {text} cannot be", remedy="A step is above zero, such as 0.1.")
    return value


def _offset_ns(text: str) -> int | None:
    if not text:
        return None
    seconds = _number("--clock-offset", text)
    if abs(seconds) > _OFFSET_SECONDS_MOST:
        raise UsageError(f"--clock-offset {text} is more than a day", remedy="Give seconds, such as 1.27.")
    return int((seconds * 10**9).to_integral_value())


def _lines(out: Path, session: Session, summary: ImportSummary) -> list[str]:
    lines = [f"Wrote {summary.records_count:,} records: {out} (session {session.session})"]
    lines.append("  " + ", ".join(f"{count:,} {kind}" for kind, count in summary.counts.items()))
    for instrument in session.instruments:
        tick_is, lot_is = (instrument.metadata.get(f"{name}_size_is", "") for name in ("tick", "lot"))
        lines.append(
            f"  {instrument.symbol} of {instrument.venue or 'no venue'}, {instrument.kind}:"
            f" tick {instrument.tick_size:f} ({tick_is}), lot {instrument.lot_size:f} ({lot_is});"
            f" {', '.join(instrument.channels)}"
        )
    for source in session.sources:
        offset = f"clock offset {source.clock_offset_ns / 10**9:+.6f} s ({source.clock_offset_is})"
        lines.append(f"  {source.name}: {source.kind}, {offset if source.clock_offset_ns else 'no clock offset'}")
    for reason, count in summary.rejects.items():
        first = summary.first_rejects.get(reason)
        lines.append(f"  left out: {count:,} {reason}" + (f"; first {first}" if first else ""))
    for stream, count in summary.unknown_streams.items():
        lines.append(f"    unknown stream {stream}: {count:,}")
    for name, count in summary.trade_ids_skipped.items():
        lines.append(f"  {name}: {count:,} trade ids skipped by the recording")
    for name, count in summary.gaps.items():
        lines.append(f"  {name}: {count:,} gaps in the book, each one a GAP on the tape")
    lines.extend(f"  {note}" for note in summary.notes)
    return lines
