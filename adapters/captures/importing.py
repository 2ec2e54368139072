"""Captures as a tape: the session document, the records in batches, and the report of what was left out.

Two passes over each file: the survey, then the records. Several files become one tape, merged by the receive times in
them; of two files with the same time the one named first goes first. Books run on from file to file, so a file that
continues another needs no snapshot of its own.
"""

from __future__ import annotations

import hashlib
import heapq
import importlib.metadata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.captures.capture_file import (
    SOURCE_KINDS,
    CaptureFile,
    CaptureKind,
    CaptureReader,
    checksum,
    recognise,
)
from adapters.captures.instruments import InstrumentRules, plan_instrument, read_exchange_info
from adapters.captures.messages import Message
from adapters.captures.report import MISFIT, SHARE_MOST, ImportReport
from adapters.captures.survey import FileSurvey, SymbolSurvey
from adapters.captures.transcriber import InstrumentState, SourceView, Transcriber
from adapters.tape.documents import Session, TapeInstrument, TapeSource
from engine.bars import NS_PER_MS
from engine.errors import DataError, UsageError

_BATCH_RECORDS = 16_384
_OFFSETS_APART_NS = 100 * NS_PER_MS


class ImportOptions(msgspec.Struct, frozen=True):
    """What the user says of the files; nothing of it is needed."""

    kind: CaptureKind | None = None
    symbol: str = ""
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    meta: Path | None = None
    clock_offset_ns: int | None = None
    without: frozenset[str] = frozenset()


class TapeImport(msgspec.Struct, frozen=True):
    """A tape to be: its session, its records in order (RECORD arrays), and counts that are whole when those ended."""

    session: Session
    batches: Iterator[NDArray[Any]]
    report: ImportReport


def open_captures(paths: Sequence[Path], options: ImportOptions) -> TapeImport:
    """Survey the files and make ready to read them; raises UsageError, InputMissingError or DataError.

    The batches raise DataError as well, where a file has changed since.
    """
    files = [recognise(path, options.kind) for path in paths]
    surveys = [_survey(file, options) for file in files]
    report = ImportReport()
    found: dict[tuple[str, str], SymbolSurvey] = {}
    kept: dict[tuple[str, str], CaptureFile] = {}
    for file, survey in zip(files, surveys, strict=True):
        for symbol, seen in survey.symbols.items():
            if symbol:
                key = (file.market_of(symbol)[0], symbol)
                found.setdefault(key, SymbolSurvey()).merge(seen)
                kept.setdefault(key, file)
    if not found:
        raise DataError(
            f"{paths[0]}: no message of {options.symbol or 'any symbol'} is in it",
            remedy="Check --symbol and the files; a book alone names no symbol: give it with --symbol.",
        )
    instruments = _planned(found, kept, options)
    views = _views(files, surveys, instruments, found, report)
    sources = tuple(_source(file, survey, options) for file, survey in zip(files, surveys, strict=True))
    offsets_ns = [source.clock_offset_ns for source in sources]
    if max(offsets_ns) - min(offsets_ns) > _OFFSETS_APART_NS:
        report.notes.append("the files' clocks differ; they are merged by receive time as recorded")
    first_ns = min(survey.first_ns for survey in surveys if survey.messages_count)
    session = Session(
        session=session_name(first_ns, sources),
        created_ns=first_ns,
        software=software(),
        instruments=tuple(instruments.values()),
        sources=sources,
    )
    return TapeImport(session, _batches(views, report, options), report)


def session_name(first_ns: int, sources: Sequence[TapeSource]) -> str:
    """A session's name: when its data begin, and four digits that its files give; importing again gives it again."""
    digest = hashlib.sha256("".join(source.sha256 for source in sources).encode()).hexdigest()
    return f"{compact_time(first_ns)}-{digest[:4]}"


def compact_time(ts_ns: int) -> str:
    """A time as 20240808T235415, UTC."""
    return str(np.datetime64(ts_ns, "ns").astype("datetime64[s]")).replace("-", "").replace(":", "")


def software() -> str:
    """This program and its version."""
    return f"tapewright {importlib.metadata.version('tapewright')}"


def _survey(file: CaptureFile, options: ImportOptions) -> FileSurvey:
    if file.kind is CaptureKind.bars:
        raise UsageError(
            f"{file.path} holds bars, and other files do not",
            remedy="Import bars alone, as a tape of their own.",
        )
    survey = FileSurvey()
    survey.take_all(CaptureReader(file, ImportReport()).messages(), options.symbol)
    return survey


def _planned(
    found: dict[tuple[str, str], SymbolSurvey], kept: dict[tuple[str, str], CaptureFile], options: ImportOptions
) -> dict[tuple[str, str], TapeInstrument]:
    if len(found) > 1 and (options.tick_size or options.lot_size):
        raise UsageError(
            f"--tick and --lot are for one symbol, and the files hold {len(found)}:"
            f" {', '.join(symbol for _, symbol in sorted(found))}",
            remedy="Choose one with --symbol, or leave --tick and --lot out.",
        )
    listed = read_exchange_info(options.meta) if options.meta else {}
    planned = {}
    for key, seen in sorted(found.items()):
        symbol = key[1]
        planned[key] = plan_instrument(
            symbol,
            kept[key].market_of(symbol),
            seen,
            _rules_of(symbol, listed, options),
            tick_size=options.tick_size,
            lot_size=options.lot_size,
            without=options.without,
        )
    return planned


def _rules_of(symbol: str, listed: dict[str, InstrumentRules], options: ImportOptions) -> InstrumentRules | None:
    if options.meta is None:
        return None
    if symbol not in listed:
        raise DataError(
            f"{options.meta} does not list {symbol}",
            remedy="Give the list of its venue, or leave --meta out to have tick and lot taken from the data.",
        )
    return listed[symbol]


def _views(
    files: Sequence[CaptureFile],
    surveys: Sequence[FileSurvey],
    instruments: dict[tuple[str, str], TapeInstrument],
    found: dict[tuple[str, str], SymbolSurvey],
    report: ImportReport,
) -> list[SourceView]:
    states: dict[tuple[str, str], InstrumentState] = {}
    views = []
    for file, survey in zip(files, surveys, strict=True):
        own = {}
        for symbol in survey.symbols:
            if not symbol:
                continue
            key = (file.market_of(symbol)[0], symbol)
            if key not in states:
                states[key] = InstrumentState(
                    list(instruments).index(key),
                    instruments[key],
                    is_snapshot_in_stream=file.is_snapshot_in_stream,
                    has_single_trades=found[key].has_single_trades,
                )
            own[symbol] = states[key]
        views.append(SourceView(CaptureReader(file, report), own, survey.only_symbol))
    return views


def _source(file: CaptureFile, survey: FileSurvey, options: ImportOptions) -> TapeSource:
    name, kind = file.path.name, SOURCE_KINDS[file.kind]
    digest, size = checksum(file.path), file.path.stat().st_size
    if options.clock_offset_ns is not None:
        return TapeSource(name, kind, digest, size, options.clock_offset_ns, "given")
    offset_ns = survey.clock.offset_ns() if file.has_own_clock else 0
    return TapeSource(name, kind, digest, size, offset_ns, "estimated" if offset_ns else "none")


def _batches(views: Sequence[SourceView], report: ImportReport, options: ImportOptions) -> Iterator[NDArray[Any]]:
    transcriber = Transcriber(views, options.without, report)
    streams = [_timed(view.reader, source, report, options.symbol) for source, view in enumerate(views)]
    merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0))
    for _, source, message in merged:
        transcriber.take(message, source)
        if len(transcriber) >= _BATCH_RECORDS:
            yield transcriber.take_records()
    transcriber.close()
    _refuse_misfit(report, transcriber.messages_count)
    if len(transcriber):
        yield transcriber.take_records()


def _refuse_misfit(report: ImportReport, messages_count: int) -> None:
    wrong = {reason: report.rejects[reason] for reason in MISFIT if report.rejects[reason]}
    if sum(wrong.values()) > max(1, messages_count * SHARE_MOST):
        reason = max(wrong, key=lambda each: wrong[each])
        raise DataError(
            f"{sum(wrong.values()):,} of {messages_count:,} messages do not fit their instrument, most of them:"
            f" {reason}, first {report.first_rejects[reason]}",
            remedy="Correct --tick, --lot or --meta, or leave them out to have tick and lot taken from the data.",
        )


def _timed(reader: CaptureReader, source: int, report: ImportReport, symbol: str) -> Iterator[tuple[int, int, Message]]:
    """Messages with the time they are merged by, which never falls within a file."""
    latest_ns = fallen_count = 0
    for message in reader.messages():
        if symbol and message.symbol not in (symbol, ""):
            continue
        if message.ts_receive_ns < latest_ns:
            fallen_count += 1
        else:
            latest_ns = message.ts_receive_ns
        yield latest_ns, source, message
    if fallen_count:
        report.notes.append(
            f"{reader.file.path.name}: the receive time fell {fallen_count:,} times; the last one was kept"
        )
