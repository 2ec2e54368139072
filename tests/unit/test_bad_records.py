"""Records that make no sense stop the engine with an error that names them, and change nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.core import Engine
from engine.errors import DataError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.settings import RunSettings

# field | value | why
WRONG = [
    ("instrument", 1, "the run has one instrument, number 0"),
    ("instrument", 65_535, "far outside the table"),
    ("kind", 9, "no such kind"),
    ("c", 0, "a price of 0"),
    ("c", -5, "a price below 0"),
    ("c", 101, "low above open and close"),
    ("b", 99, "high below open and close"),
]


def _bars(count: int) -> np.ndarray[Any, Any]:
    bars = np.zeros(count, dtype=layout.RECORD)
    bars["kind"], bars["flags"] = layout.BAR, layout.LAST
    bars["ts_exchange_ns"] = np.arange(count) * 60 * 10**9
    bars["ts_receive_ns"] = bars["ts_exchange_ns"] + 60 * 10**9
    for field, ticks in zip("abcd", (100, 102, 98, 100), strict=True):
        bars[field] = ticks
    return bars


@pytest.mark.parametrize(("field", "value", "why"), WRONG)
@pytest.mark.parametrize("place", [0, 2])
def test_a_bad_record_is_named_and_changes_nothing(field: str, value: int, why: str, place: int) -> None:
    bars = _bars(4)
    bars[field][place] = value
    engine = Engine(RunSettings(), [Instrument("X", Decimal("0.01"), Decimal("0.001"))])
    with pytest.raises(DataError, match=f"record {place} makes no sense"):
        engine.advance(bars, 0, len(bars))
    twin = Engine(RunSettings(), [Instrument("X", Decimal("0.01"), Decimal("0.001"))])
    twin.advance(_bars(4), 0, place)
    assert engine.hash == twin.hash, why
    assert engine.state.core["seq"][0] == place
