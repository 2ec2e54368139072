"""Decimal text to whole ticks and lots, exactly: no float in between, and each text parsed once.

A book says the same prices and sizes over and over, so a `Grid` is a dict that fills itself: looking a text up costs
as much as a dict does.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from adapters.captures.report import Reason, RejectedError
from engine.kernels.layout import MICRO, VALUE_LIMIT

_TEXTS_MOST = 1 << 18  # a bound on memory; a day of a liquid market says fewer prices, and forgetting costs little
_DECIMALS_MOST = 18


class Grid(dict[str, int]):
    """Texts of prices or sizes as whole multiples of `unit`; raises RejectedError for a text that is none.

    `grid[text]` is the integer. Zero is a value where `is_zero_allowed`: the size of a level that is gone.
    """

    def __init__(self, unit: Decimal, *, off_grid: Reason, is_zero_allowed: bool) -> None:
        super().__init__()
        self._off_grid = off_grid
        self._is_zero_allowed = is_zero_allowed
        # unit = step / 10^decimals, in whole numbers
        self._decimals = max(0, -_exponent(unit))
        self._step = int(unit.scaleb(self._decimals))

    def __missing__(self, text: str) -> int:
        """Parse a text that was not seen before."""
        whole, _, fraction = text.partition(".")
        digits = whole + fraction
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 40):
            whole, fraction = _plain(text)
            digits = whole + fraction
        if len(fraction) != self._decimals:
            fraction = fraction.rstrip("0")
            if len(fraction) > self._decimals:
                raise RejectedError(self._off_grid, text)
            digits = whole + fraction.ljust(self._decimals, "0")
        units = int(digits)
        if self._step != 1:
            units, rest = divmod(units, self._step)
            if rest:
                raise RejectedError(self._off_grid, text)
        if units >= VALUE_LIMIT:
            raise RejectedError(Reason.out_of_range, text)
        if units == 0 and not self._is_zero_allowed:
            raise RejectedError(Reason.not_above_zero, text)
        if len(self) >= _TEXTS_MOST:
            self.clear()
        self[text] = units
        return units


class DecimalsSeen(dict[str, int]):
    """How many decimals a text needs, closing zeros apart; −1 for a text that is no number above or at zero."""

    def __missing__(self, text: str) -> int:
        """Count the decimals of a text that was not seen before."""
        whole, _, fraction = text.partition(".")
        if not ((whole + fraction).isascii() and (whole + fraction).isdigit()):
            try:
                fraction = _plain(text)[1]
            except RejectedError:
                fraction = ""
                self[text] = -1
                return -1
        if len(self) >= _TEXTS_MOST:
            self.clear()
        decimals = self[text] = len(fraction.rstrip("0"))
        return decimals


def unit_of(decimals: int) -> Decimal:
    """The unit that so many decimals stand for: 0.01 for 2."""
    return Decimal(1).scaleb(-decimals)


def micro_ticks(text: str, tick_size: Decimal) -> int:
    """A price in ticks · 10^6, to the nearest; 0 for no text. Raises RejectedError for what is no price."""
    if not text:
        return 0
    price = _number(text)
    if price < 0:
        raise RejectedError(Reason.not_above_zero, text)
    return _bounded(price * MICRO / tick_size, text)


def rate_e12(text: str) -> int:
    """A rate times 10^12, to the nearest; 0 for no text. Raises RejectedError for what is no rate."""
    return _bounded(_number(text).scaleb(12), text) if text else 0


def floor_units(text: str, unit: Decimal) -> int:
    """Whole units that a number holds, for figures that nobody trades at."""
    return _bounded((_number(text) / unit).to_integral_value(rounding="ROUND_FLOOR"), text)


def _bounded(value: Decimal, text: str) -> int:
    if abs(value) >= VALUE_LIMIT:
        raise RejectedError(Reason.out_of_range, text)
    return int(value.to_integral_value(rounding="ROUND_HALF_EVEN"))


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text) if text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        raise RejectedError(Reason.not_a_number, text) from None
    if not number.is_finite():
        raise RejectedError(Reason.not_a_number, text)
    return number


def _plain(text: str) -> tuple[str, str]:
    """Digits before and after the point of a number written otherwise, such as 1e-7."""
    number = _number(text)
    if number < 0:
        raise RejectedError(Reason.not_above_zero, text)
    if abs(number.adjusted()) > 2 * _DECIMALS_MOST or -_exponent(number) > 2 * _DECIMALS_MOST:
        raise RejectedError(Reason.out_of_range, text)
    whole, _, fraction = f"{number:f}".partition(".")
    return whole, fraction


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the number is finite"
    return exponent
