"""Runs to store, and stores to look into: what the tests of the store have in common."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from adapters.store import Batch, RunStart, StoredStrategy, prepare, stored_instruments
from adapters.store.rows import COLUMNS, output_rows, sample_rows
from adapters.store.writer import StoreWriter
from engine.replay import RunResult
from tests.replay.tape_runs import flow, ran, run_of
from tests.replay.test_determinism import replay_of

EVENT_TABLES = tuple(table for table in COLUMNS if table != "equity_curve")


@cache
def tape_result() -> RunResult:
    """Two makers on a made-up tape: books before fills, cancels, trades of many fills."""
    return ran(flow(20_000, 3), [run_of("market_maker"), run_of("grid")])


@cache
def bar_result() -> RunResult:
    """Brackets and ladders on bars of two markets, with funding: orders of every kind, those that expire too."""
    return replay_of("brackets", "ladder", markets=2, bars=600).run()


RESULTS = {"tape": tape_result, "bars": bar_result}


def start_of(result: RunResult, name: str = "a run") -> RunStart:
    """What the store is told of a run."""
    decimals = result.scales[0].cash_decimals
    strategies = tuple(StoredStrategy(each, {"step": 2}, "ab" * 32) for each in result.strategies)
    instruments = stored_instruments(result.scales)
    return RunStart(name, "paper", 1, decimals, 10 ** (6 + decimals), strategies, instruments, {"fills": "book"})


def batch_of(result: RunResult, run_id: int, outputs: tuple[int, int], samples: tuple[int, int] = (0, 0)) -> Batch:
    """Outputs and samples of a run, each from a number up to another."""
    return Batch(run_id, outputs[0], result.outputs[slice(*outputs)], samples[0], result.samples[slice(*samples)])


def random_batches(result: RunResult, run_id: int, dice: Random, *, overlap: int = 0) -> Iterator[Batch]:
    """A whole run in batches of any size, each of which may begin up to `overlap` before the last one's end."""
    output = sample = 0
    outputs, samples = len(result.outputs), len(result.samples)
    while output < outputs or sample < samples:
        first_output, first_sample = (max(0, at - dice.randint(0, overlap)) for at in (output, sample))
        output = min(outputs, output + dice.choice((0, 1, 1, 2, 7, 60, 900)))
        sample = min(samples, sample + dice.choice((0, 1, 3, 40, 400)))
        yield batch_of(result, run_id, (first_output, output), (first_sample, sample))


@contextlib.asynccontextmanager
async def writing(path: Path, **options: Any) -> AsyncIterator[StoreWriter]:
    """A writer with its task, on a file that is made ready; closed at the end."""
    prepare(path)
    writer = StoreWriter(path, **options)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        yield writer
        await writer.close()


def table_rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    """What a table holds, by its key, as the columns of `COLUMNS` stand."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        order = "run_id, n"
        return connection.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table} ORDER BY {order}").fetchall()


def expected_rows(result: RunResult, run_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """What each table should hold of a whole run."""
    made = [*output_rows(run_id, 0, result.outputs), sample_rows(run_id, 0, result.samples)]
    return {table: [] for table in COLUMNS} | {each.table: list(each.rows()) for each in made}


def assert_holds(path: Path, result: RunResult, run_id: int) -> None:
    """The store holds every row of a run, once, and nothing else."""
    for table, rows in expected_rows(result, run_id).items():
        assert table_rows(path, table) == rows, table


def summed(path: Path, table: str, column: str) -> int:
    """The sum of a column."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT coalesce(sum({column}), 0) FROM {table}").fetchone()[0])


def run_rows(path: Path, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of a run, table by table, without its number and its name."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (run_id,) = connection.execute("SELECT run_id FROM strategy_runs WHERE name = ?", (name,)).fetchone()
        found = {}
        for table in ("strategy_runs", "run_strategies", "run_instruments", *COLUMNS):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            chosen = ", ".join(column for column in columns if column not in {"run_id", "name"})
            found[table] = connection.execute(f"SELECT {chosen} FROM {table} WHERE run_id = ?", (run_id,)).fetchall()
        return found
