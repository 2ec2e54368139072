"""The core a second time, in plain Python, as docs/engine.md states it.

Slow and plain on purpose: Python integers of any size, lists, loops over every order. It shares no code with
`engine/`, so that where both agree on an input, both are most likely right. Where the page leaves a choice,
the one made here is marked `# reading:`.
"""

# Methods bear the names of docs/engine.md; that page is their docstring.
# ruff: noqa: D102

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

E12 = 10**12
DAY_NS = 86_400 * 10**9
CAPACITY_LIMIT = 2**60
ACCOUNT_WIDE = 0xFFFF

# Input records.
BAR, BAR_OPEN, FUNDING, END = 1, 2, 3, 4
LAST, STATIC = 1, 2

# Requests.
ORDER, CANCEL, TARGET, CANCEL_ALL, HALT, RESUME, NOTE = 1, 2, 3, 4, 5, 6, 7
MARKET, LIMIT, STOP, STOP_LIMIT = 1, 2, 3, 4
GTC, IOC, FOK, GTD = 1, 2, 3, 4
POST_ONLY, REDUCE_ONLY, SYSTEM = 1, 2, 4

# Order states.
NEW, ACTIVE, PARTIAL, FILLED, CANCELED, EXPIRED, REJECTED = 1, 2, 3, 4, 5, 6, 7
WORKING = (NEW, ACTIVE, PARTIAL)
ALLOWED = {
    NEW: {ACTIVE, CANCELED, EXPIRED, REJECTED},
    ACTIVE: {PARTIAL, FILLED, CANCELED, EXPIRED},
    PARTIAL: {PARTIAL, FILLED, CANCELED, EXPIRED},
}

# Reasons.
R_NONE, R_REQUESTED, R_IOC, R_FOK, R_POST_ONLY, R_REDUCE_ONLY = 0, 1, 2, 3, 4, 5
R_MARGIN, R_MAX_LEVERAGE = 6, 7
R_MAX_POSITIONS, R_HALTED, R_NO_SHORT, R_BELOW_MINIMUM, R_INVALID, R_CAPACITY = 8, 9, 10, 11, 12, 13
R_NO_PRICE, R_EXPIRED, R_END, R_LIQUIDATION = 14, 15, 16, 17

# Outputs.
OUT_ORDER, OUT_FILL, OUT_FUNDING, OUT_TRADE, OUT_RISK = 1, 2, 3, 4, 5
MAKER, TAKER = 1, 2
MODEL_NONE, MODEL_BPS, MODEL_TICKS, MODEL_ATR, MODEL_SPREAD, MODEL_LIQUIDATION = 0, 1, 2, 3, 4, 9
MAX_DRAWDOWN, STRATEGY_DRAWDOWN, DAILY_LOSS, RESUMED, LIQUIDATION, BANKRUPT = 1, 2, 3, 4, 5, 6
STOPPED, STARTED, QUARANTINED = 8, 9, 11
HALTED_BY_HAND = 7
HALT_NONE, HALT_DRAWDOWN, HALT_DAILY, HALT_BANKRUPT, HALT_BY_HAND = 0, 1, 2, 3, 4


# ── Arithmetic ──────────────────────────────────────────────────────────────────────────────────────────────


def muldiv(a: int, b: int, c: int) -> int:
    """a·b/c, rounded half to even."""
    quotient, rest = divmod(a * b, c)
    if 2 * rest > c or (2 * rest == c and quotient % 2 == 1):
        quotient += 1
    return quotient


def muldiv_ceil(a: int, b: int, c: int) -> int:
    assert a >= 0
    assert b >= 0
    return -(-a * b // c)


def muldiv_floor(a: int, b: int, c: int) -> int:
    assert a >= 0
    assert b >= 0
    return a * b // c


def opposite(a: int, b: int) -> bool:
    return (a > 0 > b) or (a < 0 < b)


# ── The chained hash ────────────────────────────────────────────────────────────────────────────────────────

MASK = 2**64 - 1
HASH_START = 0x7461706577726974


def splitmix64(x: int) -> int:
    """Give the first number of a splitmix64 generator seeded with x."""
    # reading: "splitmix64 of x" adds the golden gamma to x before mixing, as its next() does.
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


P = [splitmix64(i + 1) | 1 for i in range(16)]


def fold(words: Sequence[int]) -> int:
    return sum((word & MASK) * P[i] for i, word in enumerate(words)) & MASK


def extend(h: int, w: int) -> int:
    h = ((h ^ (w & MASK)) * 0x9E3779B97F4A7C15) & MASK
    return h ^ (h >> 32)


def rotl(x: int, count: int) -> int:
    x &= MASK
    return ((x << count) | (x >> (64 - count))) & MASK


# ── What goes in ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class TwinInstrument:
    """One symbol's integers. `tiers` are (floor, rate_e12, amount), the first with floor 0."""

    kind: str = "linear"  # linear, inverse, spot
    factor: int = 1
    minimum_notional: int = 0
    tiers: tuple[tuple[int, int, int], ...] = ((0, 5 * 10**9, 0),)
    maker_e12: int = 0
    taker_e12: int = 0


@dataclass(frozen=True)
class TwinSettings:
    """A run's settings as integers; 0 switches a guard or a share off."""

    initial_cash: int = 1_000_000
    fill_mode: str = "close_to_open"  # close_to_close
    priority: str = "pessimistic"  # adaptive, ohlc, olhc, fifo
    limit_touch: bool = False
    stop_fill: str = "worse_of_open_and_trigger"  # trigger, next_open
    latency_bars: int = 0
    max_volume_share_e12: int = 0
    leverage_e12: int = E12
    isolated: bool = False
    slippage_model: str = "bps"  # ticks, atr, spread
    bps_e12: int = 0
    slip_ticks: int = 0
    atr_length: int = 14
    atr_factor: float = 0.0
    spread_e12: int = 0
    spread_ticks: int = 0
    per_order: int = 0
    per_fill: int = 0
    liquidation_fee_e12: int = 0
    max_drawdown_e12: int = 0
    strategy_max_drawdown_e12: int = 0
    daily_loss_e12: int = 0
    max_leverage_e12: int = 0
    max_open_positions: int = 0
    flatten: bool = True
    close_at_end: bool = True


@dataclass(frozen=True)
class Record:
    """One input; fields as in docs/engine.md."""

    ts_exchange_ns: int
    ts_receive_ns: int
    kind: int
    flags: int = 0
    instrument: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0

    @classmethod
    def of_row(cls, row: Any) -> Record:
        """From a row of a structured array with the same field names."""
        return cls(**{name: int(row[name]) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Request:
    """One wish of a strategy; fields as in docs/engine.md."""

    kind: int = ORDER
    type: int = MARKET
    tif: int = GTC
    flags: int = 0
    strategy: int = 0
    instrument: int = 0
    step: int = 0
    lots: int = 0
    limit_ticks: int = 0
    stop_ticks: int = 0
    expire_ns: int = 0
    order_id: int = 0
    tag: int = 0

    @classmethod
    def of_row(cls, row: Any) -> Request:
        """From a row of a structured array with the same field names."""
        return cls(**{name: int(row[name]) for name in cls.__dataclass_fields__})


# ── What is kept ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Order:
    """One order from its request to its end."""

    id: int
    strategy: int
    instrument: int
    type: int
    tif: int
    flags: int
    lots: int
    limit: int
    stop: int
    expire_ns: int
    tag: int
    bars_at_request: int
    remaining: int
    state: int = NEW
    filled_lots: int = 0
    triggered: bool = False  # a STOP is then a market order, a STOP_LIMIT a limit order
    tested_inside: bool = True  # False: a stop-limit triggered at this bar's open, not yet tested
    cancel_asked: bool = False
    closes_why: int = R_NONE  # the reason of a TRADE that this order closes

    @property
    def sign(self) -> int:
        return 1 if self.lots > 0 else -1

    @property
    def is_buy(self) -> bool:
        return self.lots > 0

    @property
    def working(self) -> bool:
        return self.state in WORKING

    @property
    def resting(self) -> bool:
        return self.state in (ACTIVE, PARTIAL)

    @property
    def acts_as(self) -> int:
        """The type whose rules hold now."""
        if self.triggered:
            return MARKET if self.type == STOP else LIMIT
        return self.type

    def has(self, flag: int) -> bool:
        return self.flags & flag != 0


@dataclass
class Trade:
    """What one ledger does from flat to flat."""

    id: int
    direction: int
    entry_ts: int
    bars_at_entry: int
    greatest: int = 0
    entered: int = 0
    entry_value: int = 0
    exit_value: int = 0
    gross: int = 0
    fees: int = 0
    funding: int = 0
    mae: int = 0
    mfe: int = 0

    def excursion(self, result: int) -> None:
        self.mae = min(self.mae, result)
        self.mfe = max(self.mfe, result)


@dataclass(eq=False)
class Ledger:
    """One strategy on one instrument."""

    strategy: int
    instrument: int
    lots: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    funding: int = 0
    trade: Trade | None = None


@dataclass
class Market:
    """What is known of one instrument now."""

    mark: int = 0  # 0: no price yet
    bars: int = 0
    open_seen: bool = False  # a BAR_OPEN came, its BAR has not
    volume_left: int | None = None  # None: unlimited
    isolated_margin: int = 0
    last_funding_ts: int | None = None
    previous_close: int | None = None
    true_ranges: list[int] = field(default_factory=list)
    atr: float | None = None


# ── The machine ─────────────────────────────────────────────────────────────────────────────────────────────


class Twin:
    """Consumes records and requests; keeps outputs, samples and the hash."""

    def __init__(self, settings: TwinSettings, instruments: Sequence[TwinInstrument], strategies: int) -> None:
        self.settings = settings
        self.instruments = list(instruments)
        self.strategies = strategies
        self.markets = [Market() for _ in instruments]
        # Index order of the ledgers: s·N + k.
        self.ledgers = [Ledger(s, k) for s in range(strategies) for k in range(len(instruments))]
        self.orders: list[Order] = []
        self.late_cancels: list[tuple[Order, int]] = []  # (order, bars of its instrument at the request)
        self.seq = 0
        self.step = 0
        self.ts = 0
        self.cash = settings.initial_cash
        self.pnl = 0
        self.fees = 0
        self.funding = 0
        self.closed_gross = 0
        self.trades = 0
        self.ambiguous_bars = 0
        self.halt = HALT_NONE
        self.strategy_halted = [False] * strategies
        self.peak = settings.initial_cash
        self.strategy_peak = [settings.initial_cash] * strategies
        self.day: int | None = None
        self.day_start = settings.initial_cash
        self.outputs: list[tuple[int, ...]] = []
        self.samples: list[tuple[int, int, int, int]] = []
        self.hash = HASH_START

    # ── Feeding ─────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, records: Iterable[Any], requests: Iterable[Any] = ()) -> None:
        """Consume records; requests act at the end of the step whose number they carry."""
        wishes = [wish if isinstance(wish, Request) else Request.of_row(wish) for wish in requests]
        for row in records:
            self._consume(row if isinstance(row, Record) else Record.of_row(row), wishes)

    def submit(self, requests: Iterable[Any]) -> int:
        """Act on requests now, in order; returns the id that the first new order among them gets."""
        first = len(self.orders) + 1
        for row in requests:
            self._act(row if isinstance(row, Request) else Request.of_row(row))
        self.check_identity()
        return first

    def _consume(self, record: Record, requests: Sequence[Request]) -> None:
        self.seq += 1
        self.ts = record.ts_receive_ns
        k = record.instrument
        if record.kind == BAR:
            if not self.markets[k].open_seen:
                self._open_phase(k, record)
            self.markets[k].open_seen = False
            self._inside_phase(k, record)
        elif record.kind == BAR_OPEN:
            self._open_phase(k, record)
            self.markets[k].open_seen = True
        elif record.kind == FUNDING:
            self._fund(k, record)
        elif record.kind == END:
            self._end()
        self.ts = record.ts_receive_ns
        if record.flags & LAST:
            self._end_step(requests)
        self.check_identity()

    def _emit(
        self,
        kind: int,
        payload: Sequence[int],
        *,
        state: int = 0,
        reason: int = 0,
        detail: int = 0,
        strategy: int = ACCOUNT_WIDE,
        instrument: int = 0,
    ) -> None:
        header = kind | state << 8 | reason << 16 | detail << 24 | strategy << 32 | instrument << 48
        words = (self.seq, self.ts, header, *payload, *[0] * (13 - len(payload)))
        assert len(words) == 16
        assert all(-(2**63) <= word < 2**63 for word in words)
        self.outputs.append(words)
        self.hash = extend(self.hash, fold(words))

    # ── Values ──────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, k: int, lots: int, ticks: int) -> int:
        if lots == 0:
            return 0
        if self.instruments[k].kind == "inverse":
            return -muldiv(lots * self.instruments[k].factor, 1, ticks)
        return lots * ticks * self.instruments[k].factor

    def ledger(self, s: int, k: int) -> Ledger:
        return self.ledgers[s * len(self.instruments) + k]

    def net_lots(self, k: int) -> int:
        return sum(ledger.lots for ledger in self.ledgers if ledger.instrument == k)

    def net_cost(self, k: int) -> int:
        return sum(ledger.cost for ledger in self.ledgers if ledger.instrument == k)

    def floating(self, k: int, price: int | None = None) -> int:
        at = self.markets[k].mark if price is None else price
        return self.value(k, self.net_lots(k), at) - self.net_cost(k)

    def notional(self, k: int, price: int | None = None) -> int:
        at = self.markets[k].mark if price is None else price
        return abs(self.value(k, self.net_lots(k), at))

    @property
    def equity(self) -> int:
        return self.cash + sum(self.floating(k) for k in range(len(self.instruments)))

    @property
    def exposure(self) -> int:
        return sum(self.notional(k) for k in range(len(self.instruments)))

    def used_margin(self, k: int) -> int:
        if self.instruments[k].kind == "spot":
            return self.notional(k)
        if self.settings.isolated:
            return self.markets[k].isolated_margin
        return muldiv(self.notional(k), E12, self.settings.leverage_e12)

    @property
    def margin(self) -> int:
        return sum(self.used_margin(k) for k in range(len(self.instruments)))

    def maintenance(self, k: int, price: int | None = None) -> int:
        if self.instruments[k].kind == "spot":
            return 0
        notional = self.notional(k, price)
        # reading: a notional below every floor (no tier starts at 0) needs no maintenance margin.
        due = [tier for tier in self.instruments[k].tiers if tier[0] <= notional]
        if not due:
            return 0
        _, rate_e12, amount = max(due, key=lambda tier: tier[0])
        return max(0, muldiv(notional, rate_e12, E12) - amount)

    def check_identity(self) -> None:
        """Money is neither made nor lost: exact after every record."""
        open_gross = sum(ledger.trade.gross for ledger in self.ledgers if ledger.trade is not None)
        floating = sum(self.floating(k) for k in range(len(self.instruments)))
        earned = self.closed_gross + open_gross + floating - self.fees - self.funding
        assert self.equity - self.settings.initial_cash == earned
        assert self.cash == self.settings.initial_cash + self.pnl - self.fees - self.funding
        assert self.pnl == sum(ledger.realised for ledger in self.ledgers)
        assert self.fees == sum(ledger.fees for ledger in self.ledgers)
        assert self.funding == sum(ledger.funding for ledger in self.ledgers)
        for ledger in self.ledgers:
            assert (ledger.lots == 0) == (ledger.trade is None)
            assert ledger.lots != 0 or ledger.cost == 0

    # ── A step end ──────────────────────────────────────────────────────────────────────────────────────────

    def _end_step(self, requests: Sequence[Request]) -> None:
        self.step += 1
        previous_equity = self.samples[-1][1] if self.samples else self.settings.initial_cash
        equity, exposure = self.equity, self.exposure
        self.samples.append((self.ts, equity, exposure, self.margin))
        self.hash = extend(self.hash, equity + rotl(exposure, 32))
        # reading: the account's peak is kept with the drawdown guard off too (BANKRUPT shows it).
        self.peak = max(self.peak, equity)
        day = (self.ts - 1) // DAY_NS
        if day != self.day:
            self.day_start = previous_equity
            if self.halt == HALT_DAILY:
                self.halt = HALT_NONE
                self._emit(OUT_RISK, (equity, 0, equity, self.day_start), reason=RESUMED)
            self.day = day
        self._guards(equity, exposure)
        for request in requests:
            if request.step == self.step:
                self._act(request)

    def _guards(self, equity: int, exposure: int) -> None:
        settings = self.settings
        if self.halt == HALT_NONE and equity <= 0 and (exposure != 0 or self.cash <= 0):
            self._emit(OUT_RISK, (equity, 0, equity, self.peak), reason=BANKRUPT)
            self.halt = HALT_BANKRUPT
            self._trip(self.ledgers)
        if self.halt == HALT_NONE and settings.max_drawdown_e12:
            limit = muldiv(self.peak, settings.max_drawdown_e12, E12)
            if self.peak - equity >= limit:
                self._emit(OUT_RISK, (self.peak - equity, limit, equity, self.peak), reason=MAX_DRAWDOWN)
                self.halt = HALT_DRAWDOWN
                self._trip(self.ledgers)
        if self.halt == HALT_NONE and settings.daily_loss_e12:
            limit = muldiv(self.day_start, settings.daily_loss_e12, E12)
            if self.day_start - equity >= limit:
                payload = (self.day_start - equity, limit, equity, self.day_start)
                self._emit(OUT_RISK, payload, reason=DAILY_LOSS)
                self.halt = HALT_DAILY
                self._trip(self.ledgers)
        # reading: a strategy's guard looks at that strategy's halt alone; a halted account does not stop it.
        for s in range(self.strategies):
            if self.strategy_halted[s] or not settings.strategy_max_drawdown_e12:
                continue
            own = self._own_equity(s)
            self.strategy_peak[s] = max(self.strategy_peak[s], own)
            limit = muldiv(self.strategy_peak[s], settings.strategy_max_drawdown_e12, E12)
            if self.strategy_peak[s] - own >= limit:
                payload = (self.strategy_peak[s] - own, limit, own, self.strategy_peak[s])
                self._emit(OUT_RISK, payload, reason=STRATEGY_DRAWDOWN, strategy=s)
                self.strategy_halted[s] = True
                self._trip([ledger for ledger in self.ledgers if ledger.strategy == s])

    def _own_equity(self, s: int) -> int:
        # reading: taken when this guard's turn comes, after what earlier guards of the step filled.
        own = self.settings.initial_cash
        for ledger in self.ledgers:
            if ledger.strategy == s:
                k = ledger.instrument
                own += ledger.realised - ledger.fees - ledger.funding
                own += self.value(k, ledger.lots, self.markets[k].mark) - ledger.cost
        return own

    def _trip(self, scope: Sequence[Ledger]) -> None:
        # reading: SYSTEM orders of an earlier trip that still work are canceled too, and made anew.
        self._cancel_working(scope, R_HALTED)
        if self.settings.flatten:
            for ledger in scope:
                if ledger.lots != 0:
                    self._submit_order(
                        Request(
                            strategy=ledger.strategy,
                            instrument=ledger.instrument,
                            lots=-ledger.lots,
                            flags=SYSTEM | REDUCE_ONLY,
                        ),
                        closes_why=R_HALTED,
                    )

    def _cancel_working(self, scope: Sequence[Ledger], reason: int) -> None:
        for ledger in scope:
            for order in self._orders_of(ledger.instrument):
                if order.strategy == ledger.strategy:
                    self._move(order, CANCELED, reason)

    # ── Requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _act(self, request: Request) -> None:
        # reading: an unknown kind of request does nothing.
        if request.kind in (ORDER, TARGET):
            wish = request
            # reading: only the core sets SYSTEM; of a request's flags the first two count, and are shown.
            flags = request.flags & (POST_ONLY | REDUCE_ONLY)
            if request.kind == TARGET:
                # reading: a plain GTC market order; of the request its flags and tag count, no price or time.
                lots = request.lots - self.ledger(request.strategy, request.instrument).lots
                if lots == 0:
                    return
                wish = replace(request, type=MARKET, tif=GTC, lots=lots, limit_ticks=0, stop_ticks=0, expire_ns=0)
                if request.lots == 0:
                    flags |= REDUCE_ONLY
            wish = replace(wish, flags=flags)
            self._submit_order(wish)
        elif request.kind == CANCEL:
            for order in self.orders:
                if order.id == request.order_id and order.strategy == request.strategy:
                    self._ask_cancel(order)
        elif request.kind == CANCEL_ALL:
            for order in self.orders:
                if (order.strategy, order.instrument) == (request.strategy, request.instrument):
                    self._ask_cancel(order)
        else:
            self._decide(request)

    def _decide(self, request: Request) -> None:
        """Requests of whoever runs the session."""
        equity, s = self.equity, request.strategy
        if request.kind == HALT and self.halt == HALT_NONE:
            self._emit(OUT_RISK, (0, 0, equity, self.peak), reason=HALTED_BY_HAND)
            self.halt = HALT_BY_HAND
        elif request.kind == RESUME and self.halt not in (HALT_NONE, HALT_BANKRUPT):
            self.halt = HALT_NONE
            self.peak = self.day_start = equity
            self._emit(OUT_RISK, (equity, 0, equity, equity), reason=RESUMED)
        elif request.kind == NOTE and STOPPED <= request.tag <= QUARANTINED:
            self._emit(OUT_RISK, (0, 0, equity, self.strategy_peak[s]), reason=request.tag, strategy=s)
            self.strategy_halted[s] = request.tag != STARTED
            if request.tag == STARTED:
                self.strategy_peak[s] = -(2**62)

    def _ask_cancel(self, order: Order) -> None:
        if not order.working or order.cancel_asked:
            return
        if self.settings.latency_bars == 0:
            self._move(order, CANCELED, R_REQUESTED)
        else:
            order.cancel_asked = True
            self.late_cancels.append((order, self.markets[order.instrument].bars))

    def _submit_order(self, request: Request, closes_why: int = R_NONE) -> None:
        order = self._new_order(request, closes_why)
        reason = self._refusal(order)
        if reason != R_NONE:
            self._move(order, REJECTED, reason)
        elif self.settings.fill_mode == "close_to_close" and self._latency(order) == 0:
            self._arrive_at_close(order)

    def _new_order(self, request: Request, closes_why: int) -> Order:
        order = Order(
            id=len(self.orders) + 1,
            strategy=request.strategy,
            instrument=request.instrument,
            type=request.type,
            tif=request.tif,
            flags=request.flags,
            lots=request.lots,
            limit=request.limit_ticks,
            stop=request.stop_ticks,
            expire_ns=request.expire_ns,
            tag=request.tag,
            bars_at_request=self.markets[request.instrument].bars,
            remaining=abs(request.lots),
            closes_why=closes_why,
        )
        self.orders.append(order)
        self._show(order, R_NONE)
        return order

    def _latency(self, order: Order) -> int:
        return 0 if order.has(SYSTEM) else self.settings.latency_bars

    def _refusal(self, order: Order) -> int:
        """Why an order is rejected when it is submitted."""
        instrument = self.instruments[order.instrument]
        market = self.markets[order.instrument]
        ledger = self.ledger(order.strategy, order.instrument)
        if self._is_invalid(order):
            return R_INVALID
        if market.mark == 0:
            return R_NO_PRICE
        if self._is_halted_for(order):
            return R_HALTED
        reference = order.limit or order.stop or market.mark
        most = CAPACITY_LIMIT // instrument.factor
        if instrument.kind != "inverse":
            most = CAPACITY_LIMIT // (reference * instrument.factor)
        if abs(order.lots) > most:
            return R_CAPACITY
        only_reduces = opposite(order.lots, ledger.lots) and abs(order.lots) <= abs(ledger.lots)
        value = self.value(order.instrument, order.lots, reference)
        if abs(value) < instrument.minimum_notional and not only_reduces:
            return R_BELOW_MINIMUM
        if instrument.kind == "spot" and order.lots < 0 and abs(order.lots) > ledger.lots:
            return R_NO_SHORT
        return R_NONE

    def _is_invalid(self, order: Order) -> bool:
        if order.lots == 0 or abs(order.lots) > 2**62 or order.type not in (MARKET, LIMIT, STOP, STOP_LIMIT):
            return True
        if order.tif not in (GTC, IOC, FOK, GTD):
            return True
        if order.type in (LIMIT, STOP_LIMIT):
            if order.limit <= 0:
                return True
        elif order.limit != 0:
            return True
        if order.type in (STOP, STOP_LIMIT):
            if order.stop <= 0:
                return True
        elif order.stop != 0:
            return True
        if order.has(POST_ONLY) and not (order.type == LIMIT and order.tif in (GTC, GTD)):
            return True
        if order.tif == GTD:
            return order.expire_ns <= self.ts
        return order.expire_ns != 0

    def _is_halted_for(self, order: Order) -> bool:
        if order.has(SYSTEM):
            return False
        if self.halt == HALT_NONE and not self.strategy_halted[order.strategy]:
            return False
        held = self.ledger(order.strategy, order.instrument).lots
        only_reduces = opposite(order.lots, held) and order.remaining <= abs(held)
        return not only_reduces

    # ── An order's life ─────────────────────────────────────────────────────────────────────────────────────

    def _show(self, order: Order, reason: int) -> None:
        self._emit(
            OUT_ORDER,
            (
                order.id,
                order.lots,
                order.remaining,
                order.limit,
                order.stop,
                order.type,
                order.tif,
                order.flags,
                order.expire_ns,
                order.tag,
            ),
            state=order.state,
            reason=reason,
            strategy=order.strategy,
            instrument=order.instrument,
        )

    def _move(self, order: Order, state: int, reason: int = R_NONE) -> None:
        """Change the state and say so."""
        assert state in ALLOWED[order.state]
        order.state = state
        self._show(order, reason)

    def _arrival_refusal(self, order: Order, price: int) -> int:
        if self._is_halted_for(order):
            return R_HALTED
        if order.has(POST_ONLY) and (price <= order.limit if order.is_buy else price >= order.limit):
            return R_POST_ONLY
        if order.type != MARKET:
            at = order.limit or order.stop
            if not self._margin_suffices(order.instrument, order.sign * order.remaining, at):
                return R_MARGIN
        return R_NONE

    def _through(self, order: Order, price: int) -> bool:
        """Whether a price is through the order's limit (or touches it, where that is enough)."""
        if self.settings.limit_touch and price == order.limit:
            return True
        return price < order.limit if order.is_buy else price > order.limit

    @staticmethod
    def _at_stop(order: Order, price: int) -> bool:
        return price >= order.stop if order.is_buy else price <= order.stop

    def _cancel_at_once(self, order: Order) -> None:
        """Cancel an IOC or FOK limit that did not fill on arrival or in its own bar."""
        if order.tif == IOC:
            self._move(order, CANCELED, R_IOC)
        elif order.tif == FOK:
            self._move(order, CANCELED, R_FOK)

    def _arrive_at_close(self, order: Order) -> None:
        """close_to_close: the order acts at the mark, at once."""
        price = self.markets[order.instrument].mark
        reason = self._arrival_refusal(order, price)
        if reason != R_NONE:
            self._move(order, REJECTED, reason)
            return
        self._move(order, ACTIVE)
        if order.type == MARKET:
            self._fill(order, price, taker=True)
        elif order.type == LIMIT:
            if self._through(order, price):
                self._fill(order, price, taker=True)
            else:
                self._cancel_at_once(order)
        # reading: stops that arrive at a close rest, and are tested in every phase that follows.

    # ── The open phase ──────────────────────────────────────────────────────────────────────────────────────

    def _open_phase(self, k: int, record: Record) -> None:
        market = self.markets[k]
        price, volume = record.a, record.e
        previous_mark = market.mark
        self.ts = record.ts_exchange_ns
        market.bars += 1
        market.mark = price
        market.volume_left = None
        if self.settings.max_volume_share_e12 and volume >= 0:
            market.volume_left = muldiv_floor(volume, self.settings.max_volume_share_e12, E12)
        self._late_cancels_due(k)
        self._check_liquidation_at_open(k, price, previous_mark)
        self._expire(k)
        arrived = []
        if self.settings.fill_mode == "close_to_open":
            for order in self._orders_of(k):
                if order.state == NEW and market.bars >= order.bars_at_request + 1 + self._latency(order):
                    arrived.append(order)
                    self._arrive_at_open(order, price)
        for order in self._orders_of(k):
            if order.resting:
                self._fill_at_open(order, price, arrived=order in arrived)

    def _orders_of(self, k: int) -> list[Order]:
        """List the instrument's working orders, by id."""
        return [order for order in self.orders if order.working and order.instrument == k]

    def _late_cancels_due(self, k: int) -> None:
        waiting = []
        for order, bars in self.late_cancels:
            if order.instrument == k and self.markets[k].bars > bars + self.settings.latency_bars:
                if order.working:
                    self._move(order, CANCELED, R_REQUESTED)
            else:
                waiting.append((order, bars))
        self.late_cancels = waiting

    def _expire(self, k: int) -> None:
        due = [order for order in self._orders_of(k) if order.expire_ns != 0 and order.expire_ns <= self.ts]
        for order in sorted(due, key=lambda order: (order.expire_ns, order.id)):
            self._move(order, EXPIRED, R_EXPIRED)

    def _arrive_at_open(self, order: Order, price: int) -> None:
        reason = self._arrival_refusal(order, price)
        if reason != R_NONE:
            self._move(order, REJECTED, reason)
            return
        self._move(order, ACTIVE)
        if order.type == LIMIT and not self._through(order, price):
            self._cancel_at_once(order)

    def _fill_at_open(self, order: Order, price: int, *, arrived: bool) -> None:
        acts_as = order.acts_as
        if not order.tested_inside:
            return  # reading: a stop-limit whose bar never closed waits for the close of the next that does
        if acts_as == MARKET:
            self._fill(order, price, taker=True)
        elif acts_as == LIMIT:
            if self._through(order, price):
                self._fill(order, price, taker=arrived)
        elif self._at_stop(order, price):
            order.triggered = True
            if acts_as == STOP_LIMIT:
                order.tested_inside = False
            elif self.settings.stop_fill == "worse_of_open_and_trigger":
                self._fill(order, price, taker=True)
            elif self.settings.stop_fill == "trigger":
                self._fill(order, order.stop, taker=True)

    # ── Inside the bar ──────────────────────────────────────────────────────────────────────────────────────

    def _inside_phase(self, k: int, bar: Record) -> None:
        market = self.markets[k]
        open_, high, low, close = bar.a, bar.b, bar.c, bar.d
        self.ts = bar.ts_receive_ns
        turned = []  # stop-limits that became limits in this bar
        for order in self._orders_of(k):
            if not order.tested_inside:
                order.tested_inside = True
                turned.append(order)
                self._test_in_own_bar(order, close)
        left = [
            order
            for order in self._orders_of(k)
            if order.resting and order not in turned and self._triggers_inside(order, high, low)
        ]
        sides = {self._is_up_side(order) for order in left}
        if len(sides) == 2:
            self.ambiguous_bars += 1
        while left:
            order = min(left, key=lambda order: (self._rank(order, bar), order.id))
            left.remove(order)
            self._take_inside(order, close)
        self._check_liquidation_inside(k, open_, high, low)
        market.mark = close
        for ledger in self.ledgers:
            if ledger.instrument == k and ledger.trade is not None:
                for price in (low, high):
                    floating = self.value(k, ledger.lots, price) - ledger.cost
                    ledger.trade.excursion(ledger.trade.gross + floating)
        self._update_atr(market, high, low, close)
        self._expire(k)
        if self.settings.fill_mode == "close_to_close":
            for order in self._orders_of(k):
                if order.state == NEW and market.bars >= order.bars_at_request + self._latency(order):
                    self._arrive_at_close(order)

    def _triggers_inside(self, order: Order, high: int, low: int) -> bool:
        acts_as = order.acts_as
        if acts_as == MARKET:
            return False  # it waits for the next open
        if acts_as == LIMIT:
            return self._through(order, low if order.is_buy else high)
        return self._at_stop(order, high if order.is_buy else low)

    @staticmethod
    def _is_up_side(order: Order) -> bool:
        return order.is_buy != (order.acts_as == LIMIT)

    def _rank(self, order: Order, bar: Record) -> int:
        """Sort key of one bar's orders, before their ids."""
        open_, high, low = bar.a, bar.b, bar.c
        priority = self.settings.priority
        if priority == "fifo":
            return 0
        if priority == "pessimistic":
            reduces = opposite(order.lots, self.ledger(order.strategy, order.instrument).lots)
            if order.has(REDUCE_ONLY) and not reduces:
                return 4
            if order.acts_as == LIMIT:
                return 3 if reduces else 2
            return 0 if reduces else 1
        if priority == "adaptive":
            priority = "ohlc" if high - open_ <= open_ - low else "olhc"
        level = order.limit if order.acts_as == LIMIT else order.stop
        if self._is_up_side(order):
            return level - open_ if priority == "ohlc" else (open_ - low) + (level - low)
        return open_ - level if priority == "olhc" else (high - open_) + (high - level)

    def _take_inside(self, order: Order, close: int) -> None:
        acts_as = order.acts_as
        if acts_as == LIMIT:
            self._fill(order, order.limit, taker=False)
            return
        order.triggered = True
        if acts_as == STOP_LIMIT:
            self._test_in_own_bar(order, close)
        elif self.settings.stop_fill != "next_open":
            self._fill(order, order.stop, taker=True)

    def _test_in_own_bar(self, order: Order, close: int) -> None:
        if self._through(order, close):
            self._fill(order, order.limit, taker=True, slips=False)
        else:
            self._cancel_at_once(order)

    def _update_atr(self, market: Market, high: int, low: int, close: int) -> None:
        # reading: Wilder's ATR in ticks; the first bar's range is high - low; starts as the mean of the first
        # `atr_length` true ranges, then (atr·(n - 1) + range) / n.
        n = self.settings.atr_length
        true_range = high - low
        if market.previous_close is not None:
            true_range = max(high, market.previous_close) - min(low, market.previous_close)
        market.previous_close = close
        if market.atr is None:
            market.true_ranges.append(true_range)
            if len(market.true_ranges) == n:
                market.atr = sum(market.true_ranges) / n
        else:
            market.atr = (market.atr * (n - 1) + true_range) / n

    # ── A fill ──────────────────────────────────────────────────────────────────────────────────────────────

    def _slip(self, k: int, base: int) -> tuple[int, int]:
        """How many ticks worse a taker fills, and the model that says so."""
        settings = self.settings
        by_bps = muldiv_ceil(base, settings.bps_e12, E12)
        if settings.slippage_model == "ticks":
            return settings.slip_ticks, MODEL_TICKS
        if settings.slippage_model == "atr":
            atr = self.markets[k].atr
            if atr is not None:
                return math.ceil(atr * settings.atr_factor), MODEL_ATR
        if settings.slippage_model == "spread":
            if settings.spread_ticks:
                return -(-settings.spread_ticks // 2) + by_bps, MODEL_SPREAD
            if settings.spread_e12:
                return muldiv_ceil(base, settings.spread_e12, 2 * E12) + by_bps, MODEL_SPREAD
        return by_bps, MODEL_BPS

    def _fill(self, order: Order, base: int, *, taker: bool, slips: bool = True, any_volume: bool = False) -> None:
        k = order.instrument
        market = self.markets[k]
        ledger = self.ledger(order.strategy, k)
        want = order.remaining
        if order.has(REDUCE_ONLY):
            if not opposite(order.lots, ledger.lots):
                self._move(order, CANCELED, R_REDUCE_ONLY)
                return
            want = min(want, abs(ledger.lots))
        lots = want
        if market.volume_left is not None and not any_volume:
            lots = min(want, market.volume_left)
        if order.tif == FOK and lots < order.remaining:
            self._move(order, CANCELED, R_FOK)
            return
        if lots == 0:
            if order.tif == IOC:
                self._move(order, CANCELED, R_IOC)
            return
        market.mark = base
        price, model = base, MODEL_NONE
        if taker and slips:
            slip, model = self._slip(k, base)
            price = max(1, base + order.sign * slip)
            if order.type == LIMIT:
                price = min(price, order.limit) if order.is_buy else max(price, order.limit)
        signed = order.sign * lots
        reason = R_NONE if order.has(SYSTEM) else self._fill_refusal(order, signed, price)
        if reason != R_NONE:
            self._move(order, CANCELED, reason)
            return
        if market.volume_left is not None and not any_volume:
            market.volume_left -= lots
        instrument = self.instruments[k]
        rate = instrument.taker_e12 if taker else instrument.maker_e12
        fee = muldiv(abs(self.value(k, signed, price)), rate, E12) + self.settings.per_fill
        if order.filled_lots == 0:
            fee += self.settings.per_order
        order.remaining -= lots
        order.filled_lots += lots
        state = FILLED if order.remaining == 0 else PARTIAL
        assert state in ALLOWED[order.state]
        order.state = state
        self._book(
            ledger,
            signed,
            price,
            base,
            fee,
            liquidity=TAKER if taker else MAKER,
            model=model,
            state=state,
            order_id=order.id,
            remaining=order.remaining,
            tag=order.tag,
            closes_why=order.closes_why,
        )
        if state == PARTIAL:
            if order.has(REDUCE_ONLY) and ledger.lots == 0:
                self._move(order, CANCELED, R_REDUCE_ONLY)
            elif order.tif == IOC:
                self._move(order, CANCELED, R_IOC)

    def _fill_refusal(self, order: Order, signed: int, price: int) -> int:
        k = order.instrument
        instrument = self.instruments[k]
        ledger = self.ledger(order.strategy, k)
        net, held = self.net_lots(k), ledger.lots
        net_after, held_after = net + signed, held + signed
        most = CAPACITY_LIMIT // instrument.factor
        if instrument.kind != "inverse":
            most = CAPACITY_LIMIT // (price * instrument.factor)
        if abs(held_after) > most or abs(net_after) > most:
            return R_CAPACITY
        if instrument.kind == "spot" and held_after < 0:
            return R_NO_SHORT
        settings = self.settings
        open_ledgers = sum(1 for other in self.ledgers if other.lots != 0)
        if held == 0 and settings.max_open_positions and open_ledgers >= settings.max_open_positions:
            return R_MAX_POSITIONS
        if abs(net_after) <= abs(net):
            return R_NONE
        if settings.max_leverage_e12:
            others = sum(self.notional(j) for j in range(len(self.instruments)) if j != k)
            after = others + abs(self.value(k, net_after, price))
            equity_after = max(0, self.equity - self._taker_fee(k, signed, price))
            if after > muldiv(equity_after, settings.max_leverage_e12, E12):
                return R_MAX_LEVERAGE
        if not self._margin_suffices(k, signed, price):
            return R_MARGIN
        return R_NONE

    def _taker_fee(self, k: int, signed: int, price: int) -> int:
        return muldiv(abs(self.value(k, signed, price)), self.instruments[k].taker_e12, E12)

    def _margin_suffices(self, k: int, signed: int, price: int) -> bool:
        """Whether the account can carry `signed` more lots at this price."""
        net = self.net_lots(k)
        after = net + signed
        spot = self.instruments[k].kind == "spot"
        if abs(after) <= abs(net):
            return True
        notional_after = abs(self.value(k, after, price))
        others = sum(self.used_margin(j) for j in range(len(self.instruments)) if j != k)
        fee = self._taker_fee(k, signed, price)
        if self.settings.isolated:
            own = notional_after if spot else self._isolated_margin_after(k, signed, price)
            return others + own <= self.cash - fee
        own = notional_after if spot else muldiv(notional_after, E12, self.settings.leverage_e12)
        return others + own <= self.equity - fee

    def _isolated_margin_after(self, k: int, signed: int, price: int) -> int:
        net = self.net_lots(k)
        margin = self.markets[k].isolated_margin
        closed = min(abs(signed), abs(net)) if opposite(signed, net) else 0
        if closed:
            margin -= muldiv(margin, closed, abs(net))
        increase = abs(signed) - closed
        if increase:
            margin += muldiv(abs(self.value(k, increase, price)), E12, self.settings.leverage_e12)
        return margin

    def _book(
        self,
        ledger: Ledger,
        signed: int,
        price: int,
        base: int,
        fee: int,
        *,
        liquidity: int,
        model: int,
        state: int,
        order_id: int,
        remaining: int,
        tag: int,
        closes_why: int,
    ) -> None:
        """Write a fill into ledger, cash and trades, and say so."""
        k = ledger.instrument
        market = self.markets[k]
        if self.settings.isolated and self.instruments[k].kind != "spot":
            market.isolated_margin = self._isolated_margin_after(k, signed, price)
        held = ledger.lots
        sign = 1 if signed > 0 else -1
        closing = min(abs(signed), abs(held)) if opposite(signed, held) else 0
        opening = abs(signed) - closing
        pnl, closed_trade = 0, None
        closing_fee = muldiv(fee, closing, abs(signed))
        if closing:
            assert ledger.trade is not None
            released = muldiv(ledger.cost, closing, abs(held))
            worth = self.value(k, -sign * closing, price)
            pnl = worth - released
            ledger.cost -= released
            ledger.lots += sign * closing
            trade = ledger.trade
            trade.gross += pnl
            trade.exit_value += abs(worth)
            trade.fees += closing_fee
            trade.excursion(trade.gross + self.value(k, ledger.lots, price) - ledger.cost)
            if ledger.lots == 0:
                closed_trade, ledger.trade = trade, None
                self.closed_gross += trade.gross
        if opening:
            worth = self.value(k, sign * opening, price)
            if ledger.trade is None:
                self.trades += 1
                ledger.trade = Trade(self.trades, sign, self.ts, market.bars)
            ledger.cost += worth
            ledger.lots += sign * opening
            trade = ledger.trade
            trade.entered += opening
            trade.greatest = max(trade.greatest, abs(ledger.lots))
            trade.entry_value += abs(worth)
            trade.fees += fee - closing_fee
        ledger.realised += pnl
        ledger.fees += fee
        self.pnl += pnl
        self.fees += fee
        self.cash += pnl - fee
        shown = ledger.trade if ledger.trade is not None else closed_trade
        assert shown is not None
        self._emit(
            OUT_FILL,
            (
                order_id,
                signed,
                price,
                base,
                fee,
                pnl,
                self.value(k, signed, price),
                ledger.lots,
                ledger.cost,
                self.cash,
                shown.id,
                remaining,
                tag,
            ),
            state=state,
            reason=liquidity,
            detail=model,
            strategy=ledger.strategy,
            instrument=k,
        )
        if closed_trade is not None:
            self._show_trade(ledger, closed_trade, order_id, closes_why)

    def _show_trade(self, ledger: Ledger, trade: Trade, order_id: int, why: int) -> None:
        bars_held = self.markets[ledger.instrument].bars - trade.bars_at_entry
        self._emit(
            OUT_TRADE,
            (
                order_id,
                trade.id,
                trade.direction * trade.greatest,
                trade.entered,
                trade.entry_ts,
                trade.entry_value,
                trade.exit_value,
                trade.gross,
                trade.fees,
                trade.funding,
                trade.mae,
                trade.mfe,
                bars_held,
            ),
            reason=why,
            strategy=ledger.strategy,
            instrument=ledger.instrument,
        )

    # ── Funding ─────────────────────────────────────────────────────────────────────────────────────────────

    def _fund(self, k: int, record: Record) -> None:
        market, instrument = self.markets[k], self.instruments[k]
        mark = record.b if record.b != 0 else market.mark * 10**6
        late = market.last_funding_ts is not None and record.ts_exchange_ns <= market.last_funding_ts
        if late or instrument.kind == "spot" or mark == 0:
            return  # reading: ignored whole, the last funding time too
        market.last_funding_ts = record.ts_exchange_ns
        for ledger in self.ledgers:
            if ledger.instrument != k or ledger.lots == 0:
                continue
            assert ledger.trade is not None
            if instrument.kind == "inverse":
                amount = muldiv(ledger.lots * instrument.factor, 10**6, mark)
            else:
                amount = muldiv(ledger.lots * instrument.factor, mark, 10**6)
            payment = muldiv(amount, record.a, E12)
            self.cash -= payment
            self.funding += payment
            ledger.funding += payment
            ledger.trade.funding += payment
            self._emit(
                OUT_FUNDING,
                (record.a, mark, ledger.lots, payment, self.cash, ledger.trade.id),
                reason=2 if record.flags & STATIC else 1,
                strategy=ledger.strategy,
                instrument=k,
            )

    # ── Liquidation ─────────────────────────────────────────────────────────────────────────────────────────

    def _equity_and_need(self, k: int, price: int) -> tuple[int, int]:
        """Equity and what it must exceed, were the instrument at this price."""
        own = self.floating(k, price)
        if self.settings.isolated:
            return self.markets[k].isolated_margin + own, self.maintenance(k, price)
        others = [j for j in range(len(self.instruments)) if j != k]
        equity = self.cash + sum(self.floating(j) for j in others) + own
        return equity, sum(self.maintenance(j) for j in others) + self.maintenance(k, price)

    def _must_liquidate(self, k: int, price: int) -> bool:
        equity, need = self._equity_and_need(k, price)
        return equity <= need

    def _can_be_liquidated(self, k: int) -> bool:
        return self.net_lots(k) != 0 and self.instruments[k].kind != "spot"

    def _check_liquidation_at_open(self, k: int, open_: int, previous_mark: int) -> None:
        if not self._can_be_liquidated(k) or not self._must_liquidate(k, open_):
            return
        price = open_
        if self.settings.isolated and self._equity_and_need(k, open_)[0] < 0:
            price = previous_mark
            for at in way(open_, previous_mark):
                if self._equity_and_need(k, at)[0] >= 0:
                    price = at
                    break
        self._liquidate(k, price)

    def _check_liquidation_inside(self, k: int, open_: int, high: int, low: int) -> None:
        if not self._can_be_liquidated(k):
            return
        extreme = low if self.net_lots(k) > 0 else high
        if self._must_liquidate(k, extreme):
            self._liquidate(k, next(at for at in way(open_, extreme) if self._must_liquidate(k, at)))

    def _liquidate(self, k: int, price: int) -> None:
        # reading: limit and equity are the two sides of the check (cross: the whole account's).
        equity, need = self._equity_and_need(k, price)
        isolated = self.settings.isolated
        if not isolated:
            self.markets[k].mark = price
        self._emit(OUT_RISK, (price, need, equity, 0), reason=LIQUIDATION, instrument=k)
        mine = [ledger for ledger in self.ledgers if ledger.instrument == k]
        self._cancel_working(mine if isolated else self.ledgers, R_LIQUIDATION)
        self._close_by_force(mine, price)
        if not isolated:
            for j, instrument in enumerate(self.instruments):
                if j != k and instrument.kind != "spot":
                    theirs = [ledger for ledger in self.ledgers if ledger.instrument == j]
                    self._close_by_force(theirs, self.markets[j].mark)

    def _close_by_force(self, ledgers: Sequence[Ledger], price: int) -> None:
        for ledger in ledgers:
            if ledger.lots == 0:
                continue
            k = ledger.instrument
            self.markets[k].mark = price
            # reading: one product with the sum of both rates; neither per_fill nor per_order.
            rate = self.instruments[k].taker_e12 + self.settings.liquidation_fee_e12
            fee = muldiv(abs(self.value(k, ledger.lots, price)), rate, E12)
            self._book(
                ledger,
                -ledger.lots,
                price,
                price,
                fee,
                liquidity=TAKER,
                model=MODEL_LIQUIDATION,
                state=FILLED,
                order_id=0,
                remaining=0,
                tag=0,
                closes_why=R_LIQUIDATION,
            )

    # ── END ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> None:
        self._cancel_working(self.ledgers, R_END)
        if not self.settings.close_at_end:
            return
        for ledger in self.ledgers:
            if ledger.lots != 0:
                wish = Request(strategy=ledger.strategy, instrument=ledger.instrument, lots=-ledger.lots, flags=SYSTEM)
                order = self._new_order(wish, closes_why=R_END)
                self._move(order, ACTIVE)
                self._fill(order, self.markets[ledger.instrument].mark, taker=True, any_volume=True)


def way(start: int, end: int) -> range:
    """Every tick from start to end, both included."""
    return range(start, end + 1) if start <= end else range(start, end - 1, -1)
