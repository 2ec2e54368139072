"""Downloads as commands and runs want them: one gate for each, and for a run only what its bars lack."""

from __future__ import annotations

import time
from pathlib import Path

import anyio

from adapters.bar_files import path_of, read_bars
from adapters.bar_quality import time_text
from adapters.downloads.download import download
from adapters.downloads.model import DownloadOrder, DownloadReport
from adapters.rest_gate import RestGate
from config.model import RunConfig
from daemon.stages import Stages
from engine.bars import IntColumn, timeframe_ns
from engine.errors import ConfigError


def run_download(home: Path, order: DownloadOrder, stages: Stages) -> DownloadReport:
    """Download, and say how far it is; raises as `download` does. An interrupt leaves what has come."""

    async def work() -> DownloadReport:
        async with RestGate() as gate:
            return await download(gate, home, order, stages.progress)

    return anyio.run(work)


def fetch_missing(home: Path, config: RunConfig, stages: Stages, now_ns: int | None = None) -> list[DownloadReport]:
    """Where the config says so, download the bars of a run that are not stored; what was done.

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
    start_ns = max(0, config.start_ns - config.data.lookback_bars * step_ns)
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
    return reports


def _stored_times(home: Path, symbol: str, timeframe: str) -> IntColumn | None:
    path = path_of(home, symbol, timeframe)
    return read_bars(path, symbol, timeframe).ts_ns if path.exists() else None


def _reaches(ts_ns: IntColumn | None, step_ns: int, start_ns: int, end_ns: int) -> bool:
    """Whether stored bars reach over all of a range; gaps inside are the venue's, and `data download` asks again."""
    if ts_ns is None or not len(ts_ns):
        return False
    return int(ts_ns[0]) < start_ns + step_ns and int(ts_ns[-1]) + step_ns > end_ns - step_ns
