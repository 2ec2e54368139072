"""What pictures and report.pdf show: tables by hand, texts of the pages, the same bytes for the same run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from adapters.report.build import build_report
from adapters.report.document import pages_of, write_document
from adapters.report.drawing import hourly_profit, monthly_returns
from adapters.report.paper import figure_text
from adapters.report.schema import Report
from daemon.app import BacktestReport
from tests.reports import finished, make_home, too_poor

Run = tuple[BacktestReport, Report]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("home")
    done, wanted = finished(home, make_home(home, bars=10_080, symbols=("SYNTH", "OTHER")))
    return done, build_report(wanted)


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def _texts(figure: Figure) -> list[str]:
    return [found.get_text() for found in figure.findobj(Text)]


def test_returns_of_months_by_hand() -> None:
    """A bar that closes at midnight belongs to the day before: 100 → 110 in January, 110 → 99 in March 2025."""
    times = [_ms(text) for text in ("2024-01-15", "2024-02-01", "2025-03-02", "2025-04-01")]
    curve = {"time": np.array(times), "equity": np.array([105.0, 110.0, 120.0, 99.0])}
    years, table = monthly_returns(curve, 100.0)
    assert years == [2024, 2025]
    assert table[0, 0] == pytest.approx(0.1)
    assert table[1, 2] == pytest.approx(-0.1)
    assert np.isfinite(table).sum() == 2


def test_profit_by_hour_by_hand() -> None:
    """15 January 2024 was a Monday, 14 January a Sunday."""
    times = [_ms(text) for text in ("2024-01-15T00:10", "2024-01-15T00:59", "2024-01-14T23:00")]
    table = hourly_profit({"entry_time": np.array(times), "pnl": np.array([5.0, -7.0, 3.0])})
    assert (table[0, 0], table[6, 23]) == (-2.0, 3.0)
    assert np.isfinite(table).sum() == 2


def test_figures_carry_their_units(run: Run) -> None:
    _, report = run
    said = [
        figure_text(report, *each)
        for each in (
            ("trades", "win_rate", 0.4321), ("equity", "net_profit", "-1234.567"), ("trades", "count", 1234),
            ("equity", "max_drawdown_duration_seconds", 90_061), ("trades", "expectancy_percent", -0.12345),
            ("equity", "sharpe", None), ("span", "start_time", "2024-01-01T00:00:00.000Z"),
            ("trades", "mae_average_r", -0.5),
        )
    ]  # fmt: skip
    assert said == [
        "43.21 %", "−1,234.57", "1,234", "1 d 1 h", "−0.123 %", "–", "2024-01-01 00:00:00", "−0.50 R"
    ]  # fmt: skip


def test_the_pages_say_what_the_run_was(run: Run) -> None:
    done, report = run
    pages = [_texts(figure) for figure in pages_of(report)]
    everything = [text for page in pages for text in page]
    assert "SYNTH, OTHER · bracketed · 1m" in pages[0]
    assert {report.run.hash, f"{done.metrics.equity.net_profit:,.2f}".replace("-", "−")} <= set(pages[0])
    for title in (
        "Account", "SYNTH: price and trades", "OTHER: price and trades", "SYNTH: regimes", "OTHER: regimes",
        "Drawdowns and costs", "Trades", "Calendar", "Best and worst trades", "Definitions",
    ):  # fmt: skip
        assert title in everything, title
    best = max(done.trades, key=lambda trade: trade.pnl)
    assert f"{best.pnl:+,.2f}" in next(page for page in pages if "Best and worst trades" in page)
    assert sum(f"page {number}" in text for number, page in enumerate(pages, 1) for text in page) >= len(pages)


def test_the_same_run_gives_the_same_document(run: Run, tmp_path: Path) -> None:
    _, report = run
    first, second = (write_document(tmp_path / name, report).read_bytes() for name in ("a.pdf", "b.pdf"))
    assert first == second
    assert first.startswith(b"%PDF-")
    pages = len(list(pages_of(report)))
    assert len(re.findall(rb"/Type /Page\b", first)) == pages


def test_a_run_without_trades_still_has_pages(tmp_path: Path) -> None:
    done, wanted = finished(tmp_path, too_poor(make_home(tmp_path, bars=2_000)))
    assert done.trades == []
    titles = {text for figure in pages_of(build_report(wanted)) for text in _texts(figure)}
    assert {"Account", "SYNTH: price and trades", "Definitions"} <= titles
    assert not {"Trades", "Calendar", "Best and worst trades"} & titles
