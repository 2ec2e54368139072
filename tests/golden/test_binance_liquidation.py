"""Binance's published liquidation prices, out of the engine's own margin code: real fills, then bars that walk down.

A position is liquidated at the first tick, on the way of the price, at which what stands behind it (account or
isolated margin, with its floating result) is no more than its maintenance margin. The published prices are the
exact crossing rounded to the nearest cent. A long falls towards it, so with ticks of a cent the engine's price is the
crossing rounded down: two of the four are one cent below the published number, as one cent higher the position
still holds. With ticks of a hundredth of a cent the engine's price, rounded to the cent, is the published one in
all four cases.

No cash has to be coarser than 10^-8 for these sizes (the notionals are under 10^7). In the isolated cases the
wallet balance is the position's margin, which the engine books as notional ÷ leverage: with six decimals of cash
it comes out to the unit, with seven within three units, which is nothing beside a tick.
"""

from __future__ import annotations

import json
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.core import Engine
from engine.instruments import Instrument
from engine.kernels import layout
from engine.kernels.compile import kernel
from engine.kernels.liquidation import first_liquidated_tick, is_liquidated_at
from engine.reading import view_as
from engine.settings import MarginTier, RunSettings

GOLDEN = Path(__file__).parents[2].parent / "shared" / "data" / "golden"
LOT = Decimal("0.001")
HOUR_NS = 3_600 * 10**9


class Held(msgspec.Struct, frozen=True):
    """A long position: where it was entered, where it is marked, and its maintenance tier."""

    symbol: str
    entry: Decimal
    amount: Decimal
    mark: Decimal
    rate: Decimal
    deduction: Decimal


class Case(msgspec.Struct, frozen=True):
    """The position that is liquidated, the others of the account, and the wallet balance behind them."""

    margin: str
    wallet: Decimal
    held: Held
    others: tuple[Held, ...] = ()

    @property
    def crossing(self) -> Fraction:
        """The exact price at which margin equals maintenance: (WB − TMM + UPNL + cum − q·entry) ÷ (q·mmr − q)."""
        amount, entry = Fraction(self.held.amount), Fraction(self.held.entry)
        behind = Fraction(self.wallet) + Fraction(self.held.deduction) - amount * entry
        for other in self.others:
            notional = Fraction(other.amount) * Fraction(other.mark)
            behind -= notional * Fraction(other.rate) - Fraction(other.deduction)
            behind += Fraction(other.amount) * (Fraction(other.mark) - Fraction(other.entry))
        return behind / (amount * Fraction(self.held.rate) - amount)


def bar(index: int, step: int, prices: tuple[Decimal, Decimal, Decimal, Decimal], tick: Decimal) -> NDArray[Any]:
    record = np.zeros(1, dtype=layout.RECORD)
    record["kind"], record["instrument"] = layout.BAR, index
    record["ts_exchange_ns"], record["ts_receive_ns"] = step * HOUR_NS, (step + 1) * HOUR_NS
    for field, price in zip("abcd", prices, strict=True):
        assert price % tick == 0
        record[field] = int(price / tick)
    return record


class Walk:
    """An engine that holds a case's positions, entered by market orders at the opens of bars, without fees."""

    def __init__(self, case: Case, tick: Decimal, cash_decimals: int) -> None:
        self.case, self.tick = case, tick
        self.positions = (case.held, *case.others)
        instruments = [
            Instrument(held.symbol, tick, LOT, tiers=(MarginTier(Decimal(0), held.rate, held.deduction),))
            for held in self.positions
        ]
        is_isolated = case.margin == "isolated"
        notional = case.held.amount * case.held.entry
        # Isolated: the wallet balance is the margin of the position, and the account has more than that.
        settings = RunSettings(
            initial_cash=2 * case.wallet if is_isolated else case.wallet,
            cash_decimals=cash_decimals,
            leverage=notional / case.wallet if is_isolated else Decimal(20),
            margin="isolated" if is_isolated else "cross",
        )
        self.engine = Engine(settings, instruments)
        self.step = 0
        for _ in range(2):  # orders need a price to be sent, and fill at the next open
            self.bars({index: (held.entry,) * 4 for index, held in enumerate(self.positions)})
            if self.step == 1:
                requests = np.zeros(len(self.positions), dtype=layout.REQUEST)
                requests["kind"], requests["type"], requests["tif"] = layout.ORDER_REQUEST, layout.MARKET, layout.GTC
                requests["instrument"] = np.arange(len(self.positions))
                requests["lots"] = [int(held.amount / LOT) for held in self.positions]
                self.engine.submit(requests)
        # Then each market moves to its mark.
        marks = {index: (held.entry, held.entry, held.mark, held.mark) for index, held in enumerate(self.positions)}
        self.bars(marks)

    def bars(self, prices: dict[int, tuple[Decimal, Decimal, Decimal, Decimal]]) -> None:
        """Feed one bar (open, high, low, close) for each instrument given: a step."""
        records = np.concatenate([bar(index, self.step, four, self.tick) for index, four in prices.items()])
        records["flags"][-1] = layout.LAST
        self.engine.advance(records, 0, len(records))
        self.step += 1

    def down(self, size: Decimal, lowest: Decimal) -> tuple[Decimal, Decimal]:
        """Let the price fall by `size` a bar until the position is liquidated: the price, and that bar's low."""
        price = self.case.held.mark
        while price > lowest:
            flat = {index: (held.mark,) * 4 for index, held in enumerate(self.positions) if index}
            self.bars({0: (price, price, price - size, price - size), **flat})
            price -= size
            risks = view_as(self.engine.outputs(), layout.RISK_OUTPUT, layout.RISK_VIEW)
            if len(risks):
                assert risks["state"].tolist() == [0]
                assert risks["reason"].tolist() == [layout.RISK_LIQUIDATION]
                assert risks["instrument"].tolist() == [0]
                return int(risks["value"][0]) * self.tick, price
        raise AssertionError("never liquidated")


def published() -> list[tuple[Case, Decimal]]:
    path = GOLDEN / "binance_liquidation_price.expected.json"
    if not path.exists():
        pytest.skip(f"real data is absent: {path.name} under ../shared/data/golden")
    found = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)

    def held(row: dict[str, Any]) -> Held:
        return Held(row["pair"], row["entry"], row["amount"], row["mark"], row["mmr"], row["cum"])

    return [
        (
            Case(
                row["margin"], found["wallet_balance"], held(row["position"]), tuple(map(held, row.get("others", ())))
            ),
            row["expected"],
        )
        for row in found["cases"]
    ]


def rounded_down(price: Fraction, tick: Decimal) -> Decimal:
    return (price / Fraction(tick)).__floor__() * tick


@pytest.mark.real_data
@pytest.mark.parametrize(("tick", "cash_decimals"), [("0.01", 6), ("0.0001", 7)])
@pytest.mark.parametrize("number", range(4))
def test_published_prices(number: int, tick: str, cash_decimals: int) -> None:
    case, expected = published()[number]
    walk = Walk(case, Decimal(tick), cash_decimals)
    figures, instrument = walk.engine.state.core[0], walk.engine.state.instruments[0]
    assert instrument["net_lots"] == int(case.held.amount / LOT)
    assert int(figures["cash"]) == int(walk.engine.settings.initial_cash.scaleb(cash_decimals))
    if case.margin == "isolated":
        margin = int(case.wallet.scaleb(cash_decimals))
        assert abs(int(instrument["isolated_margin"]) - margin) <= (0 if cash_decimals == 6 else 3)
    liquidated, low = walk.down(Decimal("7.13"), expected - 100)
    assert liquidated == rounded_down(case.crossing, Decimal(tick))
    assert low <= liquidated < low + Decimal("7.13")
    cents = Decimal("0.01")
    if tick == "0.0001":
        assert liquidated.quantize(cents) == expected
    else:
        assert liquidated.quantize(cents, ROUND_FLOOR) in {expected, expected - cents}
        assert round(case.crossing * 100) == expected * 100
    assert not walk.engine.state.ledgers["lots"][0]


# An account of 10,000 that is long 10 at 3,000 (20,000 borrowed), maintenance 1 %: it holds until
# 10,000 + 10·(p − 3,000) = 0.01·10·p, which is p = 20,000 ÷ 9.9 = 2,020.2020…; and with a second position like it
# that has lost 1,000 (10 at 2,900, maintenance 290), 8,710 are left: p = 21,290 ÷ 9.9 = 2,150.5050…
MADE_UP = Held("ONE", Decimal(3_000), Decimal(10), Decimal(2_950), Decimal("0.01"), Decimal(0))
OTHER = Held("TWO", Decimal(3_000), Decimal(10), Decimal(2_900), Decimal("0.01"), Decimal(0))
BY_HAND = [
    (Case("cross", Decimal(10_000), MADE_UP), Decimal("2020.20")),
    (Case("isolated", Decimal(10_000), MADE_UP), Decimal("2020.20")),
    (Case("cross", Decimal(10_000), MADE_UP, (OTHER,)), Decimal("2150.50")),
]


@pytest.mark.parametrize(("case", "expected"), BY_HAND)
@pytest.mark.parametrize("size", ["0.01", "3", "400"])
def test_prices_worked_out_by_hand(case: Case, expected: Decimal, size: str) -> None:
    # However large the bars are in which the price falls: a bar's low below the crossing finds the same tick.
    walk = Walk(case, Decimal("0.01"), 8)
    if size == "0.01":  # down to the last tick at which it holds, then tick by tick
        walk.bars({0: (case.held.mark, case.held.mark, expected + Decimal("0.05"), expected + Decimal("0.05"))})
        walk.case = msgspec.structs.replace(
            case, held=msgspec.structs.replace(case.held, mark=expected + Decimal("0.05"))
        )
        assert not len(view_as(walk.engine.outputs(), layout.RISK_OUTPUT, layout.RISK_VIEW))
    liquidated, _ = walk.down(Decimal(size), expected - 500)
    assert liquidated == expected == rounded_down(case.crossing, Decimal("0.01"))


@kernel
def is_gone_at(state: Any, ticks: int) -> bool:
    """The margin code has no way in from Python of its own; instrument 0."""
    return is_liquidated_at(state[0], 0, ticks)


@kernel
def first_gone(state: Any, start: int, extreme: int) -> int:
    return first_liquidated_tick(state[0], 0, start, extreme)


@pytest.mark.parametrize(("case", "expected"), BY_HAND)
def test_the_margin_code_says_the_same_at_every_tick_around_it(case: Case, expected: Decimal) -> None:
    walk = Walk(case, Decimal("0.01"), 8)
    state, tick = walk.engine.state.core, int(expected * 100)
    assert [is_gone_at(state, tick + off) for off in range(3, -4, -1)] == [False] * 3 + [True] * 4
    for start, extreme in ((295_000, 1), (295_000, tick), (tick + 1, tick), (tick, 1)):
        assert first_gone(state, start, extreme) == tick
    assert first_gone(state, tick - 7, 1) == tick - 7  # already gone where it starts
