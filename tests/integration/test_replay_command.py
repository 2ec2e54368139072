"""`tapewright replay` as a user meets it: tapes with books, tapes with bars, and bars made of a tape's prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.funding_files import FundingSeries, funding_path, write_series
from adapters.synthetic_market import synthesize
from adapters.tape import TapeReader
from adapters.tape.codec import empty_records
from config.loader import parse
from daemon.cli import run
from daemon.commands.tape_bars import export_bars
from daemon.replaying import run_to_end, tape_run
from engine.bars import NS_PER_MS
from engine.errors import DataError, InputMissingError
from engine.kernels import layout
from engine.kernels.hashing import HASH_START
from engine.reading import kinds_of
from strategies.registry import Registry
from tests.tape_folders import CONFIG_TEXT, flow, two_flows, write_flow

CAPTURE = Path(__file__).parents[3] / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
BARS_CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""
FILES = {
    "trades.csv", "metrics.json", "equity.parquet", "orders.parquet", "fills.parquet", "run_log.parquet",
    "replay.json", "outputs.parquet", "samples.parquet",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tape of one market, one of two, and configs."""
    folder = tmp_path_factory.mktemp("home")
    write_flow(folder / "one", flow())
    write_flow(folder / "two", two_flows(), markets=2)
    (folder / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    return folder


def json_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run([str(each) for each in arguments]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def replayed(capsys: pytest.CaptureFixture[str], home: Path, tape: str, *arguments: object) -> dict[str, Any]:
    return json_of(capsys, "--home", home, "replay", home / tape, home / "run.yaml", "--json", *arguments)


def test_the_json_figures_are_those_of_the_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(capsys, home, "one")
    folder = Path(found["folder"])
    assert {path.name for path in folder.iterdir()} == FILES | {"snapshots", "strategies"}
    fills, orders = pl.read_parquet(folder / "fills.parquet"), pl.read_parquet(folder / "orders.parquet")
    assert folder.name == found["run_id"]
    assert folder.parent == home / "results"
    assert found["records"] == TapeReader(home / "one").facts().records_count
    assert found["fills"] == len(fills) > 20
    assert found["orders"] == orders.filter(pl.col("state") == "NEW").height
    assert found["trades"] == len(pl.read_csv(folder / "trades.csv")) > 3
    equity = pl.read_parquet(folder / "equity.parquet")
    assert found["final_equity"] == f"{equity['equity_units'][-1] / 10**8:.8f}"
    assert found["metrics"]["equity"]["final"] == found["final_equity"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["run"]["hash"] == found["hash"]
    assert metrics["run"]["tape_digest"] == TapeReader(home / "one").facts().digest
    log = pl.read_parquet(folder / "run_log.parquet")
    assert any("clock offset +1.200000 s" in text for text in log["text"])


def test_fills_tell_the_book_that_they_met(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(capsys, home, "one")
    folder = Path(found["folder"])
    fills = pl.read_parquet(folder / "fills.parquet")
    outputs = pl.read_parquet(folder / "outputs.parquet").to_numpy()
    kinds = kinds_of(outputs)
    places = np.flatnonzero(kinds == layout.FILL_OUTPUT)
    assert (kinds[places - 1] == layout.BOOK_OUTPUT).all()
    assert set(fills["model"]) <= {"depth", "queue", "through", "bps"}
    assert set(fills["confidence"]) <= {"observed", "bounded", "assumed"}
    taken = fills.filter(pl.col("model") == "depth")
    assert len(taken) > 10
    bought, sold = taken.filter(pl.col("size") > 0), taken.filter(pl.col("size") < 0)
    assert (bought["price"] >= bought["ask"]).all()
    assert (sold["price"] <= sold["bid"]).all()
    assert (taken["book_age_ms"] >= 0).all()
    assert (taken["update_id"] > 0).all()
    ages = np.ascontiguousarray(outputs[places - 1]).view(layout.BOOK_VIEW).reshape(-1)["age_ns"]
    known = ages >= 0
    assert fills["book_age_ms"].to_numpy()[known].tolist() == (ages[known] / NS_PER_MS).tolist()


def test_what_is_stored_is_all_that_the_core_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(capsys, home, "two")
    folder = Path(found["folder"])
    config = parse(CONFIG_TEXT, "yaml", source="x", is_tape=True)
    result = run_to_end(tape_run(TapeReader(home / "two"), config, Registry(home)))
    assert result.hash != HASH_START
    assert found["hash"] == f"{result.hash:016x}"
    assert found["symbols"] == ["BTCUSDT", "XRPUSDT"]
    outputs, samples = (pl.read_parquet(folder / f"{name}.parquet") for name in ("outputs", "samples"))
    assert outputs.columns == [f"w{word}" for word in range(16)]
    np.testing.assert_array_equal(outputs.to_numpy(), result.outputs)
    np.testing.assert_array_equal(samples.to_numpy(), result.samples)
    stored = json.loads((folder / "replay.json").read_text())
    assert len(stored["snapshots"]) == 4
    assert stored["config"]["book"]["order_latency_ms"] == "40"
    (code,) = stored["strategies"]
    assert (folder / code["file"]).read_bytes() == Path(code["path"]).read_bytes()


def test_set_and_strategy_change_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = replayed(capsys, home, "two")
    symbol = replayed(capsys, home, "two", "--set", "symbols=[XRPUSDT]", "--set", "commission_bps=0")
    assert symbol["fees"] == "0.00000000"
    assert symbol["run_id"].startswith("XRPUSDT_ema_cross_")
    assert symbol["hash"] != plain["hash"]
    assert replayed(capsys, home, "two", "--set", "strategy=grid")["strategies"] == ["grid"]
    fast = replayed(capsys, home, "one", "--set", "book.order_latency_ms=0", "--set", "book.response_latency_ms=0")
    assert fast["hash"] != replayed(capsys, home, "one")["hash"]


def test_start_and_end_are_receive_times(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = TapeReader(home / "one").facts()
    middle_ms = (facts.first_ns + facts.last_ns) // 2 // NS_PER_MS
    whole, first, last = (
        replayed(capsys, home, "one", *options)
        for options in ((), ("--set", f"end={middle_ms}"), ("--set", f"start={middle_ms}"))
    )
    assert whole["metrics"]["span"]["start_time"] == first["metrics"]["span"]["start_time"]
    assert last["metrics"]["span"]["start_time"] > first["metrics"]["span"]["end_time"][:-5]
    assert first["metrics"]["span"]["bars"] + last["metrics"]["span"]["bars"] - whole["metrics"]["span"]["bars"] <= 2


def test_a_latency_file_takes_the_place_of_the_constants(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "latency.csv").write_text("ts,order_latency_ms,response_latency_ms\n1723161540000,40,25\n")
    constant = replayed(capsys, home, "one")
    settings = ("--set", "book={latency_file: latency.csv}")
    assert replayed(capsys, home, "one", *settings)["hash"] == constant["hash"]
    (home / "latency.csv").write_text("ts,order_latency_ms,response_latency_ms\n1723161540000,40,25\n1,2,3\n")
    assert run(["--home", str(home), "replay", str(home / "one"), str(home / "run.yaml"), *settings]) == 65
    assert "ts of line 3 is not later" in capsys.readouterr().err


ERRORS = [
    # arguments after `replay TAPE CONFIG` | exit | what is said
    (("--set", "symbols=[DOGE]"), 78, "The tape holds BTCUSDT."),
    (("--set", "book.fills=candles"), 78, "one of book, bars"),
    (("--set", "book.latency_file=nowhere.csv", "--set", "book.order_latency_ms=0", "--set",
      "book.response_latency_ms=0"), 66, "nowhere.csv"),
    (("--set", "book.latency_file=nowhere.csv"), 78, "given together with book.latency_file"),
    (("--set", "strategy=ema_cross_signals"), 78, "--set book.fills=bars"),
    (("--set", "strategy=emma"), 66, "Create strategies/custom/emma.py"),
    (("--set", "strategy="), 78, "no strategy is named"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "text"), ERRORS, ids=[text[:30] for _, _, text in ERRORS])
def test_what_goes_wrong_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, text: str
) -> None:
    before = sorted((home / "results").glob("*"))
    assert run(["--home", str(home), "replay", str(home / "one"), str(home / "run.yaml"), *arguments]) == code
    assert text in capsys.readouterr().err
    assert sorted((home / "results").glob("*")) == before


def test_a_tape_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(home), "replay", str(home / "none"), str(home / "run.yaml")]) == 66
    assert str(home / "none") in capsys.readouterr().err


def test_a_record_that_makes_no_sense_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = flow(500)
    place = int(np.flatnonzero(records["kind"] == layout.PRINT)[-1])
    records["b"][place] = 0
    write_flow(tmp_path / "tape", records)
    documents = TapeReader(tmp_path / "tape").facts().records_count - len(records)
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    assert run(["--home", str(tmp_path), "replay", str(tmp_path / "tape"), str(tmp_path / "run.yaml")]) == 65
    assert f"record {documents + place + 1} of the tape makes no sense" in capsys.readouterr().err


def test_people_see_stages_and_a_summary(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(home), "replay", str(home / "one"), str(home / "run.yaml")]) == 0
    shown = capsys.readouterr()
    assert "records/sec)" in shown.err
    assert "Starting replay loop..." in shown.err
    assert "Replay completed: " in shown.err
    assert "book, queue trades_only" in shown.out
    assert "x 1000 ms" in shown.out


# ── Bars ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def bars_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a week of minutes and funding, and the tape that is imported of them."""
    folder = tmp_path_factory.mktemp("bars")
    bars = synthesize("SYNTH", "1m", 10_080, 3)
    target = path_of(folder, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, bars)
    times = bars.ts_ns[:: 8 * 60]
    series = FundingSeries(times, np.linspace(-0.0003, 0.0004, len(times)), 0)
    funding_path(folder, "SYNTH").parent.mkdir(parents=True)
    write_series(funding_path(folder, "SYNTH"), series, "funding")
    (folder / "run.yaml").write_text(BARS_CONFIG, encoding="utf-8")
    assert run(["tape", "import", str(target), "--out", str(folder / "tape")]) == 0
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("funding.enabled=true",),
        ("strategy=ema_cross_signals",),
        ("start=2024-01-02", "end=2024-01-05T12:00:00Z", "funding.enabled=true"),
        ("strategy={entry: ema_cross, exit: {name: fixed_tp_sl, params: {tp: 0.01, sl: 0.005}}}",),
        ("fill_model=close_to_close", "instruments={SYNTH: {minimum_notional: 5}}"),
        ("symbols=",),
    ],
    ids=lambda settings: " ".join(settings) or "plain",
)
def test_a_tape_of_bars_gives_what_a_backtest_on_them_gives(
    bars_home: Path, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]
) -> None:
    options = [word for each in settings for word in ("--set", each)]
    config = ("--home", bars_home, "replay", bars_home / "tape", bars_home / "run.yaml", "--json")
    found = json_of(capsys, *config, *options)
    options = [] if settings == ("symbols=",) else options
    expected = json_of(capsys, "--home", bars_home, "backtest", bars_home / "run.yaml", "--json", *options)
    assert found["hash"] == expected["hash"]
    assert (found["trades"], found["funding"]) == (expected["trades"], expected["funding"])
    assert found["metrics"] == expected["figures"]
    for name in ("trades.csv", "orders.parquet", "fills.parquet", "equity.parquet"):
        assert (Path(found["folder"]) / name).read_bytes() == (Path(expected["folder"]) / name).read_bytes(), name


def test_a_tape_of_bars_has_its_own_timeframe(bars_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["replay", str(bars_home / "tape"), str(bars_home / "run.yaml"), "--set", "timeframe=5m"]
    assert run(["--home", str(bars_home), *arguments]) == 78
    assert "the tape holds bars of 1m, the run has bars of 5m" in capsys.readouterr().err


def backtest_on_exported_bars(
    capsys: pytest.CaptureFixture[str], folder: Path, tape: Path, timeframe: str, settings: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A replay with fills: bars, and the backtest on the same bars written as files."""
    config = folder / "run.yaml"
    reader = TapeReader(tape)
    export_bars(tape, [timeframe], folder / "data" / "raw", as_json=True)
    written = json.loads(capsys.readouterr().out)["files"]
    instrument = reader.session().instruments[0]
    units = f"instruments={{BTCUSDT: {{tick_size: {instrument.tick_size}, lot_size: {instrument.lot_size}}}}}"
    options = [word for each in (*settings, f"timeframe={timeframe}", "symbols=[BTCUSDT]", units)
               for word in ("--set", each)]  # fmt: skip
    found = json_of(capsys, "--home", folder, "replay", tape, config, "--json", "--set", "book.fills=bars", *options)
    expected = json_of(capsys, "--home", folder, "backtest", config, "--json", *options)
    assert sum(written.values()) == expected["bars"]
    return found, expected


@pytest.mark.parametrize("name", ["ema_cross", "ema_cross_signals"])
@pytest.mark.parametrize("timeframe", ["1s", "5s"])
def test_fills_on_bars_are_those_of_a_backtest_on_the_exported_bars(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], timeframe: str, name: str
) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    found, expected = backtest_on_exported_bars(capsys, tmp_path, home / "one", timeframe, [f"strategy.name={name}"])
    assert found["hash"] == expected["hash"]
    assert found["trades"] == expected["trades"] > 0


@pytest.mark.real_data
@pytest.mark.skipif(not CAPTURE.is_file(), reason="the shared data are not here")
def test_a_real_tape_with_fills_on_bars_is_a_backtest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tape", "import", str(CAPTURE), "--out", str(tmp_path / "tape")]) == 0
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    capsys.readouterr()
    for timeframe, fast, slow in (("1s", 12, 26), ("1m", 1, 2)):
        settings = [f"strategy.params={{fast: {fast}, slow: {slow}, size: 0.1}}"]
        found, expected = backtest_on_exported_bars(capsys, tmp_path, tmp_path / "tape", timeframe, settings)
        assert found["hash"] == expected["hash"]
        trades = [(Path(each["folder"]) / "trades.csv").read_bytes() for each in (found, expected)]
        assert trades[0] == trades[1]
        assert found["trades"] > 0
        shutil.rmtree(tmp_path / "data")


def test_funding_of_a_tape_is_paid_on_bars_where_it_is_enabled(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    settings = ("--set", "book.fills=bars", "--set", "strategy=buy_and_hold")
    without = replayed(capsys, home, "one", *settings)
    paid = replayed(capsys, home, "one", *settings, "--set", "funding.enabled=true")
    assert without["funding"] == "0.00000000"
    assert float(paid["funding"]) > 0
    log = pl.read_parquet(Path(without["folder"]) / "run_log.parquet")
    assert any("1 funding rates are not paid: funding.enabled is false" in text for text in log["text"])


def test_a_tape_of_bars_beside_books_wants_a_choice(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = two_flows(1_000)
    session = TapeReader(home / "two").session()
    instruments = (session.instruments[0], msgspec.structs.replace(session.instruments[1], channels=("bars",)))
    own = records[records["instrument"] == 0]
    bars = empty_records(3)
    bars[:] = np.zeros(3, dtype=bars.dtype)
    bars["kind"], bars["instrument"] = layout.BAR, 1
    for name in "abcd":
        bars[name] = 6_000
    bars["e"] = 10
    bars["ts_exchange_ns"] = int(own["ts_receive_ns"][-1]) + np.arange(3) * 10**9
    bars["ts_receive_ns"] = bars["ts_exchange_ns"] + 10**9
    write_flow(
        tmp_path / "tape", np.concatenate([own, bars]),
        session=msgspec.structs.replace(session, instruments=instruments),
    )  # fmt: skip
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    arguments = ["--home", str(tmp_path), "replay", str(tmp_path / "tape"), str(tmp_path / "run.yaml"), "--json"]
    assert run(arguments) == 78
    assert "holds bars of XRPUSDT, and books or prints of the others" in capsys.readouterr().err
    assert json_of(capsys, *arguments, "--set", "symbols=[BTCUSDT]")["records"] > len(own) + 3
    assert json_of(capsys, *arguments, "--set", "symbols=[XRPUSDT]")["fills"] == 0


def test_bars_are_exported_where_there_are_prints(
    home: Path, bars_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_bars(home / "two", ["1s", "1m"], tmp_path / "bars", as_json=False)
    said = capsys.readouterr().out
    names = {f"{symbol}_{timeframe}.parquet" for symbol in ("BTCUSDT", "XRPUSDT") for timeframe in ("1s", "1m")}
    assert {path.name for path in (tmp_path / "bars").iterdir()} == names
    assert said.count("Wrote ") == 4
    with pytest.raises(InputMissingError, match="the tape's prints close no bar of 1w"):
        export_bars(home / "two", ["1w"], tmp_path / "none", as_json=False)
    with pytest.raises(DataError, match="holds bars already"):
        export_bars(bars_home / "tape", ["1m"], tmp_path / "none", as_json=False)
