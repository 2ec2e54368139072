"""The files under a tape's writer: locked, appended to, synced, sealed.

What fails while it is written leaves this closed for good: after a failed fdatasync nobody knows what the disk
holds, and trying again would lie.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import numpy as np

from adapters.tape.continuation import Continuation, OpenSegment, TornTail, find_continuation
from adapters.tape.format import (
    HEADER_BYTES,
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
from adapters.tape.segments import index_entry, make_index, read_segments
from engine.errors import EXIT_LOCKED, DataError, TapewrightError, UsageError


class TapeLockedError(TapewrightError):
    """Another writer has the tape open."""

    exit_code = EXIT_LOCKED


class SyncTicket:
    """A file of its own handle, and the seq that is on the disk once `sync` has returned. For any one thread."""

    def __init__(self, file: int, seq: int) -> None:
        self.seq = seq
        self._file = file

    def sync(self) -> OSError | None:
        """Wait until everything written before is on the disk; what the disk refused, or None."""
        try:
            os.fdatasync(self._file)
        except OSError as error:
            return error
        finally:
            os.close(self._file)
        return None


class SegmentWriter:
    """The end of one tape, open for frames. See `TapeWriter` for arguments and errors."""

    def __init__(self, folder: Path, *, is_new: bool, segment_bytes: int, tape_id: bytes | None) -> None:
        assert tape_id is None or len(tape_id) == TAPE_ID_BYTES
        self.torn_tail: TornTail | None = None
        self.written_seq = self.acknowledged_seq = 0
        self.written_ns = 0  # receive time of the last record written
        self.written_bytes = 0  # by this writer
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._tape_id = tape_id or os.urandom(TAPE_ID_BYTES)
        self._segment: OpenSegment | None = None
        self._last_number = 0
        self._file = -1
        self._trouble: TapewrightError | None = None
        self._folder_file = _locked(folder, is_new=is_new)
        try:
            if is_new:
                self._open_next()
            else:
                self._continue(find_continuation(folder))
        except BaseException:
            self.release()
            raise

    @property
    def tape_id(self) -> bytes:
        """The tape's id."""
        return self._tape_id

    @property
    def is_open(self) -> bool:
        """Whether it has not been released."""
        return self._folder_file >= 0

    @property
    def has_failed(self) -> bool:
        """Whether the disk has refused something."""
        return self._trouble is not None

    def refuse_trouble(self) -> None:
        """Raise again what the disk has refused."""
        if self._trouble is not None:
            raise self._trouble
        assert self.is_open, "the writer is closed"

    def write_frame(self, codec: int, payload: bytes, marks: int, count: int, first_ns: int, last_ns: int) -> None:
        """Append a frame; begins a new segment where this one is full. The system has the frame then."""
        segment = self._segment
        is_full = segment is not None and segment.stop + HEADER_BYTES + len(payload) > self._segment_bytes
        if is_full and segment is not None and segment.entries:
            self.seal()
            segment = None
        segment = segment or self._open_next()
        first_seq = self.written_seq + 1
        raw = encode_header(codec, marks, count, payload, first_seq, first_ns, segment.chain, self._tape_id)
        header = decode_header(raw)
        assert header is not None
        self._write(raw + payload)
        segment.entries += index_entry(segment.stop, header)
        segment.stop += len(raw) + len(payload)
        segment.chain = header.sum
        segment.digest.update(raw)
        segment.digest.update(payload)
        self.written_bytes += len(raw) + len(payload)
        self.written_seq += count
        self.written_ns = last_ns

    def sync(self) -> None:
        """Have every frame written so far on the disk."""
        self.refuse_trouble()
        if self.acknowledged_seq < self.written_seq:
            self._acknowledge()

    def begin_sync(self) -> SyncTicket | None:
        """What another thread may sync meanwhile (see `SyncTicket`); None where all is on the disk."""
        self.refuse_trouble()
        if self.acknowledged_seq >= self.written_seq or self._file < 0:
            return None
        return SyncTicket(os.dup(self._file), self.written_seq)

    def end_sync(self, ticket: SyncTicket, error: OSError | None) -> None:
        """Take over what came of it; raises DataError where the disk refused."""
        if error is not None:
            raise self._failed(error) from error
        self.acknowledged_seq = max(self.acknowledged_seq, ticket.seq)

    def seal(self) -> None:
        """End the segment, if one is open, with its index and footer; everything in it is acknowledged then."""
        segment = self._segment
        if segment is None:
            return
        index = make_index(segment.entries)
        packed = index.tobytes()
        has_any = len(index) > 0
        footer = Footer(
            entries=len(index),
            records=int(index["count"].sum(dtype=np.int64)),
            first_seq=int(index["first_seq"][0]) if has_any else self.written_seq + 1,
            last_seq=self.written_seq,
            first_ns=int(index["first_ns"][0]) if has_any else self.written_ns,
            last_ns=self.written_ns,
            digest=segment.digest.digest(),
            index_sum=checksum(packed),
        )
        self._write(packed + encode_footer(footer))
        self._acknowledge()
        os.close(self._file)
        self._file = -1
        self._segment = None

    def release(self) -> None:
        """Let files and lock go."""
        for file in (self._file, self._folder_file):
            if file >= 0:
                os.close(file)
        self._file = self._folder_file = -1

    def _continue(self, found: Continuation) -> None:
        self._tape_id = found.tape_id or self._tape_id
        self.written_seq = self.acknowledged_seq = found.next_seq - 1
        self.written_ns = found.last_ns
        self.torn_tail = found.torn_tail
        self._last_number = found.last_number
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
            raise self._failed(error) from error
        self._segment = segment

    def _open_next(self) -> OpenSegment:
        self._last_number += 1
        name = segment_name(self._last_number)
        try:
            self._file = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            os.fsync(self._folder_file)
        except OSError as error:
            raise self._failed(error) from error
        chain = first_chain(name, self._tape_id)
        self._segment = OpenSegment(self._last_number, chain, 0, hashlib.sha256(), bytearray())
        return self._segment

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            raise self._failed(error) from error

    def _acknowledge(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise self._failed(error) from error
        self.acknowledged_seq = self.written_seq

    def _failed(self, error: OSError) -> TapewrightError:
        self._trouble = _refused(self._path(self._last_number), error)
        return self._trouble

    def _path(self, number: int) -> Path:
        return self._folder / segment_name(number)


def _locked(folder: Path, *, is_new: bool) -> int:
    """Take a folder for this process and return its file; a new one's name is on the disk when this returns."""
    try:
        if is_new:
            missing = [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            for made in missing:
                _sync_folder(made.parent)
        elif not folder.is_dir():
            read_segments(folder)  # raises what says so
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise TapeLockedError(
            f"{folder} is being written by another process",
            remedy="Stop that one first; two recorders on one tape would mix their records.",
        ) from None
    if is_new and segment_paths(folder):
        os.close(file)
        raise UsageError(
            f"{folder} holds a tape already",
            remedy="Give another folder, or move that tape away. A tape is never written over.",
        )
    return file


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
