"""What a wrong config is told: each field wrong once, all at once, syntax, limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.kinds import Kind, ListOf, MapOf, Named, Section
from config.loader import BYTES_MAX, Format, load, parse
from config.table import ROOT
from engine.errors import EXIT_CONFIG, ConfigError, InputMissingError

BASE = "symbols: [BTCUSDT, ETHUSDT]\ntimeframe: 1m\n"
TIME = "UTC milliseconds such as 1700000000000, or an ISO date or time such as 2024-01-01T00:00:00Z"
SYMBOL = "a symbol such as BTCUSDT: 1 to 32 letters, digits, dots, - and _"
NAME = "a name: 1 to 64 letters, digits, dots, - and _"
SPEC = "an indicator, its numbers and a timeframe, such as sma_20_1m or ema_50_4h"
FRACTION = "a number above 0 and at most 1"
BPS = "a number from 0 to 10000"
LATENCY = "a number from 0 to 60000"
TIMEFRAME = "a count and one of s m h d w, such as 1m, 15m, 4h or 1d, in quotes"
PATH = "a path relative to the home folder, or nothing"
REST = "an http:// or https:// address such as http://127.0.0.1:8080, or nothing"
WEBSOCKET = "a ws:// or wss:// address such as ws://127.0.0.1:8080, or nothing"
EXCHANGES = "BINANCE, BINANCE_FUTURES, BYBIT, OKX, KRAKEN, KRAKEN_FUTURES, COINBASE, DERIBIT, BITMEX"
CHANNELS = "l2_book, trades, ticker, funding, liquidations, open_interest"
PORT = "a whole number from 0 to 65535"
STALE = "a whole number from 0 to 86400"

# One line put after BASE (so it is line 3) => all that is said of it.
WRONG = f"""
version: 2 => version: 2 is not allowed; 1, the newest that this Tapewright reads: update Tapewright
$schema: 1 => $schema: 1 is not allowed; text
source: [a] => source: a list is not allowed; text
mode: papper => mode: "papper" is not allowed; one of backtest, paper; did you mean "paper"?
start: 1700000000 => start: 1700000000 is not allowed; {TIME}
start: 2024-02-30 => start: "2024-02-30" is not allowed; {TIME}
start: 2024-01-01T00:00:00.0001 => start: "2024-01-01T00:00:00.0001" is not allowed; {TIME}
end: tomorrow => end: "tomorrow" is not allowed; {TIME}
end: true => end: true is not allowed; {TIME}
strategy: [a] => strategy: a list is not allowed; a name, or a section with id, name, params, entry, exit, symbols, timeframe
strategy: ../evil => strategy.name: "../evil" is not allowed; {NAME}
strategy: {{id: a b, name: x}} => strategy.id: "a b" is not allowed; {NAME}
strategy: {{params: {{a: 1}}}} => strategy.name: missing; {NAME}, or give entry and exit
strategy: {{name: x, params: [1]}} => strategy.params: a list is not allowed; a section of numbers, true or false, and text
strategy: {{name: x, params: {{a: .inf}}}} => strategy.params.a: .inf is not allowed; a finite number, true or false, or text
strategy: {{name: x, params: {{a: 1e999}}}} => strategy.params.a: 1e999 is not allowed; a finite number, true or false, or text
strategy: {{name: x, params: {{a: null}}}} => strategy.params.a: null is not allowed; a finite number, true or false, or text
strategy: {{name: x, parms: {{}}}} => strategy.parms: unknown field; did you mean "params"?
strategy: {{name: x, symbols: [XRPUSDT]}} => strategy.symbols[0]: "XRPUSDT" is none of the run's symbols: BTCUSDT, ETHUSDT
strategy: {{name: x, symbols: [BTCUSD]}} => strategy.symbols[0]: "BTCUSD" is none of the run's symbols; did you mean "BTCUSDT"?
strategy: {{name: x, symbols: []}} => strategy.symbols: a list is not allowed; a list of at least 1 different values, each {SYMBOL} (this one is empty)
strategy: {{entry: {{name: 5}}, exit: x}} => strategy.entry.name: 5 is not allowed; {NAME}
strategy: {{entry: {{params: {{}}}}, exit: x}} => strategy.entry.name: missing; {NAME}
strategy: {{entry: {{name: x, params: 3}}, exit: x}} => strategy.entry.params: 3 is not allowed; a section of numbers, true or false, and text
strategy: {{entry: x}} => strategy.exit: missing; entry needs it
strategy: {{exit: x}} => strategy.entry: missing; exit needs it
strategy: {{name: x, entry: x, exit: x}} => strategy.name: given together with entry and exit; give name, or entry and exit
strategy: {{params: {{a: 1}}, entry: x, exit: x}} => strategy.params: given together with entry and exit; give each its own params
strategies: [] => strategies: a list is not allowed; a list of at least 1 values, each a name, or a section with id, name, params, entry, exit, symbols, timeframe (this one is empty)
strategies: [a, {{name: a}}] => strategies[1].id: "a" is the id of strategies[0] already; give each an id of its own
strategies: [{{entry: a, exit: b}}, a_b] => strategies[1].id: "a_b" is the id of strategies[0] already; give each an id of its own
indicators: sma_20_1m => indicators: "sma_20_1m" is not allowed; a list of different values, each {SPEC}
indicators: [20_sma] => indicators[0]: "20_sma" is not allowed; {SPEC}
indicators: [sma_20_1m, sma_20_1m] => indicators[1]: "sma_20_1m" is given twice
initial_cash: 0 => initial_cash: 0 is not allowed; a number above 0
initial_cash: lots => initial_cash: "lots" is not allowed; a number above 0
initial_cash: .nan => initial_cash: .nan is not allowed; a number above 0
initial_cash: 010 => initial_cash: "010" is not allowed; a number above 0, of at most 28 digits, 18 of them after the point
initial_cash: 0.123456789 => initial_cash: 0.123456789 is not allowed; at most cash_decimals (8) decimals
initial_cash: 1e12 => initial_cash: 1000000000000 is not allowed; at most 92233720368 with cash_decimals 8
cash_decimals: 13 => cash_decimals: 13 is not allowed; a whole number from 2 to 12
cash_decimals: 2.5 => cash_decimals: 2.5 is not allowed; a whole number from 2 to 12
leverage: 0.5 => leverage: 0.5 is not allowed; a number from 1 to 1000
leverage: true => leverage: true is not allowed; a number from 1 to 1000
leverage: => leverage: null is not allowed; a number from 1 to 1000
margin: crossed => margin: "crossed" is not allowed; one of cross, isolated; did you mean "cross"?
liquidation_fee_bps: -1 => liquidation_fee_bps: -1 is not allowed; {BPS}
fill_model: close_to_opne => fill_model: "close_to_opne" is not allowed; one of close_to_open, close_to_close; did you mean "close_to_open"?
fill_model: 3 => fill_model: 3 is not allowed; one of close_to_open, close_to_close
close_at_end: yes => close_at_end: "yes" is not allowed; true or false
close_at_end: 1 => close_at_end: 1 is not allowed; true or false
seed: -1 => seed: -1 is not allowed; a whole number from 0 to 9223372036854775807
comission_bps: 4 => comission_bps: unknown field; did you mean "commission_bps"?
maker_bps: 4 => maker_bps: unknown field; it belongs at "commission.maker_bps"
commission_bps: 10001 => commission_bps: 10001 is not allowed; {BPS}
commission: 4 => commission: 4 is not allowed; a section with maker_bps, taker_bps, per_order, per_fill, schedule
commission: {{maker_bps: -1}} => commission.maker_bps: -1 is not allowed; {BPS}
commission: {{taker_bps: x}} => commission.taker_bps: "x" is not allowed; {BPS}
commission: {{per_order: -1}} => commission.per_order: -1 is not allowed; a number of at least 0
commission: {{per_fill: [1]}} => commission.per_fill: a list is not allowed; a number of at least 0
commission: {{schedule: venues}} => commission.schedule: "venues" is not allowed; one of config, venue; did you mean "venue"?
slippage_bps: -2 => slippage_bps: -2 is not allowed; {BPS}
slippage: bps => slippage: "bps" is not allowed; a section with model, bps, ticks, atr_length, atr_factor, spread_bps, spread_ticks
slippage: {{model: tick}} => slippage.model: "tick" is not allowed; one of bps, ticks, atr, spread; did you mean "ticks"?
slippage: {{model: atr}} => slippage.atr_factor: missing; slippage model atr needs it
slippage: {{model: ticks}} => slippage.ticks: missing; slippage model ticks needs it
slippage: {{bps: -1}} => slippage.bps: -1 is not allowed; {BPS}
slippage: {{ticks: 1.5}} => slippage.ticks: 1.5 is not allowed; a whole number from 0 to 1000000
slippage: {{atr_length: 0}} => slippage.atr_length: 0 is not allowed; a whole number from 1 to 100000
slippage: {{atr_factor: -1}} => slippage.atr_factor: -1 is not allowed; a number from 0 to 1000
slippage: {{spread_bps: -1}} => slippage.spread_bps: -1 is not allowed; {BPS}
slippage: {{spread_ticks: -1}} => slippage.spread_ticks: -1 is not allowed; a whole number from 0 to 1000000
funding: on => funding: "on" is not allowed; a section with enabled, rate, interval_hours, file, mark_file
funding: {{enabled: "true"}} => funding.enabled: "true" is not allowed; true or false
funding: {{rate: 2}} => funding.rate: 2 is not allowed; a number from -1 to 1
funding: {{interval_hours: 0}} => funding.interval_hours: 0 is not allowed; a whole number from 1 to 168
funding: {{file: 1}} => funding.file: 1 is not allowed; {PATH}
funding: {{mark_file: "a\\nb"}} => funding.mark_file: "a\\nb" is not allowed; {PATH}
sizing: 0.1 => sizing: 0.1 is not allowed; a section with type, value, stop_distance, close_policy
sizing: {{type: percent}} => sizing.type: "percent" is not allowed; one of fixed, percent_equity, risk; did you mean "percent_equity"?
sizing: {{type: fixed}} => sizing.value: missing; sizing type fixed needs it
sizing: {{value: 0}} => sizing.value: 0 is not allowed; a number above 0
sizing: {{value: 10}} => sizing.value: 10 is not allowed; a fraction of equity above 0 and at most leverage (1); 0.1 is 10 %
sizing: {{type: risk, value: 2}} => sizing.value: 2 is not allowed; a fraction of equity above 0 and at most 1; 0.01 is 1 %
sizing: {{stop_distance: 2}} => sizing.stop_distance: 2 is not allowed; {FRACTION}
sizing: {{close_policy: all}} => sizing.close_policy: "all" is not allowed; one of exact, recompute
risk: [] => risk: a list is not allowed; a section with max_drawdown, strategy_max_drawdown, daily_loss_limit, max_leverage, max_open_positions, on_trip
risk: {{max_drawdown: 25}} => risk.max_drawdown: 25 is not allowed; {FRACTION}
risk: {{strategy_max_drawdown: 0}} => risk.strategy_max_drawdown: 0 is not allowed; {FRACTION}
risk: {{daily_loss_limit: "5%"}} => risk.daily_loss_limit: "5%" is not allowed; {FRACTION}, of at most 28 digits, 18 of them after the point
risk: {{max_leverage: 0}} => risk.max_leverage: 0 is not allowed; a number above 0 and at most 1000
risk: {{max_open_positions: 0}} => risk.max_open_positions: 0 is not allowed; a whole number from 1 to 1000000
risk: {{on_trip: flaten}} => risk.on_trip: "flaten" is not allowed; one of flatten, hold; did you mean "flatten"?
execution: x => execution: "x" is not allowed; a section with same_bar_priority, limit_fill, stop_fill, latency_bars, max_volume_share
execution: {{fill_model: close_to_open}} => execution.fill_model: unknown field; it belongs at "fill_model"
execution: {{same_bar_priority: lifo}} => execution.same_bar_priority: "lifo" is not allowed; one of pessimistic, adaptive, ohlc, olhc, fifo; did you mean "fifo"?
execution: {{limit_fill: touched}} => execution.limit_fill: "touched" is not allowed; one of through, touch; did you mean "touch"?
execution: {{stop_fill: open}} => execution.stop_fill: "open" is not allowed; one of worse_of_open_and_trigger, trigger, next_open; did you mean "next_open"?
execution: {{latency_bars: -1}} => execution.latency_bars: -1 is not allowed; a whole number from 0 to 100000
execution: {{max_volume_share: 1.01}} => execution.max_volume_share: 1.01 is not allowed; {FRACTION}
book: x => book: "x" is not allowed; a section with fills, order_latency_ms, response_latency_ms, latency_file, feed_latency, lateness_ms, sample_ms, queue_model, queue_power, stop_trigger, strict
book: {{fills: bar}} => book.fills: "bar" is not allowed; one of book, bars; did you mean "bars"?
book: {{order_latency_ms: -1}} => book.order_latency_ms: -1 is not allowed; {LATENCY}
book: {{response_latency_ms: 60001}} => book.response_latency_ms: 60001 is not allowed; {LATENCY}
book: {{latency_file: 5}} => book.latency_file: 5 is not allowed; {PATH}
book: {{latency_file: a.csv, order_latency_ms: 5}} => book.order_latency_ms: given together with book.latency_file, which tells it; give one of them
book: {{latency_file: a.csv, response_latency_ms: 5}} => book.response_latency_ms: given together with book.latency_file, which tells it; give one of them
book: {{feed_latency: 1}} => book.feed_latency: 1 is not allowed; true or false
book: {{lateness_ms: 0.5}} => book.lateness_ms: 0.5 is not allowed; a whole number from 0 to 60000
book: {{sample_ms: 0}} => book.sample_ms: 0 is not allowed; a whole number from 1 to 86400000
book: {{queue_model: powers}} => book.queue_model: "powers" is not allowed; one of trades_only, power, log; did you mean "power"?
book: {{queue_power: 0}} => book.queue_power: 0 is not allowed; a whole number from 1 to 16
book: {{stop_trigger: index}} => book.stop_trigger: "index" is not allowed; one of last, mark, book
book: {{strict: 1}} => book.strict: 1 is not allowed; true or false
strategy: {{name: x, timeframe: 1x}} => strategy.timeframe: "1x" is not allowed; {TIMEFRAME}
strategy: {{entry: {{name: x, timeframe: 1x}}, exit: x}} => strategy.entry.timeframe: "1x" is not allowed; {TIMEFRAME}
strategy: {{entry: x, exit: {{name: x, timeframe: 90s}}}} => strategy.exit.timeframe: 90s is not allowed; a multiple of the bars' 1m
instruments: [BTCUSDT] => instruments: a list is not allowed; a section of sections by name
instruments: {{BTC/USDT: {{}}}} => instruments.BTC/USDT: "BTC/USDT" is not allowed; {SYMBOL}
instruments: {{BTCUSD: {{}}}} => instruments.BTCUSD: "BTCUSD" is none of the run's symbols; did you mean "BTCUSDT"?
instruments: {{BTCUSDT: {{kind: perp}}}} => instruments.BTCUSDT.kind: "perp" is not allowed; one of linear, inverse, spot
instruments: {{BTCUSDT: {{tick_size: 0}}}} => instruments.BTCUSDT.tick_size: 0 is not allowed; a number above 0
instruments: {{BTCUSDT: {{lot_size: -1}}}} => instruments.BTCUSDT.lot_size: -1 is not allowed; a number above 0
instruments: {{BTCUSDT: {{multiplier: 0}}}} => instruments.BTCUSDT.multiplier: 0 is not allowed; a number above 0
instruments: {{BTCUSDT: {{minimum_notional: -1}}}} => instruments.BTCUSDT.minimum_notional: -1 is not allowed; a number of at least 0
instruments: {{BTCUSDT: {{maintenance_rate: 2}}}} => instruments.BTCUSDT.maintenance_rate: 2 is not allowed; a number from 0 to 1
instruments: {{BTCUSDT: {{tiers: [{{notional_floor: -1, maintenance_rate: 0}}]}}}} => instruments.BTCUSDT.tiers[0].notional_floor: -1 is not allowed; a number of at least 0
instruments: {{BTCUSDT: {{tiers: [{{notional_floor: 0}}]}}}} => instruments.BTCUSDT.tiers[0].maintenance_rate: missing; a number from 0 to 1
instruments: {{BTCUSDT: {{tiers: [{{notional_floor: 0, maintenance_rate: 0, maintenance_amount: x}}]}}}} => instruments.BTCUSDT.tiers[0].maintenance_amount: "x" is not allowed; a number of at least 0
instruments: {{BTCUSDT: {{tiers: [{{notional_floor: 5, maintenance_rate: 0}}]}}}} => instruments.BTCUSDT.tiers[0].notional_floor: 5 is not allowed; the first tier begins at 0
instruments: {{BTCUSDT: {{tiers: [{{notional_floor: 0, maintenance_rate: 0}}, {{notional_floor: 0, maintenance_rate: 0}}]}}}} => instruments.BTCUSDT.tiers[1].notional_floor: 0 is not allowed; more than the tier before (0)
instruments: {{BTCUSDT: {{tiers: 1}}}} => instruments.BTCUSDT.tiers: 1 is not allowed; a list of values, each a section with notional_floor, maintenance_rate, maintenance_amount
data: missing => data: "missing" is not allowed; a section with download, exchange, rest, lookback_bars, bank
data: {{download: mising}} => data.download: "mising" is not allowed; one of never, missing; did you mean "missing"?
data: {{exchange: BYBIT}} => data.exchange: "BYBIT" is not allowed; one of BINANCE_FUTURES, BINANCE
data: {{rest: 127.0.0.1:8080}} => data.rest: "127.0.0.1:8080" is not allowed; {REST}
data: {{bank: 's4://x'}} => data.bank: "s4://x" is not allowed; a path relative to the home folder, an address such as s3://bucket/folder, or nothing
data: {{bank: b, download: missing}} => data.bank: given together with data.download, which stores under the home; give one of them
data: {{lookback_bars: -1}} => data.lookback_bars: -1 is not allowed; a whole number from 0 to 1000000
feed: BINANCE => feed: "BINANCE" is not allowed; a section with exchange, channels, rest, websocket, first_message_seconds, stale_book_seconds, stale_trades_seconds, stale_ticker_seconds, stale_funding_seconds, stale_open_interest_seconds, keep_raw, key_file, key_id, key_secret
feed: {{exchange: BINANCE_FUTURE}} => feed.exchange: "BINANCE_FUTURE" is not allowed; one of {EXCHANGES}; did you mean "BINANCE_FUTURES"?
feed: {{channels: [l2_book, trade]}} => feed.channels[1]: "trade" is not allowed; one of {CHANNELS}; did you mean "trades"?
feed: {{channels: [trades, trades]}} => feed.channels[1]: "trades" is given twice
feed: {{channels: []}} => feed.channels: a list is not allowed; a list of at least 1 different values, each one of {CHANNELS} (this one is empty)
feed: {{channels: null}} => feed.channels: null is not allowed; a list of at least 1 different values, each one of {CHANNELS}
feed: {{rest: 127.0.0.1:8080}} => feed.rest: "127.0.0.1:8080" is not allowed; {REST}
feed: {{rest: "ws://127.0.0.1:8080"}} => feed.rest: "ws://127.0.0.1:8080" is not allowed; {REST}
feed: {{rest: "http://"}} => feed.rest: "http://" is not allowed; {REST}
feed: {{websocket: "http://127.0.0.1"}} => feed.websocket: "http://127.0.0.1" is not allowed; {WEBSOCKET}
feed: {{websocket: "ws://a b"}} => feed.websocket: "ws://a b" is not allowed; {WEBSOCKET}
feed: {{first_message_seconds: 0}} => feed.first_message_seconds: 0 is not allowed; a whole number from 1 to 3600
feed: {{stale_book_seconds: -1}} => feed.stale_book_seconds: -1 is not allowed; {STALE}
feed: {{stale_trades_seconds: 1.5}} => feed.stale_trades_seconds: 1.5 is not allowed; {STALE}
feed: {{stale_ticker_seconds: 86401}} => feed.stale_ticker_seconds: 86401 is not allowed; {STALE}
feed: {{stale_funding_seconds: never}} => feed.stale_funding_seconds: "never" is not allowed; {STALE}
feed: {{stale_open_interest_seconds: true}} => feed.stale_open_interest_seconds: true is not allowed; {STALE}
feed: {{keep_raw: 1}} => feed.keep_raw: 1 is not allowed; true or false
feed: {{key_file: 1}} => feed.key_file: 1 is not allowed; {PATH}
paper: true => paper: true is not allowed; a section with warmup, warmup_bars, on_restart, on_fault, strategy_timeout_ms, snapshot_seconds
paper: {{warmup: file}} => paper.warmup: "file" is not allowed; one of rest, files, none; did you mean "files"?
paper: {{warmup_bars: -1}} => paper.warmup_bars: -1 is not allowed; a whole number from 0 to 100000
paper: {{on_restart: resum}} => paper.on_restart: "resum" is not allowed; one of resume, reset; did you mean "resume"?
paper: {{on_fault: close}} => paper.on_fault: "close" is not allowed; one of hold, flatten
paper: {{strategy_timeout_ms: -1}} => paper.strategy_timeout_ms: -1 is not allowed; a whole number from 0 to 60000
paper: {{snapshot_seconds: 0}} => paper.snapshot_seconds: 0 is not allowed; a whole number from 1 to 86400
paper: {{strict: true}} => paper.strict: unknown field; it belongs at "book.strict"
store: a.sqlite => store: "a.sqlite" is not allowed; a section with path, sample_every, enabled
store: {{path: ""}} => store.path: "" is not allowed; a path relative to the home folder
store: {{sample_every: 0}} => store.sample_every: 0 is not allowed; a whole number from 1 to 1000000
store: {{enabled: 1}} => store.enabled: 1 is not allowed; true or false
control: 80 => control: 80 is not allowed; a section with http_port, token_file, token
control: {{http_port: 65536}} => control.http_port: 65536 is not allowed; {PORT}
control: {{token_file: [a]}} => control.token_file: a list is not allowed; {PATH}
control: {{http_prt: 1}} => control.http_prt: unknown field; did you mean "http_port"?
metrics: 80 => metrics: 80 is not allowed; a section with port
metrics: {{port: -1}} => metrics.port: -1 is not allowed; {PORT}
logs: json => logs: "json" is not allowed; a section with format, level, file, file_megabytes_max, files_kept
logs: {{format: xml}} => logs.format: "xml" is not allowed; one of auto, json, text
logs: {{level: warn}} => logs.level: "warn" is not allowed; one of debug, info, warning, error; did you mean "warning"?
logs: {{file: 1}} => logs.file: 1 is not allowed; {PATH}
logs: {{file_megabytes_max: 0}} => logs.file_megabytes_max: 0 is not allowed; a whole number from 1 to 10000
logs: {{files_kept: 0}} => logs.files_kept: 0 is not allowed; a whole number from 1 to 1000
reload: false => reload: false is not allowed; a section with enabled, debounce_ms
reload: {{enabled: "no"}} => reload.enabled: "no" is not allowed; true or false
reload: {{debounce_ms: 299}} => reload.debounce_ms: 299 is not allowed; a whole number from 300 to 800
symbol: BTCUSDT => symbols: given together with symbol (line 3), which says the same; give one of them
timeframe: 5m => timeframe: given twice; first on line 2
version: 0 => version: 0 is not allowed; 1
extends: base.yaml => extends: "base.yaml" is not allowed; a path relative to this file, or a list of them; only a file builds on others, so not here
control: {{token: hunter2}} => control.token: [hidden] is not allowed; ${{env:NAME}}, which stands for the environment's variable NAME, or nothing; a file holds no secret itself
feed: {{key_id: x}} => feed.key_id: [hidden] is not allowed; ${{env:NAME}}, which stands for the environment's variable NAME, or nothing; a file holds no secret itself
feed: {{key_id: '${{env:A}}', key_secret: x}} => feed.key_secret: [hidden] is not allowed; ${{env:NAME}}, which stands for the environment's variable NAME, or nothing; a file holds no secret itself
journal: on => journal: "on" is not allowed; a section with enabled
journal: {{enabled: 1}} => journal.enabled: 1 is not allowed; true or false
report: true => report: true is not allowed; a section with files
report: {{files: [svg]}} => report.files[0]: "svg" is not allowed; one of png, html, pdf
report: {{files: [png, png]}} => report.files[1]: "png" is given twice
diagnostics: full => diagnostics: "full" is not allowed; a section with band, annualise, regime_bars
diagnostics: {{band: x}} => diagnostics.band: "x" is not allowed; true or false
diagnostics: {{annualise: 365}} => diagnostics.annualise: 365 is not allowed; true or false
diagnostics: {{regime_bars: 5001}} => diagnostics.regime_bars: 5001 is not allowed; a whole number from 0 to 5000
"""  # noqa: E501  a table: one case a line
CASES = [tuple(line.split(" => ")) for line in WRONG.strip().splitlines()]

# Whole files, for what needs no line or several => what is said, with the line.
FILES = f"""
symbol: B/T; timeframe: 1m => 1: symbol: "B/T" is not allowed; {SYMBOL}
timeframe: 1m => 1: symbols: missing; {SYMBOL}, or a list of them under symbols
timeframe: 1m; symbols: [] => 2: symbols: a list is not allowed; a list of at least 1 different values, each {SYMBOL} (this one is empty)
timeframe: 1m; symbols: [A, A] => 2: symbols[1]: "A" is given twice
symbol: BTCUSDT => 1: timeframe: missing; a count and one of s m h d w, such as 1m, 15m, 4h or 1d, in quotes
symbol: BTCUSDT; timeframe: 15 => 2: timeframe: 15 is not allowed; a count and one of s m h d w, such as 1m, 15m, 4h or 1d, in quotes
symbol: A; timeframe: 1m; start: 2024-01-02; end: 2024-01-02 => 4: end: 2024-01-02T00:00:00Z is not allowed; a time after start (2024-01-02T00:00:00Z)
symbol: A; timeframe: 1m; commission_bps: 4; commission: {{maker_bps: 1}} => 4: commission.maker_bps: given together with commission_bps (line 3), which says the same; give one of them
symbol: A; timeframe: 1m; commission_bps: 4; commission: {{taker_bps: 1}} => 4: commission.taker_bps: given together with commission_bps (line 3), which says the same; give one of them
symbol: A; timeframe: 1m; slippage: {{bps: 1}}; slippage_bps: 4 => 3: slippage.bps: given together with slippage_bps (line 4), which says the same; give one of them
symbol: A; timeframe: 1m; slippage: {{model: spread}}; slippage_bps: 4 => 3: slippage.model: given together with slippage_bps (line 4), which says the same; give one of them
symbol: A; timeframe: 1m; control: {{http_port: 80}}; metrics: {{port: 80}} => 4: metrics.port: 80 is not allowed; a port other than control.http_port, or 0 for none
mode: paper; timeframe: 1m; book: {{strict: true}} => 1: symbols: missing; {SYMBOL}, or a list of them under symbols
mode: paper; symbol: A; timeframe: 1m; start: 2024-01-01 => 4: start: given with mode paper, which begins now and runs until it is stopped; leave it out
mode: paper; symbol: A; timeframe: 1m; end: 2024-01-01 => 4: end: given with mode paper, which begins now and runs until it is stopped; leave it out
mode: paper; symbol: A; timeframe: 1m; feed: {{channels: [funding]}} => 4: feed.channels: without prices; mode paper needs at least one of l2_book, trades, ticker
symbol: A; timeframe: 1m; strategy: a; strategies: [b] => 4: strategies: given together with strategy (line 3), which says the same; give one of them
"""  # noqa: E501  a table: one case a line
FILE_CASES = [tuple(line.split(" => ")) for line in FILES.strip().splitlines()]


def problems(text: str, form: Format = "yaml", **options: Any) -> tuple[str, ...]:
    """Return the problems of a config's text."""
    with pytest.raises(ConfigError) as caught:
        parse(text, form, source="run.yaml", **options)
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value.problems


@pytest.mark.parametrize(("line", "message"), CASES, ids=[line for line, _ in CASES])
def test_each_field_wrong_once(line: str, message: str) -> None:
    expected_line = 1 if message.startswith("symbols: given together") else 3
    assert problems(f"{BASE}{line}\n") == (f"run.yaml:{expected_line}: {message}",)


@pytest.mark.parametrize(("text", "message"), FILE_CASES, ids=[text for text, _ in FILE_CASES])
def test_fields_together(text: str, message: str) -> None:
    assert problems(text.replace("; ", "\n")) == (f"run.yaml:{message}",)


def field_names(kind: Kind, prefix: str = "") -> set[str]:
    """Return every path of the table, without indices and symbols."""
    match kind:
        case Section():
            names: set[str] = set()
            for field in kind.fields:
                path = f"{prefix}.{field.name}".lstrip(".")
                names |= {path} | field_names(field.kind, path)
            return names
        case MapOf() | ListOf():
            return field_names(kind.item, prefix)
        case Named():
            return field_names(kind.section, prefix)
        case _:
            return set()


def test_the_tables_leave_no_field_out() -> None:
    told = {message.split(": ")[0].replace(".BTCUSDT", "") for _, message in CASES}
    told |= {message.split(": ")[1] for _, message in FILE_CASES}
    plain = {path.replace("[0]", "").replace("[1]", "") for path in told}
    # The fields of one of several strategies, and of exits, are read by the same table as those tested.
    same = {name for name in field_names(ROOT) if name.startswith(("strategies.", "strategy.exit."))}
    assert field_names(ROOT) - plain - same - {"strategy.entry", "strategy.exit"} == set()


def test_all_at_once_in_the_order_of_the_file() -> None:
    text = "\n".join(line for line, _ in FILE_CASES[:1] + CASES[1:4] + CASES[32:38]).replace("; ", "\n")
    lines = [int(problem.split(":")[1]) for problem in problems(text)]
    assert len(lines) > 8
    assert lines == sorted(lines)


WRONG_JSON = """{
 "symbol": "BTCUSDT",
 "timeframe": "1m",
 "risk": {
  "max_drawdown": 3,
  "on_tripp": NaN},
 "seed": 1,
 "seed": 2}
"""
TOLD_JSON = f"""
run.yaml:5: risk.max_drawdown: 3 is not allowed; {FRACTION}
run.yaml:6: risk.on_tripp: unknown field; did you mean "on_trip"?
run.yaml:8: seed: given twice; first on line 7
"""
WRONG_TOML = """symbol = "BTCUSDT"
timeframe = "1m"
risk.max_drawdown = 3
initial_cash = nan
[funding]
# rate = 1
rate = 9.0
[[strategies]]
name = "a"
[[strategies]]
name = "b"
[strategies.params]
fast = 2024-01-01
slow = [
1]
[instruments.BTCUSDT]
tick_size = 0
"""
TOLD_TOML = f"""
run.yaml:3: risk.max_drawdown: 3 is not allowed; {FRACTION}
run.yaml:4: initial_cash: nan is not allowed; a number above 0
run.yaml:7: funding.rate: 9.0 is not allowed; a number from -1 to 1
run.yaml:14: strategies[1].params.slow: a list is not allowed; a finite number, true or false, or text
run.yaml:17: instruments.BTCUSDT.tick_size: 0 is not allowed; a number above 0
"""


def test_json_and_toml_name_lines_too() -> None:
    assert problems(WRONG_JSON, "json") == tuple(TOLD_JSON.strip().splitlines())
    assert problems(WRONG_TOML, "toml") == tuple(TOLD_TOML.strip().splitlines())


SYNTAX = [
    ("yaml", "a: [1\nb: 2\n", "run.yaml:2:2: not valid YAML"),
    ("yaml", "a: 1\n\tb: 2\n", "run.yaml:2:1: not valid YAML"),
    ("yaml", "a: \x01", "run.yaml:1:4: not valid YAML: the character U+0001 is not allowed"),
    ("yaml", 'a: "\\UFFFFFFFF"', "run.yaml:1:7: not valid YAML: an escape or number is out of range"),
    ("yaml", "a: 1\n---\nb: 1", "run.yaml:2:1: not valid YAML: expected a single document"),
    ("yaml", "[" * 5000, "run.yaml:1:33: not valid YAML: nested deeper than 32 levels"),
    ("yaml", "a: &a [*a]", "run.yaml:1: a[0][0][0]: nested deeper than 32 levels"),
    ("yaml", "- 1", "run.yaml:1: a list is not allowed; a config is fields with values"),
    ("yaml", "a: !!python/object/apply:os.system [ls]", "run.yaml:1: a: the tag"),
    ("json", '{\n "a": 1,\n}', "run.yaml:3:1: not valid JSON"),
    ("json", "", "run.yaml:1:1: not valid JSON"),
    ("json", "[" * 5000, "run.yaml:1: nested deeper than 32 levels"),
    ("json", "[" * 40 + "]" * 40, "run.yaml:1: [0][0][0][0]: nested deeper than 32 levels"),
    ("toml", "a = 1\nb = \n", "run.yaml:2:5: not valid TOML"),
    ("toml", "a = " + "[" * 40 + "]" * 40, "run.yaml:1: a[0][0][0]: nested deeper than 32 levels"),
    ("toml", "a = " + "9" * 5000, "run.yaml:1: not valid TOML: a number or date is out of range"),
]


@pytest.mark.parametrize(("form", "text", "message"), SYNTAX, ids=[f"{case[0]} {case[1][:20]!r}" for case in SYNTAX])
def test_syntax(form: Format, text: str, message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(text, form))


def test_anchors_are_expanded_within_bounds() -> None:
    text = f"{BASE}x-base: &base {{maker_bps: 1, taker_bps: 2}}\ncommission:\n  <<: *base\n  taker_bps: 3\n"
    with pytest.raises(ConfigError, match="x-base: unknown field"):
        parse(text, "yaml", source="run.yaml")
    config = parse(
        f"{BASE}commission: &a {{maker_bps: 1, taker_bps: 2}}\nrisk: {{}}\nsizing: {{<<: {{value: 0.5}}}}\n",
        "yaml",
        source="run.yaml",
    )
    assert str(config.sizing.value) == "0.5"
    rungs = zip("abcdefgh", "bcdefghi", strict=True)
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{upper}: &{upper} [{', '.join([f'*{lower}'] * 10)}]\n" for lower, upper in rungs
    )
    assert "more than 50000 values" in problems(laughs)[0]


def test_too_many_problems_are_cut() -> None:
    lines = problems("\n".join(f"unknown_{index}: 1" for index in range(500)))
    assert len(lines) == 201
    assert lines[-1] == "run.yaml: too many problems; what comes after these was not read"


def test_files(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(InputMissingError, match="Is a directory"):
        load(tmp_path)
    cases = {
        "a.ini": (b"x", "a.ini: the ending '.ini' is not allowed; one of .yaml, .yml, .json, .toml"),
        "b.yaml": (b"a: 1\n\xff", "b.yaml:2: byte 5 is not UTF-8"),
        "c.yaml": (b"#" * (BYTES_MAX + 1), "c.yaml: larger than 512 KiB"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name)
        assert message in caught.value.problems[0]
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load(tmp_path / "bom.yaml").symbols == ("BTCUSDT", "ETHUSDT")


NAMES = sorted({name.rpartition(".")[2] for name in field_names(ROOT)})
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["BTCUSDT", "1m", "atr", "risk", "2024-01-01", "<<", "*a", "!!int x", "1e9", ""])
    | st.text(max_size=8)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    form=st.sampled_from(["yaml", "json", "toml"]),
    text=st.text(alphabet=st.sampled_from(" \n\t:-[]{}#&*!|>'\"%@`,?<=.\\abm10_e\x00é\ud800")),
)
def test_random_text_is_only_a_config_error(form: Format, text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, form, source="run.yaml", overrides=[text], strategy=text)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=st.dictionaries(st.sampled_from(NAMES), TREES, max_size=8))
def test_random_trees_are_only_a_config_error(tree: dict[str, object]) -> None:

    text = json.dumps(tree)
    for form in ("json", "yaml"):
        told: tuple[str, ...] = ()
        try:
            parse(text, form, source="run.yaml")
        except ConfigError as error:
            told = error.problems
        assert all(problem.isprintable() for problem in told)
