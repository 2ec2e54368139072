"""Tick, lot and minimum notional from a venue's list of instruments: asked, stored, used, said, overridden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.instrument_files import StoredInstrument, instrument_path, read_instrument, write_instrument
from adapters.synthetic_market import synthesize
from daemon.cli import run
from engine.bars import Bars
from engine.errors import DataError
from tests.sessions import Exchange, exchange

CONFIG = "symbols: [BTCUSDT]\ntimeframe: 1m\nstrategy: {name: ema_cross, params: {size: 0.5}}\ninitial_cash: 1000000\n"
LISTED = StoredInstrument(
    "BTCUSDT", "BINANCE_FUTURES", "linear", Decimal("0.1"), Decimal("0.001"), Decimal(100), "http://x/fapi",
    1_700_000_000 * 10**9,
)  # fmt: skip


def coarse(tick: float) -> Bars:
    """A day of minutes whose prices are multiples of a tick."""
    bars = synthesize("BTCUSDT", "1m", 1_440, 2)
    steps = {name: np.round(getattr(bars, name) / tick) * tick for name in ("open", "high", "low", "close")}
    return msgspec.structs.replace(bars, **{name: np.round(values, 8) for name, values in steps.items()})


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An exchange that gives out bars, and lists their instrument as its own folder has it."""
    folder = tmp_path_factory.mktemp("venue")
    write_bars(path_of(folder, "BTCUSDT", "1m"), coarse(0.5))
    write_instrument(folder, LISTED)
    with exchange("--history", str(folder), "--symbol", "ETHUSDT") as running:
        yield running


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def ran(capsys: pytest.CaptureFixture[str], home: Path, *settings: str) -> tuple[str, dict[str, Any]]:
    """The run log's line of the instrument, and what the results say of it."""
    (home / "run.yaml").write_text(CONFIG)
    code, out, err = command(capsys, "--home", str(home), "backtest", str(home / "run.yaml"), "--json", *settings)
    assert code == 0, err
    folder = Path(json.loads(out)["folder"])
    notes = pl.read_parquet(folder / "run_log.parquet").filter(pl.col("event") == "note")["text"]
    return notes[0], json.loads((folder / "metrics.json").read_text())["run"]["instruments"][0]


def test_bars_bring_their_instrument_along_and_runs_say_that_they_use_it(
    venue: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--symbol", "BTCUSDT", "--timeframe", "1m", "--start", "2024-01-01", "--end", "2024-01-02")
    code, out, err = command(capsys, "--home", str(tmp_path), "data", "download", *arguments, "--rest", venue.rest)
    assert code == 0, err
    assert "  linear, tick 0.1, lot 0.001, orders of at least 100: data/instruments/BTCUSDT.json" in out
    stored = read_instrument(tmp_path, "BTCUSDT")
    assert stored is not None
    assert stored.source == f"{venue.rest}/fapi/v1/exchangeInfo"
    assert msgspec.structs.replace(stored, source=LISTED.source, fetched_ns=LISTED.fetched_ns) == LISTED
    line, facts = ran(capsys, tmp_path)
    assert line.startswith("BTCUSDT: linear, tick 0.1, lot 0.001, as BINANCE_FUTURES said on 20")
    assert (facts["tick_size"], facts["lot_size"], facts["minimum_notional"]) == ("0.1", "0.001", "100")
    line, facts = ran(capsys, tmp_path, "--set", "instruments={BTCUSDT: {lot_size: 0.01, minimum_notional: 0}}")
    assert line.startswith("BTCUSDT: linear, tick 0.1, lot 0.01, lot_size by the config, else as BINANCE_FUTURES said")
    assert (facts["lot_size"], facts["minimum_notional"]) == ("0.01", "0")
    instrument_path(tmp_path, "BTCUSDT").unlink()
    line, facts = ran(capsys, tmp_path)
    assert line == "BTCUSDT: linear, tick 0.1, lot 0.00001, from the bars' decimals"
    assert facts["minimum_notional"] == "0"


def test_bars_finer_than_todays_tick_are_of_a_time_when_it_was_finer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bars(path_of(tmp_path, "BTCUSDT", "1m"), coarse(0.01))
    write_instrument(tmp_path, msgspec.structs.replace(LISTED, tick_size=Decimal("0.25")))
    line, facts = ran(capsys, tmp_path)
    assert line.endswith("but the bars are finer than its tick 0.25")
    assert facts["tick_size"] == "0.01"  # the greatest that 0.01 and 0.25 are multiples of


def test_the_command_asks_again_spot_is_spot_and_what_is_not_listed_is_said(
    venue: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--home", str(tmp_path), "data", "download", "--kind", "instrument", "--rest", venue.rest)
    code, out, _ = command(capsys, *home, "--symbol", "BTCUSDT")
    said = "BTCUSDT of BINANCE_FUTURES: linear, tick 0.1, lot 0.001, orders of at least 100"
    assert (code, out.splitlines()[0]) == (0, f"{said}: data/instruments/BTCUSDT.json")
    code, out, _ = command(capsys, *home, "--symbol", "BTCUSDT", "--exchange", "BINANCE", "--json")
    assert (code, json.loads(out)["kind"], json.loads(out)["minimum_notional"]) == (0, "spot", "5")
    code, _, err = command(capsys, *home, "--symbol", "NOPE")
    assert (code, "NOPE is none of the instruments that BINANCE_FUTURES lists" in err) == (64, True)
    code, _, err = command(capsys, *home[:3], "download", "--symbol", "BTCUSDT", "--timeframe", "1m")
    assert (code, "such as --start 2022-01-01" in err) == (64, True)


@pytest.mark.parametrize("text", ["{", '{"symbol": "BTCUSDT"}', "[]"])
def test_a_file_that_cannot_be_right_is_named_with_what_to_do(
    text: str, venue: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = instrument_path(tmp_path, "BTCUSDT")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError, match=r"data/instruments/BTCUSDT\.json cannot be right") as caught:
        read_instrument(tmp_path, "BTCUSDT")
    named = caught.value.remedy.partition("tapewright ")[2].partition(";")[0].split()
    assert command(capsys, "--home", str(tmp_path), *named, "--rest", venue.rest)[0] == 0
    assert read_instrument(tmp_path, "BTCUSDT") is not None
