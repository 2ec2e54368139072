"""A run into the store: what every run, live or replayed, is called and described as there, and a finished one's rows.

A live session begins its run with `run_start` and hands over its batches itself. A replay that is over is stored whole
with `store_result`, through the same writer, so that both can be compared row for row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from adapters.store import (
    Batch,
    Position,
    RunEnd,
    RunStart,
    StoredRun,
    StoredStrategy,
    StoreReader,
    StoreWriter,
    prepare,
    stored_instruments,
)
from adapters.store.runs import RunMode, RunStatus
from config.document import to_document
from config.model import RunConfig
from engine.errors import DataError
from engine.figures.money import to_units
from engine.reading import Scale
from engine.replay import RunResult, StrategyRun

STORE_FILE = "strategy.sqlite"
BATCH_OUTPUTS = 4_096
_BATCHES_WAITING_MAX = 32  # their futures; the writer's own queue bounds what lies in memory


def run_start(
    name: str, mode: RunMode, config: RunConfig, runs: Sequence[StrategyRun], scales: Sequence[Scale], start_ns: int,
    *, sample_every: int = 1,
) -> RunStart:  # fmt: skip
    """What the store is told of a run when it begins; strategies and instruments are numbered as in its outputs."""
    settings = config.settings
    return RunStart(
        name=name, mode=mode, start_ns=start_ns, cash_decimals=settings.cash_decimals,
        initial_cash=to_units(settings.initial_cash, settings.cash_decimals),
        strategies=tuple(StoredStrategy(run.name, dict(run.params), run.strategy.source_hash) for run in runs),
        instruments=stored_instruments(scales), config=to_document(config), sample_every=sample_every,
    )  # fmt: skip


def refuse_taken(path: Path, name: str) -> None:
    """Make the store at `path` ready; raises DataError where it holds a run of this name, else as `prepare` does."""
    prepare(path)
    with StoreReader(path) as reader:
        if any(run.name == name for run in reader.runs()):
            raise DataError(f"{path} holds a run {name} already", remedy="Name another file with --store PATH.")


def store_result(
    path: Path, start: RunStart, result: RunResult, end_ns: int, *, status: RunStatus = "finished"
) -> StoredRun:  # fmt: skip
    """Store a run that is over, whole, in batches; returns when it is on the disk.

    Raises DataError where the store holds a run of that name, else as `prepare` and the writer do. A process that is
    killed meanwhile leaves a run that is `running`, with its first rows.
    """
    refuse_taken(path, start.name)
    return asyncio.run(_store(path, start, result, RunEnd(0, status, max(end_ns, start.start_ns), result.hash)))


async def _store(path: Path, start: RunStart, result: RunResult, end: RunEnd) -> StoredRun:
    writer = StoreWriter(path)
    writing = asyncio.create_task(writer.run())
    try:
        run = await writer.begin(start)
        position = await _batches(writer, run.run_id, result)
        await writer.end(RunEnd(run.run_id, end.status, end.end_ns, end.hash))
    finally:
        try:
            await writer.close()
        finally:
            await writing  # raises what ended it, rather than that it has ended
    return StoredRun(run.run_id, position)


async def _batches(writer: StoreWriter, run_id: int, result: RunResult) -> Position:
    """Hand over outputs and samples side by side; the position when all are stored."""
    outputs, samples = result.outputs, result.samples
    count = max(1, -(-max(len(outputs), len(samples)) // BATCH_OUTPUTS))
    waiting: deque[asyncio.Future[Position]] = deque()
    position = Position(0, 0)
    for number in range(count):
        first = number * BATCH_OUTPUTS
        output, sample = min(first, len(outputs)), min(first, len(samples))
        piece = slice(first, first + BATCH_OUTPUTS)
        waiting.append(await writer.put(Batch(run_id, output, outputs[piece], sample, samples[piece])))
        if len(waiting) > _BATCHES_WAITING_MAX:
            position = await waiting.popleft()
    for each in waiting:
        position = await each
    return position
