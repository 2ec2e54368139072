"""`tape import` from files to a tape, and the recordings of real markets held against what else is known of them."""

from __future__ import annotations

import functools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from adapters.captures.capture_file import is_parquet
from adapters.captures.importing import ImportOptions, TapeImport, open_captures
from adapters.tape import CLOSING, SESSION, Session, TapeReader
from daemon.cli import run as run_command
from daemon.commands.tape_import import import_
from engine.errors import DataError, TapewrightError, UsageError
from engine.kernels import layout
from tests.captures import NaiveBook, raw_capture

DATA = Path(__file__).parents[2].parent / "shared" / "data"
BTC = DATA / "l2" / "binance_usdm_btcusdt_20240808.gz"
BYBIT = DATA / "l2" / "bybit_linear_xrpusdt_ob500.data.zip"
HYPERLIQUID = DATA / "l2" / "hyperliquid_btcusd_20250126.gz"
# Quotes whose update id is that of a book message, and book messages, of the capture.
COMPARED, MESSAGES = 629, 6_548
WS = DATA / "ws"
GOLDEN = DATA / "golden" / "l2_bar_btcusdt_perp_2024-08-08T23-55.expected.json"

CAPTURE = """
5 {"lastUpdateId":50,"E":@@0004,"bids":[["1.0","10"]],"asks":[["1.1","20"]]}
6 {"e":"depthUpdate","E":@@0005,"T":@@0005,"s":"AUSDT","U":51,"u":53,"pu":50,"b":[["1.0","9"]],"a":[]}
7 {"e":"trade","E":1,"s":"AUSDT","t":1,"T":@@0006,"m":false,"X":"MARKET","p":"1.1","q":"3"}
8 {"e":"trade","E":1,"s":"AUSDT","t":4,"T":@@0017,"m":false,"X":"ADL","p":"1.1","q":"3"}
"""

app = typer.Typer()
app.command("import")(import_)
app.command("other")(lambda: None)


def run(*arguments: object) -> Result:
    """Run `tape import` with these arguments."""
    return CliRunner().invoke(app, ["import", *(str(argument) for argument in arguments)])


def raised(result: Result, kind: type[TapewrightError]) -> TapewrightError:
    """The error that a command ended with."""
    assert isinstance(result.exception, kind), result.output
    return result.exception


def read_tape(folder: Path) -> tuple[NDArray[Any], dict[int, Any]]:
    """All records of a tape but its documents, and its documents by type."""
    reader = TapeReader(folder)
    records = np.concatenate([batch.records.copy() for batch in reader.batches()])
    documents = {document.type: document.value for document in reader.documents()}
    documents[SESSION] = msgspec.convert(documents[SESSION], Session)
    return records[records["kind"] != layout.DOCUMENT], documents


@functools.cache
def btc() -> tuple[TapeImport, NDArray[Any]]:
    """The recording of BTCUSDT, read once."""
    return opened(BTC)


def opened(*paths: Path, **options: Any) -> tuple[TapeImport, NDArray[Any]]:
    """An import with all its records; skips where the recording is not there."""
    for path in paths:
        if not path.exists():
            pytest.skip(f"{path} is not there")
    tape = open_captures(list(paths), ImportOptions(**options))
    return tape, np.concatenate(list(tape.batches))


def test_a_capture_becomes_a_tape(tmp_path: Path) -> None:
    capture = raw_capture(tmp_path / "capture", CAPTURE)
    result = run(capture, "--out", tmp_path / "tape")
    assert result.exit_code == 0, result.output
    for part in (
        "Wrote 4 records",
        "3 level, 1 print",
        "AUSDT of binance_usdm, linear: tick 0.1 (finest decimals seen), lot 1 (finest decimals seen); book, prints",
        "capture: binance raw capture, clock offset +0.009000 s (estimated)",
        "left out: 1 not a market trade; first capture line 4 (byte ",
        "AUSDT: 2 trade ids skipped",
    ):
        assert part in result.output
    records, documents = read_tape(tmp_path / "tape")
    assert records["kind"].tolist() == [layout.LEVEL] * 3 + [layout.PRINT]
    assert documents[SESSION].sources[0].clock_offset_ns == 9_000_000
    assert documents[SESSION].instruments[0].tick_size == Decimal("0.1")
    assert documents[CLOSING]["counts"] == {"level": 3, "print": 1}
    assert documents[CLOSING]["rejects"] == {"not a market trade": 1, "trade ids skipped": 2}


def test_json_says_the_same_on_one_line(tmp_path: Path) -> None:
    capture = raw_capture(tmp_path / "capture", CAPTURE)
    options = ("--tick", "0.05", "--lot", "1", "--clock-offset", "0", "--without", "prints", "--symbol", "ausdt")
    result = run(capture, "--out", tmp_path / "tape", *options, "--json")
    assert result.stdout.count("\n") == 1
    told = json.loads(result.stdout)
    assert told["report"]["counts"] == {"level": 3}
    assert told["session"]["sources"][0]["clock_offset_is"] == "given"
    assert told["session"]["instruments"][0]["metadata"] == {"tick_size_is": "given", "lot_size_is": "given"}
    records, _ = read_tape(tmp_path / "tape")
    assert records["a"].tolist() == [20, 22, 20]


def test_what_is_refused_leaves_nothing_behind_and_harms_nothing(tmp_path: Path) -> None:
    capture = raw_capture(tmp_path / "capture", CAPTURE)
    tape = tmp_path / "tapes" / "tape"
    error = raised(run(capture, "--out", tape, "--tick", "1"), DataError)
    assert "do not fit their instrument" in error.message
    assert not tape.exists()
    run(capture, "--out", tape)
    before = {path.name: path.read_bytes() for path in tape.iterdir()}
    assert "holds a tape already" in raised(run(capture, "--out", tape), UsageError).message
    assert {path.name: path.read_bytes() for path in tape.iterdir()} == before
    only_deltas = raw_capture(tmp_path / "deltas", CAPTURE.strip().splitlines()[1])
    error = raised(run(only_deltas, "--out", tmp_path / "none"), DataError)
    assert "1 book update before the first snapshot" in error.message
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--tick", "0"),
        ("--lot", "NaN"),
        ("--tick", "a"),
        ("--clock-offset", "1e9"),
        ("--without", "everything"),
        ("--kind", "csv"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, option: tuple[str, str]) -> None:
    capture = raw_capture(tmp_path / "capture", CAPTURE)
    error = raised(run(capture, "--out", tmp_path / "tape", *option), UsageError)
    assert option[0] in error.message
    assert error.remedy
    assert not (tmp_path / "tape").exists()


def home_with_bars(folder: Path) -> Path:
    """A home with stored bars of one minute, funding inside the second of them, and its mark price."""
    minute_ms, start_ms = 60_000, 1_664_582_400_000
    raw, funding, mark = (folder / "data" / name for name in ("raw", "funding", "mark"))
    for each in (raw, funding, mark):
        each.mkdir(parents=True)
    times = [start_ms + minute_ms * number for number in range(3)]
    prices = {"open": [10.0, 11.0, 12.0], "high": [12.5, 12.0, 13.0], "low": [9.0, 10.0, 11.0]}
    pl.DataFrame({"ts": times, **prices, "close": [11.0, 12.0, 12.5], "volume": [5.25, 1.0, 2.0]}).write_parquet(
        raw / "AUSDT_1m.parquet"
    )
    pl.DataFrame({"ts": [times[1]], "funding_rate": [0.0001]}).write_parquet(funding / "AUSDT.parquet")
    pl.DataFrame({"ts": [times[1]], "open": [11.5]}).write_parquet(mark / "AUSDT.parquet")
    return raw / "AUSDT_1m.parquet"


def test_bars_become_a_tape_with_their_funding(tmp_path: Path) -> None:
    bars = home_with_bars(tmp_path)
    assert is_parquet(bars)
    result = run(bars, "--out", tmp_path / "tape")
    assert result.exit_code == 0, result.output
    assert "Wrote 5 records" in result.output
    assert "no clock offset" in result.output
    records, documents = read_tape(tmp_path / "tape")
    kinds = (layout.BAR, layout.FUNDING, layout.BAR, layout.BAR, layout.END)
    assert tuple(records["kind"].tolist()) == kinds
    assert records[0][["a", "b", "c", "d", "e"]].item() == (100, 125, 90, 110, 525)
    assert records[1][["a", "b"]].item() == (100_000_000, 115_000_000)
    assert records["source"].tolist() == [0, 1, 0, 0, 0]
    session = documents[SESSION]
    assert [source.name for source in session.sources] == ["AUSDT_1m.parquet", "AUSDT.parquet", "AUSDT.parquet"]
    assert session.instruments[0].metadata["timeframe"] == "1m"
    assert session.instruments[0].channels == ("bars", "funding")
    run(bars, "--out", tmp_path / "plain", "--without", "funding")
    assert read_tape(tmp_path / "plain")[0]["kind"].tolist() == [layout.BAR] * 3 + [layout.END]


def test_bars_that_are_not_stored_ones(tmp_path: Path) -> None:
    bars = home_with_bars(tmp_path)
    other = tmp_path / "some.parquet"
    other.write_bytes(bars.read_bytes())
    assert "data import" in raised(run(other, "--out", tmp_path / "tape"), UsageError).remedy
    assert "same symbol" in raised(run(bars, bars, "--out", tmp_path / "tape"), UsageError).message


# Real recordings


@pytest.mark.real_data
def test_the_book_s_best_prices_equal_the_venue_s_quotes_at_equal_update_ids() -> None:
    tape, records = btc()
    book, quotes, compared, crossed, messages = NaiveBook(), {}, 0, 0, 0
    is_quote = records["kind"] == layout.QUOTE
    for quote in records[is_quote][["e", "a", "b", "c", "d"]].tolist():
        quotes[quote[0]] = quote[1:]
    levels = records[records["kind"] == layout.LEVEL]
    for level in zip(*(levels[name].tolist() for name in ("flags", "a", "b", "c")), strict=True):
        if not book.take(level):
            continue
        messages += 1
        bid, _, ask, _ = best = book.best()
        crossed += bid >= ask
        if book.update_id in quotes:
            compared += 1
            assert quotes[book.update_id] == best
    assert crossed == 0
    assert (compared, messages) == (COMPARED, MESSAGES)
    assert tape.report.summary().gaps == {}


@pytest.mark.real_data
def test_the_clock_was_a_second_behind_and_latencies_come_out_above_zero() -> None:
    tape, records = btc()
    source = tape.session.sources[0]
    assert source.clock_offset_is == "estimated"
    assert 1_270_000_000 < source.clock_offset_ns < 1_273_000_000
    latency_ns = records["ts_receive_ns"] + source.clock_offset_ns - records["ts_exchange_ns"]
    is_message = (records["kind"] == layout.PRINT) | (
        (records["kind"] == layout.LEVEL) & (records["flags"] & layout.LAST > 0)
    )
    assert (latency_ns[is_message] >= 0).mean() >= 0.99
    assert (latency_ns >= 0).mean() > 0.985
    assert 0 < np.median(latency_ns) < 10_000_000
    assert (np.diff(records["ts_receive_ns"]) >= 0).all()


@pytest.mark.real_data
def test_the_prints_make_the_venue_s_own_bar() -> None:
    tape, records = opened(BTC, without=frozenset({"book", "quotes"}))
    expected = json.loads(GOLDEN.read_text())["expected"]
    start_ns = expected["ts"] * 10**6
    times = records["ts_exchange_ns"]
    prints = records[(times >= start_ns) & (times < start_ns + 300 * 10**9)]
    tick, lot = (float(getattr(tape.session.instruments[0], name)) for name in ("tick_size", "lot_size"))
    prices = prints["a"]
    bar = (int(prices[0]), int(prices.max()), int(prices.min()), int(prices[-1]))
    assert bar == tuple(round(expected[name] / tick) for name in ("open", "high", "low", "close"))
    assert int(prints["b"].sum()) == round(expected["volume"] / lot)
    assert tape.report.summary().trade_ids_skipped == {}


@pytest.mark.real_data
@pytest.mark.parametrize(("path", "counts"), [(BYBIT, (50, 0)), (HYPERLIQUID, (46, 64))])
def test_other_venues_books_are_never_crossed(path: Path, counts: tuple[int, int]) -> None:
    tape, records = opened(path)
    book, messages = NaiveBook(), 0
    levels = records[records["kind"] == layout.LEVEL]
    for level in zip(*(levels[name].tolist() for name in ("flags", "a", "b", "c")), strict=True):
        if book.take(level):
            messages += 1
            bid, bid_size, ask, ask_size = book.best()
            assert 0 < bid < ask
            assert min(bid_size, ask_size) > 0
    assert (messages, int((records["kind"] == layout.PRINT).sum())) == counts
    assert tape.report.summary().rejects == {}
    assert tape.session.sources[0].clock_offset_is == "none"


@pytest.mark.real_data
def test_the_real_capture_comes_back_from_its_tape(tmp_path: Path) -> None:
    _, records = btc()
    assert run(BTC, "--out", tmp_path / "tape").exit_code == 0
    read, documents = read_tape(tmp_path / "tape")
    assert (read == records).all()
    assert documents[CLOSING]["counts"] == {"level": 445_262, "print": 21_313, "quote": 66_089}


@pytest.mark.real_data
@pytest.mark.skipif(not WS.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize("exchange", ["BINANCE_FUTURES", "BITGET", "BITMEX", "DERIBIT", "OKX"])
def test_recordings_of_cryptofeed_become_tapes_that_hold(exchange: str, tmp_path: Path) -> None:
    """All files of an exchange in one line; where a quote has a book's update id, it is the book's best."""
    tape = tmp_path / "tape"
    imported = run(*sorted(WS.glob(f"{exchange}.*")), "--out", tape, "--json")
    assert imported.exit_code == 0, imported.output
    assert json.loads(imported.stdout)["report"]["counts"]["level"] > 100
    assert run_command(["verify", str(tape), "--json"]) == 0


@pytest.mark.real_data
@pytest.mark.skipif(not WS.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize("exchange", ["BYBIT", "COINBASE"])
def test_recordings_too_old_to_be_read_are_refused_with_the_reason(exchange: str, tmp_path: Path) -> None:
    refused = raised(run(*sorted(WS.glob(f"{exchange}.*")), "--out", tmp_path / "tape"), DataError)
    assert refused.remedy.startswith("Record")
    assert not (tmp_path / "tape").exists()
