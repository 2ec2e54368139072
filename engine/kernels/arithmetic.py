"""Exact integer arithmetic: products of 128 bits, divided with one stated rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.kernels.compile import inner

_MAX = 2**63 - 1
_PRODUCT_SAFE = 9.0e18
_QUOTIENT_SAFE = 4.0e18
_DIVISOR_SAFE = 2**50


@inner
def as_int64(value: Any) -> int:
    """Any integer as the one width that all kernels work with."""
    return np.int64(value)  # type: ignore[return-value]  # compiled, it is a plain machine integer


@inner
def multiply_wrapping(a: int, b: int) -> int:
    """a·b, its lowest 64 bits.

    numba tells the compiler that signed sums and products never overflow, and the compiler believes it: where they
    are meant to wrap they must be unsigned.
    """
    return as_int64(np.uint64(a) * np.uint64(b))


@inner
def add_wrapping(a: int, b: int) -> int:
    """The sum of two words, its lowest 64 bits; see `multiply_wrapping`."""
    return as_int64(np.uint64(a) + np.uint64(b))


@inner
def divide_product(a: int, b: int, c: int) -> tuple[int, int]:
    """Quotient and remainder of a·b ÷ c for a, b ≥ 0, c > 0; saturates where the quotient has 64 bits or more."""
    product = np.float64(a) * np.float64(b)
    if product < _PRODUCT_SAFE:
        exact = a * b
        quotient = exact // c
        return quotient, exact - quotient * c
    estimate = product / np.float64(c)
    if estimate < _QUOTIENT_SAFE and c < _DIVISOR_SAFE:
        # The estimate is off by at most 2^10, so the remainder is exact although a·b itself wraps.
        quotient = as_int64(estimate)
        remainder = as_int64(np.uint64(a) * np.uint64(b) - np.uint64(quotient) * np.uint64(c))
        correction = remainder // c
        return quotient + correction, remainder - correction * c
    return _divide_long(a, b, c)


@inner
def _divide_long(a: int, b: int, c: int) -> tuple[int, int]:
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    one = np.uint64(1)
    left, right, divisor = np.uint64(a), np.uint64(b), np.uint64(c)
    low_low = (left & mask) * (right & mask)
    low_high = (left & mask) * (right >> half)
    high_low = (left >> half) * (right & mask)
    middle = (low_low >> half) + (low_high & mask) + (high_low & mask)
    high = (left >> half) * (right >> half) + (low_high >> half) + (high_low >> half) + (middle >> half)
    low = (low_low & mask) | (middle << half)
    if high >= divisor:
        return _MAX, 0
    remainder = high
    quotient = np.uint64(0)
    for _ in range(64):
        remainder = (remainder << one) | (low >> np.uint64(63))
        low = low << one
        quotient = quotient << one
        if remainder >= divisor:
            remainder = remainder - divisor
            quotient = quotient | one
    if quotient > np.uint64(_MAX):
        return _MAX, 0
    return as_int64(quotient), as_int64(remainder)


@inner
def muldiv(a: int, b: int, c: int) -> int:
    """a·b ÷ c rounded half to even, for any signs of a and b; c > 0."""
    negative = (a < 0) != (b < 0)
    quotient, remainder = divide_product(abs(a), abs(b), c)
    rest = c - remainder
    if remainder > rest or (remainder == rest and quotient & 1 == 1):
        quotient += 1
    return -quotient if negative else quotient


@inner
def muldiv_ceil(a: int, b: int, c: int) -> int:
    """a·b ÷ c rounded up, for a, b ≥ 0 and c > 0."""
    quotient, remainder = divide_product(a, b, c)
    return quotient + 1 if remainder > 0 else quotient


@inner
def muldiv_floor(a: int, b: int, c: int) -> int:
    """a·b ÷ c rounded down, for a, b ≥ 0 and c > 0."""
    return divide_product(a, b, c)[0]
