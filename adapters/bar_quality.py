"""What can be wrong with candles, found and named, and what of it can be repaired.

Pure functions over columns. A finding refuses the file; a gap does not, as exchanges have outages and write
no bar for a minute without a trade.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import NS_PER_DAY, FloatColumn, IntColumn, timeframe_ns

Kind = Literal[
    "bad_time",
    "time_out_of_range",
    "not_a_number",
    "price_not_positive",
    "volume_negative",
    "high_below_low",
    "open_outside",
    "close_outside",
    "off_grid",
    "disorder",
    "duplicate_row",
    "duplicate_time",
    "timeframe_too_fine",
]
Mask: TypeAlias = NDArray[np.bool_]

# What stands in `ts_ns` for a time that could not be read.
NO_TIME = np.iinfo(np.int64).min
PRICE_FIELDS = ("open", "high", "low", "close")
FIELDS = (*PRICE_FIELDS, "volume")

_EARLIEST_NS = -25_567 * NS_PER_DAY  # 1900-01-01
_LATEST_NS = 47_482 * NS_PER_DAY  # 2100-01-01
# Where times land that were read in a unit a thousand times too fine; nobody has bars of early 1970.
_MISTAKEN_UNIT_UNTIL_NS = 60 * NS_PER_DAY
# 1970-01-05, the first Monday; the epoch was a Thursday.
_FIRST_MONDAY_NS = 4 * NS_PER_DAY
_ROWS_TO_JUDGE_TIMEFRAME = 30

_REPAIR = "--repair"
_REMEDIES: dict[str, str] = {
    "bad_time": f"write times as UTC milliseconds or ISO 8601; {_REPAIR} drops the row",
    "time_out_of_range": f"check the unit of the times (s, ms, us, ns); {_REPAIR} drops the row",
    "not_a_number": f"write a decimal number; {_REPAIR} drops the row",
    "price_not_positive": f"prices are above zero; {_REPAIR} drops the row",
    "volume_negative": f"volume is zero or more; {_REPAIR} drops the row",
    "high_below_low": f"high and low look swapped; {_REPAIR} swaps or widens them",
    "open_outside": f"the open lies outside low..high; {_REPAIR} widens the bar to hold it",
    "close_outside": f"the close lies outside low..high; {_REPAIR} widens the bar to hold it",
    "off_grid": "check the timeframe; times are the bar's open in UTC; --shift-seconds moves them all",
    "disorder": f"the time is earlier than a row before it; {_REPAIR} sorts the rows",
    "duplicate_row": f"the same row stands in the file before; {_REPAIR} keeps one",
    "duplicate_time": f"another row has this time and other values; {_REPAIR} keeps the last",
    "timeframe_too_fine": "give the timeframe that the rows have",
}


class BarTable(msgspec.Struct, frozen=True):
    """Columns as they were read, in the file's order; `rows` are their numbers in the file, from 1."""

    rows: IntColumn
    ts_ns: IntColumn
    open: FloatColumn
    high: FloatColumn
    low: FloatColumn
    close: FloatColumn
    volume: FloatColumn

    def __len__(self) -> int:
        return len(self.ts_ns)

    def column(self, field: str) -> FloatColumn:
        """One of open, high, low, close, volume."""
        column: FloatColumn = getattr(self, field)
        return column

    def take(self, chosen: Mask | NDArray[np.intp]) -> BarTable:
        """Return the chosen rows, by mask or by position."""
        return BarTable(self.rows[chosen], self.ts_ns[chosen], *(self.column(field)[chosen] for field in FIELDS))


class Finding(msgspec.Struct, frozen=True):
    """One thing wrong. `row` counts data rows from 1; `line` is the text file's line, 0 elsewhere."""

    kind: Kind
    row: int
    line: int
    ts_ns: int
    field: str
    value: str
    remedy: str


class Gap(msgspec.Struct, frozen=True):
    """A run of bars that are not there: opens from `first_ts_ns` on, one each timeframe."""

    first_ts_ns: int
    bars_count: int


class Gaps(msgspec.Struct, frozen=True):
    """Bars missing between the first and the last one; `first` lists the earliest runs."""

    bars_missing: int
    runs_count: int
    longest_bars: int
    first: tuple[Gap, ...]


class Quality(msgspec.Struct, frozen=True):
    """What a file is worth: `counts` of findings by kind, and in `findings` the first of each kind."""

    rows_count: int
    first_ts_ns: int
    last_ts_ns: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    gaps: Gaps
    zero_volume_bars: int

    @property
    def sound(self) -> bool:
        """Whether the file can be stored."""
        return not self.counts


def grid_anchor_ns(timeframe: str) -> int:
    """Return the time a timeframe's bars are counted from: the epoch, and Monday 1970-01-05 for weeks."""
    return _FIRST_MONDAY_NS if timeframe.endswith("w") else 0


def check_bars(table: BarTable, timeframe: str, *, list_most: int = 5) -> Quality:
    """Count every finding of a table, list the first of each kind; raises UsageError (timeframe)."""
    step_ns = timeframe_ns(timeframe)
    masks = _value_masks(table) | _time_masks(table, timeframe)
    counts: dict[str, int] = {}
    findings: list[Finding] = []
    for (kind, field), mask in masks.items():
        count = int(np.count_nonzero(mask))
        if not count:
            continue
        counts[kind] = counts.get(kind, 0) + count
        places = np.flatnonzero(mask)[:list_most].tolist()
        findings.extend(_finding(table, kind, field, place) for place in places)
    times = table.ts_ns if not counts else np.unique(table.ts_ns[~_unusable_times(masks)])
    too_fine = None if counts else _coarser_step(times, step_ns)
    if too_fine is not None:
        counts["timeframe_too_fine"] = 1
        findings.append(_finding_of_step(table, step_ns, too_fine))
    return Quality(
        rows_count=len(table),
        first_ts_ns=int(times[0]) if len(times) else 0,
        last_ts_ns=int(times[-1]) if len(times) else 0,
        counts=counts,
        findings=tuple(_first_of_each(findings, list_most)),
        gaps=find_gaps(times, step_ns, list_most=list_most),
        zero_volume_bars=int(np.count_nonzero(table.volume == 0.0)),
    )


def find_gaps(ts_ns: IntColumn, step_ns: int, *, list_most: int = 5) -> Gaps:
    """Bars missing between times that increase."""
    if len(ts_ns) < 2:
        return Gaps(0, 0, 0, ())
    steps = np.diff(ts_ns)
    places = np.flatnonzero(steps >= 2 * step_ns)
    missing = steps[places] // step_ns - 1
    first = tuple(
        Gap(int(ts_ns[place]) + step_ns, int(count))
        for place, count in zip(places[:list_most], missing[:list_most], strict=True)
    )
    return Gaps(int(missing.sum()), len(places), int(missing.max(initial=0)), first)


def broken_masks(table: BarTable) -> dict[tuple[Kind, str], Mask]:
    """Rows that no repair can save, by kind and field: no time, no number, no price."""
    ts_ns = table.ts_ns
    no_time = ts_ns == NO_TIME
    out = (ts_ns < _EARLIEST_NS) | (ts_ns >= _LATEST_NS)
    out |= (ts_ns >= 0) & (ts_ns < _MISTAKEN_UNIT_UNTIL_NS)
    masks: dict[tuple[Kind, str], Mask] = {
        ("bad_time", "ts"): no_time,
        ("time_out_of_range", "ts"): out & ~no_time,
    }
    for field in FIELDS:
        masks["not_a_number", field] = ~np.isfinite(table.column(field))
    with np.errstate(invalid="ignore"):
        for field in PRICE_FIELDS:
            column = table.column(field)
            masks["price_not_positive", field] = (column <= 0.0) & np.isfinite(column)
        masks["volume_negative", "volume"] = (table.volume < 0.0) & np.isfinite(table.volume)
    return masks


def duplicate_masks(table: BarTable) -> tuple[Mask, Mask]:
    """Mark rows that repeat the time of one before: those with its values, and those with others."""
    identical = np.zeros(len(table), np.bool_)
    conflicting = np.zeros(len(table), np.bool_)
    order = np.argsort(table.ts_ns, kind="stable")
    before, after = order[:-1], order[1:]
    same_time = (table.ts_ns[before] == table.ts_ns[after]) & (table.ts_ns[after] != NO_TIME)
    before, after = before[same_time], after[same_time]
    equal = np.ones(len(after), np.bool_)
    for field in FIELDS:
        column = table.column(field)
        equal &= (column[before] == column[after]) | (np.isnan(column[before]) & np.isnan(column[after]))
    identical[after[equal]] = True
    conflicting[after[~equal]] = True
    return identical, conflicting


def _value_masks(table: BarTable) -> dict[tuple[Kind, str], Mask]:
    masks = broken_masks(table)
    with np.errstate(invalid="ignore"):
        crossed = table.high < table.low
        masks["high_below_low", "high"] = crossed
        for kind, field in (("open_outside", "open"), ("close_outside", "close")):
            column = table.column(field)
            outside = ((column > table.high) | (column < table.low)) & ~crossed
            masks[kind, field] = outside  # type: ignore[index]  # the pairs above are of Kind
    return masks


def _time_masks(table: BarTable, timeframe: str) -> dict[tuple[Kind, str], Mask]:
    known = table.ts_ns != NO_TIME
    offset = (table.ts_ns - np.where(known, grid_anchor_ns(timeframe), 0)) % timeframe_ns(timeframe)
    masks: dict[tuple[Kind, str], Mask] = {("off_grid", "ts"): (offset != 0) & known}
    if len(table) < 2 or bool((table.ts_ns[1:] > table.ts_ns[:-1]).all()):
        return masks
    latest_before = np.maximum.accumulate(table.ts_ns)[:-1]
    masks["disorder", "ts"] = np.concatenate(([False], table.ts_ns[1:] < latest_before)) & known
    masks["duplicate_row", "ts"], masks["duplicate_time", "ts"] = duplicate_masks(table)
    return masks


def _unusable_times(masks: dict[tuple[Kind, str], Mask]) -> Mask:
    return masks["bad_time", "ts"] | masks["time_out_of_range", "ts"] | masks["off_grid", "ts"]


def _coarser_step(ts_ns: IntColumn, step_ns: int) -> int | None:
    """Return the step that all rows share, where it is coarser than the timeframe."""
    if len(ts_ns) < _ROWS_TO_JUDGE_TIMEFRAME:
        return None
    steps = np.diff(ts_ns)
    if int(steps.min()) == step_ns:
        return None
    common = int(np.gcd.reduce(steps))
    return common if common > step_ns else None


def _finding(table: BarTable, kind: Kind, field: str, place: int) -> Finding:
    ts_ns = int(table.ts_ns[place])
    value = cell_text(table, field, place)
    return Finding(kind, int(table.rows[place]), 0, ts_ns, field, value, _REMEDIES[kind])


def _finding_of_step(table: BarTable, step_ns: int, common_ns: int) -> Finding:
    value = f"rows are {common_ns // 10**9} s apart or multiples of it, the timeframe is {step_ns // 10**9} s"
    remedy = _REMEDIES["timeframe_too_fine"]
    return Finding("timeframe_too_fine", int(table.rows[0]), 0, int(table.ts_ns[0]), "ts", value, remedy)


def _first_of_each(findings: list[Finding], most: int) -> list[Finding]:
    """Return the first `most` findings of each kind, kinds in order of first mention, rows in order."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    return [
        finding for listed in by_kind.values() for finding in sorted(listed, key=lambda finding: finding.row)[:most]
    ]


def cell_text(table: BarTable, field: str, place: int) -> str:
    """Write a value as it was read; nothing for a time that could not be."""
    if field != "ts":
        return repr(float(table.column(field)[place]))
    ts_ns = int(table.ts_ns[place])
    return "" if ts_ns == NO_TIME else time_text(ts_ns)


def time_text(ts_ns: int) -> str:
    """Return a time as a person reads it: `2022-01-01 00:15:00`, with a fraction only where there is one."""
    text = str(np.datetime64(ts_ns, "ns")).replace("T", " ")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
