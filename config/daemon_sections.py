"""The sections of a config that a paper session reads beside its run: each field's range and meaning.

Names, choices and defaults come from `daemon_model`'s structs. A backtest and a replay accept these sections and use
none of them but `store`.
"""

from __future__ import annotations

from typing import get_args

from config.daemon_model import (
    Channel,
    ControlConfig,
    FeedConfig,
    LogConfig,
    MetricsConfig,
    PaperConfig,
    ReloadConfig,
    StoreConfig,
)
from config.kinds import Choice, Field, Flag, Integer, ListOf, Secret, Text, section_of
from config.sections import FILE, HOST, HTTP_ADDRESS, words

WEBSOCKET_ADDRESS = Text(rf"(?:wss?://{HOST})?", "a ws:// or wss:// address such as ws://127.0.0.1:8080, or nothing")
STORE_FILE = Text(r"[^\x00-\x1f]{1,4096}", "a path relative to the home folder")
VARIABLE = Secret(
    r"(?:\$\{env:[A-Za-z_][A-Za-z0-9_]{0,127}\})?",
    "${env:NAME}, which stands for the environment's variable NAME, or nothing; a file holds no secret itself",
)
PORT = Integer(0, 65_535)
STALE_SECONDS = Integer(0, 86_400)

FEED = section_of(
    FeedConfig,
    "feed",
    "Where a paper session's market data come from. A channel of a symbol that is silent for longer than its "
    "`stale_…_seconds` is stale; 0: it never is.",
    Field("exchange", words(FeedConfig, "exchange"), "The exchange, as cryptofeed calls it.", "BYBIT"),
    Field(
        "channels",
        ListOf(Choice(get_args(Channel)), count_min=1, unique=True),
        "What is subscribed, where the venue has it. At least one of `l2_book`, `trades` and `ticker`.",
        "[l2_book, trades]",
    ),
    Field(
        "rest",
        HTTP_ADDRESS,
        "Address of the REST interface, in place of the venue's own (the loopback exchange, a proxy).",
        "http://127.0.0.1:8080",
    ),
    Field("websocket", WEBSOCKET_ADDRESS, "The same for the websocket.", "ws://127.0.0.1:8080"),
    Field(
        "first_message_seconds",
        Integer(1, 3_600),
        "How long a new connection may say nothing before it is given up and made again.",
        "10",
    ),
    Field("stale_book_seconds", STALE_SECONDS, "For `l2_book`.", "10"),
    Field("stale_trades_seconds", STALE_SECONDS, "For `trades`.", "300"),
    Field("stale_ticker_seconds", STALE_SECONDS, "For `ticker`.", "30"),
    Field("stale_funding_seconds", STALE_SECONDS, "For `funding`.", "60"),
    Field("stale_open_interest_seconds", STALE_SECONDS, "For `open_interest`.", "300"),
    Field("keep_raw", Flag(), "Whether the websocket's frames are kept as they came, beside the tape.", "true"),
    Field("key_file", FILE, "File with keys, for venues that want them even for public data.", "keys.yaml"),
    Field("key_id", VARIABLE, "In place of `key_file`, with `key_secret`: where the key's id is.", "${env:KEY_ID}"),
    Field("key_secret", VARIABLE, "The same for the key itself.", "${env:KEY_SECRET}"),
)

PAPER = section_of(
    PaperConfig,
    "paper",
    "How a paper session begins, goes on after a restart, and treats strategies that fail.",
    Field(
        "warmup",
        words(PaperConfig, "warmup"),
        "Where the bars before the first live one come from: the venue's REST, the files under the home folder, or "
        "nowhere.",
        "files",
    ),
    Field("warmup_bars", Integer(0, 100_000), "How many of each timeframe.", "500"),
    Field(
        "on_restart",
        words(PaperConfig, "on_restart"),
        "Go on with positions, orders and strategies as they were, or begin anew.",
        "reset",
    ),
    Field(
        "on_fault",
        words(PaperConfig, "on_fault"),
        "Whether the positions of a strategy that failed are kept or closed.",
        "flatten",
    ),
    Field(
        "strategy_timeout_ms",
        Integer(0, 60_000),
        "A callback in Python that takes longer is interrupted, and its strategy has failed. 0: never.",
        "200",
    ),
    Field("snapshot_seconds", Integer(1, 86_400), "Seconds between snapshots, from which a restart goes on.", "60"),
)

STORE = section_of(
    StoreConfig,
    "store",
    "The SQLite file into which every backtest and every paper session goes: `tapewright runs`.",
    Field("path", STORE_FILE, "Where it is, relative to the home folder.", "paper.sqlite"),
    Field("sample_every", Integer(1, 1_000_000), "Of so many samples of the equity curve one is stored.", "10"),
    Field("enabled", Flag(), "Whether a backtest is stored. A paper session always is.", "false"),
)

CONTROL = section_of(
    ControlConfig,
    "control",
    "How a paper session is spoken to, beside its control socket.",
    Field("http_port", PORT, "Port of the HTTP interface on 127.0.0.1. 0: none.", "8090"),
    Field(
        "token_file",
        FILE,
        "File with its bearer token. Empty: systemd's credential `control-token`, else one that is made and kept.",
        "control.token",
    ),
    Field("token", VARIABLE, "In place of `token_file`: where the token is.", "${env:TAPEWRIGHT_TOKEN}"),
)

METRICS = section_of(
    MetricsConfig,
    "metrics",
    "What Prometheus reads of a paper session.",
    Field("port", PORT, "Port of the metrics on 127.0.0.1. 0: none.", "9108"),
)

LOGS = section_of(
    LogConfig,
    "logs",
    "The log of a paper session, one event a line.",
    Field(
        "format",
        words(LogConfig, "format"),
        "JSON, readable text, or `auto`: text on a terminal, else JSON.",
        "json",
    ),
    Field("level", words(LogConfig, "level"), "The least that is written.", "debug"),
    Field("file", FILE, "File that is written too, and rotates, for where there is no journal.", "logs/paper.log"),
    Field("file_megabytes_max", Integer(1, 10_000), "Size at which the file is put aside.", "20"),
    Field("files_kept", Integer(1, 1_000), "How many that were put aside are kept.", "5"),
)

RELOAD = section_of(
    ReloadConfig,
    "reload",
    "Strategies' files that change while a paper session runs.",
    Field("enabled", Flag(), "Whether changed files are read again.", "false"),
    Field(
        "debounce_ms",
        Integer(300, 800),
        "How long a file must be quiet before it is read again.",
        "500",
    ),
)
