"""Bars that grow: what is appended, what is left out, how an open bar joins, and that nothing shown ever changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.columns import BarRow, GrowingBars
from engine.errors import DataError
from engine.instruments import Instrument

SECOND = 1_000_000_000
ONE = Instrument("ONE", Decimal("0.1"), Decimal("0.001"))
NAMES = ("ts_ns", "open", "high", "low", "close", "volume")


def row(second: int, price: int = 1_000, volume: int = 5) -> BarRow:
    return BarRow(second * SECOND, price, price + 3, price - 2, price + 1, volume)


def growing(*rows: BarRow) -> GrowingBars:
    columns = GrowingBars(ONE, "1s")
    columns.take_history(list(rows), None)
    return columns


def seconds(columns: GrowingBars) -> list[int]:
    return [int(ts_ns) // SECOND for ts_ns in columns.bars().ts_ns]


def table(columns: GrowingBars) -> list[tuple[Any, ...]]:
    bars = columns.bars()
    return list(zip(*(getattr(bars, name).tolist() for name in NAMES), strict=True))


def test_bars_are_in_prices_and_units_exactly_as_the_venue_writes_them() -> None:
    columns = growing(BarRow(SECOND, 617_999, 618_003, 617_001, 618_001, 1_234_567))
    assert table(columns) == [(SECOND, 61_799.9, 61_800.3, 61_700.1, 61_800.1, 1_234.567)]
    assert (columns.bars().symbol, columns.bars().timeframe, len(columns), columns.last_ns) == ("ONE", "1s", 1, SECOND)


def test_without_bars_there_is_no_last_one() -> None:
    columns = GrowingBars(ONE, "1s")
    assert (len(columns), columns.last_ns, len(columns.bars())) == (0, 0, 0)


def test_history_that_comes_again_adds_what_is_new() -> None:
    columns = growing(row(1), row(2))
    assert columns.take_history([row(1, 7), row(2, 7), row(3), row(5)], None) == 2
    assert seconds(columns) == [1, 2, 3, 5]
    assert columns.bars().open.tolist() == [100.0] * 4


def test_what_opens_no_later_than_the_last_one_is_left_out() -> None:
    columns = growing(row(1), row(5))
    assert not columns.take_built(row(5, 7))
    assert not columns.take_built(row(4, 7))
    assert columns.take_built(row(6))
    assert seconds(columns) == [1, 5, 6]


@pytest.mark.parametrize(
    ("partial", "built", "expected"),
    [
        (BarRow(2, 10, 12, 9, 11, 4), BarRow(2, 11, 15, 11, 14, 6), [(2, 10, 15, 9, 14, 10)]),
        (BarRow(2, 10, 20, 3, 11, 4), BarRow(2, 11, 15, 11, 14, 6), [(2, 10, 20, 3, 14, 10)]),
        (BarRow(2, 10, 12, 9, 11, 4), BarRow(3, 11, 15, 11, 14, 6), [(2, 10, 12, 9, 11, 4), (3, 11, 15, 11, 14, 6)]),
        (BarRow(2, 10, 12, 9, 11, 4), BarRow(7, 11, 15, 11, 14, 6), [(2, 10, 12, 9, 11, 4), (7, 11, 15, 11, 14, 6)]),
    ],
    ids=["joins", "has the extremes", "nothing traded in the rest of it", "nor for long after"],
)
def test_a_bar_that_was_open_becomes_part_of_the_first_one_built(
    partial: BarRow, built: BarRow, expected: list[tuple[int, ...]]
) -> None:
    columns = GrowingBars(Instrument("UNIT", Decimal(1), Decimal(1)), "1s")
    columns.take_history([BarRow(1, 10, 10, 10, 10, 1)], partial)
    assert len(columns) == 1
    assert columns.take_built(built)
    assert table(columns)[1:] == expected
    assert columns.take_built(BarRow(9, 1, 1, 1, 1, 1))
    assert table(columns)[-1] == (9, 1, 1, 1, 1, 1)


def test_an_open_bar_waits_for_one_built_before_it() -> None:
    columns = GrowingBars(ONE, "1s")
    columns.take_history([], row(5, 2_000))
    assert columns.take_built(row(4))
    assert columns.take_built(row(5))
    assert [each[:2] for each in table(columns)] == [(4 * SECOND, 100.0), (5 * SECOND, 200.0)]


def test_newer_history_replaces_the_open_bar_and_an_old_one_is_none() -> None:
    columns = GrowingBars(ONE, "1s")
    columns.take_history([row(1)], row(2, 2_000))
    columns.take_history([row(2, 3_000)], None)
    assert columns.take_built(row(3))
    columns.take_history([], row(3, 4_000))
    assert columns.take_built(row(4))
    assert [each[1] for each in table(columns)] == [100.0, 300.0, 100.0, 100.0]


def test_what_was_shown_never_changes_and_cannot_be_written() -> None:
    columns = growing(*(row(number, 1_000 + number) for number in range(1, 1_000)))
    shown = columns.bars()
    before = [getattr(shown, name).copy() for name in NAMES]
    for number in range(1_000, 5_000):
        assert columns.take_built(row(number, number))
    for name, values in zip(NAMES, before, strict=True):
        np.testing.assert_array_equal(getattr(shown, name), values)
        with pytest.raises(ValueError, match="read-only"):
            getattr(shown, name)[0] = 0
    assert len(columns) == len(columns.bars()) == 4_999
    assert columns.bars().ts_ns[:999].tolist() == before[0].tolist()


@pytest.mark.parametrize("count", [0, 1, 1_023, 1_024, 1_025, 3_000])
@pytest.mark.parametrize("partial", [None, row(4_000)])
def test_a_snapshot_brings_everything_back(count: int, partial: BarRow | None) -> None:
    columns = GrowingBars(ONE, "1s")
    columns.take_history([row(number, 1_000 + number % 7) for number in range(1, count + 1)], partial)
    other = growing(row(9))
    other.restore(columns.snapshot())
    assert table(other) == table(columns)
    for each in (columns, other):
        assert each.take_built(row(4_000, 500))
        assert each.take_built(row(4_001))
    assert table(other) == table(columns)


def test_columns_of_different_lengths_are_no_snapshot() -> None:
    found = growing(row(1), row(2)).snapshot()
    found["columns"]["close"] = found["columns"]["close"][:-8]
    with pytest.raises(DataError, match="different lengths"):
        GrowingBars(ONE, "1s").restore(found)
