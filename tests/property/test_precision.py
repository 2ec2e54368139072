"""Doubles to units and back, against decimal arithmetic; and repair, after which nothing is found."""

from __future__ import annotations

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as some

from adapters.bar_quality import NO_TIME, BarTable, check_bars
from adapters.bar_repair import repair_bars
from engine.precision import infer_decimals, to_units

UNITS = some.sampled_from(["0.01", "0.5", "0.25", "1e-8", "0.05", "1", "5", "0.00001", "1e-10", "0.125"])
MINUTE_NS = 60_000_000_000
FIRST_NS = 1_640_995_200_000_000_000


def naive_decimals(values: list[float], most: int) -> int:
    """Smallest d for which Python's own round(), exact on decimals, gives every value back."""
    return next((d for d in range(most) if all(round(value, d) == value for value in values)), most)


def naive_units(value: float, unit: Decimal, rounding: str) -> int:
    with localcontext() as context:
        context.prec = 400
        return int((Decimal(value) / unit).to_integral_value(rounding))


@given(some.lists(some.tuples(some.integers(-(10**14), 10**14), some.integers(0, 9)), min_size=1, max_size=40))
def test_infer_decimals_is_what_round_says(printed: list[tuple[int, int]]) -> None:
    values = [float(Decimal(whole).scaleb(-places)) for whole, places in printed]
    assert infer_decimals(np.array(values), 10) == naive_decimals(values, 10)


@given(some.lists(some.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=20))
@example([5e-324])
@example([33554432.88979775])
@example([2.0**52 + 0.5, 2.0**53])
def test_infer_decimals_on_any_doubles(values: list[float]) -> None:
    assert infer_decimals(np.array(values), 10) == naive_decimals(values, 10)


@given(UNITS, some.lists(some.integers(-(2**52), 2**52), min_size=1, max_size=40))
def test_units_come_back_from_the_nearest_double(unit_text: str, units: list[int]) -> None:
    unit = Decimal(unit_text)
    values = np.array([float(count * unit) for count in units])
    for rounding in ("exact", "nearest", "floor"):
        assert to_units(values, unit, "price", rounding).tolist() == units


@given(UNITS, some.lists(some.floats(-1e7, 1e7), min_size=1, max_size=40))
def test_rounding_is_that_of_decimals(unit_text: str, numbers: list[float]) -> None:
    unit = Decimal(unit_text)
    values = np.array(numbers)
    nearest = to_units(values, unit, "price", "nearest")
    floor = to_units(values, unit, "price", "floor")
    for value, near, below in zip(numbers, nearest.tolist(), floor.tolist(), strict=True):
        exact = Decimal(value) / unit
        slack = Decimal("2e-6") + abs(exact) * Decimal(2) ** -49  # what a double cannot tell apart
        if abs(abs(exact % 1) - Decimal("0.5")) > slack:
            assert near == naive_units(value, unit, ROUND_HALF_EVEN)
        whole = naive_units(value, unit, ROUND_FLOOR)
        assert below in (whole, naive_units(value, unit, ROUND_HALF_EVEN))
        assert below == whole or abs(exact - below) <= slack


@given(UNITS, some.lists(some.floats(-4e18, 4e18), min_size=1, max_size=20))
def test_large_counts_are_exact(unit_text: str, numbers: list[float]) -> None:
    unit = Decimal(unit_text)
    kept = [value for value in numbers if 2**49 <= abs(Decimal(value) / unit) < 2**62]
    if kept:
        expected = [naive_units(value, unit, ROUND_HALF_EVEN) for value in kept]
        assert to_units(np.array(kept), unit, "volume", "nearest").tolist() == expected


PRICES = some.one_of(some.floats(0.01, 100.0), some.sampled_from([0.0, -1.0, float("nan"), float("inf"), 50.0, 60.0]))
ROWS = some.tuples(some.one_of(some.integers(0, 6), some.none()), PRICES, PRICES, PRICES, PRICES, PRICES)


@settings(max_examples=300)
@given(some.lists(ROWS, max_size=20))
def test_nothing_is_found_after_repair(rows: list[tuple[int | None, float, float, float, float, float]]) -> None:
    times = [NO_TIME if row[0] is None else FIRST_NS + row[0] * MINUTE_NS for row in rows]
    columns = [np.array([row[place] for row in rows], dtype=np.float64) for place in range(1, 6)]
    table = BarTable(np.arange(1, len(rows) + 1), np.array(times, dtype=np.int64), *columns)
    before = check_bars(table, "1m")
    repaired, repairs = repair_bars(table)
    assert check_bars(repaired, "1m").counts == {}
    assert bool(repairs) == (not before.sound)
    dropped = sum(repair.action == "dropped" for repair in repairs)
    assert len(repaired) == len(rows) - dropped
    again, more = repair_bars(repaired)
    assert more == ()
    assert again is repaired
