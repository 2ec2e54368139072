"""The bars that the strategies of a run on a tape are shown: known from a first pass, or growing as the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.bars import Bars, timeframe_ns
from engine.book_engine import BookEngine
from engine.columns import BarRow, GrowingBars
from engine.settings import RunSettings
from engine.tape_ctx import TapeContext
from engine.tape_input import TapeInput, bars_of_tape

Place = tuple[int, str]
"""A market and a timeframe."""


class RunBars:
    """Bars by market and timeframe. `columns` holds those that grow; where it is empty, all are known ahead."""

    def __init__(
        self, engine: BookEngine, tape: TapeInput, settings: RunSettings, places: Sequence[Place],
        wanted: Sequence[Place], *, is_growing: bool,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._builders = [(int(row["instrument"]), int(row["timeframe_ns"])) for row in engine.state.builders]
        self._is_new = [True] * len(self._builders)  # whether the last bar of each builder follows those before it
        empty = {place: GrowingBars(tape.instruments[place[0]], place[1]) for place in places}
        self.columns = empty if is_growing else {}
        self._known = {place: columns.bars() for place, columns in empty.items()}
        if wanted and not is_growing:
            self._known |= dict(zip(wanted, bars_of_tape(tape, settings, wanted), strict=True))

    def held(self, place: Place) -> Bars:
        """What there is of bars: so far, or (known ahead) of the whole tape."""
        return self.columns[place].bars() if self.columns else self._known[place]

    def show(self, context: TapeContext, market: int, builder: int) -> int:
        """Show the bar that a builder has closed; its index, or -1 where it follows none that is known."""
        if not self.columns:
            index = int(self._engine.state.builders["closed_count"][builder]) - 1
            context.show(index + 1)
            return index
        self.collect()
        columns = self.columns[market, context.timeframe]
        if not self._is_new[builder]:
            return -1
        if len(columns) > context.stop:
            context.show(len(columns), columns.bars())
        return len(columns) - 1

    def show_again(self, context: TapeContext, market: int, stop: int) -> None:
        """Show as many bars as a snapshot says."""
        if not self.columns:
            context.show(stop)
        elif stop:
            bars = self.columns[market, context.timeframe].bars()
            columns = {name: getattr(bars, name)[:stop] for name in ("ts_ns", "open", "high", "low", "close", "volume")}
            context.show(stop, msgspec.structs.replace(bars, **columns))

    def collect(self) -> None:
        """Take the bars that the engine has closed."""
        if not self.columns or not self._engine.has_bar_rows():
            return
        for row in self._engine.bar_rows().tolist():
            builder, *words, _prints, _closed_ns = row
            market, length_ns = self._builders[builder]
            for (own, frame), columns in self.columns.items():
                if own == market and timeframe_ns(frame) == length_ns:
                    self._is_new[builder] = columns.take_built(BarRow(*words))

    def take_history(self, place: Place, rows: list[BarRow], partial: BarRow | None) -> Bars | None:
        """Take bars of before the run, or of a time that it has not seen; all bars where some of them were new."""
        columns = self.columns.get(place)
        if columns is None or not columns.take_history(rows, partial):
            return None
        return columns.bars()

    def snapshot(self) -> dict[str, Any]:
        """What has grown, as plain values."""
        return {"columns": [columns.snapshot() for columns in self.columns.values()], "is_new": self._is_new}

    def restore(self, found: dict[str, Any]) -> None:
        """Become what a snapshot says."""
        for columns, stored in zip(self.columns.values(), found["columns"], strict=True):
            columns.restore(stored)
        self._is_new = list(found["is_new"])
