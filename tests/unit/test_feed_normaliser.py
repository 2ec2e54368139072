"""Times, ids and history: what the normaliser decides alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.captures.messages import TradeText
from adapters.feeds.depth import DepthLimit
from adapters.feeds.normaliser import to_ns, trade_id
from tests.feeds import OKX_LIST, OKX_SPOT_LIST, START_MS, Feed


@given(st.integers(min_value=1_400_000_000_000_000, max_value=2_500_000_000_000_000))
def test_a_time_in_float_seconds_gives_its_microseconds_exactly(microseconds: int) -> None:
    assert to_ns(microseconds / 1_000_000) == microseconds * 1000


@given(st.integers(min_value=1_400_000_000_000, max_value=2_500_000_000_000))
def test_a_time_that_was_divided_by_1000_gives_its_milliseconds_exactly(milliseconds: int) -> None:
    assert to_ns(milliseconds / 1000.0) == milliseconds * 1_000_000


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16599292", 16599292),
        (16599292, 16599292),
        (str(2**63 - 1), 2**63 - 1),
        (None, 0),
        ("", 0),
    ],
)
def test_a_number_is_its_own_trade_id(text: str | int | None, number: int) -> None:
    assert trade_id(text) == number


@pytest.mark.parametrize("text", ["8f8fe9db-eb13-26a5-dea2-a398d89e04a8", "ETH-84252", str(2**63), "٣"])
def test_any_other_trade_id_is_a_hash_of_63_bits_that_stays(text: str) -> None:
    assert 0 < trade_id(text) < 2**63
    assert trade_id(text) == trade_id(text)
    assert trade_id("ETH-84252") == 8010864644527326601


def _trade(milliseconds: int, number: int) -> dict[str, object]:
    data = {
        "instId": "BTC-USDT-SWAP",
        "tradeId": str(number),
        "px": "100",
        "sz": "1",
        "side": "buy",
        "ts": str(milliseconds),
    }
    return {"arg": {"channel": "trades", "instId": "BTC-USDT-SWAP"}, "data": [data]}


def _ids(feed: Feed, *frames: dict[str, object]) -> list[int]:
    said = [message for frame in frames for message in feed.say(frame)]
    return [message.trade_id for message in said if isinstance(message, TradeText)]


def test_an_old_trade_in_the_first_message_is_history_and_only_there() -> None:
    feed = Feed("OKX", [OKX_LIST, OKX_SPOT_LIST], ["BTC-USDT-PERP"], ("trades",))
    assert _ids(feed, _trade(START_MS - 25_000, 1), _trade(START_MS - 25_000, 2)) == [2]
    feed.reopen()
    assert _ids(feed, _trade(START_MS - 25_000, 2), _trade(START_MS, 3)) == [3]


def test_a_trade_of_just_before_the_subscription_is_kept_as_clocks_differ() -> None:
    feed = Feed("OKX", [OKX_LIST, OKX_SPOT_LIST], ["BTC-USDT-PERP"], ("trades",))
    assert _ids(feed, _trade(START_MS - 4_000, 1)) == [1]


def test_levels_beyond_the_depth_are_deleted_by_the_one_who_follows() -> None:
    limit = DepthLimit(2)
    bids = [("100.0", "1"), ("99.0", "1")]
    assert limit.follow(bids, [], is_snapshot=True) == (bids, [])
    assert limit.follow([("101.0", "1")], [], is_snapshot=False) == ([("101.0", "1"), ("99.0", "0")], [])
    assert limit.follow([("101.0", "0")], [], is_snapshot=False) == ([("101.0", "0")], [])
    assert limit.follow([("98.0", "1")], [], is_snapshot=False) == ([("98.0", "1")], [])
    asks = [("102.0", "1"), ("103.0", "1"), ("104.0", "1")]
    assert limit.follow([], asks, is_snapshot=False) == ([], [*asks, ("104.0", "0")])


_LEVELS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), max_size=6)


@given(st.lists(_LEVELS, max_size=20), st.integers(1, 6))
def test_a_follower_of_the_limited_book_has_the_best_levels_of_a_sorted_one(
    messages: list[list[tuple[int, int]]], depth: int
) -> None:
    limit, follower, sorted_book = DepthLimit(depth), dict[Decimal, str](), dict[int, int]()
    for levels in messages:
        bids, _ = limit.follow([(str(price), str(size)) for price, size in levels], [], is_snapshot=False)
        for price, size in bids:
            if Decimal(size):
                follower[Decimal(price)] = size
            else:
                follower.pop(Decimal(price), None)
        for number, count in levels:
            if count:
                sorted_book[number] = count
            else:
                sorted_book.pop(number, None)
        sorted_book = dict(sorted(sorted_book.items(), reverse=True)[:depth])
        assert {int(price): int(size) for price, size in follower.items()} == sorted_book
