"""The compiled core and its plain twin say the same, word for word, about any run, however it is fed.

`TAPEWRIGHT_EXAMPLES` sets how many runs each test tries.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from engine.errors import CapacityError
from tests.property import twin
from tests.property.machines import Core, Said, record_rows, request_rows, said_by_twin, twin_of
from tests.property.runs import Run, reduced, run_of, runs
from tests.property.twin import Twin

EXAMPLES = int(os.environ.get("TAPEWRIGHT_EXAMPLES", "150"))
ANY_RUN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # A seed does not shrink; `reduced` does it instead, once.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

KINDS = {1: "ORDER", 2: "FILL", 3: "FUNDING", 4: "TRADE", 5: "RISK"}


def feed_twin(machine: Twin, run: Run) -> None:
    machine.advance(run.records, run.requests)


def difference(said: Said, expected: Said) -> str:
    """What differs first, in words; empty where nothing does."""
    for index, (core, naive) in enumerate(itertools.zip_longest(said.outputs, expected.outputs)):
        if core != naive:
            return f"output {index}\n  core {in_words(core)}\n  twin {in_words(naive)}"
    for index, (core, naive) in enumerate(itertools.zip_longest(said.samples, expected.samples)):
        if core != naive:
            return f"sample {index}\n  core {core}\n  twin {naive}"
    if said.figures != expected.figures:
        return f"figures\n  core {said.figures}\n  twin {expected.figures}"
    return "" if said.hash == expected.hash else f"hash\n  core {said.hash:#x}\n  twin {expected.hash:#x}"


def in_words(words: tuple[int, ...] | None) -> str:
    """Write an output as a line that can be read."""
    if words is None:
        return "nothing"
    seq, ts, header, *payload = words
    kind, state, reason, detail = (header >> shift & 0xFF for shift in (0, 8, 16, 24))
    strategy, instrument = header >> 32 & 0xFFFF, header >> 48 & 0xFFFF
    place = f"seq {seq} ts {ts} s{strategy} k{instrument}"
    return f"{KINDS.get(kind, kind)} {place} state {state} reason {reason} detail {detail} {payload}"


def expect_agreement(
    run: Run, feed: Callable[[Core, Run], None], feed_twin: Callable[[Twin, Run], None] = feed_twin
) -> None:
    """Feed the core in some way; it must say what the twin says. A failing run is made small first."""

    def differs(candidate: Run) -> str:
        core = Core(candidate.settings, candidate.instruments, candidate.strategies)
        naive = twin_of(candidate.settings, candidate.instruments, candidate.strategies)
        feed_twin(naive, candidate)
        expected = said_by_twin(naive)
        try:
            feed(core, candidate)
        except CapacityError:  # the twin's integers have no end; up to here the core must have said the same
            said = core.said(expected.figures)
            outputs, samples = expected.outputs[: len(said.outputs)], expected.samples[: len(said.samples)]
            return difference(said, replace(said, outputs=outputs, samples=samples))
        except Exception as error:  # a core that stops is a difference too
            return f"the core stopped: {error!r}"
        return difference(core.said(expected.figures), expected)

    if differs(run):
        small = reduced(run, lambda candidate: bool(differs(candidate)))
        inputs = "\n".join(map(repr, [small.settings, *small.instruments, *small.records, *small.requests]))
        pytest.fail(f"{differs(small)}\n{small.strategies} strategies\n{inputs}", pytrace=False)


@ANY_RUN
@given(runs())
def test_one_batch(run: Run) -> None:
    def feed(core: Core, run: Run) -> None:
        core.advance(record_rows(run.records), 0, len(run.records), request_rows(run.requests))

    expect_agreement(run, feed)


@ANY_RUN
@given(runs(), some.lists(some.integers(0, 120), max_size=12), some.booleans(), some.integers(0, 3))
def test_any_cuts(run: Run, cuts: list[int], drains: bool, wakes: int) -> None:
    """Fed in batches of any length, read in between or not, waking at steps or updates or not."""

    def feed(core: Core, run: Run) -> None:
        core.engine.state.core["wake_each_step"][0] = wakes & 1
        core.engine.state.core["wake_on_update"][0] = wakes >> 1
        events, requests = record_rows(run.records), request_rows(run.requests)
        edges = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
        for start, stop in itertools.pairwise(edges):
            core.advance(events, start, stop, requests)
            if drains:
                core.drain()

    expect_agreement(run, feed)


@ANY_RUN
@given(runs(), some.integers(0, 120))
def test_restored_from_a_snapshot(run: Run, cut: int) -> None:
    """Another engine goes on from a snapshot taken at any record."""

    def feed(core: Core, run: Run) -> None:
        events, requests = record_rows(run.records), request_rows(run.requests)
        middle = min(cut, len(events))
        core.advance(events, 0, middle, requests)
        core.reincarnate()
        core.advance(events, middle, len(events), requests)

    expect_agreement(run, feed)


@ANY_RUN
@given(runs())
def test_submitted_one_by_one(run: Run) -> None:
    """Requests handed over at the end of their step, one at a time, as a strategy in Python does."""

    def feed(core: Core, run: Run) -> None:
        events, requests = record_rows(run.records), request_rows(run.requests)
        step, start = 0, 0
        for stop, record in enumerate(run.records, 1):
            if record.flags & twin.LAST:
                core.advance(events, start, stop, request_rows([]))
                start, step = stop, step + 1
                for index, request in enumerate(run.requests):
                    if request.step == step:
                        first = int(core.engine.state.core["order_count"][0]) + 1
                        assert core.submit(requests[index : index + 1]) == first
        core.advance(events, start, len(events), request_rows([]))

    expect_agreement(run, feed)


@ANY_RUN
@given(runs())
def test_submitted_between_any_records(run: Run) -> None:
    """A request handed over acts at once, be it in the middle of a step or of a bar."""

    def due(run: Run, index: int) -> list[int]:
        return [at for at, request in enumerate(run.requests) if request.step * 7 % len(run.records) == index]

    def feed(core: Core, run: Run) -> None:
        events, requests = record_rows(run.records), request_rows(run.requests)
        for index in range(len(events)):
            core.advance(events, index, index + 1, request_rows([]))
            core.submit(requests[due(run, index)])

    def feed_twin(naive: Twin, run: Run) -> None:
        for index, record in enumerate(run.records):
            naive.advance([record])
            naive.submit([run.requests[at] for at in due(run, index)])

    expect_agreement(run, feed, feed_twin)


def test_the_runs_reach_everything() -> None:
    """Every output, state and reason, event and model occurs in such runs: the tests above are not hollow."""
    seen: Counter[str] = Counter()
    for seed in range(400):
        run = run_of(seed, bars=24, requests=60)
        machine = twin_of(run.settings, run.instruments, run.strategies)
        machine.advance(run.records, run.requests)
        for words in machine.outputs:
            kind, state, reason, detail = (words[2] >> shift & 0xFF for shift in (0, 8, 16, 24))
            if kind == twin.OUT_ORDER:
                seen[f"state {state} for {reason}"] += 1
            elif kind == twin.OUT_FILL:
                seen[f"state {state}"] += 1
                seen[f"model {detail} liquidity {reason}"] += 1
            elif kind == twin.OUT_FUNDING:
                seen[f"rate from {reason}"] += 1
            elif kind == twin.OUT_TRADE:
                seen[f"trade closed by {reason}"] += 1
            else:
                seen[f"risk {reason}"] += 1
                if reason == twin.LIQUIDATION:
                    place = "open" if words[1] == run.records[words[0] - 1].ts_exchange_ns else "inside"
                    seen[f"{run.settings.margin} liquidation {place}"] += 1
        seen[f"ambiguous {run.settings.execution.same_bar_priority}"] += machine.ambiguous_bars
        for order in machine.orders:
            seen[f"type {order.type} tif {order.tif} filled"] += order.filled_lots > 0
    expected = (
        ["state 1 for 0", "state 2 for 0", "state 3", "state 4", "state 6 for 15"]
        + [f"state 5 for {reason}" for reason in (1, 2, 3, 5, 6, 7, 8, 9, 10, 13, 16, 17)]
        + [f"state 7 for {reason}" for reason in (4, 6, 9, 10, 11, 12, 13, 14)]
        + [f"model {model} liquidity 2" for model in (0, 1, 2, 3, 4, 9)]
        + ["model 0 liquidity 1"]
        + [f"{margin} liquidation {place}" for margin in ("cross", "isolated") for place in ("open", "inside")]
        + [f"risk {event}" for event in range(1, 7)]
        + [f"trade closed by {reason}" for reason in (0, 9, 16, 17)]
        + [f"type {order_type} tif {tif} filled" for order_type in range(1, 5) for tif in range(1, 5)]
        + [f"ambiguous {name}" for name in ("pessimistic", "adaptive", "ohlc", "olhc", "fifo")]
        + ["rate from 1", "rate from 2"]
    )
    assert [name for name in expected if seen[name] == 0] == []
