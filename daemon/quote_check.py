"""The book held against the venue's own word: best bid and ask of QUOTE records at equal update ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
import numpy as np

from adapters.tape.codec import Records
from daemon.replaying import TapeRun
from daemon.tape_markets import Part
from engine.book_engine import BookEngine
from engine.kernels import layout

_LISTED = 10
_WORDS = ("bid", "bid_size", "ask", "ask_size")


class QuoteMismatch(msgspec.Struct, frozen=True):
    """A quote that the book does not bear out: bid, its size, ask, its size, in ticks and lots."""

    seq: int
    symbol: str
    update_id: int
    quote: tuple[int, int, int, int]
    book: tuple[int, int, int, int]

    def line(self) -> str:
        """As one line for people."""
        words = [
            f"{word} {said:,} (book {own:,})"
            for word, said, own in zip(_WORDS, self.quote, self.book, strict=True)
            if said != own
        ]
        return f"seq {self.seq}, {self.symbol}, update id {self.update_id}: {', '.join(words)} ticks and lots"


class QuoteCheck(msgspec.Struct):
    """How many quotes were held against the book at their update id; the first that do not fit."""

    compared: int = 0
    mismatches: int = 0
    first: list[QuoteMismatch] = []


def check_quotes(run: TapeRun) -> QuoteCheck:
    """Follow the books of a tape; wherever one has come to the update id of a quote near it, compare the two.

    A quote may stand before or after its book message: it is looked for in the batch before and the one after.
    """
    assert run.tape is not None
    engine = BookEngine(run.config.settings, run.tape.instruments, run.tape.markets, ())
    found = QuoteCheck(first=[])
    for before, now, after in _with_neighbours(run.reading.parts()):
        quotes = np.concatenate([_quotes(part) for part in (before, now, after) if part is not None])
        position = 0
        for stop in _places(now.records, quotes):
            engine.advance(now.records, position, stop)
            position = stop
            _compare(engine, run, now.records[stop - 1], quotes, found)
        engine.advance(now.records, position, len(now.records))
    return found


def _with_neighbours(parts: Iterator[Part]) -> Iterator[tuple[Part | None, Part, Part | None]]:
    window: deque[Part | None] = deque([None, None], maxlen=3)
    for part in parts:
        window.append(msgspec.structs.replace(part, records=part.records.copy()))
        if (now := window[1]) is not None:
            yield window[0], now, window[2]
    if (now := window[2]) is not None:
        yield window[1], now, None


_QUOTE = np.dtype([("key", "<i8"), ("seq", "<i8"), ("instrument", "<i8"), ("words", "<i8", (4,))])


def _quotes(part: Part) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    places = np.flatnonzero((part.records["kind"] == layout.QUOTE) & (part.records["e"] != 0))
    records = part.records[places]
    quotes = np.zeros(len(places), dtype=_QUOTE)
    quotes["key"], quotes["seq"], quotes["instrument"] = records["e"], part.first_seq + places, records["instrument"]
    for word, name in enumerate("abcd"):
        quotes["words"][:, word] = records[name]
    return quotes


def _places(records: Records, quotes: np.ndarray[tuple[int], np.dtype[np.void]]) -> list[int]:
    """After which records a book has come to the id of a quote."""
    is_end = (records["kind"] == layout.LEVEL) & ((records["flags"] & layout.LAST) != 0)
    ends = np.flatnonzero(is_end & np.isin(records["c"], quotes["key"]))
    places: list[int] = (ends + 1).tolist()
    return places


def _compare(
    engine: BookEngine, run: TapeRun, record: np.void, quotes: np.ndarray[tuple[int], np.dtype[np.void]],
    found: QuoteCheck,
) -> None:  # fmt: skip
    market, update_id = int(record["instrument"]), int(record["c"])
    book = engine.state.books[market]
    if book["state"] != layout.BOOK_VALID or book["update_id"] != update_id:
        return
    own = quotes[(quotes["key"] == update_id) & (quotes["instrument"] == market)]
    if not len(own):
        return
    sides = [engine.depth(market, side, 1) for side in (layout.BID, layout.ASK)]
    words = tuple(int(word) for side in sides for word in (side[0] if len(side) else (0, 0)))
    for quote in own:
        said = tuple(int(word) for word in quote["words"])
        found.compared += 1
        if said != words:
            found.mismatches += 1
            if len(found.first) < _LISTED:
                symbol = run.symbols[market]
                found.first.append(QuoteMismatch(int(quote["seq"]), symbol, update_id, said, words))  # type: ignore[arg-type]
