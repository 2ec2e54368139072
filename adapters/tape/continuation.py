"""Where a tape ends, so that a writer can go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.tape.format import first_chain
from adapters.tape.frames import Frame, Reason, SegmentFile, Thread
from adapters.tape.segments import Segment, digest_of, find_tape_id, index_entry, last_ns_of, read_segments

if TYPE_CHECKING:
    from hashlib import _Hash


class TornTail(msgspec.Struct, frozen=True):
    """What a writer cut off before it went on: the bytes from `offset` on, which hold no good frame."""

    segment: str
    offset: int
    bytes_count: int
    reason: Reason


class OpenSegment(msgspec.Struct):
    """A segment that is being written: what its footer will say, and what the next frame's chain is."""

    number: int
    chain: int
    stop: int
    digest: _Hash
    entries: bytearray


class Continuation(msgspec.Struct, frozen=True):
    """The end of a tape. `tape_id` None: no frame was ever written. `segment` None: the last one is sealed."""

    tape_id: bytes | None
    next_seq: int
    last_ns: int
    last_number: int
    segment: OpenSegment | None
    torn_tail: TornTail | None


def find_continuation(folder: Path) -> Continuation:
    """Look at a tape's end; changes nothing. Raises InputMissingError where the folder holds no tape."""
    segments = read_segments(folder)
    last = segments[-1]
    tape_id = find_tape_id(segments)
    next_seq, last_ns = _known_end(segments[:-1], tape_id)
    if last.footer is not None:
        next_seq = max(next_seq, last.footer.last_seq + 1)
        return Continuation(tape_id, next_seq, max(last_ns, last.footer.last_ns), last.number, None, None)
    thread = Thread(next_seq, tape_id)
    with SegmentFile(last.path) as file:
        entries, tail, end_ns = _walk(file, last, thread)
        stop = last.bytes_count if tail is None else tail.offset
        digest = digest_of(file, stop)
    chain = thread.chain
    if not entries:
        chain = None if tape_id is None else first_chain(last.path.name, tape_id)
    segment = OpenSegment(last.number, chain or 0, stop, digest, entries)
    return Continuation(tape_id, thread.next_seq, max(last_ns, end_ns), last.number, segment, tail)


def _walk(file: SegmentFile, segment: Segment, thread: Thread) -> tuple[bytearray, TornTail | None, int]:
    """Return a segment's index so far, its torn tail, and the receive time of its last record (0: it has none)."""
    entries = bytearray()
    tail = None
    last: Frame | None = None
    for found in file.frames(thread, 0, segment.frames_stop):
        if isinstance(found, Frame):
            last = found
            entries += index_entry(found.offset, found.header)
        elif found.is_last:
            tail = TornTail(segment.path.name, found.offset, found.stop - found.offset, found.reason)
    return entries, tail, 0 if last is None else last_ns_of(file, last)


def _known_end(segments: list[Segment], tape_id: bytes | None) -> tuple[int, int]:
    """Return the seq after these segments' last record, and its receive time; (1, 0) where they hold none."""
    next_seq, last_ns = 1, 0
    for segment in segments:
        if segment.footer is not None:
            next_seq, last_ns = segment.footer.last_seq + 1, segment.footer.last_ns
            continue
        thread = Thread(next_seq, tape_id)
        with SegmentFile(segment.path) as file:
            last_ns = max(last_ns, _walk(file, segment, thread)[2])
        next_seq = thread.next_seq
    return next_seq, last_ns
