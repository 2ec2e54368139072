"""A store's writer killed again and again; one JSON object at the end says what was found.

`python -m tests.integration.store_killing FOLDER KILLS`. Each child goes on with the run from what is stored, or a bit
before, as one does after a crash; its outputs follow from their numbers. It says through a pipe which position is
acknowledged, until it is killed. A process of its own, so that forking is cheap: nothing is loaded but the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from adapters.store import Batch, Position, RunStart, StoredInstrument, StoredStrategy, prepare
from adapters.store.rows import COLUMNS, output_rows, sample_rows
from adapters.store.writer import StoreWriter
from engine.kernels import layout

_POSITION = struct.Struct("<qq")
START = RunStart(
    "killed", "paper", 1, 2, 100, (StoredStrategy("grid"),), (StoredInstrument("X", "linear", "1", "1", "1"),)
)
# An order's life: NEW, ACTIVE, the book, the fill.
_KINDS = np.array([layout.ORDER_OUTPUT, layout.ORDER_OUTPUT, layout.BOOK_OUTPUT, layout.FILL_OUTPUT])
_HEADS = np.array([layout.NEW << 8, layout.ACTIVE << 8, 2 << 16 | 5 << 24, layout.FILLED << 8 | 2 << 16 | 5 << 24])


def outputs_of(first: int, count: int) -> NDArray[np.int64]:
    """Outputs that follow from their numbers."""
    numbers = np.arange(first, first + count)
    found = np.zeros((count, layout.OUTPUT_WORDS), dtype=np.int64)
    found[:, 0], found[:, 1] = numbers // 3, numbers * 1_000  # several outputs of one record
    found[:, 2] = _KINDS[numbers % 4] | _HEADS[numbers % 4]
    found[:, 3] = numbers // 4 + 1
    found[:, 4:] = numbers[:, None] * np.arange(1, 13) + 1
    is_order = found[:, 2] & 0xFF == layout.ORDER_OUTPUT
    found[is_order, 8:10] = (layout.LIMIT, layout.GTC)
    return found


def samples_of(first: int, count: int) -> NDArray[np.int64]:
    """Samples that follow from their numbers."""
    found: NDArray[np.int64] = np.arange(first, first + count)[:, None] * np.array([60, -3, 2, 1])
    return found


async def write(path: Path, pipe: int, seed: int) -> NoReturn:
    """Go on with the run, several batches at a time, and say what is acknowledged, for ever."""
    dice = random.Random(seed)
    writer = StoreWriter(path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        run = await writer.begin(START)
        reached = run.position
        output, sample = (max(0, at - dice.choice((0, 1, 5, 700))) for at in (reached.outputs, reached.samples))
        while True:
            waiting = []
            for _ in range(dice.randint(1, 4)):
                counts = dice.choice((0, 1, 3, 50, 500)), dice.choice((0, 1, 30))
                outputs, samples = outputs_of(output, counts[0]), samples_of(sample, counts[1])
                waiting.append(await writer.put(Batch(run.run_id, output, outputs, sample, samples)))
                output, sample = output + counts[0], sample + counts[1]
            for each in waiting:
                reached = await each
                os.write(pipe, _POSITION.pack(reached.outputs, reached.samples))


def killed_once(path: Path, seed: int, messages: int, seconds: float) -> Position:
    """Kill a child so long after its so many messages; the position it acknowledged last, zeros where none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            asyncio.run(write(path, writing, seed))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read(messages * _POSITION.size)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), (seed, status)
        said += pipe.read()
    whole = len(said) // _POSITION.size * _POSITION.size
    return Position(*_POSITION.unpack(said[whole - _POSITION.size : whole])) if whole else Position(0, 0)


def checked(path: Path) -> Position:
    """What the database says is stored; it must be whole, and hold exactly the rows of so much, each once."""
    prepare(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT outputs_stored, samples_stored FROM strategy_runs").fetchall()
        if not found:
            return Position(0, 0)
        position = Position(*found[0])
        made = [*output_rows(1, 0, outputs_of(0, position.outputs)), sample_rows(1, 0, samples_of(0, position.samples))]
        expected: dict[str, list[Any]] = {table: [] for table in COLUMNS}
        expected |= {each.table: list(each.rows()) for each in made}
        for table, rows in expected.items():
            there = connection.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table} ORDER BY n").fetchall()
            assert there == rows, (table, position, len(there), len(rows))
    return position


def main(folder: Path, kills: int) -> None:
    """Kill so many children; the database must hold what each acknowledged, each row once, and nothing else."""
    dice = random.Random(kills)
    folder.mkdir()
    path = folder / "store.sqlite"
    prepare(path)
    children_that_stored = 0
    acknowledged = stored = Position(0, 0)
    for seed in range(kills):
        said = killed_once(path, seed, dice.choice((0, 1, 2, 5, 10)), dice.uniform(0, 0.03))
        children_that_stored += said != Position(0, 0)
        acknowledged = Position(max(acknowledged.outputs, said.outputs), max(acknowledged.samples, said.samples))
        stored = checked(path)
        assert stored.outputs >= acknowledged.outputs, (seed, stored, acknowledged)
        assert stored.samples >= acknowledged.samples, (seed, stored, acknowledged)
    found = {"kills": kills, "children_that_stored": children_that_stored}
    counts = {"outputs": stored.outputs, "acknowledged": acknowledged.outputs, "samples": stored.samples}
    print(json.dumps(found | counts))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
