"""The chained hash: every output and every step end goes into one 64-bit chain.

A chain proves that two runs are equal to the last bit of the last fill; it is no defence against forgery.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.arithmetic import multiply_wrapping
from engine.kernels.compile import inner
from engine.kernels.layout import OUTPUT_WORDS

HASH_START = 0x7461706577726974
_MULTIPLIER = 0x9E3779B97F4A7C15 - 2**64
_LOW_HALF = 0xFFFFFFFF


def splitmix64(seed: int) -> int:
    """One step of Vigna's splitmix64 generator, as an unsigned 64-bit number."""
    mask = 2**64 - 1
    value = (seed + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


FOLD = np.array([splitmix64(index + 1) | 1 for index in range(OUTPUT_WORDS)], dtype=np.uint64)


@inner
def extend(chain: int, word: int) -> int:
    """The chain after one more word."""
    mixed = multiply_wrapping(chain ^ word, _MULTIPLIER)
    return mixed ^ ((mixed >> 32) & _LOW_HALF)


@inner
def rotate_left_32(word: int) -> int:
    """A word with its halves exchanged."""
    return (word << 32) | ((word >> 32) & _LOW_HALF)
