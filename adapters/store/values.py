"""What the statements are given for a run's own rows: its facts, its strategies and instruments, its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.store.runs import RunEnd, RunStart

_HASH_MASK = 2**64 - 1


def of_run(start: RunStart) -> tuple[Any, ...]:
    """For INSERT_RUN: a run that begins."""
    params = {each.strategy_id: each.params for each in start.strategies}
    strategy_ids = ",".join(each.strategy_id for each in start.strategies)
    return (
        start.name, start.mode, "running", strategy_ids, _json(params), start.start_ns, start.cash_decimals,
        start.initial_cash, _json(start.config), start.sample_every,
    )  # fmt: skip


def of_strategies(run_id: int, start: RunStart) -> Iterator[tuple[Any, ...]]:
    """For INSERT_STRATEGY, one after the other: strategies as the run's outputs number them."""
    for number, strategy in enumerate(start.strategies):
        yield run_id, number, strategy.strategy_id, _json(strategy.params), strategy.source_sha256


def of_instruments(run_id: int, start: RunStart) -> Iterator[tuple[Any, ...]]:
    """For INSERT_INSTRUMENT, one after the other."""
    for number, instrument in enumerate(start.instruments):
        yield run_id, number, *msgspec.structs.astuple(instrument)


def of_end(end: RunEnd) -> tuple[Any, ...]:
    """For UPDATE_END."""
    return end.status, end.end_ns, f"{end.hash & _HASH_MASK:016x}", end.run_id


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
