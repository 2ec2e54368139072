"""Whatever two runs did, the parts of their difference are the whole, to the unit."""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from engine.figures.attribution import Parts, TradeMoney, attribute, match, pair_parts
from engine.figures.slippage import divided

AMOUNTS = st.integers(-(10**17), 10**17)
COSTS = st.integers(-(10**12), 10**14)


@st.composite
def runs(draw: st.DrawFn) -> list[TradeMoney]:
    """Trades of a few ledgers; those of one ledger follow one another, as a position does."""
    found = []
    for strategy, symbol in (("a", "BTC"), ("a", "ETH"), ("b", "BTC")):
        now = draw(st.integers(0, 20))
        for _ in range(draw(st.integers(0, 6))):
            lasted, pause = draw(st.integers(0, 12)), draw(st.integers(0, 12))
            found.append(
                TradeMoney(strategy, symbol, draw(st.sampled_from(("long", "short"))), now, now + lasted,
                           draw(st.integers(1, 10**9)), draw(AMOUNTS), draw(AMOUNTS), draw(COSTS), draw(COSTS),
                           draw(COSTS))
            )  # fmt: skip
            now += lasted + pause
    return found


@given(runs(), runs(), AMOUNTS, AMOUNTS)
def test_the_parts_are_the_whole(
    first: list[TradeMoney], second: list[TradeMoney], open_first: int, open_second: int
) -> None:
    found = attribute(first, second, open_first, open_second)
    whole = sum(each.net for each in second) + open_second - sum(each.net for each in first) - open_first
    assert found.parts.total == whole
    assert len(found.pairs) + len(found.only_first) == len(first)
    assert len(found.pairs) + len(found.only_second) == len(second)
    for pair in found.pairs:
        assert pair.parts.total == pair.second.net - pair.first.net


@given(runs())
def test_a_run_against_itself_differs_in_nothing(run: list[TradeMoney]) -> None:
    found = attribute(run, run)
    assert found.parts == Parts()
    assert all(pair.first == pair.second for pair in found.pairs)


@given(runs(), st.integers(2, 1_000))
def test_the_same_in_another_size_is_size_alone(run: list[TradeMoney], times: int) -> None:
    larger = [
        TradeMoney(
            each.strategy, each.symbol, each.side, each.entry_ns, each.exit_ns, each.size * times,
            each.entry_amount * times, each.exit_amount * times, each.slippage * times, each.fees * times,
            each.funding * times,
        )
        for each in run
    ]  # fmt: skip
    assert attribute(run, larger).parts == Parts(size=(times - 1) * sum(each.net for each in run))


@given(runs(), runs())
def test_partners_are_found_as_by_looking_at_every_pair(first: list[TradeMoney], second: list[TradeMoney]) -> None:
    """The rule as it is written, tried on all pairs."""
    candidates = []
    for one, a in enumerate(first):
        for other, b in enumerate(second):
            gap, shorter = abs(a.entry_ns - b.entry_ns), min(a.exit_ns - a.entry_ns, b.exit_ns - b.entry_ns)
            is_of_one_kind = (a.strategy, a.symbol, a.side) == (b.strategy, b.symbol, b.side)
            shares_time = a.entry_ns <= b.exit_ns and b.entry_ns <= a.exit_ns
            if is_of_one_kind and (shares_time or gap <= shorter):
                candidates.append((gap, a.entry_ns, b.entry_ns, one, other))
    expected: set[tuple[int, int]] = set()
    for _, of_gap in groupby(sorted(candidates), key=lambda candidate: candidate[0]):
        for *_, one, other in of_gap:
            if all(one != taken and other != gone for taken, gone in expected):
                expected.add((one, other))
    assert set(match(first, second)) == expected


@given(runs(), runs())
def test_no_part_is_off_by_more_than_its_rounding(first: list[TradeMoney], second: list[TradeMoney]) -> None:
    for a, b in zip(first, second, strict=False):
        parts, ratio = pair_parts(a, b), Fraction(b.size, a.size)
        for name, exact in (
            ("size", (ratio - 1) * a.net),
            ("entry_price", b.entry_amount - a.entry_amount * ratio),
            ("exit_price", b.exit_amount - a.exit_amount * ratio),
            ("slippage", a.slippage * ratio - b.slippage),
            ("fees", a.fees * ratio - b.fees),
            ("funding", a.funding * ratio - b.funding),
        ):
            assert abs(getattr(parts, name) - exact) <= (Fraction(5, 2) if name == "size" else Fraction(1, 2)), name


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_quotients_are_those_of_fractions(above: int, below: int) -> None:
    assert divided(above, below) == round(Fraction(above, below))
