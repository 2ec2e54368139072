"""Writing a tape: records in, frames out, and a number up to which they are safe.

A record is acknowledged once an fdatasync that covers it has returned. What fails while it is written leaves the
writer closed for good: after a failed fdatasync nobody knows what the disk holds, and trying again would lie.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from adapters.tape.codec import Packer, Records, empty_records
from adapters.tape.continuation import Continuation, OpenSegment, TornTail, find_continuation
from adapters.tape.documents import to_pieces
from adapters.tape.format import (
    CONTINUES,
    FRAME_RECORDS_MAX,
    HEADER_BYTES,
    HOLDS_DOCUMENTS,
    SEGMENT_BYTES_MAX,
    TAPE_ID_BYTES,
    Footer,
    checksum,
    decode_header,
    encode_footer,
    encode_header,
    first_chain,
    segment_name,
    segment_paths,
)
from adapters.tape.segments import index_entry, make_index
from engine.bars import NS_PER_SECOND
from engine.errors import EXIT_LOCKED, DataError, TapewrightError, UsageError
from engine.kernels.layout import DOCUMENT, LAST, LEVEL, RECORD

FLUSH_NS = 250_000_000
SYNC_NS = NS_PER_SECOND


class TapeLockedError(TapewrightError):
    """Another writer has the tape open."""

    exit_code = EXIT_LOCKED


class TapeWriter:
    """Appends to one tape; not for two threads at once. What a tape held before is never altered.

    `is_new`: the folder must hold no tape yet, and is made where it is missing; else the tape is continued, and
    `torn_tail` says what was cut off it first (None: nothing). `clock_ns` is a monotonic clock. `tape_id` (16
    bytes) is random unless given. Raises UsageError where a new tape would come upon an old one, InputMissingError
    where there is none to continue, TapeLockedError where somebody writes it, DataError where the disk refuses.
    """

    torn_tail: TornTail | None = None

    def __init__(
        self,
        folder: Path,
        *,
        is_new: bool,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        segment_bytes: int = SEGMENT_BYTES_MAX,
        frame_records: int = FRAME_RECORDS_MAX,
        tape_id: bytes | None = None,
    ) -> None:
        assert 1 <= frame_records <= FRAME_RECORDS_MAX
        assert tape_id is None or len(tape_id) == TAPE_ID_BYTES
        self.folder = folder
        self._clock_ns = clock_ns
        self._segment_bytes = segment_bytes
        self._packer = Packer()
        self._written_seq = self._acknowledged_seq = self._last_number = 0
        self._last_ns = self._written_ns = 0  # of the record appended last, of the one written last
        self._room = empty_records(frame_records)
        self._count = 0  # records in `_room`
        self._is_inside = False  # the last record left a message or document open
        self._frame_continues = False
        self._segment: OpenSegment | None = None
        self._file = -1
        self._trouble: TapewrightError | None = None
        self._folder_file = self._lock(is_new=is_new)
        try:
            if is_new:
                self._start(tape_id or os.urandom(TAPE_ID_BYTES))
            else:
                self._continue(find_continuation(folder), tape_id)
        except BaseException:
            self._release()
            raise
        self._first_ns = self._synced_ns = clock_ns()

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._trouble is not None:
            self._release()
        elif error is None:
            self.close()
        else:
            self.abandon()

    @property
    def last_seq(self) -> int:
        """Seq of the record appended last, 0 where there is none."""
        return self._written_seq + self._count

    @property
    def acknowledged_seq(self) -> int:
        """Seq up to which every record is on the disk."""
        return self._acknowledged_seq

    @property
    def last_ns(self) -> int:
        """Receive time of the record appended last, 0 where there is none."""
        return self._last_ns

    def append(self, records: Records) -> int:
        """Append records in their order and return the last one's seq; they are copied.

        Any count, any strides. A receive time that falls is replaced by the one before it. Full frames are written
        at once, others in time (see `tick`).
        """
        assert records.dtype == RECORD
        assert records.ndim == 1
        self._refuse_trouble()
        taken = 0
        while taken < len(records):
            if self._count == 0:
                self._first_ns = self._clock_ns()
                self._frame_continues = self._is_inside
            count = min(len(records) - taken, len(self._room) - self._count)
            placed = self._room[self._count : self._count + count]
            placed[:] = records[taken : taken + count]
            self._keep_times_rising(placed)
            last = placed[-1]
            self._is_inside = last["kind"] in (LEVEL, DOCUMENT) and not last["flags"] & LAST
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
        if self._count and now_ns - self._first_ns >= FLUSH_NS:
            self.flush()
        if now_ns - self._synced_ns >= SYNC_NS:
            self._sync_written()

    def flush(self) -> None:
        """Write the records that wait as a frame. The system has them then, the disk perhaps not."""
        self._refuse_trouble()
        if not self._count:
            return
        records = self._room[: self._count]
        codec, payload = self._packer.pack(records)
        segment = self._segment
        if segment is not None and segment.entries and self._is_over(segment, HEADER_BYTES + len(payload)):
            self._seal(segment)
            segment = None
        if segment is None:
            segment = self._open_next()
        marks = HOLDS_DOCUMENTS if (records["kind"] == DOCUMENT).any() else 0
        marks |= CONTINUES if self._frame_continues else 0
        raw = encode_header(
            codec, marks, self._count, payload, self._written_seq + 1, int(records["ts_receive_ns"][0]),
            segment.chain, self._tape_id,
        )  # fmt: skip
        header = decode_header(raw)
        assert header is not None
        self._write(raw + payload)
        segment.entries.append(index_entry(segment.stop, header))
        segment.stop += len(raw) + len(payload)
        segment.chain = header.sum
        segment.digest.update(raw)
        segment.digest.update(payload)
        self._written_seq += self._count
        self._written_ns = self._last_ns
        self._count = 0

    def sync(self) -> int:
        """Bring every record appended so far to the disk; the seq of the last one, which is acknowledged now."""
        self.flush()
        self._sync_written()
        return self._acknowledged_seq

    def close(self) -> None:
        """Write and sync what waits, seal the segment, let the tape go. A closed writer does nothing any more."""
        if self._folder_file < 0:
            return
        try:
            self.flush()
            if self._segment is not None:
                self._seal(self._segment)
        finally:
            self._release()

    def abandon(self) -> None:
        """Write and sync what waits and let the tape go unsealed, as work that did not end in order leaves it."""
        try:
            self.sync()
        finally:
            self._release()

    def _start(self, tape_id: bytes) -> None:
        self._tape_id = tape_id
        self._open_next()

    def _continue(self, found: Continuation, tape_id: bytes | None) -> None:
        self._tape_id = found.tape_id or tape_id or os.urandom(TAPE_ID_BYTES)
        self._written_seq = self._acknowledged_seq = found.next_seq - 1
        self._last_ns = self._written_ns = found.last_ns
        self._last_number = found.last_number
        self.torn_tail = found.torn_tail
        segment = found.segment
        if segment is None:
            return
        if found.tape_id is None:
            segment.chain = first_chain(segment_name(segment.number), self._tape_id)
        try:
            self._file = os.open(self._path(segment.number), os.O_WRONLY | os.O_APPEND)
            os.ftruncate(self._file, segment.stop)
            os.fsync(self._file)
        except OSError as error:
            raise self._failed(segment.number, error) from error
        self._segment = segment

    def _lock(self, *, is_new: bool) -> int:
        """Take the folder for this process; where it is new, its name is on the disk when this returns."""
        try:
            if is_new:
                missing = [each for each in (self.folder, *self.folder.parents) if not each.exists()]
                self.folder.mkdir(parents=True, exist_ok=True)
                for made in missing:
                    _sync_folder(made.parent)
            elif not self.folder.is_dir():
                find_continuation(self.folder)  # raises what says so
            file = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise _refused(self.folder, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise TapeLockedError(
                f"{self.folder} is being written by another process",
                remedy="Stop that one first; two recorders on one tape would mix their records.",
            ) from None
        if is_new and segment_paths(self.folder):
            os.close(file)
            raise UsageError(
                f"{self.folder} holds a tape already",
                remedy="Give another folder, or move that tape away. A tape is never written over.",
            )
        return file

    def _open_next(self) -> OpenSegment:
        number = self._last_number + 1
        try:
            self._file = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            os.fsync(self._folder_file)
        except OSError as error:
            raise self._failed(number, error) from error
        chain = first_chain(segment_name(number), self._tape_id)
        self._last_number = number
        self._segment = OpenSegment(number, chain, 0, hashlib.sha256(), [])
        return self._segment

    def _is_over(self, segment: OpenSegment, more_bytes: int) -> bool:
        return segment.stop + more_bytes > self._segment_bytes

    def _seal(self, segment: OpenSegment) -> None:
        """End a segment with its index and footer; everything in it is acknowledged then."""
        index = make_index(segment.entries)
        packed = index.tobytes()
        has_any = len(index) > 0
        self._write(
            packed
            + encode_footer(
                Footer(
                    entries=len(index),
                    records=int(index["count"].sum(dtype=np.int64)),
                    first_seq=int(index["first_seq"][0]) if has_any else self._written_seq + 1,
                    last_seq=self._written_seq,
                    first_ns=int(index["first_ns"][0]) if has_any else self._written_ns,
                    last_ns=self._written_ns,
                    digest=segment.digest.digest(),
                    index_sum=checksum(packed),
                )
            )
        )
        self._acknowledge()
        os.close(self._file)
        self._file = -1
        self._segment = None

    def _keep_times_rising(self, placed: Records) -> None:
        times = placed["ts_receive_ns"]
        times[0] = max(self._last_ns, int(times[0]))
        np.maximum.accumulate(times, out=times)
        self._last_ns = int(times[-1])

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            raise self._failed(self._last_number, error) from error

    def _sync_written(self) -> None:
        self._refuse_trouble()
        if self._file >= 0 and self._acknowledged_seq < self._written_seq:
            self._acknowledge()
        self._synced_ns = self._clock_ns()

    def _acknowledge(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise self._failed(self._last_number, error) from error
        self._acknowledged_seq = self._written_seq

    def _failed(self, number: int, error: OSError) -> TapewrightError:
        self._trouble = _refused(self._path(number), error)
        return self._trouble

    def _refuse_trouble(self) -> None:
        if self._trouble is not None:
            raise self._trouble
        assert self._folder_file >= 0, "the writer is closed"

    def _release(self) -> None:
        for file in (self._file, self._folder_file):
            if file >= 0:
                os.close(file)
        self._file = self._folder_file = -1

    def _path(self, number: int) -> Path:
        return self.folder / segment_name(number)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be written: {error.strerror or error}",
        remedy="Check the folder's rights and the disk's space, then open the tape again:"
        " what was acknowledged is there.",
    )
