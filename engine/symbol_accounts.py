"""What each symbol of a run did to the one account: its positions, its profit, its exposure, step by step.

Nothing is counted again: every change stands in the core's outputs, and between changes only the mark moves. All of
it is whole numbers, so the symbols' gains add up to the account's equity less its initial cash, to the unit, at every
step.
"""

from __future__ import annotations

from math import gcd

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import IntColumn
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import EventStream
from engine.settings import RunSettings
from engine.state import to_units

_INT64_MAX = 2**63 - 1
# Words of outputs that are read here.
_SEQ = 0
_HEAD, _ORDER, _LOTS, _PRICE, _BASE, _FEE, _PNL, _PAYMENT, _LEDGER_LOTS, _LEDGER_COST = 2, 3, 4, 5, 6, 7, 8, 6, 10, 11
_FILL_CASH, _FUNDING_CASH = 12, 7


class Timeline(msgspec.Struct, frozen=True):
    """The steps of a run, without its records.

    `step_stops[s]`: index after the last record of step s. `bar_steps[k][i]`: the step at whose end bar i of market k
    is known. `opens`: the BAR_OPEN records, a row each: index of the record, instrument, open in ticks.
    """

    step_stops: IntColumn
    bar_steps: tuple[IntColumn, ...]
    opens: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.step_stops)

    def steps_of(self, records: IntColumn) -> IntColumn:
        """The step that each record belongs to; what comes after the last step belongs to it."""
        steps = np.searchsorted(self.step_stops, records, side="right")
        found: IntColumn = np.minimum(steps, len(self) - 1).astype(np.int64)
        return found


class SymbolCurve(msgspec.Struct, frozen=True):
    """One row a step of the run, in cash units.

    `gain`: realised and floating profit less fees and funding, since the start. `exposure`: the notional of the
    net position. `margin`: what it binds.
    """

    gain: IntColumn
    exposure: IntColumn
    margin: IntColumn


class Moves(msgspec.Struct, frozen=True):
    """The fills and funding payments of a run, whole outputs in order, and the step at whose end each is first seen."""

    rows: NDArray[np.int64]
    is_fill: NDArray[np.bool_]
    steps: IntColumn


class Changes(msgspec.Struct, frozen=True):
    """What there was after each fill and each funding payment of one instrument, in order, strategies added up.

    `lots` and `cost` are of the net position, `cash` is profit realised less fees and funding, in cash units, `open`
    the count of strategies that hold a position. `steps`: the step, from 0, at whose end each is first seen.
    """

    steps: IntColumn
    lots: IntColumn
    cost: IntColumn
    cash: IntColumn
    open: IntColumn

    def at(self, column: IntColumn, steps: IntColumn) -> IntColumn:
        """The values of a column at the ends of steps; 0 before the first change."""
        return _after(self.steps, column, steps)


def timeline_of(stream: EventStream) -> Timeline:
    """What is kept of a stream of records when the run is over."""
    records = stream.records
    places = np.flatnonzero(records["kind"] == layout.BAR_OPEN)
    opened = records[places]
    opens = np.column_stack((places, opened["instrument"].astype(np.int64), opened["a"])).astype(np.int64)
    return Timeline(stream.step_stops, stream.bar_steps, opens)


def moves_of(outputs: NDArray[np.int64], timeline: Timeline) -> Moves:
    """Read the fills and funding payments out of a run's outputs."""
    kinds = outputs[:, _HEAD] & 0xFF
    rows = outputs[(kinds == layout.FILL_OUTPUT) | (kinds == layout.FUNDING_OUTPUT)]
    is_fill = rows[:, _HEAD] & 0xFF == layout.FILL_OUTPUT
    orders = outputs[(kinds == layout.ORDER_OUTPUT) & (outputs[:, _HEAD] >> 8 & 0xFF == layout.NEW)]
    highest = max((int(ids.max()) for ids in (orders[:, _ORDER], rows[is_fill, _ORDER]) if len(ids)), default=0)
    placed = np.zeros(highest + 1, dtype=np.int64)
    placed[orders[:, _ORDER]] = orders[:, _SEQ]
    # What is ordered at a step's end is ordered after the step was sampled, and so is what fills there and then.
    is_after = is_fill.copy()
    is_after[is_fill] = placed[rows[is_fill, _ORDER]] == rows[is_fill, _SEQ]
    steps = np.minimum(timeline.steps_of(rows[:, _SEQ] - 1) + is_after, len(timeline) - 1)
    return Moves(rows, is_fill, steps)


def changes_of(moves: Moves, instrument: int) -> Changes:
    """What an instrument's fills and funding payments made of it."""
    own = moves.rows[:, _HEAD] >> 48 == instrument
    rows, is_fill = moves.rows[own], moves.is_fill[own]
    cash = np.where(is_fill, rows[:, _PNL] - rows[:, _FEE], -rows[:, _PAYMENT])
    cost, opened = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    strategies = rows[:, _HEAD] >> 32 & 0xFFFF
    for strategy in np.unique(strategies):
        places = np.flatnonzero(is_fill & (strategies == strategy))
        cost[places] = np.diff(rows[places, _LEDGER_COST], prepend=0)
        opened[places] = np.diff((rows[places, _LEDGER_LOTS] != 0).astype(np.int64), prepend=0)
    return Changes(
        steps=moves.steps[own], lots=np.cumsum(np.where(is_fill, rows[:, _LOTS], 0)), cost=np.cumsum(cost),
        cash=np.cumsum(cash), open=np.cumsum(opened),
    )  # fmt: skip


def account_cash(moves: Moves) -> tuple[IntColumn, IntColumn]:
    """The account's cash after each fill and funding payment, and the step at whose end each is seen."""
    cash: IntColumn = np.where(moves.is_fill, moves.rows[:, _FILL_CASH], moves.rows[:, _FUNDING_CASH])
    return moves.steps, cash


def symbol_curve(
    moves: Moves, instrument: int, timeline: Timeline, described: Instrument, settings: RunSettings, closes: IntColumn
) -> SymbolCurve:  # fmt: skip
    """The curve of one instrument; `closes` are its bars' in ticks.

    Its last row is that of the account's curve: after positions were closed at the end, where they were.
    """
    changes = changes_of(moves, instrument)
    own = moves.is_fill & (moves.rows[:, _HEAD] >> 48 == instrument)
    fills, filled = moves.rows[own], moves.steps[own]
    steps = np.arange(len(timeline), dtype=np.int64)
    lots, cost, cash = (changes.at(column, steps) for column in (changes.lots, changes.cost, changes.cash))
    marks = _marks(fills, filled, instrument, timeline, closes)
    factor = described.value_factor(settings.cash_decimals)
    value = _values(lots, marks, factor, is_inverse=described.kind == "inverse")
    notional: IntColumn = np.abs(value)
    if described.kind == "spot":
        margin = notional
    elif settings.margin == "isolated":
        margin = _after(filled, _isolated_margins(fills, described, settings), steps)
    else:
        margin = _share(notional, layout.E12, to_units(settings.leverage, layout.E12, "leverage"))
    return SymbolCurve(cash + value - cost, notional, margin)


def _after(changed: IntColumn, values: IntColumn, steps: IntColumn) -> IntColumn:
    """The value after the last change up to each step; 0 before the first."""
    found: IntColumn = np.concatenate((np.zeros(1, dtype=np.int64), values))
    return found[np.searchsorted(changed, steps, side="right")]


def _isolated_margins(fills: NDArray[np.int64], described: Instrument, settings: RunSettings) -> IntColumn:
    """Isolated margin, fill by fill: what is closed releases its share, what is opened binds notional ÷ leverage."""
    factor = described.value_factor(settings.cash_decimals)
    leverage = to_units(settings.leverage, layout.E12, "leverage")
    is_inverse = described.kind == "inverse"
    net = margin = 0
    units = []
    for lots, ticks in fills[:, (_LOTS, _PRICE)].tolist():
        opening = abs(lots)
        if net != 0 and (net > 0) != (lots > 0):
            closed = min(opening, abs(net))
            margin -= _half_even(margin * closed, abs(net))
            opening -= closed
        if opening:
            notional = _half_even(opening * factor, ticks) if is_inverse else opening * ticks * factor
            margin += _half_even(notional * layout.E12, leverage)
        net += lots
        units.append(margin)
    return np.array(units, dtype=np.int64)


def _marks(
    fills: NDArray[np.int64], filled: IntColumn, instrument: int, timeline: Timeline, closes: IntColumn
) -> IntColumn:
    """The instrument's mark at the end of each step, in ticks; 1 before there is one.

    A step with a bar ends at its close. In others the last of an opening bar and of the fills counts, and without any
    the mark stays what it was.
    """
    count, bar_steps = len(timeline), timeline.bar_steps[instrument]
    marks = np.zeros(count, dtype=np.int64)
    if len(bar_steps) < count:
        own = timeline.opens[timeline.opens[:, 1] == instrument]
        records = np.concatenate((own[:, 0], fills[:, _SEQ] - 1))
        steps = np.concatenate((timeline.steps_of(own[:, 0]), filled))
        ticks = np.concatenate((own[:, 2], fills[:, _BASE]))
        order = np.argsort(records, kind="stable")  # a bar that opens is marked before what fills at its open
        marks[steps[order]] = ticks[order]
    marks[bar_steps] = closes
    if len(bar_steps) < count:
        last = np.maximum.accumulate(np.where(marks > 0, np.arange(count), 0))
        marks = np.maximum(marks[last], 1)
    return marks


def _values(lots: IntColumn, ticks: IntColumn, factor: int, *, is_inverse: bool) -> IntColumn:
    """What positions are worth in cash units, signed, as `engine/kernels/values.py` has it."""
    if not is_inverse:
        value: IntColumn = lots * ticks * factor
        return value
    return -np.sign(lots) * _rounded(*np.divmod(np.abs(lots) * factor, ticks), ticks)


def _share(amounts: IntColumn, numerator: int, denominator: int) -> IntColumn:
    """amounts·numerator ÷ denominator, rounded half to even; all of them at least 0."""
    common = gcd(numerator, denominator)
    numerator, denominator = numerator // common, denominator // common
    if denominator == 1 and numerator == 1:
        return amounts
    if not len(amounts) or int(amounts.max()) * numerator <= _INT64_MAX:
        divisor = np.full(1, denominator, dtype=np.int64)
        return _rounded(*np.divmod(amounts * numerator, divisor), divisor)
    exact = [_half_even(amount * numerator, denominator) for amount in amounts.tolist()]
    return np.array(exact, dtype=np.int64)


def _rounded(quotients: IntColumn, remainders: IntColumn, divisors: IntColumn) -> IntColumn:
    rest = divisors - remainders
    is_up = (remainders > rest) | ((remainders == rest) & (quotients & 1 == 1))
    rounded: IntColumn = quotients + is_up
    return rounded


def _half_even(dividend: int, divisor: int) -> int:
    """A quotient of whole numbers (divisor above 0, dividend at least 0), rounded half to even."""
    quotient, remainder = divmod(dividend, divisor)
    rest = divisor - remainder
    return quotient + (remainder > rest or (remainder == rest and quotient & 1 == 1))
