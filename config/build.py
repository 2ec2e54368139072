"""From values that are all right to a RunConfig."""

from __future__ import annotations

from typing import Any

from config.daemon_model import (
    ControlConfig,
    DaemonConfig,
    FeedConfig,
    LogConfig,
    MetricsConfig,
    PaperConfig,
    ReloadConfig,
    StoreConfig,
)
from config.model import (
    DataConfig,
    DiagnosticsConfig,
    InstrumentOverride,
    JournalConfig,
    ReportConfig,
    RunConfig,
    StrategyEntry,
    StrategyPart,
)
from config.rules import strategy_id
from engine.settings import (
    BookExecution,
    Commission,
    Execution,
    Funding,
    MarginTier,
    Risk,
    RunSettings,
    Sizing,
    Slippage,
)

_SETTINGS = (
    "initial_cash",
    "cash_decimals",
    "leverage",
    "margin",
    "liquidation_fee_bps",
    "close_at_end",
    "seed",
)


def build(values: dict[str, Any], source: str) -> RunConfig:
    """Return the config that the values stand for; `source` where they do not say it themselves."""
    symbols = [values["symbol"]] if "symbol" in values else values.get("symbols", [])
    entries = [values["strategy"]] if "strategy" in values else values.get("strategies", [])
    mode = values.get("mode", "backtest")
    return RunConfig(
        symbols=tuple(symbols),
        timeframe=values["timeframe"],
        start_ns=values.get("start"),
        end_ns=values.get("end"),
        strategies=tuple(_strategy(entry) for entry in entries),
        indicators=tuple(values.get("indicators", ())),
        funding=Funding(**values.get("funding", {})),
        sizing=Sizing(**values.get("sizing", {})),
        settings=_settings(values),
        instruments={symbol: _override(given) for symbol, given in values.get("instruments", {}).items()},
        data=DataConfig(**values.get("data", {})),
        journal=JournalConfig(**values.get("journal", {})),
        report=_report(values.get("report", {})),
        diagnostics=DiagnosticsConfig(**values.get("diagnostics", {})),
        mode=mode,
        source=values.get("source", source),
        daemon=_daemon(values) if mode == "paper" else DaemonConfig(store=StoreConfig(**values.get("store", {}))),
    )


def _settings(values: dict[str, Any]) -> RunSettings:
    execution = dict(values.get("execution", {}))
    if "fill_model" in values:
        execution["fill_model"] = values["fill_model"]
    commission = dict(values.get("commission", {}))
    if "commission_bps" in values:
        commission["maker_bps"] = commission["taker_bps"] = values["commission_bps"]
    slippage = dict(values.get("slippage", {}))
    if "slippage_bps" in values:
        slippage["bps"] = values["slippage_bps"]
    return RunSettings(
        **{name: values[name] for name in _SETTINGS if name in values},
        execution=Execution(**execution),
        book=BookExecution(**values.get("book", {})),
        slippage=Slippage(**slippage),
        commission=Commission(**commission),
        risk=Risk(**values.get("risk", {})),
    )


def _daemon(values: dict[str, Any]) -> DaemonConfig:
    feed = dict(values.get("feed", {}))
    if "channels" in feed:
        feed["channels"] = tuple(feed["channels"])
    return DaemonConfig(
        feed=FeedConfig(**feed),
        paper=PaperConfig(**values.get("paper", {})),
        store=StoreConfig(**values.get("store", {})),
        control=ControlConfig(**values.get("control", {})),
        metrics=MetricsConfig(**values.get("metrics", {})),
        logs=LogConfig(**values.get("logs", {})),
        reload=ReloadConfig(**values.get("reload", {})),
    )


def _strategy(entry: dict[str, Any]) -> StrategyEntry:
    return StrategyEntry(
        id=strategy_id(entry),
        name=entry.get("name", ""),
        params=entry.get("params", {}),
        entry=StrategyPart(**entry["entry"]) if "entry" in entry else None,
        exit=StrategyPart(**entry["exit"]) if "exit" in entry else None,
        symbols=tuple(entry.get("symbols", ())),
        timeframe=entry.get("timeframe", ""),
    )


def _override(given: dict[str, Any]) -> InstrumentOverride:
    tiers = tuple(MarginTier(**tier) for tier in given.get("tiers", ()))
    return InstrumentOverride(**{**given, "tiers": tiers})


def _report(given: dict[str, Any]) -> ReportConfig:
    return ReportConfig(tuple(given["files"])) if "files" in given else ReportConfig()
