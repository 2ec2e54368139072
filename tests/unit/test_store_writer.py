"""The writer: rows once however they come, acknowledged when stored, whole transactions whatever is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from random import Random

import anyio
import msgspec
import pytest

from adapters.store import Position, RunEnd, StoredError, StoreReader, prepare
from adapters.store.rows import COLUMNS
from adapters.store.runs import renamed
from adapters.store.writer import StoreWriter, WriterStatistics
from engine.errors import DataError, UsageError
from engine.replay import RunResult
from tests.stores import (
    EVENT_TABLES,
    RESULTS,
    assert_holds,
    bar_result,
    batch_of,
    random_batches,
    start_of,
    summed,
    table_rows,
    tape_result,
    writing,
)

pytestmark = pytest.mark.asyncio


async def stored(path: Path, result: RunResult, seed: int = 1, overlap: int = 0) -> int:
    async with writing(path) as writer:
        run = await writer.begin(start_of(result))
        for batch in random_batches(result, run.run_id, Random(seed), overlap=overlap):
            await writer.write(batch)
    return run.run_id


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("overlap", [0, 3, 500])
async def test_random_batches_once_twice_and_overlapping_give_each_row_once(
    tmp_path: Path, kind: str, overlap: int
) -> None:
    path, result = tmp_path / "store.sqlite", RESULTS[kind]()
    run_id = await stored(path, result, 1, overlap)
    assert_holds(path, result, run_id)
    assert await stored(path, result, 2, overlap) == run_id
    assert_holds(path, result, run_id)


@pytest.mark.parametrize("kind", RESULTS)
async def test_sums_equal_the_run_s_figures(tmp_path: Path, kind: str) -> None:
    path, result = tmp_path / "store.sqlite", RESULTS[kind]()
    await stored(path, result)
    for table, column, figure in (
        ("strategy_fills", "pnl", "realised"),
        ("strategy_fills", "fee", "fees"),
        ("funding_payments", "payment", "funding"),
        ("strategy_trades", "gross_pnl", "realised"),
        ("strategy_trades", "fees", "fees"),
        ("strategy_trades", "funding", "funding"),
    ):
        assert summed(path, table, column) == result.figures[figure], (table, column)
    trades = result.trades()
    decimals = result.scales[0].cash_decimals
    for column in ("pnl", "mae", "mfe"):
        assert summed(path, "strategy_trades", column) == sum(
            int(getattr(trade, column).scaleb(decimals)) for trade in trades
        )
    with StoreReader(path) as reader:
        assert result.figures["cash"] == reader.fills(1)[-1].cash == reader.equity(1)[-1].equity


async def test_the_position_is_what_is_stored_and_a_book_waits_for_its_fill(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", tape_result()
    fill = int(next(n for n, words in enumerate(result.outputs) if int(words[2]) & 0xFF == 2))
    async with writing(path) as writer:
        run = await writer.begin(start_of(result))
        assert run.position == Position(0, 0)
        assert await writer.write(batch_of(result, 1, (0, fill), (0, 2))) == Position(fill - 1, 2)
        again = await writer.begin(start_of(result))
        assert again.position == Position(fill - 1, 2)
        assert await writer.write(batch_of(result, 1, (fill, fill), (2, 2))) == Position(fill - 1, 2)
        assert await writer.write(batch_of(result, 1, (0, fill - 1), (0, 1))) == Position(fill - 1, 2)
        assert await writer.write(batch_of(result, 1, (fill, fill + 1), (2, 2))) == Position(fill + 1, 2)
    (row,) = table_rows(path, "strategy_fills")
    assert row[19] is not None


async def test_a_hole_is_refused_and_the_writer_goes_on(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    async with writing(path) as writer:
        await writer.begin(start_of(result))
        await writer.write(batch_of(result, 1, (0, 10)))
        with pytest.raises(DataError, match="up to output 10 and sample 0; a batch that begins at output 11"):
            await writer.write(batch_of(result, 1, (11, 20)))
        with pytest.raises(DataError, match="sample 3 would leave a hole"):
            await writer.write(batch_of(result, 1, (10, 20), (3, 5)))
        with pytest.raises(DataError, match="run 8 has not begun"):
            await writer.write(batch_of(result, 8, (0, 20)))
        assert await writer.write(batch_of(result, 1, (10, 20), (0, 5))) == Position(20, 5)


async def test_runs_lie_beside_each_other_and_a_name_stands_for_one_run(tmp_path: Path) -> None:
    path, result, other = tmp_path / "store.sqlite", bar_result(), tape_result()
    async with writing(path) as writer:
        first = await writer.begin(start_of(result))
        second = await writer.begin(renamed(start_of(other), "another"))
        assert first.run_id != second.run_id
        with pytest.raises(DataError, match="another mode, account, strategies or instruments"):
            await writer.begin(renamed(start_of(other), "a run"))
        await writer.write(batch_of(result, first.run_id, (0, 50), (0, 50)))
        await writer.write(batch_of(other, second.run_id, (0, 70), (0, 0)))
        await writer.end(RunEnd(first.run_id, "finished", 99, result.hash))
    with StoreReader(path) as reader:
        one, two = reader.runs()
        assert (one.status, one.end_ns, one.hash) == ("finished", 99, f"{result.hash:016x}")
        assert (two.status, two.end_ns, two.hash) == ("running", None, None)
        assert len(reader.equity(first.run_id)) == 50
        assert reader.equity(second.run_id) == []


async def test_errors_are_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    error = StoredError(1, 0, 7, 8, "StrategyError", "on_bar raised", "grid", "BTCUSDT")
    async with writing(path) as writer:
        await writer.begin(start_of(tape_result()))
        await writer.record(error)
        await writer.record(error)
        await writer.record(msgspec.structs.replace(error, n=1))
    with StoreReader(path) as reader:
        assert [(each.n, each.message) for each in reader.errors(1)] == [(0, "on_bar raised"), (1, "on_bar raised")]


async def test_a_run_that_goes_on_knows_the_number_of_its_next_error(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    start = start_of(tape_result())
    for number in range(3):
        async with writing(path) as writer:
            run = await writer.begin(start)
            assert run.errors == number
            await writer.record(StoredError(run.run_id, run.errors, 7, 8, "StrategyError", f"message {number}"))
    with StoreReader(path) as reader:
        assert [each.message for each in reader.errors(1)] == ["message 0", "message 1", "message 2"]


@pytest.mark.parametrize("every", [1, 2, 7, 1_000])
async def test_every_so_many_samples_is_stored_however_they_come(tmp_path: Path, every: int) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    start = msgspec.structs.replace(start_of(result), sample_every=every)
    for seed in range(3):
        async with writing(path) as writer:
            run = await writer.begin(start if seed < 2 else start_of(result))  # it keeps to what it began with
            for batch in random_batches(result, run.run_id, Random(seed), overlap=5):
                position = await writer.write(batch)
    assert position == Position(len(result.outputs), len(result.samples))
    expected = [(1, n, *words) for n, words in enumerate(result.samples.tolist()) if n % every == 0]
    assert table_rows(path, "equity_curve") == expected
    assert len(expected) == -(-len(result.samples) // every)
    with StoreReader(path) as reader:
        assert reader.run("a run").sample_every == every


async def test_statistics_count_what_was_done(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    prepare(path)
    writer = StoreWriter(path, queue_requests_max=5)
    assert writer.statistics() == WriterStatistics(0, 0, 0, 0.0, 0.0, 0, 0, 5)
    beginning = asyncio.create_task(writer.begin(start_of(result)))
    waiting = [asyncio.create_task(writer.write(batch_of(result, 1, (0, n), (0, n)))) for n in (10, 20)]
    waiting.append(asyncio.create_task(writer.write(batch_of(result, 8, (0, 1)))))
    await asyncio.sleep(0)
    assert writer.statistics().queue_requests == 4
    running = asyncio.create_task(writer.run())
    await beginning
    await asyncio.gather(*waiting, return_exceptions=True)
    first = writer.statistics()
    assert (first.transactions, first.refused, first.outputs_stored, first.queue_requests) == (1, 1, 20, 0)
    stored = sum(len(table_rows(path, table)) for table in COLUMNS)
    assert first.rows - stored == 10 + sum(row[2] < 10 for table in EVENT_TABLES for row in table_rows(path, table))
    assert first.transaction_seconds == first.transactions_seconds > 0
    await writer.record(StoredError(1, 0, 7, 8, "StrategyError", "on_bar raised"))
    await writer.close()
    await running
    last = writer.statistics()
    assert last.rows == first.rows + 1
    assert last.transactions == 3
    assert last.outputs_stored == 20
    assert last.transactions_seconds > first.transactions_seconds


async def test_a_full_queue_blocks(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    prepare(path)
    writer = StoreWriter(path, queue_requests_max=2)
    beginning = asyncio.create_task(writer.begin(start_of(result)))
    putting = [asyncio.create_task(writer.put(batch_of(result, 1, (0, n)))) for n in range(1, 5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert [each.done() for each in putting] == [True, False, False, False]
    running = asyncio.create_task(writer.run())
    assert (await beginning).run_id == 1
    assert [(await (await each)).outputs for each in putting] == [1, 2, 3, 4]
    await writer.close()
    await running
    with pytest.raises(UsageError, match="is closed"):
        await writer.write(batch_of(result, 1, (4, 5)))


@pytest.mark.parametrize("ticks", [*range(0, 40, 3), 80, 200])
async def test_a_cancelled_writer_ends_its_transaction_first(tmp_path: Path, ticks: int) -> None:
    path, result = tmp_path / "store.sqlite", tape_result()
    prepare(path)
    writer = StoreWriter(path)
    running = asyncio.create_task(writer.run())
    await writer.begin(start_of(result))
    futures = [await writer.put(batch) for batch in list(random_batches(result, 1, Random(ticks)))[:40]]
    for _ in range(ticks):
        await asyncio.sleep(0)
    while not running.done():  # again and again, as an enclosing scope does
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running
    acknowledged = [each.result().outputs for each in futures if each.exception() is None]
    assert all(isinstance(each.exception(), UsageError) for each in futures[len(acknowledged) :])
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # nobody holds a lock
        (outputs,) = connection.execute("SELECT outputs_stored FROM strategy_runs").fetchone()
        connection.execute("ROLLBACK")
    assert outputs == (acknowledged[-1] if acknowledged else 0)
    await stored(path, result)
    assert_holds(path, result, 1)


@pytest.mark.parametrize("ticks", [0, 5, 20, 100])
async def test_a_cancelled_task_group_lets_the_transaction_end(tmp_path: Path, ticks: int) -> None:
    path, result = tmp_path / "store.sqlite", tape_result()
    prepare(path)
    writer = StoreWriter(path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        await writer.begin(start_of(result))
        whole = await writer.put(batch_of(result, 1, (0, len(result.outputs))))
        for _ in range(ticks):
            await asyncio.sleep(0)
        tasks.cancel_scope.cancel()
    assert whole.done()
    is_stored = whole.exception() is None
    assert len(table_rows(path, "strategy_orders")) > 1_000 if is_stored else not table_rows(path, "strategy_orders")
    await stored(path, result)
    assert_holds(path, result, 1)


async def test_whoever_is_cancelled_while_waiting_leaves_the_batch_to_be_stored(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    async with writing(path) as writer:
        await writer.begin(start_of(result))
        waiting = asyncio.create_task(writer.write(batch_of(result, 1, (0, 100))))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await writer.write(batch_of(result, 1, (100, 101))) == Position(101, 0)


async def test_trouble_with_the_file_ends_the_writer_and_all_that_waits(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    prepare(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE positions")
    writer = StoreWriter(path, queue_requests_max=1)
    running = asyncio.create_task(writer.run())
    await writer.begin(start_of(result))
    waiting = [asyncio.create_task(writer.write(batch_of(result, 1, (0, len(result.outputs))))) for _ in range(4)]
    for each in (running, *waiting):
        with pytest.raises(UsageError, match=r"store\.sqlite cannot be opened or written: no such table"):
            await each
    await writer.close()
    with pytest.raises(UsageError, match="no such table"):
        await writer.write(batch_of(result, 1, (0, 1)))
    assert table_rows(path, "strategy_orders") == []


async def test_a_row_against_the_schema_is_a_defect_not_a_loss(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", bar_result()
    prepare(path)
    writer = StoreWriter(path)
    running = asyncio.create_task(writer.run())
    await writer.begin(start_of(result))
    broken = result.samples[:3].copy()
    broken[1, 2] = -1  # exposure is never negative
    with pytest.raises(UsageError, match="CHECK constraint failed: exposure"):
        await writer.write(msgspec.structs.replace(batch_of(result, 1, (0, 9)), samples=broken))
    with pytest.raises(sqlite3.IntegrityError):
        await running
    assert table_rows(path, "equity_curve") == table_rows(path, "strategy_orders") == []
