"""Bar journals: `data/journals/{SYMBOL}_{STRAT}_{TIMESTAMP}.parquet` under a home folder, one row a bar.

Written as a stream: while one piece of rows is compressed the next is made, and no more than a few are there at once. A
journal appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from adapters.result_files import put_file

COLUMNS: dict[str, Any] = {
    "timestamp": pl.Datetime("ms", "UTC"),
    "symbol": pl.String,
    "price": pl.Float64,
    "entry_signal": pl.Boolean,
    "exit_signal": pl.Boolean,
    "in_position": pl.Boolean,
    "position_size": pl.Float64,
    "capital": pl.Float64,
    "drawdown": pl.Float64,
}
_ZSTD_LEVEL = 1

Piece = Mapping[str, np.ndarray[Any, Any]]


def folder_of(home: Path) -> Path:
    """Where the journals lie."""
    return home / "data" / "journals"


def write_journal(path: Path, symbol: str, pieces: Iterable[Piece], indicators: Sequence[str], rows: int) -> Path:
    """Write pieces of a journal, in order, as row groups of up to `rows` bars; return the path.

    A piece has every column but `symbol`, as arrays of one length: timestamp in int64 UTC ms, flags as bool, the rest
    as float64. NaN becomes null. Raises UsageError where the path cannot be written.
    """
    schema = COLUMNS | dict.fromkeys(indicators, pl.Float64)

    def frames(
        _columns: list[str] | None, _predicate: pl.Expr | None, _rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:  # fmt: skip
        for piece in pieces:
            yield _frame(schema, symbol, piece)

    def write(place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            register_io_source(frames, schema=schema).sink_parquet(
                place, compression="zstd", compression_level=_ZSTD_LEVEL, statistics=False, row_group_size=rows,
                maintain_order=True,
            )  # fmt: skip
        except pl.exceptions.ComputeError as error:  # what the disk refuses comes as one of these too
            raise OSError(str(error)) from error

    return put_file(path, write)


def _frame(schema: Mapping[str, Any], symbol: str, piece: Piece) -> pl.DataFrame:
    count = len(piece["timestamp"])
    columns = []
    for name, kind in schema.items():
        if name == "symbol":
            columns.append(pl.Series(name, [symbol]).new_from_index(0, count))
        elif name == "timestamp":
            columns.append(pl.Series(name, piece[name]).cast(kind))
        else:
            columns.append(pl.Series(name, piece[name], dtype=kind, nan_to_null=True))
    return pl.DataFrame(columns)
