"""What is wrong with a tape: every byte of it is read, and each finding says where and which records it touches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from adapters.tape.codec import Unpacker, empty_records
from adapters.tape.explained import Explained
from adapters.tape.findings import Finding, FindingKind
from adapters.tape.format import FOOTER_BYTES, FRAME_RECORDS_MAX
from adapters.tape.frames import Damage, Frame, Reason, SegmentFile, Thread
from adapters.tape.segments import Index, Segment, digest_of, find_tape_id, index_entry, make_index, read_segments


def check(folder: Path, on_progress: Callable[[int], None] | None = None) -> list[Finding]:
    """Return what is wrong with a tape, in its order; `on_progress` is told how many records were read.

    Raises InputMissingError where there is no tape, DataError where a file cannot be read at all.
    """
    segments = read_segments(folder)
    run = _Check(find_tape_id(segments), on_progress)
    for place, segment in enumerate(segments):
        run.segment(segment, is_last=place == len(segments) - 1)
    return run.finish()


class _Check:
    """One run over a tape: what was found, and what the next good frame must tell of what is lost."""

    def __init__(self, tape_id: bytes | None, on_progress: Callable[[int], None] | None) -> None:
        self._findings: list[Finding] = []
        self._pending: list[tuple[FindingKind, str, int, str]] = []  # lost records, how many is not known yet
        self._thread = Thread(tape_id=tape_id)
        self._unpacker = Unpacker()
        self._room = empty_records(FRAME_RECORDS_MAX)
        self._last_ns = 0
        self._next_number = 1
        self._explained = Explained()
        self._on_progress = on_progress

    def segment(self, segment: Segment, *, is_last: bool) -> None:
        """Check one segment: its frames first, then what its end says of them."""
        name = segment.path.name
        if segment.number != self._next_number:
            missing = f"{self._next_number:06d}.tape" + (
                f" to {segment.number - 1:06d}.tape" if segment.number - 1 > self._next_number else ""
            )
            self._pending.append((FindingKind.MISSING_SEGMENT, name, 0, f"before it {missing} should be"))
        self._next_number = segment.number + 1
        first_seq, damages, entries = self._thread.next_seq, 0, bytearray()
        with SegmentFile(segment.path) as file:
            for found in file.frames(self._thread, 0, segment.frames_stop):
                if isinstance(found, Frame):
                    self._good(file, found)
                    entries += index_entry(found.offset, found.header)
                elif not self._is_bad_footer(segment, found, entries):
                    damages += 1
                    self._damaged(name, found, is_tail=found.is_last and is_last and segment.footer is None)
            self._check_end(segment, file, make_index(entries), first_seq, is_whole=not damages)

    def finish(self) -> list[Finding]:
        """Return the findings; those of documents last."""
        self._settle(self._thread.next_seq, self._thread.next_seq, 0)
        return self._findings + self._explained.finish()

    def _good(self, file: SegmentFile, frame: Frame) -> None:
        header, name = frame.header, file.path.name
        if frame.lost and not self._pending:
            self._pending.append((FindingKind.SEQ_JUMP, name, frame.offset, "the seqs go on too late"))
        self._explained.lose(frame.lost, header.first_seq)
        self._settle(header.first_seq - frame.lost, header.first_seq, header.first_ns)
        records = self._room[: header.count]
        is_whole = self._unpacker.unpack(header, file.payload, records)
        if not is_whole or int(records["ts_receive_ns"][0]) != header.first_ns:
            text = "its sums are right, but it does not hold the records that its header says"
            self._find(FindingKind.ROTTEN_FRAME, name, frame.offset, header.first_seq, header.stop_seq - 1, text)
            return
        times = records["ts_receive_ns"]
        if int(times[0]) < self._last_ns or (np.diff(times) < 0).any():
            self._find(
                FindingKind.FALLING_TIME, name, frame.offset, header.first_seq, header.stop_seq - 1,
                "receive times fall from one record to the next",
            )  # fmt: skip
        self._last_ns = max(self._last_ns, int(times[-1]))
        self._explained.take(name, frame.offset, header.first_seq, records)
        if self._on_progress is not None:
            self._on_progress(header.stop_seq - 1)

    def _damaged(self, name: str, damage: Damage, *, is_tail: bool) -> None:
        text = f"{damage.stop - damage.offset:,} bytes are no good frame: {damage.reason}"
        if is_tail:
            text += "; nothing good comes after them"
            self._find(FindingKind.TORN_TAIL, name, damage.offset, 1, 0, text)
            return
        is_chain = damage.reason in (Reason.CHAIN_BROKEN, Reason.OTHER_SEGMENT, Reason.FOREIGN, Reason.SEQ_FALLS)
        kind = FindingKind.CHAIN_BREAK if is_chain else FindingKind.ROTTEN_FRAME
        self._pending.append((kind, name, damage.offset, text))

    def _is_bad_footer(self, segment: Segment, damage: Damage, entries: bytearray) -> bool:
        """Tell whether what is left after the last good frame is an index and a footer of which the sum is wrong."""
        expected_bytes = len(entries) + FOOTER_BYTES
        if not damage.is_last or segment.footer is not None:
            return False
        if not segment.is_footer_bad and damage.stop - damage.offset != expected_bytes:
            return False
        text = "its sum is wrong: the segment counts as not sealed"
        offset = segment.bytes_count - FOOTER_BYTES
        self._find(FindingKind.BAD_FOOTER, segment.path.name, offset, 1, 0, text)
        return True

    def _check_end(self, segment: Segment, file: SegmentFile, found: Index, first_seq: int, *, is_whole: bool) -> None:
        footer, name = segment.footer, segment.path.name
        if footer is None:
            return
        if footer.last_seq >= self._thread.next_seq:
            if not self._pending:
                text = "it tells of records that no frame holds"
                self._pending.append((FindingKind.BAD_FOOTER, name, segment.bytes_count - FOOTER_BYTES, text))
            self._explained.lose(footer.last_seq + 1 - self._thread.next_seq, footer.last_seq + 1)
            self._settle(self._thread.next_seq, footer.last_seq + 1, footer.last_ns)
            self._thread.next_seq = footer.last_seq + 1
        index = segment.index
        if index is None:
            self._find(FindingKind.BAD_INDEX, name, segment.frames_stop, 1, 0, "its sum is wrong")
            index = found
        elif not set(found.tolist()) <= set(index.tolist()) or (is_whole and len(found) != len(index)):
            self._find(FindingKind.BAD_INDEX, name, segment.frames_stop, 1, 0, "it does not tell of the frames there")
            index = found
        if not is_whole:
            return
        said = (footer.entries, footer.records, footer.first_seq, footer.last_seq, footer.last_ns)
        first_seq = int(index["first_seq"][0]) if len(index) else first_seq
        records_count = int(index["count"].sum(dtype=np.int64))
        true = (len(index), records_count, first_seq, self._thread.next_seq - 1, self._last_ns)
        if said != true:
            text = f"entries, records, first and last seq, last time are said to be {said}, but are {true}"
            self._find(FindingKind.BAD_FOOTER, name, segment.bytes_count - FOOTER_BYTES, 1, 0, text)
        if digest_of(file, segment.frames_stop).digest() != footer.digest:
            self._find(FindingKind.DIGEST, name, 0, 1, 0, "the frames are not those that were sealed")

    def _settle(self, first_seq: int, next_seq: int, next_ns: int) -> None:
        """Tell what is pending, now that the next good seq is known; the first of several tells what is lost."""
        for kind, name, offset, text in self._pending:
            self._findings.append(Finding(kind, name, offset, first_seq, next_seq - 1, self._last_ns, next_ns, text))
            first_seq = next_seq
        self._pending.clear()

    def _find(self, kind: FindingKind, name: str, offset: int, first_seq: int, last_seq: int, text: str) -> None:
        self._findings.append(Finding(kind, name, offset, first_seq, last_seq, self._last_ns, self._last_ns, text))
