"""The symbols' curves against the core's own samples: gains, exposures and margins add up to the unit at every step.

The samples are what the core said while it ran; the curves are made from its outputs afterwards. Runs are those of
`runs.py` (any settings, any orders, linear, inverse and spot, several strategies, liquidations, guards), on bars with
gaps and different beginnings, with funding inside bars, merged as a backtest merges them.
"""

from __future__ import annotations

import os
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from engine.errors import CapacityError
from engine.kernels import layout
from engine.symbol_accounts import SymbolCurve, _share, account_cash, changes_of, moves_of, symbol_curve, timeline_of
from tests.property.market_runs import Case, case_of, finished

EXAMPLES = int(os.environ.get("TAPEWRIGHT_EXAMPLES", "150"))
ANY_SEED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a seed does not shrink
)
SEEDS = some.integers(0, 2**32 - 1)


def curves_of(case: Case, outputs: np.ndarray) -> list[SymbolCurve]:
    timeline = timeline_of(case.stream)
    moves = moves_of(outputs, timeline)
    return [
        symbol_curve(moves, index, timeline, market.instrument, case.settings, market.bars.close.astype(np.int64))
        for index, market in enumerate(case.markets)
    ]


@ANY_SEED
@given(SEEDS)
def test_the_symbols_add_up_to_the_account_at_every_step(seed: int) -> None:
    case = case_of(seed)
    try:
        engine = finished(case)
    except CapacityError:
        return
    samples = engine.samples()
    assert len(samples) == len(case.stream.step_stops) + 1
    samples = np.concatenate((samples[:-2], samples[-1:]))  # the sample of END takes the place of the last step's
    curves = curves_of(case, engine.outputs())
    initial = int(case.settings.initial_cash)
    for word, (name, offset) in enumerate((("gain", initial), ("exposure", 0), ("margin", 0)), start=1):
        total = np.sum([getattr(curve, name) for curve in curves], axis=0) + offset
        np.testing.assert_array_equal(total, samples[:, word], err_msg=name)


def test_such_runs_hold_what_they_should() -> None:
    """Otherwise the test above would show little."""
    seen: Counter[str] = Counter()
    for seed in range(100):
        case = case_of(seed)
        try:
            outputs = finished(case).outputs()
        except CapacityError:
            continue
        kinds = outputs[:, 2] & 0xFF
        whys = outputs[kinds == layout.TRADE_OUTPUT, 2] >> 16 & 0xFF
        bars = {len(steps) for steps in case.stream.bar_steps} | {len(case.stream.step_stops)}
        seen["closed at the end"] += bool(np.any(whys == layout.BY_END))
        seen["liquidated"] += bool(np.any(whys == layout.BY_LIQUIDATION))
        seen["several strategies"] += case.strategies > 1 and len(whys) > 0
        seen["funding"] += bool(np.any(kinds == layout.FUNDING_OUTPUT))
        seen["isolated"] += case.settings.margin == "isolated" and len(whys) > 0
        seen["at the close"] += case.settings.execution.fill_model == "close_to_close" and len(whys) > 0
        seen["bars apart"] += len(case.markets) > 1 and len(bars) > 1
        for kind in {market.instrument.kind for market in case.markets}:
            seen[kind] += len(whys) > 0
    assert len(seen) == 10
    assert min(seen.values()) >= 3, seen


@ANY_SEED
@given(SEEDS)
def test_cash_and_positions_at_the_end_are_those_of_the_cores_own_tables(seed: int) -> None:
    case = case_of(seed)
    try:
        engine = finished(case)
    except CapacityError:
        return
    moves = moves_of(engine.outputs(), timeline_of(case.stream))
    _, cash = account_cash(moves)
    assert (cash[-1] if len(cash) else int(case.settings.initial_cash)) == engine.state.core["cash"][0]
    for index in range(len(case.markets)):
        changes = changes_of(moves, index)
        columns = (changes.lots, changes.cost, changes.cash, changes.open)
        last = tuple(int(column[-1]) if len(column) else 0 for column in columns)
        ledgers = engine.state.ledgers[index :: len(case.markets)]
        earned = int((ledgers["realised"] - ledgers["fees"] - ledgers["funding"]).sum())
        held = int(np.count_nonzero(ledgers["lots"]))
        assert last == (int(ledgers["lots"].sum()), int(ledgers["cost"].sum()), earned, held)


@pytest.mark.parametrize(("amount", "leverage"), [(5, "2"), (15, "10"), (25, "10"), (7, "2.5"), (2**59 + 1, "2.3")])
def test_margins_are_rounded_half_to_even(amount: int, leverage: str) -> None:
    """Against Python's own rounding of the exact fraction, which goes to the even neighbour too."""
    ratio = Fraction(leverage)
    found = _share(np.array([amount], dtype=np.int64), 10**12, int(ratio * 10**12))
    assert found.tolist() == [round(Fraction(amount) / ratio)]
