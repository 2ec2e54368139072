"""From a live feed's messages to records: the feeds' transcriber, which tells of books that turn and trades missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from adapters.captures.book_sync import BookGap, Step
from adapters.captures.messages import BookText, MarkText, QuoteText, TradeText
from adapters.captures.record_builder import RecordBuilder
from adapters.captures.report import Reason, RejectedError
from adapters.captures.transcriber import InstrumentState, SourceView
from adapters.feeds.normaliser import FeedMessage, Loss
from adapters.feeds.records import FeedReport, FeedTranscriber
from adapters.feeds.sink import FeedSink
from adapters.feeds.statistics import FeedStatistics
from engine.kernels import layout

GAP_WORDS = {
    layout.GAP_DISCONNECTED: "disconnected",
    layout.GAP_SEQUENCE: "sequence",
    layout.GAP_CROSSED: "crossed",
    layout.GAP_REJECTED: "rejected",
}
# What a book message of another form raises where its levels are taken apart.
_MALFORMED = (ValueError, TypeError, AttributeError)


class BookKeeper(Protocol):
    """Who sees to it that books become whole."""

    def need(self, symbol: str) -> None:
        """A book that is not whole got a message: it can be made whole now."""


class LiveReport(FeedReport):
    """A report that tells each reject as it happens."""

    def __init__(self, sink: FeedSink, statistics: FeedStatistics) -> None:
        super().__init__()
        self._sink = sink
        self._statistics = statistics

    def reject(self, reason: Reason, place: Callable[[], str], *, detail: str = "", count: int = 1) -> None:
        """Count what is left out, and tell."""
        self.rejects[reason] += count
        self._statistics.rejects[reason.value] += count
        where = place()
        self.first_rejects.setdefault(reason, f"{where}: {detail}" if detail else where)
        self._sink.rejected(reason.value, where, detail)


class LivePlace(msgspec.Struct):
    """Where the message in hand came from: it stands for a capture's reader."""

    name: str
    frames: int = 0

    def place(self) -> str:
        """As text."""
        return f"{self.name} frame {self.frames}"


class LiveTranscriber(FeedTranscriber):
    """Writes into a builder that somebody else empties."""

    def __init__(
        self,
        views: Sequence[SourceView],
        without: frozenset[str],
        report: LiveReport,
        places: Sequence[LivePlace],
        builder: RecordBuilder,
        sink: FeedSink,
        statistics: FeedStatistics,
    ) -> None:
        super().__init__(views, without, report, lambda: places[self.number].place(), builder)  # noqa: PLW0108 - the number changes
        self.number = 0  # of the source whose message is being taken
        self._sink = sink
        self._statistics = statistics
        self._marks: dict[int, MarkText] = {}
        self.keeper: BookKeeper | None = None

    def take_feed(self, message: FeedMessage, source: int) -> None:
        """Write what a message of a source says, or count why not; what comes most often takes the shortest way."""
        self.number = source
        kind = type(message)
        state = self._views[source].states.get(message.symbol)
        if state is None or not (kind is QuoteText or kind is TradeText or kind is BookText):
            super().take_feed(message, source)
            return
        try:
            if kind is QuoteText:
                self._quote(message, state, source)  # type: ignore[arg-type]
            elif kind is TradeText:
                self._trade(message, state, source)  # type: ignore[arg-type]
            else:
                self._book(message, state, source)  # type: ignore[arg-type]
        except RejectedError as error:
            self._report.reject(error.reason, self._place, detail=error.detail)

    def lose_book(self, state: InstrumentState, reason: int, ts_receive_ns: int, source: int) -> None:
        """A book, or what else an instrument says, was lost for a reason that no message shows."""
        self._lose(state, Loss(state.instrument.symbol, ts_receive_ns, reason), source)

    def _book(self, message: BookText, state: InstrumentState, source: int) -> None:
        try:
            super()._book(message, state, source)
        except _MALFORMED as error:
            self._follow(state, state.sync.lose(layout.GAP_REJECTED), message.ts_receive_ns, source)
            raise RejectedError(Reason.bad_message, f"{type(error).__name__}: {error}") from None
        if not state.sync.is_whole and self.keeper is not None:
            self.keeper.need(state.instrument.symbol)

    def _trade(self, message: TradeText, state: InstrumentState, source: int) -> None:
        before = state.trade_ids.skipped
        super()._trade(message, state, source)
        skipped = state.trade_ids.skipped - before
        if skipped > 0:
            self._statistics.trade_ids_skipped[state.instrument.symbol] += skipped
            self._sink.trade_gap(state.instrument.symbol, skipped)

    def _mark(self, message: MarkText, state: InstrumentState, source: int) -> None:
        said = msgspec.structs.replace(message, ts_receive_ns=0)
        if message.ts_exchange_ns and self._marks.get(state.index) == said:
            raise RejectedError(Reason.old_update)  # marks have no ids: the same at the same time is one come twice
        self._marks[state.index] = said
        super()._mark(message, state, source)

    def _follow(self, state: InstrumentState, steps: Sequence[Step], ts_receive_ns: int, source: int) -> None:
        super()._follow(state, steps, ts_receive_ns, source)
        symbol, is_whole = state.instrument.symbol, state.sync.is_whole
        for step in steps:
            if type(step) is BookGap:
                self._statistics.gaps[symbol, step.reason] += 1
        if self._statistics.books.get(symbol, False) is is_whole:
            return
        self._statistics.books[symbol] = is_whole
        if is_whole:
            self._sink.book_resynced(symbol)
        else:
            reasons = [step.reason for step in steps if isinstance(step, BookGap)]
            self._sink.book_invalid(symbol, GAP_WORDS.get(reasons[-1], "lost") if reasons else "lost")
