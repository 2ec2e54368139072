"""A run into the store: what every run, live or replayed, is called and described as there.

A live session begins its run with `run_start` and hands over its batches itself. One that is over, a backtest or a
replay, is stored whole; both make their rows of the engine's outputs in one place, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from adapters.store import FinishedRun, RunStart, StoredError, StoredStrategy, store_whole, stored_instruments
from adapters.store.runs import RunMode, RunStatus
from config.document import to_document
from config.model import RunConfig
from daemon.stages import Stages
from engine.errors import StrategyError, TapewrightError
from engine.figures.money import to_units
from engine.reading import Scale
from engine.replay import Replay, RunResult, StrategyRun

STORE_FILE = "strategy.sqlite"


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


def result_of(
    start: RunStart, result: RunResult, end_ns: int, *, status: RunStatus = "finished",
    errors: tuple[StoredError, ...] = (),
) -> FinishedRun:  # fmt: skip
    """A run that is over, as the store takes it; what it gave is not copied."""
    return FinishedRun(start, status, end_ns, result.hash, result.outputs, result.samples, errors)


def end_of(result: RunResult, start_ns: int) -> int:
    """When a run that is over ended: at its last sample."""
    return int(result.samples[-1, 0]) if len(result.samples) else start_ns


def store_failed(
    home: Path, config: RunConfig, runs: Sequence[StrategyRun], replay: Replay, start_ns: int, error: StrategyError,
    stages: Stages,
) -> None:  # fmt: skip
    """Store a backtest whose strategy raised, up to there, with what it raised; what hinders that is only said."""
    store = config.daemon.store
    if not store.enabled:
        return
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    name = "_".join(("-".join(config.symbols), "-".join(entry.id for entry in config.strategies), stamp, "failed"))
    result = replay.so_far()
    start = run_start(name, "backtest", config, runs, result.scales, start_ns, sample_every=store.sample_every)
    end_ns = end_of(result, start_ns)
    seq = int(result.outputs[-1, 0]) if len(result.outputs) else 0
    stored = StoredError(0, 0, seq, end_ns, type(error).__name__, error.message)
    try:
        store_whole(home / store.path, result_of(start, result, end_ns, status="failed", errors=(stored,)))
    except TapewrightError as trouble:
        stages.stage(f"The failed run is not stored: {trouble.message}")
    else:
        stages.stage(f"Stored as failed: {name}")
