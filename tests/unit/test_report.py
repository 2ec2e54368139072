"""The report of a run: its columns come back as they were, its tables are those of the run, its schema is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.report.build import ReportInput, build_report
from adapters.report.columns import pack, pack_against, pack_floats, unpack
from adapters.report.drawing import closed_equity, columns, thinned
from adapters.report.schema import Report, columns_of, json_schema
from adapters.report.traces import fills_of
from daemon.app import BacktestReport
from engine.bars import NS_PER_MS
from engine.figures.regimes import regimes_of
from tests.reports import finished, make_home

ROOT = Path(__file__).parents[2]
INTEGERS = st.lists(st.integers(-(2**50), 2**50), max_size=40)


@given(values=INTEGERS, order=st.sampled_from([0, 1]))
def test_whole_numbers_come_back(values: list[int], order: Any) -> None:
    column = pack(np.array(values, dtype=np.int64), order=order)
    assert unpack({"it": column}, "it").tolist() == values


@given(values=st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**9)), max_size=40))
def test_unknown_numbers_come_back_unknown(values: list[int | None]) -> None:
    given_floats = np.array([np.nan if value is None else value / 100 for value in values], dtype=np.float64)
    assert np.array_equal(unpack({"it": pack_floats(given_floats, 2)}, "it"), given_floats, equal_nan=True)


@given(values=INTEGERS, lag=st.sampled_from([0, 1, 3]), rule=st.sampled_from(["max", "min"]))
def test_numbers_against_others_come_back(values: list[int], lag: int, rule: Any) -> None:
    whole = np.array(values, dtype=np.int64)
    others = {"a": whole[::-1] // 2, "b": whole // 3}
    table = {name: pack(other) for name, other in others.items()}
    table["it"] = pack_against(whole, others, lag=lag, rule=rule)
    assert unpack(table, "it").tolist() == values


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[BacktestReport, ReportInput, Report]:
    home = tmp_path_factory.mktemp("home")
    done, wanted = finished(home, make_home(home, symbols=("SYNTH", "OTHER")))
    return done, wanted, build_report(wanted)


Run = tuple[BacktestReport, ReportInput, Report]


def test_the_candles_are_those_of_the_run_to_the_digit(run: Run) -> None:
    done, _, report = run
    for bars, symbol in zip(done.bars, report.symbols, strict=True):
        table = columns_of(symbol.bars)
        assert symbol.symbol == bars.symbol
        assert np.array_equal(unpack(table, "time"), bars.ts_ns // NS_PER_MS)
        for name in ("open", "high", "low", "close"):
            assert np.array_equal(unpack(table, name), np.round(getattr(bars, name), 2)), name


def test_trade_spans_are_the_trades(run: Run) -> None:
    done, _, report = run
    table = columns_of(report.trade_spans)
    assert len(done.trades) > 50
    assert unpack(table, "trade").tolist() == [trade.trade_id for trade in done.trades]
    assert unpack(table, "exit_time").tolist() == [trade.exit_ts_ns // NS_PER_MS for trade in done.trades]
    assert unpack(table, "entry_time").tolist() == [trade.entry_ts_ns // NS_PER_MS for trade in done.trades]
    for name in ("pnl", "mae", "mfe", "fees"):
        expected = [float(getattr(trade, name)) for trade in done.trades]
        assert unpack(table, name) == pytest.approx(expected, abs=0.51e-4), name
    symbols = [report.symbols[int(place)].symbol for place in unpack(table, "symbol")]
    assert symbols == [trade.symbol for trade in done.trades]
    in_r = [np.nan if trade.mae_r is None else trade.mae_r for trade in done.trades]
    assert unpack(table, "mae_r") == pytest.approx(in_r, abs=0.51e-4, nan_ok=True)


def test_markers_are_the_fills_and_their_pnl_that_of_the_trades(run: Run) -> None:
    done, _, report = run
    table = columns_of(report.markers)
    fills = fills_of(done.result)
    assert unpack(table, "time").tolist() == (fills["ts_ns"] // NS_PER_MS).tolist()
    kinds = [report.codes["markers.kind"][int(kind)] for kind in unpack(table, "kind")]
    assert kinds.count("entry") == kinds.count("exit") == len(done.trades)
    gross = sum(float(trade.gross_pnl) for trade in done.trades)
    assert unpack(table, "pnl").sum() == pytest.approx(gross, abs=1.0)


def test_levels_are_stops_and_targets_of_their_trades(run: Run) -> None:
    done, _, report = run
    table = columns_of(report.levels)
    kinds, ends = report.codes["levels.kind"], report.codes["levels.ended"]
    trades = {trade.trade_id: trade for trade in done.trades}
    seen = set()
    for kind, ended, price, start, end, trade_id in zip(
        *(unpack(table, name).tolist() for name in ("kind", "ended", "price", "start", "end", "trade")), strict=True
    ):
        trade = trades[int(trade_id)]
        is_stop = kinds[int(kind)] == "stop"
        assert price < trade.entry_price if is_stop else price > trade.entry_price
        assert start <= trade.entry_ts_ns // NS_PER_MS < end
        if ends[int(ended)] == "filled":
            assert end == trade.exit_ts_ns // NS_PER_MS
        seen.add((kinds[int(kind)], ends[int(ended)]))
    assert {("stop", "filled"), ("target", "filled"), ("stop", "canceled"), ("target", "canceled")} <= seen
    assert report.levels_left_out == 0


def test_equity_is_rounded_finer_than_a_screen_shows(run: Run) -> None:
    done, _, report = run
    table = columns_of(report.equity)
    exact = done.curve.equity / 1e8
    assert np.array_equal(unpack(table, "time"), done.curve.ts_ns // NS_PER_MS)
    assert np.abs(unpack(table, "equity") - exact).max() <= np.ptp(exact) / 100_000
    assert unpack(table, "drawdown").max() == pytest.approx(done.metrics.equity.max_drawdown, abs=1e-4)


def test_regimes_change_where_those_of_the_bars_change(run: Run) -> None:
    """Bar by bar the report says what `regimes_of` says, whose own tests have a naive twin."""
    done, _, report = run
    for bars, symbol in zip(done.bars, report.symbols, strict=True):
        assert symbol.regimes is not None
        table = columns_of(symbol.regimes)
        found = regimes_of(bars, done.metrics.diagnostics.regime_window_bars if done.metrics.diagnostics else 0)
        places = np.searchsorted(unpack(table, "time"), bars.ts_ns // NS_PER_MS, side="right") - 1
        for name, codes in (("trend", found.trend), ("volatility", found.volatility)):
            names = report.codes[f"regimes.{name}"]
            assert [names[int(place)] for place in unpack(table, name)[places]] == [names[code + 2] for code in codes]
        assert len(unpack(table, "time")) < len(bars) / 10


def test_a_band_lies_around_equity_where_bars_are_ambiguous(tmp_path: Path) -> None:
    config = make_home(tmp_path, bars=2_000, stop="0.9996", target="1.0004")
    config.write_text(config.read_text(encoding="utf-8") + "diagnostics: {band: true}\n", encoding="utf-8")
    done, wanted = finished(tmp_path, config)
    report, band = build_report(wanted), done.metrics.diagnostics and done.metrics.diagnostics.band
    assert band
    assert report.band is not None
    table, step = columns_of(report.band), band.widest / 1e8 / 500
    assert unpack(table, "below") == pytest.approx((done.curve.equity - band.worst) / 1e8, abs=step)
    assert unpack(table, "above") == pytest.approx((band.best - done.curve.equity) / 1e8, abs=step)
    assert unpack(table, "above").max() > 0
    assert report.diagnostics["ambiguous"]["bars"] == report.run.ambiguous_bars > 0


def test_the_report_holds_its_schema_and_comes_back_from_json(run: Run) -> None:
    *_, report = run
    text = msgspec.json.encode(report)
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(text))
    assert msgspec.json.decode(text, type=Report) == report


def test_the_same_run_gives_the_same_report(run: Run) -> None:
    _, wanted, report = run
    assert msgspec.json.encode(build_report(wanted)) == msgspec.json.encode(report)


def test_the_published_schema_is_the_one_of_the_code() -> None:
    published = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(json_schema())), "tapewright report schema > docs/report.schema.json"


def test_pictures_draw_least_and_greatest_of_each_stretch() -> None:
    times, values = np.arange(100_000.0), np.sin(np.arange(100_000) / 500.0)
    values[54_321] = 9.0
    drawn_times, drawn = thinned(times, values, 1_000)
    assert len(drawn) <= 1_000
    assert drawn.max() == 9.0
    assert drawn.min() == values.min()
    assert (np.diff(drawn_times) > 0).all()
    assert thinned(times[:10], values[:10], 1_000)[1].tolist() == values[:10].tolist()


def test_closed_equity_ends_at_the_balance_without_open_trades(run: Run) -> None:
    done, _, report = run
    times, values = closed_equity(report, columns(report.trade_spans))
    assert values[0] == float(done.metrics.equity.initial)
    assert values[-1] == pytest.approx(float(done.metrics.equity.initial + done.metrics.trades.net_pnl), abs=0.05)
    assert (np.diff(times) >= 0).all()
