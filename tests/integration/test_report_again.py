"""`tapewright report RUN`: the report of a run that is over is the one it would have had, or there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from adapters.report import page
from adapters.report.columns import unpack
from adapters.report.schema import Report, columns_of
from daemon.cli import run
from tests.reports import embedded, make_home
from tests.sessions import Daemon, exchange
from tests.tape_folders import CONFIG_TEXT, flow, write_flow


@pytest.fixture(autouse=True)
def charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the charting library, which may not have been fetched."""
    monkeypatch.setattr(page, "charts_script", lambda: "globalThis.LightweightCharts={};")


def _json(capsys: pytest.CaptureFixture[str], home: Path, *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["--home", str(home), *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def _page(found: dict[str, Any]) -> Report:
    return embedded(Path(found["files"][-1]))


def test_a_backtest_s_report_is_the_one_that_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_home(tmp_path, bars=3_000, symbols=("SYNTH", "OTHER"))
    first = _json(capsys, tmp_path, "backtest", config, "--report")
    folder = Path(first["folder"])
    journals = sorted((tmp_path / "data" / "journals").iterdir())
    again = _json(capsys, tmp_path, "report", folder.name, "--only", "html", "--out", tmp_path / "again")
    assert again["source"] == "backtest"
    assert [Path(file).name for file in again["files"]] == ["report.html"]
    assert _page(again) == embedded(folder / "report.html")
    own = Path(first["symbol_results"][1]["folder"])
    of_symbol = _page(_json(capsys, tmp_path, "report", own, "--only", "html", "--out", tmp_path / "own"))
    assert of_symbol == embedded(own / "report.html")
    assert [symbol.symbol for symbol in of_symbol.symbols] == ["OTHER"]
    # Running it again leaves nothing else behind.
    assert sorted((tmp_path / "data" / "journals").iterdir()) == journals
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_a_run_that_comes_out_otherwise_has_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_home(tmp_path, bars=3_000)
    first = _json(capsys, tmp_path, "backtest", config, "--no-report")
    strategy = tmp_path / "strategies" / "custom" / "bracketed.py"
    strategy.write_text(strategy.read_text(encoding="utf-8").replace("% 90", "% 80"), encoding="utf-8")
    assert run(["--home", str(tmp_path), "report", Path(first["folder"]).name]) == 65
    said = capsys.readouterr().err
    assert first["hash"] in said
    assert "have changed since" in said
    assert not list(Path(first["folder"]).glob("report*"))


def test_a_replay_s_report_has_bars_of_its_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flow(tmp_path / "tape", flow())
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG_TEXT, encoding="utf-8")
    first = _json(capsys, tmp_path, "replay", tmp_path / "tape", config)
    found = _json(capsys, tmp_path, "report", first["run_id"])
    report = _page(found)
    assert [Path(file).name for file in found["files"]] == ["equity.png", "drawdown.png", "report.pdf", "report.html"]
    assert (found["source"], report.run.hash, report.run.id) == ("replay", first["hash"], first["run_id"])
    assert report.trade_spans.trade.count == first["trades"]
    assert report.symbols[0].bars.time.count > 10
    assert len(unpack(columns_of(report.equity), "equity")) > 10


def test_a_paper_session_s_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue) as daemon:
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=5)
        ended = daemon.stop()
    found = _json(capsys, tmp_path / "home", "report", daemon.tape.parent.name, "--only", "html")
    report = _page(found)
    assert (found["source"], report.run.hash) == ("session", ended)
    assert report.markers.time.count >= 5
    assert {symbol.symbol for symbol in report.symbols} == {"BTCUSDT", "ETHUSDT"}


def test_a_journal_s_plots_take_trades_from_the_run_s_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    config = make_home(tmp_path, bars=10_080)
    first = _json(capsys, tmp_path, "backtest", config)
    journal, folder = Path(first["journals"]["SYNTH"]), Path(first["folder"])
    found = _json(capsys, tmp_path, "report", journal, "--timeframe", "1h")
    assert (found["source"], Path(found["folder"])) == ("journal", folder / "journal")
    assert [Path(file).name for file in found["files"]] == [
        "equity.png", "trades.png", "distribution.png", "heatmap.png", "report.pdf", "report.html"
    ]  # fmt: skip
    report, trades = _page(found), pl.read_csv(folder / "trades.csv")
    spans = columns_of(report.trade_spans)
    assert report.symbols[0].bars.time.count == 168
    assert unpack(spans, "pnl") == pytest.approx(trades["pnl"].to_numpy(), abs=1e-4)
    assert unpack(spans, "mae_percent") == pytest.approx(trades["mae_percent"].to_numpy(), abs=1e-4)
    assert report.stats == first["figures"]
    assert report.run.hash == first["hash"]
    # Alone it tells the same of each trade that a bar's close fell into: one symbol has the capital to itself.
    (folder / "trades.csv").unlink()
    alone = columns_of(_page(_json(capsys, tmp_path, "report", journal, "--only", "html")).trade_spans)
    seen = trades.filter(pl.col("duration_seconds") > 60)  # entries fill at a bar's open
    expected = dict(zip(unpack(spans, "exit_time").tolist(), unpack(spans, "pnl").tolist(), strict=True))
    told = dict(zip(unpack(alone, "exit_time").tolist(), unpack(alone, "pnl").tolist(), strict=True))
    assert len(told) == len(seen) > 50
    assert told == pytest.approx({time: expected[time] for time in told}, abs=1e-3)


def test_what_is_no_run_is_named_with_one_that_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results" / "SYNTH_ema_cross_20250116_143025").mkdir(parents=True)
    assert run(["--home", str(tmp_path), "report", "SYNTH_ema_cros_20250116_143025"]) == 66
    said = capsys.readouterr().err
    assert "There is no run SYNTH_ema_cros_20250116_143025" in said
    assert "Did you mean SYNTH_ema_cross_20250116_143025?" in said
    assert run(["--home", str(tmp_path), "report", "some", "--only", "gif"]) == 64
    assert "not some of png, pdf, html" in capsys.readouterr().err
    assert run(["--home", str(tmp_path), "report", "some", "--timeframe", "1h"]) == 64
    assert "is for journals" in capsys.readouterr().err


def test_a_report_of_an_older_shape_is_still_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What version 2 added has defaults: a program reads version 1 with the same structs."""
    found = _json(capsys, tmp_path, "backtest", make_home(tmp_path, bars=500), "--report")
    document = msgspec.to_builtins(embedded(Path(found["report"][-1])))
    for name in ("diagnostics", "band"):
        del document[name]
    del document["run"]["note"], document["symbols"][0]["regimes"]
    assert msgspec.convert(document, Report).band is None
