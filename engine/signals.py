"""What `signals(ctx)` returned, as requests to the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.ctx import whole_lots
from engine.errors import StrategyError
from engine.kernels import layout
from engine.reading import Scale


def signal_requests(
    found: Mapping[str, Any], strategy: int, market: int, scale: Scale, bar_steps: NDArray[np.int64], first: int = 0
) -> NDArray[Any]:
    """What `signals(ctx)` returned, as requests.

    Either `buy` and `sell` (arrays of bool, one value a bar) with `size` (units, one number or one a bar), each a
    market order at the bar's close; or `target` (units to hold from the bar on, signed; NaN leaves things as they are).
    The values of the `first` bars, which are from before the run, count for nothing. Raises StrategyError where the
    arrays do not fit the bars.
    """
    count = first + len(bar_steps)
    unknown = set(found) - {"buy", "sell", "size", "target"}
    if unknown or ("target" in found) == ("buy" in found or "sell" in found):
        raise StrategyError(
            f"signals() returned {', '.join(sorted(found)) or 'nothing'}",
            remedy='Return {"buy": ..., "sell": ..., "size": ...} or {"target": ...}, arrays with one value a bar.',
        )
    for name, values in found.items():
        if name != "size" and np.shape(values) != (count,):
            raise StrategyError(
                f"signals(): {name} has shape {np.shape(values)}, the market has {count} bars",
                remedy="Return one value for each bar.",
            )
    if "target" in found:
        target = np.asarray(found["target"], dtype=np.float64)[first:]
        return _target_requests(target, strategy, market, scale, bar_steps)
    none = np.zeros(count, dtype=bool)
    buy, sell = (np.asarray(found.get(name, none), dtype=bool)[first:] for name in ("buy", "sell"))
    places = np.nonzero(buy | sell)[0]
    sides = np.subtract(buy[places], sell[places], dtype=np.int64)
    size = found.get("size", 1.0)
    lots = whole_lots(float(size), scale) if np.ndim(size) == 0 else _lots_of(np.asarray(size)[first + places], scale)
    return _requests(layout.ORDER_REQUEST, strategy, market, bar_steps[places], sides * lots)


def _lots_of(units: NDArray[np.float64], scale: Scale) -> NDArray[np.int64]:
    quotients = units / scale.lot
    nearest = np.rint(quotients)
    return np.where(np.abs(quotients - nearest) <= 1e-6, nearest, np.floor(quotients)).astype(np.int64)


def _target_requests(
    target: NDArray[np.float64], strategy: int, market: int, scale: Scale, bar_steps: NDArray[np.int64]
) -> NDArray[Any]:
    lots = np.sign(np.nan_to_num(target)).astype(np.int64) * _lots_of(np.abs(np.nan_to_num(target)), scale)
    places = np.nonzero(~np.isnan(target))[0]
    changed = np.ones(len(places), dtype=bool)
    changed[1:] = lots[places][1:] != lots[places][:-1]
    places = places[changed]
    return _requests(layout.TARGET_REQUEST, strategy, market, bar_steps[places], lots[places])


def _requests(kind: int, strategy: int, market: int, steps: NDArray[np.int64], lots: NDArray[np.int64]) -> NDArray[Any]:
    common = np.zeros(1, dtype=layout.REQUEST)
    common["kind"], common["type"], common["tif"] = kind, layout.MARKET, layout.GTC
    common["strategy"], common["instrument"] = strategy, market
    requests = np.repeat(common, len(steps))  # in one go: each field written by itself goes through them all
    requests["step"], requests["lots"] = steps + 1, lots
    return requests
