"""What the daemon says about itself: one immutable tree, published by its event loop at most once a second.

The metrics endpoint reads the newest tree from its own thread, so nothing in it may change afterwards: mappings are
copies, made for it (`dict(counter)`). Counts run from the start of the process, or go on where a recovered account had
them; both are right for Prometheus. Money is in units of the quote currency, sizes in the instrument's units. Times in
`_ns` are UTC unless their name says otherwise; `None` where there is none yet: such a sample is left out.

What is counted by reason, state or kind is given for all there are, 0 for those that did not occur yet: a counter that
appears with its first count shows Prometheus no increase, and no alert would see the first gap. The constants below
name those that are known here, and the collector adds their zeros; connections and feeds bring their own reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from adapters.metrics.histogram import HistogramSnapshot
from engine.kernels import layout
from engine.reading import MODELS, REASONS, STATES

StrategyState = Literal["running", "stopped", "faulted", "quarantined"]
STRATEGY_STATES: tuple[StrategyState, ...] = get_args(StrategyState)
ORDER_STATES = STATES[1:]
_OF_NO_REJECTION = ("", "requested", "ioc", "fok", "expired", "end_of_run", "liquidation")
REJECTION_REASONS = tuple(reason for reason in REASONS if reason not in _OF_NO_REJECTION)
FILL_MODELS = tuple(MODELS.values())
GAP_REASONS = {
    layout.GAP_DISCONNECTED: "disconnected",
    layout.GAP_SEQUENCE: "sequence",
    layout.GAP_ROT: "rot",
    layout.GAP_DOWNTIME: "downtime",
    layout.GAP_CROSSED: "crossed",
    layout.GAP_CUT: "cut",
    layout.GAP_REJECTED: "rejected",
}
REFUSED_STATUSES = (403, 418, 429)
RELOAD_RESULTS = ("loaded", "refused")
COMMAND_KINDS = ("start", "stop", "params", "flatten", "halt", "resume", "reload")


class SessionFigures(msgspec.Struct, frozen=True):
    """Which program runs, since when, and how often this session was started again (0: it never was)."""

    name: str
    version: str
    python: str
    cryptofeed: str
    started_ns: int
    restarts: int


class ChannelFigures(msgspec.Struct, frozen=True):
    """One channel of an exchange, all symbols together."""

    exchange: str
    channel: str
    messages: int
    last_message_ns: int | None


class ExchangeFigures(msgspec.Struct, frozen=True):
    """One exchange's connections. `connects` counts first ones too; `rejects` are messages that were left out.

    Both mappings hold every reason there is, also those with 0.
    """

    exchange: str
    connections_open: int
    connects: int
    reconnects_by_reason: Mapping[str, int]
    rejects_by_reason: Mapping[str, int]


class RestFigures(msgspec.Struct, frozen=True):
    """One host as the REST gate knows it. `failures` are requests without an answer, or with a broken one."""

    host: str
    requests: int
    refused_by_status: Mapping[int, int]
    failures: int
    retries: int
    banned_seconds_left: float


class SymbolFigures(msgspec.Struct, frozen=True):
    """One instrument's book and gaps. `gaps_by_reason` has the names of GAP_REASONS.

    `book_age_seconds`: since its last change was received. Prices are those of a valid book only.
    """

    exchange: str
    symbol: str
    gaps_by_reason: Mapping[str, int]
    trade_ids_skipped: int
    is_book_valid: bool
    book_age_seconds: float | None
    best_bid: float | None
    best_ask: float | None


class QueueFigures(msgspec.Struct, frozen=True):
    """One bounded queue. `dropped` counts what was conflated; `high_water` is the greatest depth since the start."""

    name: str
    depth: int
    capacity: int
    dropped: int
    high_water: int


class LatencyFigures(msgspec.Struct, frozen=True):
    """Durations. `loop_lateness`: how late a timer of the event loop fired; `tape_sync`: one fdatasync of the tape."""

    receive_to_decision: HistogramSnapshot
    decision_to_stored: HistogramSnapshot
    loop_lateness: HistogramSnapshot
    tape_sync: HistogramSnapshot


class TapeFigures(msgspec.Struct, frozen=True):
    """The recorder: what it wrote, how far it is on the disk, and the space left where it writes."""

    bytes_written: int
    records: int
    last_seq: int
    acknowledged_seq: int
    disk_free_bytes: int


class StoreFigures(msgspec.Struct, frozen=True):
    """The SQLite store. `last_seq`: the record of the tape up to which all that it led to is stored.

    So it follows the tape also over records that lead to no row: its distance from the tape's is the store's delay.
    """

    rows: int
    transactions: int
    last_seq: int


class OrderFigures(msgspec.Struct, frozen=True):
    """Orders that came into each state (an order counts once a state), why orders were rejected, fills by model."""

    by_state: Mapping[str, int]
    rejected_by_reason: Mapping[str, int]
    fills_by_model: Mapping[str, int]


class AccountFigures(msgspec.Struct, frozen=True):
    """The account. `fees_paid` and `funding_paid` are net: rebates and funding received make them smaller, and < 0.

    `drawdown_ratio`: how far equity is below its highest, 0 to 1. `exposure`: the gross value of all positions.
    """

    initial_cash: float
    cash: float
    equity: float
    drawdown_ratio: float
    exposure: float
    margin: float
    fees_paid: float
    funding_paid: float
    is_halted: bool


class PositionFigures(msgspec.Struct, frozen=True):
    """One strategy on one symbol: the signed position, the result realised so far without fees, net fees paid."""

    strategy: str
    symbol: str
    position: float
    realised: float
    fees_paid: float


class StrategyFigures(msgspec.Struct, frozen=True):
    """One strategy's state, and how often it faulted."""

    strategy: str
    state: StrategyState
    faults: int


class ControlFigures(msgspec.Struct, frozen=True):
    """Hot reloads by result, commands by kind."""

    reloads_by_result: Mapping[str, int]
    commands_by_kind: Mapping[str, int]


class FundingFigures(msgspec.Struct, frozen=True):
    """Settlements that were booked, and alarms for those that did not come."""

    settlements: int
    missing_alarms: int


class DaemonFigures(msgspec.Struct, frozen=True):
    """Everything. `published_monotonic_ns` is time.monotonic_ns() when it was made: its age survives clock steps."""

    published_monotonic_ns: int
    session: SessionFigures
    channels: tuple[ChannelFigures, ...]
    exchanges: tuple[ExchangeFigures, ...]
    rest: tuple[RestFigures, ...]
    symbols: tuple[SymbolFigures, ...]
    queues: tuple[QueueFigures, ...]
    latency: LatencyFigures
    tape: TapeFigures
    store: StoreFigures
    orders: OrderFigures
    account: AccountFigures
    positions: tuple[PositionFigures, ...]
    strategies: tuple[StrategyFigures, ...]
    control: ControlFigures
    funding: FundingFigures
