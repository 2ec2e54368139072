"""How fast tape files are written and read, beside a flat file of the same records; and that memory stays flat.

`python -m tests.bench.tape_files [--json] [--quick]`. The records are those of a real book capture where
`../shared/data/l2` is there, over and over with rising times and ids; else made-up ones, which pack worse.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from adapters.tape import SESSION, TapeReader, TapeWriter
from adapters.tape.checking import check
from adapters.tape.codec import Records
from engine.kernels.layout import LAST, LEVEL, PRINT, RECORD, SELL
from tests.bench.measuring import MEGABYTE, ROOT, Section, forget_peak, peak_bytes
from tests.tapes import a_session, some_records

CAPTURE = ROOT.parent / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
APPENDED = 10_000  # records an append, as an importer hands them over


class TapeFigures(msgspec.Struct):
    """Records a second, bytes a record, and megabytes of memory that a whole reading adds."""

    records: int
    source: str
    write_per_second: float
    syncs: int
    flat_write_per_second: float
    read_per_second: float
    flat_read_per_second: float
    check_per_second: float
    bytes_per_record: float
    read_growth_mb_short: float
    read_growth_mb_long: float
    sync_ms_median: float
    sync_ms_most: float


def l2_records() -> tuple[Records, str]:
    """Records to write again and again, and where they are from."""
    if not CAPTURE.exists():
        return some_records(400_000), "made-up records"
    return np.array(list(_rows()), RECORD), CAPTURE.name


def _rows() -> Iterator[tuple[int, ...]]:
    """Book levels and trades of the capture; one line is a receive time in ns and a message."""
    with gzip.open(CAPTURE, "rt") as lines:
        for line in lines:
            received, text = line.split(" ", 1)
            message = json.loads(text).get("data", {})
            match message.get("e"):
                case "depthUpdate":
                    levels = [(*level, 0) for level in message["b"]] + [(*level, SELL) for level in message["a"]]
                    for place, (price, size, side) in enumerate(levels):
                        flags = side | (LAST if place + 1 == len(levels) else 0)
                        yield (
                            message["T"] * 10**6, int(received), LEVEL, flags, 0, 0, 0, round(float(price) * 10),
                            round(float(size) * 1000), message["u"], message["pu"], message["U"],
                        )  # fmt: skip
                case "trade":
                    yield (
                        message["T"] * 10**6, int(received), PRINT, SELL if message["m"] else 0, 0, 0, 0,
                        round(float(message["p"]) * 10), round(float(message["q"]) * 1000), message["t"], 0, 0,
                    )  # fmt: skip


def batches_of(records: Records, count: int) -> Iterator[Records]:
    """So many records in appends: the given ones over and over, times and ids going on."""
    span_ns = int(records["ts_receive_ns"][-1] - records["ts_receive_ns"][0]) + 1
    ids = int(records["c"].max() - records["c"][records["c"] > 0].min()) + 1
    again = records.copy()
    given = 0
    while given < count:
        for start in range(0, len(again), APPENDED):
            part = again[start : start + min(APPENDED, count - given)]
            given += len(part)
            yield part
            if given == count:
                return
        for field in ("ts_exchange_ns", "ts_receive_ns"):
            again[field] += span_ns
        for field in ("c", "d", "e"):
            again[field][again[field] > 0] += ids


def measure(folder: Path, *, is_quick: bool) -> TapeFigures:
    """Take every figure, with files in a folder."""
    source, source_name = l2_records()
    count = 4_000_000 if is_quick else 30_000_000
    tape, short, flat = folder / "tape", folder / "short", folder / "flat"
    write_seconds, syncs = _write(tape, source, count)
    _write(short, source, count // 8)
    flat_write_seconds = _write_flat(flat, source, count)
    read_seconds = min(_read(tape, count) for _ in range(3))
    flat_read_seconds = min(_read_flat(flat, count) for _ in range(3))
    begun = time.perf_counter()
    assert check(tape) == []
    check_seconds = time.perf_counter() - begun
    latencies = _sync_latencies(folder / "latency", source)
    return TapeFigures(
        records=count,
        source=source_name,
        write_per_second=count / write_seconds,
        syncs=syncs,
        flat_write_per_second=count / flat_write_seconds,
        read_per_second=count / read_seconds,
        flat_read_per_second=count / flat_read_seconds,
        check_per_second=count / check_seconds,
        bytes_per_record=TapeReader(tape).facts().bytes_count / count,
        read_growth_mb_short=_growth(short, count // 8),
        read_growth_mb_long=_growth(tape, count),
        sync_ms_median=1e3 * median(latencies),
        sync_ms_most=1e3 * max(latencies),
    )


def _write(folder: Path, source: Records, count: int) -> tuple[float, int]:
    """Seconds to write a sealed tape with an fdatasync a second, and how many there were."""
    syncs = acknowledged = 0
    seconds = 0.0
    with TapeWriter(folder, is_new=True) as writer:
        writer.document(SESSION, a_session())
        for part in batches_of(source, count):
            begun = time.perf_counter()
            writer.append(part)
            seconds += time.perf_counter() - begun
            syncs += writer.acknowledged_seq > acknowledged
            acknowledged = writer.acknowledged_seq
        begun = time.perf_counter()
        writer.close()
        seconds += time.perf_counter() - begun
    return seconds, syncs + 1


def _write_flat(path: Path, source: Records, count: int) -> float:
    seconds = 0.0
    with path.open("wb") as file:
        for part in batches_of(source, count):
            begun = time.perf_counter()
            part.tofile(file)
            seconds += time.perf_counter() - begun
    return seconds


def _read(folder: Path, count: int) -> float:
    begun = time.perf_counter()
    found = sum(len(batch.records) for batch in TapeReader(folder).batches())
    seconds = time.perf_counter() - begun
    assert found >= count
    return seconds


def _read_flat(path: Path, count: int) -> float:
    room = np.empty(65_536, RECORD)
    found = 0
    begun = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(room.view(np.uint8)):
            found += read // RECORD.itemsize
    seconds = time.perf_counter() - begun
    assert found == count
    return seconds


def _growth(folder: Path, count: int) -> float:
    before = forget_peak()
    _read(folder, count)
    return (peak_bytes() - before) / MEGABYTE


def _sync_latencies(folder: Path, records: Records) -> list[float]:
    """Seconds of a sync after each hundred records: what an order waits for."""
    found = []
    with TapeWriter(folder, is_new=True) as writer:
        for start in range(0, 20_000, 100):
            writer.append(records[start : start + 100])
            begun = time.perf_counter()
            writer.sync()
            found.append(time.perf_counter() - begun)
    return found


def tape_files_section(*, is_quick: bool) -> Section:
    """The figures as a section of a report."""
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        found = measure(folder, is_quick=is_quick)
    finally:
        shutil.rmtree(folder)
    rows = [
        ("write, fdatasync each second", f"{found.write_per_second:,.0f}", f"{found.flat_write_per_second:,.0f}"),
        ("read", f"{found.read_per_second:,.0f}", f"{found.flat_read_per_second:,.0f}"),
        ("check", f"{found.check_per_second:,.0f}", ""),
        ("bytes a record", f"{found.bytes_per_record:.2f}", f"{RECORD.itemsize}"),
    ]
    notes = [
        f"{found.records:,} records of {found.source}; {found.syncs} times fdatasync while writing.",
        f"Reading adds {found.read_growth_mb_long:.1f} MB of memory, {found.read_growth_mb_short:.1f} for an eighth.",
        f"A sync of 100 records takes {found.sync_ms_median:.2f} ms, {found.sync_ms_most:.2f} ms at most.",
    ]
    header = ("records a second", "tape", "flat file, never synced")
    return Section("tape_files", "Tape files", header, rows, notes, msgspec.to_builtins(found))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tape_files", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4,000,000 records")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    section = tape_files_section(is_quick=arguments.quick)
    print(json.dumps(section.figures) if arguments.json else section.text())  # noqa: T201


if __name__ == "__main__":
    main()
