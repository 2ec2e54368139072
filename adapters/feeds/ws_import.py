"""cryptofeed's raw recordings as a tape: session, records in batches, report, in the shape of other captures' imports.

Two passes, each through cryptofeed's own class: the first tells instruments, channels and clocks, since the session
document stands first on a tape; the second makes the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from adapters.captures.capture_file import checksum
from adapters.captures.clock_offset import ClockSamples
from adapters.captures.importing import ImportOptions, TapeImport, session_name, software
from adapters.captures.messages import BookText, TradeText
from adapters.captures.transcriber import InstrumentState, SourceView
from adapters.feeds.capture import Recording, open_recording
from adapters.feeds.exchange import Listing, read_listing
from adapters.feeds.instruments import InstrumentSeen, plan_instrument
from adapters.feeds.playback import Playback
from adapters.feeds.records import FeedReport, FeedTranscriber
from adapters.tape.documents import Session, TapeInstrument, TapeSource
from engine.errors import DataError, UsageError

_KIND = "cryptofeed raw capture"
_BATCH_RECORDS = 16_384


class _Survey(msgspec.Struct, frozen=True):
    """What the first pass saw. `symbols` are those of each connection, `clocks` one for each."""

    instruments: dict[str, InstrumentSeen]
    symbols: tuple[set[str], ...]
    clocks: tuple[ClockSamples, ...]
    first_ns: int


def open_ws_capture(files: Sequence[Path], options: ImportOptions | None = None) -> TapeImport:
    """Make ready to import the recording of one exchange, its files given in any order.

    Raises InputMissingError naming what is missing, DataError where the files are none of one known exchange, of an
    interface that no class reads, or hold nothing that was asked for.
    """
    options = options or ImportOptions()
    if options.tick_size is not None or options.lot_size is not None or options.meta is not None:
        raise UsageError(
            "--tick, --lot and --meta are not for a recording of cryptofeed: it has the exchange's own list",
            remedy="Leave them out.",
        )
    recording = open_recording(files)
    listing = read_listing(recording.venue, recording.lists)
    survey = _survey(recording, listing, options.symbol.upper())
    if not survey.instruments:
        raise DataError(
            f"{', '.join(path.name for path in recording.files)}: no message of {options.symbol or 'any instrument'}"
            f" that cryptofeed's class {recording.venue.exchange} could read is in it",
            remedy="Check --symbol and the files; a recording of another version of the exchange's interface must be"
            " made again.",
        )
    instruments = {
        symbol: plan_instrument(recording.venue, listing, seen, options.without)
        for symbol, seen in sorted(survey.instruments.items())
    }
    sources = tuple(_source(recording, number, survey, options) for number in range(len(recording.files)))
    session = Session(
        session=session_name(survey.first_ns, sources),
        created_ns=survey.first_ns,
        software=software(),
        instruments=tuple(instruments.values()),
        sources=sources,
        notes=_notes(survey, instruments),
    )
    report = FeedReport()
    playback = Playback(recording, listing, report)
    transcriber = FeedTranscriber(
        _views(recording, survey, instruments, playback), options.without, report, playback.place
    )
    return TapeImport(session, _batches(playback, transcriber, report, options.symbol.upper()), report)


def _survey(recording: Recording, listing: Listing, only: str) -> _Survey:
    names = {listing.symbol(name).name: name for names in recording.subscription.values() for name in names}
    connection_of = {file: number for number, files in enumerate(recording.connections) for file in files}
    symbols: tuple[set[str], ...] = tuple(set() for _ in recording.connections)
    clocks = tuple(ClockSamples() for _ in recording.connections)
    instruments: dict[str, InstrumentSeen] = {}
    first_ns = 0
    for file, message in Playback(recording, listing, FeedReport()).run():
        if not message.symbol or (only and message.symbol != only):
            continue
        first_ns = first_ns or message.ts_receive_ns
        seen = instruments.get(message.symbol)
        if seen is None:
            name = names[message.symbol]
            listed = listing.instruments.get(listing.names[name])
            seen = instruments[message.symbol] = InstrumentSeen(name, listed)
        seen.take(message)
        connection = connection_of[file]
        symbols[connection].add(message.symbol)
        if isinstance(message, TradeText) or (isinstance(message, BookText) and not message.is_snapshot):
            clocks[connection].add(message.ts_receive_ns, message.ts_exchange_ns)
    return _Survey(instruments, symbols, clocks, first_ns)


def _notes(survey: _Survey, instruments: Mapping[str, TapeInstrument]) -> tuple[str, ...]:
    """Where the data are finer than the exchange's list."""
    notes = []
    for symbol, instrument in instruments.items():
        listed = survey.instruments[symbol].listed
        if listed is None:
            continue
        for what, unit, stated in (
            ("tick", instrument.tick_size, listed.tick_size),
            ("lot", instrument.lot_size, listed.lot_size),
        ):
            if stated and unit != stated:
                notes.append(f"{symbol}: the instrument list says {what} {stated}, the data need {unit}")
    return tuple(notes)


def _views(
    recording: Recording, survey: _Survey, instruments: Mapping[str, TapeInstrument], playback: Any
) -> list[SourceView]:
    """The instruments of each file's connection. The playback stands for a reader: it knows where it is."""
    states = {
        symbol: InstrumentState(index, instrument, is_snapshot_in_stream=True, has_single_trades=False)
        for index, (symbol, instrument) in enumerate(instruments.items())
    }
    views = {
        file: SourceView(playback, {symbol: states[symbol] for symbol in survey.symbols[number]}, "")
        for number, files in enumerate(recording.connections)
        for file in files
    }
    return [views.get(file) or SourceView(playback, {}, "") for file in range(len(recording.files))]


def _source(recording: Recording, file: int, survey: _Survey, options: ImportOptions) -> TapeSource:
    path = recording.files[file]
    digest, size = checksum(path), path.stat().st_size
    if options.clock_offset_ns is not None:
        return TapeSource(path.name, _KIND, digest, size, options.clock_offset_ns, "given")
    offset_ns = next(
        (survey.clocks[number].offset_ns() for number, files in enumerate(recording.connections) if file in files), 0
    )
    return TapeSource(path.name, _KIND, digest, size, offset_ns, "estimated" if offset_ns else "none")


def _batches(playback: Playback, transcriber: FeedTranscriber, report: FeedReport, only: str) -> Iterator[NDArray[Any]]:
    for file, message in playback.run():
        if only and message.symbol not in (only, ""):
            continue
        transcriber.take_feed(message, file)
        if len(transcriber) >= _BATCH_RECORDS:
            yield transcriber.take_records()
    transcriber.close()
    for exchange in playback.exchanges:
        report.ignored.update(exchange.normaliser.ignored)
    if len(transcriber):
        yield transcriber.take_records()
