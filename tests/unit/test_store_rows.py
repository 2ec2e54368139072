"""Outputs to rows: every output of a run is in its table, by names, with the money to the unit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from adapters.store.rows import COLUMNS, EVENT_TABLES, output_rows, sample_rows
from engine.kernels import layout
from engine.reading import STATES, kinds_of
from engine.replay import RunResult
from tests.stores import RESULTS, expected_rows, tape_result


def named(result: RunResult, table: str) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS[table], row, strict=True)) for row in expected_rows(result, 5)[table]]


@pytest.mark.parametrize("kind", RESULTS)
def test_every_output_has_its_row(kind: str) -> None:
    result = RESULTS[kind]()
    counts = Counter(kinds_of(result.outputs).tolist())
    tables = expected_rows(result, 5)
    of_orders = int(((kinds_of(result.outputs) == layout.FILL_OUTPUT) & (result.outputs[:, 3] > 0)).sum())
    assert counts[layout.FILL_OUTPUT] > 100
    assert len(tables["strategy_fills"]) == len(tables["positions"]) == counts[layout.FILL_OUTPUT]
    assert len(tables["strategy_orders"]) == counts[layout.ORDER_OUTPUT] + of_orders
    assert len(tables["strategy_trades"]) == counts[layout.TRADE_OUTPUT]
    assert len(tables["funding_payments"]) == counts[layout.FUNDING_OUTPUT]
    assert len(tables["risk_events"]) == counts[layout.RISK_OUTPUT]
    assert len(tables["equity_curve"]) == len(result.samples)


@pytest.mark.parametrize("kind", RESULTS)
def test_rows_are_made_of_their_own_output_alone(kind: str) -> None:
    result = RESULTS[kind]()
    for row in named(result, "strategy_trades"):
        words = result.outputs[row["n"]]
        assert (row["seq"], row["exit_ns"], row["trade_id"]) == (words[0], words[1], words[4])
        assert (row["gross_pnl"], row["fees"], row["funding"]) == tuple(words[10:13])
        assert (row["mae"], row["mfe"], row["side"]) == (words[13], words[14], "long" if words[5] > 0 else "short")
    for row in named(result, "strategy_orders"):
        words = result.outputs[row["n"]]
        is_order = int(words[2]) & 0xFF == layout.ORDER_OUTPUT
        assert row["state"] == STATES[(int(words[2]) >> 8) & 0xFF]
        assert row["remaining_lots"] == (words[5] if is_order else words[14])
        assert row["lots"] == (words[4] if is_order else None)


def test_a_fill_on_a_tape_carries_the_book_before_it() -> None:
    result = tape_result()
    rows = named(result, "strategy_fills")
    assert {row["confidence"] for row in rows} <= {"assumed", "bounded", "observed"}
    assert {row["model"] for row in rows} <= {"depth", "queue", "through"}
    for row in rows:
        book = result.outputs[row["n"] - 1]
        assert (row["bid_ticks"], row["ask_ticks"], row["book_age_ns"]) == (book[4], book[6], book[9])


def test_fills_on_bars_have_no_book() -> None:
    rows = named(RESULTS["bars"](), "strategy_fills")
    assert {(row["confidence"], row["book_age_ns"], row["bid_ticks"]) for row in rows} == {(None, None, None)}


def test_an_event_of_the_account_has_no_strategy_and_unknown_terms_are_said_to_be_unknown() -> None:
    risk, order = np.zeros((2, 16), dtype=np.int64)
    risk[:7] = (9, 8, layout.RISK_OUTPUT | 1 << 16 | layout.ACCOUNT_WIDE << 32, 7, 6, 5, 4)
    order[:10] = (9, 8, layout.ORDER_OUTPUT | 7 << 8 | 12 << 16, 1, 0, 0, 0, 0, 77, 250)
    made = {each.table: list(each.rows()) for each in output_rows(1, 40, np.array([risk, order]))}
    assert made["risk_events"] == [(1, 9, 40, 8, None, 0, "max_drawdown", 7, 6, 5, 4)]
    (row,) = made["strategy_orders"]
    assert row[7:9] == ("REJECTED", "invalid")
    assert row[14:16] == ("unknown", "unknown")


@pytest.mark.parametrize("kind", RESULTS)
def test_one_table_can_be_made_alone(kind: str) -> None:
    outputs = RESULTS[kind]().outputs
    whole = {each.table: list(each.rows()) for each in output_rows(3, 7, outputs)}
    for table in EVENT_TABLES:
        alone = [list(each.rows()) for each in output_rows(3, 7, outputs, tables=(table,))]
        assert alone == ([whole[table]] if table in whole else [])


@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("first", [0, 1, 5, 9])
def test_samples_are_chosen_by_their_number(first: int, every: int) -> None:
    samples = np.arange(28).reshape(7, 4)
    expected = [(1, n, *samples[n - first].tolist()) for n in range(first, first + 7) if n % every == 0]
    assert list(sample_rows(1, first, samples, every).rows()) == expected


def test_nothing_gives_nothing() -> None:
    assert output_rows(1, 0, np.zeros((0, 16), dtype=np.int64)) == []
    assert len(sample_rows(1, 0, np.zeros((0, 4), dtype=np.int64))) == 0
