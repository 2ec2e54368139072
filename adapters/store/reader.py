"""What the store holds, read beside a writer: connections of mode=ro, which can neither write nor lock one out.

Money is in cash units of 10^-`cash_decimals` of the run, prices in ticks and sizes in lots of its instruments.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from adapters.store.runs import StoredError, StoredInstrument
from adapters.store.schema import WAIT_SECONDS, migrations, sqlite_trouble
from engine.errors import DataError, InputMissingError


class RunRow(msgspec.Struct, frozen=True):
    """A run; `params` and `config` are JSON, `hash` 16 hexadecimal digits once it has ended."""

    run_id: int
    name: str
    mode: str
    status: str
    strategy_id: str
    params: str
    start_ns: int
    end_ns: int | None
    cash_decimals: int
    initial_cash: int
    config: str
    hash: str | None
    outputs_stored: int
    samples_stored: int


class _Event(msgspec.Struct, frozen=True):
    """What the rows that an output made have in common."""

    seq: int
    n: int
    ts_ns: int
    strategy_id: str
    symbol: str


class OrderRow(_Event, frozen=True):
    """One transition of an order; terms are None in those that a fill made."""

    order_id: int
    state: str
    reason: str
    remaining_lots: int
    tag: int
    lots: int | None
    limit_ticks: int | None
    stop_ticks: int | None
    type: str | None
    tif: str | None
    flags: int | None
    expire_ns: int | None


class FillRow(_Event, frozen=True):
    """A fill, what it was made of, and the book just before it (None on bars)."""

    order_id: int
    trade_id: int
    lots: int
    price_ticks: int
    base_ticks: int
    fee: int
    pnl: int
    value: int
    cash: int
    remaining_lots: int
    tag: int
    liquidity: str
    model: str
    confidence: str | None
    book_age_ns: int | None
    book_update_id: int | None
    bid_ticks: int | None
    bid_lots: int | None
    ask_ticks: int | None
    ask_lots: int | None
    ahead_lots: int | None


class TradeRow(msgspec.Struct, frozen=True):
    """A closed trade; `pnl` is net of fees and funding."""

    seq: int
    n: int
    strategy_id: str
    symbol: str
    trade_id: int
    order_id: int
    side: str
    lots_most: int
    lots_entered: int
    entry_ns: int
    exit_ns: int
    entry_value: int
    exit_value: int
    gross_pnl: int
    fees: int
    funding: int
    pnl: int
    mae: int
    mfe: int
    bars_held: int
    exit_reason: str


class PositionRow(_Event, frozen=True):
    """A strategy's position after its last fill; `cost` is the value of what is open."""

    lots: int
    cost: int
    trade_id: int


class EquityRow(msgspec.Struct, frozen=True):
    """The account at a step; `drawdown` is what it stands below its peak so far, the initial cash included."""

    n: int
    ts_ns: int
    equity: int
    exposure: int
    margin: int
    drawdown: int


_Row = TypeVar("_Row", bound=msgspec.Struct)
_JOINED = {"strategy_id": "s.strategy_id", "symbol": "i.symbol"}
_NAMES = "JOIN run_strategies s USING (run_id, strategy) JOIN run_instruments i USING (run_id, instrument)"


class StoreReader:
    """Reads a store of the newest schema; a context manager. Raises typed errors that name the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise InputMissingError(f"{path} is not there", remedy="Run something first: a run makes its store.")
        with sqlite_trouble(path):
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS, isolation_level=None
            )  # fmt: skip
        try:
            self._refuse_other_schemas()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def runs(self) -> list[RunRow]:
        """All runs, the oldest first."""
        return self._rows(RunRow, "FROM strategy_runs t ORDER BY run_id", ())

    def run(self, name: str) -> RunRow:
        """The run of a name; raises InputMissingError where there is none."""
        found = self._rows(RunRow, "FROM strategy_runs t WHERE name = ?", (name,))
        if not found:
            raise InputMissingError(f"{self._path} holds no run {name}", remedy="See: tapewright runs list")
        return found[0]

    def instruments(self, run_id: int) -> list[StoredInstrument]:
        """The instruments of a run, with the units of its integers."""
        tail = "FROM run_instruments i WHERE run_id = ? ORDER BY instrument"
        return self._rows(StoredInstrument, tail, (run_id,), alias="i")

    def orders(self, run_id: int) -> list[OrderRow]:
        """Every transition of every order, as they happened."""
        return self._events(OrderRow, "strategy_orders", run_id)

    def fills(self, run_id: int) -> list[FillRow]:
        """Every fill, as they happened."""
        return self._events(FillRow, "strategy_fills", run_id)

    def trades(self, run_id: int) -> list[TradeRow]:
        """Every closed trade, in the order in which they closed."""
        return self._events(TradeRow, "strategy_trades", run_id)

    def positions(self, run_id: int) -> list[PositionRow]:
        """The position of each strategy in each instrument that it has traded, flat ones included."""
        last = "SELECT max(n) FROM positions WHERE run_id = ? GROUP BY strategy, instrument"
        tail = f"FROM positions t {_NAMES} WHERE t.run_id = ? AND t.n IN ({last}) ORDER BY t.strategy, t.instrument"
        return self._rows(PositionRow, tail, (run_id, run_id))

    def equity(self, run_id: int) -> list[EquityRow]:
        """The account at every step."""
        tail = "FROM equity_curve t JOIN strategy_runs r USING (run_id) WHERE t.run_id = ? ORDER BY t.n"
        peak = "max(r.initial_cash, max(t.equity) OVER (ORDER BY t.n)) - t.equity"
        return self._rows(EquityRow, tail, (run_id,), {"drawdown": peak})

    def errors(self, run_id: int) -> list[StoredError]:
        """What went wrong and was survived, as it happened."""
        return self._rows(StoredError, "FROM errors t WHERE run_id = ? ORDER BY n", (run_id,))

    def _events(self, row: type[_Row], table: str, run_id: int) -> list[_Row]:
        return self._rows(row, f"FROM {table} t {_NAMES} WHERE t.run_id = ? ORDER BY t.n", (run_id,))

    def _rows(
        self, row: type[_Row], tail: str, values: Sequence[Any], made: dict[str, str] | None = None, alias: str = "t"
    ) -> list[_Row]:
        """Rows as structs: their fields are the columns, but for those that are named elsewhere or made."""
        places = (_JOINED if "JOIN" in tail else {}) | (made or {})
        fields = ", ".join(places.get(name, f"{alias}.{name}") for name in row.__struct_fields__)
        with sqlite_trouble(self._path):
            return [row(*found) for found in self._connection.execute(f"SELECT {fields} {tail}", values)]

    def _refuse_other_schemas(self) -> None:
        with sqlite_trouble(self._path):
            version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        newest = len(migrations())
        if version != newest:
            raise DataError(
                f"{self._path} has schema {version}; this version of Tapewright reads schema {newest}",
                remedy=(
                    "Install the version that wrote it."
                    if version > newest
                    else "Let a run open it once: that brings an older store to the newest schema."
                ),
            )
