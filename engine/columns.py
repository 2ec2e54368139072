"""Bars of one market and timeframe that come one by one: columns that grow, and never change what they have shown."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from engine.bars import Bars
from engine.errors import DataError
from engine.instruments import Instrument

_ROOM_LEAST = 1024
_NAMES = ("ts_ns", "open", "high", "low", "close", "volume")


class BarRow(msgspec.Struct, frozen=True):
    """One bar in ticks and lots; `ts_ns` is its opening."""

    ts_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class GrowingBars:
    """The bars so far. History comes before what the run builds itself, and may come again after a time not seen.

    A bar that was open when the history was asked for is kept as `partial`, and becomes part of the first bar built
    that opens at the same time. Bars that open no later than the last one are left out.
    """

    def __init__(self, instrument: Instrument, timeframe: str) -> None:
        self._instrument = instrument
        self._timeframe = timeframe
        self._partial: BarRow | None = None
        self._count = 0
        self._room = {name: np.zeros(_ROOM_LEAST, np.int64 if name == "ts_ns" else np.float64) for name in _NAMES}

    def __len__(self) -> int:
        return self._count

    @property
    def last_ns(self) -> int:
        """When the last bar opened; 0 before the first."""
        return int(self._room["ts_ns"][self._count - 1]) if self._count else 0

    def bars(self) -> Bars:
        """All bars so far, as read-only views."""
        columns: dict[str, Any] = {name: column[: self._count] for name, column in self._room.items()}
        for column in columns.values():
            column.flags.writeable = False
        return Bars(self._instrument.symbol, self._timeframe, **columns)

    def take_history(self, rows: list[BarRow], partial: BarRow | None) -> int:
        """Append closed bars of before; returns how many were new."""
        before = self._count
        for row in rows:
            if row.ts_ns > self.last_ns:
                self._append(row)
        self._partial = partial if partial is not None and partial.ts_ns > self.last_ns else None
        return self._count - before

    def take_built(self, row: BarRow) -> bool:
        """Append a bar that was built from prints; False where it is none that can follow."""
        if row.ts_ns <= self.last_ns:
            return False
        partial = self._partial
        if partial is not None and partial.ts_ns <= row.ts_ns:
            self._partial = None
            if partial.ts_ns < row.ts_ns:
                self._append(partial)  # nothing traded in the rest of it
            else:
                row = BarRow(
                    row.ts_ns, partial.open, max(partial.high, row.high), min(partial.low, row.low), row.close,
                    partial.volume + row.volume,
                )  # fmt: skip
        self._append(row)
        return True

    def snapshot(self) -> dict[str, Any]:
        """Everything it knows, as plain values."""
        columns = {name: column[: self._count].tobytes() for name, column in self._room.items()}
        return {
            "columns": columns,
            "partial": None if self._partial is None else msgspec.structs.astuple(self._partial),
        }

    def restore(self, found: dict[str, Any]) -> None:
        """Become what a snapshot says; raises DataError where its columns are not of one length."""
        columns = {name: np.frombuffer(found["columns"][name], self._room[name].dtype) for name in _NAMES}
        if len({len(column) for column in columns.values()}) != 1:
            raise DataError("a snapshot's bars are of different lengths", remedy="Start from the tape instead.")
        self._count = 0
        self._reserve(len(columns["ts_ns"]))
        self._count = len(columns["ts_ns"])
        for name, column in columns.items():
            self._room[name][: self._count] = column
        self._partial = None if found["partial"] is None else BarRow(*found["partial"])

    def _append(self, row: BarRow) -> None:
        self._reserve(self._count + 1)
        tick, lot = self._instrument.tick_size, self._instrument.lot_size
        room, place = self._room, self._count
        room["ts_ns"][place] = row.ts_ns
        for name in ("open", "high", "low", "close"):
            room[name][place] = float(Decimal(getattr(row, name)) * tick)
        room["volume"][place] = float(Decimal(row.volume) * lot)
        self._count += 1

    def _reserve(self, count: int) -> None:
        """Make room; what was shown before stays where it is, in the columns of before."""
        length = len(self._room["ts_ns"])
        if count <= length:
            return
        while length < count:
            length *= 2
        for name, column in self._room.items():
            larger = np.zeros(length, column.dtype)
            larger[: self._count] = column[: self._count]
            self._room[name] = larger
