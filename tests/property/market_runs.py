"""Runs on bars made from a seed, merged as a backtest merges them: gaps, different beginnings, funding inside bars.

Settings, instruments and requests are those of `runs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from engine.bars import Bars
from engine.core import Engine
from engine.market import EventStream, FundingSeries, Market, event_stream
from engine.settings import RunSettings
from tests.property import runs, twin
from tests.property.machines import request_rows
from tests.property.twin import Record

HOUR_NS = 3_600 * 10**9
START_NS = 20_000 * 24 * HOUR_NS
RATES_E12 = (10**8, -(10**8), 5 * 10**10, 123_456_789)


def _bars(random: Random, symbol: str, count: int, offset_ns: int) -> Bars:
    """Bars of 8 hours around a small price, some left out."""
    kept = [index for index in range(count) if index == 0 or random.random() < 0.85]
    rows = []
    price = random.choice([100, 100, 20, 300])
    for _ in kept:
        opened = max(1, price + random.choice([0, 0, 1, -1, 4, -6]))
        price = max(1, opened + random.randint(-3, 3))
        rows.append((opened, max(opened, price) + random.randint(0, 3), max(1, min(opened, price) - 2), price))
    columns = np.array(rows, dtype=np.float64).T
    ts_ns = START_NS + offset_ns + np.array(kept, dtype=np.int64) * 8 * HOUR_NS
    return Bars(symbol, "8h", ts_ns, *(column.copy() for column in columns), np.full(len(kept), 1000.0))


def _funding(random: Random, bars: Bars) -> FundingSeries | None:
    """Funding inside bars and between them, with marks of its own or the core's."""
    if random.random() < 0.3:
        return None
    hours = sorted(random.sample(range(len(bars) * 10), k=min(6, len(bars))))
    ts_ns = START_NS + np.array(hours, dtype=np.int64) * HOUR_NS
    marks = [random.choice([0, 101 * 10**8 + 123]) for _ in hours]
    rates = [random.choice(RATES_E12) for _ in hours]
    return FundingSeries(ts_ns, np.array(rates, dtype=np.int64), np.array(marks, dtype=np.int64))


@dataclass(frozen=True)
class Case:
    """One run on bars."""

    settings: RunSettings
    markets: list[Market]
    strategies: int
    stream: EventStream
    requests: list[twin.Request]


def case_of(seed: int) -> Case:
    """Make the run of a seed."""
    random = Random(seed)
    count = random.choice([1, 2, 2, 3])
    instruments = [runs._instrument(random, index) for index in range(count)]
    length = random.randint(2, 25)
    markets = []
    for instrument in instruments:
        bars = _bars(random, instrument.symbol, length, random.choice([0, 0, 4, 16]) * HOUR_NS)
        is_spot = instrument.kind == "spot"
        markets.append(Market(instrument, bars, None if is_spot else _funding(random, bars)))
    stream = event_stream(markets)
    records = [
        Record(
            *(int(row[name]) for name in ("ts_exchange_ns", "ts_receive_ns", "kind", "flags", "instrument", *"abcde"))
        )
        for row in stream.records
    ]
    strategies = random.choice([1, 2, 3])
    wishes = [
        runs._request(
            random, random.randint(1, len(stream.step_stops)), random.randrange(strategies), tuple(instruments), records
        )
        for _ in range(random.choice([0, 5, 20, 60]))
    ]
    wishes.sort(key=lambda request: request.step)
    return Case(runs._settings(random, guarded=True), markets, strategies, stream, wishes)


def finished(case: Case) -> Engine:
    """The core after all of a case; raises CapacityError where a price does not fit."""
    engine = Engine(case.settings, [market.instrument for market in case.markets], case.strategies)
    requests = request_rows(case.requests)
    position = 0
    while position < len(case.stream.records):
        position, _ = engine.advance(case.stream.records, position, len(case.stream.records), requests)
    return engine
