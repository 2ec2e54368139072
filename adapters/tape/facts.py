"""What a tape is, without reading its records."""

from __future__ import annotations

import hashlib

import msgspec

from adapters.tape.codec import Unpacker, empty_records
from adapters.tape.format import FRAME_RECORDS_MAX
from adapters.tape.frames import Frame, SegmentFile, Thread
from adapters.tape.segments import Segment, last_ns_of
from engine.kernels.layout import DOCUMENT


class SegmentFacts(msgspec.Struct, frozen=True):
    """One segment; seqs 1 and 0, times 0 where it holds no record. `sha256` is empty while it is not sealed."""

    name: str
    bytes_count: int
    records_count: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    is_sealed: bool
    sha256: str


class TapeFacts(msgspec.Struct, frozen=True):
    """A tape. Times are receive times; `first_ns` is that of the first record that is no document's.

    `digest` (hex) is the SHA-256 of the segments' SHA-256 one after the other, empty while one is not sealed.
    """

    tape_id: str
    segments: tuple[SegmentFacts, ...]
    bytes_count: int
    records_count: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    is_sealed: bool
    digest: str


def facts_of(segments: list[Segment], tape_id: bytes | None) -> TapeFacts:
    """Return what footers tell, and for a segment that is not sealed what its frames tell."""
    thread = Thread(tape_id=tape_id)
    found = tuple(_segment_facts(segment, thread) for segment in segments)
    filled = [each for each in found if each.records_count]
    is_sealed = all(each.is_sealed for each in found)
    digest = hashlib.sha256(b"".join(bytes.fromhex(each.sha256) for each in found)).hexdigest() if is_sealed else ""
    return TapeFacts(
        tape_id=(tape_id or b"").hex(),
        segments=found,
        bytes_count=sum(each.bytes_count for each in found),
        records_count=sum(each.records_count for each in found),
        first_seq=filled[0].first_seq if filled else 1,
        last_seq=filled[-1].last_seq if filled else 0,
        first_ns=_first_data_ns(segments, tape_id),
        last_ns=filled[-1].last_ns if filled else 0,
        is_sealed=is_sealed,
        digest=digest,
    )


def _segment_facts(segment: Segment, thread: Thread) -> SegmentFacts:
    name, footer = segment.path.name, segment.footer
    if footer is not None:
        thread.next_seq = max(thread.next_seq, footer.last_seq + 1)
        return SegmentFacts(
            name, segment.bytes_count, footer.records, footer.first_seq, footer.last_seq, footer.first_ns,
            footer.last_ns, is_sealed=True, sha256=footer.digest.hex(),
        )  # fmt: skip
    first: Frame | None = None
    last: Frame | None = None
    records_count = 0
    with SegmentFile(segment.path) as file:
        for found in file.frames(thread, 0, segment.frames_stop):
            if isinstance(found, Frame):
                first, last = first or found, found
                records_count += found.header.count
        if first is None or last is None:
            return SegmentFacts(name, segment.bytes_count, 0, 1, 0, 0, 0, is_sealed=False, sha256="")
        last_ns = last_ns_of(file, last)
    return SegmentFacts(
        name, segment.bytes_count, records_count, first.header.first_seq, last.header.stop_seq - 1,
        first.header.first_ns, last_ns, is_sealed=False, sha256="",
    )  # fmt: skip


def _first_data_ns(segments: list[Segment], tape_id: bytes | None) -> int:
    """Return the receive time of the first record that is no document's: a document may come before any time."""
    room, unpacker, thread = empty_records(FRAME_RECORDS_MAX), Unpacker(), Thread(tape_id=tape_id)
    for segment in segments:
        with SegmentFile(segment.path) as file:
            for found in file.frames(thread, 0, segment.frames_stop):
                if isinstance(found, Frame):
                    records = room[: found.header.count]
                    if unpacker.unpack(found.header, file.payload, records):
                        data = records[records["kind"] != DOCUMENT]
                        if len(data):
                            return int(data["ts_receive_ns"][0])
    return 0
