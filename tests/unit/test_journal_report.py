"""From a bar journal to a report: rows by hand, trades that they tell of, what is no journal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from adapters.bar_journal import write_journal
from adapters.report.drawing import columns
from adapters.report.files import write_journal_plots
from adapters.report.journals import journal_report
from engine.errors import DataError, InputMissingError, UsageError

START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z
MINUTE_MS = 60_000
# price, size held at the close, capital at the close, drawdown. Long 2 from bar 1 to bar 3: +17 of capital; turned
# from long 1 to short 1 at bar 5; short until the end, which it does not leave.
ROWS = (
    (100.0, 0.0, 1000.0, 0.0),
    (101.0, 2.0, 999.0, 0.001),
    (105.5, 2.0, 999.0, 0.0),
    (110.0, 0.0, 1017.0, 0.0),
    (109.0, 1.0, 1016.0, 0.002),
    (108.0, -1.0, 1014.0, 0.004),
    (107.0, -1.0, 1014.0, 0.003),
)


def journal(folder: Path, **changed: Any) -> Path:
    """A home folder's journal of `ROWS`; `changed` puts columns in place of others."""
    price, size, capital, drawdown = (np.array(column) for column in zip(*ROWS, strict=True))
    held = size != 0
    piece: Mapping[str, Any] = {
        "timestamp": START_MS + MINUTE_MS * np.arange(len(ROWS)), "price": price, "entry_signal": held,
        "exit_signal": ~held, "in_position": held, "position_size": size, "capital": capital, "drawdown": drawdown,
        "sma_2_1m": np.full(len(ROWS), np.nan),
    } | changed  # fmt: skip
    return write_journal(
        folder / "data" / "journals" / "BTCUSDT_mine_20250116_143025.parquet", "BTCUSDT", [piece], ["sma_2_1m"], 100
    )


def test_trades_are_the_stretches_in_position_and_profit_is_the_change_of_capital(tmp_path: Path) -> None:
    spans = columns(journal_report(journal(tmp_path)).trade_spans)
    minutes = [(spans[name] - START_MS) / MINUTE_MS for name in ("entry_time", "exit_time")]
    assert minutes[0].tolist() == [2, 5, 6]  # the close of the first bar in position
    assert minutes[1].tolist() == [4, 6, 7]
    assert spans["side"].tolist() == [0, 0, 1]
    assert spans["entry_price"].tolist() == [101, 109, 108]
    assert spans["exit_price"].tolist() == [110, 108, 107]
    assert spans["size"].tolist() == [2, 1, 1]
    assert spans["pnl"].tolist() == [17, -3, 0]
    assert spans["bars_held"].tolist() == [2, 1, 1]


def test_bars_are_joined_from_closes(tmp_path: Path) -> None:
    report = journal_report(journal(tmp_path), "3m")
    bars, curve = columns(report.symbols[0].bars), columns(report.equity)
    assert ((bars["time"] - START_MS) / MINUTE_MS).tolist() == [0, 3, 6]
    assert bars["open"].tolist() == [100, 110, 107]
    assert bars["high"].tolist() == [105.5, 110, 107]
    assert bars["low"].tolist() == [100, 108, 107]
    assert bars["close"].tolist() == [105.5, 108, 107]
    assert curve["equity"].tolist() == [999, 1014, 1014]
    assert curve["drawdown"].tolist() == [0.001, 0.004, 0.003]
    assert ((curve["time"] - START_MS) / MINUTE_MS).tolist() == [3, 6, 7]
    assert report.run.timeframe == "3m"
    assert report.run.initial_cash == 1000
    assert "1m bars, joined to 3m; profit of a trade is the change of capital over it" in report.run.note


def test_a_year_of_minutes_is_joined_to_hours(tmp_path: Path) -> None:
    """The plotting timeframe that document B names: 1m to 1h."""
    count = 525_600
    flat, no = np.zeros(count), np.zeros(count, dtype=bool)
    path = journal(
        tmp_path, timestamp=START_MS + MINUTE_MS * np.arange(count), price=flat + 5.0, entry_signal=no,
        exit_signal=no, in_position=no, position_size=flat, capital=flat + 9.0, drawdown=flat, sma_2_1m=flat,
    )  # fmt: skip
    report = journal_report(path)
    assert (report.run.timeframe, report.symbols[0].bars.time.count) == ("1h", 8_760)
    assert report.trade_spans.trade.count == 0


def test_plots_of_a_journal_alone(tmp_path: Path) -> None:
    files = write_journal_plots(tmp_path, journal_report(journal(tmp_path)), ["png", "pdf"])
    assert [file.name for file in files] == [
        "equity.png", "trades.png", "distribution.png", "heatmap.png", "report.pdf"
    ]  # fmt: skip
    assert all(file.stat().st_size > 5_000 for file in files)


def test_what_is_no_journal_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="File not found"):
        journal_report(tmp_path / "data" / "journals" / "none.parquet")
    other = tmp_path / "a" / "b" / "c.parquet"
    other.parent.mkdir(parents=True)
    pl.DataFrame({"timestamp": [1], "price": [2.0]}).write_parquet(other)
    with pytest.raises(DataError, match="not a bar journal: timestamp, symbol, in_position"):
        journal_report(other)
    other.write_bytes(b"no parquet at all")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        journal_report(other)


@pytest.mark.parametrize("timeframe", ["30s", "90s"])
def test_a_timeframe_that_its_bars_do_not_make_up_is_refused(tmp_path: Path, timeframe: str) -> None:
    with pytest.raises(UsageError, match="cannot be made of a journal of 1m bars"):
        journal_report(journal(tmp_path), timeframe)


def test_times_that_do_not_rise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not rise"):
        journal_report(journal(tmp_path, timestamp=np.full(len(ROWS), START_MS)))
