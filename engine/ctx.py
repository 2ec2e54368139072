"""`ctx`: all that a strategy sees and can do on one market."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np

from engine.boundary import told_text
from engine.core import NO_REQUESTS, Engine
from engine.errors import StrategyError
from engine.kernels import layout
from engine.reading import STATES, TIFS, TYPES, Scale
from engine.series import Window
from engine.strategy import InputValue

OrderType = Literal["market", "limit", "stop", "stop_limit"]
TimeInForce = Literal["GTC", "IOC", "FOK", "GTD", "POST_ONLY"]
_TYPE = {name: number for number, name in enumerate(TYPES) if name}
_TIF = {name: number for number, name in enumerate(TIFS) if name} | {"POST_ONLY": layout.GTC}
_REQUEST = struct.Struct("<4B2H7q")  # the fields of layout.REQUEST, in order
NEVER = 2**62  # more records than a run can have
_WHOLE = 1e-6  # how near to a whole lot or tick counts as that lot or tick


class LogLine(msgspec.Struct, frozen=True):
    """One line of the run's log."""

    ts_ns: int
    level: str
    strategy: str
    symbol: str
    message: str


class Account:
    """The engine with the stream it reads, shared by every ctx of a run: brings it up to where someone looks."""

    __slots__ = ("_buffer", "_row", "calm_until", "costs", "engine", "held", "log", "pending", "position", "records",
                 "stop")  # fmt: skip

    def __init__(self, engine: Engine, records: Any) -> None:
        self.engine = engine
        self.records = records
        self.pending = NO_REQUESTS  # what `signals` asked for ahead, by step
        self.position = 0  # records consumed
        self.stop = 0  # records that strategies have been shown
        self.calm_until = NEVER  # records until which nothing happens that strategies must be told; 0: an order works
        self.log: list[LogLine] = []
        self.held, self.costs = "lots", "cost"  # what a strategy knows of its ledger; on a tape that lags
        self._row = np.zeros(1, dtype=layout.REQUEST)
        self._buffer = memoryview(self._row.view(np.uint8).data)

    def catch_up(self) -> None:
        """Let the engine consume what strategies have already been shown."""
        while self.position < self.stop:
            self.position, _ = self.engine.advance(self.records, self.position, self.stop, self.pending)

    def request(self, kind: int, strategy: int, market: int, *, type: int = 0, tif: int = 0, flags: int = 0,  # noqa: A002
                lots: int = 0, limit_ticks: int = 0, stop_ticks: int = 0, expire_ns: int = 0, order_id: int = 0,
                tag: int = 0) -> int:  # fmt: skip
        """Carry out one request at the current bar; returns the id the core gave, where it was an order."""
        self.catch_up()
        _REQUEST.pack_into(self._buffer, 0, kind, type, tif, flags, strategy, market, 0, lots, limit_ticks, stop_ticks,
                           expire_ns, order_id, tag)  # fmt: skip
        self.calm_until = 0
        return self.engine.submit(self._row)


class Position:
    """`ctx.position`: what this strategy holds on this market, as of the current bar."""

    __slots__ = ("_account", "_ledger", "_market", "_scale")

    def __init__(self, account: Account, ledger: int, market: int, scale: Scale) -> None:
        self._account = account
        self._ledger = ledger
        self._market = market
        self._scale = scale

    def lots(self) -> int:
        """Signed size in lots."""
        self._account.catch_up()
        return int(self._account.engine.state.ledgers[self._account.held][self._ledger])

    @property
    def size(self) -> float:
        """Signed size in units: positive long, negative short, 0 flat."""
        return float(self._scale.size(self.lots()))

    @property
    def entry_price(self) -> float:
        """Average entry price; NaN while flat."""
        lots = self.lots()
        cost = int(self._account.engine.state.ledgers[self._account.costs][self._ledger])
        return self._scale.average_price(abs(cost), abs(lots))

    @property
    def pnl(self) -> float:
        """Floating profit at the current mark, in money, before fees and funding."""
        return float(self._scale.money(self.pnl_units()))

    def pnl_units(self) -> int:
        """The same in cash units."""
        lots = self.lots()
        state = self._account.engine.state
        instrument = state.instruments[self._market]
        known_cost = int(state.ledgers[self._account.costs][self._ledger])
        factor, mark = int(instrument["factor"]), int(instrument["mark"])
        if lots == 0:
            return 0
        if self._scale.instrument.kind == "inverse":
            size = abs(lots) * factor
            quotient, rest = divmod(size, mark)
            whole = quotient + (2 * rest > mark or (2 * rest == mark and quotient % 2 == 1))
            return (-whole if lots > 0 else whole) - known_cost
        return lots * mark * factor - known_cost


class Portfolio:
    """`ctx.portfolio`: the account that all strategies share, as of the current bar."""

    __slots__ = ("_account", "_decimals")

    def __init__(self, account: Account, cash_decimals: int) -> None:
        self._account = account
        self._decimals = cash_decimals

    def _figure(self, name: str) -> int:
        self._account.catch_up()
        return int(self._account.engine.state.core[name][0])

    def _money(self, units: int) -> float:
        return units / 10.0**self._decimals

    @property
    def cash(self) -> float:
        """Cash: initial, plus realised profit, less fees and funding, less what spot positions cost."""
        units = self._figure("cash")
        instruments = self._account.engine.state.instruments
        return self._money(units - int(instruments["net_cost"][instruments["kind"] == layout.SPOT].sum()))

    @property
    def equity(self) -> float:
        """Cash plus the floating result of every position at its mark."""
        return self._money(self._figure("cash") + self._figure("floating"))

    @property
    def margin(self) -> float:
        """Margin bound by open positions."""
        return self._money(self._figure("margin"))

    @property
    def exposure(self) -> float:
        """Sum of the positions' notionals at their marks, in money."""
        return self._money(self._figure("exposure"))

    @property
    def leverage(self) -> float:
        """Exposure over equity; NaN where equity is not positive."""
        equity = self.equity
        return self.exposure / equity if equity > 0 else math.nan


class Sizes:
    """`ctx.size`: sizes in units, rounded down to whole lots."""

    __slots__ = ("_portfolio", "_scale", "_window")

    def __init__(self, portfolio: Portfolio, window: Window, scale: Scale) -> None:
        self._portfolio = portfolio
        self._window = window
        self._scale = scale

    def fixed(self, amount: float) -> float:
        """Units (or contracts)."""
        return self._rounded(amount)

    def percent_equity(self, fraction: float) -> float:
        """The units that a fraction of equity (0.1 is 10 %) buys at the last close."""
        return self._rounded(self._units_worth(self._portfolio.equity * fraction))

    def risk(self, fraction: float, stop_distance: float) -> float:
        """The units with which a move of `stop_distance` (in price) loses that fraction of equity."""
        if not stop_distance > 0:
            raise StrategyError(
                f"size.risk: stop_distance is {stop_distance}", remedy="Give the distance in price, above 0."
            )
        price, loss = self._price(), self._portfolio.equity * fraction
        if self._scale.instrument.kind == "inverse":  # a contract loses multiplier · (1/stop - 1/price) base units
            nearest = max(price - stop_distance, self._scale.tick)
            return self._rounded(loss / (float(self._scale.instrument.multiplier) * (1 / nearest - 1 / price)))
        return self._rounded(loss / (stop_distance * float(self._scale.instrument.multiplier)))

    def _price(self) -> float:
        close = self._window.close
        return float(close[-1]) if len(close) else float("nan")

    def _units_worth(self, money: float) -> float:
        multiplier = float(self._scale.instrument.multiplier)
        if self._scale.instrument.kind == "inverse":
            return money * self._price() / multiplier
        return money / (self._price() * multiplier)

    def _rounded(self, units: float) -> float:
        if not math.isfinite(units) or units <= 0:
            return 0.0
        return float(self._scale.size(whole_lots(units, self._scale)))


def whole_lots(units: float, scale: Scale) -> int:
    """Units as whole lots: the nearest where it is that number, else rounded down."""
    quotient = units / scale.lot
    nearest = round(quotient)
    return nearest if abs(quotient - nearest) <= _WHOLE else math.floor(quotient)


def whole_ticks(price: float, scale: Scale, *, up: bool) -> int:
    """A price as whole ticks: the nearest where it is that number, else rounded up or down."""
    quotient = price / scale.tick
    nearest = round(quotient)
    if abs(quotient - nearest) <= _WHOLE:
        return nearest
    return math.ceil(quotient) if up else math.floor(quotient)


class Logger:
    """`ctx.logger`: lines of the run's log, stamped with the bar's time."""

    __slots__ = ("_strategy", "_symbol", "_write")

    def __init__(self, write: Callable[[str, str, str, str], None], strategy: str, symbol: str) -> None:
        self._write = write
        self._strategy = strategy
        self._symbol = symbol

    def info(self, message: object) -> None:
        """Note something."""
        self._write("info", self._strategy, self._symbol, told_text(message))

    def warn(self, message: object) -> None:
        """Note something that should not stay so."""
        self._write("warn", self._strategy, self._symbol, told_text(message))

    warning = warn

    def error(self, message: object) -> None:
        """Note something that is wrong."""
        self._write("error", self._strategy, self._symbol, told_text(message))


class WorkingOrder(msgspec.Struct, frozen=True):
    """One of `ctx.orders`: an order that works or is on its way. Sizes in units, `size` signed."""

    id: int
    type: str
    tif: str
    state: str
    size: float
    filled: float
    price: float | None
    stop_price: float | None
    tag: int


class Context(Window):
    """All that a strategy sees and can do on one market: its columns up to the current bar, orders, account."""

    __slots__ = ("_account", "_ledger", "_market", "_scale", "_strategy", "logger", "params", "portfolio", "position",
                 "size", "state", "strategy", "symbol", "timeframe")  # fmt: skip

    def __init__(
        self, bars: Any, account: Account, scale: Scale, *, strategy: int, name: str, market: int, markets: int,
        params: dict[str, InputValue], state: dict[str, Any], log: Callable[[str, str, str, str], None],
    ) -> None:  # fmt: skip
        super().__init__(bars)
        self._account = account
        self._scale = scale
        self._strategy = strategy
        self._market = market
        self._ledger = strategy * markets + market
        self.symbol = scale.instrument.symbol
        self.timeframe = bars.timeframe
        self.strategy = name
        self.params = params
        self.state = state
        self.logger = Logger(log, name, self.symbol)
        self.position = Position(account, self._ledger, market, scale)
        self.portfolio = Portfolio(account, scale.cash_decimals)
        self.size = Sizes(self.portfolio, self, scale)

    @property
    def index(self) -> int:
        """Index of the current bar; -1 before the first."""
        return self.stop - 1

    def buy(
        self, size: float, price: float | None = None, type: OrderType | None = None, tif: TimeInForce = "GTC", *,  # noqa: A002
        stop_price: float | None = None, expire: int | None = None, post_only: bool = False, reduce_only: bool = False,
        tag: int = 0,
    ) -> int:  # fmt: skip
        """Order to buy `size` units; returns the order's id.

        `price`: the limit, or the trigger of a stop. A stop_limit takes its limit as `price` and its trigger as
        `stop_price`. Without `type`: a limit where a price is given, else a market order. `expire`: UTC ms, for
        GTD. Prices between ticks are rounded so that a limit is never worse than asked. Raises StrategyError for
        what no order can be.
        """
        return self._send(1, size, price, type, tif, stop_price, expire, post_only, reduce_only, tag)

    def sell(
        self, size: float, price: float | None = None, type: OrderType | None = None, tif: TimeInForce = "GTC", *,  # noqa: A002
        stop_price: float | None = None, expire: int | None = None, post_only: bool = False, reduce_only: bool = False,
        tag: int = 0,
    ) -> int:  # fmt: skip
        """Order to sell `size` units; see `buy`."""
        return self._send(-1, size, price, type, tif, stop_price, expire, post_only, reduce_only, tag)

    def cancel(self, order_id: int) -> None:
        """Cancel a working order; nothing where it is finished or unknown."""
        self._account.request(layout.CANCEL_REQUEST, self._strategy, self._market, order_id=int(order_id))

    def cancel_all(self) -> None:
        """Cancel every working order of this strategy on this market."""
        self._account.request(layout.CANCEL_ALL_REQUEST, self._strategy, self._market)

    def flatten(self) -> None:
        """Close the position by a market order; nothing while flat. Working orders stay."""
        self._account.request(layout.TARGET_REQUEST, self._strategy, self._market)

    @property
    def orders(self) -> list[WorkingOrder]:
        """The strategy's working orders on this market, oldest first."""
        self._account.catch_up()
        table = self._account.engine.state.orders
        slot = int(self._account.engine.state.ledgers["first_order"][self._ledger])
        found = []
        is_tape = self._account.held != "lots"
        while slot >= 0:
            row = table[slot]
            slot = int(row["next"])
            if is_tape and row["known_state"] >= layout.FILLED:
                continue
            limit, stop = int(row["limit_ticks"]), int(row["stop_ticks"])
            state, filled = ("known_state", "known_filled_lots") if is_tape else ("state", "filled_lots")
            found.append(
                WorkingOrder(
                    id=int(row["id"]), type=TYPES[row["type"]], tif=TIFS[row["tif"]], state=STATES[row[state]],
                    size=float(self._scale.size(row["lots"])), filled=float(self._scale.size(row[filled])),
                    price=self._scale.price(limit) if limit else None,
                    stop_price=self._scale.price(stop) if stop else None, tag=int(row["tag"]),
                )
            )  # fmt: skip
        return found

    def _send(self, side: int, size: float, price: float | None, kind: str | None, tif: str, stop_price: float | None,
              expire: int | None, post_only: bool, reduce_only: bool, tag: int) -> int:  # noqa: FBT001  # fmt: skip
        if kind is None:
            kind = "market" if price is None else "limit"
        if kind not in _TYPE:
            raise StrategyError(f"order type {kind!r}", remedy=f"Use one of {', '.join(_TYPE)}.")
        if tif not in _TIF:
            raise StrategyError(f"time in force {tif!r}", remedy=f"Use one of {', '.join(_TIF)}.")
        if not (isinstance(size, int | float | np.number) and math.isfinite(size) and size >= 0):
            raise StrategyError(f"order size {size!r}", remedy="Give a size in units, above 0; sell() goes short.")
        limit, stop = None, None
        if kind == "market" and price is not None:
            raise StrategyError("a market order has no price", remedy='Leave price out, or use type="limit".')
        if kind in {"market", "limit"} and stop_price is not None:
            raise StrategyError(f"a {kind} order has no stop_price", remedy='Use type="stop" or type="stop_limit".')
        if kind == "stop" and price is not None and stop_price is not None:
            raise StrategyError(
                "a stop order has one price", remedy='Give it as price or as stop_price, or use type="stop_limit".'
            )
        if kind in {"limit", "stop_limit"}:
            limit = self._ticks(price, "price", up=side < 0)
        if kind == "stop":
            stop = self._ticks(price if stop_price is None else stop_price, "price", up=side > 0)
        if kind == "stop_limit":
            stop = self._ticks(stop_price, "stop_price", up=side > 0)
        flags = layout.POST_ONLY if post_only or tif == "POST_ONLY" else 0
        flags |= layout.REDUCE_ONLY if reduce_only else 0
        if (expire is not None) != (tif == "GTD"):
            raise StrategyError(f"expire is {expire} with {tif}", remedy="GTD orders, and only they, need it (UTC ms).")
        return self._account.request(
            layout.ORDER_REQUEST, self._strategy, self._market, type=_TYPE[kind], tif=_TIF[tif], flags=flags,
            lots=side * whole_lots(float(size), self._scale), limit_ticks=limit or 0,
            stop_ticks=stop or 0, expire_ns=0 if expire is None else int(expire) * 1_000_000, tag=int(tag),
        )  # fmt: skip

    def _ticks(self, price: float | None, name: str, *, up: bool) -> int:
        if price is None or not math.isfinite(price) or price <= 0:
            raise StrategyError(f"order {name} is {price}", remedy=f"Give {name} as a price above 0.")
        return max(1, whole_ticks(float(price), self._scale, up=up))
