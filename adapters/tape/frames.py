"""Stepping through the frames of a segment, past everything that is not whole.

A frame is good where its magic, both sums, the tape's id, its seq and its chain are right. After a bad one the next
good one is looked for by its magic, byte for byte, as lost bytes move all that follows. So one rotten frame costs
one frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType

import msgspec

from adapters.tape.format import (
    HEADER_BYTES,
    MAGIC,
    RAW,
    RECORDS,
    SHUFFLED_ZSTD,
    Header,
    checksum,
    decode_header,
    first_chain,
)
from engine.errors import DataError

_BUFFER_BYTES = 1 << 17
_SCAN_BYTES = 1 << 20


class Reason(StrEnum):
    """Why bytes are no good frame."""

    SHORT = "less than a header is left"
    NO_HEADER = "no header stands here"
    HEADER_SUM = "the header's sum is wrong"
    NO_PAYLOAD = "the payload is not all there"
    PAYLOAD_SUM = "the payload's sum is wrong"
    FOREIGN = "it belongs to another tape"
    SEQ_FALLS = "its seqs stand on the tape already"
    OTHER_SEGMENT = "its chain begins in another segment"
    CHAIN_BROKEN = "the chain is broken: another frame stood before it"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A good frame; `lost` records are missing before it."""

    offset: int
    header: Header
    lost: int

    @property
    def stop(self) -> int:
        """The offset after it."""
        return self.offset + HEADER_BYTES + self.header.length


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Bytes from `offset` to `stop` that are no good frame, and why the first of them is none."""

    offset: int
    stop: int
    reason: Reason
    is_last: bool  # nothing good comes after it in this segment


class Thread(msgspec.Struct):
    """What leads from one frame to the next, through all segments of a tape.

    `tape_id` None: taken from the first good frame. `chain` None: not known, so any will do.
    """

    next_seq: int = 1
    tape_id: bytes | None = None
    chain: int | None = None


class SegmentFile:
    """A segment's file, open for reading. `payload` is that of the frame found last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self.payload = b""
        try:
            self._file = path.open("rb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise unreadable(path, 0, error) from error

    def __enter__(self) -> SegmentFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def frames(self, thread: Thread, start: int, stop: int) -> Iterator[Frame | Damage]:
        """Go from one offset to another; `thread` moves along. Damage is told before the frame that follows it."""
        offset = start
        if start == 0:
            thread.chain = None if thread.tape_id is None else first_chain(self.path.name, thread.tape_id)
        while offset < stop:
            found = self._frame_at(offset, stop, thread)
            if isinstance(found, Reason):
                following = self._next_good(offset + 1, stop, thread)
                yield Damage(offset, stop if following is None else following.offset, found, following is None)
                if following is None:
                    return
                found = following
            header = found.header
            thread.next_seq, thread.tape_id, thread.chain = header.stop_seq, header.tape_id, header.sum
            yield found
            offset = found.stop

    def payload_of(self, frame: Frame) -> bytes:
        """Read a good frame's payload once more."""
        return self.read(frame.offset + HEADER_BYTES, frame.header.length)

    def _frame_at(self, offset: int, stop: int, thread: Thread) -> Frame | Reason:
        """Return the good frame at an offset, with its payload read; or why there is none."""
        if stop - offset < HEADER_BYTES:
            return Reason.SHORT
        raw = self.read(offset, HEADER_BYTES)
        header = decode_header(raw)
        if header is None:
            return Reason.NO_HEADER if raw[: len(MAGIC)] != MAGIC else Reason.HEADER_SUM
        if header.length > stop - offset - HEADER_BYTES:
            return Reason.NO_PAYLOAD
        problem = self._mismatch(offset, header, thread)
        if problem is not None:
            return problem
        self.payload = self.read(offset + HEADER_BYTES, header.length)
        if checksum(self.payload) != header.payload_sum:
            return Reason.PAYLOAD_SUM
        if header.kind != RECORDS or header.codec not in (RAW, SHUFFLED_ZSTD):
            raise DataError(
                f"{self.path}, offset {offset}: a frame of kind {header.kind}, codec {header.codec}",
                remedy="A newer Tapewright wrote it. Read it with that version.",
            )
        return Frame(offset, header, header.first_seq - thread.next_seq)

    def _mismatch(self, offset: int, header: Header, thread: Thread) -> Reason | None:
        """Return why a header whose own sum is right does not belong here, None where it does."""
        if thread.tape_id is not None and header.tape_id != thread.tape_id:
            return Reason.FOREIGN
        if header.first_seq < thread.next_seq:
            return Reason.SEQ_FALLS
        if offset == 0:
            return None if header.chain == first_chain(self.path.name, header.tape_id) else Reason.OTHER_SEGMENT
        if header.first_seq == thread.next_seq and thread.chain is not None and header.chain != thread.chain:
            return Reason.CHAIN_BROKEN
        return None

    def _next_good(self, start: int, stop: int, thread: Thread) -> Frame | None:
        """Return the next good frame that begins at `start` or after it."""
        while start < stop:
            chunk = self.read(start, min(_SCAN_BYTES, stop - start))
            place = chunk.find(MAGIC)
            while place >= 0:
                found = self._frame_at(start + place, stop, thread)
                if isinstance(found, Frame):
                    return found
                place = chunk.find(MAGIC, place + 1)
            start += max(1, len(chunk) - len(MAGIC) + 1)
        return None

    def size(self) -> int:
        """How long the file is now."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes of the file; raises DataError where they cannot be read."""
        try:
            if offset != self._at:
                self._file.seek(offset)
            raw = self._file.read(count)
        except OSError as error:
            raise unreadable(self.path, offset, error) from error
        self._at = offset + len(raw)
        if len(raw) != count:
            raise changed(self.path, offset)
        return raw


def unreadable(path: Path, offset: int, error: OSError) -> DataError:
    """Return the error for a file that the system does not let be read."""
    return DataError(
        f"{path}, offset {offset}: cannot be read ({error.strerror or error})",
        remedy="Check the file's rights and the disk; copy what can be copied and run: tapewright tape check",
    )


def changed(path: Path, offset: int) -> DataError:
    """Return the error for a file that became shorter while it was read."""
    return DataError(
        f"{path}, offset {offset}: the file ends here, which was longer when it was opened",
        remedy="Something cut it while it was read. Read it again.",
    )
