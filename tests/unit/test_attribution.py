"""The difference of two runs by what made it: cases worked out by hand, and how trades find their partners."""

from __future__ import annotations

import pytest

from engine.figures.attribution import Parts, TradeMoney, attribute, match, pair_parts
from engine.figures.slippage import FillPrice, TradeSlippage, ValueUnits, divided, slippage_by_trade
from engine.figures.trades import TradeSide

LINEAR, INVERSE = ValueUnits("linear", 10), ValueUnits("inverse", 1_000_000)


def trade(
    size: int = 10, entry: int = -1_000, exit_: int = 1_100, *, slippage: int = 4, fees: int = 6, funding: int = 2,
    span: tuple[int, int] = (100, 200), side: str = "long", symbol: str = "BTC", strategy: str = "s",
) -> TradeMoney:  # fmt: skip
    of: TradeSide = "long" if side == "long" else "short"
    return TradeMoney(strategy, symbol, of, *span, size, entry, exit_, slippage, fees, funding)


# A: 10 at base 100 -> 110, net 1100 - 1000 - 4 - 6 - 2 = 88. Each B by hand, then the parts in the order of the docs.
HAND = [
    # B                                                   size entry exit slip fees fund  why
    (trade(), Parts(), "the same trade"),
    (trade(20, -2_000, 2_200, slippage=8, fees=12, funding=4), Parts(size=88), "twice of all: size alone"),
    (trade(fees=9), Parts(fees=-3), "a dearer fee"),
    (trade(slippage=10), Parts(slippage=-6), "more slippage, base prices as before"),
    (trade(funding=-1), Parts(funding=3), "funding was received"),
    (trade(10, -1_010, 1_150), Parts(entry_price=-10, exit_price=50), "entered at 101, left at 115"),
    # In B's size A would have: entry -1500, exit 1650, slippage 6, fees 9, funding 3: 132, so 44 more than A's 88.
    # B entered 15 at 102 (-1530: 30 worse), left at 112 (1680: 30 better), and paid 7, 8, 3 where 6, 9, 3 were due.
    (
        trade(15, -1_530, 1_680, slippage=7, fees=8, funding=3),
        Parts(size=44, entry_price=-30, exit_price=30, slippage=-1, fees=1),
        "all at once: size first, then prices at the new size, then what was paid",
    ),
    # 3/10 of 4 is 1.2 -> 1, of 6 is 1.8 -> 2, of 2 is 0.6 -> 1; entry -300, exit 330: 26 in all, 62 less than 88.
    (trade(3, -300, 330, slippage=1, fees=1, funding=1), Parts(size=-62, fees=1), "each amount is rounded once"),
]


@pytest.mark.parametrize(("second", "parts", "why"), HAND, ids=[why for *_, why in HAND])
def test_the_parts_are_those_worked_out_by_hand(second: TradeMoney, parts: Parts, why: str) -> None:
    first = trade()
    assert first.net == 88
    assert pair_parts(first, second) == parts, why
    assert parts.total == second.net - first.net


def test_a_whole_comparison_by_hand() -> None:
    """Two pairs (one dearer by 3, one a short twice as large), one trade alone on each side, something open."""
    short = trade(5, 500, -450, slippage=1, fees=2, funding=0, span=(300, 400), side="short")  # net 47
    double = trade(10, 1_000, -900, slippage=2, fees=4, funding=0, span=(300, 400), side="short")  # net 94
    early, late = trade(span=(0, 50), symbol="ETH"), trade(span=(900, 950), fees=16)  # 88, 78
    found = attribute([trade(), short, early], [trade(fees=9), double, late], -5, 20)
    assert found.parts == Parts(size=47, fees=-3, only_first=-88, only_second=78, open=25)
    assert found.parts.total == (85 + 94 + 78 + 20) - (88 + 47 + 88 - 5) == 59
    assert [(pair.first, pair.second) for pair in found.pairs] == [(trade(), trade(fees=9)), (short, double)]
    assert (found.only_first, found.only_second) == ((early,), (late,))


def test_nothing_against_nothing_is_nothing() -> None:
    assert attribute([], []).parts == Parts()
    assert attribute([], [trade()]).parts == Parts(only_second=88)


MATCHES = [
    # spans of A | of B | pairs | why
    ([(0, 10)], [(0, 10)], [(0, 0)], "the same"),
    ([(0, 10)], [(10, 20)], [(0, 0)], "they share the moment in which one turns into the other"),
    ([(0, 10)], [(11, 20)], [], "no time shared, and 11 apart where the shorter lasted 9"),
    ([(0, 10)], [(9, 12)], [(0, 0)], "a little time shared"),
    ([(20, 25)], [(16, 19)], [], "4 apart where the shorter lasted 3"),
    ([(20, 24)], [(16, 19)], [], "before it, 4 apart where the shorter lasted 3"),
    ([(20, 24)], [(17, 19)], [], "3 apart, 2 lasted"),
    ([(3, 3)], [(3, 3)], [(0, 0)], "opened and closed at once"),
    ([(3, 3)], [(4, 4)], [], "each over before the other"),
    ([(0, 100)], [(5, 6), (50, 60), (2, 3)], [(0, 2)], "one partner: the nearest entry"),
    ([(0, 9), (10, 19)], [(8, 12)], [(1, 0)], "it overlaps both and is nearer to the second"),
    ([(0, 9), (10, 19)], [(1, 12), (13, 20)], [(0, 0), (1, 1)], "each its own"),
    ([(0, 9), (4, 5)], [(2, 6)], [(0, 0)], "equally near: the earlier"),
]


@pytest.mark.parametrize(("first", "second", "pairs", "why"), MATCHES, ids=[why for *_, why in MATCHES])
def test_who_belongs_together(
    first: list[tuple[int, int]], second: list[tuple[int, int]], pairs: list[tuple[int, int]], why: str
) -> None:
    assert match([trade(span=span) for span in first], [trade(span=span) for span in second]) == pairs, why


@pytest.mark.parametrize("other", [{"side": "short"}, {"symbol": "ETH"}, {"strategy": "t"}])
def test_another_side_symbol_or_strategy_is_another_trade(other: dict[str, str]) -> None:
    assert match([trade()], [trade(**other)]) == []  # type: ignore[arg-type]


def test_slippage_of_each_trade() -> None:
    """Linear, a tick of a lot is 10: buys above and sells below their base cost, and the other way round they gain."""
    fills = [
        FillPrice(0, 0, 1, 3, 101, 100, 3),  # long 3, a tick above: 30
        FillPrice(0, 0, 1, 1, 100, 100, 4),  # one more at its base
        FillPrice(0, 0, 1, -2, 98, 100, 2),  # out of 2, two ticks below: 40
        FillPrice(0, 0, 2, -5, 99, 100, -3),  # out of 2 (20) and short 3 (30): it turns
        FillPrice(0, 0, 2, 3, 99, 100, 0),  # a tick below its base: gains 30
        FillPrice(0, 0, 3, 1, 99, 0, 1),  # a base that nobody knows
    ]
    assert slippage_by_trade(fills, [LINEAR]) == {
        1: TradeSlippage(30, 60), 2: TradeSlippage(30, -30), 3: TradeSlippage(0, 0),
    }  # fmt: skip


def test_ledgers_turn_on_their_own() -> None:
    """Two strategies in one instrument: the exit of the first is not the second's, whoever filled in between."""
    fills = [
        FillPrice(0, 0, 1, 2, 100, 100, 2), FillPrice(1, 0, 2, 2, 100, 100, 2), FillPrice(0, 0, 3, -4, 99, 100, -2),
    ]  # fmt: skip
    assert slippage_by_trade(fills, [LINEAR]) == {
        1: TradeSlippage(0, 20), 2: TradeSlippage(), 3: TradeSlippage(20, 0),
    }  # fmt: skip


def test_inverse_slippage_is_of_the_values_that_the_ledger_books() -> None:
    """7 lots at 300 ticks: 7e6 / 300 = 23,333.3 -> 23,333; at 298: 23,489.9 -> 23,490. A buy pays 157 more."""
    assert slippage_by_trade([FillPrice(0, 0, 1, 7, 300, 298, 7)], [INVERSE]) == {1: TradeSlippage(157, 0)}
    assert slippage_by_trade([FillPrice(0, 0, 1, -7, 298, 300, -7)], [INVERSE]) == {1: TradeSlippage(157, 0)}


@pytest.mark.parametrize(
    ("above", "below", "quotient"),
    [(5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (11, 4, 3), (-11, 4, -3), (0, 9, 0), (10**40, 3, 10**40 // 3)],
)
def test_quotients_are_rounded_half_to_even(above: int, below: int, quotient: int) -> None:
    assert divided(above, below) == quotient
