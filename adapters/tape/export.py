"""A tape as Parquet, for other tools: one table for each kind of record, in part files of bounded size.

`levels-000001.parquet`, `levels-000002.parquet`, … are one table (`pl.scan_parquet("out/levels-*.parquet")`). Each
row has the record's seq and both times, the integers of the tape (ticks, lots, micro-ticks, E12) and what they stand
for: the doubles nearest to the decimals that the venue printed. Documents go to `documents.jsonl`, one a line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from adapters.tape.codec import Records
from adapters.tape.export_tables import TABLES, Markets, Table
from adapters.tape.reader import TapeReader
from engine.bars import IntColumn
from engine.errors import DataError, UsageError
from engine.kernels.layout import ALL_INSTRUMENTS, GAP

PART_ROWS = 500_000


class Exported(msgspec.Struct, frozen=True):
    """Rows and files by table; `left_out`: records of kinds that no table holds."""

    folder: str
    rows: dict[str, int]
    files: tuple[str, ...]
    left_out: int


def export(
    folder: Path,
    out: Path,
    kinds: tuple[str, ...] = (),
    on_progress: Callable[[int], None] | None = None,
    part_rows: int = PART_ROWS,
) -> Exported:
    """Write a tape's records as Parquet into a new folder; all tables, or those of these names.

    Raises UsageError where the folder holds something or a name is none, DataError where a record's instrument
    is in no session.
    """
    unknown = [name for name in kinds if name not in TABLES]
    if unknown:
        raise UsageError(f"There is no table {unknown[0]!r}", remedy=f"Choose of: {', '.join(TABLES)}.")
    reader = TapeReader(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", remedy="Give a folder that is new or empty with --out.")
    sessions = reader.sessions()
    markets = Markets(sessions[-1][1].instruments if sessions else ())
    out.mkdir(parents=True, exist_ok=True)
    tables = [_Parts(out, name, table, part_rows) for name, table in TABLES.items() if not kinds or name in kinds]
    left_out = 0
    for batch in reader.batches():
        left = len(batch.records)
        seqs = np.arange(batch.first_seq, batch.first_seq + len(batch.records))
        for parts in tables:
            chosen = batch.records["kind"] == parts.table.kind
            if chosen.any():
                rows = batch.records[chosen]
                left -= len(rows)
                _refuse_unknown(folder, rows, seqs[chosen], markets)
                parts.add(markets.frame(parts.table, rows, seqs[chosen]))
        left_out += left
        if on_progress is not None:
            on_progress(batch.stop_seq - 1)
    for parts in tables:
        parts.flush()
    files = [path.name for parts in tables for path in parts.files]
    with (out / "documents.jsonl").open("wb") as file:
        for document in reader.documents():
            file.write(msgspec.json.encode({"seq": document.seq, "type": document.type, "value": document.value}))
            file.write(b"\n")
    rows_by_name = {parts.name: parts.rows_count for parts in tables if parts.rows_count}
    return Exported(str(out), rows_by_name, (*files, "documents.jsonl"), left_out)


class _Parts:
    """One table's part files."""

    def __init__(self, out: Path, name: str, table: Table, part_rows: int) -> None:
        self.name = name
        self.table = table
        self.rows_count = 0
        self.files: list[Path] = []
        self._out = out
        self._part_rows = part_rows
        self._frames: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows; write a file where there are enough."""
        self._frames.append(frame)
        self._waiting += len(frame)
        if self._waiting >= self._part_rows:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        if not self._frames:
            return
        path = self._out / f"{self.name}-{len(self.files) + 1:06d}.parquet"
        pl.concat(self._frames).write_parquet(path, compression="zstd")
        self.files.append(path)
        self.rows_count += self._waiting
        self._frames.clear()
        self._waiting = 0


def _refuse_unknown(folder: Path, records: Records, seqs: IntColumn, markets: Markets) -> None:
    numbers = records["instrument"]
    is_unknown = (numbers >= len(markets.instruments)) & ((records["kind"] != GAP) | (numbers != ALL_INSTRUMENTS))
    if is_unknown.any():
        place = int(np.argmax(is_unknown))
        raise DataError(
            f"{folder}, seq {seqs[place]}: no session names instrument {numbers[place]}",
            remedy="Run: tapewright tape check",
        )
