"""What fills cost beside their base prices: half the spread, where the run models one, and slippage apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.figures.slippage import ValueUnits
from engine.kernels import layout
from engine.reading import Scale, view_as
from engine.settings import Slippage

_HALF_BPS = 2 * 10_000


class FillCosts(msgspec.Struct, frozen=True):
    """Cash units lost to the spread and to slippage by all fills of a run."""

    spread: int = 0
    slippage: int = 0


def fill_costs(outputs: NDArray[np.int64], scales: Sequence[Scale], slippage: Slippage) -> FillCosts:
    """Spread and slippage of a run; together exactly value at the fills' prices less value at their base prices.

    A fill by the model `spread` pays half the configured spread first; whatever it fills worse than that is slippage,
    as is everything of the other models. Where a limit held the price, the spread is what there was.
    """
    fills = view_as(outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    fills = fills[fills["price_ticks"] != fills["base_ticks"]]
    spread = slipped = 0
    for index, scale in enumerate(scales):
        own = fills[fills["instrument"] == index]
        units = ValueUnits(scale.instrument.kind, scale.instrument.value_factor(scale.cash_decimals))
        gaps = own["price_ticks"] - own["base_ticks"]
        halves = np.where(own["detail"] == layout.MODEL_SPREAD, _half_ticks(own["base_ticks"], slippage), 0)
        within = own["base_ticks"] + np.sign(gaps) * np.minimum(halves, np.abs(gaps))
        all_of_it = _cost(own, own["price_ticks"], units)
        of_spread = _cost(own, within, units) if halves.any() else 0
        spread += of_spread
        slipped += all_of_it - of_spread
    return FillCosts(spread, slipped)


def _half_ticks(base_ticks: NDArray[np.int64], slippage: Slippage) -> NDArray[np.int64]:
    """Half the configured spread at each base price, rounded up to whole ticks as the core does."""
    if slippage.model != "spread":
        return np.zeros(len(base_ticks), dtype=np.int64)
    if slippage.spread_ticks > 0:
        return np.full(len(base_ticks), (slippage.spread_ticks + 1) // 2, dtype=np.int64)
    numerator, denominator = (slippage.spread_bps / _HALF_BPS).as_integer_ratio()
    halves = [-(-base * numerator // denominator) for base in base_ticks.tolist()]
    return np.array(halves, dtype=np.int64)


def _cost(fills: NDArray[Any], ticks: NDArray[np.int64], units: ValueUnits) -> int:
    """What filling at `ticks` in place of the base price costs, in cash units, as the ledger books values."""
    if units.kind == "inverse":
        rows = zip(fills["lots"].tolist(), ticks.tolist(), fills["base_ticks"].tolist(), strict=True)
        return sum(units.value(lots, price) - units.value(lots, base) for lots, price, base in rows)
    products: list[int] = ((ticks - fills["base_ticks"]) * fills["lots"]).tolist()
    return sum(products) * units.factor
