"""A stored run as files for other tools: every table, with names in place of numbers and decimals beside integers.

CSV and JSON are one file a table (JSON: an array, one object a line, decimals as text). Parquet comes in part files of
bounded size, as of a tape: `strategy_fills-000001.parquet`, … are one table, with columns of exact decimals.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO, assert_never

import msgspec

from adapters.store.reader import StoreReader
from adapters.store.row_types import RunRow
from adapters.store.rows import COLUMNS
from adapters.store.units import DecimalColumn, decimal_columns, integer_name
from engine.errors import UsageError
from engine.kernels import layout

ExportFormat = Literal["csv", "parquet", "json"]
PART_ROWS = 200_000
_FLAGS = {layout.POST_ONLY: "post_only", layout.REDUCE_ONLY: "reduce_only", layout.SYSTEM: "system"}
_PLAIN = {
    "strategy_runs": RunRow.__struct_fields__,
    "run_strategies": ("run_id", "strategy", "strategy_id", "params", "source_sha256"),
    "run_instruments": ("run_id", "instrument", "symbol", "kind", "tick_size", "lot_size", "multiplier"),
    "errors": ("run_id", "n", "seq", "ts_ns", "strategy_id", "symbol", "kind", "message"),
}
_ORDER = {"strategy_runs": "run_id", "run_strategies": "strategy", "run_instruments": "instrument", "errors": "n"}
_ONLY_TEXT = {"strategy_id", "symbol", "flags"}
_NAMED = {"strategy": "strategy_id", "instrument": "symbol"}
_PLACES = {"strategy_id": "s.strategy_id", "symbol": "i.symbol"}
_JOINS = "LEFT JOIN run_strategies s USING (run_id, strategy) LEFT JOIN run_instruments i USING (run_id, instrument)"
_DRAWDOWN = "max(r.initial_cash, max(t.equity) OVER (ORDER BY t.n)) - t.equity"


class Exported(msgspec.Struct, frozen=True):
    """Where an export lies, its rows by table, its files."""

    folder: str
    rows: dict[str, int]
    files: tuple[str, ...]


class _Table(msgspec.Struct, frozen=True):
    """A table to be written: its query, the names and types of what it gives, the decimals that are added."""

    name: str
    sql: str
    columns: tuple[str, ...]
    is_text: tuple[bool, ...]
    decimals: tuple[DecimalColumn, ...]

    def header(self) -> list[str]:
        """The names of all columns, decimals before the integer that they are made of."""
        return [name for name, _ in self.fields()]

    def fields(self) -> list[tuple[str, DecimalColumn | int]]:
        """What each column is: a decimal, or the place of a value in the query's row."""
        beside = {each.source: each for each in self.decimals}
        found: list[tuple[str, DecimalColumn | int]] = []
        for place, column in enumerate(self.columns):
            if place in beside:
                found.append((beside[place].name, beside[place]))
            found.append((integer_name(self.name, column), place))
        return found


def export_run(
    reader: StoreReader, run: RunRow, out: Path, form: ExportFormat, part_rows: int = PART_ROWS
) -> Exported:  # fmt: skip
    """Write every table of a run into a new folder; what a writer adds meanwhile is left out.

    Raises UsageError where the folder holds something or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", remedy="Give a folder that is new or empty with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with reader.at_one_moment():
            written = [_write(reader, table, run.run_id, out, form, part_rows) for table in _tables(reader, run)]
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written: {error.strerror or error}",
            remedy="Give a folder you may write to, with space left, with --out.",
        ) from error
    rows = {name: count for name, count, _ in written}
    return Exported(str(out), rows, tuple(path.name for _, _, paths in written for path in paths))


def _tables(reader: StoreReader, run: RunRow) -> Iterator[_Table]:
    instruments = reader.instruments(run.run_id)
    for name in (*_PLAIN, *COLUMNS):
        columns, sql = _query(name)
        types = dict(reader.stream("SELECT name, type FROM pragma_table_xinfo(?)", (name,)))
        is_text = tuple(column in _ONLY_TEXT or types.get(column) == "TEXT" for column in columns)
        decimals = decimal_columns(name, columns, run.cash_decimals, instruments)
        yield _Table(name, sql, columns, is_text, tuple(decimals))


def _query(table: str) -> tuple[tuple[str, ...], str]:
    """The columns of a table as they are exported, and the query for a run's."""
    if table in _PLAIN:
        columns, source, order = _PLAIN[table], f"{table} t", f"t.{_ORDER[table]}"
    elif table == "equity_curve":
        columns = (*COLUMNS[table], "drawdown")
        source, order = f"{table} t JOIN strategy_runs r USING (run_id)", "t.n"
    else:
        columns = tuple(_NAMED.get(column, column) for column in COLUMNS[table])
        columns += ("pnl",) if table == "strategy_trades" else ()
        source, order = f"{table} t {_JOINS}", "t.seq, t.n"
    places = _PLACES if source.endswith(_JOINS) else {"drawdown": _DRAWDOWN}
    fields = ", ".join(places.get(each, f"t.{each}") for each in columns)
    sql = f"SELECT {fields} FROM {source} WHERE t.run_id = ? ORDER BY {order}"  # noqa: S608 - names of our own schema
    return columns, sql


def _write(
    reader: StoreReader, table: _Table, run_id: int, out: Path, form: ExportFormat, part_rows: int
) -> tuple[str, int, list[Path]]:  # fmt: skip
    rows = _rows(reader, table, run_id)
    match form:
        case "csv":
            path = out / f"{table.name}.csv"
            with path.open("w", encoding="utf-8", newline="") as file:
                return table.name, _write_csv(file, table, rows), [path]
        case "json":
            path = out / f"{table.name}.json"
            with path.open("w", encoding="utf-8") as file:
                return table.name, _write_json(file, table, rows), [path]
        case "parquet":
            return (table.name, *_write_parquet(out, table, rows, part_rows))
        case _:
            assert_never(form)


def _rows(reader: StoreReader, table: _Table, run_id: int) -> Iterator[list[Any]]:
    """The rows of a table with their decimals."""
    makers = [_maker(table, field) for _, field in table.fields()]
    for row in reader.stream(table.sql, (run_id,)):
        yield [make(row) for make in makers]


def _maker(table: _Table, field: DecimalColumn | int) -> Callable[[Sequence[Any]], Any]:
    if isinstance(field, int):
        place = field
        if table.columns[place] == "flags":
            return lambda row: None if row[place] is None else _flag_names(row[place])
        return lambda row: row[place]
    source, of = field.source, field.of
    symbol = table.columns.index("symbol") if "symbol" in table.columns else None
    return lambda row: None if row[source] is None else of(row[source], "" if symbol is None else row[symbol])


def _flag_names(flags: int) -> str:
    return ",".join(name for flag, name in _FLAGS.items() if flags & flag)


def _texts(table: _Table, rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Rows with their decimals as plain digits."""
    places = [place for place, (_, field) in enumerate(table.fields()) if not isinstance(field, int)]
    for row in rows:
        for place in places:
            if row[place] is not None:
                row[place] = f"{row[place]:f}"
        yield row


def _write_csv(file: TextIO, table: _Table, rows: Iterator[list[Any]]) -> int:
    writer, count = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(table.header())
    for row in _texts(table, rows):
        writer.writerow(row)
        count += 1
    return count


def _write_json(file: TextIO, table: _Table, rows: Iterator[list[Any]]) -> int:
    header, count = table.header(), 0
    file.write("[")
    for row in _texts(table, rows):
        line = msgspec.json.encode(dict(zip(header, row, strict=True))).decode()
        file.write(f"{',' if count else ''}\n{line}")
        count += 1
    file.write("\n]\n")
    return count


def _write_parquet(out: Path, table: _Table, rows: Iterator[list[Any]], part_rows: int) -> tuple[int, list[Path]]:
    import polars as pl  # noqa: PLC0415 - a slow import that other formats need not wait for

    schema: dict[str, Any] = {
        name: pl.Decimal(38, field.scale)
        if isinstance(field, DecimalColumn)
        else pl.String if table.is_text[field] else pl.Int64
        for name, field in table.fields()
    }  # fmt: skip
    paths: list[Path] = []
    count = 0
    while (part := list(islice(rows, part_rows))) or not paths:
        path = out / f"{table.name}-{len(paths) + 1:06d}.parquet"
        pl.DataFrame(part, schema=schema, orient="row").write_parquet(path, compression="zstd")
        paths.append(path)
        count += len(part)
    return count, paths
