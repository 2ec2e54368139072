"""A range of stored bars: the same bars as a slice of all of them, from the row groups that can hold them only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.bar_files import FIELDS, path_of, read_bars, write_bars, write_frame
from adapters.synthetic_market import synthesize
from engine.errors import DataError

COUNT = 300_000  # three row groups
MINUTE_NS = 60 * 10**9


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = path_of(tmp_path_factory.mktemp("home"), "BTCUSDT", "1m")
    write_bars(path, synthesize("BTCUSDT", "1m", COUNT, 1))
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.integers(-5, COUNT + 5), length=st.integers(0, COUNT + 5), shift_ns=st.integers(-10**6, 10**6),
    is_open=st.tuples(st.booleans(), st.booleans()),
)  # fmt: skip
def test_a_range_is_the_slice(stored: Path, first: int, length: int, shift_ns: int, is_open: tuple[bool, bool]) -> None:
    whole = read_bars(stored, "BTCUSDT", "1m")
    begun = int(whole.ts_ns[0])
    start_ns = None if is_open[0] else begun + first * MINUTE_NS + shift_ns
    end_ns = None if is_open[1] else begun + (first + length) * MINUTE_NS + shift_ns
    part = read_bars(stored, "BTCUSDT", "1m", start_ns, end_ns)
    inside = np.ones(COUNT, bool)
    if start_ns is not None:
        inside &= whole.ts_ns >= start_ns
    if end_ns is not None:
        inside &= whole.ts_ns < end_ns
    assert part.ts_ns.tolist() == whole.ts_ns[inside].tolist()
    for name in FIELDS:
        assert getattr(part, name).tobytes() == getattr(whole, name)[inside].tobytes()


def test_row_groups_outside_the_range_are_not_read(stored: Path, tmp_path: Path) -> None:
    """The first row group's bytes are overwritten: whoever reads them fails."""
    data = bytearray(stored.read_bytes())
    data[4 : len(data) // 4] = b"\xff" * (len(data) // 4 - 4)
    path = path_of(tmp_path, "BTCUSDT", "1m")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    whole = read_bars(stored, "BTCUSDT", "1m")
    part = read_bars(path, "BTCUSDT", "1m", int(whole.ts_ns[-1_000]))
    assert part.close.tobytes() == whole.close[-1_000:].tobytes()
    with pytest.raises(DataError, match="is damaged"):
        read_bars(path, "BTCUSDT", "1m", None, int(whole.ts_ns[10]))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("ts", None, "row 203 has no ts"), ("close", None, "row 203 has no close"), ("ts", 5, "the time of row 203")],
)
def test_what_is_wrong_in_the_range_is_told_by_the_row_of_the_file(
    column: str, value: int | None, said: str, tmp_path: Path
) -> None:
    bars = synthesize("BTCUSDT", "1m", 400, 1)
    columns = {"ts": bars.ts_ns // 10**6, **{name: getattr(bars, name) for name in FIELDS}}
    frame = pl.DataFrame(columns)
    wrong = frame[column].to_list()
    wrong[202] = wrong[200] if value == 5 else value
    path = path_of(tmp_path, "BTCUSDT", "1m")
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_frame(file, frame.with_columns(pl.Series(column, wrong, dtype=frame[column].dtype)))
    with pytest.raises(DataError, match=said):
        read_bars(path, "BTCUSDT", "1m", int(bars.ts_ns[100]), int(bars.ts_ns[300]))
