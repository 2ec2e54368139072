"""A stored run against its outputs: a changed cell of any table is found and named, as is a row too many or too few."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.store import Batch, Position, RunEnd, RunRow, RunStart, StoreReader
from adapters.store.rows import COLUMNS, EVENT_TABLES, output_rows
from adapters.store.runs import renamed
from daemon.store_compare import CURVE, RowDifference, compare_rows, compare_runs, prefix_note
from engine.errors import DataError
from engine.kernels import layout
from tests.stores import bar_result, start_of, tape_result, writing

Words = NDArray[np.int64]
CELLS = [(table, column) for table, columns in COLUMNS.items() for column in columns if column not in ("run_id", "n")]
TEXTS = ("type", "tif", "confidence")  # of those that may be NULL


@cache
def everything() -> tuple[Words, Words]:
    """Outputs with rows in every table: a tape with its books, risk events, bars with funding."""
    tape, bars = tape_result().outputs[:600], bar_result().outputs[:2_500].copy()
    risks = np.zeros((40, layout.OUTPUT_WORDS), dtype=np.int64)
    risks[:, 0], risks[:, 1] = tape[-1, 0], tape[-1, 1]
    risks[:, 3:7] = np.arange(160).reshape(40, 4)
    owners = np.where(np.arange(40) % 2, layout.ACCOUNT_WIDE, 1)
    risks[:, 2] = layout.RISK_OUTPUT | (1 + np.arange(40) % 6) << 16 | owners << 32
    bars[:, 0] += tape[-1, 0]
    outputs = np.concatenate((tape, risks, bars))
    assert (np.diff(outputs[:, 0]) >= 0).all()
    assert {each.table for each in output_rows(1, 0, outputs)} == set(EVENT_TABLES)
    return outputs, bar_result().samples[:500]


def start(name: str = "a run", sample_every: int = 1) -> RunStart:
    return msgspec.structs.replace(renamed(start_of(bar_result()), name), sample_every=sample_every)


async def store(
    path: Path, starts: list[RunStart], *, stop: tuple[int, int] | None = None, status: Any = "finished"
) -> None:
    """Store everything under each start, up to an output and a sample; with its end where there is a status."""
    outputs, samples = everything()
    count, sample_count = stop or (len(outputs), len(samples))
    async with writing(path) as writer:
        for each in starts:
            run = await writer.begin(each)
            await writer.write(Batch(run.run_id, 0, outputs[:count], 0, samples[:sample_count]))
            if status:
                await writer.end(RunEnd(run.run_id, status, 2, 3))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two equal runs."""
    path = tmp_path_factory.mktemp("stored") / "store.sqlite"
    asyncio.run(store(path, [start("first"), start("second")]))
    return path


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    """The store, to be spoiled."""
    return Path(shutil.copy(stored, tmp_path / "store.sqlite"))


def run_of(path: Path, name: str = "second") -> RunRow:
    with StoreReader(path) as reader:
        return reader.run(name)


def changed(path: Path, sql: str, values: tuple[Any, ...] = ()) -> None:
    """Change the file behind the store's back, against its rules too."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(sql, values).rowcount == 1
        connection.commit()


def middle_row(path: Path, table: str) -> dict[str, Any]:
    """A row of the second run in the middle of a table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(f"SELECT * FROM {table} WHERE run_id = 2 ORDER BY n").fetchall()
        return dict(rows[len(rows) // 2])


def both(path: Path) -> list[RowDifference | None]:
    """What is found against the outputs, and against the other run."""
    return [compare_rows(path, run_of(path), *everything()), compare_runs(path, run_of(path), run_of(path, "first"))]


def test_equal_runs_have_no_difference(stored: Path) -> None:
    assert both(stored) == [None, None]
    assert prefix_note(run_of(stored), *everything()) == ""


@pytest.mark.parametrize(("table", "column"), CELLS, ids=[".".join(cell) for cell in CELLS])
def test_one_changed_cell_is_found_and_named(copy: Path, table: str, column: str) -> None:
    row = middle_row(copy, table)
    before = row[column]
    is_text = isinstance(before, str) or column in TEXTS
    after = f"{before}x" if is_text else 1 if before is None else before + 1
    changed(copy, f"UPDATE {table} SET {column} = ? WHERE run_id = 2 AND n = ?", (after, row["n"]))
    seq = {"seq": after}.get(column, row.get("seq"))
    for found in both(copy):
        assert found == RowDifference(table, row["n"], seq, column, after, before)
        assert column in found.line()


@pytest.mark.parametrize("shift", [-50, 100_000])
@pytest.mark.parametrize("table", EVENT_TABLES)
def test_a_row_that_is_moved_elsewhere_is_found_by_its_number(copy: Path, table: str, shift: int) -> None:
    row = middle_row(copy, table)
    changed(copy, f"UPDATE {table} SET seq = seq + ? WHERE run_id = 2 AND n = ?", (shift, row["n"]))
    for found in both(copy):
        assert found == RowDifference(table, row["n"], row["seq"] + shift, "seq", row["seq"] + shift, row["seq"])


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_missing_row_is_found(copy: Path, table: str, place: str) -> None:
    which = {"first": "min(n)", "last": "max(n)", "middle": str(middle_row(copy, table)["n"])}[place]
    changed(copy, f"DELETE FROM {table} WHERE run_id = 2 AND n = (SELECT {which} FROM {table} WHERE run_id = 2)")
    for found in both(copy):
        assert found is not None
        assert (found.table, found.column, found.first, found.second) == (table, "row", None, "a row")


@pytest.mark.parametrize(
    ("table", "n"),
    [(table, n) for table in COLUMNS for n in ("max(n) + 1", "max(n) + 1000000")]
    + [(table, "max(n)") for table in EVENT_TABLES],  # the key of the curve forbids that there
)
def test_a_row_too_many_is_found(copy: Path, table: str, n: str) -> None:
    columns = ", ".join(COLUMNS[table])
    made = {"n": n, "seq": "max(seq) + 1"}
    values = ", ".join(made.get(column, f"max({column})") for column in COLUMNS[table])
    changed(copy, f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE run_id = 2")
    for found in both(copy):
        assert found is not None
        assert (found.table, found.column, found.second) == (table, "row", None)
        assert found.first in ("a row", "a second row")


def test_the_earliest_difference_is_told_whatever_its_table(copy: Path) -> None:
    late = middle_row(copy, "strategy_orders")
    early = middle_row(copy, "risk_events")
    assert early["n"] < late["n"]
    changed(copy, "UPDATE strategy_orders SET tag = tag + 1 WHERE run_id = 2 AND n = ?", (late["n"],))
    changed(copy, "UPDATE risk_events SET value = -1 WHERE run_id = 2 AND n = ?", (early["n"],))
    changed(copy, "UPDATE equity_curve SET equity = 0 WHERE run_id = 2 AND n = 0")
    for found in both(copy):
        assert found is not None
        assert (found.table, found.n) == ("risk_events", early["n"])


@pytest.mark.parametrize("outputs", [0, 1, 601, 1_500])
def test_a_run_that_was_cut_off_is_compared_up_to_there(tmp_path: Path, outputs: int) -> None:
    path = tmp_path / "store.sqlite"
    asyncio.run(store(path, [start("whole")]))
    asyncio.run(store(path, [start("cut")], stop=(outputs, 70), status=None))
    cut, whole = run_of(path, "cut"), run_of(path, "whole")
    assert (cut.outputs_stored, cut.samples_stored) == (outputs, 70)
    assert compare_rows(path, cut, *everything()) is None
    assert compare_runs(path, cut, whole) is compare_runs(path, whole, cut) is None
    assert f"{outputs:,} of 3,140 outputs and 70 of 500 samples are stored" in prefix_note(cut, *everything())
    changed(path, "UPDATE equity_curve SET margin = margin + 1 WHERE run_id = ? AND n = 69", (cut.run_id,))
    for found in (compare_rows(path, cut, *everything()), compare_runs(path, cut, whole)):
        assert found is not None
        assert (found.table, found.n, found.column) == (CURVE, 69, "margin")


def test_a_finished_run_must_be_stored_whole(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    outputs, samples = everything()
    asyncio.run(store(path, [start("whole")]))
    asyncio.run(store(path, [start("short")], stop=(len(outputs), 70)))
    found = compare_rows(path, run_of(path, "short"), outputs, samples)
    assert found == RowDifference("strategy_runs", 2, None, "samples_stored", 70, 500)
    assert compare_runs(path, run_of(path, "short"), run_of(path, "whole")) == found
    assert compare_rows(path, run_of(path, "whole"), outputs[:-1], samples) == RowDifference(
        "strategy_runs", 1, None, "outputs_stored", len(outputs), len(outputs) - 1
    )  # fmt: skip


def test_a_book_that_waits_for_its_fill_ends_the_prefix(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    outputs, _ = everything()
    fill = int(np.flatnonzero(outputs[:, 2] & 0xFF == layout.FILL_OUTPUT)[3])
    asyncio.run(store(path, [start("cut")], stop=(fill, 0), status=None))
    cut = run_of(path, "cut")
    assert cut.outputs_stored == fill - 1
    assert compare_rows(path, cut, *everything()) is None


def test_what_a_session_that_goes_on_has_stored_since_is_no_difference(copy: Path) -> None:
    outputs, samples = everything()
    before = msgspec.structs.replace(run_of(copy), status="running", outputs_stored=90, samples_stored=90)
    assert compare_rows(copy, before, outputs[:100], samples[:100]) is None
    found = compare_rows(copy, before, outputs[:80], samples[:100])  # stored before, and not made
    assert found is not None
    assert (found.column, found.first, found.second) == ("outputs_stored", 90, 80)
    last = "(SELECT max(n) FROM strategy_orders WHERE run_id = 2 AND n BETWEEN 90 AND 99)"
    changed(copy, f"UPDATE strategy_orders SET tag = tag + 1 WHERE run_id = 2 AND n = {last}")  # stored since
    found = compare_rows(copy, before, outputs[:100], samples[:100])
    assert found is not None
    assert found.column == "tag"


def test_batches_are_cut_where_a_book_stands_before_its_fill(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (2, 7, 64):
        monkeypatch.setattr("daemon.store_compare._CHUNK", size)
        assert compare_rows(copy, run_of(copy), *everything()) is None


def test_samples_that_are_not_stored_are_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    names = ["every", "third", "fourth"]
    asyncio.run(store(path, [start(name, every) for name, every in zip(names, (1, 3, 4), strict=True)]))
    every, third, fourth = (run_of(path, name) for name in names)
    with StoreReader(path) as reader:
        assert [row.n for row in reader.equity(third.run_id)] == list(range(0, 500, 3))
    for run in (every, third, fourth):
        assert compare_rows(path, run, *everything()) is None
        assert compare_rows(path, run, *everything(), sample_every=run.sample_every) is None
    assert compare_runs(path, third, fourth) is compare_runs(path, third, every) is None
    changed(path, "UPDATE equity_curve SET equity = equity - 1 WHERE run_id = 2 AND n = 12")
    for other in (every, fourth):
        found = compare_runs(path, third, other)
        assert found is not None
        assert (found.table, found.n, found.column) == (CURVE, 12, "equity")
    changed(path, "INSERT INTO equity_curve VALUES (2, 4, 5, 6, 7, 8)")
    changed(path, "UPDATE equity_curve SET equity = equity + 1 WHERE run_id = 2 AND n = 12")
    found = compare_rows(path, third, *everything())
    assert found == RowDifference(CURVE, 4, None, "row", "a row", None)


def test_runs_that_mean_other_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    other = msgspec.structs.replace(start("other"), initial_cash=5, instruments=start().instruments[::-1])
    asyncio.run(store(path, [start("a run"), other]))
    with pytest.raises(DataError, match="different initial_cash, instruments"):
        compare_runs(path, run_of(path, "a run"), run_of(path, "other"))


def test_an_output_that_differs_is_found_in_a_stored_run(stored: Path) -> None:
    outputs, samples = everything()
    fill = int(np.flatnonzero(outputs[:, 2] & 0xFF == layout.FILL_OUTPUT)[5])
    other = outputs.copy()
    other[fill - 1, 9] += 1  # the age of the book before it
    found = compare_rows(stored, run_of(stored), other, samples)
    assert found is not None
    assert (found.table, found.n, found.column) == ("strategy_fills", fill, "book_age_ns")
    assert found.second == int(other[fill - 1, 9])


def test_a_position_is_what_the_writer_says(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    asyncio.run(store(path, [start()]))

    async def again() -> Position:
        async with writing(path) as writer:
            return (await writer.begin(start())).position

    outputs, samples = everything()
    assert asyncio.run(again()) == Position(len(outputs), len(samples))
