"""From a tape and a config to the markets of a run: instruments, what there is of each, how far clocks are apart."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from adapters.tape import Session, TapeInstrument, TapeReader
from adapters.tape.codec import Records
from adapters.tape.reader import BATCH_RECORDS
from config.model import InstrumentOverride, RunConfig
from engine.book_state import TapeMarket
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.kernels import layout

_SOURCES = 1 << 16
_OF_MARKETS = (layout.LEVEL, layout.PRINT, layout.QUOTE, layout.MARK, layout.FUNDING)


class Part(msgspec.Struct, frozen=True, gc=False):
    """Records that follow each other; `next_seq` is the seq on the tape after them."""

    first_seq: int
    records: Records
    next_seq: int


class Reading(msgspec.Struct, frozen=True):
    """A tape as a run reads it: the records received from `start_ns` on and before `end_ns`, up to `last_seq`."""

    reader: TapeReader
    first_ns: int
    last_seq: int
    start_ns: int | None = None
    end_ns: int | None = None
    batch_records: int = BATCH_RECORDS

    def parts(self, start_seq: int = 1) -> Iterator[Part]:
        """Give the records from a seq on, in batches; each is valid until the next is asked for."""
        for batch in self.reader.batches(start_seq, self.start_ns, self.batch_records):
            records = batch.records
            if not batch.lost:
                records = records[: max(0, self.last_seq + 1 - batch.first_seq)]
            elif batch.first_seq > self.last_seq:
                return
            if self.end_ns is not None:
                records = records[: int(np.searchsorted(records["ts_receive_ns"], self.end_ns))]
            if len(records):
                whole = len(records) == len(batch.records)
                next_seq = batch.stop_seq if whole else batch.first_seq + len(records)
                yield Part(batch.first_seq, self._timed(records), next_seq)
            if len(records) < len(batch.records):
                return

    def batches(self) -> Iterator[Records]:
        """Give all records."""
        for part in self.parts():
            yield part.records

    def _timed(self, records: Records) -> Records:
        """Documents at the tape's start that carry no time get the first record's; a clock must not start at 0."""
        if int(records["ts_receive_ns"][0]):
            return records
        timed = records.copy()
        timed["ts_receive_ns"][timed["ts_receive_ns"] == 0] = self.first_ns
        return timed


def chosen_markets(tape: str, session: Session, config: RunConfig) -> list[int]:
    """The numbers of the instruments that strategies trade; raises ConfigError that lists the tape's."""
    known = [instrument.symbol for instrument in session.instruments]
    named = [(f"symbols: {symbol}", symbol) for symbol in config.symbols]
    named += [(f"instruments.{symbol}", symbol) for symbol in config.instruments]
    named += [(f"strategies, {entry.id}: {symbol}", symbol) for entry in config.strategies for symbol in entry.symbols]
    problems = []
    for where, symbol in named:
        if symbol not in known:
            near = difflib.get_close_matches(symbol, known, n=1)
            problems.append(f"{where}: not on the tape" + (f"; did you mean {near[0]}?" if near else ""))
    if problems:
        raise ConfigError(
            f"{config.source or 'The config'} names what {tape} does not hold",
            problems=tuple(dict.fromkeys(problems)),
            remedy=f"The tape holds {', '.join(known) or 'no instrument'}. Without `symbols` a run takes all of them.",
        )
    return [known.index(symbol) for symbol in config.symbols or known]


def with_venue_fees(config: RunConfig, session: Session) -> RunConfig:
    """The config with the fees that the session says its venue charges, where `commission.schedule` asks for them.

    One account has one schedule: that of the first instrument that has one.
    """
    if config.settings.commission.schedule != "venue":
        return config
    for entry in session.instruments:
        maker, taker = entry.metadata.get("maker_bps"), entry.metadata.get("taker_bps")
        if maker is not None and taker is not None:
            found = msgspec.structs.replace(
                config.settings.commission, maker_bps=Decimal(maker), taker_bps=Decimal(taker)
            )
            return msgspec.structs.replace(
                config, settings=msgspec.structs.replace(config.settings, commission=found)
            )  # fmt: skip
    return config


def tape_instruments(session: Session, config: RunConfig) -> tuple[Instrument, ...]:
    """Every instrument of a tape; the config overrides what its records do not fix. Raises ConfigError."""
    problems: list[str] = []
    found = tuple(
        _instrument(entry, config.instruments.get(entry.symbol, InstrumentOverride()), problems)
        for entry in session.instruments
    )
    if problems:
        raise ConfigError(
            f"{config.source or 'The config'}: instruments",
            problems=tuple(problems),
            remedy="The tape's records count in its own ticks and lots. Leave these out of `instruments`.",
        )
    return found


def _instrument(entry: TapeInstrument, override: InstrumentOverride, problems: list[str]) -> Instrument:
    for name in ("tick_size", "lot_size"):
        wanted, own = getattr(override, name), getattr(entry, name)
        if wanted not in (None, own):
            problems.append(f"instruments.{entry.symbol}.{name}: {wanted:f}; the tape has {own:f}")
    given = {
        name: value
        for name in ("kind", "multiplier", "minimum_notional", "maintenance_rate", "tiers")
        if (value := getattr(override, name)) not in (None, ())
    }
    described = {"kind": entry.kind, "multiplier": entry.multiplier, "minimum_notional": entry.minimum_notional}
    return Instrument(entry.symbol, entry.tick_size, entry.lot_size, **(described | given))


def tape_markets(reading: Reading, session: Session) -> tuple[tuple[TapeMarket, ...], list[str]]:
    """What the tape holds of each instrument, and what is to be said about its clocks.

    An instrument's clock offset is that of the source that most of its records carry.
    """
    offsets: list[Counter[int]] = [Counter() for _ in session.instruments]
    sessions = reading.reader.sessions()
    values = {source.clock_offset_ns for _, each in sessions for source in each.sources}
    if len(values) > 1:
        _count_offsets(reading, sessions, offsets)
    else:
        for own in offsets:
            own[next(iter(values), 0)] = 1
    notes = []
    for entry, own in zip(session.instruments, offsets, strict=True):
        if len(own) > 1:
            (offset_ns, count), total = own.most_common(1)[0], own.total()
            notes.append(
                f"{entry.symbol}: its records come over clocks with {len(own)} different offsets; that of most"
                f" ({count:,} of {total:,}), {offset_ns / 1e9:+.6f} s, is taken for all"
            )
    markets = tuple(
        TapeMarket("book" in entry.channels, own.most_common(1)[0][0] if own else 0)
        for entry, own in zip(session.instruments, offsets, strict=True)
    )
    return markets, notes


def _count_offsets(
    reading: Reading, sessions: Sequence[tuple[int, Session]], offsets: Sequence[Counter[int]]
) -> None:  # fmt: skip
    """Count each instrument's records by their source's offset."""
    starts = [seq for seq, _ in sessions]
    for part in reading.parts():
        edges = [part.first_seq, *(seq for seq in starts if part.first_seq < seq < part.next_seq), part.next_seq]
        for start_seq, stop_seq in itertools.pairwise(edges):
            number = int(np.searchsorted(starts, start_seq, side="right")) - 1
            if number < 0:
                continue
            sources = sessions[number][1].sources
            records = part.records[start_seq - part.first_seq : stop_seq - part.first_seq]
            records = records[np.isin(records["kind"], _OF_MARKETS)]
            keys = records["instrument"].astype(np.int64) * _SOURCES + records["source"]
            for key, count in zip(*np.unique(keys, return_counts=True), strict=True):
                instrument, source = divmod(int(key), _SOURCES)
                if instrument < len(offsets) and source < len(sources):
                    offsets[instrument][sources[source].clock_offset_ns] += int(count)
