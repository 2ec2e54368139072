"""Every machine for tapes says what the plain twin says, word for word, about any run, however it is fed.

`TAPEWRIGHT_EXAMPLES` sets how many runs each test tries.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from tests.property import book_twin as on_tape
from tests.property import twin
from tests.property.book_machines import MACHINES, BookSaid, MachineOf, difference
from tests.property.book_runs import BookRun, in_words, planned, played, reduced, run_of, runs

EXAMPLES = int(os.environ.get("TAPEWRIGHT_EXAMPLES", "150"))
ANY_RUN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # A seed does not shrink; `reduced` does it instead, once.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def expect_agreement(run: BookRun, machine_of: MachineOf, play: Callable[..., BookSaid] = played) -> None:
    """Feed the machine in some way; it must say what the twin says. A failing run is made small first."""

    def differs(candidate: BookRun) -> str:
        expected = played(candidate)
        try:
            said = play(candidate, machine_of)
        except Exception as error:  # a machine that stops is a difference too
            return f"the machine stopped: {error!r}"
        return difference(said, expected)

    if differs(run):
        small = reduced(run, lambda candidate: bool(differs(candidate)))
        pytest.fail(f"{differs(small)}\n{in_words(small)}", pytrace=False)


@pytest.mark.parametrize("machine", MACHINES)
@ANY_RUN
@given(run=runs())
def test_one_batch(machine: str, run: BookRun) -> None:
    expect_agreement(run, MACHINES[machine])


@pytest.mark.parametrize("machine", MACHINES)
@ANY_RUN
@given(run=runs(), cuts=some.lists(some.integers(0, 300), max_size=12))
def test_any_cuts(machine: str, run: BookRun, cuts: list[int]) -> None:
    """Fed in batches of any length."""
    expect_agreement(run, MACHINES[machine], lambda case, machine_of: played(case, machine_of, tuple(cuts)))


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_repeats_its_run(seed: int) -> None:
    """Requests written down act as those made on the way: what `reduced` starts from is the same run."""
    run = run_of(seed)
    assert difference(played(planned(run)), played(run)) == ""


def test_a_failing_run_is_made_small() -> None:
    """`reduced` keeps what matters: here, that something was filled from a queue."""

    def fails(run: BookRun) -> bool:
        return any(words[2] & 0xFF == on_tape.OUT_BOOK and words[2] >> 24 & 0xFF == on_tape.MODEL_QUEUE
                   for words in played(run).outputs)  # fmt: skip

    run = next(run for run in map(run_of, range(1_000)) if fails(run))
    small = reduced(run, fails)
    assert fails(small)
    assert len(small.records) <= len(run.records) // 4
    assert sum(len(given) for given in (small.plan or {}).values()) == 1


def test_the_runs_reach_everything() -> None:
    """Every output, state, reason, model and event occurs in such runs: the tests above are not hollow."""
    seen: Counter[str] = Counter()
    for seed in range(400):
        run = run_of(seed)
        said = played(run)
        for words in said.outputs:
            kind, state, reason, detail = (words[2] >> shift & 0xFF for shift in (0, 8, 16, 24))
            if kind == twin.OUT_ORDER:
                seen[f"state {state} for {reason}"] += 1
            elif kind == twin.OUT_FILL:
                seen[f"state {state}"] += 1
                seen[f"model {detail} liquidity {reason}"] += 1
            elif kind == on_tape.OUT_BOOK:
                seen[f"model {detail} confidence {reason}"] += 1
            elif kind == twin.OUT_FUNDING:
                seen[f"rate from {reason}"] += 1
                seen["funding of a closed position"] += words[8] == 0
            elif kind == twin.OUT_TRADE:
                seen[f"trade closed by {reason}"] += 1
            else:
                seen[f"risk {reason} {run.setup.settings.margin}"] += 1
        for event in said.events:
            seen[f"event {event[2]}"] += 1
        for bar in said.bars:
            seen["bar with prints" if bar[7] else "bar without prints"] += 1
        for book in said.books:
            seen[f"book {book[0]}"] += 1
        seen["stopped"] += said.is_stopped
        seen["not known to be finished"] += any(state not in twin.WORKING for _, _, state, _, _ in said.orders.values())
    expected = (
        [
            "state 1 for 0",
            "state 2 for 0",
            "state 3",
            "state 4",
            "state 6 for 15",
            "stopped",
            "not known to be finished",
        ]
        + [f"state 5 for {reason}" for reason in (1, 2, 3, 5, 6, 7, 8, 9, 10, 16, 17, 19)]
        + [f"state 7 for {reason}" for reason in (4, 6, 9, 10, 11, 12, 13, 14, 18)]
        + [f"model {model} liquidity 2" for model in (1, 2, 4, 5, 9)]
        + [f"model {model} liquidity 1" for model in (6, 7)]
        + ["model 1 confidence 0", "model 4 confidence 0", "model 4 confidence 1", "model 5 confidence 2"]
        + ["model 6 confidence 1", "model 7 confidence 1", "model 7 confidence 2"]
        + [f"risk {event} {margin}" for event in range(1, 12) for margin in ("cross", "isolated")]
        + [f"trade closed by {reason}" for reason in (0, 9, 16, 17)]
        + [f"event {event}" for event in sorted(on_tape.EVENTS)]
        + ["rate from 1", "rate from 2", "funding of a closed position", "bar with prints", "bar without prints"]
        + [f"book {state}" for state in (on_tape.NO_BOOK, on_tape.VALID, on_tape.BROKEN)]
    )
    assert [name for name in expected if seen[name] == 0] == []
