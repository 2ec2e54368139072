"""The memory of the core: record types, state arrays, and the numbers that stand in them.

`docs/engine.md` says what each number means. Everything the core knows lies in these tables, so a
snapshot is a copy of them.
"""

from __future__ import annotations

import numpy as np

E12 = 10**12
MICRO = 10**6
VALUE_LIMIT = 2**60
UNLIMITED = 2**62
NEVER = 2**62
DAY_NS = 86_400 * 10**9
ACCOUNT_WIDE = 0xFFFF

# Input kinds and flags
BAR, BAR_OPEN, FUNDING, END = 1, 2, 3, 4
LEVEL, PRINT, QUOTE, MARK, GAP, CLOCK, COMMAND, INTEREST, FORCED = 5, 6, 7, 8, 9, 10, 11, 12, 13
DOCUMENT = 32
LAST, STATIC_RATE = 1, 2
SNAPSHOT, SELL, SIDE_UNKNOWN = 2, 4, 8
ALL_INSTRUMENTS = 0xFFFF
GAP_DISCONNECTED, GAP_SEQUENCE, GAP_ROT, GAP_DOWNTIME, GAP_CROSSED, GAP_CUT, GAP_REJECTED = 1, 2, 3, 4, 5, 6, 7

# Requests
ORDER_REQUEST, CANCEL_REQUEST, TARGET_REQUEST, CANCEL_ALL_REQUEST = 1, 2, 3, 4
HALT_REQUEST, RESUME_REQUEST, NOTE_REQUEST = 5, 6, 7  # of whoever runs the session, not of a strategy
MARKET, LIMIT, STOP, STOP_LIMIT = 1, 2, 3, 4
GTC, IOC, FOK, GTD = 1, 2, 3, 4
POST_ONLY, REDUCE_ONLY, SYSTEM = 1, 2, 4

# Order states
NEW, ACTIVE, PARTIAL, FILLED, CANCELED, EXPIRED, REJECTED = 1, 2, 3, 4, 5, 6, 7

# Reasons
NONE, REQUESTED, BY_IOC, BY_FOK, BY_POST_ONLY, BY_REDUCE_ONLY, BY_MARGIN = 0, 1, 2, 3, 4, 5, 6
BY_MAX_LEVERAGE, BY_MAX_POSITIONS, BY_HALT, NO_SHORT, BELOW_MINIMUM, INVALID = 7, 8, 9, 10, 11, 12
OVER_CAPACITY, NO_PRICE, BY_EXPIRY, BY_END, BY_LIQUIDATION = 13, 14, 15, 16, 17
BOOK_INVALID, NO_LIQUIDITY = 18, 19

# Outputs
ORDER_OUTPUT, FILL_OUTPUT, FUNDING_OUTPUT, TRADE_OUTPUT, RISK_OUTPUT, BOOK_OUTPUT = 1, 2, 3, 4, 5, 6
MAKER, TAKER = 1, 2
BY_VENUE_RATE, BY_STATIC_RATE = 1, 2
MODEL_NONE, MODEL_BPS, MODEL_TICKS, MODEL_ATR, MODEL_SPREAD, MODEL_LIQUIDATION = 0, 1, 2, 3, 4, 9
MODEL_DEPTH, MODEL_QUEUE, MODEL_THROUGH = 5, 6, 7
ASSUMED, BOUNDED, OBSERVED = 0, 1, 2
RISK_DRAWDOWN, RISK_STRATEGY, RISK_DAILY, RISK_RESUMED, RISK_LIQUIDATION, RISK_BANKRUPT = 1, 2, 3, 4, 5, 6
RISK_HALTED, RISK_STOPPED, RISK_STARTED, RISK_FAULTED, RISK_QUARANTINED = 7, 8, 9, 10, 11
HALT_NONE, HALT_DRAWDOWN, HALT_DAILY, HALT_BANKRUPT, HALT_BY_COMMAND = 0, 1, 2, 3, 4

# Settings
AT_OPEN, AT_CLOSE = 0, 1
PESSIMISTIC, ADAPTIVE, OPEN_HIGH_LOW, OPEN_LOW_HIGH, FIFO = 0, 1, 2, 3, 4
STOP_WORSE, STOP_AT_TRIGGER, STOP_NEXT_OPEN = 0, 1, 2
SLIP_BPS, SLIP_TICKS, SLIP_ATR, SLIP_SPREAD = 1, 2, 3, 4
LINEAR, INVERSE, SPOT = 0, 1, 2

# Why `advance` came back
WAKE_DONE, WAKE_OUTPUTS_FULL, WAKE_SAMPLES_FULL, WAKE_ORDERS_FULL, WAKE_STEP, WAKE_UPDATE = 0, 1, 2, 3, 4, 5
WAKE_DEFECT, WAKE_CAPACITY, WAKE_BAD_RECORD = 6, 7, 8
WAKE_EVENT, WAKE_BOOK_FULL, WAKE_REPORTS_FULL, WAKE_BARS_FULL = 9, 10, 11, 12

# Order books (docs/book.md)
BOOK_NONE, BOOK_VALID, BOOK_INVALID_STATE = 0, 1, 2
BID, ASK = 0, 1
MESSAGE_APPLIED, MESSAGE_SKIPPED, MESSAGE_BROKEN = 1, 2, 3
TRADES_ONLY, POWER, LOGARITHM = 0, 1, 2
BY_LAST, BY_MARK, BY_BOOK = 0, 1, 2
MARKED_BY_BOOK, MARKED_BY_PRINT, MARKED_BY_VENUE = 0, 1, 2
# What strategies are told of, and by whom: nobody, the Python that drives the core, or a compiled function's address.
BOOK_EVENT, PRINT_EVENT, BAR_EVENT, TIMER_EVENT, ORDER_EVENT, FUNDING_EVENT, GAP_EVENT = 1, 2, 3, 4, 5, 6, 7
TO_NOBODY, TO_HOST = 0, 1
HOUR_NS = 3_600 * 10**9

# What stops the core for good: an order's change of state that the table refuses; a trade's turnover past 2^62;
# a compiled strategy that asks for too much in one call, or that raises
REFUSED_TRANSITION, OVERFLOWN, TOO_MANY_ASKED, COMPILED_RAISED = 1, 2, 3, 4

# Heaps an order may be linked into
BY_PRICE, BY_TIME, BY_CANCEL = 0, 1, 2
# Roots of one instrument. The first eight share the heap BY_PRICE: an order stands in one of them at most.
ROOT_BUY_LIMIT, ROOT_SELL_LIMIT, ROOT_BUY_STOP, ROOT_SELL_STOP = 0, 1, 2, 3
ROOT_ARRIVING, ROOT_WAITING, ROOT_TRIGGERED, ROOT_QUEUE = 4, 5, 6, 7
ROOT_EXPIRY, ROOT_CANCEL = 8, 9
ROOTS = 10
SETS = 8
NOWHERE = 255

RECORD = np.dtype(
    [
        ("ts_exchange_ns", "<i8"), ("ts_receive_ns", "<i8"),
        ("kind", "u1"), ("flags", "u1"), ("instrument", "<u2"), ("source", "<u2"), ("spare", "<u2"),
        ("a", "<i8"), ("b", "<i8"), ("c", "<i8"), ("d", "<i8"), ("e", "<i8"),
    ]
)  # fmt: skip

REQUEST = np.dtype(
    [
        ("kind", "u1"), ("type", "u1"), ("tif", "u1"), ("flags", "u1"), ("strategy", "<u2"), ("instrument", "<u2"),
        ("step", "<i8"), ("lots", "<i8"), ("limit_ticks", "<i8"), ("stop_ticks", "<i8"),
        ("expire_ns", "<i8"), ("order_id", "<i8"), ("tag", "<i8"),
    ]
)  # fmt: skip

# Everything in the tables is int64: fields of other widths would compile every kernel once for each mix of them.
ORDER = np.dtype(
    [
        (name, "<i8")
        for name in (
            "id", "strategy", "instrument", "type", "tif", "flags", "state", "lots", "filled_lots",
            "limit_ticks", "stop_ticks", "expire_ns", "tag", "next", "previous",
            "root", "is_triggered", "is_timed", "is_cancel_due", "cancel_bars",
            "send_number", "arrive_ns", "cancel_number", "cancel_ns", "ahead", "printed",
            "is_queued", "level_next", "level_previous", "known_state", "known_filled_lots",
        )
    ]
)  # fmt: skip

TABLES = (
    "instruments", "strategies", "ledgers", "tiers", "orders", "nodes", "roots", "sets", "table", "outputs", "samples",
    "books", "cells", "firsts", "fars", "builders", "reports", "latencies", "bar_rows", "asked",
)  # fmt: skip
COUNTS = (
    "instrument_count", "strategy_count", "ledger_count", "tier_count", "order_capacity", "table_size",
    "output_capacity", "sample_capacity",
    "cell_count", "far_count", "builder_count", "report_capacity", "latency_count", "bar_row_capacity",
    "asked_capacity",
)  # fmt: skip
FIGURES = (
    "hash", "seq", "step", "ts_ns", "wake", "defect", "next_request",
    "cash", "floating", "exposure", "margin", "realised", "fees", "funding",
    "equity_last", "equity_peak", "day", "day_start_equity", "halt", "open_ledgers",
    "order_count", "trade_count", "fill_count", "cancel_count", "ambiguous_bars",
    "live_orders", "free_slot", "slots_used", "output_count", "sample_count", "room_needed",
    # of a tape
    "record_ns", "next_due_ns", "next_sample_ns", "send_count", "last_arrival_ns", "last_report_ns",
    "report_head", "report_count", "undated_reports", "bar_row_count", "output_base", "open_message",
    "message_mode", "message_id", "is_message_snapshot",
    "event", "event_instrument", "event_strategy", "event_next", "event_word", "event_state", "event_row",
    "asked_count", "asked_next", "is_record_open", "stage", "is_clock_running", "is_ending", "level_total",
)  # fmt: skip
SETTINGS = (
    "initial_cash", "fill_model", "priority", "limit_touch", "stop_fill", "latency_bars",
    "max_volume_share_e12", "leverage_e12", "is_isolated",
    "slippage", "slippage_e12", "slippage_ticks", "atr_length", "spread_e12", "spread_ticks",
    "fee_per_order", "fee_per_fill", "liquidation_fee_e12",
    "max_drawdown_e12", "strategy_max_drawdown_e12", "daily_loss_e12", "max_leverage_e12",
    "max_open_positions", "is_flatten_on_trip", "is_close_at_end", "wake_each_step", "wake_on_update",
    "is_book", "lateness_ns", "uses_feed_latency", "sample_ns", "queue_model", "queue_power", "stop_trigger",
    "tells_books", "tells_prints", "is_strict",
)  # fmt: skip
# The one record that every kernel is handed: the account's figures, the settings, and where the tables lie.
CORE = np.dtype(
    [*((name, "<i8") for name in (*FIGURES, *SETTINGS, *COUNTS, *TABLES, "address")), ("atr_factor", "<f8")]
)

INSTRUMENT = np.dtype(
    [
        (name, "<i8")
        for name in (
            "kind", "factor", "minimum_notional", "tier_start", "tier_count", "maker_e12", "taker_e12",
            "bars", "is_open_done", "volume_left", "mark", "close", "most_ticks", "safe_ticks",
            "net_lots", "net_cost", "isolated_margin", "open_ledgers",
            "floating", "notional", "margin", "funding_ts_ns", "atr_bars",
            "has_book", "offset_ns", "venue_due_ns", "next_hour_ns", "boundary_ns", "last",
            "last_lots", "last_flags", "has_mark",
            "quote_bid", "quote_bid_lots", "quote_ask", "quote_ask_lots", "first_builder", "builder_count",
        )
    ]
    + [("atr", "<f8"), ("atr_sum", "<f8")]
)  # fmt: skip

STRATEGY = np.dtype(
    [
        (name, "<i8")
        for name in (
            "is_halted", "equity_peak", "timeframe_ns", "state", "state_bytes",
            "on_book", "on_print", "on_bar", "on_timer", "on_order", "on_funding", "on_gap",
        )
    ]
)  # fmt: skip

LEDGER = np.dtype(
    [
        (name, "<i8")
        for name in (
            "lots", "cost", "realised", "fees", "funding", "first_order", "last_order",
            "trade_id", "trade_ts_ns", "trade_bars", "trade_lots", "trade_lots_most", "trade_entry_value",
            "trade_exit_value", "trade_gross", "trade_fees", "trade_funding", "trade_mae", "trade_mfe",
            "known_lots", "known_cost", "boundary_lots", "is_watching", "timer_ns", "timer_due_ns",
        )
    ]
)  # fmt: skip

NODE = np.dtype([("key", "<i8"), ("child", "<i8"), ("next", "<i8"), ("previous", "<i8")])
PLACE = np.dtype([("slot", "<i8")])
OUTPUT = np.dtype([(f"w{index}", "<i8") for index in range(16)])
SAMPLE = np.dtype([("ts_ns", "<i8"), ("equity", "<i8"), ("exposure", "<i8"), ("margin", "<i8")])
TIER = np.dtype([("floor", "<i8"), ("rate_e12", "<i8"), ("amount", "<i8")])

# One order book: where its window of CELLs stands, its best prices (0: none), and what it has been told.
BOOK = np.dtype(
    [
        (name, "<i8")
        for name in (
            "state", "update_id", "is_fresh", "base", "best_bid", "best_ask", "window_bids", "window_asks",
            "level_count", "window", "cell_offset", "far_offset", "far_size", "far_used",
            "book_ns", "messages", "stale", "broken", "crossed",
        )
    ]
)  # fmt: skip
# The size standing at a price inside the window; a table beside it holds the first of our orders resting there.
CELL = np.dtype([("lots", "<i8")])
# A price outside the window: key = 2·price + side (0: empty), size, and the first of our orders there (slot + 1).
FAR = np.dtype([("key", "<i8"), ("lots", "<i8"), ("first", "<i8")])
BUILDER = np.dtype(
    [
        (name, "<i8")
        for name in (
            "instrument", "timeframe_ns", "start_ns", "open", "high", "low", "close", "volume", "prints",
            "closed_count",
        )
    ]
)  # fmt: skip
REPORT = np.dtype(
    [
        (name, "<i8")
        for name in (
            "due_ns", "record_ns", "slot", "is_immediate", "state", "filled_lots", "lots_change", "cost_change", "row",
        )
    ]
)  # fmt: skip
LATENCY = np.dtype([("ts_ns", "<i8"), ("entry_ns", "<i8"), ("response_ns", "<i8")])
BAR_ROW = np.dtype(
    [(name, "<i8") for name in ("builder", "start_ns", "open", "high", "low", "close", "volume", "prints", "closed_ns")]
)

# Outputs as a reader sees them: views of the 16 words.
_HEAD = [
    ("seq", "<i8"), ("ts_ns", "<i8"), ("kind", "u1"), ("state", "u1"), ("reason", "u1"), ("detail", "u1"),
    ("strategy", "<u2"), ("instrument", "<u2"),
]  # fmt: skip


def _view(*names: str) -> np.dtype[np.void]:
    spare = [f"spare_{index}" for index in range(13 - len(names))]
    return np.dtype([*_HEAD, *((name, "<i8") for name in (*names, *spare))])


OUTPUT_WORDS = 16
ORDER_VIEW = _view(
    "order_id", "lots", "remaining_lots", "limit_ticks", "stop_ticks", "type", "tif", "flags", "expire_ns", "tag"
)
FILL_VIEW = _view(
    "order_id", "lots", "price_ticks", "base_ticks", "fee", "pnl", "value", "ledger_lots", "ledger_cost", "cash",
    "trade_id", "remaining_lots", "tag",
)  # fmt: skip
FUNDING_VIEW = _view("rate_e12", "mark_micro", "lots", "payment", "cash", "trade_id")
TRADE_VIEW = _view(
    "order_id", "trade_id", "lots_most", "lots_entered", "entry_ts_ns", "entry_value", "exit_value", "gross",
    "fees", "funding", "mae", "mfe", "bars_held",
)  # fmt: skip
RISK_VIEW = _view("value", "limit", "equity", "reference")
BOOK_VIEW = _view("order_id", "bid", "bid_lots", "ask", "ask_lots", "update_id", "age_ns", "ahead")
