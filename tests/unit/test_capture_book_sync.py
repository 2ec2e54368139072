"""The synchroniser, told as tables: what comes in, what a book gets."""

from __future__ import annotations

import pytest

from adapters.captures import book_sync
from adapters.captures.book_sync import BookGap, BookMessage, BookSync, Dropped, Step


def message(text: str) -> BookMessage:
    """`S 100`: a snapshot at 100. `50-60`: a delta of ids 51 to 60 after 50. `50-60:55`: its first id is 55."""
    if text.startswith("S"):
        return BookMessage(0, 0, int(text[1:]), -1, 0, True, (), ())
    chain, _, first = text.partition(":")
    previous, last = (int(part) for part in chain.split("-"))
    return BookMessage(0, 0, last, previous, int(first or previous + 1), False, (), ())


def shown(step: Step) -> str:
    match step:
        case BookMessage():
            return f"S{step.last_id}" if step.is_snapshot else f"{step.previous_id}-{step.last_id}"
        case BookGap():
            return f"gap{step.reason}"
        case Dropped():
            return f"dropped({step.count} {step.reason.name})"


# in the stream?  what comes        | what a book gets                                  # why
TABLE = """
beside  10-20 20-30 S25 30-40       | dropped(1 old_update) S25 20-30 30-40            # 20-30 spans 25
beside  10-20 20-30 S30 30-40       | dropped(2 old_update) S30 30-40                  # nothing newer is held
beside  S30 20-30 30-40             | S30 dropped(1 old_update) 30-40                  # the snapshot came first
beside  S30 25-40:26 40-50          | S30 25-40 40-50                                  # the first spans it
beside  S30 25-40:33                | S30 gap2                                         # ids 31 and 32 are missing
beside  S30 35-40                   | S30 gap2                                         # 31 to 35 are missing
beside  20-30 S10 30-40 S25 40-50   | dropped(1 snapshot_too_old) S25 20-30 30-40 40-50 # 11 to 20 are lost to S10
beside  S10 10-20 30-40 40-50 S35   | S10 10-20 gap2 S35 30-40 40-50                   # starts over with what it held
beside  S10 10-20 30-40 S20 S45     | S10 10-20 gap2 dropped(1 snapshot_too_old) dropped(1 old_update) S45
beside  10-20 30-40 S15 S35 40-50   | S15 10-20 gap2 S35 30-40 40-50                   # the gap is among those held
beside  S10 10-20 S15 S30 20-30     | S10 10-20 dropped(1 snapshot_not_needed) dropped(1 snapshot_not_needed) 20-30
beside  S10 10-20 10-20 15-20 20-25 | S10 10-20 dropped(1 old_update) dropped(1 old_update) 20-25
beside  S10 10-20 15-25             | S10 10-20 gap2                                   # an overlap is no chain
beside  10-20 lose S15 20-30        | S15 10-20 20-30                                  # not whole: nothing to lose
beside  S10 10-20 lose 20-30 S25    | S10 10-20 gap7 S25 20-30
beside  10-20 close                 | dropped(1 before_snapshot)
beside  S10 20-30 close             | S10 gap2 dropped(1 no_snapshot_after_gap)
stream  10-20 S25 25-30             | dropped(1 before_snapshot) S25 25-30
stream  S25 25-30 S5 5-6            | S25 25-30 S5 5-6                                 # numbering starts over
stream  S25 26-30 S40 40-41         | S25 gap2 dropped(1 no_snapshot_after_gap) S40 40-41
stream  S0 S0                       | S0 S0                                            # no ids at all
"""


@pytest.mark.parametrize("row", [row for row in TABLE.splitlines() if row])
def test_table(row: str) -> None:
    told, _, expected = row.partition("#")[0].partition("|")
    way, *texts = told.split()
    sync = BookSync(is_snapshot_in_stream=way == "stream")
    steps: list[Step] = []
    for text in texts:
        match text:
            case "lose":
                steps.extend(sync.lose(7))
            case "close":
                steps.extend(sync.close())
            case _:
                steps.extend(sync.take(message(text)))
    assert " ".join(shown(step) for step in steps) == " ".join(expected.split())


def test_messages_without_ids_follow_a_snapshot_as_they_come() -> None:
    sync = BookSync(is_snapshot_in_stream=True)
    delta = BookMessage(0, 0, 0, -1, 0, False, ((1, 1),), ())
    assert [shown(step) for step in sync.take(delta)] == ["dropped(1 before_snapshot)"]
    assert not sync.is_whole
    sync.take(message("S0"))
    assert sync.take(delta) == sync.take(delta) == [delta]
    assert [shown(step) for step in sync.lose(7)] == ["gap7"]
    assert [shown(step) for step in sync.take(delta)] == ["dropped(1 no_snapshot_after_gap)"]


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_sync, "HELD_MESSAGES_MOST", 2)
    sync = BookSync(is_snapshot_in_stream=False)
    assert [sync.take(message(text)) for text in ("1-2", "2-3")] == [[], []]
    assert [shown(step) for step in sync.take(message("3-4"))] == ["dropped(1 before_snapshot)"]
    assert [shown(step) for step in sync.take(message("S2"))] == ["S2", "2-3", "3-4"]
