"""What a config says once it is read and right."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from config.daemon_model import DaemonConfig
from engine.settings import Funding, InstrumentKind, MarginTier, RunSettings, Sizing

Mode = Literal["backtest", "paper"]
ReportKind = Literal["png", "html", "pdf"]
Download = Literal["never", "missing"]
DownloadExchange = Literal["BINANCE_FUTURES", "BINANCE"]


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backtest has of bars: how many before its start, whether what is not stored is downloaded, from where.

    `lookback_bars` are seen by strategies and not traded. `rest` replaces the venue's own address. `bank` is a folder,
    relative to the home, or an `s3://` address, from which bars are read in place of the home's own.
    """

    download: Download = "never"
    exchange: DownloadExchange = "BINANCE_FUTURES"
    rest: str = ""
    lookback_bars: int = 0
    bank: str = ""


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a backtest writes a bar journal for each of its symbols."""

    enabled: bool = True


class ReportConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which files `tapewright backtest` makes to look at: png (`equity.png`, `drawdown.png`), html, pdf."""

    files: tuple[ReportKind, ...] = ("png", "html")


class DiagnosticsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is worked out of a finished run beside its figures.

    `band`: the worst and best equity where bars are ambiguous, for which the run is made again under every same-bar
    priority. `annualise`: annual figures for runs under 30 days too. `regime_bars`: how many bars a regime looks back;
    0: those of a day, at least 20 and at most 1,440.
    """

    band: bool = False
    annualise: bool = False
    regime_bars: int = 0


class StrategyPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file `strategies/entry/{name}.py` or `strategies/exit/{name}.py`, and its parameters.

    `timeframe`: the bars it looks at; None: the run's.
    """

    name: str
    params: dict[str, object] = {}
    timeframe: str | None = None


class StrategyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One strategy of a run: a file by `name`, or an `entry` with an `exit`.

    `params` are as written, unchecked: the strategy's own schema decides. No `symbols` means all of the
    run's, no `timeframe` the run's.
    """

    id: str
    name: str = ""
    params: dict[str, object] = {}
    entry: StrategyPart | None = None
    exit: StrategyPart | None = None
    symbols: tuple[str, ...] = ()
    timeframe: str = ""


class InstrumentOverride(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the config says about a symbol. None (and no tiers) leaves it to the venue or the data."""

    kind: InstrumentKind | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal | None = None
    minimum_notional: Decimal | None = None
    maintenance_rate: Decimal | None = None
    tiers: tuple[MarginTier, ...] = ()


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run. It has the bars that open at or after `start_ns` and before `end_ns` (UTC); None: no bound.

    `symbols` is empty where the file names none, as for a run on all of a tape; `strategies` as where the command line
    gives the strategy. Paths in `funding`, `book` and `daemon` are as written: relative to the home folder. `source` is
    the file this was first read from. With mode paper `daemon` is as the file says, else only its `store`.
    """

    symbols: tuple[str, ...]
    timeframe: str
    start_ns: int | None = None
    end_ns: int | None = None
    strategies: tuple[StrategyEntry, ...] = ()
    indicators: tuple[str, ...] = ()
    funding: Funding = Funding()
    sizing: Sizing = Sizing()
    settings: RunSettings = RunSettings()
    instruments: dict[str, InstrumentOverride] = {}
    data: DataConfig = DataConfig()
    journal: JournalConfig = JournalConfig()
    report: ReportConfig = ReportConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()
    mode: Mode = "backtest"
    source: str = ""
    daemon: DaemonConfig = DaemonConfig()
