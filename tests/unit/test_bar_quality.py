"""Findings, gaps and repairs of candles."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.bar_quality import NO_TIME, BarTable, check_bars, find_gaps
from adapters.bar_repair import repair_bars

MINUTE_NS = 60_000_000_000
FIRST_NS = 1_640_995_200_000_000_000  # 2022-01-01
NAN = float("nan")
INFINITE = float("inf")
GOOD = (10.0, 12.0, 9.0, 11.0, 5.0)


def table_of(*rows: tuple[float, ...], minutes: tuple[int | None, ...] = ()) -> BarTable:
    """Rows of open, high, low, close, volume, one minute apart unless told."""
    minutes = minutes or tuple(range(len(rows)))
    ts_ns = [NO_TIME if minute is None else FIRST_NS + minute * MINUTE_NS for minute in minutes]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return BarTable(np.arange(1, len(rows) + 1), np.array(ts_ns, dtype=np.int64), *columns)


def test_good_bars_are_sound() -> None:
    quality = check_bars(table_of(GOOD, (11.0, 11.0, 11.0, 11.0, 0.0)), "1m")
    assert quality.sound
    assert quality.findings == ()
    assert quality.zero_volume_bars == 1
    assert (quality.first_ts_ns, quality.last_ts_ns) == (FIRST_NS, FIRST_NS + MINUTE_NS)


@pytest.mark.parametrize(
    ("row", "kind", "field", "value"),
    [
        ((NAN, 12.0, 9.0, 11.0, 5.0), "not_a_number", "open", "nan"),
        ((10.0, INFINITE, 9.0, 11.0, 5.0), "not_a_number", "high", "inf"),
        ((10.0, 12.0, 9.0, 11.0, NAN), "not_a_number", "volume", "nan"),
        ((10.0, 12.0, 0.0, 11.0, 5.0), "price_not_positive", "low", "0.0"),
        ((10.0, 12.0, -9.0, 11.0, 5.0), "price_not_positive", "low", "-9.0"),
        ((10.0, 12.0, 9.0, 11.0, -1.0), "volume_negative", "volume", "-1.0"),
        ((10.0, 9.0, 12.0, 11.0, 5.0), "high_below_low", "high", "9.0"),
        ((13.0, 12.0, 9.0, 11.0, 5.0), "open_outside", "open", "13.0"),
        ((10.0, 12.0, 9.0, 8.0, 5.0), "close_outside", "close", "8.0"),
    ],
)
def test_a_wrong_value_is_named(row: tuple[float, ...], kind: str, field: str, value: str) -> None:
    quality = check_bars(table_of(GOOD, row, GOOD), "1m")
    assert quality.counts == {kind: 1}
    (finding,) = quality.findings
    assert (finding.kind, finding.row, finding.field, finding.value) == (kind, 2, field, value)
    assert finding.ts_ns == FIRST_NS + MINUTE_NS
    assert finding.remedy


@pytest.mark.parametrize(
    ("minutes", "counts"),
    [
        ((0, 2, 1), {"disorder": 1}),
        ((2, 1, 0), {"disorder": 2}),
        ((0, 1, 1), {"duplicate_row": 1}),
        ((0, None, 2), {"bad_time": 1}),
        ((0, 1, -27_340_000), {"time_out_of_range": 1, "disorder": 1}),
        ((0, 1, 10**8), {"time_out_of_range": 1}),
    ],
)
def test_wrong_times(minutes: tuple[int | None, ...], counts: dict[str, int]) -> None:
    quality = check_bars(table_of(GOOD, GOOD, GOOD, minutes=minutes), "1m")
    assert quality.counts == counts
    assert quality.gaps.bars_missing <= 1


def test_duplicates_with_other_values_are_told_apart() -> None:
    other = (10.0, 12.0, 9.0, 11.0, 6.0)
    assert check_bars(table_of(GOOD, other, minutes=(0, 0)), "1m").counts == {"duplicate_time": 1}


def test_seconds_taken_for_milliseconds_are_out_of_range() -> None:
    table = table_of(GOOD)
    early = BarTable(table.rows, table.ts_ns // 1000 // MINUTE_NS * MINUTE_NS, *(np.array([v]) for v in GOOD))
    assert check_bars(early, "1m").counts == {"time_out_of_range": 1}


@pytest.mark.parametrize(
    ("day", "timeframe", "sound"),
    [
        ("2022-01-03", "1w", True),  # a Monday
        ("2022-01-02", "1w", False),
        ("2022-01-02", "1d", True),
        ("2022-01-02T16:00", "1d", False),
        ("2022-01-02T16:00", "4h", True),
        ("2022-01-02T15:00", "4h", False),
    ],
)
def test_the_grid(day: str, timeframe: str, *, sound: bool) -> None:
    ts_ns = np.array([day], dtype="datetime64[ns]").astype(np.int64)
    table = BarTable(np.array([1]), ts_ns, *(np.array([value]) for value in GOOD))
    assert check_bars(table, timeframe).counts == ({} if sound else {"off_grid": 1})


def test_a_timeframe_finer_than_the_rows_is_refused_but_an_illiquid_market_is_not() -> None:
    hourly = table_of(*[GOOD] * 40, minutes=tuple(range(0, 2400, 60)))
    assert check_bars(hourly, "1m").counts == {"timeframe_too_fine": 1}
    assert "3600 s apart" in check_bars(hourly, "1m").findings[0].value
    illiquid = table_of(*[GOOD] * 40, minutes=(*range(0, 117, 3), 118))
    assert check_bars(illiquid, "1m").sound


def test_all_are_counted_and_the_first_few_listed() -> None:
    quality = check_bars(table_of(*[(NAN, NAN, 9.0, 11.0, 5.0)] * 50), "1m", list_most=3)
    assert quality.counts == {"not_a_number": 100}
    assert [(finding.row, finding.field) for finding in quality.findings] == [(1, "open"), (1, "high"), (2, "open")]


def test_gaps_are_counted_and_never_refused() -> None:
    table = table_of(*[GOOD] * 5, minutes=(0, 1, 4, 5, 15))
    quality = check_bars(table, "1m")
    assert quality.sound
    gaps = quality.gaps
    assert (gaps.bars_missing, gaps.runs_count, gaps.longest_bars) == (11, 2, 9)
    assert [(gap.first_ts_ns, gap.bars_count) for gap in gaps.first] == [
        (FIRST_NS + 2 * MINUTE_NS, 2),
        (FIRST_NS + 6 * MINUTE_NS, 9),
    ]
    assert find_gaps(table.ts_ns[:1], MINUTE_NS).runs_count == 0


def test_an_empty_table_is_no_finding() -> None:
    assert check_bars(table_of(), "1m").rows_count == 0


# rows | minutes | what is left (minute, values) | repairs (action kind row before after)
REPAIRS = [
    pytest.param(
        [GOOD, (10.0, 9.0, 12.0, 11.0, 5.0)],
        (0, 1),
        [(0, *GOOD), (1, 10.0, 12.0, 9.0, 11.0, 5.0)],
        ["swapped high_below_low 2 9.0 12.0 12.0 9.0"],
        id="high and low swapped make the bar whole",
    ),
    pytest.param(
        [(10.0, 9.0, 12.0, 13.0, 5.0)],
        (0,),
        [(0, 10.0, 13.0, 9.0, 13.0, 5.0)],
        ["widened high_below_low 1 9.0 12.0 13.0 9.0"],
        id="swapped would not do: the close lies outside",
    ),
    pytest.param(
        [(13.0, 12.0, 9.0, 8.0, 5.0)],
        (0,),
        [(0, 13.0, 13.0, 8.0, 8.0, 5.0)],
        ["widened open_outside 1 12.0 9.0 13.0 8.0"],
        id="widened to hold open and close",
    ),
    pytest.param(
        [GOOD, (NAN, 12.0, 9.0, 11.0, 5.0), GOOD],
        (0, 1, 2),
        [(0, *GOOD), (2, *GOOD)],
        ["dropped not_a_number 2 nan "],
        id="no number: the row goes",
    ),
    pytest.param(
        [GOOD, GOOD],
        (1, 0),
        [(0, *GOOD), (1, *GOOD)],
        ["sorted disorder 0 1 rows earlier than a row before them rows by time"],
        id="sorted",
    ),
    pytest.param(
        [GOOD, GOOD],
        (0, 0),
        [(0, *GOOD)],
        [
            (
                "dropped duplicate_row 1 open 10.0 high 12.0 low 9.0 close 11.0 volume 5.0"
                " row 2: open 10.0 high 12.0 low 9.0 close 11.0 volume 5.0"
            )
        ],
        id="equal rows: one stays",
    ),
    pytest.param(
        [GOOD, (10.0, 12.0, 9.0, 11.0, 6.0)],
        (0, 0),
        [(0, 10.0, 12.0, 9.0, 11.0, 6.0)],
        [
            (
                "dropped duplicate_time 1 open 10.0 high 12.0 low 9.0 close 11.0 volume 5.0"
                " row 2: open 10.0 high 12.0 low 9.0 close 11.0 volume 6.0"
            )
        ],
        id="other values: the last stays",
    ),
]


@pytest.mark.parametrize(("rows", "minutes", "left", "told"), REPAIRS)
def test_repairs(
    rows: list[tuple[float, ...]], minutes: tuple[int, ...], left: list[tuple[float, ...]], told: list[str]
) -> None:
    table, repairs = repair_bars(table_of(*rows, minutes=minutes))
    minute = (table.ts_ns - FIRST_NS) // MINUTE_NS
    columns = (minute, table.open, table.high, table.low, table.close, table.volume)
    assert [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)] == left
    assert [f"{r.action} {r.kind} {r.row} {r.before} {r.after}" for r in repairs] == told


def test_a_sound_table_is_left_as_it_is() -> None:
    table = table_of(GOOD, GOOD)
    assert repair_bars(table) == (table, ())


def test_times_off_the_grid_are_not_guessed() -> None:
    table = table_of(GOOD)
    shifted = BarTable(table.rows, table.ts_ns + 1_000_000_000, *(np.array([value]) for value in GOOD))
    repaired, repairs = repair_bars(shifted)
    assert repairs == ()
    assert check_bars(repaired, "1m").counts == {"off_grid": 1}
