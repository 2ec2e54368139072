"""What the store is told of a run when it begins: facts that give its rows their meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.reading import Scale

RunMode = Literal["backtest", "paper", "replay"]
RunStatus = Literal["running", "finished", "stopped", "failed"]


class StoredStrategy(msgspec.Struct, frozen=True):
    """A strategy of a run: what it is called there, its parameters, the hash of its source."""

    strategy_id: str
    params: dict[str, Any] = {}
    source_sha256: str = ""


class StoredInstrument(msgspec.Struct, frozen=True):
    """An instrument of a run, with the units of its integers as exact decimals."""

    symbol: str
    kind: str
    tick_size: str
    lot_size: str
    multiplier: str


class RunStart(msgspec.Struct, frozen=True):
    """A run that begins, or goes on: `name` tells runs apart, and is given again after a restart.

    `initial_cash` is in cash units of 10^-`cash_decimals`; `config` is the run's configuration as plain values. Of the
    samples every `sample_every`th is stored, from the first on; a run that goes on keeps to what it began with.
    """

    name: str
    mode: RunMode
    start_ns: int
    cash_decimals: int
    initial_cash: int
    strategies: tuple[StoredStrategy, ...]
    instruments: tuple[StoredInstrument, ...]
    config: dict[str, Any] = {}
    sample_every: int = 1


class RunEnd(msgspec.Struct, frozen=True):
    """How a run ended; `hash` is the engine's chain then."""

    run_id: int
    status: RunStatus
    end_ns: int
    hash: int


class Position(msgspec.Struct, frozen=True):
    """How much of a run is stored for good: outputs and samples since its start, counted."""

    outputs: int
    samples: int


class StoredRun(msgspec.Struct, frozen=True):
    """A run that has begun in the store; `errors`: how many it has stored, so the number of its next one."""

    run_id: int
    position: Position
    errors: int = 0


class Batch(msgspec.Struct, frozen=True):
    """Outputs (n, 16) and samples (m, 4) of a run, with the numbers since its start of the first of each, from 0."""

    run_id: int
    first_output: int
    outputs: NDArray[np.int64]
    first_sample: int
    samples: NDArray[np.int64]


class StoredError(msgspec.Struct, frozen=True):
    """Something that went wrong and was survived; `n` counts the run's errors, from 0."""

    run_id: int
    n: int
    seq: int
    ts_ns: int
    kind: str
    message: str
    strategy_id: str = ""
    symbol: str = ""


class FinishedRun(msgspec.Struct, frozen=True):
    """A run that is over, with everything it gave: outputs (n, 16), samples (m, 4), what went wrong.

    `hash` is the engine's chain at its end. The errors' `run_id` is not read: the run has none yet.
    """

    start: RunStart
    status: RunStatus
    end_ns: int
    hash: int
    outputs: NDArray[np.int64]
    samples: NDArray[np.int64]
    errors: tuple[StoredError, ...] = ()


def renamed(start: RunStart, name: str) -> RunStart:
    """The same run by another name."""
    return msgspec.structs.replace(start, name=name)


def stored_instruments(scales: Sequence[Scale]) -> tuple[StoredInstrument, ...]:
    """The instruments of a run as the store keeps them."""
    return tuple(
        StoredInstrument(
            scale.instrument.symbol, scale.instrument.kind, f"{scale.instrument.tick_size:f}",
            f"{scale.instrument.lot_size:f}", f"{scale.instrument.multiplier:f}",
        )
        for scale in scales
    )  # fmt: skip
