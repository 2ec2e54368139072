"""The synchroniser against a naive twin: whatever is lost, repeated or late, a book that follows it is the venue's.

The twin is a venue that remembers its whole book after each update. Messages of it are delivered, lost, delivered
again, and snapshots of any moment put in between. Every message that the synchroniser lets through is applied to a
dictionary, which must then be the venue's book at that update id.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.captures.book_sync import BookGap, BookMessage, BookSync, Step
from engine.kernels.layout import GAP_REJECTED

FIRST_ID = 1_000

UPDATES = st.lists(
    st.tuples(st.integers(1, 3), st.booleans(), st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=40
)
WORDS = ("next", "next", "next", "next", "lose", "again", "snapshot", "unreadable")
ACTIONS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 60)), max_size=40)


class Venue:
    """A book that remembers: `books` by update id, `events` as (previous id, first id, last id, levels changed)."""

    def __init__(self, updates: list[tuple[int, bool, int, int]], cuts: list[int], *, is_dense: bool) -> None:
        self.books: dict[int, dict[tuple[bool, int], int]] = {FIRST_ID: {(True, 1): 1}}
        self.events: list[tuple[int, int, int, dict[tuple[bool, int], int]]] = []
        book, last_id, previous_id = dict(self.books[FIRST_ID]), FIRST_ID, FIRST_ID
        first_id, changed = 0, {}
        for number, (step, is_bid, price, size) in enumerate(updates):
            last_id += 1 if is_dense else step
            book[is_bid, price] = size
            changed[is_bid, price] = size
            first_id = first_id or last_id
            self.books[last_id] = {key: lots for key, lots in book.items() if lots}
            if number in cuts or number == len(updates) - 1:
                self.events.append((previous_id, previous_id + 1 if is_dense else first_id, last_id, changed))
                previous_id, first_id, changed = last_id, 0, {}

    def delta(self, number: int) -> BookMessage:
        """The venue's message of an event."""
        previous_id, first_id, last_id, changed = self.events[number]
        return BookMessage(0, number + 1, last_id, previous_id, first_id, False, *_sides(changed))

    def snapshot(self, update_id: int) -> BookMessage:
        """The whole book as it was after an update."""
        return BookMessage(0, 0, update_id, -1, 0, True, *_sides(self.books[update_id]))


def _sides(levels: dict[tuple[bool, int], int]) -> tuple[Any, Any]:
    sides: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for (is_bid, price), size in levels.items():
        sides[not is_bid].append((price, size))
    return sides


class Follower:
    """A dictionary that applies what the synchroniser gives, and looks at the venue's book after each message."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._book: dict[tuple[bool, int], int] = {}
        self.last_id = 0
        self.gaps = 0
        self.is_whole = False

    def take(self, steps: list[Step]) -> None:
        """Follow what the synchroniser says."""
        for step in steps:
            if isinstance(step, BookGap):
                assert self.is_whole, "only what is whole can be lost"
                self.gaps += 1
                self.is_whole = False
            if not isinstance(step, BookMessage):
                continue
            assert self.is_whole or step.is_snapshot, "a delta comes only upon a book"
            if step.is_snapshot:
                self._book.clear()
                self.is_whole = True
            for is_bid, levels in ((True, step.bids), (False, step.asks)):
                self._book.update({(is_bid, price): size for price, size in levels})
            self.last_id = step.last_id
            assert {key: size for key, size in self._book.items() if size} == self._venue.books[step.last_id]


@given(
    updates=UPDATES,
    cuts=st.lists(st.integers(0, 39)),
    actions=ACTIONS,
    is_dense=st.booleans(),
    is_snapshot_in_stream=st.booleans(),
)
def test_a_book_that_follows_is_the_venue_s(
    updates: list[tuple[int, bool, int, int]],
    cuts: list[int],
    actions: list[tuple[str, int]],
    is_dense: bool,
    is_snapshot_in_stream: bool,
) -> None:
    venue = Venue(updates, cuts, is_dense=is_dense)
    sync, follower = BookSync(is_snapshot_in_stream=is_snapshot_in_stream), Follower(venue)
    place, is_anything_lost, newest_snapshot = 0, False, 0
    for action, number in actions:
        is_left = place < len(venue.events)
        match action:
            case "next" if is_left:
                follower.take(sync.take(venue.delta(place)))
                place += 1
            case "lose" if is_left:
                place += 1
                is_anything_lost = True
            case "unreadable" if is_left:
                follower.take(sync.lose(GAP_REJECTED))
                place += 1
                is_anything_lost = True
            case "again" if place:
                follower.take(sync.take(venue.delta(number % place)))
            case "snapshot" if is_snapshot_in_stream:
                at = venue.events[place - 1][2] if place else FIRST_ID
                follower.take(sync.take(venue.snapshot(at)))
            case "snapshot":
                at = sorted(venue.books)[number % len(venue.books)]
                follower.take(sync.take(venue.snapshot(at)))
                newest_snapshot = max(newest_snapshot, at)
        assert sync.is_whole == follower.is_whole
    delivered = venue.events[place - 1][2] if place else FIRST_ID
    if newest_snapshot and newest_snapshot >= venue.events[0][0] and not is_anything_lost:
        # Nothing was lost, so nothing may be reported lost, and the book stands where the venue's messages end.
        assert follower.gaps == 0
        assert follower.last_id >= delivered


@given(updates=UPDATES, cuts=st.lists(st.integers(0, 39)), at=st.integers(0, 60), late=st.integers(0, 40))
def test_a_snapshot_that_lands_late_costs_nothing(
    updates: list[tuple[int, bool, int, int]], cuts: list[int], at: int, late: int
) -> None:
    venue = Venue(updates, cuts, is_dense=False)
    sync, follower = BookSync(is_snapshot_in_stream=False), Follower(venue)
    snapshot = venue.snapshot(sorted(venue.books)[at % len(venue.books)])
    for number in range(len(venue.events)):
        if number == late:
            follower.take(sync.take(snapshot))
        follower.take(sync.take(venue.delta(number)))
    if late >= len(venue.events):
        follower.take(sync.take(snapshot))
    assert follower.is_whole
    assert follower.gaps == 0
    assert follower.last_id == max(venue.events[-1][2], snapshot.last_id)
