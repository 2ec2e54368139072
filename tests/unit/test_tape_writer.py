"""Writing tapes: what is on the disk when, what a new and a continued tape hold, who may write."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters.tape import CLOSING, SESSION, Closing, TapeLockedError, TapeReader, TapeWriter
from adapters.tape.checking import check
from engine.errors import DataError, InputMissingError, UsageError
from engine.kernels.layout import DOCUMENT, RECORD
from tests.tapes import a_session, read_all, some_records, write_tape

ROOT = Path(__file__).parents[2]
MS = 1_000_000


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        """Return its time."""
        return self.ns


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    records = some_records(10_000)
    with TapeWriter(tmp_path / "tape", is_new=True) as writer:
        assert writer.append(records) == 10_000
        assert writer.append(records[:0]) == 10_000
        assert writer.sync() == writer.acknowledged_seq == 10_000
    assert read_all(tmp_path / "tape").tobytes() == records.tobytes()


def test_records_may_lie_anywhere_in_memory(tmp_path: Path) -> None:
    wide = np.zeros(600, np.dtype([("before", "u1"), ("record", RECORD), ("after", "u4")]))
    wide["record"] = some_records(600)
    with TapeWriter(tmp_path, is_new=True) as writer:
        writer.append(wide["record"][::3])
        writer.append(np.asfortranarray(some_records(1_000, 2)[800:]))
    written = np.concatenate([wide["record"][::3], some_records(1_000, 2)[800:]])
    written["ts_receive_ns"] = np.maximum.accumulate(written["ts_receive_ns"])
    assert read_all(tmp_path).tobytes() == written.tobytes()


def test_a_clock_that_steps_back_writes_the_last_time_again(tmp_path: Path) -> None:
    records = np.zeros(7, RECORD)
    records["ts_receive_ns"] = [5, 3, 6, 6, 2, 9, 8]
    records["ts_exchange_ns"] = [9, 1, 5, 2, 2, 2, 7]
    with TapeWriter(tmp_path, is_new=True, frame_records=2) as writer:
        writer.append(records[:3])
        writer.append(records[3:])
        assert writer.last_ns == 9
    with TapeWriter(tmp_path, is_new=False) as writer:
        writer.append(records[:1])
    read = read_all(tmp_path)
    assert read["ts_receive_ns"].tolist() == [5, 5, 6, 6, 6, 9, 9, 9]
    assert read["ts_exchange_ns"].tolist() == [9, 1, 5, 2, 2, 2, 7, 9]


def test_a_frame_waits_250_ms_and_a_sync_one_second(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "000001.tape"
    writer = TapeWriter(tmp_path, is_new=True, clock_ns=clock)
    clock.ns = 100 * MS
    writer.append(some_records(1))
    clock.ns = 349 * MS
    writer.append(some_records(2))
    assert path.stat().st_size == 0
    clock.ns = 350 * MS
    writer.tick()
    one_frame = path.stat().st_size
    assert one_frame > 64
    clock.ns = 999 * MS
    writer.tick()
    assert (path.stat().st_size, writer.acknowledged_seq) == (one_frame, 0)
    clock.ns = 1_000 * MS
    writer.tick()
    assert (writer.last_seq, writer.acknowledged_seq) == (3, 3)
    writer.append(some_records(1))
    assert writer.flush() is None
    assert (writer.last_seq, writer.acknowledged_seq) == (4, 3)
    writer.close()
    writer.close()


def test_a_full_frame_is_written_at_once(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path, is_new=True, clock_ns=Clock(), frame_records=16)
    writer.append(some_records(40))
    assert len(read_all(tmp_path)) == 32
    writer.close()
    assert len(read_all(tmp_path)) == 40


def test_segments_rotate_and_read_as_one(tmp_path: Path) -> None:
    records = some_records(3_000)
    original = write_tape(tmp_path, records, frame_records=64, segment_bytes=4_000)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["000001.tape", "000002.tape"]
    assert len(names) > 5
    facts = TapeReader(tmp_path).facts()
    assert [each.name for each in facts.segments] == names
    assert all(each.bytes_count <= 4_000 + 96 + 32 * (each.records_count // 64 + 1) for each in facts.segments)
    assert sum(each.records_count for each in facts.segments) == facts.records_count == len(original)
    assert original[-3_000:].tobytes() == records.tobytes()
    assert check(tmp_path) == []


def test_a_frame_larger_than_a_segment_still_gets_one(tmp_path: Path) -> None:
    write_tape(tmp_path, some_records(40), frame_records=8, segment_bytes=10)
    assert check(tmp_path) == []
    assert all(each.records_count <= 8 for each in TapeReader(tmp_path).facts().segments)


def test_a_sealed_tape_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    first = write_tape(tmp_path, some_records(50))
    sealed = (tmp_path / "000001.tape").read_bytes()
    tape_id = TapeReader(tmp_path).facts().tape_id
    later = some_records(30, 2)
    later["ts_receive_ns"] += 10**12
    with TapeWriter(tmp_path, is_new=False) as writer:
        assert writer.torn_tail is None
        assert writer.last_seq == writer.acknowledged_seq == len(first)
        writer.append(later)
    assert (tmp_path / "000001.tape").read_bytes() == sealed
    assert read_all(tmp_path).tobytes() == first.tobytes() + later.tobytes()
    assert TapeReader(tmp_path).facts().tape_id == tape_id
    assert check(tmp_path) == []


def test_an_unsealed_tape_goes_on_in_its_segment(tmp_path: Path) -> None:
    first = write_tape(tmp_path, some_records(50), is_sealed=False)
    assert not TapeReader(tmp_path).facts().is_sealed
    later = some_records(30, 2)
    later["ts_receive_ns"] += 10**12
    with TapeWriter(tmp_path, is_new=False, frame_records=8) as writer:
        assert writer.torn_tail is None
        writer.append(later)
    assert [path.name for path in tmp_path.iterdir()] == ["000001.tape"]
    assert read_all(tmp_path).tobytes() == first.tobytes() + later.tobytes()
    assert check(tmp_path) == []


def test_a_torn_tail_is_cut_off_and_said(tmp_path: Path) -> None:
    first = write_tape(tmp_path, some_records(50), is_sealed=False)
    path = tmp_path / "000001.tape"
    whole = path.stat().st_size
    os.truncate(path, whole - 3)
    kept = read_all(tmp_path)
    assert kept.tobytes() == first[: len(kept)].tobytes()
    assert len(first) - 8 <= len(kept) < len(first)
    later = some_records(30, 2)
    later["ts_receive_ns"] += 10**12
    with TapeWriter(tmp_path, is_new=False, frame_records=8) as writer:
        assert writer.torn_tail is not None
        assert writer.torn_tail.segment == "000001.tape"
        assert writer.torn_tail.offset + writer.torn_tail.bytes_count == whole - 3
        assert writer.last_seq == len(kept)
        writer.append(later)
    assert read_all(tmp_path).tobytes() == kept.tobytes() + later.tobytes()
    assert [finding.kind for finding in check(tmp_path)] == []


def test_a_tape_torn_in_its_first_frame_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "000001.tape").write_bytes(b"TWFRAME1 and then the power went")
    with TapeWriter(tmp_path, is_new=False) as writer:
        assert writer.torn_tail is not None
        assert writer.torn_tail.bytes_count == 32
        writer.document(SESSION, a_session())
    assert check(tmp_path) == []
    assert [document.type for document in TapeReader(tmp_path).documents()] == [SESSION]


def test_a_new_tape_that_got_nothing_is_a_tape(tmp_path: Path) -> None:
    TapeWriter(tmp_path, is_new=True).close()
    facts = TapeReader(tmp_path).facts()
    assert (facts.records_count, facts.first_seq, facts.last_seq, facts.is_sealed) == (0, 1, 0, True)
    assert check(tmp_path) == []
    with TapeWriter(tmp_path, is_new=False) as writer:
        writer.append(some_records(3))
    assert len(read_all(tmp_path)) == 3


def test_a_new_tape_is_never_written_over_an_old_one(tmp_path: Path) -> None:
    write_tape(tmp_path, some_records(5))
    with pytest.raises(UsageError, match="holds a tape already"):
        TapeWriter(tmp_path, is_new=True)
    for folder in (tmp_path / "none", tmp_path.parent):
        with pytest.raises(InputMissingError, match="No tape in"):
            TapeWriter(folder, is_new=False)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, is_new=True):
        for is_new in (True, False):
            with pytest.raises(TapeLockedError, match="being written by another process") as refused:
                TapeWriter(tmp_path, is_new=is_new)
            assert refused.value.exit_code == 75
    TapeWriter(tmp_path, is_new=False).close()


def test_a_disk_that_refuses_ends_the_writer_for_good(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path, is_new=True)
    writer.append(some_records(20))
    assert writer.sync() == 20
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._files._file)
    os.close(full)
    writer.append(some_records(5, 2))
    for _ in range(2):
        with pytest.raises(DataError, match=r"000001\.tape cannot be written: No space left"):
            writer.sync()
    with pytest.raises(DataError, match="No space left"):
        writer.append(some_records(1))
    with pytest.raises(DataError, match="No space left"):
        writer.close()
    assert writer.acknowledged_seq == 20
    assert len(read_all(tmp_path)) == 20
    TapeWriter(tmp_path, is_new=False).close()


def test_work_that_fails_leaves_its_tape_unsealed(tmp_path: Path) -> None:
    def work() -> None:
        with TapeWriter(tmp_path, is_new=True) as writer:
            writer.append(some_records(20))
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert len(read_all(tmp_path)) == 20
    assert not TapeReader(tmp_path).facts().is_sealed


def test_documents_of_any_length_and_language(tmp_path: Path) -> None:
    values = [
        {"text": "x" * 21},  # 32 bytes of JSON: one piece
        {"text": "x" * 29},  # 40: exactly one piece
        {"text": "x" * 30},  # 41: two pieces
        {"notes": ["Grüße, 東京 ₿ 🚀", "x\u0000y"], "many": list(range(3_000))},
        {},
    ]
    first_seqs = []
    with TapeWriter(tmp_path, is_new=True, frame_records=7) as writer:
        for number, value in enumerate(values):
            writer.append(some_records(3))
            first_seqs.append(writer.last_seq + 1)
            writer.document(number + 1, value)
        writer.document(CLOSING, Closing({"PRINT": 12}, {}))
    found = list(TapeReader(tmp_path).documents())
    assert [document.value for document in found[:-1]] == values
    assert [document.seq for document in found[:-1]] == first_seqs
    assert [document.type for document in found[:-1]] == [1, 2, 3, 4, 5]
    assert found[-1].value == {"counts": {"PRINT": 12}, "rejects": {}}
    assert [second - first - 3 for first, second in itertools.pairwise(first_seqs)][:3] == [1, 1, 2]


def test_a_document_that_a_crash_tore_does_not_swallow_the_next(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, is_new=True, frame_records=4) as writer:
        writer.document(SESSION, a_session("before"))
    whole = read_all(tmp_path)
    folder = tmp_path / "torn"
    writer = TapeWriter(folder, is_new=True, frame_records=4)
    writer.append(whole[:-3])
    writer.abandon()
    with TapeWriter(folder, is_new=False) as writer:
        writer.document(SESSION, a_session("after"))
    assert TapeReader(folder).session().session == "after"
    assert [(finding.kind, finding.last_seq) for finding in check(folder)] == [("broken document", len(whole) - 3)]


def test_a_session_is_read_as_it_was_written(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, is_new=True) as writer:
        writer.document(SESSION, a_session("one"))
        writer.append(some_records(10))
        writer.document(SESSION, a_session("two"))
    reader = TapeReader(tmp_path)
    (first_seq, first), (second_seq, second) = reader.sessions()
    assert (first_seq, first) == (1, a_session("one"))
    assert second == a_session("two") == reader.session()
    assert reader.session(second_seq - 1) == first
    assert read_all(tmp_path)["kind"][second_seq - 1] == DOCUMENT
    with pytest.raises(DataError, match="holds no SESSION document before seq 0"):
        reader.session(0)


def test_a_session_of_another_format_is_refused(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, is_new=True) as writer:
        writer.document(SESSION, {"format": 2, "session": "s", "created_ns": 1, "software": "x 9", "instruments": []})
    with pytest.raises(DataError, match="has format 2") as refused:
        TapeReader(tmp_path).session()
    assert "x 9" in refused.value.remedy


def test_importing_the_tape_loads_neither_numba_nor_polars() -> None:
    code = "import sys, adapters.tape, adapters.tape.checking, adapters.tape.repair\n"
    code += "print([name for name in ('numba', 'polars', 'rich', 'typer') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
