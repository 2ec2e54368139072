"""Moments on the command line. Expected values: `date -u -d TEXT +%s`."""

from __future__ import annotations

import pytest

from adapters.tape.times import parse_time, time_text
from engine.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2024-08-08T23:54:15Z", 1_723_161_255_000_000_000),
        ("2024-08-08 23:54:15", 1_723_161_255_000_000_000),
        ("2024-08-08T23:54:15.030314667Z", 1_723_161_255_030_314_667),
        ("2024-08-08t23:54:15,5", 1_723_161_255_500_000_000),
        ("2024-08-09T01:54+02:00", 1_723_161_240_000_000_000),
        ("2024-08-09T01:54:15.25+0200", 1_723_161_255_250_000_000),
        ("2024-08-08", 1_723_075_200_000_000_000),
        ("1723161255030314667", 1_723_161_255_030_314_667),
    ],
)
def test_moments_in_the_ways_they_are_written(text: str, expected_ns: int) -> None:
    assert parse_time(text) == expected_ns
    assert parse_time(time_text(expected_ns)) == expected_ns


@pytest.mark.parametrize(
    "text",
    ["", "now", "1723161255", "1723161255030", "2024-13-01", "2024-02-30T00:00", "2024-08-08T25:00", "1960-01-01",
     "2024-08-08T23:54:15.1234567891Z", "99999999999999999999", "2024-08-08T23:54Q"],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a moment"):
        parse_time(text)


def test_a_moment_is_shown_with_all_its_decimals() -> None:
    assert time_text(1_723_161_255_000_000_001) == "2024-08-08T23:54:15.000000001Z"
