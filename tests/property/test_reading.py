"""A trade read row by row is, to the bit, what whole columns of doubles give."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from numpy.typing import NDArray

from engine.figures.trades import Trade
from engine.instruments import Instrument
from engine.kernels import layout
from engine.reading import Scale, scale_of, trades_of

CASH_DECIMALS = 8
SCALES = tuple(
    scale_of(Instrument(symbol, Decimal(tick), Decimal(lot), kind=kind, multiplier=Decimal(multiplier)), CASH_DECIMALS)  # type: ignore[arg-type]
    for symbol, tick, lot, kind, multiplier in (
        ("CENTS", "0.01", "0.001", "linear", "1"),
        ("ODD", "0.03", "0.1", "linear", "1"),
        ("WHOLE", "5", "1", "spot", "1"),
        ("INVERSE", "0.5", "1", "inverse", "100"),
    )
)  # fmt: skip
NAMES = ("first", "second")
AMOUNTS = some.one_of(some.integers(-1_000, 1_000), some.integers(-(2**60), 2**60))
WORTH = some.one_of(some.integers(0, 1_000), some.integers(0, 2**62))


@some.composite
def trade_rows(draw: some.DrawFn) -> list[int]:
    """A TRADE output with any numbers in it."""
    instrument, strategy = draw(some.integers(0, len(SCALES) - 1)), draw(some.integers(0, len(NAMES) - 1))
    reason = draw(some.sampled_from([0, layout.BY_END, layout.BY_LIQUIDATION, layout.BY_HALT]))
    head = layout.TRADE_OUTPUT | reason << 16 | strategy << 32 | instrument << 48
    most = draw(some.integers(-(2**40), 2**40).filter(bool))
    money = [draw(AMOUNTS) for _ in range(5)]
    return [1, draw(WORTH), head, 1, draw(some.integers(1, 50)), most, draw(WORTH), draw(WORTH), draw(WORTH),
            draw(WORTH), *money, draw(some.integers(0, 10**6))]  # fmt: skip


def prices(values: NDArray[np.int64], lots: NDArray[np.int64], scale: Scale) -> Any:
    """Average prices by whole columns."""
    factor = scale.instrument.value_factor(scale.cash_decimals)
    contracts = lots.astype(np.float64) * factor
    ticks = contracts / values if scale.instrument.kind == "inverse" else values / contracts
    per_unit = 1 / scale.instrument.tick_size
    return ticks / float(per_unit) if per_unit == per_unit.to_integral_value() else ticks * scale.tick


def expected_of(row: list[int]) -> Trade:
    """The trade of a row, by columns of one."""
    columns = np.array([row]).view(layout.TRADE_VIEW).reshape(-1)
    scale = SCALES[int(columns["instrument"][0])]
    pnl = columns["gross"] - columns["fees"] - columns["funding"]
    with np.errstate(divide="ignore", invalid="ignore"):
        percents = [100.0 * (each / columns["entry_value"]) for each in (pnl, columns["mae"], columns["mfe"])]
        entry, left = (
            prices(columns[f"{name}_value"], columns["lots_entered"], scale).item() for name in ("entry", "exit")
        )

    def money(name: str) -> Decimal:
        return Decimal(columns[name].item()).scaleb(-CASH_DECIMALS)

    most = columns["lots_most"].item()
    return Trade(
        trade_id=columns["trade_id"].item(), strategy=NAMES[columns["strategy"][0]], symbol=scale.instrument.symbol,
        side="long" if most > 0 else "short", entry_ts_ns=columns["entry_ts_ns"].item(),
        exit_ts_ns=columns["ts_ns"].item(), entry_price=entry, exit_price=left,
        size=abs(most) * scale.instrument.lot_size, gross_pnl=money("gross"), fees=money("fees"),
        funding=money("funding"), pnl=Decimal(pnl.item()).scaleb(-CASH_DECIMALS), pnl_percent=percents[0].item(),
        mae=money("mae"), mfe=money("mfe"), mae_percent=percents[1].item(), mfe_percent=percents[2].item(),
        mae_r=None, mfe_r=None, bars_held=columns["bars_held"].item(), fills=0,
        exit_reason={0: "order", layout.BY_END: "end", layout.BY_LIQUIDATION: "liquidation"}.get(
            columns["reason"].item(), "guard"),  # type: ignore[arg-type]
    )  # fmt: skip


@given(rows=some.lists(trade_rows(), max_size=4))
def test_trades_are_read_as_by_columns(rows: list[list[int]]) -> None:
    outputs = np.array(rows, dtype=np.int64).reshape(-1, layout.OUTPUT_WORDS)
    found = trades_of(outputs, SCALES, NAMES)
    assert list(map(repr, found)) == [repr(expected_of(row)) for row in rows]  # repr: NaN is equal to itself there


@pytest.mark.parametrize(
    ("kind", "entry_value", "entered", "entry_price"),
    [("linear", 0, 7, "0.0"), ("linear", 7, 0, "inf"), ("inverse", 0, 7, "inf"), ("inverse", 0, 0, "nan")],
)
def test_of_nothing_a_price_is_what_doubles_say(kind: str, entry_value: int, entered: int, entry_price: str) -> None:
    index = {"linear": 0, "inverse": 3}[kind]
    head = layout.TRADE_OUTPUT | index << 48
    row = [1, 2, head, 1, 1, 5, entered, 1, entry_value, 9, 3, 0, 0, -1, 1, 4]
    (trade,) = trades_of(np.array([row]), SCALES, NAMES)
    assert repr(trade.entry_price) == entry_price
    assert repr(trade) == repr(expected_of(row))
