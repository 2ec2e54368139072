"""Tapes that are cut, flipped, torn and put together again: nothing is read that was not written at its place."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from adapters.tape import TapeReader, TapeWriter
from adapters.tape.checking import check
from adapters.tape.codec import Records
from adapters.tape.repair import repair
from adapters.tape.segments import Index
from engine.kernels.layout import GAP
from tests.tapes import (
    frame_entries,
    message_stop,
    read_all,
    some_records,
    verified,
    write_tape,
)

CASES = 10_000
FRAME_RECORDS = 8


class Sound:
    """A sound tape of several segments, and where everything lies in it."""

    def __init__(self, folder: Path, *, is_sealed: bool) -> None:
        self.folder = folder
        self.original = write_tape(
            folder, some_records(260), frame_records=FRAME_RECORDS, segment_bytes=3_000, is_sealed=is_sealed
        )
        self.paths = sorted(folder.iterdir())
        self.contents = [path.read_bytes() for path in self.paths]
        self.is_sealed = is_sealed
        with TapeWriter(folder, is_new=False) as writer:
            assert writer.torn_tail is None
        self.entries = frame_entries(folder)
        self.restore()

    def restore(self) -> None:
        """Put every file back."""
        for path, content in zip(self.paths, self.contents, strict=True):
            path.write_bytes(content)

    def place(self, number: int) -> tuple[int, int]:
        """Segment and offset of the tape's byte of that number."""
        for segment, content in enumerate(self.contents):
            if number < len(content):
                return segment, number
            number -= len(content)
        raise AssertionError

    def frame_at(self, segment: int, offset: int) -> tuple[int, int] | None:
        """First seq and the seq after the last of the frame that a byte belongs to; None: it is of a footer."""
        stops = self.frame_stops(segment)
        if offset >= stops[-1]:
            return None
        place = int(np.searchsorted(self.entries[segment]["offset"], offset, "right")) - 1
        entry = self.entries[segment][place]
        return int(entry["first_seq"]), int(entry["first_seq"]) + int(entry["count"])

    def frame_stops(self, segment: int) -> list[int]:
        """Offset after each frame of a segment."""
        entries: Index = self.entries[segment]
        sealed_bytes = 96 + len(entries) * 32 if self.is_sealed or segment + 1 < len(self.contents) else 0
        return [*entries["offset"][1:].tolist(), len(self.contents[segment]) - sealed_bytes]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return Sound(tmp_path_factory.mktemp("sealed"), is_sealed=True)


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return Sound(tmp_path_factory.mktemp("unsealed"), is_sealed=False)


def test_the_tapes_that_are_damaged_are_sound_and_have_several_segments(sealed: Sound, unsealed: Sound) -> None:
    for sound in (sealed, unsealed):
        assert check(sound.folder) == []
        assert len(sound.paths) >= 3
        assert verified(sound.folder, sound.original).lost == []
    assert TapeReader(sealed.folder).facts().is_sealed
    assert not TapeReader(unsealed.folder).facts().is_sealed


@pytest.mark.parametrize("name", ["sealed", "unsealed"])
def test_a_flipped_bit_costs_one_frame_and_is_named(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    sound: Sound = request.getfixturevalue(name)
    dice = random.Random(5)
    size = sum(map(len, sound.contents))
    end = len(sound.original) + 1
    for case in range(CASES // 2):
        number, bit = dice.randrange(size), dice.randrange(8)
        segment, offset = sound.place(number)
        _flip(sound.paths[segment], sound.contents[segment], offset, bit)
        reading = verified(sound.folder, sound.original)
        frame = sound.frame_at(segment, offset)
        if frame is None:  # the index or the footer: no record is touched
            expected, kinds = ([], end), ("bad index", "bad footer")
        elif frame[1] == end and not sound.is_sealed:
            expected, kinds = ([], frame[0]), ("torn tail",)
        else:
            expected, kinds = ([(frame[0], message_stop(sound.original, frame[1]))], end), ("rotten frame",)
        assert (reading.lost, reading.stop_seq) == expected
        if case % 5 == 0:
            findings = check(sound.folder)
            assert [each.kind for each in findings if each.kind != "no session"] == [findings[0].kind]
            assert findings[0].kind in kinds
            assert findings[0].segment == sound.paths[segment].name
            if frame is not None and findings[0].kind != "torn tail":
                assert (findings[0].first_seq, findings[0].last_seq + 1) == frame
                assert findings[0].offset == _frame_offset(sound, segment, offset)
        if case % 100 == 0:
            _repair_and_compare(sound, tmp_path / str(case))
        sound.paths[segment].write_bytes(sound.contents[segment])


@pytest.mark.parametrize("name", ["sealed", "unsealed"])
def test_a_truncated_segment_loses_only_the_frames_that_were_cut(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sound: Sound = request.getfixturevalue(name)
    dice = random.Random(6)
    size = sum(map(len, sound.contents))
    end = len(sound.original) + 1
    for case in range(CASES // 2):
        segment, length = sound.place(dice.randrange(size))
        os.truncate(sound.paths[segment], length)
        reading = verified(sound.folder, sound.original)
        first_lost = _first_seq_cut(sound, segment, length)
        next_seq = _first_seq(sound, segment + 1)
        if segment == len(sound.paths) - 1:
            assert (reading.lost, reading.stop_seq) == ([], first_lost)
        elif first_lost == next_seq:  # the index or the footer
            assert (reading.lost, reading.stop_seq) == ([], end)
        else:
            assert reading.lost == [(first_lost, message_stop(sound.original, next_seq))]
            assert reading.stop_seq == end
        if case % 10 == 0 and not _is_whole_end(sound, segment, length):
            findings = check(sound.folder)
            assert findings
            assert findings[0].segment in [path.name for path in sound.paths[segment : segment + 2]]
        if case % 100 == 0:
            _repair_and_compare(sound, tmp_path / str(case))
        sound.paths[segment].write_bytes(sound.contents[segment])


def test_a_tape_cut_at_each_of_its_bytes_is_read_to_its_last_whole_frame_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    original = write_tape(folder, some_records(30), is_sealed=False)
    path = folder / "000001.tape"
    content = path.read_bytes()
    with TapeWriter(folder, is_new=False):
        pass
    (entries,) = frame_entries(folder)
    later = some_records(5, 2)
    later["ts_receive_ns"] += 10**12
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        stops = [*entries["offset"][1:].tolist(), len(content)]
        whole = sum(stop <= length for stop in stops)
        kept = int(entries["count"][:whole].sum())
        assert read_all(folder).tobytes() == original[:kept].tobytes()
        if length % 10 == 0:
            with TapeWriter(folder, is_new=False) as writer:
                assert (writer.torn_tail is None) == (length in (0, *stops))
                writer.append(later)
            assert read_all(folder).tobytes() == original[:kept].tobytes() + later.tobytes()


def test_whole_segments_that_are_missing_are_a_gap(sealed: Sound, tmp_path: Path) -> None:
    for missing in range(len(sealed.paths) - 1):
        folder = tmp_path / str(missing)
        shutil.copytree(sealed.folder, folder)
        (folder / sealed.paths[missing].name).unlink()
        lost = (_first_seq(sealed, missing), message_stop(sealed.original, _first_seq(sealed, missing + 1)))
        assert verified(folder, sealed.original).lost == [lost]
        findings = check(folder)
        assert findings[0].kind == "missing segment"
        assert sealed.paths[missing].name in findings[0].text
        assert (findings[0].first_seq, findings[0].last_seq + 1) == (lost[0], _first_seq(sealed, missing + 1))


def test_segments_of_another_tape_or_under_another_name_are_not_read(sealed: Sound, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_tape(other, some_records(260, 9), frame_records=FRAME_RECORDS, segment_bytes=3_000)
    mixed = tmp_path / "mixed"
    shutil.copytree(sealed.folder, mixed)
    shutil.copy(other / "000002.tape", mixed / "000002.tape")
    assert verified(mixed, sealed.original).lost == [
        (_first_seq(sealed, 1), message_stop(sealed.original, _first_seq(sealed, 2)))
    ]
    assert check(mixed)[0].kind == "chain break"
    shutil.copy(sealed.paths[0], mixed / "000002.tape")
    verified(mixed, sealed.original)
    assert check(mixed)[0].kind == "chain break"


def test_a_frame_of_another_writing_of_the_same_tape_is_not_read(tmp_path: Path) -> None:
    # Both have the same id, seqs and sums that are right: only the chain tells that it never stood there.
    contents, offsets = [], []
    for name, seed in (("one", 1), ("other", 2)):
        with TapeWriter(tmp_path / name, is_new=True, frame_records=8, tape_id=bytes(16)) as writer:
            writer.append(some_records(80, seed))
        contents.append((tmp_path / name / "000001.tape").read_bytes())
        (entries,) = frame_entries(tmp_path / name)
        offsets.append(entries["offset"].tolist())
    original = read_all(tmp_path / "one")
    begin, stop = offsets[0][4:6]
    foreign = contents[1][offsets[1][4] : offsets[1][5]]
    (tmp_path / "one" / "000001.tape").write_bytes(contents[0][:begin] + foreign + contents[0][stop:])
    assert verified(tmp_path / "one", original).lost == [(33, message_stop(original, 41))]
    assert check(tmp_path / "one")[0].kind == "chain break"


def test_a_segment_under_another_name_is_named(sealed: Sound, tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    shutil.copytree(sealed.folder, folder)
    (folder / "000003.tape").replace(folder / "000002.tape")
    _, (first_lost, *_), (_, second, *_) = (entries["first_seq"].tolist() for entries in sealed.entries[:3])
    assert verified(folder, sealed.original).lost[0] == (first_lost, message_stop(sealed.original, second))
    finding = check(folder)[0]
    assert (finding.kind, finding.segment, finding.offset) == ("chain break", "000002.tape", 0)


def test_frames_out_of_another_order_are_not_read(sealed: Sound, tmp_path: Path) -> None:
    content = sealed.contents[0]
    begin, middle, stop = sealed.frame_stops(0)[2:5]
    damaged = tmp_path / "tape"
    shutil.copytree(sealed.folder, damaged)
    swapped = content[:begin] + content[middle:stop] + content[begin:middle] + content[stop:]
    doubled = content[:middle] + content[begin:middle] + content[middle:]
    left_out = content[:begin] + content[middle:]
    entry = sealed.entries[0][3]
    frame = (int(entry["first_seq"]), int(entry["first_seq"] + entry["count"]))
    lost = [(frame[0], message_stop(sealed.original, frame[1]))]
    for changed, expected in ((swapped, lost), (doubled, []), (left_out, lost)):
        (damaged / "000001.tape").write_bytes(changed)
        assert verified(damaged, sealed.original).lost == expected
        assert check(damaged)


def test_seeking_gives_what_reading_from_the_start_gives(sealed: Sound, unsealed: Sound) -> None:
    for sound in (sealed, unsealed):
        times = sound.original["ts_receive_ns"]
        for seq in range(1, len(sound.original) + 2):
            reading = verified(sound.folder, sound.original, seq)
            assert (reading.lost, reading.stop_seq) == ([], len(sound.original) + 1)
        for ts_ns in sorted({int(each) + step for each in times[times > 0] for step in (-1, 0, 1)}):
            batch = next(TapeReader(sound.folder).batches(from_ns=ts_ns), None)
            expected = int((times < ts_ns).sum()) + 1
            assert (expected if batch is None else batch.first_seq) == expected
            assert (batch is None) == (expected > len(times))
        half = int(times[150])
        by_both = next(TapeReader(sound.folder).batches(200, half))
        assert by_both.first_seq == 200
        by_both = next(TapeReader(sound.folder).batches(20, half))
        assert by_both.first_seq == int((times < half).sum()) + 1


def test_seeking_meets_the_same_gap(sealed: Sound) -> None:
    _flip(sealed.paths[1], sealed.contents[1], 500, 3)
    try:
        ((first, stop),) = verified(sealed.folder, sealed.original).lost
        for seq in range(1, len(sealed.original) + 2):
            lost = [(max(seq, first), stop)] if seq < stop else []
            assert verified(sealed.folder, sealed.original, seq).lost == lost
        times = sealed.original["ts_receive_ns"]
        for ts_ns in sorted({int(each) for each in times[times > 0]}):
            lost = verified(sealed.folder, sealed.original, from_ns=ts_ns).lost
            if ts_ns <= int(times[first - 2]):
                assert lost == [(first, stop)]
            elif ts_ns > int(times[stop - 1]):
                assert lost == []
    finally:
        sealed.restore()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    splits=some.lists(some.integers(0, 40), max_size=12),
    frame_records=some.integers(1, 20),
    segment_bytes=some.integers(100, 5_000),
    actions=some.lists(some.sampled_from(["flush", "sync", "reopen", "crash"]), max_size=12),
    step_ns=some.integers(0, 10**9),
)
def test_any_splits_give_the_same_records(
    tmp_path: Path, splits: list[int], frame_records: int, segment_bytes: int, actions: list[str], step_ns: int
) -> None:
    folder = tmp_path / "tape"
    shutil.rmtree(folder, ignore_errors=True)
    records = some_records(sum(splits), len(splits))
    clock = iter(range(0, 10**15, step_ns)) if step_ns else iter(lambda: 0, 1)

    def opened(*, is_new: bool) -> TapeWriter:
        return TapeWriter(
            folder,
            is_new=is_new,
            clock_ns=lambda: next(clock),
            frame_records=frame_records,
            segment_bytes=segment_bytes,
        )

    writer = opened(is_new=True)
    place = 0
    for number, count in enumerate(splits):
        writer.append(records[place : place + count])
        place += count
        match actions[number] if number < len(actions) else "":
            case "flush":
                writer.flush()
            case "sync":
                assert writer.sync() == place
            case "reopen":
                writer.close()
                writer = opened(is_new=False)
            case "crash":
                writer.abandon()
                writer = opened(is_new=False)
    writer.close()
    assert read_all(folder).tobytes() == records.tobytes()
    assert [each.kind for each in check(folder) if each.kind != "no session"] == []


def _repair_and_compare(sound: Sound, out: Path) -> None:
    """A repaired tape reads as the damaged one does, and is sound but for what it cannot know."""
    expected = [batch.records.tobytes() for batch in TapeReader(sound.folder).batches()]
    before = [path.read_bytes() for path in sound.paths]
    done = repair(sound.folder, out)
    assert [path.read_bytes() for path in sound.paths] == before
    repaired: Records = read_all(out)
    assert repaired.tobytes() == b"".join(expected)
    assert int((repaired["kind"] == GAP).sum()) == done.gaps_count == len(verified(sound.folder, sound.original).lost)
    assert {finding.kind for finding in check(out)} <= {"no session"}


def _flip(path: Path, content: bytes, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([content[offset] ^ (1 << bit)]))


def _frame_offset(sound: Sound, segment: int, offset: int) -> int:
    return max(each for each in sound.entries[segment]["offset"].tolist() if each <= offset)


def _first_seq(sound: Sound, segment: int) -> int:
    if segment == len(sound.entries):
        return len(sound.original) + 1
    return int(sound.entries[segment]["first_seq"][0])


def _first_seq_cut(sound: Sound, segment: int, length: int) -> int:
    whole = sum(stop <= length for stop in sound.frame_stops(segment))
    return _first_seq(sound, segment) + int(sound.entries[segment]["count"][:whole].sum())


def _is_whole_end(sound: Sound, segment: int, length: int) -> bool:
    """Whether a cut falls between two frames of the last segment: it then is a tape that simply ends there."""
    return segment == len(sound.paths) - 1 and length in (0, *sound.frame_stops(segment))
