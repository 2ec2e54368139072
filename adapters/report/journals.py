"""From a bar journal to a report: joined to a plotting timeframe, with the trades that it tells of.

A journal holds what stood at each bar's close. Where the run's results lie in the same home folder under the journal's
name, trades and figures are taken from there; alone it says when a position was open and how the capital changed.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from adapters.bar_files import read_parquet
from adapters.bar_journal import COLUMNS
from adapters.report.build import CODES
from adapters.report.columns import Column, pack, pack_against, pack_floats
from adapters.report.schema import (
    EXIT_REASONS,
    SCHEMA_VERSION,
    SIDES,
    BarTable,
    EquityTable,
    LevelTable,
    MarkerTable,
    Report,
    RunPart,
    SpanTable,
    SymbolPart,
)
from engine.bars import NS_PER_MS, FloatColumn, IntColumn, timeframe_ns
from engine.errors import DataError, InputMissingError, UsageError

PLOTTED_BARS_MOST = 10_000
_TIMEFRAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "12h", "1d", "3d", "7d")
_UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
_PLACES_MOST = 8
_MONEY_PLACES = 4
_WANTED = ("timestamp", "symbol", "price", "in_position", "position_size", "capital", "drawdown")

Rows = dict[str, NDArray[Any]]


def journal_report(path: Path, timeframe: str | None = None) -> Report:
    """The report of a journal, its bars joined to `timeframe`; without one the finest of at most 10,000 bars.

    Raises InputMissingError where the file is not there, DataError where it is not a journal, UsageError where its bars
    do not make up the timeframe.
    """
    symbol, rows = _read(path)
    base_ms = _bar_ms(rows["time"])
    step_ms = _chosen_ms(rows["time"], base_ms, timeframe)
    starts = _joined(rows["time"], step_ms)
    results = results_of(path)
    document = _figures(None if results is None else results / "metrics.json")
    run, stats = document["run"], document["figures"]
    trades = None if results is None else _stored_trades(results / "trades.csv", symbol)
    profit = "profit is of trades.csv" if trades is not None else "profit of a trade is the change of capital over it"
    initial = float(str(stats.get("equity", {}).get("initial") or rows["capital"][0]))
    if trades is None:
        trades = _told_trades(rows, base_ms, initial)
    joined = f", joined to {_timeframe(step_ms)}" if step_ms > base_ms else ""
    return Report(
        schema_version=SCHEMA_VERSION,
        run=RunPart(
            id=path.stem, hash=str(run.get("hash", "")), version=metadata.version("tapewright"),
            timeframe=_timeframe(step_ms), timeframe_ms=step_ms, fill_model=str(run.get("fill_model", "")),
            strategies=tuple(each["id"] for each in run.get("strategies", ())) or ("journal",), initial_cash=initial,
            cash_decimals=8, start_ms=int(rows["time"][0]), end_ms=int(rows["time"][-1]) + base_ms, ambiguous_bars=0,
            note=f"made of the bar journal {path.name}, {_timeframe(base_ms)} bars{joined}; {profit}",
        ),
        symbols=(_symbol(symbol, rows, starts, step_ms),),
        codes=CODES,
        markers=MarkerTable(**dict.fromkeys(MarkerTable.__struct_fields__, _empty())),
        levels=LevelTable(**dict.fromkeys(LevelTable.__struct_fields__, _empty())),
        levels_left_out=0,
        trade_spans=_spans(trades),
        equity=_equity(rows, starts, base_ms),
        stats=stats,
        definitions=document["definitions"],
        diagnostics=document.get("diagnostics", {}),
    )  # fmt: skip


def results_of(path: Path) -> Path | None:
    """The results folder of the run that wrote a journal, which may be gone; None where it lies in no home folder."""
    folder = path.resolve().parent
    is_home = (folder.name, folder.parent.name) == ("journals", "data")
    return folder.parent.parent / "results" / path.stem if is_home else None


def _read(path: Path) -> tuple[str, Rows]:
    if not path.is_file():
        raise InputMissingError(
            f"File not found: {path}", remedy="Journals lie in data/journals of the home folder, one for each run."
        )
    try:
        frame = read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read as Parquet ({cause})", remedy="Run the backtest again: it writes another."
        ) from None
    wrong = [name for name in _WANTED if frame.schema.get(name) != COLUMNS[name]]
    if wrong:
        raise DataError(
            f"{path} is not a bar journal: {', '.join(wrong)} missing, or of another type",
            remedy="Name a file of data/journals, as a backtest writes it.",
        )
    if not len(frame):
        raise DataError(f"{path} holds no rows", remedy="Run the backtest again, on a span that has bars.")
    rows: Rows = {name: frame[name].to_numpy() for name in _WANTED[2:]}
    rows["time"] = frame["timestamp"].cast(pl.Int64).to_numpy()
    if (np.diff(rows["time"]) <= 0).any():
        raise DataError(f"{path}: its timestamps do not rise", remedy="Run the backtest again: it writes another.")
    return str(frame["symbol"][0]), rows


def _bar_ms(times: IntColumn) -> int:
    """The length of a bar: the commonest distance of two of them."""
    if len(times) < 2:
        return _UNITS[3][1]
    lengths, counts = np.unique(np.diff(times), return_counts=True)
    return int(lengths[counts.argmax()])


def _chosen_ms(times: IntColumn, base_ms: int, timeframe: str | None) -> int:
    if timeframe is None:
        spans = [base_ms, *(timeframe_ns(each) // NS_PER_MS for each in _TIMEFRAMES)]
        fitting = [ms for ms in spans if ms >= base_ms and ms % base_ms == 0]
        span_ms = int(times[-1] - times[0]) + base_ms
        return next((ms for ms in fitting if span_ms <= PLOTTED_BARS_MOST * ms), fitting[-1])
    wanted = timeframe_ns(timeframe) // NS_PER_MS
    if wanted < base_ms or wanted % base_ms:
        raise UsageError(
            f"Bars of {timeframe} cannot be made of a journal of {_timeframe(base_ms)} bars",
            remedy=f"Name a timeframe that is a multiple of {_timeframe(base_ms)}.",
        )
    return wanted


def _timeframe(ms: int) -> str:
    return next((f"{ms // unit}{name}" for name, unit in _UNITS if ms % unit == 0), f"{ms} ms")


def _joined(times: IntColumn, step_ms: int) -> IntColumn:
    """The first row of each joined bar."""
    return np.flatnonzero(np.diff(times // step_ms, prepend=-1)).astype(np.int64)


def _symbol(symbol: str, rows: Rows, starts: IntColumn, step_ms: int) -> SymbolPart:
    prices: FloatColumn = rows["price"]
    places = next(
        (k for k in range(_PLACES_MOST) if np.array_equal(np.rint(prices * 10.0**k) / 10.0**k, prices)), _PLACES_MOST
    )
    whole = np.rint(prices * 10.0**places).astype(np.int64)
    closes = whole[np.append(starts[1:], len(whole)) - 1]
    opens, highs, lows = whole[starts], np.maximum.reduceat(whole, starts), np.minimum.reduceat(whole, starts)
    table = BarTable(
        time=pack(rows["time"][starts] // step_ms * step_ms, order=1),
        open=pack_against(opens, {"close": closes}, decimals=places, lag=1),
        high=pack_against(highs, {"open": opens, "close": closes}, decimals=places, rule="max"),
        low=pack_against(lows, {"open": opens, "close": closes}, decimals=places, rule="min"),
        close=pack(closes, decimals=places, order=1),
    )
    return SymbolPart(symbol, places, 10.0**-places, table)


def _equity(rows: Rows, starts: IntColumn, base_ms: int) -> EquityTable:
    """The capital at the end of each joined bar, and the deepest drawdown inside it."""
    last = np.append(starts[1:], len(rows["time"])) - 1
    return EquityTable(
        time=pack(rows["time"][last] + base_ms, order=1),
        equity=pack_floats(rows["capital"][last], _MONEY_PLACES),
        drawdown=pack_floats(np.maximum.reduceat(rows["drawdown"], starts), 5),
        exposure=pack_floats(np.full(len(starts), np.nan), 0),
    )


def _told_trades(rows: Rows, base_ms: int, initial: float) -> dict[str, list[Any]]:
    """The trades that a journal tells of: from the first row in a position to the first without it, or turned."""
    size = np.where(rows["in_position"], rows["position_size"], 0.0)
    side = np.sign(size)
    turns = np.flatnonzero(np.diff(side, prepend=0.0))
    capital = np.concatenate(([initial], rows["capital"]))  # what stood before a row, by the row's place
    found: dict[str, list[Any]] = {name: [] for name in SpanTable.__struct_fields__}
    for number, begin in enumerate(turns.tolist()):
        if not side[begin]:
            continue
        is_open = number + 1 == len(turns)
        end = len(side) - 1 if is_open else int(turns[number + 1])
        entry, leaving = float(rows["price"][begin]), float(rows["price"][end])
        # What the capital lost or won at a turn belongs to the trade that ended there.
        is_turned = begin > 0 and bool(side[begin - 1])
        pnl = float(capital[end + 1] - capital[begin + 1 if is_turned else begin])
        most = float(np.abs(size[begin : end + 1]).max())
        row = {
            "trade": len(found["trade"]) + 1, "symbol": 0, "strategy": 0, "side": 0 if side[begin] > 0 else 1,
            "entry_time": int(rows["time"][begin]) + base_ms, "exit_time": int(rows["time"][end]) + base_ms,
            "entry_price": entry, "exit_price": leaving, "size": most, "pnl": pnl,
            "bars_held": end - begin, "exit_reason": EXIT_REASONS.index("end" if is_open else "order"),
        }  # fmt: skip
        for name, values in found.items():
            values.append(row.get(name, np.nan))
    return found


def _stored_trades(path: Path, symbol: str) -> dict[str, list[Any]] | None:
    """The trades of the run's own file, where there is one."""
    if not path.is_file():
        return None
    frame = pl.read_csv(path, infer_schema_length=None).filter(pl.col("symbol") == symbol)
    found: dict[str, list[Any]] = {name: [] for name in SpanTable.__struct_fields__}
    for row in frame.iter_rows(named=True):
        row |= {
            "trade": row["trade_id"], "symbol": 0, "strategy": 0, "side": SIDES.index(row["side"]),
            "exit_reason": EXIT_REASONS.index(row["exit_reason"]),
        }  # fmt: skip
        for name in ("entry_time", "exit_time"):
            row[name] = int(np.datetime64(row[name].removesuffix("Z"), "ms").astype(np.int64))
        for name, values in found.items():
            values.append(np.nan if row[name] is None else row[name])
    return found


def _spans(trades: dict[str, list[Any]]) -> SpanTable:
    whole = {"trade", "symbol", "strategy", "side", "entry_time", "exit_time", "bars_held", "exit_reason"}
    packed: dict[str, Column] = {}
    for name, values in trades.items():
        if name in whole:
            packed[name] = pack(np.array(values, dtype=np.int64), order=1 if name.endswith("time") else 0)
        else:
            packed[name] = pack_floats(np.array(values, dtype=np.float64), _PLACES_MOST if name == "size" else 4)
    return SpanTable(**packed)


def _figures(path: Path | None) -> dict[str, Any]:
    """What the run's own metrics.json says, where there is one."""
    if path is None or not path.is_file():
        return {"run": {}, "figures": {}, "definitions": {}}
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        document["run"], document["figures"], document["definitions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read: {type(error).__name__} {error}",
            remedy="Run the backtest again, or move it away: then the journal is plotted alone.",
        ) from None
    return document


def _empty() -> Column:
    return pack(np.zeros(0, dtype=np.int64))
