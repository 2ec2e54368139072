"""Result files of a run: `trades.csv`, `equity.parquet`, `metrics.json`, and any columns as Parquet.

Every file is written beside its place and renamed into it, so a reader never sees half of one. They can be
made again from the run, so they are not flushed to the disk.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.bars import NS_PER_MS, NS_PER_SECOND, IntColumn
from engine.errors import UsageError
from engine.figures import money
from engine.figures.band import EquityBand
from engine.figures.definitions import definitions
from engine.figures.diagnostics import diagnostics_json
from engine.figures.equity import EquityCurve, drawdown_series
from engine.figures.metrics import Metrics, as_json
from engine.figures.trades import Trade

SCHEMA_VERSION = 1
# Level 1 writes twice as fast as the default and costs a few percent of size.
_ZSTD_LEVEL = 1
_NAME_BYTES_MAX = 100
_FOLDERS_A_SECOND_MAX = 1_000
_NOT_IN_NAMES = re.compile(r"[^\w.\-]+")


class RunPlaces(msgspec.Struct, frozen=True):
    """Where a run writes: its own folder, and a folder and a journal for each of its symbols.

    With one symbol the run's folder is that symbol's. The folders are there, empty; of a journal nothing is there yet.
    """

    folder: Path
    folders: dict[str, Path]
    journals: dict[str, Path]


def results_folder(home: Path, symbol: str, strategy: str, stamp: datetime) -> Path:
    """Make `home/results/{SYMBOL}_{STRAT}_{TIMESTAMP}` and return it; `_2`, `_3` ... where it is taken.

    `stamp` carries its time zone and is written in UTC, as 20250116_143025. What a file name cannot hold
    becomes an underscore. Raises UsageError where the folder cannot be made.
    """
    return _claimed(home, [_name_part(symbol)], strategy, stamp)[0]


def run_places(home: Path, symbols: Sequence[str], strategy: str, stamp: datetime) -> RunPlaces:
    """Make the folders of a run, named as `results_folder` names them, and name the journals after them.

    A run of several symbols has a folder for the account too, whose name joins theirs with `+`, which no symbol may
    hold. All of them carry the same suffix, so that they are seen to belong together.
    """
    parts = [_name_part(symbol) for symbol in symbols]
    journals = home / "data" / "journals"
    if len(parts) > 1:
        parts.insert(0, "+".join(parts).encode()[:_NAME_BYTES_MAX].decode())
    made = _claimed(home, parts, strategy, stamp, lambda name: (journals / f"{name}.parquet").exists())
    own = dict(zip(symbols, made[-len(symbols) :], strict=True))
    return RunPlaces(
        made[0], own, {symbol: journals / f"{folder.name}.parquet" for symbol, folder in own.items()}
    )  # fmt: skip


def _claimed(
    home: Path, parts: Sequence[str], strategy: str, stamp: datetime, is_taken: Callable[[str], bool] | None = None
) -> list[Path]:  # fmt: skip
    """Make a folder for each part, all with the first suffix with which none is there."""
    assert stamp.tzinfo is not None, "a stamp names its time zone"
    tail = f"{_name_part(strategy)}_{stamp.astimezone(UTC).strftime('%Y%m%d_%H%M%S')}"
    parent = home / "results"
    for count in range(1, _FOLDERS_A_SECOND_MAX + 1):
        names = [f"{part}_{tail}" if count == 1 else f"{part}_{tail}_{count}" for part in parts]
        if is_taken is not None and any(is_taken(name) for name in names):
            continue
        folders = [parent / name for name in names]
        if _made_all(folders):
            return folders
    raise _cannot_write(parent / f"{parts[0]}_{tail}", f"{_FOLDERS_A_SECOND_MAX} folders of that name exist")


def _made_all(folders: Sequence[Path]) -> bool:
    """Make folders, all or none; whether none was there."""
    for count, folder in enumerate(folders):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.exists():  # a file stands where a parent should be
                raise _cannot_write(folder, "a file is in the way") from None
            for made in folders[:count]:
                made.rmdir()
            return False
        except OSError as error:
            raise _cannot_write(folder, error.strerror or str(error)) from error
    return True


def write_results(
    folder: Path,
    *,
    trades: Sequence[Trade],
    equity: EquityCurve,
    metrics: Metrics,
    run: Mapping[str, Any],
) -> list[Path]:
    """Write `trades.csv`, `equity.parquet` and `metrics.json` into an existing folder; return their paths.

    `run` holds the facts of the run as JSON can say them. Raises UsageError if the folder cannot be written.
    """
    return [
        write_trades(folder / "trades.csv", trades),
        write_equity(
            folder / "equity.parquet",
            equity,
            metrics.equity.initial,
            metrics.diagnostics.band if metrics.diagnostics else None,
        ),
        write_metrics(folder / "metrics.json", metrics, run),
    ]


def write_trades(path: Path, trades: Sequence[Trade]) -> Path:
    """Write closed trades as CSV: times ISO 8601 UTC in ms, money in plain digits, unknown empty."""
    import polars  # noqa: PLC0415 - as in write_columns; it writes ten times faster than the csv module

    frame = polars.DataFrame(_trade_columns(trades), nan_to_null=True)
    return put_file(path, frame.write_csv)


def write_equity(
    path: Path, equity: EquityCurve, initial_cash: Decimal, band: EquityBand | None = None
) -> Path:  # fmt: skip
    """Write the curve as Parquet, one row a bar.

    ts: int64, UTC ms of the bar's close; equity, exposure, margin: float64 money; drawdown: float64 fraction
    of the peak so far; equity_units: int64, exact, in units of 10^-`cash_decimals` (see metrics.json). With a band
    also equity_worst and equity_best: float64 money.
    """
    unit = 10.0**equity.cash_decimals
    columns = {
        "ts": equity.ts_ns // NS_PER_MS,
        "equity": equity.equity / unit,
        "exposure": equity.exposure / unit,
        "margin": equity.margin / unit,
        "drawdown": drawdown_series(equity, money.to_units(initial_cash, equity.cash_decimals)),
        "equity_units": equity.equity,
    }
    if band is not None:
        columns |= {"equity_worst": band.worst / unit, "equity_best": band.best / unit}
    return write_columns(path, columns)


def write_metrics(path: Path, metrics: Metrics, run: Mapping[str, Any]) -> Path:
    """Write figures, what each of them means, and the facts of the run as JSON; not-a-number becomes null."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "cash_decimals": metrics.cash_decimals,
        "figures": as_json(metrics),
        "definitions": definitions(),
    }
    if metrics.diagnostics is not None:
        document["diagnostics"] = diagnostics_json(metrics.diagnostics, metrics.cash_decimals)
    data = msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2) + b"\n"
    return put_file(path, lambda place: place.write_bytes(data))


def write_columns(path: Path, columns: Mapping[str, np.ndarray[Any, Any] | Sequence[Any]]) -> Path:
    """Write columns of equal length as Parquet (zstd). Raises UsageError where the path cannot be written."""
    import polars  # noqa: PLC0415 - a slow import that a run without files need not pay

    assert len({len(column) for column in columns.values()}) <= 1, f"{path.name}: columns differ in length"
    frame = polars.DataFrame(dict(columns))
    return put_file(
        path,
        lambda place: frame.write_parquet(place, compression="zstd", compression_level=_ZSTD_LEVEL, statistics=False),
    )


def put_file(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a file beside `path`, then rename it into place; nothing is left behind on failure."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise _cannot_write(path, error.strerror or str(error)) from error
    return path


def _cannot_write(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} cannot be written: {why}",
        remedy=f"Make {path.parent} a folder you may write to, with space left, or choose another one.",
    )


def _name_part(text: str) -> str:
    safe = _NOT_IN_NAMES.sub("_", text).strip("._")
    return safe.encode()[:_NAME_BYTES_MAX].decode(errors="ignore") or "unnamed"


def _utc_texts(times_ns: Sequence[int]) -> list[str]:
    stamps: IntColumn = np.array(times_ns, dtype=np.int64) // NS_PER_MS
    texts: list[str] = np.datetime_as_string(stamps.astype("datetime64[ms]"), timezone="UTC").tolist()
    return texts


def _trade_columns(trades: Sequence[Trade]) -> dict[str, Any]:
    """Return the columns of trades.csv, in their order."""

    def floats(values: Iterable[float | None]) -> Any:
        # What is unknown is not-a-number here and null, an empty cell, in the file.
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    durations_ns = np.array([trade.exit_ts_ns - trade.entry_ts_ns for trade in trades], dtype=np.int64)
    return {
        "trade_id": [trade.trade_id for trade in trades],
        "strategy": [trade.strategy for trade in trades],
        "symbol": [trade.symbol for trade in trades],
        "side": [trade.side for trade in trades],
        "entry_time": _utc_texts([trade.entry_ts_ns for trade in trades]),
        "exit_time": _utc_texts([trade.exit_ts_ns for trade in trades]),
        "entry_price": floats(trade.entry_price for trade in trades),
        "exit_price": floats(trade.exit_price for trade in trades),
        "size": [_plain(trade.size) for trade in trades],
        "gross_pnl": [_plain(trade.gross_pnl) for trade in trades],
        "fees": [_plain(trade.fees) for trade in trades],
        "funding": [_plain(trade.funding) for trade in trades],
        "pnl": [_plain(trade.pnl) for trade in trades],
        "pnl_percent": floats(trade.pnl_percent for trade in trades),
        "mae": [_plain(trade.mae) for trade in trades],
        "mfe": [_plain(trade.mfe) for trade in trades],
        "mae_percent": floats(trade.mae_percent for trade in trades),
        "mfe_percent": floats(trade.mfe_percent for trade in trades),
        "bars_held": [trade.bars_held for trade in trades],
        "duration_seconds": durations_ns / NS_PER_SECOND,
        "exit_reason": [trade.exit_reason for trade in trades],
        "mae_r": floats(trade.mae_r for trade in trades),
        "mfe_r": floats(trade.mfe_r for trade in trades),
        "fills": [trade.fills for trade in trades],
    }


def _plain(amount: Decimal) -> str:
    """Digits without an exponent; the common case skips the slower formatting."""
    text = str(amount)
    return f"{amount:f}" if "E" in text else text
