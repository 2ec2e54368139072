"""The symbols' curves against the core's own samples: gains, exposures and margins add up to the unit at every step.

The samples are what the core said while it ran; the curves are made from its outputs afterwards. Runs are those of
`runs.py` (any settings, any orders, linear, inverse and spot, several strategies, liquidations, guards), on bars with
gaps and different beginnings, with funding inside bars, merged as a backtest merges them.
"""

from __future__ import annotations

import os
from fractions import Fraction
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from engine.bars import Bars
from engine.core import Engine
from engine.errors import CapacityError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import EventStream, FundingSeries, Market, event_stream
from engine.settings import RunSettings
from engine.symbol_accounts import (
    Timeline,
    _share,
    account_cash,
    changes_of,
    moves_of,
    symbol_curve,
    timeline_of,
)
from tests.property import runs, twin
from tests.property.machines import request_rows
from tests.property.twin import Record

EXAMPLES = int(os.environ.get("TAPEWRIGHT_EXAMPLES", "150"))
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


def _case(seed: int) -> tuple[RunSettings, list[Market], int, EventStream, list[twin.Request]]:
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
    return runs._settings(random, guarded=True), markets, strategies, stream, wishes


def _run(
    settings: RunSettings,
    instruments: list[Instrument],
    strategies: int,
    stream: EventStream,
    wishes: list[twin.Request],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Everything that the core said; the sample of END takes the place of the last step's."""
    engine = Engine(settings, instruments, strategies)
    requests = request_rows(wishes)
    position = 0
    while position < len(stream.records):
        position, _ = engine.advance(stream.records, position, len(stream.records), requests)
    samples = engine.samples()
    assert len(samples) == len(stream.step_stops) + 1
    return engine.outputs(), np.concatenate((samples[:-2], samples[-1:]))


def _curves(settings: RunSettings, markets: list[Market], outputs: np.ndarray, timeline: Timeline) -> list:
    moves = moves_of(outputs, timeline)
    return [
        symbol_curve(moves, index, timeline, market.instrument, settings, market.bars.close.astype(np.int64))
        for index, market in enumerate(markets)
    ]


seen = {"closed at the end": 0, "several strategies": 0, "liquidated": 0, "funding": 0, "isolated": 0, "apart": 0}


def _note(config: RunSettings, markets: list[Market], strategies: int, outputs: np.ndarray, timeline: Timeline) -> None:
    kinds = outputs[:, 2] & 0xFF
    trades = outputs[kinds == layout.TRADE_OUTPUT]
    seen["closed at the end"] += bool(np.any(trades[:, 2] >> 16 & 0xFF == layout.BY_END))
    seen["liquidated"] += bool(np.any(trades[:, 2] >> 16 & 0xFF == layout.BY_LIQUIDATION))
    seen["several strategies"] += strategies > 1 and len(trades) > 0
    seen["funding"] += bool(np.any(kinds == layout.FUNDING_OUTPUT))
    seen["isolated"] += config.margin == "isolated" and len(trades) > 0
    seen["apart"] += len({len(steps) for steps in timeline.bar_steps} | {len(timeline)}) > 1 and len(markets) > 1


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
@given(some.integers(0, 2**32 - 1))
def test_the_symbols_add_up_to_the_account_at_every_step(seed: int) -> None:
    config, markets, strategies, stream, wishes = _case(seed)
    instruments = [market.instrument for market in markets]
    try:
        outputs, samples = _run(config, instruments, strategies, stream, wishes)
    except CapacityError:
        return
    timeline = timeline_of(stream)
    curves = _curves(config, markets, outputs, timeline)
    initial = int(config.initial_cash)
    for row, (name, offset) in enumerate((("gain", initial), ("exposure", 0), ("margin", 0)), start=1):
        total = np.sum([getattr(curve, name) for curve in curves], axis=0) + offset
        np.testing.assert_array_equal(total, samples[:, row], err_msg=name)
    _note(config, markets, strategies, outputs, timeline)


def test_the_runs_above_held_what_they_should() -> None:
    """Otherwise the test above would show little."""
    assert all(seen.values()), seen


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.integers(0, 2**32 - 1))
def test_cash_and_lots_are_those_of_the_last_output(seed: int) -> None:
    """The account's cash and every ledger, read off the core's own tables at the end."""
    config, markets, strategies, stream, wishes = _case(seed)
    config = msgspec.structs.replace(config, close_at_end=False)
    engine = Engine(config, [market.instrument for market in markets], strategies)
    requests = request_rows(wishes)
    position = 0
    try:
        while position < len(stream.records):
            position, _ = engine.advance(stream.records, position, len(stream.records), requests)
    except CapacityError:
        return
    outputs, timeline = engine.outputs(), timeline_of(stream)
    moves = moves_of(outputs, timeline)
    _, cash = account_cash(moves)
    assert (cash[-1] if len(cash) else int(config.initial_cash)) == engine.state.core["cash"][0]
    for index in range(len(markets)):
        changes = changes_of(moves, index)
        ledgers = engine.state.ledgers[index :: len(markets)]
        held = int(np.count_nonzero(ledgers["lots"]))
        last = (0, 0, 0, 0) if not len(changes.steps) else tuple(
            int(column[-1]) for column in (changes.lots, changes.cost, changes.cash, changes.open)
        )  # fmt: skip
        earned = int((ledgers["realised"] - ledgers["fees"] - ledgers["funding"]).sum())
        assert last == (int(ledgers["lots"].sum()), int(ledgers["cost"].sum()), earned, held)


@pytest.mark.parametrize(("amount", "leverage"), [(5, "2"), (15, "10"), (25, "10"), (7, "2.5"), (2**59 + 1, "2.5")])
def test_margins_are_rounded_half_to_even(amount: int, leverage: str) -> None:
    """Against Python's own rounding of the exact fraction, which goes to the even neighbour too."""
    ratio = Fraction(leverage)
    found = _share(np.array([amount], dtype=np.int64), 10**12, int(ratio * 10**12))
    assert found.tolist() == [round(Fraction(amount) / ratio)]
