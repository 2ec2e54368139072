"""Tapes for tests: records as a recorder writes them, and the reading of a tape held against what was written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from adapters.tape import SESSION, Session, TapeInstrument, TapeReader, TapeSource, TapeWriter
from adapters.tape.codec import Records
from adapters.tape.segments import Index, read_segments
from engine.kernels.layout import (
    ALL_INSTRUMENTS,
    CLOCK,
    DOCUMENT,
    GAP,
    GAP_ROT,
    LAST,
    LEVEL,
    PRINT,
    RECORD,
    SELL,
    SNAPSHOT,
)

START_NS = 1_723_161_255_000_000_000


def a_session(name: str = "20240808T235415-3f2a") -> Session:
    """Two markets and one source."""
    return Session(
        session=name,
        created_ns=START_NS,
        software="tapewright 0.1.0",
        instruments=(
            TapeInstrument("BTCUSDT", "binance_usdm", "linear", Decimal("0.1"), Decimal("0.001"), channels=("book",)),
            TapeInstrument("ETHUSDT", "binance_usdm", "linear", Decimal("0.01"), Decimal("0.001")),
        ),
        sources=(TapeSource("recorder", "made up", clock_offset_ns=1_268_000_000, clock_offset_is="estimated"),),
    )


def some_records(count: int, seed: int = 1) -> Records:
    """Book messages of one to some levels, snapshots, trades and clocks; receive times rise, and some are equal."""
    random = np.random.default_rng(seed)
    records = np.zeros(count, RECORD)
    records["ts_receive_ns"] = START_NS + np.cumsum(random.integers(0, 3, count) * 1_000_000)
    place = 0
    while place < count:
        run = min(count - place, int(random.integers(1, 9)))
        part = records[place : place + run]
        part["ts_exchange_ns"] = part["ts_receive_ns"][0] - int(random.integers(0, 10**9))
        part["ts_receive_ns"] = part["ts_receive_ns"][0]
        part["instrument"] = random.integers(0, 2)
        part["a"], part["b"] = 600_000 + random.integers(-500, 500, run), random.integers(0, 10_000, run)
        part["c"] = 5_000_000 + place
        part["kind"] = random.choice([LEVEL, LEVEL, PRINT, CLOCK])
        if part["kind"][0] == LEVEL:
            part["flags"] = random.choice([0, SELL, SNAPSHOT])
            part["flags"][-1] |= LAST
        place += run
    return records


def write_tape(
    folder: Path,
    records: Records,
    *,
    frame_records: int = 8,
    segment_bytes: int = 256_000_000,
    is_sealed: bool = True,
) -> Records:
    """Write a tape of a SESSION document and these records; everything that stands on it, the document too."""
    writer = TapeWriter(
        folder, is_new=True, frame_records=frame_records, segment_bytes=segment_bytes, clock_ns=lambda: 0
    )
    writer.document(SESSION, a_session())
    writer.append(records)
    if is_sealed:
        writer.close()
    else:
        writer.abandon()
    return read_all(folder)


def read_all(folder: Path) -> Records:
    """Read a sound tape whole."""
    parts = []
    for batch in TapeReader(folder).batches():
        assert not batch.lost
        parts.append(batch.records.copy())
    return np.concatenate(parts) if parts else np.zeros(0, RECORD)


class Reading(msgspec.Struct):
    """What a reading gave: the seqs that GAPs stand for, and the seq after the last."""

    lost: list[tuple[int, int]]
    stop_seq: int


def verified(folder: Path, original: Records, start_seq: int = 1, from_ns: int | None = None) -> Reading:
    """Read a damaged tape; every record must be the one that was written at its seq, or a GAP."""
    reading = Reading([], start_seq)
    last_ns = 0
    for batch in TapeReader(folder).batches(start_seq, from_ns):
        assert batch.first_seq == reading.stop_seq or (from_ns is not None and reading.stop_seq == start_seq)
        assert int(batch.records["ts_receive_ns"][0]) >= last_ns
        last_ns = int(batch.records["ts_receive_ns"][-1])
        if batch.lost:
            (gap,) = batch.records
            assert (gap["kind"], gap["instrument"], gap["a"]) == (GAP, ALL_INSTRUMENTS, GAP_ROT)
            assert gap["b"] == batch.lost == batch.stop_seq - batch.first_seq
            reading.lost.append((batch.first_seq, batch.stop_seq))
        else:
            written = original[batch.first_seq - 1 : batch.stop_seq - 1]
            assert batch.records.tobytes() == written.tobytes()
        reading.stop_seq = batch.stop_seq
    return reading


def frame_entries(folder: Path) -> list[Index]:
    """The index of each segment of a sealed tape: one entry a frame."""
    found = []
    for segment in read_segments(folder):
        assert segment.index is not None
        found.append(segment.index)
    return found


def message_stop(original: Records, seq: int) -> int:
    """The seq after the message or document that the record at `seq` is in the middle of; `seq` where it is in none."""
    before = original[seq - 2] if seq >= 2 else None
    if before is None or before["kind"] not in (LEVEL, DOCUMENT) or before["flags"] & LAST:
        return seq
    while seq <= len(original):
        record = original[seq - 1]
        if record["kind"] not in (LEVEL, DOCUMENT):
            return seq
        seq += 1
        if record["flags"] & LAST:
            return seq
    return seq
