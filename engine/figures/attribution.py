"""Why two runs made different money: their trades matched, and the difference shared out to the last unit.

Of a matched pair, in this order, from the first run's trade A to the second's, B:

1. size: A's trade in B's size, everything in proportion (its values, costs and funding), less A as it was.
2. entry_price and exit_price: base prices (before slippage), in B's size, against A's.
3. slippage, fees, funding: what B paid, less what A paid in proportion to B's size.

Each of A's amounts in B's size is rounded once, half to even, so a part may be off by one unit and its neighbour makes
up for it: the sum is always B's net profit less A's. Trades without a partner count whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from engine.figures.slippage import divided
from engine.figures.trades import TradeSide


class TradeMoney(msgspec.Struct, frozen=True):
    """A closed trade as amounts in cash units, what it gained positive and what it paid too.

    `size` in units that both runs share. `entry_amount` and `exit_amount` are what entries and exits brought at their
    base prices (a long's entry is negative, its exit positive), `slippage` what the fills' prices took from that.
    """

    strategy: str
    symbol: str
    side: TradeSide
    entry_ns: int
    exit_ns: int
    size: int
    entry_amount: int
    exit_amount: int
    slippage: int
    fees: int
    funding: int

    @property
    def net(self) -> int:
        """Profit after slippage, fees and funding."""
        return self.entry_amount + self.exit_amount - self.slippage - self.fees - self.funding


class Parts(msgspec.Struct, frozen=True):
    """A difference of net profit in cash units, second run less first, by what made it."""

    size: int = 0
    entry_price: int = 0
    exit_price: int = 0
    slippage: int = 0
    fees: int = 0
    funding: int = 0
    only_first: int = 0
    only_second: int = 0
    open: int = 0
    """Of what has not become a closed trade: costs and partial exits of positions still open."""

    @property
    def total(self) -> int:
        """The whole difference."""
        return sum(msgspec.structs.astuple(self))


class Pair(msgspec.Struct, frozen=True):
    """A trade of the first run and its partner of the second, and the parts of their difference."""

    first: TradeMoney
    second: TradeMoney
    parts: Parts


class Attribution(msgspec.Struct, frozen=True):
    """All trades of two runs, in pairs or alone, by entry time; `parts` are of the whole difference."""

    parts: Parts
    pairs: tuple[Pair, ...]
    only_first: tuple[TradeMoney, ...]
    only_second: tuple[TradeMoney, ...]


def attribute(
    first: Sequence[TradeMoney], second: Sequence[TradeMoney], open_first: int = 0, open_second: int = 0
) -> Attribution:
    """Share out the difference of two runs; `open_…` is what each made besides its closed trades."""
    matched = match(first, second)
    pairs = tuple(Pair(first[one], second[other], pair_parts(first[one], second[other])) for one, other in matched)
    alone_first = _others(first, {one for one, _ in matched})
    alone_second = _others(second, {other for _, other in matched})
    sums = [sum(values) for values in zip(*(msgspec.structs.astuple(pair.parts) for pair in pairs), strict=True)]
    of_pairs = Parts(*sums)
    parts = msgspec.structs.replace(
        of_pairs,
        only_first=-sum(trade.net for trade in alone_first),
        only_second=sum(trade.net for trade in alone_second),
        open=open_second - open_first,
    )
    return Attribution(parts, pairs, alone_first, alone_second)


def pair_parts(first: TradeMoney, second: TradeMoney) -> Parts:
    """The parts of the difference of two trades; sizes are above 0."""

    def in_proportion(amount: int) -> int:
        return divided(amount * second.size, first.size)

    entry, exit_, slippage, fees, funding = (
        in_proportion(amount)
        for amount in (first.entry_amount, first.exit_amount, first.slippage, first.fees, first.funding)
    )
    return Parts(
        size=entry + exit_ - slippage - fees - funding - first.net,
        entry_price=second.entry_amount - entry,
        exit_price=second.exit_amount - exit_,
        slippage=slippage - second.slippage,
        fees=fees - second.fees,
        funding=funding - second.funding,
    )


def match(first: Sequence[TradeMoney], second: Sequence[TradeMoney]) -> list[tuple[int, int]]:
    """Places of the trades that belong together, by the first one's entry.

    Both are of one strategy, symbol and side, and either share some time or begin no further apart than the shorter of
    them lasted. Each has one partner at most; the nearest entries find each other first, then the earliest.
    """
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, trade in enumerate(second):
        groups[trade.strategy, trade.symbol, trade.side].append(place)
    for places in groups.values():
        places.sort(key=lambda place: second[place].entry_ns)
    entries = {key: [second[place].entry_ns for place in places] for key, places in groups.items()}
    candidates: list[tuple[int, int, int, int, int]] = []
    for one, trade in enumerate(first):
        key = (trade.strategy, trade.symbol, trade.side)
        for other in _near(trade, second, groups.get(key, []), entries.get(key, [])):
            entry_ns = second[other].entry_ns
            candidates.append((abs(entry_ns - trade.entry_ns), trade.entry_ns, entry_ns, one, other))
    free_first, free_second, found = set(range(len(first))), set(range(len(second))), []
    for *_, one, other in sorted(candidates):
        if one in free_first and other in free_second:
            free_first.discard(one)
            free_second.discard(other)
            found.append((one, other))
    return sorted(found, key=lambda pair: (first[pair[0]].entry_ns, pair))


def _near(trade: TradeMoney, others: Sequence[TradeMoney], places: list[int], entries: list[int]) -> Iterable[int]:
    """Places of those that may be its partner; a ledger's trades follow one another, the last one reaching furthest."""
    lasted = trade.exit_ns - trade.entry_ns
    start = bisect_left(entries, trade.entry_ns - lasted)
    while start > 0 and others[places[start - 1]].exit_ns >= trade.entry_ns:
        start -= 1
    for place in places[start:]:
        other = others[place]
        if other.entry_ns > trade.exit_ns:
            return
        gap, shorter = abs(other.entry_ns - trade.entry_ns), min(lasted, other.exit_ns - other.entry_ns)
        if other.exit_ns >= trade.entry_ns or gap <= shorter:
            yield place


def _others(trades: Sequence[TradeMoney], taken: set[int]) -> tuple[TradeMoney, ...]:
    left = (trade for place, trade in enumerate(trades) if place not in taken)
    return tuple(sorted(left, key=lambda trade: (trade.entry_ns, trade.symbol, trade.strategy)))
