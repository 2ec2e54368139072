"""What a config says about a paper session beside its run: feed, warm-up, restart, store, control, metrics, logs."""

from __future__ import annotations

from typing import Literal

import msgspec

Exchange = Literal[
    "BINANCE",
    "BINANCE_FUTURES",
    "BYBIT",
    "OKX",
    "KRAKEN",
    "KRAKEN_FUTURES",
    "COINBASE",
    "DERIBIT",
    "BITMEX",
]
Channel = Literal["l2_book", "trades", "ticker", "funding", "liquidations", "open_interest"]
Warmup = Literal["rest", "files", "none"]
OnRestart = Literal["resume", "reset"]
OnFault = Literal["hold", "flatten"]
LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]


class FeedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the market data come from.

    `exchange` is cryptofeed's name of it. `rest` and `websocket` replace the venue's own addresses (a loopback
    exchange, a proxy). An instrument's channel that says nothing for its `stale_…_seconds` is stale; 0 never is.
    `key_id` and `key_secret` are references (`${env:NAME}`), never the values.
    """

    exchange: Exchange = "BINANCE_FUTURES"
    channels: tuple[Channel, ...] = ("l2_book", "trades", "ticker", "funding")
    rest: str = ""
    websocket: str = ""
    first_message_seconds: int = 10
    stale_book_seconds: int = 10
    stale_trades_seconds: int = 300
    stale_ticker_seconds: int = 30
    stale_funding_seconds: int = 60
    stale_open_interest_seconds: int = 300
    keep_raw: bool = False
    key_file: str = ""
    key_id: str = ""
    key_secret: str = ""


class PaperConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a paper session begins, goes on after a restart, and treats strategies that fail.

    `warmup_bars` bars of each timeframe come from the venue's REST or from stored bars before the first live one.
    A callback in Python that takes longer than `strategy_timeout_ms` is interrupted; 0: never.
    """

    warmup: Warmup = "rest"
    warmup_bars: int = 500
    on_restart: OnRestart = "resume"
    on_fault: OnFault = "hold"
    strategy_timeout_ms: int = 200
    snapshot_seconds: int = 60


class StoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The SQLite file, relative to the home folder, and of how many samples of the equity curve one is stored.

    A paper session is always stored, a backtest where it is `enabled`; a replay is told on the command line.
    """

    path: str = "strategy.sqlite"
    sample_every: int = 1
    enabled: bool = True


class ControlConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The control socket (0600) and the loopback HTTP interface; `http_port` 0: no HTTP.

    `token_file` holds the bearer token; empty: systemd's credential `control-token`, else one that is made and kept.
    `token` is a reference to it (`${env:NAME}`), never the value.
    """

    http_port: int = 0
    token_file: str = ""
    token: str = ""


class MetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Prometheus endpoint on 127.0.0.1; `port` 0: none."""

    port: int = 0


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Structured logs: `auto` is text on a terminal, else JSON. `file` rotates, for where there is no journal."""

    format: LogFormat = "auto"
    level: LogLevel = "info"
    file: str = ""
    file_megabytes_max: int = 20
    files_kept: int = 5


class ReloadConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether strategy files are watched, and how long they must be quiet before they are read again."""

    enabled: bool = True
    debounce_ms: int = 500


class DaemonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a paper session is told beside its run."""

    feed: FeedConfig = FeedConfig()
    paper: PaperConfig = PaperConfig()
    store: StoreConfig = StoreConfig()
    control: ControlConfig = ControlConfig()
    metrics: MetricsConfig = MetricsConfig()
    logs: LogConfig = LogConfig()
    reload: ReloadConfig = ReloadConfig()
