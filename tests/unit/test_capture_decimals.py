"""Decimal text onto the grid of ticks and lots: exactly, or refused with the reason."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.captures.decimals import DecimalsSeen, Grid, floor_units, micro_ticks, rate_e12, unit_of
from adapters.captures.report import Reason, RejectedError

# unit   text              | units, or the reason
UNITS = """
0.1      61800.20          | 618002
0.1      61800.2           | 618002
0.1      61800             | 618000
0.1      00.100            | 1
0.1      .5                | 5
0.1      61800.25          | off_tick
0.5      61800.5           | 123601
0.5      61800.2           | off_tick
0.05     1.15              | 23
10       120               | 12
10       125               | off_tick
1        1e2               | 100
0.00001  1E-5              | 1
0.001    1.0e-7            | off_tick
0.1      0                 | not_above_zero
0.1      0.00              | not_above_zero
0.1      -1                | not_above_zero
0.1      -0.0              | not_above_zero
0.1      NaN               | not_a_number
0.1      Infinity          | not_a_number
0.1      1_000             | not_a_number
0.1      ١٢                | not_a_number
0.1      +-1               | not_a_number
0.1      1.2.3             | not_a_number
0.1      1e999             | out_of_range
1        1152921504606846976 | out_of_range
1        1152921504606846975 | 1152921504606846975
1e-18    1                 | 1000000000000000000
"""


@pytest.mark.parametrize("row", [row for row in UNITS.splitlines() if row])
def test_text_becomes_whole_units_or_is_refused(row: str) -> None:
    cells = row.split()
    grid = Grid(Decimal(cells[0]), off_grid=Reason.off_tick, is_zero_allowed=False)
    if cells[3].isdigit():
        assert grid[cells[1]] == int(cells[3])
        return
    with pytest.raises(RejectedError) as caught:
        grid[cells[1]]
    assert caught.value.reason is Reason[cells[3]]


def test_zero_is_a_size_where_it_is_allowed_and_an_empty_text_is_no_number() -> None:
    grid = Grid(Decimal("0.001"), off_grid=Reason.off_lot, is_zero_allowed=True)
    assert grid["0.000"] == 0
    with pytest.raises(RejectedError) as caught:
        grid[""]
    assert caught.value.reason is Reason.not_a_number


@given(units=st.integers(0, 2**60 - 1), decimals=st.integers(0, 12), step=st.sampled_from([1, 2, 5, 25]))
def test_any_multiple_of_any_unit_comes_back(units: int, decimals: int, step: int) -> None:
    unit = Decimal(step).scaleb(-decimals)
    grid = Grid(unit, off_grid=Reason.off_lot, is_zero_allowed=True)
    assert grid[f"{units * step * unit / step:f}"] == units


def test_decimals_that_a_text_needs() -> None:
    seen = DecimalsSeen()
    texts = ("61800.20", "5", "1.000", "0.00010", "1e-7", "NaN", "", "-1")
    assert [seen[text] for text in texts] == [1, 0, 0, 4, 7, -1, -1, -1]
    assert unit_of(8) == Decimal("0.00000001")


def test_marks_rates_and_interest_round_and_refuse() -> None:
    assert micro_ticks("61800.12345678", Decimal("0.1")) == 618_001_234_568
    assert micro_ticks("", Decimal("0.1")) == 0
    assert rate_e12("-0.00008458") == -84_580_000
    assert floor_units("12.3456", Decimal("0.001")) == 12_345
    for text in ("NaN", "x", "1e40"):
        with pytest.raises(RejectedError):
            rate_e12(text)
