"""Writing a tape: records in, frames out, and a number up to which they are safe.

A record is acknowledged once an fdatasync that covers it has returned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from adapters.tape.codec import Packer, Records, empty_records
from adapters.tape.continuation import TornTail
from adapters.tape.documents import to_pieces
from adapters.tape.format import CONTINUES, FRAME_RECORDS_MAX, HOLDS_DOCUMENTS, SEGMENT_BYTES_MAX
from adapters.tape.segment_writer import SegmentWriter, SyncTicket
from engine.bars import NS_PER_SECOND
from engine.kernels.layout import DOCUMENT, LAST, LEVEL, RECORD

FLUSH_NS = 250_000_000
SYNC_NS = NS_PER_SECOND
# Records as rows of eight words: copying and reading those is several times faster than fields of a few records.
_WORDS = RECORD.itemsize // 8
_RECEIVE_WORD, _HEAD_WORD = 1, 2
_NO_WORDS = np.zeros((0, _WORDS), np.int64)


class TapeWriter:
    """Appends to one tape; not for two threads at once. What a tape held before is never altered.

    `is_new`: the folder must hold no tape yet, and is made where it is missing; else the tape is continued, and
    `torn_tail` says what was cut off it first (None: nothing). `clock_ns` is a monotonic clock. Without `syncs_itself`
    the owner syncs, perhaps in another thread: `begin_sync`, `end_sync`. `tape_id` (16
    bytes) is random unless given. Raises UsageError where a new tape would come upon an old one, InputMissingError
    where there is none to continue, TapeLockedError where somebody writes it, DataError where the disk refuses:
    then, and every time after.
    """

    def __init__(
        self,
        folder: Path,
        *,
        is_new: bool,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        syncs_itself: bool = True,
        segment_bytes: int = SEGMENT_BYTES_MAX,
        frame_records: int = FRAME_RECORDS_MAX,
        tape_id: bytes | None = None,
    ) -> None:
        assert 1 <= frame_records <= FRAME_RECORDS_MAX
        self.folder = folder
        self._clock_ns = clock_ns
        self._syncs_itself = syncs_itself
        self._packer = Packer()
        self._room = empty_records(frame_records)
        self._words = self._room.view(np.int64).reshape(-1, _WORDS)
        self._count = 0  # records in the room
        self._is_inside = False  # the last record left a message or document open
        self._frame_continues = False
        self._files = SegmentWriter(folder, is_new=is_new, segment_bytes=segment_bytes, tape_id=tape_id)
        self._last_ns = self._files.written_ns
        self._first_clock_ns = self._synced_clock_ns = clock_ns()

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._files.has_failed:
            self._files.release()
        elif error is None:
            self.close()
        else:
            self.abandon()

    @property
    def torn_tail(self) -> TornTail | None:
        """What was cut off the tape before it was continued."""
        return self._files.torn_tail

    @property
    def last_seq(self) -> int:
        """Seq of the record appended last, 0 where there is none."""
        return self._files.written_seq + self._count

    @property
    def acknowledged_seq(self) -> int:
        """Seq up to which every record is on the disk."""
        return self._files.acknowledged_seq

    @property
    def tape_id(self) -> bytes:
        """The tape's id, 16 bytes."""
        return self._files.tape_id

    @property
    def written_bytes(self) -> int:
        """Bytes of frames that this writer has written."""
        return self._files.written_bytes

    @property
    def last_ns(self) -> int:
        """Receive time of the record appended last, 0 where there is none."""
        return self._last_ns

    def append(self, records: Records, *, are_times_rising: bool = False) -> int:
        """Append records in their order and return the last one's seq; they are copied.

        Any count, any strides. A receive time that falls is replaced by the one before it; who knows that none falls
        among these (`are_times_rising`) spares the look at each. Full frames are written at once, others in time (see
        `tick`).
        """
        assert records.dtype == RECORD
        assert records.ndim == 1
        self._files.refuse_trouble()
        words = _words_of(records)
        taken = 0
        while taken < len(words):
            if self._count == 0:
                self._first_clock_ns = self._clock_ns()
                self._frame_continues = self._is_inside
            count = min(len(words) - taken, len(self._room) - self._count)
            placed = self._words[self._count : self._count + count]
            placed[:] = words[taken : taken + count]
            if not are_times_rising or placed.item(0, _RECEIVE_WORD) < self._last_ns:
                _let_rise(placed[:, _RECEIVE_WORD], self._last_ns)
            self._last_ns = placed.item(count - 1, _RECEIVE_WORD)
            head = placed.item(count - 1, _HEAD_WORD)
            self._is_inside = head & 0xFF in (LEVEL, DOCUMENT) and not head >> 8 & LAST
            self._count += count
            taken += count
            if self._count == len(self._room):
                self.flush()
        self.tick()
        return self.last_seq

    def document(self, document_type: int, value: object, ts_receive_ns: int | None = None) -> int:
        """Append a document (what msgspec makes a JSON object of) and return its last piece's seq.

        Its pieces carry the receive time of the record before them, where none is given.
        """
        return self.append(to_pieces(document_type, value, self._last_ns if ts_receive_ns is None else ts_receive_ns))

    def tick(self) -> None:
        """Keep the two limits: a frame is written 250 ms after its first record, and synced within a second.

        To be called by the owner's clock while nothing comes in; `append` calls it itself.
        """
        now_ns = self._clock_ns()
        if self._count and now_ns - self._first_clock_ns >= FLUSH_NS:
            self.flush()
        if self._syncs_itself and now_ns - self._synced_clock_ns >= SYNC_NS:
            self._sync_written()

    def flush(self) -> None:
        """Write the records that wait as a frame. The system has them then, the disk perhaps not."""
        self._files.refuse_trouble()
        if not self._count:
            return
        records = self._room[: self._count]
        codec, payload = self._packer.pack(records)
        marks = HOLDS_DOCUMENTS if (records["kind"] == DOCUMENT).any() else 0
        marks |= CONTINUES if self._frame_continues else 0
        first_ns = int(records["ts_receive_ns"][0])
        self._files.write_frame(codec, payload, marks, self._count, first_ns, self._last_ns)
        self._count = 0

    def sync(self) -> int:
        """Bring every record appended so far to the disk; the seq of the last one, which is acknowledged now."""
        self.flush()
        self._sync_written()
        return self.acknowledged_seq

    def begin_sync(self) -> SyncTicket | None:
        """Write what waits; what another thread may bring to the disk while this one writes on (None: nothing)."""
        self.flush()
        return self._files.begin_sync()

    def end_sync(self, ticket: SyncTicket, error: OSError | None) -> None:
        """Acknowledge what a ticket brought to the disk; raises DataError where the disk refused it."""
        self._files.end_sync(ticket, error)
        self._synced_clock_ns = self._clock_ns()

    def close(self) -> None:
        """Write and sync what waits, seal the segment, let the tape go. A closed writer does nothing any more."""
        if not self._files.is_open:
            return
        try:
            self.flush()
            self._files.seal()
        finally:
            self._files.release()

    def abandon(self) -> None:
        """Write and sync what waits and let the tape go unsealed, as work that did not end in order leaves it."""
        if not self._files.is_open:
            return
        try:
            self.sync()
        finally:
            self._files.release()

    def _sync_written(self) -> None:
        self._files.sync()
        self._synced_clock_ns = self._clock_ns()


def _let_rise(times: NDArray[np.int64], last_ns: int) -> None:
    if times.item(0) < last_ns:
        times[0] = last_ns
    if len(times) > 1:
        np.maximum.accumulate(times, out=times)


def _words_of(records: Records) -> NDArray[np.int64]:
    if not len(records):
        return _NO_WORDS
    return np.frombuffer(np.ascontiguousarray(records), np.int64).reshape(-1, _WORDS)
