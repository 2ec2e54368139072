"""The sections of a config that the engine's own settings stand behind: each field's range and meaning.

Names, choices and defaults come from the engine's structs; a field that one side lacks fails at import.
"""

from __future__ import annotations

from decimal import Decimal
from typing import get_args, get_type_hints

import msgspec

from config.kinds import Choice, Field, Flag, Integer, ListOf, Number, Text, section_of
from config.model import DataConfig, DiagnosticsConfig, InstrumentOverride, JournalConfig, ReportConfig, ReportKind
from engine.settings import (
    BookExecution,
    Commission,
    Execution,
    Funding,
    InstrumentKind,
    MarginTier,
    Risk,
    Sizing,
    Slippage,
)

ZERO, ONE = Decimal(0), Decimal(1)

POSITIVE = Number(above=ZERO)
AMOUNT = Number(minimum=ZERO)
BPS = Number(minimum=ZERO, maximum=Decimal(10_000))
FRACTION = Number(above=ZERO, maximum=ONE)
RATE = Number(minimum=ZERO, maximum=ONE)
LEVERAGE_MAX = Decimal(1_000)

FILE = Text(r"[^\x00-\x1f]{0,4096}", "a path relative to the home folder, or nothing")


def words(struct: type[msgspec.Struct], name: str) -> Choice:
    """Return the choices of a Literal field of a struct."""
    return Choice(get_args(get_type_hints(struct)[name]))


SLIPPAGE = section_of(
    Slippage,
    "slippage",
    "How much worse than the market's price an order that takes liquidity fills.",
    Field(
        "model",
        words(Slippage, "model"),
        "`bps` of the price, `ticks`, `atr_factor` times the ATR, or half of the spread plus `bps`.",
        "atr",
    ),
    Field("bps", BPS, "Basis points of the price; also used where the other models have nothing to go by.", "2"),
    Field("ticks", Integer(0, 1_000_000), "Ticks, for model `ticks`.", "3"),
    Field("atr_length", Integer(1, 100_000), "Bars of the ATR, for model `atr`.", "14"),
    Field("atr_factor", Number(minimum=ZERO, maximum=Decimal(1_000)), "How many ATRs, for model `atr`.", "0.05"),
    Field("spread_bps", BPS, "The whole spread in basis points, for model `spread`.", "1.5"),
    Field("spread_ticks", Integer(0, 1_000_000), "The whole spread in ticks, for model `spread`.", "2"),
)

COMMISSION = section_of(
    Commission,
    "commission",
    "Fees. The parts add up.",
    Field("maker_bps", BPS, "Basis points of the notional of a fill that rested in the market.", "2"),
    Field("taker_bps", BPS, "Basis points of the notional of a fill that took liquidity.", "4"),
    Field("per_order", AMOUNT, "Money for each order that fills, in quote currency.", "0.5"),
    Field("per_fill", AMOUNT, "Money for each fill, in quote currency.", "0.1"),
    Field(
        "schedule",
        words(Commission, "schedule"),
        "`venue`: the venue's published base-tier fees, where Tapewright knows them, else these.",
        "venue",
    ),
)

HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[!-~]{0,2000})?"
HTTP_ADDRESS = Text(
    rf"(?:https?://{HOST})?", "an http:// or https:// address such as http://127.0.0.1:8080, or nothing"
)

BANK = Text(
    r"(?:s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[!-~]{0,1000})?|(?![A-Za-z0-9]+://)[^\x00-\x1f]{0,4096})",
    "a path relative to the home folder, an address such as s3://bucket/folder, or nothing",
)

DATA = section_of(
    DataConfig,
    "data",
    "Bars of a backtest that are not stored. Without `missing` a run stops there and names the command.",
    Field(
        "download",
        words(DataConfig, "download"),
        "`missing`: where stored bars do not reach over the run's start and end, download what is missing. "
        "Then `start` must be given.",
        "missing",
    ),
    Field("exchange", words(DataConfig, "exchange"), "Where from: Binance's futures (USD-M) or its spot.", "BINANCE"),
    Field(
        "rest",
        HTTP_ADDRESS,
        "Address of the REST interface, in place of the venue's own.",
        "http://127.0.0.1:8080",
    ),
    Field(
        "lookback_bars",
        Integer(0, 1_000_000),
        "A backtest on stored bars looks back on so many bars before `start`, as far as they are stored: its "
        "indicators begin with them, it trades from `start` on. `download` fetches them too.",
        "500",
    ),
    Field(
        "bank",
        BANK,
        "Where bars are read from in place of the home's `data/raw`: another folder, or S3 with keys and endpoint of "
        "the environment (`AWS_…`). It is only read.",
        "s3://bars/binance",
    ),
)

JOURNAL = section_of(
    JournalConfig,
    "journal",
    "The bar journal of a backtest: one row a bar with signals, position, capital, drawdown and indicators.",
    Field("enabled", Flag(), "Whether it is written, as data/journals/{SYMBOL}_{STRAT}_{TIMESTAMP}.parquet.", "false"),
)

DIAGNOSTICS = section_of(
    DiagnosticsConfig,
    "diagnostics",
    "What is worked out of a finished run beside its figures.",
    Field(
        "band",
        Flag(),
        "Run again under every same-bar priority where bars were ambiguous, for the worst and best equity.",
        "true",
    ),
    Field("annualise", Flag(), "Annual figures for runs under 30 days too.", "true"),
    Field(
        "regime_bars",
        Integer(0, 5_000),
        "How many bars back a market regime looks; 0: those of a day, at least 20 and at most 1,440.",
        "96",
    ),
)

REPORT = section_of(
    ReportConfig,
    "report",
    "What `tapewright backtest` makes to look at. `--report` makes all of it, `--no-report` nothing.",
    Field(
        "files",
        ListOf(Choice(get_args(ReportKind)), unique=True),
        "`png`: equity.png and drawdown.png; `html`: report.html, which opens from disk; `pdf`: report.pdf.",
        "[png, html, pdf]",
    ),
)

FUNDING = section_of(
    Funding,
    "funding",
    "Payments between longs and shorts of perpetual contracts.",
    Field("enabled", Flag(), "Whether funding is paid at all.", "true"),
    Field(
        "rate",
        Number(minimum=-ONE, maximum=ONE),
        "Static rate of each interval, where no file tells it (0.0001 is 0.01 %).",
        "0.0001",
    ),
    Field(
        "interval_hours",
        Integer(1, 168),
        "Hours between payments at the static rate, counted from midnight UTC.",
        "8",
    ),
    Field("file", FILE, "File with the venue's funding times and rates.", "data/funding/BTCUSDT.parquet"),
    Field(
        "mark_file",
        FILE,
        "File with mark prices, where funding is not to be paid on the bar's price.",
        "data/mark/BTCUSDT.parquet",
    ),
)

SIZING = section_of(
    Sizing,
    "sizing",
    "The size of an entry where the strategy gives none.",
    Field(
        "type",
        words(Sizing, "type"),
        "Units, a fraction of equity, or the fraction of equity that a stop may lose.",
        "risk",
    ),
    Field(
        "value",
        POSITIVE,
        "Units for `fixed`; a fraction (0.1 is 10 %) up to `leverage` for `percent_equity`, "
        "up to 1 for `risk`. Must be given with `fixed` and `risk`.",
        "0.1",
    ),
    Field("stop_distance", FRACTION, "Distance of the stop as a fraction of the price, for type `risk`.", "0.02"),
    Field(
        "close_policy",
        words(Sizing, "close_policy"),
        "On exit close the exact entry size, or the size computed again.",
        "exact",
    ),
)

RISK = section_of(
    Risk,
    "risk",
    "Guards. Left out, a guard is off.",
    Field(
        "max_drawdown",
        FRACTION,
        "Halts the run where equity has fallen by this fraction from its peak.",
        "0.25",
    ),
    Field(
        "strategy_max_drawdown",
        FRACTION,
        "Halts one strategy where its own equity has fallen by this fraction from its peak.",
        "0.15",
    ),
    Field(
        "daily_loss_limit",
        FRACTION,
        "No new entries for the rest of the UTC day after a loss of this fraction of the day's first equity.",
        "0.05",
    ),
    Field(
        "max_leverage",
        Number(above=ZERO, maximum=LEVERAGE_MAX),
        "Refuses orders that would take exposure ÷ equity above this.",
        "3",
    ),
    Field("max_open_positions", Integer(1, 1_000_000), "Refuses entries beyond this many open positions.", "5"),
    Field(
        "on_trip",
        words(Risk, "on_trip"),
        "When a guard trips: close positions, or keep them and only stop trading.",
        "flatten",
    ),
)

EXECUTION = section_of(
    Execution,
    "execution",
    "When and where orders fill on bars.",
    Field(
        "same_bar_priority",
        words(Execution, "same_bar_priority"),
        "Which comes first where one bar triggers several orders.",
        "adaptive",
    ),
    Field(
        "limit_fill",
        words(Execution, "limit_fill"),
        "Whether the price must trade through a limit, or a touch fills it.",
        "touch",
    ),
    Field(
        "stop_fill",
        words(Execution, "stop_fill"),
        "The price of a stop that triggers, before slippage.",
        "trigger",
    ),
    Field("latency_bars", Integer(0, 100_000), "Bars that an order waits before it can fill.", "1"),
    Field(
        "max_volume_share",
        FRACTION,
        "Fills take at most this fraction of a bar's volume; the rest stays open. Left out: no bound.",
        "0.1",
    ),
    without=("fill_model",),
)

LATENCY_MS = Number(minimum=ZERO, maximum=Decimal(60_000))

BOOK = section_of(
    BookExecution,
    "book",
    "When and where orders fill on a tape with order books and prints.",
    Field(
        "fills",
        words(BookExecution, "fills"),
        "Whether orders meet the tape's books and prints, or bars made of its prints, as a backtest's do.",
        "bars",
    ),
    Field("order_latency_ms", LATENCY_MS, "Milliseconds that an order or cancel takes to the venue.", "12.5"),
    Field("response_latency_ms", LATENCY_MS, "Milliseconds that the venue's answer takes back.", "8"),
    Field(
        "latency_file",
        FILE,
        "CSV or Parquet with columns ts, order_latency_ms, response_latency_ms: latencies by time, in place of the "
        "two constants.",
        "data/latency.csv",
    ),
    Field(
        "feed_latency",
        Flag(),
        "Whether orders meet the book by the venue's clock, so that what the feed has not brought yet counts.",
        "false",
    ),
    Field(
        "lateness_ms",
        Integer(0, 60_000),
        "How long after its time a record is waited for, before an order or a bar goes on without it.",
        "500",
    ),
    Field("sample_ms", Integer(1, 86_400_000), "Distance of the equity curve's samples.", "1000"),
    Field(
        "queue_model",
        words(BookExecution, "queue_model"),
        "How a resting order moves forward in its level when the level shrinks without a print.",
        "power",
    ),
    Field("queue_power", Integer(1, 16), "The exponent of queue model `power`.", "3"),
    Field("stop_trigger", words(BookExecution, "stop_trigger"), "Which price triggers stops.", "mark"),
    Field(
        "strict",
        Flag(),
        "Refuse orders where no book can be trusted, instead of filling them at quote or mark.",
        "true",
    ),
)

TIER = section_of(
    MarginTier,
    "tier",
    "A margin tier: from `notional_floor` on, maintenance margin = notional * rate - amount.",
    Field(
        "notional_floor",
        AMOUNT,
        "Notional from which the tier holds. The first is 0, and each is above the one before.",
        "50000",
    ),
    Field("maintenance_rate", RATE, "Fraction of the notional.", "0.01"),
    Field("maintenance_amount", AMOUNT, "Money off.", "50"),
)

INSTRUMENT = section_of(
    InstrumentOverride,
    "instrument",
    "What overrides the venue's own data on a symbol, or what is inferred from the bars.",
    Field(
        "kind",
        Choice(get_args(InstrumentKind)),
        "Settled in quote, settled in base, or bought with cash.",
        "linear",
    ),
    Field("tick_size", POSITIVE, "Smallest step of the price.", "0.10"),
    Field("lot_size", POSITIVE, "Smallest step of the size.", "0.001"),
    Field("multiplier", POSITIVE, "Base units of one contract; for `inverse` its quote value.", "1"),
    Field("minimum_notional", AMOUNT, "Orders worth less are refused.", "5"),
    Field(
        "maintenance_rate",
        RATE,
        "Maintenance margin as a fraction of the notional, where there are no tiers.",
        "0.005",
    ),
    Field(
        "tiers",
        ListOf(TIER),
        "Maintenance margin by size of the position.",
        "[{notional_floor: 0, maintenance_rate: 0.004}]",
    ),
)
