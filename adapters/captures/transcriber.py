"""From messages to records: numbers onto the grid, books through their synchroniser, trades once each.

What it decides: a book message that cannot be read loses the book (GAP, reason REJECTED) until the next snapshot, as
the levels in it are unknown from then on; a trade or a quote that cannot be read is left out alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias, assert_never

import msgspec
from numpy.typing import NDArray

from adapters.captures.book_sync import BookGap, BookMessage, BookSync, Dropped, Step
from adapters.captures.capture_file import CaptureReader
from adapters.captures.decimals import Grid, floor_units, micro_ticks, rate_e12
from adapters.captures.funding_clock import FundingClock
from adapters.captures.messages import (
    BookText,
    InterestText,
    LiquidationText,
    LossText,
    MarkText,
    Message,
    QuoteText,
    TradeText,
)
from adapters.captures.record_builder import RecordBuilder
from adapters.captures.report import ImportReport, Reason, RejectedError
from adapters.captures.trade_ids import TradeIds
from adapters.tape.documents import TapeInstrument
from engine.kernels import layout

Quoted: TypeAlias = BookText | TradeText | QuoteText | MarkText | InterestText | LiquidationText


class InstrumentState:
    """One instrument while it is transcribed: its grids, its book's chain, the trades and quotes that were."""

    def __init__(
        self, index: int, instrument: TapeInstrument, *, is_snapshot_in_stream: bool, has_single_trades: bool
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.has_single_trades = has_single_trades
        self.prices = Grid(instrument.tick_size, off_grid=Reason.off_tick, is_zero_allowed=False)
        self.sizes = Grid(instrument.lot_size, off_grid=Reason.off_lot, is_zero_allowed=True)
        self.sync = BookSync(is_snapshot_in_stream=is_snapshot_in_stream)
        self.trade_ids = TradeIds()
        self.funding = FundingClock()
        self.quote_id = 0


class SourceView(msgspec.Struct, frozen=True):
    """One file as the transcriber sees it: its instruments by symbol, and whose messages are that name none."""

    reader: CaptureReader
    states: dict[str, InstrumentState]
    only_symbol: str


class Transcriber:
    """Takes messages in the order of the tape; `builder`, its own if none is given, holds the records made of them."""

    def __init__(
        self,
        sources: Sequence[SourceView],
        without: frozenset[str],
        report: ImportReport,
        builder: RecordBuilder | None = None,
    ) -> None:
        self._sources = sources
        self._without = without
        self._are_quotes_wanted = "quotes" not in without
        self._report = report
        self._builder = RecordBuilder() if builder is None else builder
        self.messages_count = 0

    def __len__(self) -> int:
        return len(self._builder)

    def take_records(self) -> NDArray[Any]:
        """Give away the records made so far."""
        return self._builder.take()

    def take(self, message: Message, source: int) -> None:
        """Write what a message of a source says, or count why not."""
        view = self._sources[source]
        state = view.states.get(message.symbol or view.only_symbol)
        self.messages_count += 1
        if isinstance(message, LossText):
            for each in view.states.values():
                self._follow(each, each.sync.lose(layout.GAP_REJECTED), message.ts_receive_ns, source)
        elif state is None:
            self._report.reject(Reason.unknown_symbol, view.reader.place)
        else:
            try:
                self._write(message, state, source)
            except RejectedError as error:
                self._report.reject(error.reason, view.reader.place, detail=error.detail)

    def close(self) -> None:
        """The end of all sources."""
        for state in {id(state): state for view in self._sources for state in view.states.values()}.values():
            self._follow(state, state.sync.close(), 0, 0)
            if state.trade_ids.skipped > 0:
                self._report.trade_ids_skipped[state.instrument.symbol] += state.trade_ids.skipped

    def _write(self, message: Quoted, state: InstrumentState, source: int) -> None:
        match message:
            case QuoteText():
                self._quote(message, state, source)
            case TradeText():
                self._trade(message, state, source)
            case BookText():
                self._book(message, state, source)
            case MarkText():
                self._mark(message, state, source)
            case LiquidationText():
                if "liquidations" not in self._without:
                    words = (state.prices[message.price], _traded(state, message.size), 0, 0, 0)
                    self._add(layout.FORCED, state, source, message, words, message.flags)
            case InterestText():
                if "interest" not in self._without:
                    lots = floor_units(message.size, state.instrument.lot_size)
                    self._add(layout.INTEREST, state, source, message, (lots, 0, 0, 0, 0))
            case _:
                assert_never(message)

    def _quote(self, message: QuoteText, state: InstrumentState, source: int) -> None:
        if not self._are_quotes_wanted:
            return
        update_id = message.update_id
        if update_id:
            if update_id <= state.quote_id:
                raise RejectedError(Reason.old_update)
            state.quote_id = update_id
        prices, sizes = state.prices, state.sizes
        words = (
            prices[message.bid], sizes[message.bid_size] or _refuse_zero(message.bid_size),
            prices[message.ask], sizes[message.ask_size] or _refuse_zero(message.ask_size), update_id,
        )  # fmt: skip
        # nine of ten messages come here: straight into the builder
        self._builder.add(layout.QUOTE, state.index, source, message.ts_exchange_ns, message.ts_receive_ns, words)
        self._report.counts[layout.QUOTE] += 1

    def _trade(self, message: TradeText, state: InstrumentState, source: int) -> None:
        if "prints" in self._without:
            return
        if message.is_aggregate and state.has_single_trades:
            raise RejectedError(Reason.aggregate_of_trades)
        trade_id = message.trade_id
        if trade_id and not state.trade_ids.is_new(trade_id, is_numbered=message.is_numbered):
            raise RejectedError(Reason.duplicate_trade, str(trade_id))
        if not message.is_market:
            raise RejectedError(Reason.not_a_market_trade)
        words = (state.prices[message.price], _traded(state, message.size), trade_id, 0, 0)
        self._add(layout.PRINT, state, source, message, words, message.flags)

    def _book(self, message: BookText, state: InstrumentState, source: int) -> None:
        if "book" in self._without:
            return
        prices, sizes = state.prices, state.sizes
        try:
            bids = [(prices[price], sizes[size]) for price, size in message.bids]
            asks = [(prices[price], sizes[size]) for price, size in message.asks]
        except RejectedError:
            self._follow(state, state.sync.lose(layout.GAP_REJECTED), message.ts_receive_ns, source)
            raise
        book = BookMessage(
            message.ts_exchange_ns,
            message.ts_receive_ns,
            message.last_id,
            message.previous_id,
            message.first_id,
            message.is_snapshot,
            bids,
            asks,
            source,
        )
        self._follow(state, state.sync.take(book), message.ts_receive_ns, source)

    def _follow(self, state: InstrumentState, steps: Sequence[Step], ts_receive_ns: int, source: int) -> None:
        for step in steps:
            match step:
                case BookMessage():
                    self._report.counts[layout.LEVEL] += self._builder.add_book(state.index, step)
                case Dropped():
                    self._report.reject(step.reason, self._sources[source].reader.place, count=step.count)
                case BookGap():
                    words = (step.reason, -1, step.from_ns, 0, 0)
                    self._builder.add(layout.GAP, state.index, source, 0, ts_receive_ns, words)
                    self._report.counts[layout.GAP] += 1
                    self._report.gaps[state.instrument.symbol] += 1
                case _:
                    assert_never(step)

    def _mark(self, message: MarkText, state: InstrumentState, source: int) -> None:
        tick = state.instrument.tick_size
        mark, index = micro_ticks(message.mark, tick), micro_ticks(message.index, tick)
        if mark == 0:
            raise RejectedError(Reason.not_above_zero, message.mark)
        rate = rate_e12(message.rate) if message.rate else None
        if "funding" not in self._without:
            self._fund(message, state, source, mark, rate)
        if "marks" not in self._without:
            self._add(layout.MARK, state, source, message, (mark, index, rate or 0, message.next_funding_ns, 0))

    def _fund(self, message: MarkText, state: InstrumentState, source: int, mark: int, rate: int | None) -> None:
        now_ns = message.ts_exchange_ns or message.ts_receive_ns
        settled = state.funding.take(now_ns, mark, rate, message.next_funding_ns)
        if settled is None:
            return
        if not settled.is_fresh:
            self._report.reject(Reason.stale_funding, self._sources[source].reader.place)
            return
        words = (settled.rate_e12, settled.mark_micro, 0, 0, 0)
        self._builder.add(layout.FUNDING, state.index, source, settled.ts_ns, message.ts_receive_ns, words)
        self._report.counts[layout.FUNDING] += 1

    def _add(
        self,
        kind: int,
        state: InstrumentState,
        source: int,
        message: Quoted,
        words: tuple[int, int, int, int, int],
        flags: int = 0,
    ) -> None:
        self._builder.add(kind, state.index, source, message.ts_exchange_ns, message.ts_receive_ns, words, flags)
        self._report.counts[kind] += 1


def _traded(state: InstrumentState, text: str) -> int:
    """A size that must be above zero."""
    return state.sizes[text] or _refuse_zero(text)


def _refuse_zero(text: str) -> NoReturn:
    raise RejectedError(Reason.not_above_zero, text)
