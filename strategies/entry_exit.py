"""An entry and an exit as one strategy: flat, the entry is asked; in a position, the exit; never while an order works.

What the account says is only read when it can have changed: the runtime tells every change of an order and
every closed trade, and between two of those a bar costs one call of the user's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.bars import FloatColumn
from engine.ctx import Context, Logger, Position
from engine.errors import StrategyError, TapewrightError
from engine.figures.trades import Trade
from engine.reading import OrderUpdate
from engine.series import Frame, Window
from engine.settings import Sizing
from engine.strategy import CodeFile, Input, InputValue, Schema, Strategy, source_digest
from strategies.loading import raised
from strategies.parts import Part

_ENTRY_TAG, _EXIT_TAG = 1, 2
_UNSURE, _WAITING, _FLAT, _HELD = range(4)
_FINISHED = frozenset({"FILLED", "CANCELED", "EXPIRED", "REJECTED"})
_COLUMNS = ("close", "open", "high", "low", "volume", "time")
_SIDES = {True: 1, "long": 1, "short": -1, -1: -1}


class PartWindow:
    """What an entry or exit sees: the market up to the current bar, its own parameters, the position.

    With a timeframe of its own the columns, `ind` and `index` are of bars of that timeframe, up to the last one that is
    over. `price`, the last close, is set at each of them; `close` too, as most rules read it, from the first time on
    that this one does; the other columns are cut when they are asked for.
    """

    __slots__ = ("_ctx", "_is_cut", "_kind", "_view", "close", "ind", "index", "params", "price", "side")

    def __init__(self, ctx: Context, kind: str, params: dict[str, InputValue], view: Context | Frame) -> None:
        self._ctx = ctx
        self._kind = kind
        self._view = view
        self._is_cut = False
        self.close: FloatColumn
        self.ind = view.ind
        self.index = -1
        self.price = math.nan
        self.params = params
        self.side = 0

    @property
    def open(self) -> FloatColumn:
        """Opens up to the current bar."""
        return self._view.open

    @property
    def high(self) -> FloatColumn:
        """Highs up to the current bar."""
        return self._view.high

    @property
    def low(self) -> FloatColumn:
        """Lows up to the current bar."""
        return self._view.low

    @property
    def volume(self) -> FloatColumn:
        """Volumes up to the current bar."""
        return self._view.volume

    @property
    def time(self) -> NDArray[np.int64]:
        """Opening times up to the current bar, UTC ms."""
        return self._view.time

    @property
    def position(self) -> Position:
        """The position: size, entry_price, pnl. `side` (1, -1, 0) is the quicker look."""
        return self._ctx.position

    @property
    def symbol(self) -> str:
        """The market's symbol."""
        return self._ctx.symbol

    @property
    def timeframe(self) -> str:
        """The timeframe of the bars."""
        return str(self._view.timeframe)

    def tf(self, timeframe: str) -> Window:
        """Bars of a timeframe, the run's or a multiple of it, as `ctx.tf`."""
        return self._ctx.tf(timeframe)

    @property
    def logger(self) -> Logger:
        """The run's log."""
        return self._ctx.logger

    @property
    def state(self) -> dict[str, Any]:
        """A dict of this entry (or exit) on this market, kept with the run's snapshots."""
        found: dict[str, Any] = self._ctx.state.setdefault(f"{self._kind} {self._ctx.symbol}", {})
        return found

    def __getitem__(self, name: str) -> Any:
        """A column by name, or an indicator by its spec: `window["sma_20_1h"]`, several outputs as a tuple.

        One value for each bar of `close`; of a higher timeframe that of the last higher bar that was over.
        """
        if name in _COLUMNS:
            return getattr(self, name)
        return self.ind[name]


class _UncutWindow(PartWindow):
    """A window before its rule has read `close`: that cuts it, and lets it be cut for each question from then on."""

    __slots__ = ()

    @property
    def close(self) -> FloatColumn:
        """Closes up to the current bar."""
        self.close = self._view.close
        return self.close

    @close.setter
    def close(self, shown: FloatColumn) -> None:
        # There `close` is an attribute, which is read several times faster; both have the same slots.
        self.__class__ = PartWindow  # type: ignore[assignment]
        self._is_cut = True
        self.close = shown


class _Trader:
    """The rule on one market: who is asked, what is ordered."""

    __slots__ = ("_closes", "_ctx", "_entry_frame", "_entry_path", "_entry_window", "_exit_frame", "_exit_path",
                 "_exit_window", "_frame", "_mode", "_sizing", "_value", "_window", "entry_price", "should_enter",
                 "should_exit", "side")  # fmt: skip

    def __init__(
        self, ctx: Context, entry: Part, exit_part: Part, sizing: Sizing, timeframes: tuple[str, str]
    ) -> None:  # fmt: skip
        self._ctx = ctx
        self._closes = _items(ctx)
        self._entry_path, self._exit_path = entry.path, exit_part.path
        self._sizing = sizing
        self._value = float(sizing.value)
        entry_params, exit_params = _own(ctx.params, "entry_"), _own(ctx.params, "exit_")
        self._entry_frame, self._exit_frame = (_frame_of(ctx, timeframe) for timeframe in timeframes)
        self._entry_window = _UncutWindow(ctx, "entry", entry_params, self._entry_frame or ctx)
        self._exit_window = _UncutWindow(ctx, "exit", exit_params, self._exit_frame or ctx)
        self._window, self._frame = self._entry_window, self._entry_frame  # of the one whose turn it is
        self.should_enter = entry.make(entry_params)
        self.should_exit = exit_part.make(exit_params)
        self.entry_price = math.nan
        self.side = 0
        self._mode = _UNSURE  # at the start, after a resume, and after each order: look before the next question

    def bar(self, ctx: Context, index: int) -> None:
        """One bar: ask the one whose turn it is."""
        mode = self._mode
        if mode == _UNSURE:
            self._look()
            mode = self._mode
        if mode == _WAITING:
            return
        window, frame = self._window, self._frame
        if frame is None:
            window.index = index
            try:
                window.price = self._closes[index]
            except IndexError:  # there are more bars, in other columns
                self._closes = _items(ctx)
                window.price = self._closes[index]
            if window._is_cut:  # noqa: SLF001 - it is one with the windows
                window.close = ctx.close
        elif frame.is_new:
            window.index, window.close = frame.stop - 1, frame.close
            window.price = frame.close.item(-1)
        else:
            return
        try:
            wanted = self.should_exit(window, self.entry_price) if mode == _HELD else self.should_enter(window)
            if not wanted:
                return
        except TapewrightError:
            raise
        except Exception as error:  # the strategy boundary
            asked = (self._exit_path, "should_exit") if mode == _HELD else (self._entry_path, "should_enter")
            raise raised(error, *asked) from error
        if mode == _FLAT:
            self._enter(_side_of(wanted, self._entry_path))
        elif isinstance(wanted, bool | np.bool_):
            self._exit()
        else:
            raise StrategyError(f"{self._exit_path}: should_exit returned {wanted!r}", remedy="Return True or False.")

    def on_order(self, order: OrderUpdate) -> None:
        """An order changed: one that is done ends the waiting."""
        if order.state not in _FINISHED:
            return
        self._look()
        if order.tag == _ENTRY_TAG and order.filled > 0:
            price = order.fill_price if math.isnan(self.entry_price) else self.entry_price
            self._ctx.logger.info(f"ENTER at {_spelled(price)}")

    def on_trade(self, trade: Trade) -> None:
        """The position is closed, by an order, a guard, a liquidation or the end of the run."""
        self._look()
        self._ctx.logger.info(f"EXIT at {_spelled(trade.exit_price)}, P&L: {trade.pnl_percent:.2f}%")

    def _look(self) -> None:
        ctx = self._ctx
        size = ctx.position.size
        self.side = (size > 0) - (size < 0)
        self.entry_price = ctx.position.entry_price
        self._mode = _WAITING if ctx.orders else _HELD if self.side else _FLAT
        self._entry_window.side = self._exit_window.side = self.side
        is_held = self._mode == _HELD
        self._window = self._exit_window if is_held else self._entry_window
        self._frame = self._exit_frame if is_held else self._entry_frame

    def _enter(self, side: int) -> None:
        order = self._ctx.buy if side > 0 else self._ctx.sell
        order(self._size(), tag=_ENTRY_TAG)
        self._mode = _UNSURE

    def _exit(self) -> None:
        ctx = self._ctx
        size = 0.0
        if self._sizing.close_policy == "recompute":
            size = min(self._size(), abs(ctx.position.size))
        if size > 0:
            (ctx.sell if self.side > 0 else ctx.buy)(size, reduce_only=True, tag=_EXIT_TAG)
        else:
            ctx.flatten()
        self._mode = _UNSURE

    def _size(self) -> float:
        sizes, sizing = self._ctx.size, self._sizing
        match sizing.type:
            case "fixed":
                return sizes.fixed(self._value)
            case "percent_equity":
                return sizes.percent_equity(self._value)
            case "risk":
                return sizes.risk(self._value, float(sizing.stop_distance) * float(self._ctx.close[-1]))
            case _:
                assert_never(sizing.type)


def _items(ctx: Context) -> memoryview:
    """All closes, the future included: an item of it is a Python number, and got faster than one of an array."""
    return memoryview(ctx.column("close").data)


def _frame_of(ctx: Context, timeframe: str) -> Frame | None:
    """The bars of a timeframe; None for the run's own."""
    frame = ctx.tf(timeframe) if timeframe else ctx
    return frame if isinstance(frame, Frame) else None


def join(
    entry: Part, exit_part: Part, sizing: Sizing, timeframes: tuple[str, str] = ("", "")
) -> tuple[Strategy, dict[str, InputValue]]:  # fmt: skip
    """One strategy of both, and its parameters: those of the entry as `entry_NAME`, of the exit as `exit_NAME`.

    `timeframes` of entry and exit: each is asked when a bar of its own has closed; empty: at each bar.
    """
    traders: dict[Context, _Trader] = {}

    def on_init(ctx: Context) -> None:
        traders[ctx] = _Trader(ctx, entry, exit_part, sizing, timeframes)

    def on_bar(ctx: Context, i: int) -> None:
        traders[ctx].bar(ctx, i)

    def bar_caller(ctx: Context) -> Callable[[Context, int], None]:
        return traders[ctx].bar

    def on_order(ctx: Context, order: OrderUpdate) -> None:
        traders[ctx].on_order(order)

    def on_trade(ctx: Context, trade: Trade) -> None:
        traders[ctx].on_trade(trade)

    def on_finish(ctx: Context) -> None:
        del traders[ctx]

    strategy = Strategy(
        schema=_joined_schema(entry, exit_part), path=str(entry.path),
        source_hash=source_digest(entry.source, exit_part.source),
        on_init=on_init, on_bar=on_bar, on_order=on_order, on_trade=on_trade, on_finish=on_finish,
        files=tuple(CodeFile(str(part.path), part.source) for part in (entry, exit_part)), bar_caller=bar_caller,
    )  # fmt: skip
    params = {f"entry_{name}": value for name, value in entry.params.items()}
    return strategy, params | {f"exit_{name}": value for name, value in exit_part.params.items()}


def _joined_schema(entry: Part, exit_part: Part) -> Schema:
    inputs = [
        _renamed(spec, prefix)
        for prefix, part in (("entry_", entry), ("exit_", exit_part))
        for spec in part.schema.inputs
    ]
    return Schema(
        id=f"{entry.name}_{exit_part.name}", name=f"{entry.schema.name}, {exit_part.schema.name}", inputs=tuple(inputs)
    )


def _renamed(spec: Input, prefix: str) -> Input:
    return msgspec.structs.replace(spec, name=prefix + spec.name)


def _own(params: Mapping[str, InputValue], prefix: str) -> dict[str, InputValue]:
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


def _side_of(wanted: object, path: Path) -> int:
    try:
        return _SIDES[wanted]
    except (KeyError, TypeError):
        raise StrategyError(
            f"{path}: should_enter returned {wanted!r}",
            remedy='Return True or "long", "short" or -1, False or None.',
        ) from None


def _spelled(price: float | None) -> str:
    return "an unknown price" if price is None else f"{price:.12g}"
