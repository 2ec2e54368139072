"""Loading what lies before a run's start: how much of it, what the log says, what is inferred from it.

The expectations are counted by hand from the bars that each test stores: an hour before the start is 60 minutes.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.bar_files import FIELDS, path_of, write_bars
from adapters.synthetic_market import START_NS, synthesize
from config.model import DataConfig, RunConfig
from daemon.kept_markets import KeptMarkets
from daemon.markets import load_market, lookback_start_ns
from engine.bars import Bars, timeframe_ns
from engine.errors import InputMissingError
from engine.market import Market, shown_bars

MINUTE_NS = timeframe_ns("1m")
COUNT = 600
BARS = synthesize("SYNTH", "1m", COUNT, 3)


def stored(home: Path, bars: Bars = BARS, folder: str = "data/raw") -> None:
    target = home / folder / path_of(home, bars.symbol, bars.timeframe).name
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bars(target, bars)


def rows(bars: Bars, chosen: Any) -> Bars:
    return msgspec.structs.replace(
        bars, ts_ns=bars.ts_ns[chosen], **{name: getattr(bars, name)[chosen] for name in FIELDS}
    )  # fmt: skip


def config_of(start: int | None = 300, lookback: int = 0, end: int | None = None, bank: str = "") -> RunConfig:
    """A run from one minute to another, with so many bars before them."""
    bounds = [None if minute is None else START_NS + minute * MINUTE_NS for minute in (start, end)]
    return RunConfig(
        symbols=("SYNTH",), timeframe="1m", start_ns=bounds[0], end_ns=bounds[1],
        data=DataConfig(lookback_bars=lookback, bank=bank),
    )  # fmt: skip


def said_of_it(lines: list[str]) -> list[str]:
    return [line for line in lines if "look" in line]


def same_bars(found: Bars | None, expected: Bars) -> bool:
    return found is not None and all(
        getattr(found, name).tobytes() == getattr(expected, name).tobytes() for name in ("ts_ns", *FIELDS)
    )


def test_nothing_asked_for_is_the_market_of_before(tmp_path: Path) -> None:
    stored(tmp_path)
    market, lines = load_market(tmp_path, "SYNTH", config_of())
    assert market.lookback is None
    assert market.first == 0
    assert same_bars(market.bars, rows(BARS, slice(300, None)))
    assert shown_bars(market) is market.bars
    assert lines == ["SYNTH: linear, tick 0.01, lot 0.00001, from the bars' decimals"]


@pytest.mark.parametrize(
    ("start", "lookback", "found"), [(300, 60, 60), (300, 300, 300), (300, 500, 300), (10, 500, 10), (0, 5, 0)]
)
def test_what_is_there_is_taken_and_counted(tmp_path: Path, start: int, lookback: int, found: int) -> None:
    stored(tmp_path)
    market, lines = load_market(tmp_path, "SYNTH", config_of(start, lookback, end=400))
    assert market.first == found
    assert same_bars(market.lookback, rows(BARS, slice(start - found, start)))
    assert same_bars(market.bars, rows(BARS, slice(start, 400)))
    assert same_bars(shown_bars(market), rows(BARS, slice(start - found, 400)))
    assert said_of_it(lines) == [f"SYNTH: {found} of {lookback} bars before the start are there to look back on"]


def test_a_gap_before_the_start_is_no_error(tmp_path: Path) -> None:
    """Minutes 250 to 279 are missing: 30 of the hour before the start are there; nothing older stands in."""
    stored(tmp_path, rows(BARS, np.r_[0:250, 280:COUNT]))
    market, lines = load_market(tmp_path, "SYNTH", config_of(300, 60))
    assert same_bars(market.lookback, rows(BARS, np.r_[240:250, 280:300]))
    assert said_of_it(lines) == ["SYNTH: 30 of 60 bars before the start are there to look back on"]


def test_without_a_start_there_is_nothing_before_it(tmp_path: Path) -> None:
    stored(tmp_path)
    market, lines = load_market(tmp_path, "SYNTH", config_of(None, 60))
    assert market.first == 0
    assert same_bars(market.bars, BARS)
    assert said_of_it(lines) == [
        "SYNTH: without a start there are no bars before it to look back on: data.lookback_bars does nothing"
    ]


def test_bars_before_the_start_alone_are_no_run(tmp_path: Path) -> None:
    stored(tmp_path)
    with pytest.raises(InputMissingError, match="no bars between start and end"):
        load_market(tmp_path, "SYNTH", config_of(COUNT + 5, 100))


def test_a_bank_is_looked_back_in_as_well(tmp_path: Path) -> None:
    stored(tmp_path, folder="elsewhere")
    market, lines = load_market(tmp_path, "SYNTH", config_of(300, 60, bank="elsewhere"))
    assert same_bars(market.lookback, rows(BARS, slice(240, 300)))
    assert lines[0] == "SYNTH: bars from elsewhere"


@pytest.mark.parametrize(
    ("field", "value", "tick", "lot"),
    [("high", 70_000.125, "0.001", "0.00001"), ("volume", 1.123456, "0.01", "0.000001")],
)
def test_tick_and_lot_are_inferred_from_all_that_is_loaded(
    tmp_path: Path, field: str, value: float, tick: str, lot: str
) -> None:
    """One value before the start has a decimal more than the bars of the run, which have two and five."""
    column = getattr(BARS, field).copy()
    column[295] = value
    stored(tmp_path, msgspec.structs.replace(BARS, **{field: column}))
    plain, _ = load_market(tmp_path, "SYNTH", config_of(300))
    fine, _ = load_market(tmp_path, "SYNTH", config_of(300, 60))
    assert (plain.instrument.tick_size, plain.instrument.lot_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (fine.instrument.tick_size, fine.instrument.lot_size) == (Decimal(tick), Decimal(lot))


def test_a_start_near_1970_asks_for_nothing_before_it() -> None:
    minute = msgspec.structs.replace(config_of(None, 500), start_ns=60 * MINUTE_NS)
    assert lookback_start_ns(minute) == 0
    weeks = msgspec.structs.replace(config_of(300, 1_000_000), timeframe="4w")  # more ns than 64 bits hold
    assert lookback_start_ns(weeks) == 0


def test_kept_markets_are_those_of_the_lookback_asked_for(tmp_path: Path) -> None:
    """Another lookback is loaded anew; the same one is kept, until somebody has written to its columns."""
    stored(tmp_path)
    kept = KeptMarkets()

    def load(lookback: int) -> Market:
        return kept.load(tmp_path, "SYNTH", config_of(300, lookback))[0]

    first = load(60)
    assert load(60) is first
    other = load(90)
    assert (first.first, other.first) == (60, 90)
    assert load(90) is other
    assert other.lookback is not None
    other.lookback.close[3] += 1
    again = load(90)
    assert again is not other
    assert same_bars(again.lookback, rows(BARS, slice(210, 300)))
