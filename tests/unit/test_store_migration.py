"""A store of the first schema, full of rows, brought to the newest: every row is there, and the run can go on."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from adapters.store import Position, Prepared, StoredError, StoreReader, prepare
from adapters.store.rows import COLUMNS
from adapters.store.schema import connect, migrations
from adapters.store.statements import INSERTS
from engine.replay import RunResult
from tests.stores import assert_holds, batch_of, expected_rows, start_of, tape_result, writing

NEW_RISKS = ("halted", "strategy_stopped", "strategy_started", "strategy_faulted", "strategy_quarantined")
OLD_RISKS = (
    "max_drawdown", "strategy_max_drawdown", "daily_loss_limit", "resumed", "liquidation", "bankrupt",
)  # fmt: skip
RISK = "INSERT INTO risk_events VALUES (1, ?, ?, 5, NULL, 0, ?, 1, 2, 3, 4)"
STOP = 1_000  # outputs that the old version had stored


def first_schema(path: Path, result: RunResult) -> None:
    """A store as the first version wrote it: a run up to some output, a risk event of every kind, an error."""
    prepare(path, migrations()[:1])
    start = start_of(result)
    with contextlib.closing(connect(path)) as connection:
        values: tuple[object, ...] = (start.name, start.cash_decimals, start.initial_cash, STOP)
        constants = "1, ?, 'paper', 'running', 'a,b', '{}', 1, NULL, ?, ?, '{}', NULL, ?, 20"
        connection.execute(f"INSERT INTO strategy_runs VALUES ({constants})", values)
        for number, strategy in enumerate(start.strategies):
            connection.execute(
                "INSERT INTO run_strategies VALUES (1, ?, ?, '{}', '')", (number, strategy.strategy_id)
            )  # fmt: skip
        for number, each in enumerate(start.instruments):
            values = (number, *msgspec.structs.astuple(each))
            connection.execute("INSERT INTO run_instruments VALUES (1, ?, ?, ?, ?, ?, ?)", values)
        for table, rows in expected_rows(result, 1).items():
            n = COLUMNS[table].index("n")
            stop = 20 if table == "equity_curve" else STOP
            connection.executemany(INSERTS[table], [row for row in rows if row[n] < stop])
        for number, event in enumerate(OLD_RISKS):
            connection.execute(RISK, (number, 10_000_000 + number, event))
        connection.execute("INSERT INTO errors VALUES (1, 4, 7, 8, 'grid', 'X', 'StrategyError', 'on_bar raised')")


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, by the names of the first schema's columns."""
    found = {}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM pragma_table_list WHERE schema = 'main'").fetchall()
        for (table,) in tables:
            if table.startswith("sqlite_"):
                continue
            names = [row[0] for row in connection.execute(f"SELECT name FROM pragma_table_xinfo('{table}')")]
            columns = ", ".join(name for name in names if name != "sample_every")
            found[table] = sorted(connection.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
    return found


@pytest.mark.asyncio
async def test_the_first_schema_s_rows_are_all_there_and_the_run_goes_on(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", tape_result()
    first_schema(path, result)
    before = everything(path)
    copy = tmp_path / "store.sqlite.schema-1"
    assert prepare(path) == Prepared(1, 2, copy)
    assert everything(path) == everything(copy) == before
    assert {len(rows) > 0 for table, rows in before.items() if table != "funding_payments"} == {True}
    async with writing(path) as writer:
        run = await writer.begin(start_of(result))
        assert (run.position, run.errors) == (Position(STOP, 20), 5)
        await writer.record(StoredError(1, run.errors, 9, 9, "FeedError", "stale"))
        await writer.write(batch_of(result, 1, (900, len(result.outputs)), (10, len(result.samples))))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM risk_events WHERE n >= 10000000")
        connection.commit()
    assert_holds(path, result, 1)
    with StoreReader(path) as reader:
        assert reader.run("a run").sample_every == 1
        assert [each.n for each in reader.errors(1)] == [4, 5]


def test_a_migrated_store_has_the_rules_of_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    first_schema(old, tape_result())
    prepare(old)
    prepare(new)
    asked = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    with contextlib.closing(sqlite3.connect(old)) as one, contextlib.closing(sqlite3.connect(new)) as other:
        assert one.execute(asked).fetchall() == other.execute(asked).fetchall()
        assert one.execute("PRAGMA foreign_key_check").fetchall() == []
        assert one.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def test_the_events_of_a_session_are_kept_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    first_schema(path, tape_result())
    with contextlib.closing(connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(RISK, (50, 20_000_000, "halted"))
    prepare(path)
    with contextlib.closing(connect(path)) as connection:
        for number, event in enumerate(NEW_RISKS):
            connection.execute(RISK, (50, 20_000_000 + number, event))
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
            connection.execute(RISK, (50, 30_000_000, "unknown"))
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            connection.execute("INSERT INTO risk_events VALUES (1, 1, 9, 5, 77, 0, 'halted', 1, 2, 3, 4)")
    with StoreReader(path) as reader:
        assert [each.event for each in reader.risks(1)] == [*OLD_RISKS, *NEW_RISKS]


def test_the_last_positions_are_found_along_an_index(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    prepare(path)
    with StoreReader(path) as reader:
        plan = list(
            reader.stream(
                "EXPLAIN QUERY PLAN SELECT max(n) FROM positions WHERE run_id = 1 AND strategy = 0 AND instrument = 0"
            )
        )
    assert "USING COVERING INDEX positions_by_ledger (run_id=? AND strategy=? AND instrument=?)" in plan[0][3]
