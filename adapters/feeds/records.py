"""What a feed says, as records: the transcriber of captures, and the three things that only a feed can say.

A feed knows of losses that no message shows, of fundings that the exchange announces itself, and of funding rates that
come without a mark price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from adapters.captures.decimals import rate_e12
from adapters.captures.messages import MarkText
from adapters.captures.report import ImportReport, ImportSummary, RejectedError
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
    """Takes the messages of feeds in the order of the tape. A source is a file of a recording, or a connection."""

    def __init__(self, sources: Sequence[SourceView], without: frozenset[str], report: FeedReport) -> None:
        super().__init__(sources, without, report)
        self._feed_report = report
        self._views = tuple(sources)
        self._settled_ns: dict[int, int] = {}

    def take_feed(self, message: FeedMessage, source: int) -> None:
        """Write what a message of a source says, or count why not."""
        states = self._views[source].states
        match message:
            case Loss():
                lost = [states[message.symbol]] if message.symbol in states else []
                for state in lost if message.symbol else _each(states):
                    self._lose(state, message, source)
            case FundingText():
                if message.symbol in states and "funding" not in self._without:
                    self._settle(states[message.symbol], message, source)
            case MarkText() if not message.mark:
                if message.symbol in states and "funding" not in self._without:
                    self._expect(states[message.symbol], message, source)
            case _:
                self.take(message, source)

    def _lose(self, state: InstrumentState, loss: Loss, source: int) -> None:
        steps = state.sync.lose(loss.reason)
        self._follow(state, steps, loss.ts_receive_ns, source)
        if not steps and loss.reason == layout.GAP_DISCONNECTED:
            # There is no book to lose, but trades and quotes may be missing.
            self._builder.add(layout.GAP, state.index, source, 0, loss.ts_receive_ns, (loss.reason, -1, 0, 0, 0))
            self._report.counts[layout.GAP] += 1
            self._report.gaps[state.instrument.symbol] += 1

    def _settle(self, state: InstrumentState, funding: FundingText, source: int) -> None:
        if funding.ts_settled_ns <= self._settled_ns.get(state.index, 0):
            return  # after a reconnect the last settlement is told again
        try:
            words = (rate_e12(funding.rate), 0, 0, 0, 0)
        except RejectedError as error:
            self._report.reject(error.reason, f"{self._views[source].name}: {error.detail}")
            return
        self._settled_ns[state.index] = funding.ts_settled_ns
        self._builder.add(layout.FUNDING, state.index, source, funding.ts_settled_ns, funding.ts_receive_ns, words)
        self._report.counts[layout.FUNDING] += 1

    def _expect(self, state: InstrumentState, message: MarkText, source: int) -> None:
        """A funding rate alone: no MARK can be written, but it tells what is paid once its time has passed."""
        try:
            self._fund(message, state, source, 0, rate_e12(message.rate) if message.rate else None)
        except RejectedError as error:
            self._report.reject(error.reason, f"{self._views[source].name}: {error.detail}")
        else:
            self._feed_report.ignored["funding rate without a mark price (kept until it is settled)"] += 1


def _each(states: dict[str, InstrumentState]) -> list[InstrumentState]:
    return sorted(states.values(), key=_index)


def _index(state: InstrumentState) -> int:
    return state.index
