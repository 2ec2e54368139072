"""Downloads as commands and runs want them: one gate for each, and for a run only what its bars lack."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import msgspec

from adapters.bar_files import path_of, read_bars, shown
from adapters.bar_quality import time_text
from adapters.downloads.download import download
from adapters.downloads.instruments import fetch_instrument
from adapters.downloads.model import MARK_TIMEFRAME, DownloadKind, DownloadOrder, DownloadReport
from adapters.instrument_files import StoredInstrument, instrument_path, write_instrument
from adapters.rest_gate import RestGate, RestUnavailableError
from config.model import RunConfig
from daemon.markets import lookback_start_ns
from daemon.stages import Quiet, Stages
from engine.bars import IntColumn, timeframe_ns
from engine.errors import ConfigError, InputMissingError, TapewrightError, UsageError


def run_download(home: Path, order: DownloadOrder, stages: Stages) -> DownloadReport:
    """Download, and say how far it is; raises as `download` does. An interrupt leaves what has come.

    With the first bars of a symbol its tick and lot are asked for too; where they are not to be had, a note says so.
    """

    async def work() -> DownloadReport:
        async with RestGate() as gate:
            report = await download(gate, home, order, stages.progress)
            if order.kind != "bars" or not report.rows_fetched or instrument_path(home, order.symbol).exists():
                return report
            try:
                found = await fetch_instrument(gate, order.exchange, order.symbol, order.rest, time.time_ns())
                note = f"{described(found)}: {shown(write_instrument(home, found))}"
            except TapewrightError as error:
                note = f"tick and lot are not known, and are taken from the bars' decimals: {error.message}"
            return msgspec.structs.replace(report, notes=(*report.notes, note))

    return anyio.run(work)


def download_instrument(home: Path, symbol: str, exchange: str, rest: str) -> tuple[StoredInstrument, Path]:
    """Ask a venue for tick and lot, and store them in place of those that are there.

    Raises RestUnavailableError, DataError, UsageError.
    """

    async def work() -> StoredInstrument:
        async with RestGate() as gate:
            return await fetch_instrument(gate, exchange, symbol, rest, time.time_ns())

    found = anyio.run(work)
    return found, write_instrument(home, found)


def described(instrument: StoredInstrument) -> str:
    """What a venue says of an instrument, in one line."""
    least = f", orders of at least {instrument.minimum_notional:f}" if instrument.minimum_notional else ""
    return f"{instrument.kind}, tick {instrument.tick_size:f}, lot {instrument.lot_size:f}{least}"


def fetch_missing(home: Path, config: RunConfig, stages: Stages, now_ns: int | None = None) -> list[DownloadReport]:
    """Where the config says so, download what a run lacks: bars, and with funding its rates and mark prices.

    Funding that is not to be had is said, and the run goes on with the static rate.

    Raises ConfigError where the config has no start, InputMissingError, RestUnavailableError, DataError.
    """
    if config.data.download != "missing":
        return []
    if config.start_ns is None:
        raise ConfigError(
            f"{config.source}: data.download is `missing`, and no start is given",
            remedy="Say from when on bars are wanted: `start: 2022-01-01`; `end` may be left out.",
        )
    step_ns = timeframe_ns(config.timeframe)
    start_ns = max(0, lookback_start_ns(config) or 0)
    end_ns = config.end_ns if config.end_ns is not None else now_ns or time.time_ns()
    reports = []
    for symbol in config.symbols:
        if _reaches(_stored_times(home, symbol, config.timeframe), step_ns, start_ns, end_ns):
            continue
        order = DownloadOrder(
            symbol, config.timeframe, start_ns, end_ns, exchange=config.data.exchange, rest=config.data.rest
        )
        stages.stage(f"Downloading bars of {symbol} that are not stored, from {config.data.exchange}")
        report = run_download(home, order, stages)
        stages.stage(
            f"{symbol}: {report.rows_fetched:,} bars downloaded from {time_text(start_ns)} on,"
            f" {report.rows_missing:,} missing at the venue: {report.stored}"
        )
        reports.append(report)
    if config.funding.enabled and config.data.exchange == "BINANCE_FUTURES":
        for symbol in config.symbols:
            reports += _fetch_funding(home, config, symbol, (config.start_ns, end_ns), stages)
    return reports


def _fetch_funding(
    home: Path, config: RunConfig, symbol: str, span: tuple[int, int], stages: Stages
) -> list[DownloadReport]:  # fmt: skip
    """The settled rates and their mark prices that are not stored; files that the config names are its own matter."""
    own = config.instruments.get(symbol)
    wanted: list[tuple[DownloadKind, str]] = []
    if not config.funding.file:
        wanted.append(("funding", ""))
    if not config.funding.mark_file:
        wanted.append(("mark", MARK_TIMEFRAME))
    if own is not None and own.kind == "spot":
        return []
    reports = []
    for kind, timeframe in wanted:
        order = DownloadOrder(
            symbol, timeframe, *span, exchange=config.data.exchange, kind=kind, rest=config.data.rest
        )  # fmt: skip
        what = "funding rates" if kind == "funding" else "mark prices"
        try:
            report = run_download(home, order, Quiet())
        except (InputMissingError, RestUnavailableError, UsageError) as error:
            stages.stage(f"{symbol}: {what} are not to be had: {error.message}")
            continue
        if report.rows_fetched:
            stages.stage(f"{symbol}: {report.rows_fetched:,} {what} downloaded: {report.stored}")
            reports.append(report)
    return reports


def _stored_times(home: Path, symbol: str, timeframe: str) -> IntColumn | None:
    path = path_of(home, symbol, timeframe)
    return read_bars(path, symbol, timeframe).ts_ns if path.exists() else None


def _reaches(ts_ns: IntColumn | None, step_ns: int, start_ns: int, end_ns: int) -> bool:
    """Whether stored bars reach over all of a range; gaps inside are the venue's, and `data download` asks again."""
    if ts_ns is None or not len(ts_ns):
        return False
    return int(ts_ns[0]) < start_ns + step_ns and int(ts_ns[-1]) + step_ns > end_ns - step_ns
