"""One stored file while a download adds to it: what is there, what has come, and both written together.

Whatever is stored stays. A row that comes again must be the same; so a file from somewhere else does not grow on
unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapters.bar_files import path_of, read_bars, shown, stored_sources, write_bars
from adapters.bar_import import describe
from adapters.bar_quality import PRICE_FIELDS, BarTable, check_bars, time_text
from adapters.funding_files import (
    FundingKind,
    FundingSeries,
    checked_series,
    funding_path,
    mark_path,
    read_stored,
    write_series,
)
from engine.bars import Bars, FloatColumn, IntColumn
from engine.errors import DataError

Row: TypeAlias = tuple[float, ...]
_FIELDS = (*PRICE_FIELDS, "volume")


class Form(Protocol):
    """How rows become one kind of stored file."""

    path: Path
    fields: Sequence[str]

    def read(self) -> tuple[IntColumn, list[FloatColumn]]:
        """Times and columns of the file that is there."""

    def write(self, ts_ns: IntColumn, columns: list[FloatColumn], sources: tuple[str, ...]) -> None:
        """Check and store; raises DataError."""


class BarForm:
    """Bars: `data/raw/{SYMBOL}_{TIMEFRAME}.parquet`."""

    fields: Sequence[str] = _FIELDS

    def __init__(self, home: Path, symbol: str, timeframe: str) -> None:
        self.path = path_of(home, symbol, timeframe)
        self._symbol = symbol
        self._timeframe = timeframe

    def read(self) -> tuple[IntColumn, list[FloatColumn]]:
        """Times and columns of the file that is there."""
        bars = read_bars(self.path, self._symbol, self._timeframe)
        return bars.ts_ns, [getattr(bars, field) for field in _FIELDS]

    def write(self, ts_ns: IntColumn, columns: list[FloatColumn], sources: tuple[str, ...]) -> None:
        """Check and store as an import does."""
        quality = check_bars(BarTable(np.arange(1, len(ts_ns) + 1), ts_ns, *columns), self._timeframe)
        if not quality.sound:
            raise DataError(
                f"{shown(self.path)} was not stored: {describe(quality)}",
                remedy="The venue's bars cannot be right so. What was stored before is untouched.",
            )
        write_bars(self.path, Bars(self._symbol, self._timeframe, ts_ns, *columns), sources)


class SeriesForm:
    """Funding rates or mark prices: `data/funding/{SYMBOL}.parquet`, `data/mark/{SYMBOL}.parquet`."""

    def __init__(self, home: Path, symbol: str, kind: FundingKind) -> None:
        self.path = funding_path(home, symbol) if kind == "funding" else mark_path(home, symbol)
        self.fields: Sequence[str] = ("funding_rate",) if kind == "funding" else ("open",)
        self._symbol = symbol
        self._kind: FundingKind = kind

    def read(self) -> tuple[IntColumn, list[FloatColumn]]:
        """Times and values of the file that is there."""
        series = read_stored(self.path, self._symbol, self._kind)
        return series.ts_ns, [series.values]

    def write(self, ts_ns: IntColumn, columns: list[FloatColumn], sources: tuple[str, ...]) -> None:
        """Check and store as an import does."""
        checked = checked_series(self.path, FundingSeries(ts_ns, columns[0], 0), self._kind)
        write_series(self.path, checked, self._kind, sources)


class Shelf:
    """A file and what is added to it; nothing is written before `save`."""

    def __init__(self, form: Form, source: str) -> None:
        self.form = form
        self.fetched_count = 0
        self._source = source
        self._sources: tuple[str, ...] = ()
        self._ts_ns: IntColumn = np.empty(0, np.int64)
        self._columns: list[FloatColumn] = [np.empty(0) for _ in form.fields]
        self._fresh: dict[int, Row] = {}
        self._is_dirty = False  # merged, and not written yet
        if form.path.exists():
            self._ts_ns, self._columns = form.read()
            self._sources = stored_sources(form.path)

    @property
    def ts_ns(self) -> IntColumn:
        """The times of all rows, increasing."""
        self._merge()
        return self._ts_ns

    @property
    def columns(self) -> list[FloatColumn]:
        """Their values, a column for each field."""
        self._merge()
        return self._columns

    def holds(self, ts_ns: int) -> bool:
        """Whether there is a row of that time."""
        return self._known(ts_ns) is not None

    def add(self, rows: Iterable[tuple[int, Row]]) -> int:
        """Take rows; how many were new. Raises DataError where one contradicts what is there."""
        before = len(self._fresh)
        for ts_ns, values in rows:
            known = self._known(ts_ns)
            if known is None:
                self._fresh[ts_ns] = values
            elif known != values:
                raise self._contradicted(ts_ns, known, values)
        fresh = len(self._fresh) - before
        self.fetched_count += fresh
        return fresh

    def save(self) -> None:
        """Write what has come since the last time, if anything has, in one step."""
        if not self._fresh and not self._is_dirty:
            return
        self._merge()
        sources = self._sources if self._source in self._sources else (*self._sources, self._source)
        self.form.write(self._ts_ns, self._columns, sources)
        self._sources = sources
        self._is_dirty = False

    def _known(self, ts_ns: int) -> Row | None:
        fresh = self._fresh.get(ts_ns)
        if fresh is not None:
            return fresh
        place = int(np.searchsorted(self._ts_ns, ts_ns))
        if place < len(self._ts_ns) and self._ts_ns[place] == ts_ns:
            return tuple(float(column[place]) for column in self._columns)
        return None

    def _merge(self) -> None:
        if not self._fresh:
            return
        ts_ns = np.concatenate((self._ts_ns, np.fromiter(self._fresh, np.int64, len(self._fresh))))
        order = np.argsort(ts_ns, kind="stable")
        fresh: NDArray[np.float64] = np.array(list(self._fresh.values()), np.float64)
        self._columns = [
            np.concatenate((column, fresh[:, number]))[order] for number, column in enumerate(self._columns)
        ]
        self._ts_ns = ts_ns[order]
        self._fresh.clear()
        self._is_dirty = True

    def _contradicted(self, ts_ns: int, known: Row, values: Row) -> DataError:
        number = next(place for place, value in enumerate(values) if value != known[place])
        return DataError(
            f"{shown(self.form.path)}: {self.form.fields[number]} of {time_text(ts_ns)} is {known[number]!r} here, and"
            f" {values[number]!r} at {self._source}",
            remedy="The file is from another market, or was stored before that bar had ended. Move it away, or download"
            " into another --home.",
        )
