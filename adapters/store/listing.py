"""The runs that a store holds, chosen as somebody asks for them, each with what it came to.

A run's trades are counted along the primary key and its last sample is looked up there, so that hundreds of runs with
millions of samples are listed at once.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.store.reader import StoreReader
from adapters.store.row_types import RunRow
from adapters.store.runs import RunMode

_TRADES = "SELECT count(*) FROM strategy_trades WHERE run_id = ?"
_LAST = "SELECT equity FROM equity_curve WHERE run_id = ? ORDER BY n DESC LIMIT 1"
_HAS_STRATEGY = "EXISTS (SELECT 1 FROM run_strategies s WHERE s.run_id = t.run_id AND s.strategy_id = ?)"
_HAS_SYMBOL = "EXISTS (SELECT 1 FROM run_instruments i WHERE i.run_id = t.run_id AND i.symbol = ?)"


class RunFilter(msgspec.Struct, frozen=True):
    """Which runs: those for which all holds that is given; of these the `last` that began to be stored."""

    mode: RunMode | None = None
    strategy: str | None = None
    symbol: str | None = None
    last: int | None = None


class ListedRun(msgspec.Struct, frozen=True):
    """A run, its closed trades counted, and its last stored equity in cash units (None: no sample yet)."""

    run: RunRow
    trades: int
    equity: int | None


def listed(reader: StoreReader, chosen: RunFilter) -> list[ListedRun]:
    """The runs that are asked for, the newest last."""
    wanted: list[tuple[str, Any]] = [
        ("t.mode = ?", chosen.mode), (_HAS_STRATEGY, chosen.strategy), (_HAS_SYMBOL, chosen.symbol),
    ]  # fmt: skip
    given = [(sql, value) for sql, value in wanted if value is not None]
    fields = ", ".join(f"t.{name}" for name in RunRow.__struct_fields__)
    conditions = " AND ".join(sql for sql, _ in given) or "TRUE"
    sql = f"SELECT {fields} FROM strategy_runs t WHERE {conditions} ORDER BY t.run_id DESC LIMIT ?"  # noqa: S608 - ours
    limit = -1 if chosen.last is None else chosen.last
    with reader.at_one_moment():
        runs = [RunRow(*row) for row in reader.stream(sql, [*(value for _, value in given), limit])]
        return [_listed(reader, run) for run in reversed(runs)]


def _listed(reader: StoreReader, run: RunRow) -> ListedRun:
    ((trades,),) = reader.stream(_TRADES, (run.run_id,))
    last = next(reader.stream(_LAST, (run.run_id,)), None)
    return ListedRun(run, trades, None if last is None else last[0])
