"""What the store holds, read beside a writer: connections of mode=ro, which can neither write nor lock one out."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

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
from adapters.store.runs import StoredError, StoredInstrument, StoredStrategy
from adapters.store.schema import WAIT_SECONDS, migrations, sqlite_trouble
from engine.errors import DataError, InputMissingError, UsageError

_Row = TypeVar("_Row", bound=msgspec.Struct)
_JOINED = {"strategy_id": "s.strategy_id", "symbol": "i.symbol"}
_NAMED_MAX = 5
_NAMES = "JOIN run_strategies s USING (run_id, strategy) JOIN run_instruments i USING (run_id, instrument)"


class StoreReader:
    """Reads a store of the newest schema; a context manager. Raises typed errors that name the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise InputMissingError(f"{path} is not there", remedy="Run something first: a run makes its store.")
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a store", remedy="Name the SQLite file in it.")
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

    def find(self, target: str) -> RunRow:
        """The run of a name, a run id, or the beginning of one name; raises InputMissingError or UsageError."""
        runs = self.runs()
        named = [run for run in runs if run.name == target]
        numbered = [run for run in runs if str(run.run_id) == target]
        found = named or numbered or [run for run in runs if target and run.name.startswith(target)]
        if not found:
            raise InputMissingError(f"{self._path} holds no run {target}", remedy="See: tapewright runs list")
        if len(found) > 1:
            names = ", ".join(run.name for run in found[:_NAMED_MAX]) + (", …" if len(found) > _NAMED_MAX else "")
            raise UsageError(f"{target} begins the names of {len(found)} runs: {names}", remedy="Write more of it.")
        return found[0]

    def strategies(self, run_id: int) -> list[StoredStrategy]:
        """The strategies of a run, as its outputs number them."""
        sql = "SELECT strategy_id, params, source_sha256 FROM run_strategies WHERE run_id = ? ORDER BY strategy"
        return [
            StoredStrategy(strategy_id, msgspec.json.decode(params), source)
            for strategy_id, params, source in self.stream(sql, (run_id,))
        ]

    def instruments(self, run_id: int) -> list[StoredInstrument]:
        """The instruments of a run, with the units of its integers."""
        tail = "FROM run_instruments i WHERE run_id = ? ORDER BY instrument"
        return self._rows(StoredInstrument, tail, (run_id,), alias="i")

    def orders(self, run_id: int) -> list[OrderRow]:
        """Every transition of every order, as they happened."""
        return self._events(OrderRow, "strategy_orders", run_id)

    def funding(self, run_id: int) -> list[FundingRow]:
        """Every payment of funding, as they happened."""
        return self._events(FundingRow, "funding_payments", run_id)

    def risks(self, run_id: int) -> list[RiskRow]:
        """What guards and people did, as it happened."""
        names = _NAMES.replace("JOIN run_strategies", "LEFT JOIN run_strategies")
        return self._rows(RiskRow, f"FROM risk_events t {names} WHERE t.run_id = ? ORDER BY t.seq, t.n", (run_id,))

    def fills(self, run_id: int) -> list[FillRow]:
        """Every fill, as they happened."""
        return self._events(FillRow, "strategy_fills", run_id)

    def trades(self, run_id: int) -> list[TradeRow]:
        """Every closed trade, in the order in which they closed."""
        return self._events(TradeRow, "strategy_trades", run_id)

    def positions(self, run_id: int) -> list[PositionRow]:
        """The position of each strategy in each instrument that it has traded, flat ones included."""
        last = (
            "SELECT max(l.n) FROM positions l"
            " WHERE l.run_id = s.run_id AND l.strategy = s.strategy AND l.instrument = i.instrument"
        )
        tail = (
            "FROM run_strategies s JOIN run_instruments i USING (run_id) JOIN positions t ON t.run_id = s.run_id"
            f" AND t.strategy = s.strategy AND t.instrument = i.instrument AND t.n = ({last})"
            " WHERE s.run_id = ? ORDER BY s.strategy, i.instrument"
        )
        return self._rows(PositionRow, tail, (run_id,))

    def equity(self, run_id: int) -> list[EquityRow]:
        """The account at every step."""
        tail = "FROM equity_curve t JOIN strategy_runs r USING (run_id) WHERE t.run_id = ? ORDER BY t.n"
        peak = "max(r.initial_cash, max(t.equity) OVER (ORDER BY t.n)) - t.equity"
        return self._rows(EquityRow, tail, (run_id,), {"drawdown": peak})

    def errors(self, run_id: int) -> list[StoredError]:
        """What went wrong and was survived, as it happened."""
        return self._rows(StoredError, "FROM errors t WHERE run_id = ? ORDER BY n", (run_id,))

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time as they are asked for."""
        with sqlite_trouble(self._path), contextlib.closing(self._connection.execute(sql, values)) as cursor:
            yield from cursor

    def integers(self, sql: str, values: Sequence[Any], columns: int) -> NDArray[np.int64]:
        """The rows (n, columns) of a query that gives integers only, many of them at little cost."""
        with sqlite_trouble(self._path), contextlib.closing(self._connection.execute(sql, values)) as cursor:
            return np.fromiter(chain.from_iterable(cursor), dtype=np.int64).reshape(-1, columns)

    @contextlib.contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Whatever is read inside is of one moment, though a writer goes on; its log grows until then."""
        with sqlite_trouble(self._path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def _events(self, row: type[_Row], table: str, run_id: int) -> list[_Row]:
        return self._rows(row, f"FROM {table} t {_NAMES} WHERE t.run_id = ? ORDER BY t.seq, t.n", (run_id,))

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
