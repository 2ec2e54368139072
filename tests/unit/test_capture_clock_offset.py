"""The clock's offset from the times of messages."""

from __future__ import annotations

import pytest

from adapters.captures import clock_offset
from adapters.captures.clock_offset import ClockSamples


def offset_of(differences_ns: list[int]) -> int:
    samples = ClockSamples()
    for difference_ns in differences_ns:
        samples.add(10**18 + difference_ns, 10**18)
    return samples.offset_ns()


# receive − exchange of the messages        | offset  why
TABLE = """
-1270 -1268 -1269 | 1270   a clock that is behind: the fastest message arrives at once
500 400 450       | 0      no message arrives early: nothing is claimed
-5 400 450        | 5      of few messages the fastest counts
                  | 0      no message has both times
"""


@pytest.mark.parametrize("row", [row for row in TABLE.splitlines() if row])
def test_table(row: str) -> None:
    told, _, expected = row.partition("|")
    assert offset_of([int(text) for text in told.split()]) == int(expected.split()[0])


def test_one_stray_message_in_a_hundred_does_not_count() -> None:
    assert offset_of([-9_000, *range(-100, 99)]) == 100 - 1


def test_messages_without_an_exchange_time_say_nothing() -> None:
    samples = ClockSamples()
    samples.add(10**18, 0)
    assert samples.offset_ns() == 0


def test_a_long_file_is_sampled_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_offset, "SAMPLES_MOST", 64)
    drifting = [-1_000_000 - number for number in range(100_000)]
    assert 1_098_000 <= offset_of(drifting) <= 1_100_000
