"""Where fills were made by another model than the one that was asked for: lines of a run's log.

Each fill says its own model in `fills.parquet`; these lines count them, so that nobody takes a run for what it is not.
"""

from __future__ import annotations

import numpy as np

from engine.kernels import layout
from engine.reading import MODELS, view_as
from engine.replay import RunResult
from engine.settings import RunSettings

_BY_BOOK = (layout.MODEL_DEPTH, layout.MODEL_QUEUE, layout.MODEL_THROUGH)
_BY_SLIPPAGE = (layout.MODEL_BPS, layout.MODEL_TICKS, layout.MODEL_ATR, layout.MODEL_SPREAD)


def fallback_lines(settings: RunSettings, result: RunResult, *, is_book: bool) -> list[str]:
    """A line for each symbol and reason; `is_book`: orders were to meet a tape's order books."""
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    lines = []
    for index, scale in enumerate(result.scales):
        models = fills[fills["instrument"] == index]["detail"]
        symbol = scale.instrument.symbol
        slipped = np.isin(models, _BY_SLIPPAGE)
        if is_book and slipped.any():
            count = int(slipped.sum() + np.isin(models, _BY_BOOK).sum())
            by = ", ".join(f"{int((models == code).sum())} by {MODELS[code]}" for code in np.unique(models[slipped]))
            lines.append(
                f"{symbol}: {int(slipped.sum())} of {count} fills met no order book, so price and slippage are {by}"
            )
        fallen = int((models == layout.MODEL_BPS).sum())
        if fallen and settings.slippage.model == "atr":
            lines.append(
                f"{symbol}: slippage of {fallen} fills by {settings.slippage.bps:f} bps, as there was no ATR of"
                f" {settings.slippage.atr_length} bars yet"
            )
        if fallen and settings.slippage.model == "spread":
            lines.append(
                f"{symbol}: slippage of {fallen} fills by {settings.slippage.bps:f} bps, as no spread is known"
            )
    return lines
