"""Whatever a session lived through, its tape gives it again: cut anywhere, and from any moment on.

A made-up market with commands, documents, history and times that nobody recorded in between is driven as a session
drives it: message by message, its outputs taken at every step, some calls of strategies interrupted. `finish` of a run
that nobody disturbed says what must have come of it. `TAPEWRIGHT_EXAMPLES` sets how many cases each test tries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from adapters.tape.codec import Records
from adapters.tape.documents import HISTORY, REPLACEMENT, History, Replacement, to_pieces
from daemon.driving import TapeDriver
from engine.commands import EVERY, REPLACE, Flatten, Halt, Resume, StartStrategy, StopStrategy, Words, words_of
from engine.isolation import Aborted, InterruptedCallbackError, Policy, Unwatched, Watch
from engine.kernels import layout
from engine.replay import RunResult, StrategyRun
from engine.settings import BookExecution
from engine.strategy import Strategy
from engine.tape_input import bars_of_tape
from engine.tape_replay import TapeReplay
from strategies.loading import load_strategy
from tests.replay.tape_runs import SLOW, flow, message_stops, run_of, settings_of, tape_of, two_flows

SECOND = 1_000_000_000
ANY = settings(max_examples=int(os.environ.get("TAPEWRIGHT_EXAMPLES", "25")))
HEARING = """
def schema():
    return {"id": "hearing", "name": "Hearing", "timer_ms": 900}


def on_init(ctx):
    ctx.state["begun"] = ctx.state.get("begun", 0) + 1


def on_bar(ctx, i):
    own = ctx.state.setdefault(ctx.symbol, {"bars": 0, "sum": 0.0})
    own["bars"] += 1
    mean = float(ctx.ind.ema(ctx.close, 3)[i])
    own["sum"] += float(ctx.close[i]) + len(ctx.close) + (mean if mean == mean else 0.0)
    if i % 2 == 0:
        ctx.buy(0.01)
    elif ctx.position.size:
        ctx.flatten()


def on_order(ctx, order):
    ctx.state.setdefault("orders", []).append([order.id, order.state, order.filled])


def on_trade(ctx, trade):
    ctx.logger.info(f"{trade.side} {trade.pnl}")


def on_gap(ctx, gap):
    ctx.state["gaps"] = ctx.state.get("gaps", 0) + 1
    if ctx.state["gaps"] % 5 == 4:
        raise ValueError("too many")


def on_timer(ctx):
    if len(ctx.orders) < 3 and ctx.book.bid > 0:
        ctx.buy(0.002, ctx.book.bid, tif="POST_ONLY")
    elif ctx.orders:
        ctx.cancel(ctx.orders[0].id)
"""


@cache
def hearing(folder: Path) -> Strategy:
    path = folder / "hearing.py"
    path.write_text(HEARING, encoding="utf-8")
    return load_strategy(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strategies")


@dataclass
class Case:
    """A tape, what runs on it, what it may go on with, and the calls that are interrupted."""

    records: Records
    markets: Records
    runs: list[StrategyRun]
    others: list[StrategyRun]
    interrupted: frozenset[tuple[int, int]]
    policy: Policy
    aborted: list[Aborted] = field(default_factory=list)


def case_of(seed: int, folder: Path) -> Case:
    """Make the case of a seed."""
    random = Random(seed)
    market = (flow(900, random.randrange(5)), two_flows(450, random.randrange(5)))[random.random() < 0.4]
    every = tuple(range(int(market["instrument"].max()) + 1))
    kinds = [
        StrategyRun("hearing", hearing(folder), {}, every, "1s"), run_of("grid", markets=every),
        run_of("market_maker_compiled", markets=every),
    ]  # fmt: skip
    runs = random.sample(kinds, random.randint(1, 3))
    others = [*kinds, run_of("grid", {"levels": 2, "interval_ms": 700}, every)]
    calls = frozenset((random.randrange(len(runs)), random.randrange(3, 200)) for _ in range(random.randint(0, 2)))
    policy = Policy(is_isolated=True, is_flattened=random.random() < 0.5)
    return Case(_tape(random, market, len(runs), len(others)), market, runs, others, calls, policy)


def _tape(random: Random, market: Records, runs: int, others: int) -> Records:
    """The market with what a session writes in between, each time after a whole message."""
    stops = message_stops(market)
    places = sorted(random.sample(stops, random.randint(0, 12)))
    if random.random() < 0.7:
        places.insert(0, stops[0])
    parts: list[Records] = []
    for start, stop in pairwise([0, *places, len(market)]):
        parts.append(market[start:stop])
        if stop < len(market) and stop:
            parts += _between(random, int(market["ts_receive_ns"][stop - 1]), runs, others)
    return np.concatenate(parts)


def _between(random: Random, now_ns: int, runs: int, others: int) -> list[Records]:
    """A command, a document, time that passes, or time that is missing."""
    strategy = random.randrange(runs)
    match random.randrange(8):
        case 0:
            document = Replacement(strategy, {"which": random.randrange(others)}, ())
            words = (REPLACE, strategy, EVERY, 0, 0)
            return [to_pieces(REPLACEMENT, document, now_ns), _record(layout.COMMAND, now_ns, words)]
        case 1 | 2:
            return [to_pieces(HISTORY, _history(random, now_ns), now_ns)]
        case 3:
            return [_record(layout.GAP, now_ns, (layout.GAP_DOWNTIME, -1, now_ns - SECOND, 0, 0))]
        case 4:
            return [_record(layout.CLOCK, now_ns, (0, 0, 0, 0, 0))]
        case _:
            commands = [
                StartStrategy(strategy), StopStrategy(strategy), Flatten(random.choice((EVERY, strategy))), Halt(),
                Resume(), StartStrategy(strategy),
            ]  # fmt: skip
            return [_record(layout.COMMAND, now_ns, words_of(random.choice(commands)))]


def _history(random: Random, now_ns: int) -> History:
    open_ns = now_ns // SECOND * SECOND
    rows = tuple(_bar(random, open_ns - SECOND * back) for back in range(random.randint(0, 40), 0, -1))
    return History(0, "1s", rows, _bar(random, open_ns) if random.random() < 0.6 else None)


def _bar(random: Random, open_ns: int) -> tuple[int, int, int, int, int, int]:
    price = random.randint(599_000, 601_000)
    return open_ns, price, price + 9, price - 9, price + random.randint(-9, 9), random.randint(0, 50)


def _record(kind: int, at_ns: int, words: Words) -> Records:
    record = np.zeros(1, dtype=layout.RECORD)
    record["kind"], record["instrument"], record["ts_receive_ns"] = kind, layout.ALL_INSTRUMENTS, at_ns
    for name, word in zip("abcde", words, strict=True):
        record[name] = word
    return record


class Interrupting(Unwatched):
    """Ends some calls from outside, once they have done everything."""

    def __init__(self, calls: frozenset[tuple[int, int]]) -> None:
        self._calls = calls
        self._inside = (-1, -1)

    # Methods do what the protocol says.
    def enter(self, strategy: int, call: int) -> None:  # noqa: D102
        self._inside = strategy, call

    def leave(self) -> None:  # noqa: D102
        if self._inside in self._calls:
            self._inside = (-1, -1)
            raise InterruptedCallbackError("took longer than it may")


def driver_of(case: Case, watch: Watch | None = None, *, book: BookExecution = SLOW) -> TapeDriver:
    replay = TapeReplay(
        settings_of(book), tape_of(case.markets), case.runs, "1s", is_growing=True, policy=case.policy,
        aborted=case.aborted, watch=watch,
    )  # fmt: skip
    return TapeDriver(replay, lambda replacement: case.others[int(replacement.params["which"])], obeys=True)


@dataclass
class Lived:
    """What a session handed out, step by step."""

    outputs: list[Records] = field(default_factory=list)
    samples: list[Records] = field(default_factory=list)
    next_output: int = 0

    def take(self, driver: TapeDriver) -> None:
        """Take what a step has brought; numbers must run on."""
        first, outputs = driver.replay.engine.drain()
        assert first == self.next_output
        self.next_output += len(outputs)
        self.outputs.append(outputs)
        self.samples.append(driver.replay.engine.samples())

    def same(self, expected: RunResult, first: tuple[int, int] = (0, 0)) -> None:
        """All that was handed out is what the run gave, from these outputs and samples on."""
        np.testing.assert_array_equal(np.concatenate(self.outputs), expected.outputs[first[0] :])
        np.testing.assert_array_equal(np.concatenate(self.samples), expected.samples[first[1] :])


def batches(records: Records, cuts: Sequence[int], start: int = 0) -> Iterator[tuple[int, Records]]:
    """Records from a place on in batches that end at the cuts: the first one's seq, and they."""
    stops = sorted({start, len(records), *(cut for cut in cuts if start < cut < len(records))})
    for first, stop in pairwise(stops):
        yield first + 1, records[first:stop]


def live(case: Case, random: Random) -> tuple[TapeDriver, Lived, list[tuple[int, bytes, tuple[int, int]]]]:
    """Live through a case; what it handed out, and snapshots: the place, and what had been handed out by then."""
    driver, lived = driver_of(case, Interrupting(case.interrupted)), Lived()
    driver.start()
    snapshots = []
    stops = message_stops(case.records)
    for first_seq, records in batches(case.records, random.sample(stops, len(stops) // 2)):
        driver.consume(first_seq, records)
        lived.take(driver)
        if random.random() < 0.02:
            samples = int(driver.replay.engine.state.core["step"][0])
            snapshots.append((first_seq - 1 + len(records), driver.snapshot(), (lived.next_output, samples)))
    case.aborted = [each.aborted for each in driver.replay.failures if each.aborted is not None]
    return driver, lived, snapshots


def replayed(case: Case, cuts: Sequence[int] = ()) -> tuple[TapeDriver, RunResult]:
    driver = driver_of(case)
    driver.start()
    for first_seq, records in batches(case.records, cuts):
        driver.consume(first_seq, records)
    return driver, driver.finish()


def assert_stands_equal(driver: TapeDriver, other: TapeDriver) -> None:
    assert driver.replay.engine.hash == other.replay.engine.hash
    assert driver.replay._states == other.replay._states
    assert driver.replay.fates == other.replay.fates
    assert [run.params for run in driver.replay.runs] == [run.params for run in other.replay.runs]
    for place, columns in driver.replay.bars.columns.items():
        assert columns.snapshot() == other.replay.bars.columns[place].snapshot()


SEEDS = some.integers(0, 2**32 - 1)


@ANY
@given(seed=SEEDS)
def test_a_session_is_what_its_tape_makes_of_it(folder: Path, seed: int) -> None:
    case = case_of(seed, folder)
    session, lived, _ = live(case, Random(seed))
    replay, result = replayed(case)
    assert_stands_equal(session, replay)
    lived.same(result)


@ANY
@given(seed=SEEDS, cuts=some.lists(some.integers(1, 2_000), max_size=30))
def test_however_its_tape_is_cut(folder: Path, seed: int, cuts: list[int]) -> None:
    case = case_of(seed, folder)
    session, lived, _ = live(case, Random(seed))
    replay, result = replayed(case, cuts)
    assert_stands_equal(session, replay)
    lived.same(result)


@ANY
@given(seed=SEEDS, cuts=some.lists(some.integers(1, 2_000), max_size=30))
def test_from_any_snapshot_on(folder: Path, seed: int, cuts: list[int]) -> None:
    """What is handed out after a restart begins right after what the snapshot knew of."""
    case = case_of(seed, folder)
    session, _, snapshots = live(case, Random(seed))
    _, result = replayed(case)
    for place, snapshot, handed_out in snapshots:
        again, lived = driver_of(case), Lived(next_output=handed_out[0])
        again.resume(snapshot)
        lived.take(again)
        for first_seq, records in batches(case.records, cuts, place):
            again.consume(first_seq, records)
            lived.take(again)
        assert_stands_equal(again, session)
        lived.same(result, handed_out)


@ANY
@given(seed=SEEDS, place=some.integers(1, 1_500))
def test_a_snapshot_may_be_taken_inside_a_message_or_document(folder: Path, seed: int, place: int) -> None:
    case = case_of(seed, folder)
    live(case, Random(seed))
    whole, _ = replayed(case)
    first = driver_of(case)
    first.start()
    place = min(place, len(case.records) - 1)
    first.consume(1, case.records[:place])
    again = driver_of(case)
    again.resume(first.snapshot())
    again.consume(place + 1, case.records[place:])
    assert_stands_equal(again, whole)


def test_the_cases_reach_everything(folder: Path) -> None:
    """Interruptions, failures, replacements and history occur in them, and strategies trade: they are not hollow."""
    seen = dict.fromkeys(("aborted", "raised", "replaced", "stopped", "merged", "trades", "snapshots"), 0)
    for seed in range(40):
        case = case_of(seed, folder)
        session, lived, snapshots = live(case, Random(seed))
        replay = session.replay
        seen["aborted"] += len(case.aborted)
        seen["raised"] += sum(each.aborted is None for each in replay.failures)
        seen["replaced"] += any(run is not own for run, own in zip(replay.runs, case.runs, strict=True))
        seen["stopped"] += "stopped" in replay.fates
        seen["merged"] += bool((case.records["instrument"][case.records["kind"] == layout.DOCUMENT] == HISTORY).any())
        seen["trades"] += int((np.concatenate(lived.outputs)[:, 2] & 0xFF == layout.TRADE_OUTPUT).sum())
        seen["snapshots"] += len(snapshots)
    assert [name for name, count in seen.items() if count < 3] == []


# ── Bars ────────────────────────────────────────────────────────────────────────────────────────────────────


@ANY
@given(seed=some.integers(0, 30), cuts=some.lists(some.integers(1, 900), max_size=60), is_double=some.booleans())
def test_bars_that_grow_are_those_of_a_first_pass(folder: Path, seed: int, cuts: list[int], is_double: bool) -> None:
    records = two_flows(450, seed) if is_double else flow(900, seed)
    every = (0, 1) if is_double else (0,)
    runs = [StrategyRun(frame, hearing(folder), {}, every, frame) for frame in ("1s", "3s")]
    tape = tape_of(records, [cut for cut in cuts if cut < len(records)])
    growing, known = (
        TapeReplay(settings_of(), tape, runs, is_growing=is_growing, policy=Policy(is_isolated=True))
        for is_growing in (True, False)
    )
    results = [each.run() for each in (growing, known)]
    assert results[0].hash == results[1].hash
    np.testing.assert_array_equal(results[0].outputs, results[1].outputs)
    assert growing._states == known._states
    places = [(market, frame) for frame in ("1s", "3s") for market in every]
    for place, bars in zip(places, bars_of_tape(tape, settings_of(), places), strict=True):
        columns = growing.bars.columns[place].bars()
        assert len(columns.ts_ns) >= 2
        for name in ("ts_ns", "open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(columns, name), getattr(bars, name))


# ── What is taken, and what is told ─────────────────────────────────────────────────────────────────────────


@ANY
@given(seed=some.integers(0, 30), latency_ms=some.sampled_from([0, 1, 25, 400, 5_000]), every=some.integers(1, 90))
def test_updates_reach_their_strategy_however_often_outputs_are_taken(
    folder: Path, seed: int, latency_ms: int, every: int
) -> None:
    """Reports are on their way long after the outputs that they tell of were taken."""
    book = BookExecution(order_latency_ms=SLOW.order_latency_ms, response_latency_ms=latency_ms)  # type: ignore[arg-type]
    records = flow(900, seed)
    case = Case(records, records, [StrategyRun("hearing", hearing(folder), {}, (0,), "1s")], [], frozenset(),
                Policy(is_isolated=False))  # fmt: skip
    driver, lived = driver_of(case, book=book), Lived()
    driver.start()
    for first_seq, part in batches(records, range(0, len(records), every)):
        driver.consume(first_seq, part)
        lived.take(driver)
    outputs = np.concatenate(lived.outputs)
    told = [tuple(each[:2]) for each in driver.replay._states[0].get("orders", [])]
    expected = [
        (int(row[3]), STATES[int(row[2]) >> 8 & 0xFF]) for row in outputs
        if int(row[2]) & 0xFF in (layout.ORDER_OUTPUT, layout.FILL_OUTPUT) and int(row[2]) >> 8 & 0xFF != layout.NEW
    ]  # fmt: skip
    assert told == expected[: len(told)]
    assert len(told) >= len(expected) - 30 * (1 + latency_ms // 900)
    assert len(expected) >= 10
    plain = driver_of(case, book=book)
    plain.start()
    plain.consume(1, records)
    assert plain.replay.engine.hash == driver.replay.engine.hash
    assert driver.replay._states == plain.replay._states
    lived.same(plain.finish())


STATES: dict[int, Any] = {
    layout.ACTIVE: "ACTIVE", layout.PARTIAL: "PARTIAL", layout.FILLED: "FILLED", layout.CANCELED: "CANCELED",
    layout.EXPIRED: "EXPIRED", layout.REJECTED: "REJECTED",
}  # fmt: skip
