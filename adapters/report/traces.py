"""What orders left behind on a chart: a marker for each fill, a level for each order with a price of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.report.schema import LEVEL_ENDS, LEVEL_KINDS, MARKER_KINDS
from engine.kernels import layout
from engine.reading import kinds_of, view_as
from engine.replay import RunResult

ENTRY, EXIT, TURN = (MARKER_KINDS.index(kind) for kind in ("entry", "exit", "turn"))
STOP_LEVEL, TARGET_LEVEL, ENTRY_LEVEL = (LEVEL_KINDS.index(kind) for kind in ("stop", "target", "entry"))
_ENDS = {
    layout.FILLED: LEVEL_ENDS.index("filled"), layout.CANCELED: LEVEL_ENDS.index("canceled"),
    layout.EXPIRED: LEVEL_ENDS.index("expired"), layout.REJECTED: LEVEL_ENDS.index("rejected"),
}  # fmt: skip
LEVELS_MAX = 50_000


class Level(msgspec.Struct):
    """An order's price on the chart, as long as the order stood."""

    symbol: int
    strategy: int
    kind: int
    ticks: int
    start_ns: int
    end_ns: int
    ended: int
    trade: int
    lots: int
    is_decided: bool = False


def fills_of(result: RunResult) -> NDArray[Any]:
    """The fills, as records with names."""
    return view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)


def marker_kinds(fills: NDArray[Any]) -> NDArray[np.int64]:
    """What each fill did to its position: opened or grew it, made it smaller, or turned it."""
    after = fills["ledger_lots"]
    before = after - fills["lots"]
    return np.where(before * np.sign(after) < 0, TURN, np.where(np.abs(after) > np.abs(before), ENTRY, EXIT))


def levels_of(result: RunResult, end_ns: int) -> tuple[list[Level], int]:
    """Levels in the order in which they began, and how many were left out above `LEVELS_MAX`.

    An order that would make a position smaller is a stop or a target; one placed beside its entry is decided
    when the entry has filled. What stands at the end ends there.
    """
    kinds = kinds_of(result.outputs)
    chosen = result.outputs[(kinds == layout.ORDER_OUTPUT) | (kinds == layout.FILL_OUTPUT)]
    follower = _Follower()
    for row in chosen.tolist():
        follower.follow(row)
    levels = _joined(follower.finish(end_ns))
    if len(levels) <= LEVELS_MAX:
        return levels, 0
    # What filled made trades, so it stays before what did not.
    weights = sorted(range(len(levels)), key=lambda place: levels[place].ended != _ENDS[layout.FILLED])
    kept = sorted(weights[:LEVELS_MAX])
    return [levels[place] for place in kept], len(levels) - LEVELS_MAX


class _Follower:
    """Follows orders and positions through the outputs."""

    def __init__(self) -> None:
        self._working: dict[int, Level] = {}
        self._done: list[Level] = []
        self._held: dict[tuple[int, int], tuple[int, int]] = {}

    def follow(self, row: list[int]) -> None:
        head, ts_ns = row[2], row[1]
        state, ledger = (head >> 8) & 0xFF, ((head >> 32) & 0xFFFF, (head >> 48) & 0xFFFF)
        if head & 0xFF == layout.FILL_OUTPUT:
            lots_after, trade = row[10], row[13]
            if lots_after or ledger not in self._held:
                self._held[ledger] = (lots_after, trade)
            for level in self._working.values():
                if (level.strategy, level.symbol) == ledger and not level.is_decided:
                    self._decide(level, ledger)
            self._end(row[3], state, ts_ns)
            if not lots_after:
                self._held.pop(ledger, None)
            return
        if state == layout.NEW and (row[6] or row[7]):
            is_stop = bool(row[7])
            level = Level(
                symbol=ledger[1], strategy=ledger[0], kind=STOP_LEVEL if is_stop else TARGET_LEVEL,
                ticks=row[7] if is_stop else row[6], start_ns=ts_ns, end_ns=ts_ns, ended=0, trade=-1, lots=row[4],
            )  # fmt: skip
            self._decide(level, ledger)
            self._working[row[3]] = level
        self._end(row[3], state, ts_ns)

    def finish(self, end_ns: int) -> list[Level]:
        """Every level, those that still stand too."""
        for level in self._working.values():
            level.end_ns = end_ns
            self._done.append(level)
        for level in self._done:
            if not level.is_decided:
                level.kind = ENTRY_LEVEL
        shown = [level for level in self._done if level.ended != _ENDS[layout.REJECTED]]
        return sorted(shown, key=lambda level: (level.start_ns, level.strategy, level.symbol))

    def _decide(self, level: Level, ledger: tuple[int, int]) -> None:
        held, trade = self._held.get(ledger, (0, -1))
        if held and (held > 0) != (level.lots > 0):
            level.is_decided, level.trade = True, trade

    def _end(self, order_id: int, state: int, ts_ns: int) -> None:
        if state in _ENDS and order_id in self._working:
            level = self._working.pop(order_id)
            level.end_ns, level.ended = ts_ns, _ENDS[state]
            self._done.append(level)


def _joined(levels: list[Level]) -> list[Level]:
    """Levels of one kind and price that follow each other at once become one."""
    found: list[Level] = []
    latest: dict[tuple[int, int, int, int, int], Level] = {}
    for level in levels:
        place = (level.strategy, level.symbol, level.kind, level.trade, level.ticks)
        before = latest.get(place)
        if before is not None and before.end_ns >= level.start_ns:
            before.end_ns, before.ended = max(before.end_ns, level.end_ns), level.ended
        else:
            latest[place] = level
            found.append(level)
    return found
