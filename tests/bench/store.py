"""How fast runs are stored, beside sqlite3's plain `executemany` of the same rows, made beforehand, in one process.

`python -m tests.bench.store [--json] [--quick]`. The outputs are those of a market maker and a grid on a made-up tape,
over and over with rising numbers. Both sides: the same schema with its checks and references, write-ahead log,
synchronous=FULL. The store makes its rows of the engine's outputs inside the measured time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import msgspec
import numpy as np

from adapters.store import Batch, Position, prepare
from adapters.store.progress import Progress, next_rows
from adapters.store.rows import TableRows
from adapters.store.schema import connect
from adapters.store.statements import INSERTS
from adapters.store.writer import ROWS_A_TRANSACTION_MAX, StoreWriter
from tests.bench.measuring import MEGABYTE, Contender, Section, interleaved
from tests.stores import start_of, tape_result

STEP_OUTPUTS = 1_000  # outputs a batch, as a burst of steps hands them over
SMALL_OUTPUTS = 8  # of one step with a fill


class StoreFigures(msgspec.Struct):
    """Rows a second (medians of interleaved runs), and what a small batch waits for."""

    rows: int
    repeats: int
    rows_per_second: float
    rows_made_per_second: float
    plain_rows_per_second: float
    bytes_per_row: float
    small_ms_median: float
    small_ms_p99: float


def batches_of(outputs: int, size: int) -> list[Batch]:
    """So many outputs of a run in batches: the made-up run's over and over, the records' numbers going on."""
    source = tape_result().outputs
    samples = tape_result().samples
    made = np.tile(source, (1 + outputs // len(source), 1))[:outputs]
    made[:, 0] = np.sort(made[:, 0])
    sample_count = outputs * len(samples) // len(source)
    curve = np.tile(samples, (1 + sample_count // max(1, len(samples)), 1))[:sample_count]
    steps = range(0, outputs, size)
    cuts = np.linspace(0, len(curve), len(steps) + 1).astype(int).tolist()
    return [
        Batch(1, first, made[first : first + size], cuts[place], curve[cuts[place] : cuts[place + 1]])
        for place, first in enumerate(steps)
    ]


def rows_of(batches: Sequence[Batch]) -> list[list[TableRows]]:
    """The rows of each batch."""
    progress = Progress(Position(0, 0))
    made = []
    for batch in batches:
        progress, tables = next_rows(progress, batch)
        made.append(tables)
    return made


async def _store(path: Path, batches: Sequence[Batch]) -> float:
    """Seconds until everything is acknowledged and the file is closed, as on the other side."""
    writer = StoreWriter(path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        await writer.begin(start_of(tape_result()))
        begun = time.perf_counter()
        waiting: deque[asyncio.Future[Position]] = deque()
        for batch in batches:
            waiting.append(await writer.put(batch))
        for each in waiting:
            await each
        await writer.close()
    return time.perf_counter() - begun


async def _small(path: Path, batches: Sequence[Batch]) -> list[float]:
    """Seconds of each small batch from its handing over to its acknowledgement, one after the other."""
    writer = StoreWriter(path)
    found = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        await writer.begin(start_of(tape_result()))
        for batch in batches:
            begun = time.perf_counter()
            await writer.write(batch)
            found.append(time.perf_counter() - begun)
        await writer.close()
    return found


def _plain(connection: sqlite3.Connection, made: Sequence[Sequence[tuple[str, list[tuple[object, ...]]]]]) -> None:
    """Transactions as large as the store's, of rows that are ready."""
    rows = ROWS_A_TRANSACTION_MAX
    for tables in made:
        if rows >= ROWS_A_TRANSACTION_MAX:
            if connection.in_transaction:
                connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            rows = 0
        for table, values in tables:
            connection.executemany(INSERTS[table], values)
            rows += len(values)
    connection.execute("COMMIT")
    connection.close()


def measure(folder: Path, *, is_quick: bool) -> StoreFigures:
    """Take every figure, with files in a folder."""
    repeats, count = (3, 60_000) if is_quick else (7, 300_000)
    batches = batches_of(count, STEP_OUTPUTS)
    ready = [[(table.table, list(table.rows())) for table in tables] for tables in rows_of(batches)]
    rows = sum(len(values) for tables in ready for _, values in tables)
    store_seconds: list[float] = []

    def new_file() -> Path:
        path = Path(tempfile.mkdtemp(dir=folder)) / "store.sqlite"
        prepare(path)
        return path

    def new_connection() -> sqlite3.Connection:
        path = new_file()
        asyncio.run(_store(path, []))  # the run that rows refer to
        return connect(path)

    timings = interleaved(
        repeats,
        [
            Contender(new_file, lambda path: store_seconds.append(asyncio.run(_store(path, batches)))),
            Contender(new_connection, lambda connection: _plain(connection, ready)),
            Contender(lambda: None, lambda _: [list(table.rows()) for tables in rows_of(batches) for table in tables]),
        ],
    )
    path = new_file()
    asyncio.run(_store(path, batches))
    small = asyncio.run(_small(new_file(), batches_of(SMALL_OUTPUTS * 1_000, SMALL_OUTPUTS)))
    return StoreFigures(
        rows=rows,
        repeats=repeats,
        rows_per_second=rows / median(store_seconds[1:]),
        plain_rows_per_second=rows / timings[1].median,
        rows_made_per_second=rows / timings[2].median,
        bytes_per_row=path.stat().st_size / rows,
        small_ms_median=1e3 * median(small),
        small_ms_p99=1e3 * quantiles(small, n=100)[98],
    )


def store_section(*, is_quick: bool) -> Section:
    """The figures as a section of a report."""
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        found = measure(folder, is_quick=is_quick)
    finally:
        shutil.rmtree(folder)
    ratio = found.plain_rows_per_second / found.rows_per_second
    rows: list[tuple[str, ...]] = [
        ("rows a second, stored for good", f"{found.rows_per_second:,.0f}", f"{found.plain_rows_per_second:,.0f}"),
        ("making rows of outputs alone", f"{found.rows_made_per_second:,.0f}", "made beforehand"),
    ]
    notes = [
        (
            f"{found.rows:,} rows,"
            f" {found.rows * found.bytes_per_row / MEGABYTE:.0f} MB, {found.bytes_per_row:.0f} bytes a"
            f" row; batches of {STEP_OUTPUTS:,} outputs; medians of {found.repeats}."
            f" The store takes {ratio:.2f} times as long."
        ),
        (
            f"A batch of {SMALL_OUTPUTS} outputs is acknowledged within {found.small_ms_median:.2f} ms,"
            f" {found.small_ms_p99:.2f} ms in 99 of 100."
        ),
    ]
    header = ("", "store", "plain executemany")
    return Section("store", "Store", header, rows, notes, msgspec.to_builtins(found))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60,000 outputs")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    section = store_section(is_quick=arguments.quick)
    print(json.dumps(section.figures) if arguments.json else section.text())  # noqa: T201


if __name__ == "__main__":
    main()
