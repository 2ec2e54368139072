"""The arithmetic of missing ranges against a naive twin that looks at every minute."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.downloads.spans import Span, joined, length_of, missing_bars, missing_settlements, on_grid

MOST = 60


def opens_missing(stored: set[int], step: int, start: int, end: int) -> list[int]:
    return [at for at in range(start, end) if at % step == 0 and at not in stored]


def opens_in(spans: list[Span], step: int) -> list[int]:
    return [at for first, stop in spans for at in range(first, stop, step)]


@given(
    stored=st.sets(st.integers(-MOST, 2 * MOST)),
    step=st.integers(1, 7),
    start=st.integers(-MOST, MOST),
    length=st.integers(-3, MOST),
)
def test_missing_bars_are_those_that_a_look_at_each_time_finds(
    stored: set[int], step: int, start: int, length: int
) -> None:
    end = start + length
    spans = missing_bars(np.array(sorted(stored), np.int64), step, start, end)
    assert opens_in(spans, step) == opens_missing(stored, step, start, end)
    # In order, each not empty, on the grid, and apart: two that touch would be one.
    assert all(first < stop and first % step == 0 == stop % step for first, stop in spans)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
    assert length_of(spans) == step * len(opens_in(spans, step))


@given(
    stored=st.sets(st.integers(0, MOST)),
    longest=st.integers(1, 9),
    start=st.integers(0, MOST),
    length=st.integers(-3, MOST),
)
def test_settlements_may_be_missing_wherever_none_is_near(
    stored: set[int], longest: int, start: int, length: int
) -> None:
    end = start + length
    spans = missing_settlements(np.array(sorted(stored), np.int64), longest, start, end)
    asked = {at for first, stop in spans for at in range(first, stop)}
    inside = sorted(at for at in stored if start <= at < end)
    for at in range(start, end):
        before = max((each for each in inside if each <= at), default=None)
        behind = min((each for each in inside if each >= at), default=None)
        is_known = at in inside or (before is not None and behind is not None and behind - before <= longest)
        assert (at in asked) == (not is_known), at
    assert not asked & stored
    assert asked <= set(range(start, max(start, end)))


@given(
    edges=st.lists(st.integers(0, 200), unique=True, max_size=20).map(sorted),
    distance=st.integers(0, 30),
)
def test_joined_spans_hold_the_same_and_lie_further_apart(edges: list[int], distance: int) -> None:
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    found = joined(spans, distance)
    held = {at for first, stop in found for at in range(first, stop)}
    asked = {at for first, stop in spans for at in range(first, stop)}
    assert asked <= held
    assert all(after[0] - before[1] > distance for before, after in itertools.pairwise(found))
    for at in held - asked:
        before = max(stop for _, stop in spans if stop <= at)
        behind = min(first for first, _ in spans if first > at)
        assert behind - before <= distance


@given(start=st.integers(-MOST, MOST), length=st.integers(0, MOST), step=st.integers(1, 9))
def test_a_range_on_the_grid_has_the_opens_of_the_range(start: int, length: int, step: int) -> None:
    first, stop = on_grid(start, start + length, step)
    assert list(range(first, stop, step)) == [at for at in range(start, start + length) if at % step == 0]
