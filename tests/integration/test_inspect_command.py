"""`tapewright inspect`: the book against a naive one and against the venue's own quotes; strategies as they stood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from adapters.tape import TapeReader
from adapters.tape.codec import Records
from adapters.tape.times import time_text
from daemon.cli import run
from daemon.inspecting import inspect_tape
from engine.kernels import layout
from tests.tape_folders import CONFIG_TEXT, BookAt, flow, two_flows, write_flow

CAPTURE = Path(__file__).parents[3] / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"


@pytest.fixture(scope="module")
def records() -> Records:
    """A market of some minutes."""
    return flow(5_000)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, records: Records) -> Path:
    """A home with a tape and a config."""
    folder = tmp_path_factory.mktemp("home")
    write_flow(folder / "tape", records)
    (folder / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    return folder


def shown(home: Path, capsys: pytest.CaptureFixture[str], at: object, *arguments: str) -> dict[str, Any]:
    command = ["--home", str(home), "inspect", str(home / "tape"), "--at", str(at), "--json", *arguments]
    assert run(command) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def moments(records: Records, count: int, seed: int = 5) -> list[int]:
    first, last = int(records["ts_receive_ns"][0]), int(records["ts_receive_ns"][-1])
    return sorted(np.random.default_rng(seed).integers(first, last, count).tolist())


def test_the_book_is_the_naive_one_at_any_moment(home: Path, records: Records) -> None:
    documents = TapeReader(home / "tape").facts().records_count - len(records)
    valid = 0
    for at_ns in [int(records["ts_receive_ns"][0]), *moments(records, 60)]:
        found = inspect_tape(home / "tape", at_ns, 5)
        expected = BookAt(records, at_ns)
        market = found.symbols["BTCUSDT"]
        assert found.seq == documents + expected.count
        if market.state == "invalid":
            assert (market.bid, market.ask, market.bids, market.asks) == (None, None, [], [])
            continue
        valid += 1
        book = expected.book
        bids = [(round(price / 10, 1), book.bids[price] / 1000) for price in sorted(book.bids, reverse=True)[:5]]
        asks = [(round(price / 10, 1), book.asks[price] / 1000) for price in sorted(book.asks)[:5]]
        assert (market.bids, market.asks) == (bids, asks)
        assert ((market.bid, market.bid_size), (market.ask, market.ask_size)) == (bids[0], asks[0])
        assert (market.update_id, market.book_ns) == (book.update_id, expected.book_ns)
        assert market.age_ms == (at_ns - expected.book_ns) / 1e6
    assert valid > 40


def test_last_and_mark(home: Path, records: Records) -> None:
    for at_ns in moments(records, 20):
        before = records[records["ts_receive_ns"] <= at_ns]
        market = inspect_tape(home / "tape", at_ns, 0).symbols["BTCUSDT"]
        last, mark = (before[before["kind"] == kind]["a"] for kind in (layout.PRINT, layout.MARK))
        assert market.last == (round(int(last[-1]) / 10, 1) if len(last) else None)
        if len(mark):
            assert market.mark == round((int(mark[-1]) + 500_000) // 10**6 / 10, 1)
        assert market.bids == []


def test_json_has_numbers_and_names(home: Path, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    at_ns = moments(records, 3)[1]
    found = shown(home, capsys, at_ns, "--depth", "2")
    assert found == shown(home, capsys, time_text(at_ns), "--depth", "2")
    assert set(found) == {"tape", "at_ns", "seq", "ts_ns", "symbols"}
    assert set(found["symbols"]["BTCUSDT"]) == {
        "state", "update_id", "bid", "bid_size", "ask", "ask_size", "book_ns", "age_ms", "last", "mark", "bids", "asks",
    }  # fmt: skip
    assert found["at_ns"] == at_ns
    assert len(found["symbols"]["BTCUSDT"]["bids"]) == 2


def test_two_markets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = write_flow(tmp_path / "tape", two_flows(2_000), markets=2)
    compared = 0
    for at_ns in moments(records, 8):
        found = shown(tmp_path, capsys, at_ns, "--depth", "1")["symbols"]
        for market, (symbol, tick) in enumerate((("BTCUSDT", 0.1), ("XRPUSDT", 0.0001))):
            book = BookAt(records, at_ns, market).book
            if found[symbol]["state"] == "valid":
                compared += 1
                assert found[symbol]["update_id"] == book.update_id
                assert found[symbol]["bid"] == pytest.approx(max(book.bids) * tick)
    assert compared > 8


def test_before_and_after_the_tape(home: Path, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    first, last = int(records["ts_receive_ns"][0]), int(records["ts_receive_ns"][-1])
    assert run(["inspect", str(home / "tape"), "--at", str(first - 1)]) == 64
    said = capsys.readouterr().err
    assert "is before the first record" in said
    assert time_text(first) in said
    assert time_text(last) in said
    after = shown(home, capsys, last + 10**12)
    assert "is after the last record" in after["notes"][0]
    assert after["symbols"] | {} == {
        symbol: market | {"age_ms": after["symbols"][symbol]["age_ms"]}
        for symbol, market in shown(home, capsys, last)["symbols"].items()
    }


ERRORS = [
    (("--at", "yesterday"), 64, "'yesterday' is not a moment"),
    (("--at", "2024-08-09T00:00:30Z", "--config", "run.yaml", "--run", "x"), 64, "given together"),
    (("--at", "2024-08-09T00:00:30Z", "--set", "leverage=2"), 64, "--set is given without --config"),
    (("--at", "2024-08-09T00:00:30Z", "--run", "no_such_run"), 66, "there is no session, tape or run of that name"),
    (("--at", "2024-08-09T00:00:30Z", "--config", "nowhere.yaml"), 66, "nowhere.yaml"),
    (("--at", "2024-08-09T00:00:30Z", "--depth", "-1"), 64, "--depth"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), ERRORS, ids=[text[:30] for _, _, text in ERRORS])
def test_what_goes_wrong_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, text: str
) -> None:
    assert run(["--home", str(home), "inspect", str(home / "tape"), *arguments]) == code
    assert text in capsys.readouterr().err


# ── Strategies ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("settings", [(), ("strategy=grid",), ("book.fills=bars",), ("strategy=market_maker",)],
                         ids=lambda settings: " ".join(settings) or "plain")  # fmt: skip
def test_a_stored_run_shows_what_its_config_shows(
    home: Path, records: Records, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]
) -> None:
    options = [word for each in settings for word in ("--set", each)]
    assert run(["--home", str(home), "replay", str(home / "tape"), str(home / "run.yaml"), "--json", *options]) == 0
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    held = 0
    for at_ns in moments(records, 8):
        by_run = shown(home, capsys, at_ns, "--run", run_id)
        by_config = shown(home, capsys, at_ns, "--config", str(home / "run.yaml"), *options)
        assert by_run == by_config
        (markets,) = by_run["strategies"].values()
        state = markets["BTCUSDT"]
        held += state["position"] != 0 or bool(state["orders"])
        if not settings:
            assert set(state["indicators"]) <= {"ema(close, 3)", "ema(close, 9)"}
            assert state["last_event"] is None or state["last_event"]["callback"] == "on_bar"
            assert state["last_event"] is None or state["last_event"]["ts_ns"] <= at_ns
    assert held


def test_a_strategy_as_it_stood(home: Path, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    custom = home / "strategies" / "custom"
    custom.mkdir(parents=True, exist_ok=True)
    (custom / "keeper.py").write_text(
        "import numpy as np\n\n\n"
        "def schema():\n    return {'id': 'keeper', 'name': 'Keeper'}\n\n\n"
        "def on_bar(ctx, i):\n"
        "    ctx.state['bars'] = np.int64(i + 1)\n"
        "    ctx.ind.macd(ctx.close, 3, 6, 2)\n"
        "    ctx.ind.sma(ctx.ind.rsi(ctx.close, 5), 3)\n"
        "    if i == 5:\n        ctx.buy(0.5)\n        ctx.buy(0.1, 50_000.0, tag=7)\n",
        encoding="utf-8",
    )
    config = ("--config", str(home / "run.yaml"), "--set", "strategy=keeper")
    at_ns = int(records["ts_receive_ns"][4_000])
    found = shown(home, capsys, at_ns, *config)
    state = found["strategies"]["keeper"]["BTCUSDT"]
    assert state["position"] == 0.5
    assert 59_000 < state["entry_price"] < 61_000
    (order,) = state["orders"]
    assert (order["type"], order["size"], order["price"], order["tag"], order["state"]) == (
        "limit", 0.1, 50_000.0, 7, "ACTIVE",
    )  # fmt: skip
    assert state["state"] == {"bars": state["bars"]}
    assert set(state["indicators"]) == {"macd(close, 3, 6, 2)", "rsi(close, 5)", "sma(rsi(close, 5), 3)"}
    assert len(state["indicators"]["macd(close, 3, 6, 2)"]) == 3
    assert 0 <= state["indicators"]["rsi(close, 5)"] <= 100
    assert found["cash"] < 1_000_000
    assert run(["--home", str(home), "inspect", str(home / "tape"), "--at", str(at_ns), *config]) == 0
    text = capsys.readouterr().out
    for word in ("keeper on BTCUSDT: position 0.5", "order 2: limit 0.1 at 50,000, ACTIVE", "rsi(close, 5):",
                 "bid size", "Equity "):  # fmt: skip
        assert word in text


def test_a_run_of_another_tape_is_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flow(tmp_path / "other", flow(2_000, seed=9))
    assert run(["--home", str(home), "replay", str(tmp_path / "other"), str(home / "run.yaml"), "--json"]) == 0
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    arguments = ["--at", "2024-08-09T00:00:10Z", "--run", run_id]
    assert run(["--home", str(home), "inspect", str(home / "tape"), *arguments]) == 64
    assert f"{run_id} did not run on" in capsys.readouterr().err


def test_snapshots_that_are_gone_or_broken_are_not_needed(
    home: Path, records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), "replay", str(home / "tape"), str(home / "run.yaml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    at_ns = int(records["ts_receive_ns"][-50])
    expected = shown(home, capsys, at_ns, "--run", found["run_id"])
    first, *_, last = sorted((Path(found["folder"]) / "snapshots").iterdir())
    last.write_bytes(b"no snapshot")
    assert shown(home, capsys, at_ns, "--run", found["run_id"]) == expected
    first.unlink()
    assert shown(home, capsys, at_ns, "--run", found["run_id"]) == expected


def test_a_tape_of_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = synthesize("SYNTH", "1m", 500, 3)
    target = path_of(tmp_path, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, bars)
    assert run(["tape", "import", str(target), "--out", str(tmp_path / "tape")]) == 0
    capsys.readouterr()
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT.replace("1s", "1m"), encoding="utf-8")
    for count in (1, 100, 500):
        at_ns = int(bars.ts_ns[0]) + count * 60 * 10**9
        found = shown(tmp_path, capsys, at_ns, "--config", str(tmp_path / "run.yaml"))
        market, state = found["symbols"]["SYNTH"], found["strategies"]["ema_cross"]["SYNTH"]
        assert (market["state"], market["last"], market["bids"]) == ("none", float(bars.close[count - 1]), [])
        assert state["bars"] == count
        assert shown(tmp_path, capsys, at_ns)["symbols"] == found["symbols"]


@pytest.mark.real_data
@pytest.mark.skipif(not CAPTURE.is_file(), reason="the shared data are not here")
def test_the_book_is_the_venues_best_bid_and_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At random QUOTE records whose update id the book comes to: the same prices and sizes, to the digit."""
    assert run(["tape", "import", str(CAPTURE), "--out", str(tmp_path / "tape")]) == 0
    records = np.concatenate([batch.records.copy() for batch in TapeReader(tmp_path / "tape").batches()])
    is_end = (records["kind"] == layout.LEVEL) & ((records["flags"] & layout.LAST) != 0)
    ends = {int(record["c"]): int(record["ts_receive_ns"]) for record in records[is_end]}
    quotes = records[records["kind"] == layout.QUOTE]
    quotes = quotes[np.isin(quotes["e"], list(ends))]
    assert len(quotes) > 500
    compared = 0
    for quote in quotes[np.random.default_rng(3).permutation(len(quotes))[:40]]:
        market = inspect_tape(tmp_path / "tape", ends[int(quote["e"])], 1).symbols["BTCUSDT"]
        if market.update_id != quote["e"]:
            continue  # the next message came in the same nanosecond
        compared += 1
        assert market.bid == round(int(quote["a"]) / 10, 1)
        assert market.ask == round(int(quote["c"]) / 10, 1)
        assert market.bid_size == round(int(quote["b"]) / 1000, 3)
        assert market.ask_size == round(int(quote["d"]) / 1000, 3)
    assert compared > 35
