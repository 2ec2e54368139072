"""The SQL that the writer uses, made once.

Rows go in with ON CONFLICT on their identity alone: a row that is there already is passed over, while one that breaks
any other rule raises. (INSERT OR IGNORE would pass over those too, and so lose them in silence.)
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.store.rows import COLUMNS


def _insert(table: str, columns: tuple[str, ...], identity: tuple[str, ...]) -> str:
    places = ", ".join("?" for _ in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of our own schema
        f" ON CONFLICT ({', '.join(identity)}) DO NOTHING"
    )


INSERTS = {
    table: _insert(table, columns, ("run_id", "seq", "n") if "seq" in columns else ("run_id", "n"))
    for table, columns in COLUMNS.items()
}
"""How rows of each table are put in."""


def insert_many(table: str, columns: Mapping[str, bool], rows: int) -> str:
    """How so many rows of a new run are put in by one statement; ?1 is the run's id, these columns follow.

    A row costs half of what it costs one at a time, and Python's lock is free meanwhile. There is no conflict to pass
    over: nothing of a new run is there yet. A column that may be NULL (True) is given "" for it: for each None, sqlite3
    looks for an adapter, which takes longer than the rest of the value's way.
    """
    places = ", ".join(("?1", *("nullif(?, '')" if may_be_null else "?" for may_be_null in columns.values())))
    values = ", ".join([f"({places})"] * rows)
    return f"INSERT INTO {table} (run_id, {', '.join(columns)}) VALUES {values}"  # noqa: S608 - names of our own schema


INSERT_RUN = _insert(
    "strategy_runs",
    (
        "name", "mode", "status", "strategy_id", "params", "start_ns", "cash_decimals", "initial_cash", "config",
        "sample_every",
    ),
    ("name",),
)  # fmt: skip
INSERT_STRATEGY = _insert(
    "run_strategies", ("run_id", "strategy", "strategy_id", "params", "source_sha256"), ("run_id", "strategy")
)
INSERT_INSTRUMENT = _insert(
    "run_instruments",
    ("run_id", "instrument", "symbol", "kind", "tick_size", "lot_size", "multiplier"),
    ("run_id", "instrument"),
)
INSERT_ERROR = _insert(
    "errors", ("run_id", "n", "seq", "ts_ns", "kind", "message", "strategy_id", "symbol"), ("run_id", "n")
)
SELECT_RUN = (
    "SELECT run_id, outputs_stored, samples_stored, sample_every, mode, cash_decimals, initial_cash FROM strategy_runs"
    " WHERE name = ?"
)
SELECT_STRATEGIES = "SELECT strategy_id FROM run_strategies WHERE run_id = ? ORDER BY strategy"
SELECT_INSTRUMENTS = (
    "SELECT symbol, kind, tick_size, lot_size, multiplier FROM run_instruments WHERE run_id = ? ORDER BY instrument"
)
SELECT_NEXT_ERROR = "SELECT coalesce(max(n) + 1, 0) FROM errors WHERE run_id = ?"
UPDATE_GOING_ON = "UPDATE strategy_runs SET status = 'running', end_ns = NULL, hash = NULL WHERE run_id = ?"
UPDATE_NAME = "UPDATE strategy_runs SET name = ? WHERE run_id = ?"
UPDATE_POSITION = "UPDATE strategy_runs SET outputs_stored = ?, samples_stored = ? WHERE run_id = ?"
UPDATE_END = "UPDATE strategy_runs SET status = ?, end_ns = ?, hash = ? WHERE run_id = ?"
