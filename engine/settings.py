"""What one run of the engine is told: money, fills, costs, risk. Plain data, checked where it is read.

All proportions are decimals as a trader writes them (`4` basis points, `0.25` for a quarter), turned into
integers once, in `engine/state.py`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

ZERO = Decimal(0)

FillModel = Literal["close_to_open", "close_to_close"]
SameBarPriority = Literal["pessimistic", "adaptive", "ohlc", "olhc", "fifo"]
LimitFill = Literal["through", "touch"]
StopFill = Literal["worse_of_open_and_trigger", "trigger", "next_open"]
SlippageModel = Literal["bps", "ticks", "atr", "spread"]
QueueModel = Literal["trades_only", "power", "log"]
StopTrigger = Literal["last", "mark", "book"]
TapeFills = Literal["book", "bars"]
FeeSchedule = Literal["config", "venue"]
InstrumentKind = Literal["linear", "inverse", "spot"]


class Slippage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much worse than the market's price an order that takes liquidity fills.

    `bps`: price × bps. `ticks`: a fixed number of ticks. `atr`: ATR(`atr_length`) × `atr_factor`, bps until
    the ATR is known. `spread`: half of `spread_bps` (or of `spread_ticks`), plus bps; bps alone where neither
    is given. Always rounded against the trader to a whole tick.
    """

    model: SlippageModel = "bps"
    bps: Decimal = ZERO
    ticks: int = 0
    atr_length: int = 14
    atr_factor: Decimal = ZERO
    spread_bps: Decimal = ZERO
    spread_ticks: int = 0


class Commission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fees: the parts add up. Proportions are of the notional; the rest is money in the quote currency.

    `schedule` `venue`: the venue's published base-tier proportions, where they are known, in place of the two here.
    """

    maker_bps: Decimal = ZERO
    taker_bps: Decimal = ZERO
    per_order: Decimal = ZERO
    per_fill: Decimal = ZERO
    schedule: FeeSchedule = "config"


class Funding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payments between longs and shorts: from `file` where one is given or found, else the static `rate`."""

    enabled: bool = False
    rate: Decimal = ZERO
    interval_hours: int = 8
    file: str = ""
    mark_file: str = ""


class Sizing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size of an entry where the strategy gives none (entry and exit files, signals).

    `fixed`: units. `percent_equity`: a fraction of equity (0.1 is 10 %). `risk`: a fraction of equity lost if
    price moves by `stop_distance` (a fraction of price) against the position.
    """

    type: Literal["fixed", "percent_equity", "risk"] = "percent_equity"
    value: Decimal = Decimal("0.1")
    stop_distance: Decimal = Decimal("0.02")
    close_policy: Literal["exact", "recompute"] = "exact"


class Risk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Guards. None switches a guard off; fractions are of equity's peak (drawdown) or the day's start (loss)."""

    max_drawdown: Decimal | None = None
    strategy_max_drawdown: Decimal | None = None
    daily_loss_limit: Decimal | None = None
    max_leverage: Decimal | None = None
    max_open_positions: int | None = None
    on_trip: Literal["flatten", "hold"] = "flatten"


class MarginTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `notional_floor` on: maintenance margin = notional × rate − amount."""

    notional_floor: Decimal
    maintenance_rate: Decimal
    maintenance_amount: Decimal = ZERO


class Execution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When and where orders fill on bars."""

    fill_model: FillModel = "close_to_open"
    same_bar_priority: SameBarPriority = "pessimistic"
    limit_fill: LimitFill = "through"
    stop_fill: StopFill = "worse_of_open_and_trigger"
    latency_bars: int = 0
    max_volume_share: Decimal | None = None


class BookExecution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When and where orders fill on a tape with order books and prints.

    `order_latency_ms`, `response_latency_ms`: how long an order takes to the venue and its answer back.
    `feed_latency`: orders meet the book by the venue's clock, so what the feed has not brought yet counts; without
    it, by the order in which records were received. `lateness_ms`: how long after its time a record is waited for.
    `queue_model`: how a resting order moves forward in its level. `stop_trigger`: which price triggers stops.
    `fills`: whether orders meet the book and prints, or bars made of the prints. `latency_file`: latencies that change
    with time, in place of the two constants. `strict`: an order is refused where no book can be trusted, instead of
    filled at quote or mark.
    """

    fills: TapeFills = "book"
    order_latency_ms: Decimal = ZERO
    response_latency_ms: Decimal = ZERO
    latency_file: str = ""
    feed_latency: bool = True
    lateness_ms: int = 500
    sample_ms: int = 1_000
    queue_model: QueueModel = "trades_only"
    queue_power: int = 3
    stop_trigger: StopTrigger = "last"
    strict: bool = False


class RunSettings(msgspec.Struct, frozen=True):
    """Everything the engine is told about a run, beside instruments and events."""

    initial_cash: Decimal = Decimal(10_000)
    cash_decimals: int = 8
    leverage: Decimal = Decimal(1)
    margin: Literal["cross", "isolated"] = "cross"
    liquidation_fee_bps: Decimal = ZERO
    execution: Execution = Execution()
    book: BookExecution = BookExecution()
    slippage: Slippage = Slippage()
    commission: Commission = Commission()
    risk: Risk = Risk()
    close_at_end: bool = True
    seed: int = 0
