"""When connections may be made: the budget's arithmetic, backoff and scouts, on a loop whose time is made up."""

from __future__ import annotations

import asyncio
import errno
import itertools
import selectors
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.limits import FeedLimits
from adapters.feeds.staleness import Heard, Patience, newly_stale
from adapters.feeds.supervision import ConnectBudget, Supervision, was_reached

SPAN_SECONDS, CONNECTS_MOST = 300.0, 60


class _Selector(selectors.DefaultSelector):
    """Never waits: whatever it would wait for a time is added to the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.made_up = _Selector()
        super().__init__(self.made_up)

    def time(self) -> float:
        return self.made_up.now


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run on made-up time: hours pass at once."""

    async def wrapped() -> None:
        await main()

    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(wrapped())


def most_in_span(times: list[float]) -> int:
    """The greatest number of times in any half-open span of five minutes."""
    return max((sum(begin <= each < begin + SPAN_SECONDS for each in times) for begin in times), default=0)


@given(st.lists(st.floats(0, 40), max_size=200))
def test_no_five_minutes_hold_more_connects_than_the_budget(pauses: list[float]) -> None:
    budget = ConnectBudget(10, 6.0)
    now, times = 0.0, []
    for pause in pauses:
        now += pause
        now += budget.wait_seconds(now)
        assert budget.wait_seconds(now) < 1e-6
        budget.take(now)
        times.append(now)
    assert most_in_span(times) <= CONNECTS_MOST


def test_what_reached_nobody_is_given_back() -> None:
    budget = ConnectBudget(2, 6.0)
    budget.take(0.0)
    for _ in range(50):
        assert budget.wait_seconds(0.0) == 0
        budget.take(0.0)
        budget.give_back()
    budget.take(0.0)
    assert budget.wait_seconds(0.0) == 6.0


class _Venue:
    """Connections to a venue that behaves as `life` says: (reached, heard, seconds lived) for each attempt."""

    def __init__(self, count: int, life: Callable[[int, float], tuple[bool, bool, float]]) -> None:
        self.attempts: list[tuple[float, int]] = []
        self.reached: list[float] = []
        self._count = count
        self._life = life

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        supervision = Supervision(self._count, FeedLimits(), loop.time)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                for number in range(self._count):
                    tasks.start_soon(self._keep, supervision, number, loop)

    async def _keep(self, supervision: Supervision, number: int, loop: Any) -> None:
        while True:
            await supervision.admit(number)
            self.attempts.append((loop.time(), number))
            is_reached, is_heard, seconds = self._life(number, loop.time())
            if is_reached:
                self.reached.append(loop.time())
            if is_heard:
                supervision.heard(number)
            await anyio.sleep(seconds)
            supervision.ended(number, seconds if is_reached else 0.0, was_reached=is_reached)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(
    ("why", "life"),
    [
        ("accepted and closed at once", (True, False, 0.0)),
        ("accepted, one message, closed", (True, True, 0.01)),
        ("accepted, one message, closed after a while", (True, True, 5.0)),
        ("mute until the deadline", (True, False, 10.0)),
        ("closed just before it counts as steady", (True, True, 29.0)),
        ("closed just after it counts as steady", (True, True, 31.0)),
    ],
)
def test_whatever_a_venue_does_it_sees_sixty_connects_in_five_minutes_at_most(
    count: int, why: str, life: tuple[bool, bool, float]
) -> None:
    venue = _Venue(count, lambda _number, _now: life)
    run(lambda: venue.run(1_800))
    assert most_in_span(venue.reached) <= CONNECTS_MOST, why
    assert venue.reached[-1] > 1_800 - 60, why  # and it is never given up


@pytest.mark.parametrize("returns_at", [0.7, 3.0, 17.3, 61.0, 400.0, 3_600.0])
@pytest.mark.parametrize("count", [1, 3])
def test_a_venue_that_was_away_is_found_within_five_seconds(returns_at: float, count: int) -> None:
    def life(_number: int, now: float) -> tuple[bool, bool, float]:
        return (True, True, 1e6) if now >= returns_at else (False, False, 0.0)

    venue = _Venue(count, life)
    run(lambda: venue.run(returns_at + 30))
    assert len(venue.reached) == count
    assert returns_at <= venue.reached[0] < returns_at + 4.6
    assert venue.reached[-1] < returns_at + 5
    times = [time for time, _ in venue.attempts]
    assert max(later - time for time, later in itertools.pairwise([0.0, *times])) <= 4.5


def test_only_one_connection_looks_for_a_venue_that_is_away_and_they_take_turns() -> None:
    venue = _Venue(3, lambda _number, _now: (False, False, 0.0))
    run(lambda: venue.run(300))
    assert 60 <= len(venue.attempts) <= 90
    numbers = [number for _, number in venue.attempts]
    assert numbers[:6] == [0, 1, 2, 0, 1, 2]
    pauses = [later - time for (time, _), (later, _) in itertools.pairwise(venue.attempts)]
    assert pauses[0] >= 0.4  # the first repetition
    assert all(3.6 - 1e-6 <= pause <= 4.5 + 1e-6 for pause in pauses[8:])


def test_after_a_long_life_the_pause_begins_small_again() -> None:
    lives = iter([(True, True, 3_600.0), (True, True, 1e6)])
    venue = _Venue(1, lambda _number, _now: next(lives))
    run(lambda: venue.run(4_000))
    (first, _), (second, _) = venue.attempts
    assert 3_600.4 - 1e-6 <= second - first <= 3_600.5 + 1e-6


def test_a_short_life_is_not_forgiven_for_having_said_something() -> None:
    venue = _Venue(1, lambda _number, _now: (True, True, 0.1))
    run(lambda: venue.run(60))
    pauses = [later - time for (time, _), (later, _) in itertools.pairwise(venue.attempts)]
    assert pauses[4] > 3.5


def test_which_errors_have_come_to_the_venue() -> None:
    assert not was_reached(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    assert not was_reached(socket.gaierror(-2, "no such host"))
    assert not was_reached(OSError(errno.ENETUNREACH, "no network"))
    assert was_reached(ConnectionResetError(errno.ECONNRESET, "reset"))
    assert was_reached(TimeoutError())


# -- silence ------------------------------------------------------------------------------------------------------


def test_a_channel_is_stale_once_and_again_after_it_spoke() -> None:
    book, trades, forced = Heard("l2_book", "A", 10), Heard("trades", "A", 300), Heard("liquidations", "A", 0)
    channels = (book, trades, forced)
    assert list(newly_stale(channels, since=100, now=109.9)) == []
    assert list(newly_stale(channels, since=100, now=110.5)) == [(book, 10.5)]
    assert list(newly_stale(channels, since=100, now=115)) == []
    book.at = 116
    assert list(newly_stale(channels, since=100, now=117)) == []
    assert list(newly_stale(channels, since=100, now=126)) == [(book, 10)]
    assert list(newly_stale(channels, since=100, now=401)) == [(trades, 301)]
    assert list(newly_stale(channels, since=100, now=1e9)) == []


def test_time_that_was_our_own_is_no_silence() -> None:
    book = Heard("l2_book", "A", 10)
    book.at = 100
    assert list(newly_stale((book,), since=150, now=159)) == []


def test_one_instrument_may_have_its_connection_made_anew_ever_more_rarely() -> None:
    patience = Patience(10, 600)
    granted = [now for now in range(3_000) if patience.allows("A", float(now))]
    assert granted[:6] == [0, 10, 30, 70, 150, 310]
    assert max(later - now for now, later in itertools.pairwise(granted)) == 600
    assert patience.allows("B", 3_000.0)
    assert patience.allows("A", 9_000.0)
    assert patience.allows("A", 9_010.0)  # it was quiet for long: the pauses begin anew
