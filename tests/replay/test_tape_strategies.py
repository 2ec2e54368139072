"""The shipped strategies on tapes: both forms give the same run, and each keeps what its description promises."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.captures.importing import ImportOptions, open_captures
from adapters.tape.codec import Records
from engine.book_state import Latency, TapeMarket
from engine.instruments import Instrument
from engine.kernels import layout
from engine.reading import view_as
from engine.replay import RunResult
from engine.settings import BookExecution
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.registry import Registry
from tests.replay.tape_runs import BTC, FORMS, LIVELY, assert_same, flow, ran, run_of, settings_of, two_flows
from tests.tapes import FLOW_START_NS

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT.parent / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
SECOND_NS = 10**9
BOOKS = {
    "at once": BookExecution(),
    "10 ms": BookExecution(order_latency_ms=Decimal(10), response_latency_ms=Decimal(10), queue_model="power"),
    "far away": BookExecution(
        order_latency_ms=Decimal(250), response_latency_ms=Decimal(180), queue_model="log", lateness_ms=50
    ),
    "as received": BookExecution(
        order_latency_ms=Decimal(3), response_latency_ms=Decimal(70), feed_latency=False, queue_model="power",
        queue_power=1, sample_ms=250,
    ),
}  # fmt: skip
SERIES = [
    Latency(FLOW_START_NS + 5 * SECOND_NS, 4_000_000, 3_000_000),
    Latency(FLOW_START_NS + 30 * SECOND_NS, 180_000_000, 90_000_000),
    Latency(FLOW_START_NS + 60 * SECOND_NS, 1_000_000, 40_000_000),
]


def fills_of(result: RunResult) -> NDArray[Any]:
    return view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)


def orders_of(result: RunResult, state: int = layout.NEW) -> NDArray[Any]:
    rows = view_as(result.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    return rows[rows["state"] == state]


def both_forms(
    name: str, records: Records, book: BookExecution, *, params: dict[str, object] | None = None,
    markets: tuple[int, ...] = (0,), latencies: Sequence[Latency] = (),
) -> RunResult:  # fmt: skip
    """Run the Python and the compiled form; they are the same, and they trade."""
    python = ran(records, [run_of(name, params, markets)], book, latencies=latencies)
    assert_same(ran(records, [run_of(f"{name}_compiled", params, markets)], book, latencies=latencies), python)
    assert len(python.trades()) >= 2
    return python


# ── Both forms ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("book", BOOKS)
@pytest.mark.parametrize("name", LIVELY)
def test_both_forms_give_the_same_run(name: str, book: str, seed: int) -> None:
    both_forms(name, flow(4_000, seed), BOOKS[book])


@pytest.mark.parametrize("name", LIVELY)
def test_both_forms_give_the_same_run_with_latencies_that_change(name: str) -> None:
    both_forms(name, flow(4_000, 3), BOOKS["10 ms"], latencies=SERIES)


@pytest.mark.parametrize("name", LIVELY)
def test_both_forms_give_the_same_run_on_two_markets(name: str) -> None:
    params = LIVELY[name] | {"size": 0.25}
    result = both_forms(name, two_flows(3_000, 4), BOOKS["10 ms"], params=params, markets=(0, 1))
    assert {trade.symbol for trade in result.trades()} == {"BTCUSDT", "XRPUSDT"}
    orders = orders_of(result)
    sizes = np.abs(orders["lots"][(orders["instrument"] == 1) & (orders["flags"] & layout.SYSTEM == 0)])
    assert sizes.max() == 2  # 0.25 units are two whole lots there


def test_all_of_them_on_one_account() -> None:
    names = list(LIVELY)
    python = ran(two_flows(3_000, 5), [run_of(name, markets=(0, 1)) for name in names], BOOKS["10 ms"])
    mixed = [run_of(f"{name}_compiled" if place != 1 else name, markets=(0, 1)) for place, name in enumerate(names)]
    assert_same(ran(two_flows(3_000, 5), mixed, BOOKS["10 ms"]), python)
    assert {trade.strategy for trade in python.trades()} == set(names)


def hash_of_all() -> str:
    """One hash of every shipped strategy on one account."""
    return f"{ran(flow(3_000, 6), [run_of(form) for form in FORMS]).hash:016x}"


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_processes_with_other_hash_seeds_agree(seed: str) -> None:
    code = "from tests.replay.test_tape_strategies import hash_of_all; print(hash_of_all())"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.strip() == hash_of_all(), found.stderr


# ── A real capture ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def capture() -> TapeInput:
    """Six minutes of BTCUSDT, without the quotes that stand beside the book."""
    if not CAPTURE.exists():
        pytest.skip("../shared/data is absent")
    opened = open_captures([CAPTURE], ImportOptions())
    (own,), (source,) = opened.session.instruments, opened.session.sources
    records = np.concatenate(list(opened.batches))
    records = records[records["kind"] != layout.QUOTE]
    market = TapeMarket(has_book=True, clock_offset_ns=source.clock_offset_ns)
    return TapeInput((Instrument(own.symbol, own.tick_size, own.lot_size),), (market,), lambda: [records])


@pytest.mark.real_data
@pytest.mark.parametrize("book", ["10 ms", "far away"])
@pytest.mark.parametrize("name", LIVELY)
def test_both_forms_give_the_same_run_on_a_capture(capture: TapeInput, name: str, book: str) -> None:
    python, compiled = (
        TapeReplay(settings_of(BOOKS[book]), capture, [run_of(form, {})]).run() for form in (name, f"{name}_compiled")
    )
    assert_same(compiled, python)
    assert len(python.trades()) >= 10


@pytest.mark.real_data
@pytest.mark.parametrize("name", LIVELY)
def test_a_capture_cut_anywhere_and_resumed_gives_the_same_run(capture: TapeInput, name: str) -> None:
    (records,) = capture.batches()
    assert isinstance(records, np.ndarray)
    expected = TapeReplay(settings_of(), capture, [run_of(f"{name}_compiled", {})]).run()
    stops = np.sort(np.random.default_rng(7).integers(0, len(records), 40)).tolist()
    replay, done = TapeReplay(settings_of(), capture, [run_of(f"{name}_compiled", {})]), 0
    replay.start()
    for number, stop in enumerate(stops):
        replay.consume(records[done:stop])
        done = stop
        if number % 4 == 0:
            snapshot = replay.snapshot()
            replay = TapeReplay(settings_of(), capture, [run_of(f"{name}_compiled", {})])
            replay.resume(snapshot)
    replay.consume(records[done:])
    assert_same(replay.finish(), expected)


# ── What each promises ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("book", BOOKS)
def test_makers_only_make(book: str) -> None:
    for name in ("grid", "market_maker"):
        result = ran(flow(4_000, 8), [run_of(f"{name}_compiled")], BOOKS[book])
        before_end = fills_of(result)[fills_of(result)["order_id"] > 0]
        assert len(before_end) >= 10
        system = orders_of(result)[orders_of(result)["flags"] & layout.SYSTEM != 0]["order_id"]
        own = before_end[~np.isin(before_end["order_id"], system)]
        assert set(own["reason"].tolist()) == {layout.MAKER}  # a fill's reason is its liquidity


@pytest.mark.parametrize("book", BOOKS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_market_maker_never_holds_more_than_its_limit(book: str, seed: int) -> None:
    result = ran(flow(4_000, seed), [run_of("market_maker_compiled", LIVELY["market_maker"] | {"max_position": 0.03})],
                 BOOKS[book])  # fmt: skip
    held = np.abs(fills_of(result)["ledger_lots"])
    assert held.max() == 30


@pytest.mark.parametrize("book", BOOKS)
def test_the_imbalance_taker_holds_one_order_and_not_for_longer_than_it_may(book: str) -> None:
    result = ran(flow(4_000, 1), [run_of("book_imbalance_compiled")], BOOKS[book])
    assert np.abs(fills_of(result)["ledger_lots"]).max() == 10
    own = orders_of(result)[orders_of(result)["type"] == layout.LIMIT]
    assert set(own["tif"].tolist()) == {layout.IOC}
    lengths_ns = [trade.exit_ts_ns - trade.entry_ts_ns for trade in result.trades() if trade.exit_reason == "order"]
    assert np.median(lengths_ns) > 2 * SECOND_NS
    assert min(lengths_ns) < 3 * SECOND_NS  # where the imbalance turned


def swinging(count: int) -> Records:
    """A book that goes two ticks up and down each 100 ms: the mid's squared change is always the same."""
    rows: list[tuple[int, ...]] = []
    for number in range(count):
        ts_ns = FLOW_START_NS + number * 100_000_000 + 1
        bid = 600_000 + 2 * (number % 2)
        levels = [(bid, 500, 0), (bid - 3, 900, 0), (bid + 1, 500, layout.SELL), (bid + 4, 900, layout.SELL)]
        for place, (price, lots, side) in enumerate(levels, 1):
            flags = layout.SNAPSHOT | side | (layout.LAST if place == len(levels) else 0)
            rows.append((ts_ns, ts_ns, layout.LEVEL, flags, 0, 0, 0, price, lots, number + 1, number, number + 1))
    return np.array(rows, dtype=layout.RECORD)


def asked_prices(result: RunResult) -> list[tuple[int, int]]:
    return [(int(order["lots"]), int(order["limit_ticks"])) for order in orders_of(result)]


@pytest.mark.parametrize("name", ["market_maker", "market_maker_compiled"])
@pytest.mark.parametrize(
    ("aversion", "liquidity", "horizon", "why"),
    [
        (0.05, 2.0, 600, "the defaults"),
        (0.5, 4.0, 100, "a cautious one: most of the spread comes of σ²"),
        (1e-6, 1_000.0, 1, "as near to the market as it may: never at the other side's price"),
    ],
)
def test_quotes_are_those_of_the_paper(name: str, aversion: float, liquidity: float, horizon: int, why: str) -> None:
    params = {"risk_aversion": aversion, "liquidity": liquidity, "horizon": horizon, "average": 10, "warm_up": 20}
    tape = TapeInput((BTC,), (TapeMarket(has_book=True),), lambda: [swinging(22)])
    result = TapeReplay(settings_of(BookExecution()), tape, [run_of(name, params)]).run()
    number = 20 if FLOW_START_NS % 100_000_000 == 0 else 21
    bid = 600_000 + 2 * (number % 2)
    mid = bid + 0.5
    variance = (2 / mid * 10_000) ** 2
    half = (aversion * variance * horizon / 2 + math.log(1 + aversion / liquidity) / aversion) * mid / 10_000
    first = asked_prices(result)[:2]
    assert first == [(10, min(math.floor(mid - half), bid)), (-10, max(math.ceil(mid + half), bid + 1))], why


@pytest.mark.parametrize(("warm_up", "held_most"), [(20, -1), (21, 1)])
def test_quotes_lean_against_the_position(warm_up: int, held_most: int) -> None:
    """Quotes that stand in the way of the swings fill, and each next pair lies lower (or higher) for what is held."""
    tape = TapeInput((BTC,), (TapeMarket(has_book=True),), lambda: [swinging(400)])
    params = {"risk_aversion": 0.05, "liquidity": 1_000.0, "horizon": 600, "average": 10, "warm_up": warm_up,
              "max_position": 0.03}  # fmt: skip
    result = TapeReplay(settings_of(BookExecution()), tape, [run_of("market_maker", params)]).run()
    held, seen = 0, set()
    for row in result.outputs:
        if row[2] & 0xFF == layout.FILL_OUTPUT:
            held = int(row.view(layout.FILL_VIEW)["ledger_lots"][0]) // 10
        order = row.view(layout.ORDER_VIEW)[0]
        if (order["kind"], order["state"]) != (layout.ORDER_OUTPUT, layout.NEW) or order["flags"] & layout.SYSTEM:
            continue
        bid = 600_000 + 2 * (int(order["ts_ns"] - FLOW_START_NS - 1) // 100_000_000 % 2)
        mid = bid + 0.5
        lean = 0.05 * 600 * (2 / mid * 10_000) ** 2
        half = (lean / 2 + math.log(1 + 0.05 / 1_000) / 0.05) * mid / 10_000
        middle = mid - held * lean * mid / 10_000
        if order["lots"] > 0:
            assert order["limit_ticks"] == min(math.floor(middle - half), bid)
        else:
            assert order["limit_ticks"] == max(math.ceil(middle + half), bid + 1)
        seen.add(held)
    assert seen == {0, held_most}


def test_they_are_listed_and_sound(tmp_path: Path) -> None:
    listed = {found.name: found for found in Registry(tmp_path).listing() if found.kind == "strategy"}
    for form in FORMS:
        found = listed[form]
        assert (found.error, found.is_shipped, found.hidden_by) == ("", True, "")
        assert found.schema is not None
        assert found.schema.description
        plain = listed[form.removesuffix("_compiled")].schema
        assert plain is not None
        assert (found.schema.inputs, found.schema.timer_ms) == (plain.inputs, plain.timer_ms)
