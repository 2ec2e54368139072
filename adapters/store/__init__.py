"""The store: runs, orders, fills, trades, equity and positions in one SQLite file, each row once whatever crashes.

`prepare` makes the file ready, `StoreReader` reads it beside whoever writes: `writer.StoreWriter`, a task that writes a
session as it goes on (imported from there: asyncio takes a tenth of a second that a backtest need not wait for), and
`store_whole`, which writes a run that is over.
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
    FinishedRun,
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
from adapters.store.whole import store_whole

__all__ = [
    "Batch", "EquityRow", "FillRow", "FinishedRun", "FundingRow", "OrderRow", "Position", "PositionRow", "Prepared",
    "RiskRow", "RunEnd", "RunRow", "RunStart", "StoreLockedError", "StoreReader", "StoredError", "StoredInstrument",
    "StoredRun", "StoredStrategy", "TradeRow", "back_up", "backups_of", "daily_backup", "prepare", "store_whole",
    "stored_instruments",
]  # fmt: skip
