"""The stream: figures conflate, events are kept to a bound and counted beyond it, publishing never waits."""

from __future__ import annotations

import anyio
import pytest

from daemon.control.errors import BusyError
from daemon.control.stream import FIGURES, Broadcast, StreamItem, StreamKind


def told(items: list[StreamItem]) -> list[tuple[str, str, object]]:
    return [(item.kind.value, item.key, item.value) for item in items]


def test_newer_figures_replace_older_ones_of_the_same_key_and_events_stay() -> None:
    broadcast = Broadcast()
    with broadcast.subscribe() as subscription:
        broadcast.publish(StreamKind.BOOK, "BTC", 1)
        broadcast.publish(StreamKind.ORDER, "7", "NEW")
        broadcast.publish(StreamKind.BOOK, "ETH", 2)
        broadcast.publish(StreamKind.ORDER, "7", "FILLED")
        broadcast.publish(StreamKind.BOOK, "BTC", 3)
        broadcast.publish(StreamKind.EQUITY, "BTC", 4)
        expected = [("order", "7", "NEW"), ("book", "ETH", 2), ("order", "7", "FILLED"), ("book", "BTC", 3),
                    ("equity", "BTC", 4)]  # fmt: skip
        taken = subscription.take()
    assert told(taken) == expected
    assert [item.number for item in taken] == [2, 3, 4, 5, 6]


def test_the_oldest_events_beyond_the_bound_are_dropped_and_told_once() -> None:
    broadcast = Broadcast(events_max=3)
    with broadcast.subscribe() as subscription:
        for number in range(10):
            broadcast.publish(StreamKind.FILL, "", number)
        assert told(subscription.take()) == [("dropped", "", 7), ("fill", "", 7), ("fill", "", 8), ("fill", "", 9)]
        broadcast.publish(StreamKind.FILL, "", 10)
        assert told(subscription.take()) == [("fill", "", 10)]
        assert subscription.take() == []
        assert broadcast.statistics().dropped_count == 7
    assert broadcast.statistics().dropped_count == 7
    assert broadcast.statistics().subscriptions_count == 0


def test_new_figures_beyond_the_bound_are_dropped_and_known_ones_still_replaced() -> None:
    broadcast = Broadcast(figures_max=2)
    with broadcast.subscribe() as subscription:
        for key in ("a", "b", "c", "a"):
            broadcast.publish(StreamKind.BOOK, key, key)
        assert told(subscription.take()) == [("dropped", "", 1), ("book", "b", "b"), ("book", "a", "a")]


@pytest.mark.parametrize("kind", StreamKind)
def test_a_buffer_stays_bounded_for_every_kind(kind: StreamKind) -> None:
    broadcast = Broadcast(events_max=100, figures_max=100)
    with broadcast.subscribe() as subscription:
        for number in range(10_000):
            broadcast.publish(kind, str(number % 500), number)
        assert len(subscription) == 100
    assert StreamKind.DROPPED not in FIGURES


def test_what_nobody_follows_is_counted_and_kept_nowhere() -> None:
    broadcast = Broadcast()
    assert not broadcast.is_watched
    broadcast.publish(StreamKind.LOG, "", "unheard")
    with broadcast.subscribe() as subscription:
        assert broadcast.is_watched
        assert subscription.take() == []
        broadcast.publish(StreamKind.LOG, "", "heard")
        assert [item.number for item in subscription.take()] == [2]


def test_readers_are_bounded() -> None:
    broadcast = Broadcast(subscriptions_max=1)
    with broadcast.subscribe(), pytest.raises(BusyError, match="no more may"), broadcast.subscribe():
        pass
    with broadcast.subscribe():
        pass


@pytest.mark.asyncio
async def test_readers_are_woken_and_get_what_each_missed() -> None:
    broadcast = Broadcast()
    heard: dict[str, list[object]] = {"one": [], "two": []}

    async def read(name: str) -> None:
        with broadcast.subscribe() as subscription:
            async for item in subscription:
                heard[name].append(item.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, "one")
        tasks.start_soon(read, "two")
        await anyio.wait_all_tasks_blocked()
        for number in range(5):
            broadcast.publish(StreamKind.TRADE, "", number)
            if number % 2:
                await anyio.wait_all_tasks_blocked()
        broadcast.close()
    assert heard == {"one": [0, 1, 2, 3, 4], "two": [0, 1, 2, 3, 4]}


@pytest.mark.asyncio
async def test_after_close_what_waits_is_read_and_new_readers_end_at_once() -> None:
    broadcast = Broadcast()
    with broadcast.subscribe() as subscription:
        broadcast.publish(StreamKind.LOG, "", "last words")
        broadcast.close()
        assert [item.value async for item in subscription] == ["last words"]
    with broadcast.subscribe() as subscription:
        assert [item async for item in subscription] == []
