"""Whole runs on tapes made from a seed: any settings, any records, strategies that ask for anything.

Prices stay within a dozen ticks and times within a few units of each other, so that orders, messages and clocks meet.
Hypothesis draws the seed and the size; `run_of` alone is a fast generator for long hunts, and `reduced` makes a
failing run small enough to read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as some

from tests.property import book_twin as on_tape
from tests.property import runs as on_bars
from tests.property import twin
from tests.property.book_machines import BookMachine, BookSaid, BookSetup, MachineOf, TwinMachine
from tests.property.book_twin import BookSettings, Place, Watcher
from tests.property.twin import Record, Request

HOUR_NS = on_tape.HOUR_NS
BASE_TICKS = 100
SPREAD_OUT = 6  # the middle stays this near to the base
FAR_TICKS = 1_000_000


# An event as a plan names it: id of the last record consumed, kind, strategy, instrument, how many such came before.
Moment = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class BookRun:
    """One case: what a machine is built from, its tape, and what its strategies ask for.

    `plan` has the requests made at each event; without one they are made from the seed, up to `wishes` of them. `ids`
    are numbers of the records that stay theirs when others are dropped, so that a plan keeps its place.
    """

    setup: BookSetup
    records: tuple[Record, ...]
    seed: int = 0
    wishes: int = 0
    unit_ns: int = 1
    times: int = 1  # sizes are this much larger than usual
    plan: Mapping[Moment, tuple[Request, ...]] | None = None
    ids: tuple[int, ...] = ()


def runs(size_max: int = 120, wishes_max: int = 60) -> some.SearchStrategy[BookRun]:
    """Any run; sizes shrink towards nothing."""
    seeds, sizes, wishes = some.integers(0, 2**32 - 1), some.integers(1, size_max), some.integers(0, wishes_max)
    return some.builds(run_of, seeds, sizes, wishes)


def run_of(seed: int, size: int = 80, wishes: int = 40) -> BookRun:
    """Make the run of a seed; `size` is the number of things that happen on its tape."""
    random = Random(seed)
    unit_ns = random.choice([1, 1_000, 10**9, 10**9])
    count = random.choice([1, 1, 1, 2, 3])
    places = tuple(_place(random, unit_ns) for _ in range(count))
    watchers = tuple(_watcher(random, count, unit_ns) for _ in range(random.choice([1, 1, 2, 3])))
    pairs = {(k, watcher.timeframe_ns) for watcher in watchers for k in watcher.watches if watcher.timeframe_ns} | {
        (random.randrange(count), 5 * unit_ns)
    }
    builders = sorted(pair for pair in pairs if random.random() < 0.9)
    random.shuffle(builders)
    setup = BookSetup(
        settings=on_bars._settings(random, guarded=random.random() < 0.7),
        book=_book_settings(random, unit_ns),
        instruments=tuple(on_bars._instrument(random, k) for k in range(count)),
        places=places,
        watchers=watchers,
        builders=tuple(builders),
    )
    tape = _Tape(random, setup, unit_ns)
    run = BookRun(setup, tuple(tape.made(size)), seed, wishes, unit_ns)
    return _enlarged(random, run) if not tape.is_far and random.random() < 0.05 else run


def _enlarged(random: Random, run: BookRun) -> BookRun:
    """The same with so much money and such sizes that values near 2^60."""
    times = 10 ** random.randint(3, 7)
    cash = min(run.setup.settings.initial_cash * times, Decimal(2**59))
    settings = msgspec.structs.replace(run.setup.settings, initial_cash=cash)
    records = []
    for record in run.records:
        if record.kind in {on_tape.LEVEL, on_tape.PRINT}:
            records.append(replace(record, b=record.b * times))
        elif record.kind == on_tape.QUOTE:
            records.append(replace(record, b=record.b * times, d=record.d * times))
        else:
            records.append(record)
    return replace(run, setup=replace(run.setup, settings=settings), records=tuple(records), times=times)


# ── What a run is built from ────────────────────────────────────────────────────────────────────────────────


def _place(random: Random, unit_ns: int) -> Place:
    return Place(random.choice([0, 0, 3, -2, 10]) * unit_ns, random.random() < 0.75)


def _watcher(random: Random, count: int, unit_ns: int) -> Watcher:
    everything = random.random() < 0.6
    return Watcher(
        watches=frozenset(k for k in range(count) if everything or random.random() < 0.7),
        callbacks=frozenset(event for event in on_tape.EVENTS if everything or random.random() < 0.6),
        timeframe_ns=random.choice([0, 5, 5, 7, 20]) * unit_ns,
        timer_ns=tuple(random.choice([0, 0, 9, 25]) * unit_ns for _ in range(count)),
    )


def _book_settings(random: Random, unit_ns: int) -> BookSettings:
    latencies: list[tuple[int, int, int]] = []
    if random.random() < 0.3:
        ts = _start(unit_ns)
        for _ in range(random.randint(1, 4)):
            ts += random.randint(1, 40) * unit_ns
            latencies.append((ts, random.randint(0, 9 * unit_ns), random.randint(0, 9 * unit_ns)))
    return BookSettings(
        entry_latency_ns=random.choice([0, 0, 1, 4, 12]) * unit_ns,
        response_latency_ns=random.choice([0, 0, 1, 5]) * unit_ns,
        latencies=tuple(latencies),
        lateness_ns=random.choice([0, 1, 6, 20]) * unit_ns,
        uses_feed_latency=random.random() < 0.75,
        sample_ns=random.choice([10, 10, 23, 60]) * unit_ns,
        queue_model=random.choice([on_tape.TRADES_ONLY, on_tape.POWER, on_tape.LOG]),
        queue_power=random.choice([1, 2, 3]),
        stop_trigger=random.choice([on_tape.BY_LAST, on_tape.BY_MARK, on_tape.BY_BOOK]),
        is_strict=random.random() < 0.2,
    )


def _start(unit_ns: int) -> int:
    """Shortly before a whole hour (and a day), by the unit of the run."""
    return on_bars.START_NS - 40 * unit_ns


# ── The tape ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Venue:
    """What the generator remembers of one instrument."""

    middle: int = BASE_TICKS
    update_id: int = 10
    is_begun: bool = False
    chain: str = "previous"  # or first, none, unnumbered
    bids: tuple[int, ...] = ()
    asks: tuple[int, ...] = ()


class _Tape:
    def __init__(self, random: Random, setup: BookSetup, unit_ns: int) -> None:
        self.random = random
        self.places = setup.places
        self.unit_ns = unit_ns
        self.now_ns = _start(unit_ns) + random.randint(0, 30) * unit_ns
        self.feed_ns = random.choice([0, 1, 3, 8]) * unit_ns
        self.is_tame = random.random() < 0.4  # nothing breaks
        self.is_far = random.random() < 0.1
        self.venues = [_Venue(chain=random.choice(["previous", "previous", "first", "none", "unnumbered"]))
                       for _ in setup.places]  # fmt: skip
        self.records: list[Record] = []

    def made(self, size: int) -> list[Record]:
        for _ in range(size):
            self._pass_time()
            self._happen(self.random.randrange(len(self.places)))
        if self.random.random() < 0.6:
            self._pass_time()
            self._write(twin.END, 0)
        if not self.is_tame and self.records and self.random.random() < 0.05:
            self._spoil()
        return self.records

    def _pass_time(self) -> None:
        random = self.random
        units = random.choice([0, 0, 0, 1, 1, 1, 2, 3, 5, 8])
        if random.random() < 0.02:
            units = random.choice([30, 100])
        self.now_ns += units * self.unit_ns + (random.choice([0, 0, 0, 1]) if self.unit_ns > 1 else 0)

    def _write(
        self, kind: int, k: int, words: tuple[int, ...] = (), flags: int = 0, exchange_ns: int | None = None
    ) -> None:
        if exchange_ns is None:
            exchange_ns = self._exchange_time(k)
        self.records.append(Record(exchange_ns, self.now_ns, kind, flags, k, *words))

    def _exchange_time(self, k: int) -> int:
        """The venue's time: mostly a little behind what is received, sometimes ahead or missing."""
        random = self.random
        if random.random() < 0.06:
            return 0
        lag = random.choice([self.feed_ns] * 4 + [0, self.unit_ns, 2 * self.feed_ns, -self.unit_ns])
        offset = self.places[k].offset_ns if k < len(self.places) else 0
        return self.now_ns + offset - lag

    def _happen(self, k: int) -> None:
        random, venue = self.random, self.venues[k]
        move = random.choice([0, 0, 0, 1, -1, 2, -2])
        venue.middle = min(BASE_TICKS + SPREAD_OUT, max(BASE_TICKS - SPREAD_OUT, venue.middle + move))
        if not venue.is_begun and random.random() < 0.7:
            self._snapshot(k)
            return
        what = random.choices(
            ["delta", "print", "snapshot", "quote", "mark", "funding", "gap", "other", "downtime", "end"],
            [38, 34, 3, 6, 4, 3, 0 if self.is_tame else 2, 3, 0 if self.is_tame else 0.7, 0.2],
        )[0]
        getattr(self, f"_{what}")(k)

    def _message(self, k: int, levels: list[tuple[int, int, int]], ids: tuple[int, int, int], flags: int = 0) -> None:
        """Write levels of (side flag, price, size); now and then it is broken off, or time passes inside."""
        random = self.random
        levels = levels or [(0, 0, 0)]
        is_broken_off = not self.is_tame and random.random() < 0.03
        exchange_ns = self._exchange_time(k)
        for index, (side, price, size) in enumerate(levels):
            last = twin.LAST if index == len(levels) - 1 and not is_broken_off else 0
            self._write(on_tape.LEVEL, k, (price, size, *ids), flags | side | last, exchange_ns)
            if not self.is_tame and random.random() < 0.02:
                self._pass_time()
                if random.random() < 0.2:
                    self._write(on_tape.CLOCK, 0)

    def _sizes(self) -> int:
        return self.random.choice([1, 2, 3, 5, 5, 8, 20])

    def _snapshot(self, k: int) -> None:
        random, venue = self.random, self.venues[k]
        venue.is_begun = True
        venue.update_id += random.randint(1, 5)
        bids = sorted(random.sample(range(venue.middle - 8, venue.middle), random.choice([0, 2, 3, 5])), reverse=True)
        asks = sorted(random.sample(range(venue.middle + 1, venue.middle + 9), random.choice([0, 2, 3, 5])))
        if not self.is_tame and random.random() < 0.06 and bids:
            asks = [bids[0] - random.choice([0, 1, 2]), *asks]  # crossed
        if self.is_far:
            bids, asks = [*bids, 1], [*asks, FAR_TICKS + venue.middle]
        venue.bids, venue.asks = tuple(bids), tuple(asks)
        levels = [(0, price, self._sizes()) for price in bids] + [
            (on_tape.SELL, price, self._sizes()) for price in asks
        ]
        update_id = 0 if venue.chain == "unnumbered" else venue.update_id
        self._message(k, levels, (update_id, -1, 0), on_tape.SNAPSHOT)

    def _delta(self, k: int) -> None:
        random, venue = self.random, self.venues[k]
        levels = [(0, price, 0) for price in venue.bids if price >= venue.middle]
        levels += [(on_tape.SELL, price, 0) for price in venue.asks if price <= venue.middle]
        bids = {price for price in venue.bids if price < venue.middle}
        asks = {price for price in venue.asks if price > venue.middle}
        for _ in range(random.randint(0, 3)):
            is_ask = random.random() < 0.5
            price = max(1, venue.middle + random.randint(1, 5) * (1 if is_ask else -1))
            if self.is_far and random.random() < 0.1:
                price = random.choice([FAR_TICKS, 2 * FAR_TICKS]) if is_ask else 1
            if random.random() < 0.04:
                price = max(1, venue.middle + random.randint(-2, 2))  # may cross the other side
            size = 0 if random.random() < 0.25 else self._sizes()
            (asks if is_ask else bids).add(price)
            levels.append((on_tape.SELL if is_ask else 0, price, size))
        venue.bids, venue.asks = tuple(sorted(bids)), tuple(sorted(asks))
        self._message(k, levels, self._ids(venue))

    def _ids(self, venue: _Venue) -> tuple[int, int, int]:
        """Last, previous and first update id of the next delta."""
        random = self.random
        if venue.chain == "unnumbered":
            return 0, -1, 0
        before = venue.update_id
        venue.update_id += random.randint(1, 4)
        previous = {"previous": before, "first": before, "none": -1}[venue.chain]
        first = before + 1
        if venue.chain == "first" and random.random() < 0.5:
            previous, first = before - 1, before - random.randint(0, 2)  # only a fresh book takes it
        if not self.is_tame and random.random() < 0.08:
            kind = random.choice(["stale", "broken", "zero", "none"])
            if kind == "stale":
                venue.update_id = before
                return before - random.randint(0, 3), previous - 4, first - 4
            if kind == "zero":
                venue.update_id = before
                return 0, previous, first
            return venue.update_id, previous + 1 if kind == "broken" else -1, first + 1
        return venue.update_id, previous, first

    def _print(self, k: int) -> None:
        random, venue = self.random, self.venues[k]
        price = venue.middle + random.choice([0, 1, -1, 1, -1, 2, -2, 4, -4])
        flags = random.choice([0, 0, on_tape.SELL, on_tape.SELL, on_tape.SIDE_UNKNOWN])
        if self.is_far and random.random() < 0.02:
            price = random.choice([1, FAR_TICKS])
        elif random.random() < 0.6:  # at the best or the second price of a side
            side = venue.bids[::-1] if flags & on_tape.SELL else venue.asks
            price = random.choice(side[:2]) if side else price
        if random.random() < 0.02:
            flags = on_tape.SELL | on_tape.SIDE_UNKNOWN
        self._write(on_tape.PRINT, k, (max(1, price), random.choice([1, 1, 2, 3, 5, 9, 30]), len(self.records)), flags)

    def _quote(self, k: int) -> None:
        random, venue = self.random, self.venues[k]
        bid, ask = max(1, venue.middle - random.randint(0, 3)), venue.middle + random.randint(1, 4)
        words = (bid, self._sizes(), ask, self._sizes(), 0)
        if random.random() < 0.05:
            words = random.choice([(0, 0, ask, 3, 0), (bid, 3, 0, 0, 0), (bid, 0, ask, 0, 0), (0, 0, 0, 0, 0)])
        self._write(on_tape.QUOTE, k, words)

    def _mark(self, k: int) -> None:
        random, venue = self.random, self.venues[k]
        micro = max(1, venue.middle + random.randint(-4, 4)) * 10**6
        micro += random.choice([0, 0, 499_999, 500_000, -500_000, 123_456])
        self._write(on_tape.MARK, k, (max(500_000, micro), 0, 0, 0))

    def _funding(self, k: int) -> None:
        """Settle at the last or the next whole hour, or now; it comes when it comes."""
        random, venue = self.random, self.venues[k]
        hour = (self.now_ns + self.places[k].offset_ns) // HOUR_NS * HOUR_NS
        settles_ns = random.choice([hour, hour, hour, hour + HOUR_NS, hour - HOUR_NS, self.now_ns])
        words = (random.choice(on_bars.FUNDING_RATES), random.choice([0, venue.middle * 10**6 + 250_000]))
        self._write(twin.FUNDING, k, words, random.choice([0, 0, twin.STATIC]), settles_ns)

    def _gap(self, k: int) -> None:
        random = self.random
        named = on_tape.ALL_INSTRUMENTS if random.random() < 0.3 else k
        self._write(on_tape.GAP, named, (random.choice([1, 2, 3, 5, 6, 7]), -1, 0))
        for venue in self.venues if named != k else [self.venues[k]]:
            venue.is_begun = False

    def _downtime(self, k: int) -> None:
        random = self.random
        self.now_ns += random.choice([0, 7, 50, 400]) * self.unit_ns
        if random.random() < 0.3:
            self.now_ns += random.choice([HOUR_NS, 3 * HOUR_NS, 30 * HOUR_NS])
        named = on_tape.ALL_INSTRUMENTS if random.random() < 0.7 else k
        self._write(on_tape.GAP, named, (on_tape.DOWNTIME, -1, 0))
        for venue in self.venues:
            venue.is_begun = False

    def _other(self, k: int) -> None:
        random = self.random
        kind = random.choice([on_tape.CLOCK] * 4 + [on_tape.COMMAND, on_tape.INTEREST, on_tape.FORCED, on_tape.DOCUMENT,
                                                    twin.BAR, twin.BAR_OPEN])  # fmt: skip
        named = random.choice([k, 7, 65_535]) if kind in {on_tape.CLOCK, on_tape.COMMAND, on_tape.DOCUMENT} else k
        self._write(kind, named, (100, 3, 0, 0, 0), random.choice([0, twin.LAST]))

    def _end(self, k: int) -> None:
        self._write(twin.END, 0)

    def _spoil(self) -> None:
        """Make one record senseless."""
        at = self.random.randrange(len(self.records))
        spoilt = {"kind": 99, "instrument": len(self.places), "a": -1, "b": -1}
        name = self.random.choice(list(spoilt))
        self.records[at] = replace(self.records[at], **{name: spoilt[name]})


# ── What strategies ask for ─────────────────────────────────────────────────────────────────────────────────


class Script:
    """The strategies of a run: called with each event, gives requests, and notes what it gave."""

    def __init__(self, run: BookRun) -> None:
        self.run = run
        self.count = 0
        self.wishes = 0
        self.machine: BookMachine | None = None
        self.seen: Counter[tuple[int, int, int, int]] = Counter()
        self.given: dict[Moment, tuple[Request, ...]] = {}

    def __call__(self, kind: int, strategy: int, instrument: int) -> tuple[Request, ...]:
        """Give what the strategy asks for at this event, a function of the seed and of how many came before."""
        assert self.machine is not None
        self.count += 1
        seq = self.machine.seq
        last_id = 0 if seq == 0 else self.run.ids[seq - 1] if self.run.ids else seq
        event = (last_id, kind, strategy, instrument)
        moment = (*event, self.seen[event])
        self.seen[event] += 1
        if self.run.plan is not None:
            return self.run.plan.get(moment, ())
        random = Random(self.run.seed * 1_000_003 + self.count)
        if self.wishes >= self.run.wishes or random.random() > 0.4:
            return ()
        made = tuple(self._request(random, strategy, instrument) for _ in range(random.choice([1, 1, 1, 2, 3])))
        self.wishes += len(made)
        self.given[moment] = made
        return made

    def _request(self, random: Random, strategy: int, instrument: int) -> Request:
        count = len(self.run.setup.instruments)
        if random.random() < 0.1:
            instrument = random.randrange(count + 1)
        if random.random() < 0.03:
            strategy = random.randrange(len(self.run.setup.watchers) + 1)
        lots = random.choice([1, 2, 3, 5, 8, 13]) * random.choice([1, -1]) * self.run.times
        base = Request(strategy=strategy, instrument=instrument, tag=self.count)
        kinds = [twin.ORDER, twin.CANCEL, twin.TARGET, twin.CANCEL_ALL, twin.HALT, twin.RESUME, twin.NOTE, 9]
        kind = random.choices(kinds, [70, 15, 11, 3, 1, 3, 2, 1])[0]
        if kind == twin.CANCEL:
            return replace(base, kind=kind, order_id=random.randint(1, max(1, self.wishes + 2)))
        if kind == twin.NOTE:
            return replace(
                base, kind=kind, tag=random.choice([7, twin.STOPPED, twin.STARTED, twin.STARTED, 10, 11, 12])
            )
        if kind != twin.ORDER:
            flags = random.choice([0, 0, twin.REDUCE_ONLY, twin.SYSTEM])
            return replace(base, kind=kind, lots=random.choice([0, 0, lots]), flags=flags)
        return replace(base, **({"lots": lots} | self._order(random)))

    def _order(self, random: Random) -> dict[str, int]:
        unit_ns = self.run.unit_ns
        order_type = random.choices([twin.MARKET, twin.LIMIT, twin.STOP, twin.STOP_LIMIT], [20, 50, 16, 14])[0]
        tif = random.choices([twin.GTC, twin.IOC, twin.FOK, twin.GTD], [60, 14, 12, 14])[0]
        fields_of = {"type": order_type, "tif": tif}
        if order_type in {twin.LIMIT, twin.STOP_LIMIT}:
            fields_of["limit_ticks"] = BASE_TICKS + random.randint(-SPREAD_OUT - 2, SPREAD_OUT + 2)
        if order_type in {twin.STOP, twin.STOP_LIMIT}:
            fields_of["stop_ticks"] = BASE_TICKS + random.randint(-SPREAD_OUT, SPREAD_OUT)
        if tif == twin.GTD:
            fields_of["expire_ns"] = _start(unit_ns) + random.randint(20, 260) * unit_ns
        flags = 0
        if random.random() < 0.15 and order_type == twin.LIMIT and tif in {twin.GTC, twin.GTD}:
            flags |= twin.POST_ONLY
        if random.random() < 0.2:
            flags |= twin.REDUCE_ONLY
        if random.random() < 0.03:  # an order that no rule allows, or that nothing can carry
            wrong = {"type": 7, "tif": 8, "limit_ticks": -1, "stop_ticks": 5, "expire_ns": 1, "lots": 0}
            name = random.choice([*wrong, "flags", "many"])
            if name == "flags":
                flags |= twin.POST_ONLY | twin.SYSTEM
            elif name == "many":
                fields_of["lots"] = random.choice([2**61, -(2**61), 10**6, -(10**6)])
            else:
                fields_of[name] = wrong[name]
        return fields_of | {"flags": flags}


def played(run: BookRun, machine_of: MachineOf = TwinMachine, cuts: tuple[int, ...] = ()) -> BookSaid:
    """Feed a machine the whole run, in one batch or cut; give all that it said."""
    return _played(Script(run), machine_of, cuts)


def _played(script: Script, machine_of: MachineOf, cuts: tuple[int, ...] = ()) -> BookSaid:
    records = script.run.records
    script.machine = machine = machine_of(script.run.setup, script)
    edges = sorted({0, len(records), *(cut for cut in cuts if 0 < cut < len(records))})
    for start, stop in itertools.pairwise(edges):
        machine.advance(records, start, stop)
    return machine.said()


# ── Small enough to read ────────────────────────────────────────────────────────────────────────────────────


def planned(run: BookRun) -> BookRun:
    """The same run with its requests written down."""
    if run.plan is not None:
        return run
    script = Script(run)
    _played(script, TwinMachine)
    return replace(run, plan=script.given, ids=tuple(range(1, len(run.records) + 1)))


def reduced(run: BookRun, fails: Callable[[BookRun], bool], tries: int = 3_000) -> BookRun:
    """Drop requests and records, and take settings back to their defaults, for as long as it still fails."""
    if fails(planned(run)):
        run = planned(run)
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for candidate in _smaller(run):
            tries -= 1
            if fails(candidate):
                run, smaller = candidate, True
                break
    return run


def in_words(run: BookRun) -> str:
    """A run as lines that can be pasted into a test."""
    setup = run.setup
    lines = [repr(setup.settings), repr(setup.book), *map(repr, setup.instruments), *map(repr, setup.places)]
    lines += [
        *map(repr, setup.watchers),
        f"builders {setup.builders}",
        *(f"{at}: {record!r}" for at, record in zip(run.ids, run.records, strict=False)),
    ]
    plan = run.plan or {}
    lines += [f"at {moment}: {request!r}" for moment, given in sorted(plan.items()) for request in given]
    return "\n".join(lines)


def _smaller(run: BookRun) -> Iterator[BookRun]:
    for start, stop in on_bars._pieces(len(run.records)):
        yield replace(run, records=run.records[:start] + run.records[stop:], ids=run.ids[:start] + run.ids[stop:])
    plan = dict(run.plan or {})
    moments = sorted(plan)
    for start, stop in on_bars._pieces(len(moments)):
        gone = set(moments[start:stop])
        yield replace(run, plan={moment: given for moment, given in plan.items() if moment not in gone})
    for moment, given in plan.items():
        if len(given) > 1:
            yield from (replace(run, plan=plan | {moment: given[:at] + given[at + 1 :]}) for at in range(len(given)))
    setup = run.setup
    yield from (replace(run, setup=replace(setup, settings=plain)) for plain in on_bars._plainer(setup.settings))
    yield from (replace(run, setup=replace(setup, book=plain)) for plain in _plainer(setup.book))
    if setup.builders:
        yield from (
            replace(run, setup=replace(setup, builders=setup.builders[:at] + setup.builders[at + 1 :]))
            for at in range(len(setup.builders))
        )
    for at, place in enumerate(setup.places):
        for plain in _plainer(place):
            yield replace(run, setup=replace(setup, places=(*setup.places[:at], plain, *setup.places[at + 1 :])))
    for at, watcher in enumerate(setup.watchers):
        for plain in _plainer(watcher):
            yield replace(run, setup=replace(setup, watchers=(*setup.watchers[:at], plain, *setup.watchers[at + 1 :])))
    for at, instrument in enumerate(setup.instruments):
        for plain in on_bars._plainer(instrument, keep=("symbol", "tick_size", "lot_size")):
            instruments = (*setup.instruments[:at], plain, *setup.instruments[at + 1 :])
            yield replace(run, setup=replace(setup, instruments=instruments))


def _plainer(data: Any) -> Iterator[Any]:
    """The same with one field taken back to its default."""
    for described in fields(data):
        if getattr(data, described.name) != described.default:
            yield replace(data, **{described.name: described.default})
