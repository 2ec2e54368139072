"""What a feed says, as records: the transcriber of captures, and the three things that only a feed can say.

A feed knows of losses that no message shows, of fundings that the exchange announces itself, and of funding rates that
come without a mark price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from adapters.captures.book_sync import BookGap
from adapters.captures.decimals import rate_e12
from adapters.captures.messages import MarkText
from adapters.captures.record_builder import RecordBuilder
from adapters.captures.report import ImportReport, ImportSummary, Reason, RejectedError
from adapters.captures.transcriber import InstrumentState, SourceView, Transcriber
from adapters.feeds.normaliser import FeedMessage, FundingText, Loss
from engine.kernels import layout


class FeedReport(ImportReport):
    """An import's report with what was left out on purpose: reasons that only feeds have, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.ignored: Counter[str] = Counter()

    def summary(self) -> ImportSummary:
        """Everything counted so far; what was ignored stands among the rejects."""
        summary = super().summary()
        return msgspec.structs.replace(summary, rejects={**summary.rejects, **dict(self.ignored.most_common())})


class FeedTranscriber(Transcriber):
    """Takes the messages of feeds in the order of the tape. A source is a file of a recording, or a connection.

    `place` says where the message stands that is being taken.
    """

    def __init__(
        self,
        views: Sequence[SourceView],
        without: frozenset[str],
        report: ImportReport,
        place: Callable[[], str],
        builder: RecordBuilder | None = None,
    ) -> None:
        super().__init__(views, without, report, builder)
        self._views = tuple(views)
        self._place = place
        self._settled_ns: dict[int, int] = {}

    def next_funding_ns(self, symbol: str) -> int:
        """The funding time that an instrument's venue has announced last, 0 where none is known."""
        states = (view.states.get(symbol) for view in self._views)
        return next((state.funding.next_ns for state in states if state is not None), 0)

    def take_feed(self, message: FeedMessage, source: int) -> None:
        """Write what a message of a source says, or count why not."""
        states = self._views[source].states
        if isinstance(message, Loss) and not message.symbol:
            for state in sorted(states.values(), key=_index):
                self._lose(state, message, source)
            return
        if message.symbol not in states:
            self._report.reject(Reason.unknown_symbol, self._place, detail=message.symbol)
            return
        try:
            self._write_feed(message, states[message.symbol], source)
        except RejectedError as error:
            self._report.reject(error.reason, self._place, detail=error.detail)

    def _write_feed(self, message: FeedMessage, state: InstrumentState, source: int) -> None:
        match message:
            case Loss():
                self._lose(state, message, source)
            case FundingText():
                self._settle(state, message, source)
            case MarkText() if not message.mark:
                self._expect(state, message, source)
            case _:
                self._write(message, state, source)

    def _lose(self, state: InstrumentState, loss: Loss, source: int) -> None:
        steps = state.sync.lose(loss.reason)
        if not steps and loss.reason == layout.GAP_DISCONNECTED:
            steps = [BookGap(loss.reason, 0)]  # there is no book to lose, but trades and quotes may be missing
        self._follow(state, steps, loss.ts_receive_ns, source)

    def _settle(self, state: InstrumentState, funding: FundingText, source: int) -> None:
        if "funding" in self._without or funding.ts_settled_ns <= self._settled_ns.get(state.index, 0):
            return  # after a reconnect the last settlement is told again
        words = (rate_e12(funding.rate), 0, 0, 0, 0)
        self._settled_ns[state.index] = funding.ts_settled_ns
        self._builder.add(layout.FUNDING, state.index, source, funding.ts_settled_ns, funding.ts_receive_ns, words)
        self._report.counts[layout.FUNDING] += 1

    def _expect(self, state: InstrumentState, message: MarkText, source: int) -> None:
        """A funding rate alone: no MARK can be written, but it tells what is paid once its time has passed."""
        if "funding" not in self._without:
            self._fund(message, state, source, 0, rate_e12(message.rate) if message.rate else None)


def _index(state: InstrumentState) -> int:
    return state.index
