"""Columns of numbers as text: scaled integers, differences, byte planes, deflate, base64.

A year of minutes has to fit a page that opens from disk. Differences of neighbours are small, and bytes of
one weight lie together, so that deflate finds their runs. A browser unpacks a column with what it has built in.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn, IntColumn

Rule: TypeAlias = Literal["max", "min"]
_LEVEL = 9


class Column(msgspec.Struct, frozen=True):
    """`count` numbers, packed.

    To unpack: base64, raw deflate, then `planes` planes of `count` bytes, the lowest byte first, give unsigned
    integers u. Where `nullable`, u = 0 is unknown and u - 1 takes its place. u is zigzag: even u is
    u / 2, odd u is -(u + 1) / 2. With `order` 1 each is the difference to the one before (the first to 0). Where
    `against` names columns of the same table, their `rule` (integers, `lag` rows before; 0 before the first row) is
    added. The number is that integer divided by 10^`decimals`.
    """

    count: int
    decimals: int
    planes: int
    data: str
    order: Literal[0, 1] = 0
    nullable: bool = False
    against: tuple[str, ...] = ()
    rule: Rule = "max"
    lag: int = 0


def pack(values: IntColumn, *, decimals: int = 0, order: Literal[0, 1] = 0) -> Column:
    """Pack whole numbers; with `order` 1, for what changes little from row to row, as differences."""
    wanted = np.diff(values, prepend=0) if order else values
    planes, data = _packed(_zigzag(wanted))
    return Column(len(values), decimals, planes, data, order=order)


def pack_against(
    values: IntColumn, columns: Mapping[str, IntColumn], *, decimals: int = 0, rule: Rule = "max", lag: int = 0
) -> Column:  # fmt: skip
    """Pack whole numbers as their distance from other columns of the table, whose names are the keys."""
    planes, data = _packed(_zigzag(values - _reference(list(columns.values()), rule, lag)))
    return Column(len(values), decimals, planes, data, against=tuple(columns), rule=rule, lag=lag)


def pack_floats(values: FloatColumn, decimals: int) -> Column:
    """Pack numbers rounded to `decimals` places (below 0: tens, hundreds); not-a-number is unknown."""
    is_known = np.isfinite(values)
    whole = np.rint(np.where(is_known, values, 0.0) * 10.0**decimals).astype(np.int64)
    if is_known.all():
        return pack(whole, decimals=decimals)
    planes, data = _packed(np.where(is_known, _zigzag(whole) + np.uint64(1), np.uint64(0)))
    return Column(len(values), decimals, planes, data, nullable=True)


def unpack(table: Mapping[str, Column], name: str) -> FloatColumn:
    """The numbers of a column, not-a-number where unknown; the reverse of packing, as the page does it."""
    whole, is_known = _integers(table, name)
    values: FloatColumn = np.where(is_known, whole / 10.0 ** table[name].decimals, np.nan)
    return values


def _integers(table: Mapping[str, Column], name: str) -> tuple[IntColumn, NDArray[np.bool_]]:
    column = table[name]
    raw = zlib.decompress(base64.b64decode(column.data), wbits=-15)
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(column.planes, column.count)
    unsigned = np.zeros(column.count, dtype=np.uint64)
    for weight, plane in enumerate(planes):
        unsigned |= plane.astype(np.uint64) << np.uint64(8 * weight)
    is_known = unsigned > 0 if column.nullable else np.ones(column.count, dtype=np.bool_)
    if column.nullable:
        unsigned = np.where(is_known, unsigned - np.uint64(1), np.uint64(0))
    values = (unsigned >> np.uint64(1)).astype(np.int64) ^ -(unsigned & np.uint64(1)).astype(np.int64)
    if column.order:
        values = np.cumsum(values)
    if column.against:
        values = values + _reference([_integers(table, other)[0] for other in column.against], column.rule, column.lag)
    return values, is_known


def _reference(columns: list[IntColumn], rule: Rule, lag: int) -> IntColumn:
    chosen: IntColumn = np.maximum.reduce(columns) if rule == "max" else np.minimum.reduce(columns)
    if not lag:
        return chosen
    before: IntColumn = np.concatenate((np.zeros(min(lag, len(chosen)), dtype=np.int64), chosen[:-lag]))
    return before


def _zigzag(values: IntColumn) -> NDArray[np.uint64]:
    return ((values << 1) ^ (values >> 63)).astype(np.uint64)


def _packed(unsigned: NDArray[np.uint64]) -> tuple[int, str]:
    greatest = int(unsigned.max()) if len(unsigned) else 0
    planes = max(1, (greatest.bit_length() + 7) // 8)
    raw = unsigned.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :planes].T.tobytes()
    squeezer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    return planes, base64.b64encode(squeezer.compress(raw) + squeezer.flush()).decode()
