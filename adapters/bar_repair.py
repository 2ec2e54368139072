"""Repairs of candles, each one recorded: nothing is changed that the records do not tell."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from adapters.bar_quality import FIELDS, BarTable, Kind, broken_masks, cell_text, time_text

Action = Literal["dropped", "swapped", "widened", "sorted"]
# No one can know which bar such rows mean.
NOT_REPAIRED: tuple[Kind, ...] = ("off_grid", "timeframe_too_fine")


class Repair(msgspec.Struct, frozen=True):
    """One thing done. `row` counts data rows from 1 (0: the whole file); `line` as in Finding."""

    action: Action
    kind: Kind
    row: int
    line: int
    ts_ns: int
    time: str
    field: str
    before: str
    after: str


def repair_bars(table: BarTable) -> tuple[BarTable, tuple[Repair, ...]]:
    """Repair everything that can be, in this order, and say what was done.

    Rows without a time, a number or a price above zero, or with a volume below zero, are dropped. Where high
    lies below low they are swapped if that makes the bar whole; else, and where open or close lies outside,
    high and low are widened to hold all four prices. Rows are sorted by time. Of rows with one time the last
    in the file stays. Times off the timeframe's grid are left: no one can know which bar they mean.
    """
    repairs: list[Repair] = []
    table = _drop_broken(table, repairs)
    table = _mend_ranges(table, repairs)
    table = _sort(table, repairs)
    table = _drop_duplicates(table, repairs)
    return table, tuple(repairs)


def _drop_broken(table: BarTable, repairs: list[Repair]) -> BarTable:
    dropped = np.zeros(len(table), np.bool_)
    for (kind, field), mask in broken_masks(table).items():
        repairs.extend(
            _repair(table, place, "dropped", kind, field, cell_text(table, field, place), "")
            for place in np.flatnonzero(mask & ~dropped).tolist()
        )
        dropped |= mask
    return table.take(~dropped) if dropped.any() else table


def _mend_ranges(table: BarTable, repairs: list[Repair]) -> BarTable:
    top = np.maximum(table.open, table.close)
    bottom = np.minimum(table.open, table.close)
    crossed = table.high < table.low
    swappable = crossed & (table.low >= top) & (table.high <= bottom)
    high = np.where(crossed, np.maximum(table.low, top), np.maximum(table.high, top))
    low = np.where(crossed, np.minimum(table.high, bottom), np.minimum(table.low, bottom))
    changed = np.flatnonzero((high != table.high) | (low != table.low))
    if not len(changed):
        return table
    for place in changed.tolist():
        kind: Kind = "open_outside"
        if crossed[place]:
            kind = "high_below_low"
        elif table.low[place] <= table.open[place] <= table.high[place]:
            kind = "close_outside"
        before = f"{float(table.high[place])!r} {float(table.low[place])!r}"
        after = f"{float(high[place])!r} {float(low[place])!r}"
        action: Action = "swapped" if swappable[place] else "widened"
        repairs.append(_repair(table, place, action, kind, "high low", before, after))
    return msgspec.structs.replace(table, high=high, low=low)


def _sort(table: BarTable, repairs: list[Repair]) -> BarTable:
    if len(table) < 2 or bool((table.ts_ns[1:] >= table.ts_ns[:-1]).all()):
        return table
    late = np.count_nonzero(table.ts_ns[1:] < np.maximum.accumulate(table.ts_ns)[:-1])
    before = f"{late} rows earlier than a row before them"
    repairs.append(Repair("sorted", "disorder", 0, 0, 0, "", "ts", before, "rows by time"))
    return table.take(np.argsort(table.ts_ns, kind="stable"))


def _drop_duplicates(table: BarTable, repairs: list[Repair]) -> BarTable:
    if len(table) < 2:
        return table
    superseded = np.concatenate((table.ts_ns[1:] == table.ts_ns[:-1], [False]))
    if not superseded.any():
        return table
    places = np.flatnonzero(superseded)
    kept_places = np.searchsorted(table.ts_ns, table.ts_ns[places], side="right") - 1
    equal = np.ones(len(places), np.bool_)
    for field in FIELDS:
        equal &= table.column(field)[places] == table.column(field)[kept_places]
    for place, kept, same in zip(places.tolist(), kept_places.tolist(), equal.tolist(), strict=True):
        kind: Kind = "duplicate_row" if same else "duplicate_time"
        after = f"row {int(table.rows[kept])}: {_values(table, kept)}"
        repairs.append(_repair(table, place, "dropped", kind, "ts", _values(table, place), after))
    return table.take(~superseded)


def _repair(table: BarTable, place: int, action: Action, kind: Kind, field: str, before: str, after: str) -> Repair:
    ts_ns = 0 if kind == "bad_time" else int(table.ts_ns[place])
    time = "" if kind == "bad_time" else time_text(ts_ns)
    return Repair(action, kind, int(table.rows[place]), 0, ts_ns, time, field, before, after)


def _values(table: BarTable, place: int) -> str:
    return " ".join(f"{field} {float(table.column(field)[place])!r}" for field in FIELDS)
