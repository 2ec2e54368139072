"""The state of a tape's markets, and of a run on it, after all records up to a moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from adapters.latency_files import read_latencies
from adapters.replay_files import StoredReplay, read_replay, read_snapshot
from adapters.tape import TapeReader
from adapters.tape.times import time_text
from config.model import RunConfig
from daemon.driving import TapeDriver
from daemon.replaying import TapeRun, tape_driver, tape_run
from daemon.tape_markets import Part, Reading
from daemon.verifying import market_config, stored_run
from engine.bars import NS_PER_MS, Bars, timeframe_ns
from engine.book_engine import BookEngine
from engine.core import Engine
from engine.ctx import Account, Context, Portfolio, WorkingOrder
from engine.errors import DataError, UsageError
from engine.kernels import layout
from engine.reading import Scale
from engine.replay import Replay
from engine.tape_replay import TapeReplay
from strategies.registry import Registry

_STATES: dict[int, Literal["none", "valid", "invalid"]] = {
    layout.BOOK_NONE: "none", layout.BOOK_VALID: "valid", layout.BOOK_INVALID_STATE: "invalid",
}  # fmt: skip


class MarketState(msgspec.Struct, frozen=True):
    """One market. The best prices are the book's, or where a tape has none those of the last quote; None: unknown.

    `book_ns`: when the book's last message was received; `age_ms`: how long before the moment asked for.
    """

    state: Literal["none", "valid", "invalid"]
    update_id: int
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    book_ns: int | None
    age_ms: float | None
    last: float | None
    mark: float | None
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class LastEvent(msgspec.Struct, frozen=True):
    """The callback that a strategy was called with last, and the host's time then."""

    callback: str
    ts_ns: int


class StrategyState(msgspec.Struct, frozen=True):
    """One strategy on one market, as it knows things; `indicators` at its last bar, `bars`: those it has been shown."""

    position: float
    entry_price: float | None
    orders: list[WorkingOrder]
    state: dict[str, Any]
    indicators: dict[str, float | dict[str, float | None] | None]
    bars: int
    last_event: LastEvent | None


class TapeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A moment of a tape: the markets, and with a run its strategies by id and symbol, equity and cash."""

    tape: str
    at_ns: int
    seq: int
    ts_ns: int
    symbols: dict[str, MarketState]
    strategies: dict[str, dict[str, StrategyState]] | None = None
    equity: float | None = None
    cash: float | None = None
    notes: tuple[str, ...] = ()


def inspect_tape(folder: Path, at_ns: int, depth: int) -> TapeState:
    """The markets of a tape at a moment."""
    reader = TapeReader(folder)
    run = tape_run(reader, market_config(reader.session()), Registry(folder), is_market_only=True)
    return _inspected(run, at_ns, depth, None)


def inspect_config(home: Path, folder: Path, config: RunConfig, at_ns: int, depth: int) -> TapeState:
    """The markets, and the strategies of a config, which run from the tape's start."""
    latency_file = config.settings.book.latency_file
    latencies = read_latencies(home / latency_file) if latency_file else ()
    run = tape_run(TapeReader(folder), config, Registry(home), latencies=latencies)
    return _inspected(run, at_ns, depth, None)


def inspect_run(folder: Path, results: Path, at_ns: int, depth: int) -> TapeState:
    """The markets, and the strategies of a stored run, which goes on from its last snapshot before the moment."""
    stored = read_replay(results)
    run = stored_run(results, stored, folder)
    if run.facts.tape_id != stored.tape_id:
        raise UsageError(
            f"{results.name} did not run on {folder}", remedy=f"It ran on {stored.tape}; inspect that tape."
        )
    return _inspected(run, at_ns, depth, (results, stored))


def _inspected(run: TapeRun, at_ns: int, depth: int, stored: tuple[Path, StoredReplay] | None) -> TapeState:
    notes = _span_notes(run, at_ns)
    if run.tape is None:
        return _on_bars(run, at_ns, depth, notes)
    driver, next_seq = _started(run, at_ns, stored)
    replay = driver.replay
    seq, ts_ns = next_seq - 1, 0
    for part in parts_until(run.reading, at_ns, next_seq):
        driver.consume(part.first_seq, part.records)
        seq, ts_ns = part.next_seq - 1, int(part.records["ts_receive_ns"][-1])
    symbols = {
        symbol: _book_state(replay.engine, market, replay.scales[market], at_ns, depth)
        for market, symbol in enumerate(run.symbols)
    }
    return _state(run, at_ns, (seq, ts_ns or int(replay.engine.state.core["ts_ns"][0])), symbols, replay, notes)


def _span_notes(run: TapeRun, at_ns: int) -> list[str]:
    """What is to be said of the moment; raises UsageError before the first record."""
    facts = run.facts
    span = f"{time_text(facts.first_ns)} to {time_text(facts.last_ns)} ({facts.first_ns} to {facts.last_ns} ns)"
    first_ns = max(facts.first_ns, run.reading.start_ns or 0)
    if at_ns < first_ns:
        raise UsageError(
            f"{time_text(at_ns)} is before the first record"
            + ("" if first_ns == facts.first_ns else f" that the run reads, {time_text(first_ns)}"),
            remedy=f"{run.reading.reader.folder} spans {span}.",
        )
    if run.reading.end_ns is not None and at_ns >= run.reading.end_ns:
        return [f"The run reads the tape up to {time_text(run.reading.end_ns)}; this is its state then"]
    if at_ns > facts.last_ns:
        return [f"{time_text(at_ns)} is after the last record; this is the last state of a tape of {span}"]
    return []


def _started(run: TapeRun, at_ns: int, stored: tuple[Path, StoredReplay] | None) -> tuple[TapeDriver, int]:
    """The run as its last snapshot before the moment has it, or before the first record; and the next seq."""
    if stored is not None:
        folder, document = stored
        for place in sorted(document.snapshots, key=lambda each: -each.next_seq):
            snapshot = read_snapshot(folder, place) if place.ts_ns <= at_ns else None
            if snapshot is not None:
                driver = tape_driver(run)
                try:
                    driver.resume(snapshot)
                except DataError:  # of another version: from the start it will be right
                    break
                return driver, place.next_seq
    driver = tape_driver(run)
    driver.start()
    return driver, 1


def parts_until(reading: Reading, at_ns: int, start_seq: int = 1) -> Any:
    """The records from a seq on that were received up to a moment."""
    for part in reading.parts(start_seq):
        count = int(np.searchsorted(part.records["ts_receive_ns"], at_ns, side="right"))
        if count == len(part.records):
            yield part
            continue
        if count:
            yield Part(part.first_seq, part.records[:count], part.first_seq + count)
        return


def _on_bars(run: TapeRun, at_ns: int, depth: int, notes: list[str]) -> TapeState:
    """A run on bars: the strategies on the bars closed by then; the tape's own books, where it has some."""
    seq, ts_ns = 0, 0
    held = tuple(
        msgspec.structs.replace(market, bars=_closed_by(market.bars, at_ns)) for market in run.markets
    )  # fmt: skip
    replay = Replay(run.config.settings, held, run.runs)
    if any(len(market.bars) for market in held):
        replay.start()
        replay.run_all_bars()
    is_stored = all("bars" in entry.channels for entry in run.session.instruments if entry.symbol in run.symbols)
    if is_stored:
        for part in parts_until(run.reading, at_ns):
            seq, ts_ns = part.next_seq - 1, int(part.records["ts_receive_ns"][-1])
        symbols = {
            symbol: _bar_state(replay.engine, number, replay.scales[number], held[number].bars)
            for number, symbol in enumerate(run.symbols)
        }
        return _state(run, at_ns, (seq, ts_ns), symbols, replay, notes)
    on_records = msgspec.structs.replace(run.config.settings.book, fills="book")
    settings = msgspec.structs.replace(run.config.settings, book=on_records)
    config = msgspec.structs.replace(run.config, settings=settings)
    books = tape_run(run.reading.reader, config, Registry(run.reading.reader.folder), is_market_only=True)
    shown = _inspected(books, at_ns, depth, None)
    return _state(run, at_ns, (shown.seq, shown.ts_ns), shown.symbols, replay, notes)


def _closed_by(bars: Bars, at_ns: int) -> Bars:
    count = int(np.searchsorted(bars.ts_ns + timeframe_ns(bars.timeframe), at_ns, side="right"))
    columns = {name: getattr(bars, name)[:count] for name in ("ts_ns", "open", "high", "low", "close", "volume")}
    return msgspec.structs.replace(bars, **{name: column.copy() for name, column in columns.items()})


def _state(
    run: TapeRun, at_ns: int, place: tuple[int, int], symbols: dict[str, MarketState], replay: TapeReplay | Replay,
    notes: Sequence[str],
) -> TapeState:  # fmt: skip
    strategies: dict[str, dict[str, StrategyState]] = {}
    watchers: Sequence[tuple[str, Context, tuple[str, int]]] = replay.watchers()
    for name, context, told in watchers:
        strategies.setdefault(name, {})[context.symbol] = _strategy_state(context, told)
    account: Account = replay.account
    portfolio = Portfolio(account, run.config.settings.cash_decimals)
    return TapeState(
        tape=str(run.reading.reader.folder), at_ns=at_ns, seq=place[0], ts_ns=place[1], symbols=symbols,
        strategies=strategies if run.runs else None, equity=portfolio.equity if run.runs else None,
        cash=portfolio.cash if run.runs else None, notes=tuple(notes),
    )  # fmt: skip


def _strategy_state(context: Context, told: tuple[str, int]) -> StrategyState:
    indicators: dict[str, float | dict[str, float | None] | None] = {}
    for written, outputs in context.ind.values().items():
        values = {name: _number(value) for name, value in outputs.items()}
        indicators[written] = next(iter(values.values())) if len(values) == 1 else values
    return StrategyState(
        position=context.position.size,
        entry_price=_number(context.position.entry_price),
        orders=context.orders,
        state=dict(context.state),
        indicators=indicators,
        bars=context.stop,
        last_event=LastEvent(*told) if told[0] else None,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _book_state(engine: BookEngine, market: int, scale: Scale, at_ns: int, depth: int) -> MarketState:
    book, instrument = engine.state.books[market], engine.state.instruments[market]
    state = _STATES[int(book["state"])]

    def levels(side: int) -> list[tuple[float, float]]:
        rows = engine.depth(market, side, max(1, depth)).tolist() if state != "invalid" else []
        return [(scale.price(ticks), float(scale.size(lots))) for ticks, lots in rows]

    bids, asks = levels(layout.BID), levels(layout.ASK)
    bid, ask = (_best(bids), _best(asks)) if state != "none" else (_quote(instrument, scale, n) for n in ("bid", "ask"))
    book_ns = int(book["book_ns"])
    return MarketState(
        state=state, update_id=int(book["update_id"]), bid=bid[0], bid_size=bid[1], ask=ask[0], ask_size=ask[1],
        book_ns=book_ns or None, age_ms=(at_ns - book_ns) / NS_PER_MS if book_ns else None,
        last=_price(instrument["last"], scale), mark=_price(instrument["mark"], scale), bids=bids[:depth],
        asks=asks[:depth],
    )  # fmt: skip


def _best(levels: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    return levels[0] if levels else (None, None)


def _quote(instrument: Any, scale: Scale, side: str) -> tuple[float | None, float | None]:
    ticks, lots = int(instrument[f"quote_{side}"]), int(instrument[f"quote_{side}_lots"])
    return (scale.price(ticks), float(scale.size(lots))) if ticks else (None, None)


def _bar_state(engine: Engine, market: int, scale: Scale, bars: Bars) -> MarketState:
    """A market of bars: no book; `last` is the close of the last bar."""
    mark = engine.state.instruments["mark"][market]
    return MarketState(
        state="none", update_id=0, bid=None, bid_size=None, ask=None, ask_size=None, book_ns=None, age_ms=None,
        last=float(bars.close[-1]) if len(bars) else None, mark=_price(mark, scale), bids=[], asks=[],
    )  # fmt: skip


def _price(ticks: Any, scale: Scale) -> float | None:
    return scale.price(int(ticks)) if int(ticks) else None
