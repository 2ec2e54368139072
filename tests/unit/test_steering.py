"""Commands to a run and the end of a strategy that fails: what is cancelled, who is told, what a replay repeats.

Each run is driven twice: live, with a guard that really interrupts, and again from what the first one wrote down.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.session.guard import Guard
from engine.book_state import TapeMarket
from engine.commands import (
    EVERY,
    REPLACE,
    START,
    Command,
    Flatten,
    Halt,
    Replace,
    Resume,
    StartStrategy,
    StopStrategy,
    command_of,
    words_of,
)
from engine.errors import StrategyError
from engine.isolation import Aborted, Policy, Unwatched, Watch
from engine.kernels import layout
from engine.reading import view_as
from engine.replay import RunResult, StrategyRun
from engine.settings import BookExecution, RunSettings
from engine.strategy import Strategy
from engine.tape_ctx import open_orders
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from tests.unit.test_tape_callbacks import ONE, TWO, Tape, written

LAGGING = BookExecution(order_latency_ms=Decimal(3), response_latency_ms=Decimal(4), lateness_ms=50, sample_ms=500)
SETTINGS = RunSettings(initial_cash=Decimal(100_000), leverage=Decimal(10), close_at_end=False, book=LAGGING)
ISOLATED = Policy(is_isolated=True)
QUOTING = """
def on_timer(ctx):
    note(ctx, "timer", ctx.params.get("size", 1))
    for order in list(ctx.orders):
        ctx.cancel(order.id)
    ctx.buy(0.01, 45.0)
    ctx.sell(0.02, 56.0)


def on_order(ctx, order):
    note(ctx, "order", order.id, order.state)
"""
FAILING = """
def on_timer(ctx):
    count = ctx.state["count"] = ctx.state.get("count", 0) + 1
    ctx.buy(0.01, 50.0)
    if count == 3:
        ctx.buy(0.05)
    if count == 5:
        {trouble}
    note(ctx, "timer", count)
"""
HOLDING = """
def on_timer(ctx):
    if ctx.position.size == 0 and not ctx.state.get(ctx.symbol):
        ctx.state[ctx.symbol] = True
        ctx.buy(0.05)
"""
Entry = tuple[int, Command]


def long_tape(until_ms: int = 3_000, every_ms: int = 20, markets: int = 1) -> Tape:
    """Books that stand at 50 and 51, the first of which changes behind its best levels and trades now and then."""
    tape = Tape()
    for market in reversed(range(markets)):
        tape.book(0, {100: 500, 99: 700}, {102: 400, 103: 600}, market)
    for at_ms in range(every_ms, until_ms, every_ms):
        tape.change(at_ms, {98: at_ms}, {})
        if at_ms % 100 == 0:
            tape.sold(at_ms + 1, 100, 3)
            tape.bought(at_ms + 2, 102, 2)
    return tape


def replay_of(
    strategies: Sequence[Strategy], *, policy: Policy = ISOLATED, aborted: Sequence[Aborted] = (),
    watch: Watch | None = None, markets: int = 1, tape: Tape | None = None,
) -> TapeReplay:  # fmt: skip
    every = tuple(range(markets))
    runs = [StrategyRun(f"s{number}", own, {}, every, "1s") for number, own in enumerate(strategies)]
    records = (tape or long_tape(markets=markets)).records()
    source = TapeInput((ONE, TWO)[:markets], (TapeMarket(has_book=True),) * markets, lambda: [records])
    return TapeReplay(SETTINGS, source, runs, is_growing=True, policy=policy, aborted=aborted, watch=watch)


def driven(
    replay: TapeReplay, commands: Sequence[Entry] = (), *, resumed_at: int | None = None,
    again: TapeReplay | None = None,
) -> RunResult:  # fmt: skip
    """Drive a run over its tape with commands after so many records; perhaps it goes on in another one midway."""
    (records,) = replay.tape.batches()
    replay.start()
    stops = sorted({len(records), *(place for place, _ in commands), *((resumed_at,) if resumed_at else ())})
    start = 0
    for stop in stops:
        replay.consume(records[start:stop])
        start = stop
        for place, command in commands:
            if place == stop:
                replay.command(command)
        if stop == resumed_at:
            assert again is not None
            snapshot, before = replay.snapshot(), replay
            for index, run in enumerate(before.runs):
                if run is not again.runs[index]:
                    again.set_run(index, run)
            again.resume(snapshot)
            replay = again
    return replay.finish(is_ended=False)


def working(replay: TapeReplay, strategy: int = 0, market: int = 0) -> int:
    rows = open_orders(replay.engine, strategy * len(replay.scales) + market)
    return sum(row["state"] < layout.FILLED for row in rows)


def risks(result: RunResult) -> list[int]:
    """Events of the account and its strategies, in order."""
    return [int(row["reason"]) for row in view_as(result.outputs, layout.RISK_OUTPUT, layout.RISK_VIEW)]


def told(replay: TapeReplay, strategy: int = 0) -> list[str]:
    return list(replay._states[strategy].get("told", []))


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    made = Guard(tmp_path / "mark", 30)
    yield made
    made.close()


# ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [StartStrategy(2), StopStrategy(0), Flatten(), Flatten(1, 3), Halt(), Resume()])
def test_a_command_is_what_its_words_say(command: Command) -> None:
    assert command_of(words_of(command)) == command


def test_words_that_say_nothing_are_no_command() -> None:
    assert command_of((99, 0, 0, 0, 0)) is None
    assert command_of((REPLACE, 0, EVERY, 0, 0)) is None
    assert command_of((START, 4, EVERY, 7, 7)) == StartStrategy(4)


def test_a_stopped_strategy_is_told_nothing_and_its_orders_go(tmp_path: Path) -> None:
    replay = replay_of([written(tmp_path, QUOTING, timer_ms=200)])
    result = driven(replay, [(60, StopStrategy(0))])
    assert replay.fates == ("stopped",)
    assert working(replay) == 0
    assert risks(result) == [layout.RISK_STOPPED]
    assert float(told(replay)[-1].split()[0]) < 1_300


def test_one_that_is_started_again_is_initialised_and_keeps_its_state(tmp_path: Path) -> None:
    body = 'def on_init(ctx):\n    note(ctx, "init")\n' + QUOTING
    replay = replay_of([written(tmp_path, body, timer_ms=200)])
    result = driven(replay, [(40, StopStrategy(0)), (90, StartStrategy(0))])
    assert replay.fates == ("running",)
    assert risks(result) == [layout.RISK_STOPPED, layout.RISK_STARTED]
    lines = told(replay)
    assert sum(line.endswith("init") for line in lines) == 2
    assert lines[0].endswith("init")
    timers = [float(line.split()[0]) for line in lines if "timer" in line]
    assert max(after - before for before, after in itertools.pairwise(timers)) > 200
    assert timers[-1] == 2_800


def test_stopping_and_starting_twice_does_nothing_more(tmp_path: Path) -> None:
    once = [(40, StopStrategy(0)), (90, StartStrategy(0))]
    twice = [(40, StopStrategy(0)), (41, StopStrategy(0)), (90, StartStrategy(0)), (91, StartStrategy(0))]
    strategy = written(tmp_path, QUOTING, timer_ms=200)
    assert driven(replay_of([strategy]), once).hash == driven(replay_of([strategy]), twice).hash


def test_flatten_closes_one_strategy_or_one_market_or_all(tmp_path: Path) -> None:
    strategies = [written(tmp_path, HOLDING, name=name, timer_ms=100) for name in ("first", "second")]
    for command, left in (
        (Flatten(), []),
        (Flatten(strategy=1), [0, 1]),
        (Flatten(market=0), [1, 3]),
        (Flatten(strategy=0, market=1), [0, 2, 3]),
    ):
        replay = replay_of(strategies, markets=2)
        driven(replay, [(100, command)])
        held = replay.engine.state.ledgers["lots"]
        assert [index for index in range(4) if held[index]] == left, command


def test_a_halted_account_opens_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    replay = replay_of([written(tmp_path, QUOTING, timer_ms=200)])
    result = driven(replay, [(50, Halt()), (110, Resume())])
    assert risks(result) == [layout.RISK_HALTED, layout.RISK_RESUMED]
    orders = view_as(result.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    seqs = [int(row["seq"]) for row in orders if row["state"] == layout.ACTIVE]
    assert [seq for seq in seqs if 50 < seq <= 110] == []
    assert [seq for seq in seqs if seq < 50]
    assert [seq for seq in seqs if seq > 110]
    assert {row["state"] for row in orders if 50 < row["seq"] <= 110} == {layout.NEW, layout.REJECTED}


@pytest.mark.parametrize("command", [StartStrategy(7), StopStrategy(-1), Flatten(5), Flatten(0, 9)])
def test_a_command_for_what_the_run_has_not_does_nothing(tmp_path: Path, command: Command) -> None:
    strategy = written(tmp_path, QUOTING, timer_ms=200)
    assert driven(replay_of([strategy]), [(50, command)]).hash == driven(replay_of([strategy])).hash


def test_other_parameters_and_code_go_on_with_position_and_state(tmp_path: Path) -> None:
    first = written(tmp_path, QUOTING, name="first", timer_ms=200)
    second = written(tmp_path, 'def on_book(ctx):\n    note(ctx, "book", ctx.position.size)\n', name="second")
    replay = replay_of([first])
    driven(replay, [(60, Replace(0, StrategyRun("other name", second, {"size": 2}, (1, 2, 3))))])
    (run,) = replay.runs
    assert (run.name, run.markets, run.params) == ("s0", (0,), {"size": 2})
    lines = told(replay)
    assert any("timer" in line for line in lines)
    assert "timer" not in " ".join(line for line in lines if float(line.split()[0]) > 1_300)
    assert float(lines[-1].split()[0]) > 2_900


def test_a_strategy_that_was_replaced_while_stopped_starts_with_the_new_code(tmp_path: Path) -> None:
    first = written(tmp_path, QUOTING, name="first", timer_ms=200)
    second = written(tmp_path, 'def on_timer(ctx):\n    note(ctx, "new")\n', name="second", timer_ms=300)
    replay = replay_of([first])
    other = Replace(0, StrategyRun("s0", second, {}, (0,)))
    driven(replay, [(40, StopStrategy(0)), (60, other), (80, StartStrategy(0))])
    lines = [line for line in told(replay) if float(line.split()[0]) > 900]
    assert lines
    assert all(line.endswith("new") for line in lines)


@pytest.mark.parametrize("resumed_at", [61, 75, 120])
def test_a_run_that_goes_on_after_a_replacement_hears_what_the_new_code_listens_to(
    tmp_path: Path, resumed_at: int
) -> None:
    first = written(tmp_path, QUOTING, name="first", timer_ms=200)
    second = written(
        tmp_path, 'def on_book(ctx):\n    note(ctx, "book")\n    if ctx.position.size == 0:\n        ctx.buy(0.01)\n',
        name="second",
    )  # fmt: skip
    commands: list[Entry] = [(60, Replace(0, StrategyRun("s0", second, {}, (0,))))]
    whole, again = replay_of([first]), replay_of([first])
    expected = driven(whole, commands)
    result = driven(replay_of([first]), commands, resumed_at=resumed_at, again=again)
    assert result.hash == expected.hash
    assert told(again) == told(whole)


# ── Strategies that fail ────────────────────────────────────────────────────────────────────────────────────


def test_without_isolation_an_error_ends_the_run(tmp_path: Path) -> None:
    failing = written(tmp_path, FAILING.format(trouble="raise ValueError('no')"), timer_ms=200)
    with pytest.raises(StrategyError, match=r"s0: on_timer on ONE: ValueError: no"):
        driven(replay_of([failing], policy=Policy()))


@pytest.mark.parametrize("is_flattened", [False, True])
def test_one_that_raises_is_taken_out_alone(tmp_path: Path, is_flattened: bool) -> None:
    failing = written(tmp_path, FAILING.format(trouble="1 / 0"), name="failing", timer_ms=200)
    quoting = written(tmp_path, QUOTING, name="quoting", timer_ms=200)
    policy = Policy(is_isolated=True, is_flattened=is_flattened)
    replay = replay_of([failing, quoting], policy=policy)
    result = driven(replay)
    assert replay.fates == ("faulted", "running")
    (failure,) = replay.failures
    assert (failure.strategy, failure.symbol, failure.where, failure.aborted) == (0, "ONE", "on_timer", None)
    assert "ZeroDivisionError" in failure.message
    assert working(replay, 0) == 0
    assert working(replay, 1) == 2
    assert bool(replay.engine.state.ledgers["lots"][0]) is not is_flattened
    assert risks(result) == [layout.RISK_FAULTED]
    assert told(replay)[-1].endswith("timer 4")
    assert driven(replay_of([failing, quoting], policy=policy)).hash == result.hash
    alone = replay_of([quoting])
    driven(alone)
    assert _without_ids(told(replay, 1)) == _without_ids(told(alone))


def _without_ids(lines: list[str]) -> list[str]:
    """Ids of orders count over the account."""
    return [" ".join(word for place, word in enumerate(line.split()) if place != 2) for line in lines]


def test_a_loop_is_interrupted_and_its_replay_repeats_what_it_had_asked_for(tmp_path: Path, guard: Guard) -> None:
    looping = written(tmp_path, FAILING.format(trouble="while True: pass"), timer_ms=200)
    live = replay_of([looping], watch=guard)
    result = driven(live)
    (failure,) = live.failures
    assert failure.aborted is not None
    assert len(failure.aborted.requests) == 1
    assert (failure.aborted.strategy, failure.aborted.call, failure.aborted.fate) == (0, 5, "faulted")
    again = replay_of([looping], aborted=[failure.aborted])
    assert driven(again).hash == result.hash
    assert again.fates == ("faulted",)
    assert [each.message for each in again.failures] == [failure.message]


def test_one_that_holds_the_interruption_back_is_taken_out_all_the_same(tmp_path: Path, guard: Guard) -> None:
    trouble = """
        while not ctx.state.get("is_out"):
            try:
                while True:
                    ctx.state["turns"] = ctx.state.get("turns", 0) + 1
            except BaseException:
                ctx.state["is_out"] = True
                ctx.buy(0.01, 49.5)"""
    looping = written(tmp_path, FAILING.format(trouble=trouble.strip()), timer_ms=200)
    live = replay_of([looping], watch=guard)
    result = driven(live)
    assert live.fates == ("faulted",)
    (failure,) = live.failures
    assert failure.aborted is not None
    assert len(failure.aborted.requests) == 2
    assert driven(replay_of([looping], aborted=[failure.aborted])).hash == result.hash


def test_one_that_is_started_again_after_an_interruption_does_the_same_in_a_replay(
    tmp_path: Path, guard: Guard
) -> None:
    """What the interrupted call had changed in `ctx.state` by then no replay could know: it begins anew."""
    trouble = 'for turn in range(10**12): ctx.state["size"] = 0.01 + turn % 7 / 100'
    body = FAILING.format(trouble=trouble) + '\n    ctx.buy(ctx.state.get("size", 0.02))\n'
    looping = written(tmp_path, body, timer_ms=200)
    commands: list[Entry] = [(80, StartStrategy(0))]
    live = replay_of([looping], watch=guard)
    result = driven(live, commands)
    aborted = [each.aborted for each in live.failures if each.aborted is not None]
    assert aborted
    again = replay_of([looping], aborted=aborted)
    assert driven(again, commands).hash == result.hash
    assert again.fates == live.fates
    assert told(again) == told(live)


ON_INIT = """
def on_init(ctx):
    if ctx.now_ns > T0 * 10**6:
        ctx.buy(0.03)
        {trouble}


def on_timer(ctx):
    note(ctx, "timer")
"""


def test_an_on_init_that_loops_when_started_again_is_repeated_too(tmp_path: Path, guard: Guard) -> None:
    looping = written(tmp_path, ON_INIT.format(trouble="while True: pass"), timer_ms=200)
    commands: list[Entry] = [(40, StopStrategy(0)), (60, StartStrategy(0)), (90, StartStrategy(0))]
    live = replay_of([looping], watch=guard)
    result = driven(live, commands)
    aborted = [each.aborted for each in live.failures if each.aborted is not None]
    assert [each.where for each in live.failures] == ["on_init", "on_init"]
    assert len(aborted) == 2
    again = replay_of([looping], aborted=aborted)
    assert driven(again, commands).hash == result.hash
    assert result.figures["order_count"] == 2


def test_an_on_init_that_raises_when_started_again_takes_it_out(tmp_path: Path) -> None:
    failing = written(tmp_path, ON_INIT.format(trouble="raise RuntimeError('late')"), timer_ms=200)
    commands: list[Entry] = [(40, StopStrategy(0)), (60, StartStrategy(0))]
    replay = replay_of([failing])
    result = driven(replay, commands)
    assert replay.fates == ("faulted",)
    assert risks(result) == [layout.RISK_STOPPED, layout.RISK_STARTED, layout.RISK_FAULTED]
    assert driven(replay_of([failing]), commands).hash == result.hash


def test_a_run_goes_on_although_the_on_init_of_one_that_failed_raises(tmp_path: Path) -> None:
    good = written(tmp_path, QUOTING, name="good", timer_ms=200)
    bad = written(tmp_path, "def on_init(ctx):\n    raise RuntimeError('wrong code')\n" + QUOTING, name="bad")
    commands: list[Entry] = [(60, Replace(0, StrategyRun("s0", bad, {}, (0,))))]
    whole, again = replay_of([good, good]), replay_of([good, good])
    expected = driven(whole, commands)
    assert whole.fates == ("faulted", "running")
    result = driven(replay_of([good, good]), commands, resumed_at=90, again=again)
    assert result.hash == expected.hash
    assert again.fates == ("faulted", "running")


@pytest.mark.parametrize("fate", ["faulted", "quarantined"])
def test_a_call_that_is_known_not_to_end_is_left_out(tmp_path: Path, fate: Any) -> None:
    quoting = written(tmp_path, QUOTING, timer_ms=200)
    replay = replay_of([quoting], aborted=[Aborted(0, 3, (), "the process died in it 2 times", fate)])
    result = driven(replay)
    assert replay.fates == (fate,)
    assert risks(result) == [layout.RISK_FAULTED if fate == "faulted" else layout.RISK_QUARANTINED]
    (failure,) = replay.failures
    assert failure.message.endswith("the process died in it 2 times")
    assert driven(replay_of([quoting])).hash != result.hash


class _Noting(Unwatched):
    """A watch that notes who is inside."""

    def __init__(self) -> None:
        self.inside: list[tuple[int, int]] = []
        self.calls: list[tuple[int, int]] = []

    def enter(self, strategy: int, call: int) -> None:
        self.inside.append((strategy, call))
        self.calls.append((strategy, call))

    def leave(self) -> None:
        self.inside.clear()


def test_every_call_is_watched_and_numbered_by_strategy(tmp_path: Path) -> None:
    failing = written(tmp_path, FAILING.format(trouble="1 / 0"), name="failing", timer_ms=200)
    quoting = written(tmp_path, QUOTING, name="quoting", timer_ms=200)
    watch = _Noting()
    driven(replay_of([failing, quoting], watch=watch))
    assert watch.inside == []
    for strategy in (0, 1):
        numbers = [call for each, call in watch.calls if each == strategy]
        assert numbers == list(range(1, len(numbers) + 1))
    assert (0, 5) in watch.calls
    assert (0, 6) not in watch.calls


@pytest.mark.parametrize("value", ["2**70", "'\\ud800'", "[ctx.state]"])
def test_a_state_that_no_snapshot_can_keep_is_the_strategy_s_error(tmp_path: Path, value: str) -> None:
    text = f'def on_timer(ctx):\n    ctx.state["kept"] = {value}\n'
    replay = replay_of([written(tmp_path, text, timer_ms=200)])
    (records,) = replay.tape.batches()
    replay.start()
    replay.consume(records)
    with pytest.raises(StrategyError, match=r"ctx\.state holds what no snapshot can keep"):
        replay.snapshot()
