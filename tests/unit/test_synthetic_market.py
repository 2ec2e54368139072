"""The made-up market: the same everywhere, sound, and like a market."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.bar_files import content_hash
from adapters.bar_quality import BarTable, check_bars
from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.errors import UsageError
from engine.precision import infer_unit

YEAR = 525_600


@pytest.fixture(scope="module")
def year() -> Bars:
    return synthesize("SYNTH", "1m", YEAR, seed=1)


def table_of(bars: Bars) -> BarTable:
    rows = np.arange(1, len(bars) + 1)
    return BarTable(rows, bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)


def test_a_seed_gives_the_same_market_on_every_machine(year: Bars) -> None:
    # Written down once: integers and IEEE operations only, so that a difference is a defect, not a machine.
    assert content_hash(year) == "9284e1a7f9faa5aed1b55eaacff9558833de27fa8824be2d5c13c2458edd1f06"
    assert content_hash(synthesize("SYNTH", "1m", YEAR, seed=2)) != content_hash(year)


def test_a_shorter_market_is_the_beginning_of_a_longer_one(year: Bars) -> None:
    short = synthesize("SYNTH", "1m", 1_000, seed=1)
    for name in ("ts_ns", "open", "high", "low", "close", "volume"):
        assert (getattr(short, name) == getattr(year, name)[:1_000]).all()


@pytest.mark.parametrize(
    ("timeframe", "bars_count"), [("1m", 20_000), ("15m", 10_000), ("4h", 5_000), ("1d", 3_650), ("1w", 200)]
)
@pytest.mark.parametrize("seed", range(5))
def test_every_bar_is_sound_and_none_is_missing(timeframe: str, bars_count: int, seed: int) -> None:
    bars = synthesize("SYNTH", timeframe, bars_count, seed)
    quality = check_bars(table_of(bars), timeframe)
    assert quality.sound
    assert (quality.rows_count, quality.gaps.bars_missing, quality.zero_volume_bars) == (bars_count, 0, 0)


def test_prices_are_whole_ticks_and_volumes_whole_lots(year: Bars) -> None:
    assert str(infer_unit(year.open, year.high, year.low, year.close)) == "0.01"
    assert str(infer_unit(year.volume)) == "0.00001"
    assert year.volume.min() > 0


def test_it_looks_like_a_market(year: Bars) -> None:
    returns = np.diff(np.log(year.close))
    size = np.abs(returns)
    assert 0.4 < returns.std() * np.sqrt(YEAR) < 1.2  # volatility of a year
    kurtosis = ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2
    assert kurtosis > 5  # fat tails
    assert np.corrcoef(size[:-60], size[60:])[0, 1] > 0.1  # clusters
    assert abs(np.corrcoef(returns[:-1], returns[1:])[0, 1]) < 0.02  # no free lunch
    assert np.corrcoef(year.high - year.low, year.volume)[0, 1] > 0.4
    hour = year.ts_ns[1:] // 3_600_000_000_000 % 24
    assert size[hour == 14].mean() > 1.5 * size[hour == 5].mean()
    gaps = np.abs(year.open[1:] - year.close[:-1]) / year.close[:-1]
    assert 0.02 < (gaps > 0).mean() < 0.3
    assert gaps.max() < 0.01


def test_it_stays_above_zero_however_cheap() -> None:
    bars = synthesize("PENNY", "1d", 5_000, seed=1, start_price=0.02)
    assert check_bars(table_of(bars), "1d").sound


@pytest.mark.parametrize(
    "changes",
    [
        {"bars_count": 0},
        {"seed": -1},
        {"start_price": 0.0},
        {"start_ns": 1},
        {"bars_count": 10**9},
        {"timeframe": "1x"},
        {"timeframe": "99999w", "bars_count": 1000},
    ],
)
def test_what_makes_no_market_is_refused(changes: dict[str, object]) -> None:
    given = {"symbol": "SYNTH", "timeframe": "1m", "bars_count": 10, "seed": 1} | changes
    with pytest.raises(UsageError):
        synthesize(**given)  # type: ignore[arg-type]
