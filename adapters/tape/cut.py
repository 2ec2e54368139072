"""A part of a tape as a tape of its own.

It explains itself: the documents of the session that was running come first. It does not pretend: a GAP stands at
its begin, as what was cut off is not known to it, so that a book is invalid until the next snapshot. And it holds
whole messages and documents only: it begins with the first one and lets the last one end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from adapters.tape.codec import Records
from adapters.tape.documents import CLOSING, SESSION, DocumentText
from adapters.tape.reader import TapeBatch, TapeReader, rest_of_message
from adapters.tape.repair import refuse_same
from adapters.tape.writer import TapeWriter
from engine.errors import UsageError
from engine.kernels.layout import ALL_INSTRUMENTS, CLOCK, COMMAND, DOCUMENT, END, GAP, GAP_CUT, LAST, LEVEL, RECORD

_OF_ALL_MARKETS = (CLOCK, COMMAND, DOCUMENT, END)
_MOST = 2**63 - 1


class Cut(msgspec.Struct, frozen=True):
    """What a cut holds: its records, and where they stand on the old tape (`start_seq` to before `stop_seq`)."""

    tape: str
    records_count: int
    start_seq: int
    stop_seq: int
    first_ns: int
    last_ns: int


class Range(msgspec.Struct, frozen=True):
    """What is cut out: the records for which all of it holds, stops not included. No symbols: all of them."""

    from_ns: int | None = None
    to_ns: int | None = None
    start_seq: int = 1
    stop_seq: int | None = None
    symbols: tuple[str, ...] = ()


def cut(folder: Path, out: Path, wanted: Range, on_progress: Callable[[int], None] | None = None) -> Cut:
    """Write a part of a tape as a new one; the old one is not touched.

    Raises UsageError where `out` holds a tape, where no record lies in the range or a symbol is not on the tape;
    InputMissingError where `folder` holds no tape; DataError where it cannot be read.
    """
    refuse_same(folder, out)
    reader = TapeReader(folder)
    chosen = _instruments(reader, wanted.symbols)
    texts = list(reader.document_texts())
    start_seq = _start(reader, wanted)
    is_whole_begin = start_seq <= _explained_stop(texts)
    first = next(reader.batches(start_seq), None)
    first_ns = 0 if first is None else int(first.records["ts_receive_ns"][0])
    run = _Kept(wanted, chosen)
    if first is None or not run.holds(start_seq, first_ns):
        raise UsageError(
            f"No record of {folder} lies in the range",
            remedy="See its span and symbols with: tapewright tape info",
        )
    with TapeWriter(out, is_new=True) as writer:
        if not is_whole_begin:
            _explain(writer, texts, start_seq, first_ns)
        for batch in reader.batches(1 if is_whole_begin else start_seq):
            writer.append(run.take(batch))
            if on_progress is not None:
                on_progress(batch.stop_seq - 1)
            if run.is_done:
                break
    return Cut(str(out), writer.last_seq, run.first_seq, run.stop_seq, run.first_ns, run.last_ns)


class _Kept:
    """Chooses the records of a cut from batches that come in order."""

    def __init__(self, wanted: Range, chosen: set[int] | None) -> None:
        self._to_ns = _MOST if wanted.to_ns is None else wanted.to_ns
        self._limit_seq = _MOST if wanted.stop_seq is None else wanted.stop_seq
        self._instruments = None if chosen is None else np.array([*chosen, ALL_INSTRUMENTS])
        self._is_inside = False  # the last record left a message or document open
        self.is_done = False
        self.first_seq = self.stop_seq = self.first_ns = self.last_ns = 0

    def holds(self, seq: int, ts_receive_ns: int) -> bool:
        """Tell whether a record comes before the stops."""
        return seq < self._limit_seq and ts_receive_ns < self._to_ns

    def take(self, batch: TapeBatch) -> Records:
        """Return what of a batch belongs to the cut."""
        records = batch.records
        # Receive times rise, so both limits are places.
        stop = min(
            int(np.searchsorted(records["ts_receive_ns"], self._to_ns)),
            max(0, self._limit_seq - batch.first_seq),
        )
        if batch.lost:
            stop = int(self.holds(batch.first_seq, int(records["ts_receive_ns"][0])))
        if stop < len(records):
            self.is_done = True
            is_open = self._is_inside if stop == 0 else is_left_open(records[stop - 1])
            if is_open:
                rest = rest_of_message(records[stop:])
                self.is_done = stop + rest < len(records) or not is_left_open(records[-1])
                stop += rest
        records = records[:stop]
        if not len(records):
            return records
        self._is_inside = is_left_open(records[-1])
        if not self.first_seq:
            self.first_seq, self.first_ns = batch.first_seq, int(records["ts_receive_ns"][0])
        self.stop_seq = batch.stop_seq if batch.lost else batch.first_seq + stop
        self.last_ns = int(records["ts_receive_ns"][-1])
        if self._instruments is None:
            return records
        of_chosen = np.isin(records["instrument"], self._instruments) | np.isin(records["kind"], _OF_ALL_MARKETS)
        return records[of_chosen]


def is_left_open(record: np.void) -> bool:
    """Tell whether a message or document goes on after a record."""
    return record["kind"] in (LEVEL, DOCUMENT) and not record["flags"] & LAST


def _start(reader: TapeReader, wanted: Range) -> int:
    """Return the seq that the cut begins with: the first in the range that begins a message."""
    first = next(reader.batches(wanted.start_seq, wanted.from_ns), None)
    if first is None:
        return reader.facts().last_seq + 1
    start_seq = first.first_seq
    if start_seq == 1:
        return 1
    before = next(reader.batches(start_seq - 1))
    if before.lost:
        return before.stop_seq
    if not is_left_open(before.records[0]):
        return start_seq
    for batch in reader.batches(start_seq):
        rest = 0 if batch.lost else rest_of_message(batch.records)
        start_seq = batch.first_seq + rest
        if rest < len(batch.records) or not is_left_open(batch.records[-1]):
            break
    return start_seq


def _explained_stop(texts: list[DocumentText]) -> int:
    """Return the seq after the documents that the tape begins with: a cut from there on loses nothing before it."""
    stop_seq = 1
    for text in texts:
        if text.first_seq != stop_seq or text.is_broken:
            break
        stop_seq = text.last_seq + 1
    return stop_seq


def _explain(writer: TapeWriter, texts: list[DocumentText], start_seq: int, ts_receive_ns: int) -> None:
    """Write the documents of the session that was running, and the GAP of what was cut off."""
    running: list[DocumentText] = []
    for text in texts:
        if text.is_broken or text.last_seq >= start_seq:
            continue
        if text.type == SESSION:
            running.clear()
        running.append(text)
    for text in running:
        if text.type != CLOSING:
            writer.document(text.type, msgspec.Raw(text.text), ts_receive_ns)
    gap = np.zeros(1, RECORD)
    gap["kind"], gap["instrument"], gap["ts_receive_ns"] = GAP, ALL_INSTRUMENTS, ts_receive_ns
    gap["a"], gap["b"] = GAP_CUT, -1
    writer.append(gap)


def _instruments(reader: TapeReader, symbols: tuple[str, ...]) -> set[int] | None:
    if not symbols:
        return None
    known = [instrument.symbol for instrument in reader.session().instruments]
    for symbol in symbols:
        if symbol not in known:
            raise UsageError(
                f"{symbol} is not on {reader.folder}", remedy=f"It holds {', '.join(known) or 'no instrument'}."
            )
    return {number for number, symbol in enumerate(known) if symbol in symbols}
