"""Shipped strategies on tapes: how the tests of cuts and of equal forms build their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from adapters.tape.codec import Records
from engine.book_state import Latency, TapeMarket
from engine.instruments import Instrument
from engine.kernels import layout
from engine.replay import RunResult, StrategyRun
from engine.settings import BookExecution, Commission, RunSettings
from engine.strategy import Strategy, resolve_params
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.loading import load_strategy
from strategies.registry import SHIPPED
from tests.tapes import FLOW_OFFSET_NS, merged, order_flow

BTC = Instrument("BTCUSDT", Decimal("0.1"), Decimal("0.001"))
XRP = Instrument("XRPUSDT", Decimal("0.0001"), Decimal("0.1"))
SLOW = BookExecution(order_latency_ms=Decimal(40), response_latency_ms=Decimal(25), queue_model="power")

# What lets each shipped strategy trade often on a made-up market of a minute or two.
LIVELY: dict[str, dict[str, object]] = {
    "grid": {"levels": 8, "step_ticks": 2, "half_spread_ticks": 2},
    "market_maker": {"liquidity": 20.0, "average": 30, "warm_up": 10, "horizon": 20},
    "book_imbalance": {"levels": 3, "threshold": 500, "hold_ms": 3_000},
}
FORMS = [form for name in LIVELY for form in (name, f"{name}_compiled")]


@cache
def shipped(name: str) -> Strategy:
    """A shipped strategy, loaded (and where it is compiled, compiled) once."""
    return load_strategy(SHIPPED / "builtins" / f"{name}.py")


@cache
def flow(count: int, seed: int) -> Records:
    """A made-up market of one instrument."""
    return order_flow(count, seed)


@cache
def two_flows(count: int, seed: int) -> Records:
    """Made-up markets of two instruments on one tape."""
    return merged(order_flow(count, seed), order_flow(count, seed + 1, instrument=1, middle_ticks=6_000))


def run_of(name: str, params: Mapping[str, object] | None = None, markets: tuple[int, ...] = (0,)) -> StrategyRun:
    """A shipped strategy in a run; lively where no parameters are given. Both forms go by the plain name."""
    strategy, plain = shipped(name), name.removesuffix("_compiled")
    return StrategyRun(plain, strategy, resolve_params(strategy.schema, LIVELY[plain] if params is None else params),
                       markets)  # fmt: skip


def settings_of(book: BookExecution = SLOW) -> RunSettings:
    """An account that can pay for what they do."""
    return RunSettings(
        initial_cash=Decimal(1_000_000), leverage=Decimal(10), commission=Commission(Decimal(2), Decimal(5)), book=book
    )  # fmt: skip


def tape_of(records: Records, stops: Iterable[int] = (), latencies: Sequence[Latency] = ()) -> TapeInput:
    """Records as a tape, in batches that end at `stops`."""
    bounds = sorted({0, len(records), *stops})
    count = int(records["instrument"][records["instrument"] != layout.ALL_INSTRUMENTS].max()) + 1
    return TapeInput(
        (BTC, XRP)[:count],
        (TapeMarket(has_book=True, clock_offset_ns=FLOW_OFFSET_NS),) * count,
        lambda: (records[start:stop] for start, stop in pairwise(bounds)),
        tuple(latencies),
    )


def ran(
    records: Records, runs: Sequence[StrategyRun], book: BookExecution = SLOW, *, stops: Iterable[int] = (),
    latencies: Sequence[Latency] = (),
) -> RunResult:  # fmt: skip
    """Run strategies over a whole tape."""
    return TapeReplay(settings_of(book), tape_of(records, stops, latencies), runs, "1m").run()


def message_stops(records: Records) -> list[int]:
    """Where each message ends: a book message at its last level, everything else at its one record."""
    return (1 + np.nonzero((records["kind"] != layout.LEVEL) | (records["flags"] & layout.LAST != 0))[0]).tolist()


def assert_same(result: RunResult, expected: RunResult) -> None:
    """Everything that a run gives is the same, output for output."""
    assert f"{result.hash:016x}" == f"{expected.hash:016x}"
    np.testing.assert_array_equal(result.outputs, expected.outputs)
    np.testing.assert_array_equal(result.samples, expected.samples)
    assert result.log == expected.log
    assert _done(result) == _done(expected)


def _done(result: RunResult) -> dict[str, Any]:
    """What the engine did; how it was driven is left out."""
    names = ("seq", "step", "cash", "realised", "fees", "funding", "order_count", "fill_count", "trade_count")
    return {name: result.figures[name] for name in names}
