"""Every field of a config file: kind, range, meaning. Reader, JSON Schema and reference come from here.

The sections that the engine's settings stand behind are in `sections`, those of a paper session in `daemon_sections`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from config.daemon_sections import CONTROL, FEED, LOGS, METRICS, PAPER, RELOAD, STORE
from config.kinds import (
    Choice,
    Field,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Moment,
    Named,
    Number,
    Params,
    Paths,
    Secret,
    Section,
    Text,
)
from config.migrations import VERSION
from config.model import Mode
from config.scalars import INT64_MAX
from config.sections import (
    BOOK,
    BPS,
    COMMISSION,
    DATA,
    DIAGNOSTICS,
    EXECUTION,
    FUNDING,
    INSTRUMENT,
    JOURNAL,
    LEVERAGE_MAX,
    ONE,
    POSITIVE,
    REPORT,
    RISK,
    SIZING,
    SLIPPAGE,
    words,
)
from engine.settings import FillModel, RunSettings

RUN = RunSettings()

SYMBOL = Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", "a symbol such as BTCUSDT: 1 to 32 letters, digits, dots, - and _")
NAME = Text(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "a name: 1 to 64 letters, digits, dots, - and _")
TIMEFRAME = Text(r"[1-9][0-9]{0,4}[smhdw]", "a count and one of s m h d w, such as 1m, 15m, 4h or 1d, in quotes")
SPEC = Text(
    r"[A-Za-z][A-Za-z0-9_.]{0,63}",
    "an indicator, its numbers and a timeframe, such as sma_20_1m or ema_50_4h",
)
EXTENDS = Paths()
ANY = Text(r"[^\x00]{0,4096}", "text")

PART = Section(
    "part",
    "An entry or exit file and its parameters. A bare name stands for a part without parameters.",
    (
        Field(
            "name",
            NAME,
            "File `strategies/entry/{name}.py` or `strategies/exit/{name}.py`.",
            "fixed_tp_sl",
            required=True,
        ),
        Field(
            "params",
            Params(),
            "Parameters. The strategy's own schema says which there are.",
            "{tp: 0.05, sl: 0.02}",
            default={},
        ),
        Field(
            "timeframe",
            TIMEFRAME,
            "Bars it looks at, made of the run's: a multiple of its `timeframe`. It is asked when one has closed. Left"
            " out: the run's.",
            "15m",
        ),
    ),
)

STRATEGY = Section(
    "strategy",
    "A strategy: `name` with `params`, or `entry` with `exit`. A bare name is enough.",
    (
        Field(
            "id",
            NAME,
            "What reports call it, unlike any other's. Left out: the name, or `{entry}_{exit}`.",
            "ema_fast",
        ),
        Field(
            "name",
            NAME,
            "File `strategies/builtins/{name}.py` or `strategies/custom/{name}.py`.",
            "ema_cross",
        ),
        Field(
            "params",
            Params(),
            "Parameters, with `name`. The strategy's own schema says which there are.",
            "{fast: 12, slow: 26}",
            default={},
        ),
        Field("entry", Named(PART), "The entry, with `exit`.", "{name: ema_cross, params: {fast: 20, slow: 50}}"),
        Field(
            "exit",
            Named(PART),
            "The exit, with `entry`.",
            "{name: fixed_tp_sl, params: {tp: 0.05, sl: 0.02}}",
        ),
        Field(
            "symbols",
            ListOf(SYMBOL, count_min=1, unique=True),
            "The symbols it trades, out of the run's. Left out: all.",
            "[BTCUSDT]",
        ),
        Field(
            "timeframe",
            TIMEFRAME,
            "Length of its own bars: a multiple of the run's `timeframe`, on a tape any. Left out: the run's.",
            "5m",
        ),
    ),
)

ROOT = Section(
    "config",
    "One run.",
    (
        Field("version", Integer(1, VERSION), "Version of this format. Left out: 1.", "1", default=1),
        Field(
            "extends",
            EXTENDS,
            "The file or files that this one builds on. Later ones win, and what this one says over all of them.",
            "base.yaml",
        ),
        Field("$schema", ANY, "For editors: where the JSON Schema is. Not read.", "config.schema.json"),
        Field("source", ANY, "The file a stored config was first read from. Written by the program.", "ema.yaml"),
        Field(
            "mode",
            Choice(get_args(Mode)),
            "Bars of the past, or the live feed with fills simulated here.",
            "paper",
            default="backtest",
        ),
        Field(
            "symbol",
            SYMBOL,
            "The symbol. One of `symbol` and `symbols` must be given, but on a tape: all of it.",
            "BTCUSDT",
        ),
        Field("symbols", ListOf(SYMBOL, count_min=1, unique=True), "The symbols.", "[BTCUSDT, ETHUSDT]"),
        Field("timeframe", TIMEFRAME, "Length of the bars that the run steps through.", "1m", required=True),
        Field("start", Moment(), "First instant; not with mode paper. Left out: where the data begin.", "2024-01-01"),
        Field(
            "end",
            Moment(),
            "The instant after the last; a date is its midnight UTC. Not with mode paper. Left out: where data end.",
            "1701000000000",
        ),
        Field("strategy", Named(STRATEGY), "The strategy. Left out: the command line names it.", "ema_cross"),
        Field(
            "strategies",
            ListOf(Named(STRATEGY), count_min=1),
            "Several strategies on one account, in place of `strategy`.",
            "[ema_cross, {name: rsi_revert, symbols: [ETHUSDT]}]",
        ),
        Field(
            "indicators",
            ListOf(SPEC, unique=True),
            "Indicators to compute, cache and write beside the bars.",
            "[sma_20_1m, ema_50_4h]",
            default=[],
        ),
        Field(
            "initial_cash",
            POSITIVE,
            "Cash at the start, in quote currency.",
            "10000",
            default=RUN.initial_cash,
        ),
        Field(
            "cash_decimals",
            Integer(2, 12),
            "Decimals that cash is kept with.",
            "8",
            default=RUN.cash_decimals,
        ),
        Field(
            "leverage",
            Number(minimum=ONE, maximum=LEVERAGE_MAX),
            "Buying power ÷ equity.",
            "3",
            default=RUN.leverage,
        ),
        Field(
            "margin",
            words(RunSettings, "margin"),
            "One margin for the account, or one for each position.",
            "isolated",
            default=RUN.margin,
        ),
        Field(
            "liquidation_fee_bps",
            BPS,
            "Basis points of the notional of a liquidation, on top of the commission.",
            "50",
            default=RUN.liquidation_fee_bps,
        ),
        Field(
            "fill_model",
            Choice(get_args(FillModel)),
            "Orders made at a bar's close fill at the next open, or at that close.",
            "close_to_close",
            default=RUN.execution.fill_model,
        ),
        Field("commission_bps", BPS, "Short for `commission.maker_bps` and `commission.taker_bps`.", "4"),
        Field("commission", COMMISSION, COMMISSION.help),
        Field("slippage_bps", BPS, "Short for `slippage` with model `bps`.", "2"),
        Field("slippage", SLIPPAGE, SLIPPAGE.help),
        Field("funding", FUNDING, FUNDING.help),
        Field("sizing", SIZING, SIZING.help),
        Field("risk", RISK, RISK.help),
        Field("execution", EXECUTION, EXECUTION.help),
        Field("book", BOOK, BOOK.help),
        Field(
            "close_at_end",
            Flag(),
            "Whether positions that are open at the end are closed.",
            "false",
            default=RUN.close_at_end,
        ),
        Field(
            "seed",
            Integer(0, INT64_MAX),
            "Seed of what is random around a run (Monte Carlo). The engine has no randomness.",
            "7",
            default=RUN.seed,
        ),
        Field(
            "instruments",
            MapOf(SYMBOL, INSTRUMENT),
            "Overrides by symbol, each one of the run's.",
            "{BTCUSDT: {tick_size: 0.1}}",
        ),
        Field("data", DATA, DATA.help),
        Field("journal", JOURNAL, JOURNAL.help),
        Field("report", REPORT, REPORT.help),
        Field("diagnostics", DIAGNOSTICS, DIAGNOSTICS.help),
        Field("feed", FEED, FEED.help),
        Field("paper", PAPER, PAPER.help),
        Field("store", STORE, STORE.help),
        Field("control", CONTROL, CONTROL.help),
        Field("metrics", METRICS, METRICS.help),
        Field("logs", LOGS, LOGS.help),
        Field("reload", RELOAD, RELOAD.help),
    ),
)

# Of two fields that say the same, one may be given.
EXCLUSIVE = (
    (("symbol",), ("symbols",)),
    (("strategy",), ("strategies",)),
    (("commission_bps",), ("commission", "maker_bps")),
    (("commission_bps",), ("commission", "taker_bps")),
    (("slippage_bps",), ("slippage", "model")),
    (("slippage_bps",), ("slippage", "bps")),
)


# What a short form stands for.
SHORT_FOR = {
    "commission_bps": (("commission", "maker_bps"), ("commission", "taker_bps")),
    "slippage_bps": (("slippage", "bps"),),
}


def homes() -> dict[str, tuple[str, ...]]:
    """Where each field name belongs, for a field that is written in the wrong section."""
    found: dict[str, tuple[str, ...]] = {}
    for path, _ in _fields():
        name = path.rpartition(".")[2]
        found[name] = (*found.get(name, ()), path)
    return found


def _fields() -> Iterator[tuple[str, Field]]:
    for field in ROOT.fields:
        yield field.name, field
        if isinstance(field.kind, Section):
            for inner in field.kind.fields:
                yield f"{field.name}.{inner.name}", inner


# Fields that name a variable of the environment, and the only ones that may.
SECRETS = tuple(path for path, field in _fields() if isinstance(field.kind, Secret))
