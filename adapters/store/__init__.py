"""The store: runs, orders, fills, trades, equity and positions in one SQLite file, each row once whatever crashes.

`prepare` makes the file ready, `StoreWriter` writes to it in one task, `StoreReader` reads beside it.
"""

from adapters.store.backups import backups_of, daily_backup
from adapters.store.reader import StoreReader
from adapters.store.row_types import (
    EquityRow,
    FillRow,
    FundingRow,
    OrderRow,
    PositionRow,
    RiskRow,
    RunRow,
    TradeRow,
)
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
from adapters.store.writer import StoreWriter, WriterStatistics

__all__ = [
    "Batch", "EquityRow", "FillRow", "FundingRow", "OrderRow", "Position", "PositionRow", "Prepared", "RiskRow",
    "RunEnd", "RunRow", "RunStart", "StoreLockedError", "StoreReader", "StoreWriter", "StoredError", "StoredInstrument",
    "StoredRun", "StoredStrategy", "TradeRow", "WriterStatistics", "back_up", "backups_of", "daily_backup", "prepare",
    "stored_instruments",
]  # fmt: skip
