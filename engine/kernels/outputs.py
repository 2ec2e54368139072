"""What the core says: one row of 16 words a fact, each folded into the chain."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.kernels.arithmetic import as_int64
from engine.kernels.compile import inner
from engine.kernels.hashing import FOLD, extend
from engine.kernels.layout import ACCOUNT_WIDE, RISK_LIQUIDATION, RISK_OUTPUT
from engine.kernels.tables import output_at


@inner
def header(kind: int, order_state: int, reason: int, detail: int, strategy: int, instrument: int) -> int:
    """The third word of an output."""
    return (
        as_int64(kind)
        | (as_int64(order_state) << 8)
        | (as_int64(reason) << 16)
        | (as_int64(detail) << 24)
        | (as_int64(strategy) << 32)
        | (as_int64(instrument) << 48)
    )


@inner
def _folded(word: int, place: int) -> Any:
    """A word's share of its row's sum, unsigned, because it wraps."""
    return np.uint64(word) * FOLD[place]


@inner
def emit(core: Any, head: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int, j: int, k: int,
         m: int, n: int) -> None:  # fmt: skip
    """Write the next row and fold it into the chain.

    Room is guaranteed by `advance`, which asks for it before each record.
    """
    row = output_at(core, core.output_count)
    row.w0, row.w1, row.w2 = core.seq, core.ts_ns, head
    row.w3, row.w4, row.w5, row.w6, row.w7, row.w8, row.w9 = a, b, c, d, e, f, g
    row.w10, row.w11, row.w12, row.w13, row.w14, row.w15 = h, i, j, k, m, n
    folded = _folded(core.seq, 0) + _folded(core.ts_ns, 1) + _folded(head, 2) + _folded(a, 3)
    folded += _folded(b, 4) + _folded(c, 5) + _folded(d, 6) + _folded(e, 7) + _folded(f, 8) + _folded(g, 9)
    folded += _folded(h, 10) + _folded(i, 11) + _folded(j, 12) + _folded(k, 13) + _folded(m, 14) + _folded(n, 15)
    core.hash = extend(core.hash, as_int64(folded))
    core.output_count += 1


@inner
def emit_risk(core: Any, event: int, strategy: int, instrument: int, value: int, limit: int, equity: int,
              reference: int) -> None:  # fmt: skip
    """Say that a guard or a liquidation acted."""
    owner = ACCOUNT_WIDE if strategy < 0 else strategy
    head = header(RISK_OUTPUT, 0, event, 0, owner, instrument if event == RISK_LIQUIDATION else 0)
    emit(core, head, value, limit, equity, reference, 0, 0, 0, 0, 0, 0, 0, 0, 0)
