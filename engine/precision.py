"""Floats as the venue printed them, into whole ticks and lots.

A venue prints decimals, a file holds the doubles nearest to them. As long as a double has digits to spare
there is one decimal of a given length that it can stand for, so the way back to integers is exact, not a
guess.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn, IntColumn
from engine.errors import CapacityError, DataError

Rounding = Literal["exact", "nearest", "floor"]

MOST_DECIMALS = 10
UNITS_MAX = 2**62

_CHUNK_ROWS = 16_384
_EXACT_INTEGERS = 2.0**53
# Below this a quotient of two roundings is off by far less than half a unit, so rint() is the exact answer.
_FAST_UNITS = 2.0**45
_TOLERANCE_UNITS = 1e-6
# Four times the error of a double and the two roundings that lead to its quotient.
_TOLERANCE_RELATIVE = 2.0**-50


def infer_decimals(values: FloatColumn, most: int = MOST_DECIMALS, noise_ulps: int = 0) -> int:
    """Find the fewest decimals d <= `most` of which every value is the nearest double.

    `most` where no number of decimals up to it does (values that were calculated, or are not finite). The
    test is exact: n / 10**d rounds once, as n < 2**53 and 10**d (d <= 22) are both doubles. From 2**53
    units on the doubles lie further apart than the decimals, so that every one is the nearest to some
    decimal. `noise_ulps` lets a value miss that double by so many neighbours, for files whose writer added
    floats up.
    """
    assert 0 <= most <= 22
    decimals = 0
    for start in range(0, len(values), _CHUNK_ROWS):
        chunk = values[start : start + _CHUNK_ROWS]
        while decimals < most and not _has_decimals(chunk, decimals, noise_ulps):
            decimals += 1
    return decimals


def infer_unit(*columns: FloatColumn, most: int = MOST_DECIMALS, noise_ulps: int = 0) -> Decimal:
    """Find the decimal step that all columns share, such as 0.01: a tick from prices, a lot from sizes."""
    return Decimal(1).scaleb(-max(infer_decimals(column, most, noise_ulps) for column in columns))


def to_units(values: FloatColumn, unit: Decimal, what: str, rounding: Rounding = "exact") -> IntColumn:
    """Values as whole numbers of `unit` (int64, same length); `what` names the column in errors.

    exact: a value may miss a whole multiple by 1e-6 of a unit, or by what a double cannot hold; more raises
    DataError naming the first such row (counted from 1). nearest: half to even. floor: whole multiples that
    the value holds. Where a quotient has no fraction left in double precision it is computed in fractions.
    Raises CapacityError beyond 2**62 units, DataError for a value that is not finite.
    """
    ratio = Fraction(unit)
    assert ratio > 0, f"{what}: a unit of {unit}"
    _refuse_not_finite(values, what)
    units = np.empty(len(values), dtype=np.int64)
    for start in range(0, len(values), _CHUNK_ROWS):  # what is made on the way stays in the processor's cache
        stop = start + _CHUNK_ROWS
        units[start:stop] = _chunk_to_units(values[start:stop], ratio, unit, _Place(what, start), rounding)
    return units


class _Place(NamedTuple):
    """A part of a column: the column's name, and the row that the part begins with, from 0."""

    what: str
    start: int

    def row(self, index: int) -> str:
        """How errors name a row of the part."""
        return f"{self.what}: row {self.start + index + 1}"


def _chunk_to_units(
    values: FloatColumn, ratio: Fraction, unit: Decimal, place: _Place, rounding: Rounding
) -> IntColumn:  # fmt: skip
    with np.errstate(over="ignore"):
        quotients = values * float(ratio.denominator)
        if ratio.numerator != 1:
            quotients /= float(ratio.numerator)
    magnitude = float(np.abs(quotients).max())
    if magnitude > UNITS_MAX * 1.000001:
        raise _too_many_units(values, quotients, unit, place)
    whole = np.rint(quotients)
    misses = np.abs(quotients - whole) > _TOLERANCE_UNITS + np.abs(whole) * _TOLERANCE_RELATIVE
    if rounding == "exact" and misses.any():
        row = int(np.argmax(misses))
        raise DataError(
            f"{place.row(row)} holds {float(values[row])!r}, which is no whole multiple of {unit}",
            remedy="Give a finer tick or lot for the symbol, or leave it out: it is then inferred.",
        )
    if rounding == "floor":
        whole = np.where(misses, np.floor(quotients), whole)
    units = whole.astype(np.int64)
    if magnitude >= _FAST_UNITS:
        _replace_large(units, values, quotients, ratio, rounding)
    if magnitude > UNITS_MAX * 0.999999 and int(np.abs(units).max()) > UNITS_MAX:
        raise _too_many_units(values, quotients, unit, place)
    return units


def _has_decimals(values: FloatColumn, decimals: int, noise_ulps: int) -> bool:
    scale = 10.0**decimals
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.rint(values * scale)
        nearest = units / scale
        fits: NDArray[np.bool_] = (nearest == values) & np.isfinite(values)
        if noise_ulps and not fits.all():
            fits |= np.abs(nearest - values) <= noise_ulps * np.spacing(np.abs(values))
        if not fits.all():
            fits |= (np.abs(units) >= _EXACT_INTEGERS) & np.isfinite(values)
            # Where doubles lie half a unit apart the product may have been rounded to a tie, and away by rint().
            for neighbour in (units - 1.0, units + 1.0):
                fits |= (neighbour / scale == values) & (np.abs(units) < _EXACT_INTEGERS)
    return bool(fits.all())


def _replace_large(
    units: IntColumn, values: FloatColumn, quotients: FloatColumn, ratio: Fraction, rounding: Rounding
) -> None:
    """Overwrite, in place, the units too many for double arithmetic by exact ones."""
    for row in np.flatnonzero(np.abs(quotients) >= _FAST_UNITS):
        exact = Fraction(float(values[row])) / ratio
        nearest = round(exact)
        close = abs(exact - nearest) <= _TOLERANCE_UNITS + abs(nearest) * _TOLERANCE_RELATIVE
        units[row] = nearest if rounding != "floor" or close else exact.__floor__()


def _refuse_not_finite(values: FloatColumn, what: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"{what}: row {row + 1} holds {float(values[row])!r}, which is no number",
            remedy="Run `tapewright data check` on the file, and import it again with --repair.",
        )


def _too_many_units(values: FloatColumn, quotients: FloatColumn, unit: Decimal, place: _Place) -> CapacityError:
    row = int(np.argmax(np.abs(quotients)))
    return CapacityError(
        f"{place.row(row)} holds {float(values[row])!r}, which is more than 2**62 units of {unit}",
        remedy="Give a coarser tick or lot for the symbol.",
    )
