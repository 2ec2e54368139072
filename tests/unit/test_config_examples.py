"""Configs that are right: the user's examples as printed, the shipped files, one config in three formats."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

import config
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
from config.document import from_document, to_document
from config.loader import load, parse
from config.model import RunConfig, StrategyEntry, StrategyPart
from config.table import ROOT
from engine.errors import ConfigError
from engine.settings import BookExecution, Commission, Funding, MarginTier, RunSettings, Sizing, Slippage

DEFAULTS = Path(config.__file__).parent / "defaults"
DAEMON = DaemonConfig.__struct_fields__

RUN_CONFIG_JSON = """{
  "symbol": "BTCUSDT",
  "timeframe": "15m",
  "start": 1700000000000,
  "end": 1701000000000,
  "initial_cash": 10000,
  "leverage": 1,
  "fill_model": "close_to_open",
  "commission_bps": 4,
  "slippage_bps": 2,
  "funding": {"enabled": true, "rate": 0.0},
  "sizing": {"type": "percent_equity", "value": 0.1}
}
"""
CONFIG_YAML = """symbols: ["BTCUSDT", "ETHUSDT"]      # Assets to test
timeframe: "1m"                      # Engine timeframe
strategy:
  entry:
    name: "ema_cross"               # File: strategies/entry/ema_cross.py
    params: {fast: 20, slow: 50}    # Strategy parameters
  exit:
    name: "fixed_tp_sl"             # File: strategies/exit/fixed_tp_sl.py
    params: {tp: 0.05, sl: 0.02}    # TP 5%, SL 2%
indicators:                         # List of required indicators
  - sma_20_1m
  - rsi_14_1m
  - ema_50_4h
"""


def test_the_json_example_with_the_strategy_of_the_command_line() -> None:
    run = parse(RUN_CONFIG_JSON, "json", source="run.json", strategy="ema_cross")
    assert run == RunConfig(
        symbols=("BTCUSDT",),
        timeframe="15m",
        start_ns=1_700_000_000_000_000_000,
        end_ns=1_701_000_000_000_000_000,
        strategies=(StrategyEntry(id="ema_cross", name="ema_cross"),),
        funding=Funding(enabled=True),
        sizing=Sizing(value=Decimal("0.1")),
        settings=RunSettings(
            commission=Commission(maker_bps=Decimal(4), taker_bps=Decimal(4)),
            slippage=Slippage(bps=Decimal(2)),
        ),
        source="run.json",
    )


def test_the_yaml_example() -> None:
    run = parse(CONFIG_YAML, "yaml", source="config.yaml")
    assert run == RunConfig(
        symbols=("BTCUSDT", "ETHUSDT"),
        timeframe="1m",
        strategies=(
            StrategyEntry(
                id="ema_cross_fixed_tp_sl",
                entry=StrategyPart("ema_cross", {"fast": 20, "slow": 50}),
                exit=StrategyPart("fixed_tp_sl", {"tp": 0.05, "sl": 0.02}),
            ),
        ),
        indicators=("sma_20_1m", "rsi_14_1m", "ema_50_4h"),
        source="config.yaml",
    )


def test_what_is_left_out_is_as_the_engine_says() -> None:
    run = parse("symbol: BTCUSDT\ntimeframe: 1m\nfunding:\nrisk: {max_drawdown: null}\n", "yaml", source="a")
    assert run == RunConfig(symbols=("BTCUSDT",), timeframe="1m", source="a")


def test_the_shipped_example_shows_every_field_at_its_default() -> None:
    run = load(DEFAULTS / "backtest.yaml")
    plain = RunConfig(
        symbols=("BTCUSDT",),
        timeframe="1m",
        strategies=(StrategyEntry("ema_cross", "ema_cross", {"fast": 12, "slow": 26}),),
        source=run.source,
    )
    assert run == plain
    text = (DEFAULTS / "backtest.yaml").read_text()
    shown = set(re.findall(r"^(?:# )?([a-z_]+):", text, flags=re.MULTILINE))
    assert {field.name for field in ROOT.fields} - shown == {"$schema", "source", "symbol", *DAEMON} - {"store"}


def test_the_shipped_paper_example_shows_every_field_that_only_a_paper_session_reads() -> None:
    run = load(DEFAULTS / "paper.yaml")
    assert run.mode == "paper"
    assert run.daemon == DaemonConfig()
    shown = yaml.safe_load((DEFAULTS / "paper.yaml").read_text())
    for name in DAEMON:
        assert list(shown[name]) == list(getattr(run.daemon, name).__struct_fields__)


def test_every_shipped_file_is_right() -> None:
    runs = {path.name: load(path) for path in sorted(DEFAULTS.glob("*.yaml"))}
    assert [entry.id for entry in runs["portfolio.yaml"].strategies] == [
        "ema_slow",
        "ema_fast_eth",
        "ema_cross_fixed_tp_sl",
    ]


IN_YAML = """
symbols: [BTCUSDT]
timeframe: 15m
start: 2024-01-01
end: 2024-02-01 12:30:00.5+01:00
strategies:
  - ema_cross
  - {id: two, name: ema_cross, params: {fast: 3, size: 1.0, on: true, side: long}}
indicators: [sma_20_1m]
initial_cash: 12_345.10
commission: {maker_bps: 0.1, per_fill: 0.05}
slippage: {model: atr, atr_factor: 5e-2}
risk: {max_drawdown: 0.25, max_open_positions: 2}
instruments:
  BTCUSDT:
    tick_size: 0.10
    tiers:
      - {notional_floor: 0, maintenance_rate: 0.004}
      - {notional_floor: 50000, maintenance_rate: 0.005, maintenance_amount: 50}
"""
IN_JSON = """
{"symbols": ["BTCUSDT"], "timeframe": "15m", "start": 1704067200000, "end": "2024-02-01T11:30:00.500Z",
 "strategies": ["ema_cross",
   {"id": "two", "name": "ema_cross", "params": {"fast": 3, "size": 1.0, "on": true, "side": "long"}}],
 "indicators": ["sma_20_1m"], "initial_cash": "12345.1", "commission": {"maker_bps": 0.1, "per_fill": 0.05},
 "slippage": {"model": "atr", "atr_factor": 0.05}, "risk": {"max_drawdown": 0.25, "max_open_positions": 2},
 "instruments": {"BTCUSDT": {"tick_size": 0.1, "tiers": [{"notional_floor": 0, "maintenance_rate": 0.004},
   {"notional_floor": 5e4, "maintenance_rate": 0.005, "maintenance_amount": 50}]}}}
"""
IN_TOML = """
symbols = ["BTCUSDT"]
timeframe = "15m"
start = 2024-01-01
end = 2024-02-01T12:30:00.5+01:00
indicators = ["sma_20_1m"]
initial_cash = 12_345.10
commission = {maker_bps = 0.1, per_fill = 0.05}
[slippage]
model = "atr"
atr_factor = 5e-2
[risk]
max_drawdown = 0.25
max_open_positions = 2
[[strategies]]
name = "ema_cross"
[[strategies]]
id = "two"
name = "ema_cross"
params = {fast = 3, size = 1.0, on = true, side = "long"}
[instruments.BTCUSDT]
tick_size = 0.10
[[instruments.BTCUSDT.tiers]]
notional_floor = 0
maintenance_rate = 0.004
[[instruments.BTCUSDT.tiers]]
notional_floor = 50000
maintenance_rate = 0.005
maintenance_amount = 50
"""


def test_one_config_in_three_formats() -> None:
    run = parse(IN_YAML, "yaml", source="run")
    assert run == parse(IN_JSON, "json", source="run")
    assert run == parse(IN_TOML, "toml", source="run")
    assert run.end_ns == 1_706_787_000_500_000_000
    assert run.settings.initial_cash == Decimal("12345.1")
    assert run.strategies[1].params == {"fast": 3, "size": 1.0, "on": True, "side": "long"}
    assert isinstance(run.strategies[1].params["fast"], int)
    assert isinstance(run.strategies[1].params["size"], float)
    assert run.instruments["BTCUSDT"].tiers[1] == MarginTier(Decimal(50_000), Decimal("0.005"), Decimal(50))


@pytest.mark.parametrize("text", ["0.1", "1234567890.12345678", "1e-8", "0.30000000000000004", "5.", "+1_0"])
def test_numbers_stay_as_written(text: str) -> None:
    run = parse(
        f"symbol: A\ntimeframe: 1m\ncash_decimals: 2\ninstruments: {{A: {{tick_size: {text}}}}}",
        "yaml",
        source="a",
    )
    assert run.instruments["A"].tick_size == Decimal(text)


def test_a_config_for_a_tape_needs_no_symbols() -> None:
    text = "timeframe: 1s\nstrategies: [{name: grid, timeframe: 5s}, {id: own, name: grid, symbols: [ANY]}]\n"
    run = parse(text, "yaml", source="tape.yaml", is_tape=True)
    assert run.symbols == ()
    assert [entry.timeframe for entry in run.strategies] == ["5s", ""]
    with pytest.raises(ConfigError, match="symbols: missing"):
        parse(text, "yaml", source="tape.yaml")
    book = "book: {fills: bars, order_latency_ms: 12.5, queue_model: power, queue_power: 2, sample_ms: 100}\n"
    run = parse(text + book, "yaml", source="tape.yaml")
    assert run.settings.book == BookExecution(
        fills="bars", order_latency_ms=Decimal("12.5"), queue_model="power", queue_power=2, sample_ms=100
    )
    assert from_document(to_document(run)) == run


PAPER_YAML = """symbol: BTCUSDT
timeframe: 1s
mode: paper
feed: {exchange: OKX, channels: [trades, ticker], rest: "http://[::1]:8080", websocket: "wss://host.example/ws?a=b"}
paper: {warmup: files, warmup_bars: 0, on_restart: reset, on_fault: flatten, strategy_timeout_ms: 0}
store: {path: state/paper.sqlite, sample_every: 10}
control: {http_port: 8090, token_file: token}
metrics: {port: 9108}
logs: {format: json, level: debug, file: paper.log, file_megabytes_max: 1, files_kept: 1}
reload: {enabled: false, debounce_ms: 300}
"""


def test_a_paper_session() -> None:
    run = parse(PAPER_YAML, "yaml", source="paper.yaml")
    assert run.daemon == DaemonConfig(
        feed=FeedConfig(
            exchange="OKX",
            channels=("trades", "ticker"),
            rest="http://[::1]:8080",
            websocket="wss://host.example/ws?a=b",
        ),
        paper=PaperConfig("files", 0, on_restart="reset", on_fault="flatten", strategy_timeout_ms=0),
        store=StoreConfig("state/paper.sqlite", 10),
        control=ControlConfig(8090, "token"),
        metrics=MetricsConfig(9108),
        logs=LogConfig("json", "debug", "paper.log", 1, 1),
        reload=ReloadConfig(enabled=False, debounce_ms=300),
    )
    assert from_document(to_document(run)) == run


def test_a_backtest_uses_nothing_of_a_paper_session() -> None:
    text = PAPER_YAML.replace("mode: paper", "mode: backtest")
    run = parse(text, "yaml", source="paper.yaml")
    store = "store: {path: state/paper.sqlite, sample_every: 10}\n"  # a backtest is stored too
    assert run == parse(f"symbol: BTCUSDT\ntimeframe: 1s\n{store}", "yaml", source="paper.yaml")
    assert {*DAEMON} & {*to_document(run)} == {"store"}


def test_the_mode_of_the_command_counts_where_the_file_says_none() -> None:
    text = "symbol: A\ntimeframe: 1m\nfeed: {exchange: BYBIT}\n"
    assert parse(text, "yaml", source="a").mode == "backtest"
    run = parse(text, "yaml", source="a", mode="paper")
    assert run.mode == "paper"
    assert run.daemon.feed.exchange == "BYBIT"
    assert parse(f"{text}mode: paper\n", "yaml", source="a", mode="paper") == run
    assert parse(text, "yaml", source="a", mode="paper", overrides=["mode=paper"]) == run
    assert parse(text, "yaml", source="a", mode="backtest").mode == "backtest"


def test_a_replay_of_a_paper_config_asks_for_nothing_of_a_session() -> None:
    text = "timeframe: 1m\nmode: paper\nstart: 2024-01-01\nfeed: {channels: [funding]}\n"
    run = parse(text, "yaml", source="a", is_tape=True)
    assert from_document(to_document(run)) == run


def test_stored_configs_of_before_a_field_was_there() -> None:
    document = to_document(load(DEFAULTS / "backtest.yaml"))
    del document["commission"]["schedule"], document["book"]["strict"]
    assert from_document(document) == load(DEFAULTS / "backtest.yaml")
