"""Reading a tape: batches of records, in order, with a GAP record where records are lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from adapters.tape.codec import Records, Unpacker, empty_records
from adapters.tape.documents import (
    SESSION,
    Collector,
    DocumentText,
    Session,
    TapeDocument,
    session_of,
)
from adapters.tape.facts import facts_of
from adapters.tape.format import CONTINUES, FRAME_RECORDS_MAX, HOLDS_DOCUMENTS, Header
from adapters.tape.frames import Frame, SegmentFile, Thread
from adapters.tape.segments import Segment, find_tape_id, index_of, read_segments
from engine.errors import DataError
from engine.kernels.layout import ALL_INSTRUMENTS, DOCUMENT, GAP, GAP_ROT, LAST, LEVEL

if TYPE_CHECKING:
    from adapters.tape.facts import TapeFacts

BATCH_RECORDS = 65_536


class TapeBatch(msgspec.Struct, frozen=True, gc=False):
    """Records whose seqs run on from `first_seq`: a view of the reader's buffer, until the next batch is asked for.

    `lost` is 0, or the number of seqs that the batch's one record, a GAP, stands for.
    """

    first_seq: int
    records: Records
    lost: int = 0

    @property
    def stop_seq(self) -> int:
        """The seq after the batch."""
        return self.first_seq + (self.lost or len(self.records))


class TapeReader:
    """Reads one tape, also one that is being written: what stood in its files when this was made.

    Raises InputMissingError where the folder holds no tape.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._segments = read_segments(folder)
        self._tape_id = find_tape_id(self._segments)

    def facts(self) -> TapeFacts:
        """What the tape's ends tell, without reading its records."""
        return facts_of(self._segments, self._tape_id)

    def batches(
        self, start_seq: int = 1, from_ns: int | None = None, batch_records: int = BATCH_RECORDS
    ) -> Iterator[TapeBatch]:
        """Give the records from `start_seq` on that were received at `from_ns` or later, in order.

        Memory stays the same however long the tape is. Lost records are one GAP record (reason 3, all
        instruments) in a batch of its own; a message or document that had begun in them is lost to its end. A torn
        tail ends the reading. Raises DataError where a file cannot be read or a newer version wrote it.
        """
        run = _Run(max(batch_records, FRAME_RECORDS_MAX), start_seq, from_ns)
        number, thread, offset = self._place(start_seq, from_ns)
        for segment in self._segments[number:]:
            with SegmentFile(segment.path) as file:
                for found in file.frames(thread, offset, segment.frames_stop):
                    if isinstance(found, Frame):
                        yield from run.take(file, found)
            offset = 0
        yield from run.finish(thread.next_seq, self._segments)

    def documents(self) -> Iterator[TapeDocument]:
        """Give the tape's whole documents; frames without one are not unpacked. Broken ones `check` tells."""
        for text in self.document_texts():
            if not text.is_broken:
                yield TapeDocument(text.type, msgspec.json.decode(text.text), text.first_seq)

    def document_texts(self) -> Iterator[DocumentText]:
        """Give the tape's documents as they stand, also those of which pieces are missing."""
        collector, unpacker, room = Collector(), Unpacker(), empty_records(FRAME_RECORDS_MAX)
        thread = Thread(tape_id=self._tape_id)
        for segment in self._segments:
            with SegmentFile(segment.path) as file:
                for frame in _frames_with_documents(file, segment, thread):
                    records = room[: frame.header.count]
                    unpack(file, frame, unpacker, records)
                    yield from collector.feed(frame.header.first_seq, records)
        yield from collector.finish()

    def sessions(self) -> list[tuple[int, Session]]:
        """Every SESSION document with the seq of its first piece; raises DataError where one is not readable."""
        texts = [text for text in self.document_texts() if text.type == SESSION and not text.is_broken]
        return [(text.first_seq, session_of(text, str(self.folder))) for text in texts]

    def session(self, at_seq: int | None = None) -> Session:
        """The session that the record `at_seq` belongs to; the last one, where none is given.

        The last one knows every instrument of the tape. Raises DataError where there is none.
        """
        found = [session for seq, session in self.sessions() if at_seq is None or seq <= at_seq]
        if not found:
            raise DataError(
                f"{self.folder} holds no SESSION document" + ("" if at_seq is None else f" before seq {at_seq}"),
                remedy="Its records cannot be understood without one. Run: tapewright tape check",
            )
        return found[-1]

    def _place(self, start_seq: int, from_ns: int | None) -> tuple[int, Thread, int]:
        """Return where to begin, at or before the records asked for: number in the list, thread, offset."""
        if start_seq <= 1 and from_ns is None:
            return 0, Thread(tape_id=self._tape_id), 0
        for number in range(len(self._segments) - 1, -1, -1):
            index = index_of(self._segments[number], self._tape_id)
            by_seq = int(np.searchsorted(index["first_seq"], start_seq, "right")) - 1
            # Records of the same time may stand at the end of the frame before.
            by_time = -1 if from_ns is None else int(np.searchsorted(index["first_ns"], from_ns, "left")) - 1
            place = max(by_seq, by_time)
            if place >= 0:
                entry = index[place]
                return number, Thread(int(entry["first_seq"]), self._tape_id), int(entry["offset"])
        return 0, Thread(tape_id=self._tape_id), 0


class _Run:
    """One reading: the buffer that frames are joined in, and what is known to be lost."""

    def __init__(self, capacity: int, start_seq: int, from_ns: int | None) -> None:
        self._unpacker = Unpacker()
        self._room = empty_records(capacity)
        self._begin = self._stop = 0  # of the records in the room
        self._first_seq = 0
        self._start_seq = start_seq
        self._from_ns = from_ns
        self._lost_from = 0  # seq of the first record lost that no GAP tells yet, 0 where there is none
        self._last_ns = 0

    def take(self, file: SegmentFile, frame: Frame) -> Iterator[TapeBatch]:
        """Take a good frame; give what can be given now."""
        header = frame.header
        if header.stop_seq <= self._start_seq:
            return
        first_lost = max(header.first_seq - frame.lost, self._start_seq)
        if first_lost < header.first_seq and not self._lost_from:
            yield from self._flushed()
            self._lost_from = first_lost
        if self._stop + header.count > len(self._room):
            yield from self._flushed()
        if self._begin == self._stop:
            self._begin = self._stop = 0
        records = self._room[self._stop : self._stop + header.count]
        unpack(file, frame, self._unpacker, records)
        dropped = self._dropped(header, records)
        if self._lost_from and dropped < header.count:
            yield _gap(
                self._lost_from, header.first_seq + dropped, self._last_ns, int(records["ts_receive_ns"][dropped])
            )
            self._lost_from = 0
        self._last_ns = int(records["ts_receive_ns"][-1])
        if dropped < header.count:
            if self._begin == self._stop:
                self._begin += dropped
                self._first_seq = header.first_seq + dropped
            self._stop += header.count

    def finish(self, next_seq: int, segments: list[Segment]) -> Iterator[TapeBatch]:
        """Give the rest; footers may tell of records that no frame is left of."""
        yield from self._flushed()
        stop_seq, last_ns = next_seq, self._last_ns
        for segment in segments:
            if segment.footer is not None and segment.footer.last_seq >= stop_seq:
                stop_seq, last_ns = segment.footer.last_seq + 1, max(last_ns, segment.footer.last_ns)
        lost_from = max(self._lost_from or next_seq, self._start_seq)
        if lost_from < stop_seq and (self._from_ns is None or last_ns >= self._from_ns):
            yield _gap(lost_from, stop_seq, self._last_ns, last_ns)

    def _dropped(self, header: Header, records: Records) -> int:
        """How many of a frame's first records are not given: not asked for, or the rest of what began in lost ones."""
        rest = rest_of_message(records) if self._lost_from and header.marks & CONTINUES else 0
        early = max(0, self._start_seq - header.first_seq)
        if self._from_ns is not None:
            early = max(early, int(np.searchsorted(records["ts_receive_ns"], self._from_ns)))
            if early < header.count:
                self._from_ns = None
        return max(early, rest)

    def _flushed(self) -> Iterator[TapeBatch]:
        if self._begin < self._stop:
            yield TapeBatch(self._first_seq, self._room[self._begin : self._stop])
        self._begin = self._stop = 0


def unpack(file: SegmentFile, frame: Frame, unpacker: Unpacker, into: Records) -> None:
    """Unpack the frame that was read last; raises DataError where right sums stand over what is no payload."""
    is_whole = unpacker.unpack(frame.header, file.payload, into)
    if not is_whole or int(into["ts_receive_ns"][0]) != frame.header.first_ns:
        raise DataError(
            f"{file.path}, offset {frame.offset}: the sums of the frame are right, but it does not hold the"
            f" {frame.header.count} records it says",
            remedy="What wrote it has a defect. Please report it, with the tape.",
        )


def _frames_with_documents(file: SegmentFile, segment: Segment, thread: Thread) -> Iterator[Frame]:
    if segment.index is None:
        for found in file.frames(thread, 0, segment.frames_stop):
            if isinstance(found, Frame) and found.header.marks & HOLDS_DOCUMENTS:
                yield found
        return
    for entry in segment.index[(segment.index["marks"] & HOLDS_DOCUMENTS) != 0].tolist():
        offset, first_seq, *_ = entry
        single = Thread(first_seq, thread.tape_id)
        found = next(file.frames(single, offset, segment.frames_stop))
        if isinstance(found, Frame) and found.offset == offset:
            yield found
    assert segment.footer is not None
    thread.next_seq = max(thread.next_seq, segment.footer.last_seq + 1)


def rest_of_message(records: Records) -> int:
    """Count the records up to the end of the message or document that the first of them belongs to."""
    is_piece = np.isin(records["kind"], (LEVEL, DOCUMENT))
    is_end = is_piece & ((records["flags"] & LAST) != 0)
    first_end = int(np.argmax(is_end)) + 1 if is_end.any() else len(records)
    return first_end if is_piece.all() else min(first_end, int(np.argmin(is_piece)))


def _gap(first_seq: int, stop_seq: int, from_ns: int, ts_receive_ns: int) -> TapeBatch:
    record = np.zeros(1, empty_records(0).dtype)
    record["ts_receive_ns"], record["kind"], record["instrument"] = ts_receive_ns, GAP, ALL_INSTRUMENTS
    record["a"], record["b"], record["c"] = GAP_ROT, stop_seq - first_seq, from_ns
    return TapeBatch(first_seq, record, stop_seq - first_seq)
