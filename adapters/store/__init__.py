"""The store: runs, orders, fills, trades, equity and positions in one SQLite file, each row once whatever crashes.

`prepare` makes the file ready, `StoreWriter` writes to it in one task, `StoreReader` reads beside it.
"""

from adapters.store.reader import EquityRow, FillRow, OrderRow, PositionRow, RunRow, StoreReader, TradeRow
from adapters.store.runs import (
    Batch,
    Position,
    RunEnd,
    RunStart,
    StoredError,
    StoredInstrument,
    StoredRun,
    StoredStrategy,
    stored_instruments,
)
from adapters.store.schema import Prepared, StoreLockedError, back_up, prepare
from adapters.store.writer import StoreWriter

__all__ = [
    "Batch", "EquityRow", "FillRow", "OrderRow", "Position", "PositionRow", "Prepared", "RunEnd", "RunRow", "RunStart",
    "StoreLockedError", "StoreReader", "StoreWriter", "StoredError", "StoredInstrument", "StoredRun", "StoredStrategy",
    "TradeRow", "back_up", "prepare", "stored_instruments",
]  # fmt: skip
