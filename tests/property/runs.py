"""Whole runs made from a seed: any settings, any bars, any requests, sensible or not.

Prices stay within a few dozen ticks and sizes within a few lots, so that many orders trigger together, margins
run out, positions are liquidated, and rounding shows. Hypothesis draws the seed and the sizes; `reduced` makes
a failing run small enough to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as some

from engine.instruments import Instrument
from engine.settings import Commission, Execution, MarginTier, Risk, RunSettings, Slippage
from tests.property import twin
from tests.property.twin import Record, Request

HOUR_NS = 3_600 * 10**9
START_NS = 20_000 * 24 * HOUR_NS


@dataclass(frozen=True)
class Run:
    """One case: a run's settings and all that it is fed."""

    settings: RunSettings
    instruments: tuple[Instrument, ...]
    strategies: int
    records: list[Record] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


def runs(bars_max: int = 24, requests_max: int = 60) -> some.SearchStrategy[Run]:
    """Any run; sizes shrink towards nothing."""
    return some.builds(run_of, some.integers(0, 2**32 - 1), some.integers(1, bars_max), some.integers(0, requests_max))


def run_of(seed: int, bars: int, requests: int) -> Run:
    """Make the run of a seed."""
    random = Random(seed)
    # Some runs are lonely and quiet, as most real ones: one symbol, one strategy, few orders, no guards.
    quiet = random.random() < 0.2
    symbols = tuple(_instrument(random, index) for index in range(1 if quiet else random.choice([1, 1, 2, 3])))
    strategies = 1 if quiet else random.choice([1, 1, 2, 3])
    records = _records(random, len(symbols), bars)
    steps = max(1, sum(record.flags & twin.LAST for record in records))
    wishes = [
        _request(random, random.randint(1, steps), random.randrange(strategies), symbols, records)
        for _ in range(requests // 8 if quiet else requests)
    ]
    wishes.sort(key=lambda request: request.step)
    run = Run(_settings(random, guarded=not quiet), symbols, strategies, records, wishes)
    return _enlarged(random, run) if random.random() < 0.1 else run


def _enlarged(random: Random, run: Run) -> Run:
    """The same with so much money and such sizes that 64 bits barely hold them."""
    times = 10 ** random.randint(6, 15)
    cash = min(run.settings.initial_cash * times, Decimal(2**59))
    requests = [
        replace(request, lots=request.lots * times) if abs(request.lots) <= 50 else request for request in run.requests
    ]
    settings = msgspec.structs.replace(run.settings, initial_cash=cash)
    return replace(run, settings=settings, requests=requests)


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────────


def _decimal(random: Random, *texts: str) -> Decimal:
    return Decimal(random.choice(texts))


def _seldom(random: Random, *texts: str) -> Decimal | None:
    return None if random.random() < 0.6 else _decimal(random, *texts)


def _settings(random: Random, *, guarded: bool) -> RunSettings:
    free = random.random() < 0.3  # round money, so that limits are met to the unit
    return RunSettings(
        initial_cash=_decimal(random, "3000", "500", "2000", "20000", "1000000"),
        cash_decimals=0,
        leverage=_decimal(random, "1", "3", "10", "100"),
        margin=random.choice(["cross", "isolated"]),
        liquidation_fee_bps=_decimal(random, "0", "50", "500"),
        execution=Execution(
            fill_model=random.choice(["close_to_open", "close_to_close"]),
            same_bar_priority=random.choice(["pessimistic", "adaptive", "ohlc", "olhc", "fifo"]),
            limit_fill=random.choice(["through", "touch"]),
            stop_fill=random.choice(["worse_of_open_and_trigger", "trigger", "next_open"]),
            latency_bars=random.choice([0, 0, 0, 1, 2]),
            max_volume_share=_seldom(random, "0.5", "0.3", "1"),
        ),
        slippage=Slippage()
        if free
        else Slippage(
            model=random.choice(["bps", "ticks", "atr", "spread"]),
            bps=_decimal(random, "0", "5", "100", "333.3"),
            ticks=random.choice([0, 1, 3]),
            atr_length=random.choice([1, 3, 5]),
            atr_factor=_decimal(random, "0", "0.1", "0.5"),
            spread_bps=_decimal(random, "0", "20", "150"),
            spread_ticks=random.choice([0, 0, 1, 2]),
        ),
        commission=Commission()
        if free
        else Commission(
            maker_bps=_decimal(random, "0", "-1", "2", "100"),
            taker_bps=_decimal(random, "0", "5", "77.7", "100"),
            per_order=_decimal(random, "0", "0", "3"),
            per_fill=_decimal(random, "0", "0", "1"),
        ),
        risk=Risk()
        if not guarded or random.random() < 0.5
        else Risk(
            max_drawdown=_seldom(random, "0.02", "0.3"),
            strategy_max_drawdown=_seldom(random, "0.01", "0.2"),
            daily_loss_limit=_seldom(random, "0.01", "0.2"),
            max_leverage=_seldom(random, "1", "3.5"),
            max_open_positions=random.choice([None, None, 1, 2]),
            on_trip=random.choice(["flatten", "hold"]),
        ),
        close_at_end=random.random() < 0.5,
    )


# Tiers join without a step, as venues' do: the amount of each makes up for its rate.
TIERS = (
    (),
    ((0, "0.01"), (1_000, "0.05")),
    ((0, "0"), (500, "0.1"), (2_000, "0.35")),
    ((500, "0.1"),),
)


def _instrument(random: Random, index: int) -> Instrument:
    kind = random.choice(["linear", "linear", "inverse", "spot"])
    multiplier = random.choice([1000, 10_007, 77_777] if kind == "inverse" else [1, 3])
    tiers, amount, before = [], Decimal(0), Decimal(0)
    for floor, rate in random.choice(TIERS):
        amount += floor * (Decimal(rate) - before)
        before = Decimal(rate)
        tiers.append(MarginTier(Decimal(floor), before, amount))
    return Instrument(
        symbol=f"I{index}",
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        kind=kind,
        multiplier=Decimal(multiplier),
        minimum_notional=_decimal(random, "0", "0", "150"),
        maintenance_rate=_decimal(random, "0.005", "0", "0.3"),
        tiers=tuple(tiers),
    )


# ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────

FUNDING_RATES = (10**8, -(10**8), 5 * 10**10, 123_456_789)


def _records(random: Random, count: int, bars: int) -> list[Record]:
    period = random.choice([HOUR_NS, 8 * HOUR_NS])
    early_steps = random.random() < 0.5
    wildness = random.choice([1, 1, 3])
    records: list[Record] = []
    for k in range(count):
        start = START_NS + random.choice([0, 0, period // 2])
        price = random.choice([100, 100, 20, 300, 3])
        for _ in range(bars):
            if random.random() < 0.9:
                made, price = _bar_records(random, k, start, period, price, wildness)
                records += made
            start += period
    records.sort(key=lambda record: record.ts_receive_ns)
    if records and random.random() < 0.05:
        middle = random.randrange(len(records))
        ts = records[middle].ts_receive_ns
        records.insert(middle + 1, Record(ts, ts, twin.END))
    if records and random.random() < 0.7:
        records.append(Record(records[-1].ts_receive_ns, records[-1].ts_receive_ns, twin.END))
    for index, record in enumerate(records):
        after = records[index + 1] if index + 1 < len(records) else None
        ends = after is None or after.ts_receive_ns != record.ts_receive_ns
        if early_steps and record.kind == twin.BAR and after is not None and after.kind != twin.BAR:
            ends = True
        if ends:
            records[index] = replace(record, flags=record.flags | twin.LAST)
    return records


def _bar_records(
    random: Random, k: int, start: int, period: int, price: int, wildness: int
) -> tuple[list[Record], int]:
    """One bar, sometimes with its open first, and fundings before and inside it."""
    times = wildness * random.choice([1] * 10 + [4, 10])
    open_ = max(1, price + times * random.choice([0, 0, 0, 1, -1, 2, -3]))
    close = max(1, open_ + times * random.randint(-2, 2))
    high = max(open_, close) + random.randint(0, 4) * wildness
    low = max(1, min(open_, close) - random.randint(0, 4) * wildness)
    volume = random.choice([40, 0, 3, 10, 10, 1000, -1])
    records = []
    if random.random() < 0.15:
        records.append(_funding(random, k, start, open_))
    if random.random() < 0.3:
        records.append(Record(start, start, twin.BAR_OPEN, 0, k, open_, 0, 0, 0, volume))
        if random.random() < 0.5:
            # The same funding twice counts once.
            records += [_funding(random, k, start + period // 2, open_)] * random.choice([1, 2])
        if random.random() < 0.05:
            return records, open_  # a bar that opened and was never closed
    records.append(Record(start, start + period, twin.BAR, 0, k, open_, high, low, close, volume))
    return records, close


def _funding(random: Random, k: int, ts: int, price: int) -> Record:
    mark = random.choice([0, price * 10**6 + 123_457])
    flags = random.choice([0, 0, twin.STATIC])
    return Record(ts, ts, twin.FUNDING, flags, k, random.choice(FUNDING_RATES), mark)


# ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────

# Nonsense of every sort.
SPOILS: tuple[dict[str, int], ...] = (
    {"lots": 0}, {"lots": 2**61}, {"lots": -(2**62)}, {"lots": 2**52}, {"type": 0}, {"type": 77}, {"tif": 0},
    {"tif": 9}, {"flags": 1}, {"flags": 3}, {"flags": 4}, {"flags": 0xF8}, {"limit_ticks": 0},
    {"limit_ticks": 90}, {"limit_ticks": -4}, {"limit_ticks": 2**59}, {"stop_ticks": 0}, {"stop_ticks": 110},
    {"stop_ticks": -5}, {"expire_ns": 5}, {"tif": 4, "expire_ns": 0}, {"kind": 0}, {"kind": 9},
    {"kind": 2, "order_id": -1}, {"kind": 2, "order_id": 2**40},
)  # fmt: skip


def _price_at(records: list[Record], k: int, step: int) -> tuple[int, int]:
    """Close of the instrument and time at the end of a step."""
    price, ts, steps = 100, START_NS, 0
    for record in records:
        if record.kind == twin.BAR and record.instrument == k:
            price = record.d
        ts = record.ts_receive_ns
        steps += record.flags & twin.LAST
        if steps == step:
            break
    return price, ts


def _request(
    random: Random, step: int, strategy: int, symbols: tuple[Instrument, ...], records: list[Record]
) -> Request:
    k = random.randrange(len(symbols))
    price, ts = _price_at(records, k, step)
    base = Request(strategy=strategy, instrument=k, step=step, tag=random.randrange(100))
    kind = random.choice([twin.ORDER] * 14 + [twin.CANCEL, twin.CANCEL, twin.TARGET, twin.CANCEL_ALL])
    size = random.choice([1, 2, 3, 5, 5, 8, 10, 20, 50])
    lots = size * random.choice([1, -1])
    if kind in (twin.CANCEL, twin.CANCEL_ALL):
        return replace(base, kind=kind, order_id=random.randint(1, 30))
    if kind == twin.TARGET:
        spoilt = random.choice([{}, {}, {"type": 2}, {"limit_ticks": 90}, {"tif": 2}, {"flags": 2}])
        return replace(base, kind=kind, lots=random.choice([lots, 0]), **spoilt)
    order_type = random.choice([twin.MARKET, twin.LIMIT, twin.LIMIT, twin.STOP, twin.STOP_LIMIT])
    fields: dict[str, Any] = {"tif": random.choice([1, 1, 1, 1, 2, 3, 4])}
    if order_type in (twin.LIMIT, twin.STOP_LIMIT):
        fields["limit_ticks"] = max(1, price + random.randint(-4, 4))
    if order_type in (twin.STOP, twin.STOP_LIMIT):
        fields["stop_ticks"] = max(1, price + random.randint(-4, 4))
    if random.random() < 0.2:
        fields["flags"] = twin.REDUCE_ONLY
    elif random.random() < 0.1 and order_type == twin.LIMIT and fields["tif"] in (twin.GTC, twin.GTD):
        fields["flags"] = twin.POST_ONLY
    if fields["tif"] == twin.GTD:
        fields["expire_ns"] = ts + random.choice([0, 1, HOUR_NS, 3 * HOUR_NS, 24 * HOUR_NS])
    if random.random() < 0.06:
        fields |= random.choice(SPOILS)
    if random.random() < 0.02:
        # The greatest order there may be, or one lot more.
        reference = fields.get("limit_ticks") or fields.get("stop_ticks") or price
        ticks = 1 if symbols[k].kind == "inverse" else max(1, reference)
        lots = lots // size * (2**60 // (ticks * int(symbols[k].multiplier)) + random.randint(0, 1))
    return replace(base, **({"kind": kind, "type": order_type, "lots": lots} | fields))


# ── Small enough to read ────────────────────────────────────────────────────────────────────────────────────


def reduced(run: Run, fails: Callable[[Run], bool], tries: int = 3_000) -> Run:
    """Drop requests and records, and take settings back to their defaults, for as long as it still fails."""
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for candidate in _smaller(run):
            tries -= 1
            if fails(candidate):
                run, smaller = candidate, True
                break
    return run


def _smaller(run: Run) -> Iterator[Run]:
    for start, stop in _pieces(len(run.requests)):
        yield replace(run, requests=run.requests[:start] + run.requests[stop:])
    for start, stop in _pieces(len(run.records)):
        yield _without_records(run, start, stop)
    yield from (replace(run, settings=settings) for settings in _plainer(run.settings))
    for index, instrument in enumerate(run.instruments):
        for plainer in _plainer(instrument, keep=("symbol", "tick_size", "lot_size")):
            yield replace(run, instruments=(*run.instruments[:index], plainer, *run.instruments[index + 1 :]))


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    for size in (count // 2, count // 4, 1):
        yield from ((start, start + size) for start in range(0, count if size else 0, max(1, size)))


def _without_records(run: Run, start: int, stop: int) -> Run:
    """Requests keep their place among what is left."""
    steps = 0  # so far
    gone = []  # steps that fall away
    for index, record in enumerate(run.records):
        steps += record.flags & twin.LAST
        if start <= index < stop and record.flags & twin.LAST:
            gone.append(steps)
    requests = [
        replace(request, step=request.step - sum(step < request.step for step in gone)) for request in run.requests
    ]
    return replace(run, records=run.records[:start] + run.records[stop:], requests=requests)


def _plainer(struct: Any, keep: tuple[str, ...] = ("initial_cash", "cash_decimals")) -> Iterator[Any]:
    """The same with one field taken back to its default."""
    for described in msgspec.structs.fields(type(struct)):
        value = getattr(struct, described.name)
        if described.name in keep or value == described.default:
            continue
        if isinstance(value, msgspec.Struct):
            inner = _plainer(value)
            yield from (msgspec.structs.replace(struct, **{described.name: plain}) for plain in inner)
        else:
            yield msgspec.structs.replace(struct, **{described.name: described.default})
