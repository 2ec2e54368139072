"""The bar journal against the core's own tables, read while the core runs, bar by bar."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given

from engine.core import Engine
from engine.errors import CapacityError
from engine.journal import JournalInput, Piece, journal_pieces
from engine.reading import scale_of
from engine.symbol_accounts import moves_of, timeline_of
from tests.property.machines import request_rows
from tests.property.market_runs import Case, case_of
from tests.property.test_symbol_accounts import ANY_SEED, SEEDS


def _journal(case: Case, engine: Engine, outputs: np.ndarray, equity: np.ndarray, market: int, rows: int) -> Piece:
    """The whole journal of a market, made in pieces of so many rows."""
    timeline = timeline_of(case.stream)
    given = JournalInput(
        market, case.markets[market].bars, scale_of(case.markets[market].instrument, 0), outputs,
        moves_of(outputs, timeline), timeline, equity, int(case.settings.initial_cash), (),
    )  # fmt: skip
    pieces = list(journal_pieces(given, rows))
    assert [len(piece["price"]) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


@ANY_SEED
@given(SEEDS)
def test_every_row_is_what_the_core_held_at_the_bars_close(seed: int) -> None:
    """With fills at the next open nothing fills after a step was sampled, so the tables at its end are the row's."""
    case = case_of(seed)
    execution = msgspec.structs.replace(case.settings.execution, fill_model="close_to_open")
    config = msgspec.structs.replace(case.settings, execution=execution)
    engine = Engine(config, [market.instrument for market in case.markets], case.strategies)
    requests, count = request_rows(case.requests), len(case.markets)
    stops = [*case.stream.step_stops[:-1].tolist(), len(case.stream.records)]  # the last bar is over when the run is
    seen, position = [], 0
    try:
        for stop in stops:
            while position < stop:
                position, _ = engine.advance(case.stream.records, position, stop, requests)
            core, lots = engine.state.core, engine.state.ledgers["lots"]
            net = [int(lots[market::count].sum()) for market in range(count)]
            held = [bool(lots[market::count].any()) for market in range(count)]
            seen.append((int(core["cash"][0]), int(core["cash"][0] + core["floating"][0]), net, held))
    except CapacityError:
        return
    outputs = engine.outputs()
    equity = np.array([row[1] for row in seen], dtype=np.int64)
    initial = int(config.initial_cash)
    for market in range(count):
        journal = _journal(case, engine, outputs, equity, market, 7)
        steps = case.stream.bar_steps[market].tolist()
        assert journal["capital"].tolist() == [seen[step][0] for step in steps]
        assert journal["position_size"].tolist() == [seen[step][2][market] for step in steps]
        assert journal["in_position"].tolist() == [seen[step][3][market] for step in steps]
        peaks = [max(initial, *(row[1] for row in seen[: step + 1])) for step in steps]
        drawdowns = [(peak - seen[step][1]) / peak for peak, step in zip(peaks, steps, strict=True)]
        assert journal["drawdown"].tolist() == drawdowns
        whole = _journal(case, engine, outputs, equity, market, 10**6)
        for name, column in whole.items():
            np.testing.assert_array_equal(column, journal[name], err_msg=name)
