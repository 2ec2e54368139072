"""Cuts of tapes: they explain themselves, begin with a GAP, and hold whole messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.tape import CLOSING, CONFIG, SESSION, Closing, TapeReader, TapeWriter
from adapters.tape.checking import check
from adapters.tape.codec import Records
from adapters.tape.cut import Range, cut
from adapters.tape.repair import repair
from engine.errors import InputMissingError, UsageError
from engine.kernels.layout import ALL_INSTRUMENTS, DOCUMENT, GAP, GAP_CUT, LAST, LEVEL, PRINT, RECORD, SNAPSHOT
from tests.tapes import START_NS, a_session, read_all, some_records, write_tape

# kind, instrument, flags, a; one record a second, but those of a message share the first one's time
ROWS = """
LEVEL 0 SNAPSHOT       1
LEVEL 0 SNAPSHOT       2
LEVEL 0 SNAPSHOT|LAST  3
PRINT 1 -              4
LEVEL 1 -              5
LEVEL 1 LAST           6
GAP   all -            7
PRINT 0 -              8
"""
WORDS = {"LEVEL": LEVEL, "PRINT": PRINT, "GAP": GAP, "SNAPSHOT": SNAPSHOT, "LAST": LAST, "-": 0, "all": ALL_INSTRUMENTS}


def table_records() -> Records:
    """ROWS as records."""
    rows = [line.split() for line in ROWS.strip().splitlines()]
    records = np.zeros(len(rows), RECORD)
    second = 0
    is_open = False
    for record, (kind, instrument, flags, a) in zip(records, rows, strict=True):
        second += not is_open
        record["kind"] = WORDS[kind]
        record["flags"] = sum(WORDS[flag] for flag in flags.split("|"))
        record["instrument"] = WORDS.get(instrument, 0) or int(instrument if instrument.isdigit() else ALL_INSTRUMENTS)
        record["a"] = a
        record["ts_receive_ns"] = START_NS + second * 10**9
        is_open = kind == "LEVEL" and "LAST" not in flags
    return records


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    folder = tmp_path / "tape"
    with TapeWriter(folder, is_new=True, frame_records=2) as writer:
        writer.document(SESSION, a_session(), START_NS)
        writer.document(CONFIG, {"seed": 1})
        writer.append(table_records())
        writer.document(CLOSING, Closing({"LEVEL": 5}))
    return folder


def data_of(folder: Path) -> list[int]:
    """`a` of a tape's records, a GAP's negative; documents left out."""
    records = read_all(folder)
    records = records[records["kind"] != DOCUMENT]
    return [-int(record["a"]) if record["kind"] == GAP else int(record["a"]) for record in records]


def second(number: int) -> int:
    return START_NS + number * 10**9


# the seconds are those of ROWS: 1 the snapshot, 2 print 4, 3 message 5-6, 4 the gap, 5 print 8
@pytest.mark.parametrize(
    ("wanted", "expected", "why"),
    [
        (Range(), [1, 2, 3, 4, 5, 6, -7, 8], "all of it"),
        (Range(from_ns=second(0)), [1, 2, 3, 4, 5, 6, -7, 8], "nothing was cut off, so there is no GAP"),
        (Range(from_ns=second(2)), [-GAP_CUT, 4, 5, 6, -7, 8], "a GAP stands for the snapshot"),
        (Range(from_ns=second(2), to_ns=second(4)), [-GAP_CUT, 4, 5, 6], "the stop is not in"),
        (Range(to_ns=second(2)), [1, 2, 3], "from the begin"),
        (Range(symbols=("ETHUSDT",)), [4, 5, 6, -7], "one market, and the GAP of all"),
        (Range(from_ns=second(2), symbols=("BTCUSDT",)), [-GAP_CUT, -7, 8], "the other market"),
    ],
)
def test_what_a_cut_holds(tape: Path, tmp_path: Path, wanted: Range, expected: list[int], why: str) -> None:
    done = cut(tape, tmp_path / "cut", wanted)
    assert data_of(tmp_path / "cut") == expected, why
    assert done.records_count == len(read_all(tmp_path / "cut"))
    assert check(tmp_path / "cut") == []
    documents = list(TapeReader(tmp_path / "cut").documents())
    assert [document.type for document in documents][:2] == [SESSION, CONFIG]
    assert TapeReader(tmp_path / "cut").session() == a_session()


def test_by_seq_a_cut_begins_and_ends_between_messages(tape: Path, tmp_path: Path) -> None:
    documents = int((read_all(tape)["kind"] == DOCUMENT)[:-8].sum())
    first = int(np.flatnonzero(read_all(tape)["kind"] != DOCUMENT)[0]) + 1
    assert documents >= first - 1
    # Of each range of ROWS: messages that begin in it, whole.
    for start, stop, expected in [(1, 3, [1, 2, 3]), (2, 5, [4]), (3, 6, [4, 5, 6]), (6, 7, []), (5, 6, [5, 6])]:
        out = tmp_path / f"{start}-{stop}"
        wanted = Range(start_seq=first + start - 1, stop_seq=first + stop - 1)
        if not expected:
            with pytest.raises(UsageError, match="No record"):
                cut(tape, out, wanted)
            assert not out.exists()
            continue
        cut(tape, out, wanted)
        assert [a for a in data_of(out) if a > 0] == expected
        assert (data_of(out)[0] == -GAP_CUT) == (start > 1)


def test_the_gap_of_a_cut_says_what_it_is(tape: Path, tmp_path: Path) -> None:
    cut(tape, tmp_path / "cut", Range(from_ns=second(2)))
    records = read_all(tmp_path / "cut")
    (gap,) = records[(records["kind"] == GAP) & (records["a"] == GAP_CUT)]
    assert (gap["instrument"], gap["b"], gap["ts_receive_ns"]) == (ALL_INSTRUMENTS, -1, second(2))


def test_of_several_sessions_the_running_one_explains_the_cut(tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with TapeWriter(tape, is_new=True) as writer:
        for name in ("one", "two", "three"):
            writer.document(SESSION, a_session(name))
            start_seq = writer.append(table_records()[:4])
            writer.document(CLOSING, Closing())
            if name == "two":
                middle = start_seq
    cut(tape, tmp_path / "cut", Range(start_seq=middle, stop_seq=middle + 1))
    assert [session.session for _, session in TapeReader(tmp_path / "cut").sessions()] == ["two"]
    assert data_of(tmp_path / "cut") == [-GAP_CUT, 4]
    cut(tape, tmp_path / "long", Range(start_seq=middle))
    assert [session.session for _, session in TapeReader(tmp_path / "long").sessions()] == ["two", "three"]


def test_cuts_of_a_long_tape_are_its_parts(tmp_path: Path) -> None:
    original = write_tape(tmp_path / "tape", some_records(3_000), frame_records=16, segment_bytes=5_000)
    times = original["ts_receive_ns"]
    for number, (start, stop) in enumerate([(500, 900), (1_001, 2_700), (40, 3_000)]):
        wanted = Range(from_ns=int(times[start]), to_ns=int(times[stop]))
        cut(tmp_path / "tape", tmp_path / str(number), wanted)
        part = original[(times >= times[start]) & (times < times[stop])]
        read = read_all(tmp_path / str(number))
        assert read[-len(part) :].tobytes() == part.tobytes()
        assert set(read[: -len(part)]["kind"].tolist()) == {DOCUMENT, GAP}


def test_a_rotten_tape_is_cut_with_its_gap(tmp_path: Path) -> None:
    original = write_tape(tmp_path / "tape", some_records(400), frame_records=16)
    path = tmp_path / "tape" / "000001.tape"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (finding,) = check(tmp_path / "tape")
    for start_seq in range(finding.first_seq - 3, finding.last_seq + 4):
        out = tmp_path / str(start_seq)
        done = cut(tmp_path / "tape", out, Range(start_seq=start_seq))
        read = read_all(out)
        tail = original[-100:]
        assert read[-100:].tobytes() == tail.tobytes()
        assert done.stop_seq == len(original) + 1
        gaps = read[read["kind"] == GAP]
        assert gaps["a"].tolist()[0] == GAP_CUT
        after = read[np.flatnonzero(read["kind"] == GAP)[-1] + 1 :]
        assert after.tobytes() == original[-len(after) :].tobytes()


def test_what_makes_no_sense_is_refused(tape: Path, tmp_path: Path) -> None:
    before = read_all(tape)
    with pytest.raises(UsageError, match="DOGE is not on"):
        cut(tape, tmp_path / "cut", Range(symbols=("DOGE",)))
    with pytest.raises(UsageError, match="No record"):
        cut(tape, tmp_path / "cut", Range(from_ns=second(100)))
    with pytest.raises(UsageError, match="No record"):
        cut(tape, tmp_path / "cut", Range(from_ns=second(3), to_ns=second(3)))
    with pytest.raises(UsageError, match="is the tape that is read"):
        cut(tape, tape, Range())
    with pytest.raises(UsageError, match="is the tape that is read"):
        repair(tape, tape)
    with pytest.raises(InputMissingError, match="No tape in"):
        repair(tmp_path / "none", tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
    cut(tape, tmp_path / "cut", Range())
    with pytest.raises(UsageError, match="holds a tape already"):
        cut(tape, tmp_path / "cut", Range())
    assert read_all(tape).tobytes() == before.tobytes()
