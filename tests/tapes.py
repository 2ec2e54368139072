"""Tapes for tests: records as a recorder writes them, and the reading of a tape held against what was written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from adapters.tape import SESSION, Session, TapeInstrument, TapeReader, TapeSource, TapeWriter
from adapters.tape.codec import Records
from adapters.tape.segments import Index, read_segments
from engine.kernels.layout import (
    ALL_INSTRUMENTS,
    CLOCK,
    DOCUMENT,
    FUNDING,
    GAP,
    GAP_DISCONNECTED,
    GAP_ROT,
    LAST,
    LEVEL,
    MARK,
    PRINT,
    RECORD,
    SELL,
    SNAPSHOT,
)

START_NS = 1_723_161_255_000_000_000
FLOW_START_NS = 1_723_161_540_000_000_000  # a minute before midnight
FLOW_OFFSET_NS = 1_200_000_000  # what the flow's recorder lacks to its venue's clock


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


def order_flow(count: int, seed: int = 1, *, instrument: int = 0, middle_ticks: int = 600_000) -> Records:
    """A market from a seed, as a recorder writes it: about `count` records, some minutes around a midnight.

    Levels come, go and change; takers sweep them, so that prices move, with prints of both sides. Messages chain,
    but now and then one is lost, or the connection is; a snapshot mends that some time after. Marks each few
    seconds, and funding at midnight.
    """
    flow = _Flow(seed, instrument, middle_ticks)
    while len(flow.rows) < count:
        flow.step()
    return np.array(flow.rows, dtype=RECORD)


def merged(*tapes: Records) -> Records:
    """Tapes of several instruments as one, by receive time."""
    records = np.concatenate(tapes)
    return records[np.lexsort((np.arange(len(records)), records["instrument"], records["ts_receive_ns"]))]


class _Flow:
    """The market behind `order_flow`: what stands in its book, and the records written so far."""

    def __init__(self, seed: int, instrument: int, middle_ticks: int) -> None:
        self.random = Random(seed)
        self.instrument = instrument
        self.rows: list[tuple[int, ...]] = []
        self.now_ns = FLOW_START_NS + instrument
        self.exchange_ns = 0
        self.update_id = 1_000
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})  # bids, asks
        self.changes: dict[tuple[int, int], int] = {}
        self.lean = 0.0  # from -1, where takers sell and bids are thin, to 1
        self.mend_ns = 0  # when the snapshot comes after a loss; 0: nothing is lost
        self.mark_ns = self.funding_ns = self.now_ns + 60_000_000_000
        for distance in range(1, 25):
            for side in (0, 1):
                self.sides[side][middle_ticks + (distance if side else -distance)] = self.size(side)
        self.snapshot()

    def size(self, side: int) -> int:
        leaning = 1 + self.lean if side == 0 else 1 - self.lean
        return 1 + int(self.random.expovariate(1 / (20 + 400 * leaning)))

    def best(self, side: int) -> int:
        return min(self.sides[1]) if side else max(self.sides[0])

    def step(self) -> None:
        """Let something happen."""
        random = self.random
        self.now_ns += random.choice((1, 5, 30, 80, 200)) * 1_000_000 + random.randrange(1_000_000)
        self.exchange_ns = self.now_ns + FLOW_OFFSET_NS - random.randrange(1, 40) * 1_000_000
        if random.random() < 0.02:
            self.lean = random.choice((-0.95, -0.6, 0.0, 0.6, 0.95))
        if self.mend_ns and self.now_ns >= self.mend_ns:
            self.mend_ns = 0
            self.snapshot()
        elif self.now_ns >= self.funding_ns:
            self.funding_ns += 3_600_000_000_000
            hour_ns = round(self.exchange_ns / 3_600e9) * 3_600_000_000_000
            self.write(FUNDING, 0, 100_000_000, 0, exchange_ns=hour_ns)
        elif self.now_ns >= self.mark_ns:
            self.mark_ns = self.now_ns + 3_000_000_000
            self.write(MARK, 0, (self.best(0) + self.best(1)) * 500_000, 0)
        elif random.random() < 0.004 and not self.mend_ns:
            self.lose()
        elif random.random() < 0.3:
            self.sweep()
        else:
            self.change()

    def sweep(self) -> None:
        """A taker takes the best of one side, whole levels or a part; makers of the other side follow."""
        side = int(self.random.random() < (1 + self.lean) / 2)  # of the makers: 1 where the taker buys
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            price = self.best(side)
            standing = self.sides[side][price]
            taken = standing if self.random.random() < 0.6 else self.random.randint(1, standing)
            self.write(PRINT, 0 if side else SELL, price, taken, len(self.rows))
            self.put(side, price, standing - taken)
            if taken < standing:
                break
        if self.random.random() < 0.8:
            behind = self.best(side) + (-1 if side else 1)
            self.put(1 - side, behind, self.size(1 - side))
        self.message()

    def change(self) -> None:
        """Makers put, change and take back some levels."""
        for _ in range(self.random.randint(1, 5)):
            side = self.random.randint(0, 1)
            inward = 1 if side == 0 else -1
            price = self.best(side) - inward * int(self.random.expovariate(0.2))
            if self.random.random() < 0.2 and self.best(1) - self.best(0) > 1:
                price = self.best(side) + inward
            elif self.random.random() < 0.35 and price in self.sides[side]:
                self.put(side, price, 0)
                continue
            self.put(side, price, self.size(side))
        self.message()

    def put(self, side: int, price: int, lots: int) -> None:
        """Let a size stand; a side never runs out."""
        if lots:
            self.sides[side][price] = lots
        else:
            self.sides[side].pop(price, None)
        self.changes[side, price] = lots
        while len(self.sides[side]) < 5:
            worse = max(self.sides[1], default=price) + 1 if side else min(self.sides[0], default=price) - 1
            self.put(side, worse, self.size(side))

    def lose(self) -> None:
        """Lose a message, or the connection."""
        self.mend_ns = self.now_ns + self.random.randint(200, 3_000) * 1_000_000
        if self.random.random() < 0.5:
            self.write(GAP, 0, GAP_DISCONNECTED, -1)
        else:
            self.update_id += 7

    def snapshot(self) -> None:
        self.changes.clear()
        self.levels([(side, price, lots) for side in (0, 1) for price, lots in self.sides[side].items()], SNAPSHOT)

    def message(self) -> None:
        """Write what has changed as one message."""
        self.levels([(side, price, lots) for (side, price), lots in self.changes.items()], 0)
        self.changes.clear()

    def levels(self, levels: list[tuple[int, int, int]], flags: int) -> None:
        before, self.update_id = self.update_id, self.update_id + len(levels)
        for number, (side, price, lots) in enumerate(levels, 1):
            own = flags | (SELL if side else 0) | (LAST if number == len(levels) else 0)
            self.write(LEVEL, own, price, lots, self.update_id, before, before + 1)

    def write(
        self, kind: int, flags: int, a: int, b: int, c: int = 0, d: int = 0, e: int = 0, exchange_ns: int = 0
    ) -> None:  # fmt: skip
        exchange_ns = exchange_ns or self.exchange_ns
        self.rows.append((exchange_ns, self.now_ns, kind, flags, self.instrument, 0, 0, a, b, c, d, e))
