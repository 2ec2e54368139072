"""A segment as its end describes it: sealed or not, where its frames end, and what its index says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.tape.codec import Unpacker, empty_records
from adapters.tape.format import (
    FOOTER_BYTES,
    INDEX_ENTRY,
    INDEX_MAGIC,
    Footer,
    Header,
    checksum,
    decode_footer,
    segment_number,
    segment_paths,
)
from adapters.tape.frames import Frame, SegmentFile, Thread
from engine.errors import InputMissingError

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK_BYTES = 1 << 20
_pack_entry = Struct("<QQqII").pack
assert Struct("<QQqII").size == INDEX_ENTRY.itemsize

Index = NDArray[np.void]


class Segment(msgspec.Struct, frozen=True):
    """A segment's file: frames from offset 0 to `frames_stop`, then what belongs to the footer.

    `footer` None: not sealed, or its footer is bad (`is_footer_bad`). `index` None: none, or bad.
    """

    path: Path
    number: int
    bytes_count: int
    frames_stop: int
    footer: Footer | None
    index: Index | None
    is_footer_bad: bool = False


def read_segments(folder: Path) -> list[Segment]:
    """Return a tape's segments in their order; raises InputMissingError where the folder holds none."""
    paths = segment_paths(folder)
    if not paths:
        raise InputMissingError(
            f"No tape in {folder}: it holds no file such as 000001.tape",
            remedy="Give the folder of a tape. tapewright tape import makes one of recorded files.",
        )
    return [read_segment(path) for path in paths]


def read_segment(path: Path) -> Segment:
    """Return what a segment's end tells. Frames are not looked at."""
    number = segment_number(path)
    assert number is not None
    with SegmentFile(path) as file:
        size = file.size()
        if size < FOOTER_BYTES:
            return Segment(path, number, size, size, None, None)
        raw = file.read(size - FOOTER_BYTES, FOOTER_BYTES)
        footer = decode_footer(raw)
        frames_stop = -1 if footer is None else size - FOOTER_BYTES - footer.entries * INDEX_ENTRY.itemsize
        if footer is None or frames_stop < 0:
            return Segment(path, number, size, size, None, None, raw[: len(INDEX_MAGIC)] == INDEX_MAGIC)
        packed = file.read(frames_stop, footer.entries * INDEX_ENTRY.itemsize)
        index = np.frombuffer(packed, INDEX_ENTRY) if checksum(packed) == footer.index_sum else None
        return Segment(path, number, size, frames_stop, footer, index)


def index_of(segment: Segment, tape_id: bytes | None) -> Index:
    """Return the index of a segment's good frames: its own, else made by stepping through them."""
    if segment.index is not None:
        return segment.index
    with SegmentFile(segment.path) as file:
        found = file.frames(Thread(tape_id=tape_id), 0, segment.frames_stop)
        entries = [index_entry(frame.offset, frame.header) for frame in found if isinstance(frame, Frame)]
    return make_index(b"".join(entries))


def index_entry(offset: int, header: Header) -> bytes:
    """What the index says of a frame, packed as it is written: a session keeps those of a segment for hours."""
    return _pack_entry(offset, header.first_seq, header.first_ns, header.count, header.marks)


def make_index(entries: bytes | bytearray) -> Index:
    """Packed entries as an array."""
    return np.frombuffer(bytes(entries), INDEX_ENTRY)


def last_ns_of(file: SegmentFile, frame: Frame) -> int:
    """Receive time of a frame's last record."""
    records = empty_records(frame.header.count)
    is_whole = Unpacker().unpack(frame.header, file.payload_of(frame), records)
    return int(records["ts_receive_ns"][-1]) if is_whole else frame.header.first_ns


def digest_of(file: SegmentFile, stop: int) -> _Hash:
    """SHA-256 of a segment's bytes up to an offset; more can be added."""
    digest = hashlib.sha256()
    for offset in range(0, stop, _CHUNK_BYTES):
        digest.update(file.read(offset, min(_CHUNK_BYTES, stop - offset)))
    return digest


def find_tape_id(segments: list[Segment]) -> bytes | None:
    """Return the id that the tape's first good frame carries, None where the tape has none."""
    for segment in segments:
        with SegmentFile(segment.path) as file:
            for found in file.frames(Thread(), 0, segment.frames_stop):
                if isinstance(found, Frame):
                    return found.header.tape_id
    return None
