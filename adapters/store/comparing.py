"""What a comparison of two stored runs reads: trades as amounts that both share units with, decisions and fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from adapters.store.reader import StoreReader
from adapters.store.row_types import RunRow, TradeRow
from adapters.store.runs import StoredInstrument
from engine.figures.attribution import TradeMoney
from engine.figures.slippage import FillPrice, TradeSlippage, ValueUnits, slippage_by_trade
from engine.instruments import Instrument
from engine.settings import InstrumentKind

_FILLS = """SELECT f.strategy, f.instrument, f.trade_id, f.lots, f.price_ticks, f.base_ticks, p.lots
    FROM strategy_fills f JOIN positions p USING (run_id, seq, n) WHERE f.run_id = ? ORDER BY f.seq, f.n"""
_REALISED = """SELECT (SELECT coalesce(sum(pnl - fee), 0) FROM strategy_fills WHERE run_id = ?1)
    - (SELECT coalesce(sum(payment), 0) FROM funding_payments WHERE run_id = ?1)"""
_NAMES = "JOIN run_strategies s USING (run_id, strategy) JOIN run_instruments i USING (run_id, instrument)"
_DECISIONS = f"""SELECT t.n, t.ts_ns, s.strategy_id, i.symbol, t.state, t.reason, t.type, t.tif, t.lots, t.limit_ticks,
    t.stop_ticks FROM strategy_orders t {_NAMES} WHERE t.run_id = ? AND t.type IS NOT NULL
    AND (t.state IN ('NEW', 'REJECTED') OR (t.state = 'CANCELED' AND t.reason = 'requested')) ORDER BY t.seq, t.n"""  # noqa: S608 - names of our own schema
_FILL_FACTS = f"""SELECT t.n, t.ts_ns, s.strategy_id, i.symbol, t.lots, t.price_ticks FROM strategy_fills t {_NAMES}
    WHERE t.run_id = ? ORDER BY t.seq, t.n"""  # noqa: S608 - as above


class SharedUnits(msgspec.Struct, frozen=True):
    """Decimals of the cash and of the sizes (lots · lot size · multiplier) in which both runs are whole numbers."""

    cash_decimals: int
    size_decimals: int


class RunMoney(msgspec.Struct, frozen=True):
    """A run's closed trades, and what it made besides them: costs and partial exits of positions still open.

    Both in the shared units.
    """

    trades: list[TradeMoney]
    open: int

    @property
    def net(self) -> int:
        """What the run made: realised profit less fees and funding."""
        return sum(trade.net for trade in self.trades) + self.open


class Event(msgspec.Struct, frozen=True):
    """Something that a run did, in its own words: what two runs must share to have done the same."""

    n: int
    ts_ns: int
    strategy_id: str
    symbol: str
    what: dict[str, str]


def shared_units(reader: StoreReader, runs: Sequence[RunRow]) -> SharedUnits:
    """The coarsest units in which all amounts of these runs are whole."""
    sizes = [_size(each) for run in runs for each in reader.instruments(run.run_id)]
    return SharedUnits(max(run.cash_decimals for run in runs), max((_decimals(size) for size in sizes), default=0))


def money_of(reader: StoreReader, run: RunRow, shared: SharedUnits) -> RunMoney:
    """A run's trades and the rest of what it made."""
    slippage = _slippage(reader, run)
    instruments = {each.symbol: each for each in reader.instruments(run.run_id)}
    cash = 10 ** (shared.cash_decimals - run.cash_decimals)
    trades = [
        _trade_money(row, instruments[row.symbol], slippage.get(row.trade_id, TradeSlippage()), cash, shared)
        for row in reader.trades(run.run_id)
    ]
    ((realised,),) = reader.stream(_REALISED, (run.run_id,))
    return RunMoney(trades, realised * cash - sum(trade.net for trade in trades))


def decisions(reader: StoreReader, run: RunRow) -> Iterator[Event]:
    """What strategies asked for, as it happened: orders, refused ones too, and cancels."""
    instruments = {each.symbol: each for each in reader.instruments(run.run_id)}
    for n, ts_ns, strategy_id, symbol, state, reason, kind, tif, lots, limit, stop in reader.stream(
        _DECISIONS, (run.run_id,)
    ):
        of = instruments[symbol]
        what = {
            "action": {"NEW": "order", "CANCELED": "cancel"}.get(state, "refused order"),
            "side": "buy" if lots > 0 else "sell",
            "size": _times(abs(lots), of.lot_size),
            "type": kind,
            "tif": tif,
        }
        what |= {"limit": _times(limit, of.tick_size)} if limit else {}
        what |= {"stop": _times(stop, of.tick_size)} if stop else {}
        what |= {"reason": reason} if reason else {}
        yield Event(n, ts_ns, strategy_id, symbol, what)


def fills(reader: StoreReader, run: RunRow) -> Iterator[Event]:
    """What was filled, as it happened."""
    instruments = {each.symbol: each for each in reader.instruments(run.run_id)}
    for n, ts_ns, strategy_id, symbol, lots, ticks in reader.stream(_FILL_FACTS, (run.run_id,)):
        of = instruments[symbol]
        what = {
            "side": "buy" if lots > 0 else "sell",
            "size": _times(abs(lots), of.lot_size),
            "price": _times(ticks, of.tick_size),
        }
        yield Event(n, ts_ns, strategy_id, symbol, what)


def _slippage(reader: StoreReader, run: RunRow) -> dict[int, TradeSlippage]:
    units = [_value_units(each, run.cash_decimals) for each in reader.instruments(run.run_id)]
    return slippage_by_trade((FillPrice(*row) for row in reader.stream(_FILLS, (run.run_id,))), units)


def _trade_money(
    row: TradeRow, instrument: StoredInstrument, slippage: TradeSlippage, cash: int, shared: SharedUnits
) -> TradeMoney:  # fmt: skip
    is_paid_first = (row.side == "long") == (instrument.kind != "inverse")
    entry = (-row.entry_value if is_paid_first else row.entry_value) + slippage.entry
    total = slippage.entry + slippage.exit
    return TradeMoney(
        strategy=row.strategy_id, symbol=row.symbol, side="long" if row.side == "long" else "short",
        entry_ns=row.entry_ns, exit_ns=row.exit_ns,
        size=int((row.lots_entered * _size(instrument)).scaleb(shared.size_decimals)),
        entry_amount=entry * cash, exit_amount=(row.gross_pnl + total - entry) * cash, slippage=total * cash,
        fees=row.fees * cash, funding=row.funding * cash,
    )  # fmt: skip


def _size(instrument: StoredInstrument) -> Decimal:
    return Decimal(instrument.lot_size) * Decimal(instrument.multiplier)


def _value_units(stored: StoredInstrument, cash_decimals: int) -> ValueUnits:
    kind = msgspec.convert(stored.kind, InstrumentKind)
    instrument = Instrument(
        stored.symbol, Decimal(stored.tick_size), Decimal(stored.lot_size), kind, Decimal(stored.multiplier)
    )  # fmt: skip
    return ValueUnits(kind, instrument.value_factor(cash_decimals))


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "sizes are numbers"
    return max(0, -exponent)


def _times(count: int, unit: str) -> str:
    return f"{(count * Decimal(unit)).normalize():f}"
