"""What a strategy is told, when, and what it can do there: callbacks, ctx, orders, several markets, funding.

Markets here are made by hand: hourly bars in ticks of 0.5 and lots of 0.01, so that every number can be followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.synthetic_market import synthesize
from engine.bars import Bars, timeframe_ns
from engine.errors import StrategyError
from engine.frames import aggregate
from engine.indicators import DEFINITIONS, compute
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import FundingSeries, Market, event_stream, static_funding
from engine.reading import OrderUpdate, view_as
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, Execution, InstrumentKind, RunSettings
from engine.strategy import Schema, Strategy, resolve_params
from strategies.loading import load_strategy

BUILTINS = Path(__file__).parents[2] / "strategies" / "builtins"
HOUR_NS = timeframe_ns("1h")
START_NS = 20_000 * 24 * HOUR_NS
FREE = RunSettings(initial_cash=Decimal(10_000))
Call = Callable[..., Any]


def bars(rows: list[tuple[float, float, float, float]], symbol: str = "ONE", volume: float = 1_000.0,
         hours: list[int] | None = None) -> Bars:  # fmt: skip
    """Bars of (open, high, low, close), at the hours given or one after the other."""
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    ts_ns = START_NS + HOUR_NS * np.array(range(len(rows)) if hours is None else hours, dtype=np.int64)
    return Bars(symbol, "1h", ts_ns, *columns, np.full(len(rows), volume))


def flat(count: int, price: float = 100.0, symbol: str = "ONE", hours: list[int] | None = None) -> Bars:
    return bars([(price, price + 1, price - 1, price)] * count, symbol, hours=hours)


def market(own: Bars, kind: InstrumentKind = "linear", funding: FundingSeries | None = None) -> Market:
    return Market(Instrument(own.symbol, Decimal("0.5"), Decimal("0.01"), kind=kind), own, funding)


def run_of(name: str = "s", markets: tuple[int, ...] = (0,), **functions: Call) -> StrategyRun:
    return StrategyRun(name, Strategy(Schema("made_up", "Made up"), __file__, "", **functions), {}, markets)


def run(own: Bars, settings: RunSettings = FREE, kind: InstrumentKind = "linear", **functions: Call) -> RunResult:
    return Replay(settings, [market(own, kind)], [run_of(**functions)]).run()


def at(index: int, action: Call) -> Call:
    """An `on_bar` that acts at one bar."""
    return lambda ctx, i: action(ctx) if i == index else None


def told(own: Bars, action: Call, settings: RunSettings = FREE, kind: InstrumentKind = "linear") -> list[OrderUpdate]:
    """All updates that a strategy gets that acts at the first bar."""
    updates: list[OrderUpdate] = []
    settings = msgspec.structs.replace(settings, close_at_end=False)
    run(own, settings, kind, on_bar=at(0, action), on_order=lambda ctx, order: updates.append(order))
    return updates


def states(updates: list[OrderUpdate]) -> list[str]:
    return [f"{update.id} {update.state} {update.reason}".strip() for update in updates]


# ── on_order ────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_field_of_an_update() -> None:
    settings = RunSettings(commission=Commission(maker_bps=Decimal(1), taker_bps=Decimal(4)))
    updates = told(bars([(100, 101, 99, 100), (100, 101, 97, 99)]),
                   lambda ctx: ctx.buy(2.5, 98.0, "limit", tag=7), settings)  # fmt: skip
    common: dict[str, Any] = {"id": 1, "symbol": "ONE", "side": "buy", "reason": "", "type": "limit", "size": 2.5,
                              "price": 98.0, "stop_price": None, "tag": 7}  # fmt: skip
    nothing: dict[str, Any] = {"filled": 0.0, "fill_price": None, "fill_size": 0.0, "fee": 0.0}
    assert updates == [
        OrderUpdate(state="NEW", ts_ns=START_NS + HOUR_NS, **common, **nothing),
        # It arrives at the next open, and fills inside that bar, which is stamped with its close.
        OrderUpdate(state="ACTIVE", ts_ns=START_NS + HOUR_NS, **common, **nothing),
        OrderUpdate(state="FILLED", ts_ns=START_NS + 2 * HOUR_NS, **common, filled=2.5, fill_price=98.0,
                    fill_size=2.5, fee=0.0245),
    ]  # fmt: skip


def shared(share: str) -> RunSettings:
    return RunSettings(execution=Execution(max_volume_share=Decimal(share)))


@pytest.mark.parametrize(
    ("action", "settings", "expected", "why"),
    [
        (lambda ctx: ctx.buy(1), FREE, "1 NEW, 1 ACTIVE, 1 FILLED", "a market order"),
        (lambda ctx: ctx.buy(25), shared("0.01"), "1 NEW, 1 ACTIVE, 1 PARTIAL, 1 PARTIAL, 1 FILLED",
         "10 units a bar: 10, 10, 5"),
        (lambda ctx: ctx.buy(25, tif="IOC"), shared("0.01"), "1 NEW, 1 ACTIVE, 1 PARTIAL, 1 CANCELED ioc",
         "what is there at once"),
        (lambda ctx: ctx.buy(25, tif="FOK"), shared("0.01"), "1 NEW, 1 ACTIVE, 1 CANCELED fok", "all or nothing"),
        (lambda ctx: ctx.buy(1, 90.0), FREE, "1 NEW, 1 ACTIVE, 1 CANCELED end_of_run", "a limit never reached"),
        (lambda ctx: ctx.buy(1, 90.0, tif="GTD", expire=(START_NS + 2 * HOUR_NS) // 10**6), FREE,
         "1 NEW, 1 ACTIVE, 1 EXPIRED expired", "good till a time"),
        (lambda ctx: ctx.buy(1, 90.0, tif="IOC"), FREE, "1 NEW, 1 ACTIVE, 1 CANCELED ioc", "not at once"),
        (lambda ctx: ctx.buy(1, 101.0, tif="POST_ONLY"), FREE, "1 NEW, 1 REJECTED post_only", "it would have taken"),
        (lambda ctx: ctx.buy(1, 90.0, post_only=True), FREE, "1 NEW, 1 ACTIVE, 1 CANCELED end_of_run", "it rests"),
        (lambda ctx: ctx.buy(1, reduce_only=True), FREE, "1 NEW, 1 ACTIVE, 1 CANCELED reduce_only", "nothing held"),
        (lambda ctx: ctx.buy(1_000), FREE, "1 NEW, 1 ACTIVE, 1 CANCELED insufficient_margin", "100,000 with 10,000"),
        (lambda ctx: ctx.buy(1_000, 99.0), FREE, "1 NEW, 1 REJECTED insufficient_margin", "a limit is checked before"),
        (lambda ctx: ctx.buy(0), FREE, "1 NEW, 1 REJECTED invalid", "no size: size helpers give 0 where nothing fits"),
        (lambda ctx: ctx.buy(0.004), FREE, "1 NEW, 1 REJECTED invalid", "less than a lot"),
        (lambda ctx: ctx.buy(1, 90.0, tif="GTD", expire=1), FREE, "1 NEW, 1 REJECTED invalid", "long past"),
        (lambda ctx: ctx.cancel(ctx.buy(1)), FREE, "1 NEW, 1 CANCELED requested", "before it arrived"),
        (lambda ctx: ctx.cancel(77), FREE, "", "nothing there"),
        (lambda ctx: ctx.flatten(), FREE, "", "nothing held"),
        (lambda ctx: (ctx.buy(1), ctx.sell(1)), FREE, "1 NEW, 2 NEW, 1 ACTIVE, 2 ACTIVE, 1 FILLED, 2 FILLED",
         "in the order given; both arrive, then both fill"),
    ],
)  # fmt: skip
def test_states_and_reasons(action: Call, settings: RunSettings, expected: str, why: str) -> None:
    assert ", ".join(states(told(flat(5), action, settings))) == expected, why


def test_spot_sells_only_what_it_holds() -> None:
    updates = told(flat(4), lambda ctx: ctx.sell(1), kind="spot")
    assert states(updates) == ["1 NEW", "1 REJECTED no_short"]


def test_partial_fills_say_how_much() -> None:
    updates = told(flat(5), lambda ctx: ctx.sell(25), shared("0.01"))
    fills = [(update.state, update.fill_size, update.filled, update.side) for update in updates if update.fill_price]
    assert fills == [("PARTIAL", 10.0, 10.0, "sell"), ("PARTIAL", 10.0, 20.0, "sell"), ("FILLED", 5.0, 25.0, "sell")]


# ── What is known when ──────────────────────────────────────────────────────────────────────────────────────


def test_callbacks_see_the_bars_known_then_and_no_more() -> None:
    own = synthesize("ONE", "1h", 300, 3, tick_decimals=0)
    made = market(msgspec.structs.replace(own, volume=np.round(own.volume, 2)))
    made = Market(Instrument("ONE", Decimal(1), Decimal("0.01")), made.bars)
    seen: list[tuple[str, int, int]] = []

    def note(what: str, ctx: Any, ts_ns: int) -> None:
        assert ctx.index + 1 == len(ctx.close) == len(ctx.time) == len(ctx.bars) == len(ctx.ind.sma(ctx.close, 3))
        seen.append((what, ts_ns, int(ctx.time[-1]) * 10**6 + HOUR_NS))

    def on_bar(ctx: Any, i: int) -> None:
        note("bar", ctx, int(own.ts_ns[i]) + HOUR_NS)
        if i % 5 == 0:
            ctx.buy(0.1, float(ctx.close[i]) - 2_000)
        if i % 7 == 0:
            ctx.sell(0.1)

    def on_order(ctx: Any, order: OrderUpdate) -> None:
        note(order.state, ctx, order.ts_ns)

    def on_trade(ctx: Any, trade: Any) -> None:
        note("trade", ctx, trade.exit_ts_ns)

    settings = RunSettings(initial_cash=Decimal(1_000_000), close_at_end=False)
    Replay(settings, [made], [run_of(on_bar=on_bar, on_order=on_order, on_trade=on_trade)]).run()
    assert {what for what, _, _ in seen} >= {"bar", "NEW", "ACTIVE", "FILLED", "CANCELED", "trade"}
    for what, happened, known in seen:
        # What happens at a bar's open is told at its close; all else at the moment it happens.
        is_late = what in {"ACTIVE", "FILLED", "trade"}
        assert known - happened in ({0, HOUR_NS} if is_late else {0}), what
    times = [known for _, _, known in seen]
    assert times == sorted(times)


def test_callbacks_come_before_the_bar_of_the_same_time() -> None:
    calls: list[str] = []
    run(
        flat(3),
        on_init=lambda ctx: calls.append(f"init {ctx.index}"),
        on_bar=lambda ctx, i: (calls.append(f"bar {i}"), i == 0 and ctx.buy(1)),
        on_order=lambda ctx, order: calls.append(f"{order.state} {ctx.index}"),
        on_trade=lambda ctx, trade: calls.append(f"trade {trade.exit_reason} {ctx.index}"),
        on_finish=lambda ctx: calls.append(f"finish {ctx.index}"),
    )
    assert calls == ["init -1", "bar 0", "NEW 0", "ACTIVE 1", "FILLED 1", "bar 1", "bar 2", "NEW 2", "ACTIVE 2",
                     "FILLED 2", "trade end 2", "finish 2"]  # fmt: skip


def test_orders_of_signals_are_told_at_their_bars_too() -> None:
    # One strategy asks ahead and listens; that another one, which does nothing, is called every bar changes nothing.
    heard: list[tuple[str, int]] = []

    def signals(ctx: Any) -> dict[str, Any]:
        wanted = np.arange(len(ctx.close)) == 2
        return {"buy": wanted, "size": 1.0}

    def on_order(ctx: Any, order: OrderUpdate) -> None:
        heard.append((order.state, ctx.index))

    alone = run_of(signals=signals, on_order=on_order)
    expected = [("NEW", 2), ("ACTIVE", 3), ("FILLED", 3)]
    idle = run_of("idle", on_bar=lambda ctx, i: None)
    settings = RunSettings(close_at_end=False)
    for runs in ([alone], [alone, idle], [run_of(signals=signals, on_order=on_order, on_bar=lambda ctx, i: None)]):
        heard.clear()
        Replay(settings, [market(flat(8))], runs).run()
        assert heard == expected


# ── Orders from callbacks ───────────────────────────────────────────────────────────────────────────────────


def test_orders_from_callbacks_work() -> None:
    # In at 100 by bar 1's open; told at its close; the target at 104 is hit in bar 3.
    updates: list[OrderUpdate] = []
    trades: list[Any] = []

    def on_order(ctx: Any, order: OrderUpdate) -> None:
        updates.append(order)
        if order.state == "FILLED" and order.tag == 1:
            ctx.sell(order.size, 104.0, tag=2)
            ctx.sell(order.size, 95.0, "stop", tag=3)

    def on_trade(ctx: Any, trade: Any) -> None:
        trades.append(trade)
        ctx.cancel_all()

    own = bars([(100, 101, 99, 100), (100, 101, 99, 100), (100, 103, 99, 102), (102, 106, 101, 105),
                (105, 106, 94, 95)])  # fmt: skip
    run(own, on_bar=at(0, lambda ctx: ctx.buy(1, tag=1)), on_order=on_order, on_trade=on_trade)
    assert states(updates) == ["1 NEW", "1 ACTIVE", "1 FILLED", "2 NEW", "3 NEW", "2 ACTIVE", "3 ACTIVE",
                               "2 FILLED", "3 CANCELED requested"]  # fmt: skip
    (trade,) = trades
    assert (trade.pnl, trade.side, trade.bars_held, trade.exit_reason) == (Decimal(4), "long", 2, "order")
    assert (trade.entry_price, trade.exit_price, trade.size) == (100.0, 104.0, Decimal(1))
    assert (trade.mae, trade.mfe) == (-1, 4)


@pytest.mark.parametrize("fill_model", ["close_to_open", "close_to_close"])
def test_an_endless_echo_is_stopped(fill_model: Any) -> None:
    # At the close each order gives several updates, so that the echo would grow without end, not just go on.
    settings = RunSettings(execution=Execution(fill_model=fill_model))
    with pytest.raises(StrategyError, match="answered each other"):
        run(flat(5), settings, on_bar=at(1, lambda ctx: ctx.buy(0.01)), on_order=lambda ctx, order: ctx.buy(0.01))


def test_a_long_answer_that_ends_is_no_echo() -> None:
    counted = []

    def on_order(ctx: Any, order: OrderUpdate) -> None:
        if order.state == "NEW" and order.tag < 400:
            counted.append(ctx.buy(0.01, 90.0, tag=order.tag + 1))

    run(flat(3), on_bar=at(0, lambda ctx: ctx.buy(0.01, 90.0)), on_order=on_order)
    assert len(counted) == 400


@pytest.mark.parametrize("callback", ["on_init", "on_bar", "on_order", "on_trade", "on_finish", "signals"])
@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_error_in_any_callback_says_where(callback: str, error: type[BaseException]) -> None:
    """One that would end the process too."""

    def fails(*arguments: Any) -> None:
        raise error("oops")

    functions = {"on_bar": lambda ctx, i: ctx.buy(1) if i % 2 else ctx.flatten()} | {callback: fails}
    with pytest.raises(StrategyError, match=rf"s: {callback}.*{error.__name__}: oops[^$]*test_callbacks.py:\d+"):
        run(flat(6), **functions)


# ── Figures in ctx ──────────────────────────────────────────────────────────────────────────────────────────


def test_ctx_figures_are_those_of_the_outputs() -> None:
    own = synthesize("ONE", "1h", 400, 5)
    made = Market(Instrument("ONE", Decimal("0.01"), Decimal("0.00001")), own)
    settings = RunSettings(
        initial_cash=Decimal(1_000_000), leverage=Decimal(4), close_at_end=False,
        commission=Commission(maker_bps=Decimal(1), taker_bps=Decimal(4)),
    )  # fmt: skip
    rows = []

    def on_bar(ctx: Any, i: int) -> None:
        position, account = ctx.position, ctx.portfolio
        rows.append((account.equity, account.exposure, account.margin, account.cash, position.size,
                     position.entry_price, position.pnl, account.leverage))  # fmt: skip
        if i % 9 == 0:
            (ctx.buy if i % 2 else ctx.sell)(1.0 + i % 4)
        if i % 31 == 0:
            ctx.flatten()

    result = Replay(settings, [made], [run_of(on_bar=on_bar)]).run()
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    assert len(fills) > 40
    held = 0
    for i, (equity, exposure, margin, cash, size, entry, pnl, leverage) in enumerate(rows):
        _, *sample = result.samples[i].tolist()
        assert (equity, exposure, margin) == tuple(units / 1e8 for units in sample)
        before = fills[fills["ts_ns"] <= own.ts_ns[i]]  # market orders fill at opens
        if not len(before):
            assert (cash, size, pnl, leverage) == (1_000_000.0, 0.0, 0.0, 0.0)
            assert math.isnan(entry)
            continue
        last = before[-1]
        lots, cost = int(last["ledger_lots"]), int(last["ledger_cost"])
        assert cash == last["cash"] / 1e8
        assert size == pytest.approx(lots / 1e5, rel=1e-15)
        assert leverage == pytest.approx(exposure / equity, rel=1e-15)
        if lots == 0:
            assert math.isnan(entry)
            assert pnl == exposure == 0.0
            continue
        held += 1
        assert entry == pytest.approx(cost / 1e8 / size, rel=1e-12)
        assert pnl == pytest.approx(size * float(own.close[i]) - cost / 1e8, abs=1e-6)
        assert equity == pytest.approx(cash + pnl, abs=1e-6)
        assert margin == pytest.approx(exposure / 4, abs=1e-6)
    assert held > 200


def test_spot_cash_is_what_is_not_spent() -> None:
    seen = []

    def on_bar(ctx: Any, i: int) -> None:
        seen.append((ctx.portfolio.cash, ctx.portfolio.equity, ctx.portfolio.margin))
        if i == 0:
            ctx.buy(10)

    run(bars([(100, 101, 99, 100), (100, 111, 99, 110), (110, 111, 109, 110)]), kind="spot", on_bar=on_bar)
    assert seen == [(10_000.0, 10_000.0, 0.0), (9_000.0, 10_100.0, 1_100.0), (9_000.0, 10_100.0, 1_100.0)]


def test_working_orders_and_their_cancelling() -> None:
    listed: list[Any] = []

    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.buy(1.5, 90.0, tag=4)
            ctx.sell(2, 110.0, "stop_limit", stop_price=111.0)
        listed.append(ctx.orders)
        if i == 1:
            ctx.cancel(1)
            listed.append(ctx.orders)
            ctx.cancel(1)
            ctx.cancel_all()
            listed.append(ctx.orders)

    updates: list[OrderUpdate] = []
    run(flat(3), on_bar=on_bar, on_order=lambda ctx, order: updates.append(order))
    at_first, at_second, after_one, after_all, at_third = listed
    fields = [(order.id, order.type, order.tif, order.state, order.size, order.filled, order.price, order.stop_price,
               order.tag) for order in at_first]  # fmt: skip
    assert fields == [(1, "limit", "GTC", "NEW", 1.5, 0.0, 90.0, None, 4),
                      (2, "stop_limit", "GTC", "NEW", -2.0, 0.0, 110.0, 111.0, 0)]  # fmt: skip
    # The price stands at 100, under the stop's 111: a sell stop is past its trigger and a limit order at once.
    assert [order.state for order in at_second] == ["ACTIVE", "ACTIVE"]
    assert [order.id for order in after_one] == [2]
    assert after_all == at_third == []
    assert states(updates)[-2:] == ["1 CANCELED requested", "2 CANCELED requested"]


def test_nobody_cancels_another_strategys_orders() -> None:
    updates: list[OrderUpdate] = []

    def meddle(ctx: Any, i: int) -> None:
        if i == 1:
            ctx.cancel(1)
            ctx.cancel_all()

    owner = run_of(
        "owner", on_bar=at(0, lambda ctx: ctx.buy(1, 90.0)), on_order=lambda ctx, order: updates.append(order)
    )
    Replay(FREE, [market(flat(4))], [owner, run_of("other", on_bar=meddle)]).run()
    assert states(updates) == ["1 NEW", "1 ACTIVE", "1 CANCELED end_of_run"]


def test_flatten_closes_the_position_and_leaves_orders() -> None:
    def on_bar(ctx: Any, i: int) -> None:
        if i == 0:
            ctx.sell(3)
            ctx.buy(1, 90.0)
        if i == 2:
            ctx.flatten()
        if i == 3:
            assert ctx.position.size == 0
            assert [order.id for order in ctx.orders] == [2]

    result = run(flat(5), on_bar=on_bar)
    (trade,) = result.trades()
    assert (trade.side, trade.size, trade.bars_held) == ("short", Decimal(3), 2)


# ── Mistakes in orders ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda ctx: ctx.buy(-1), r"order size -1\n  Give a size in units, above 0; sell\(\) goes short"),
        (lambda ctx: ctx.buy(math.nan), "order size nan"),
        (lambda ctx: ctx.buy(math.inf), "order size inf"),
        (lambda ctx: ctx.buy("1"), "order size '1'"),
        (lambda ctx: ctx.buy(None), "order size None"),
        (lambda ctx: ctx.buy(1, type="markt"), "order type 'markt'\n  Use one of market, limit, stop, stop_limit"),
        (lambda ctx: ctx.buy(1, tif="GTX"), "time in force 'GTX'\n  Use one of GTC, IOC, FOK, GTD, POST_ONLY"),
        (lambda ctx: ctx.buy(1, 100.0, "market"), "a market order has no price\n  Leave price out"),
        (lambda ctx: ctx.buy(1, type="limit"), "order price is None\n  Give price as a price above 0"),
        (lambda ctx: ctx.sell(1, -3.0, "limit"), "order price is -3.0"),
        (lambda ctx: ctx.sell(1, math.nan), "order price is nan"),
        (lambda ctx: ctx.sell(1, 0.0, "stop"), "order price is 0.0"),
        (lambda ctx: ctx.sell(1, type="stop"), "order price is None"),
        (lambda ctx: ctx.sell(1, 99.0, "stop_limit"), "order stop_price is None\n  Give stop_price as a price"),
        (lambda ctx: ctx.sell(1, type="stop_limit", stop_price=99.0), "order price is None"),
        (lambda ctx: ctx.buy(1, stop_price=99.0), "a market order has no stop_price"),
        (lambda ctx: ctx.buy(1, 99.0, stop_price=99.0), "a limit order has no stop_price"),
        (lambda ctx: ctx.buy(1, 99.0, "stop", stop_price=98.0), "a stop order has one price"),
        (lambda ctx: ctx.buy(1, 99.0, tif="GTD"), "expire is None with GTD\n  GTD orders, and only they, need it"),
        (lambda ctx: ctx.buy(1, 99.0, expire=5), "expire is 5 with GTC"),
        (lambda ctx: ctx.size.risk(0.01, 0), "stop_distance is 0\n  Give the distance in price, above 0"),
    ],
)
def test_what_no_order_can_be_is_said(action: Call, message: str) -> None:
    with pytest.raises(StrategyError, match=f"(?s)s: on_bar at bar 0: .*{message}"):
        run(flat(3), on_bar=at(0, action))


@pytest.mark.parametrize(
    ("action", "limit", "stop", "why"),
    [
        (lambda ctx: ctx.buy(1, 98.7), 98.5, None, "a buy limit is rounded down: never worse than asked"),
        (lambda ctx: ctx.sell(1, 101.2), 101.5, None, "a sell limit up"),
        (lambda ctx: ctx.buy(1, 98.5 + 1e-10), 98.5, None, "the noise of a float is no tick"),
        (lambda ctx: ctx.sell(1, 101.5 - 1e-10), 101.5, None, "neither way"),
        (lambda ctx: ctx.buy(1, 103.2, "stop"), None, 103.5, "a buy stop up: it triggers no earlier than asked"),
        (lambda ctx: ctx.sell(1, 97.3, "stop"), None, 97.0, "a sell stop down"),
        (lambda ctx: ctx.sell(1, stop_price=97.3, type="stop"), None, 97.0, "by either name"),
        (lambda ctx: ctx.buy(1, 104.2, "stop_limit", stop_price=103.1), 104.0, 103.5, "each by its rule"),
        (lambda ctx: ctx.buy(1, 0.01), 0.5, None, "never below one tick"),
    ],
)
def test_prices_between_ticks(action: Call, limit: float | None, stop: float | None, why: str) -> None:
    update = told(flat(3), action)[0]
    assert (update.price, update.stop_price) == (limit, stop), why


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1.234, 1.23), (0.29, 0.29), (0.1 + 0.2, 0.3), (1.009999999, 1.01), (1.0099, 1.0), (3, 3.0),
        (np.float64(2.5), 2.5), (np.int64(2), 2.0),
    ],
)  # fmt: skip
def test_sizes_are_whole_lots_rounded_down(size: Any, expected: float) -> None:
    assert told(flat(3), lambda ctx: ctx.buy(size))[0].size == expected


def test_size_helpers() -> None:
    sizes = {}

    def look(ctx: Any) -> None:
        sizes.update(
            fixed=ctx.size.fixed(1.239), equity=ctx.size.percent_equity(0.1), risk=ctx.size.risk(0.01, 3.0),
            nothing=ctx.size.fixed(0.001), negative=ctx.size.fixed(-2.0),
        )  # fmt: skip

    run(flat(3), on_bar=at(0, look))
    # 10 % of 10,000 at 100; 1 % of 10,000 lost by a move of 3.
    assert sizes == {"fixed": 1.23, "equity": 10.0, "risk": 33.33, "nothing": 0.0, "negative": 0.0}


# ── Arrays and indicators ───────────────────────────────────────────────────────────────────────────────────


def test_arrays_end_at_the_bar_and_cannot_be_written() -> None:
    own = synthesize("ONE", "1h", 60, 2)
    whole = {name: getattr(own, name).copy() for name in ("open", "high", "low", "close", "volume")}

    def on_bar(ctx: Any, i: int) -> None:
        for name, column in whole.items():
            assert np.array_equal(getattr(ctx, name), column[: i + 1])
        assert np.array_equal(ctx.time, own.ts_ns[: i + 1] // 10**6)
        assert ctx.bars.shape == (i + 1, 6)
        assert np.array_equal(ctx.bars[:, 4], ctx.close)
        assert np.array_equal(ctx.bars[:, 0], ctx.time)
        for array in (ctx.open, ctx.close, ctx.volume, ctx.time, ctx.bars[:, 1], ctx.ind.sma(ctx.close, 5)):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        with pytest.raises(IndexError):
            ctx.close[i + 1]

    made = Market(Instrument("ONE", Decimal("0.01"), Decimal("0.00001")), own)
    Replay(FREE, [made], [run_of(on_bar=on_bar)]).run()


def expect_equal(found: Any, expected: tuple[Any, ...]) -> None:
    outputs = found if isinstance(found, tuple) else (found,)
    assert len(outputs) == len(expected)
    for one, other in zip(outputs, expected, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_every_memoised_indicator_is_that_of_the_prefix() -> None:
    own = synthesize("ONE", "1h", 130, 11)
    sources = {"ts": "ts_ns"}

    def on_bar(ctx: Any, i: int) -> None:
        if i % 17 and i > 3:
            return
        for name, definition in DEFINITIONS.items():
            parameters = tuple(parameter.default for parameter in definition.parameters)
            inputs = ["close" if one == "source" else one for one in definition.inputs]
            columns = [getattr(own, sources.get(one, one))[: i + 1].copy() for one in inputs]
            expected = compute(name, parameters, columns)
            expect_equal(getattr(ctx.ind, name)(*parameters), expected)
            if definition.inputs == ("source",):
                expect_equal(getattr(ctx.ind, name)(ctx.close, *parameters), expected)

    made = Market(Instrument("ONE", Decimal("0.01"), Decimal("0.00001")), own)
    Replay(FREE, [made], [run_of(on_bar=on_bar)]).run()


def test_indicators_of_indicators_and_of_derived_arrays() -> None:
    own = synthesize("ONE", "1h", 120, 12)

    def on_bar(ctx: Any, i: int) -> None:
        close, high = own.close[: i + 1].copy(), own.high[: i + 1].copy()
        ema, volume = compute("ema", (9,), [close]), own.volume[: i + 1].copy()
        expect_equal(ctx.ind.sma(ctx.ind.ema(ctx.close, 9), 4), compute("sma", (4,), ema))
        expect_equal(ctx.ind.rsi(ctx.ind.sma(ctx.ind.ema(ctx.close, 9), 4), 5),
                     compute("rsi", (5,), compute("sma", (4,), ema)))  # fmt: skip
        upper, _, lower = ctx.ind.bbands(ctx.close, 10, multiplier=1.5)
        bands = compute("bbands", (10, 1.5), [close])
        expect_equal(ctx.ind.ema(upper, 3), compute("ema", (3,), [bands[0]]))
        expect_equal(ctx.ind.ema(lower, 3), compute("ema", (3,), [bands[2]]))
        expect_equal(ctx.ind.sma(ctx.close - ctx.open, 4), compute("sma", (4,), [close - own.open[: i + 1]]))
        expect_equal(ctx.ind.sma(ctx.close[5:], 4), compute("sma", (4,), [close[5:].copy()]))
        expect_equal(ctx.ind.sma(ctx.close[::2], 2), compute("sma", (2,), [close[::2].copy()]))
        expect_equal(ctx.ind.sma(ctx.close[: i // 2], 2), compute("sma", (2,), [close[: i // 2].copy()]))
        expect_equal(ctx.ind.sma(ctx.bars[:, 2], 3), compute("sma", (3,), [high]))
        expect_equal(ctx.ind.sma(ctx.high, 3), compute("sma", (3,), [high]))
        expect_equal(ctx.ind.vwma(ctx.high, ctx.volume, 6), compute("vwma", (6,), [high, volume]))

    made = Market(Instrument("ONE", Decimal("0.01"), Decimal("0.00001")), own)
    Replay(FREE, [made], [run_of(on_bar=on_bar)]).run()


def test_an_indicator_is_computed_once_also_where_the_bars_are_cut_from_longer_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def counted(name: str, *arguments: Any) -> Any:
        calls.append(name)
        return compute(name, *arguments)

    monkeypatch.setattr("engine.series_indicators.compute", counted)

    def on_bar(ctx: Any, i: int) -> None:
        expect_equal(ctx.ind.ema(ctx.ind.sma(ctx.close, 3), 2), compute("ema", (2,), compute("sma", (3,), [ctx.close])))
        assert len(ctx.ind.rsi(ctx.high, 5)) == i + 1

    own = synthesize("ONE", "1h", 90, 4)
    names = ("ts_ns", "open", "high", "low", "close", "volume")
    for cut in (slice(0, 90), slice(0, 60), slice(20, 70)):
        calls.clear()
        part = Bars("ONE", "1h", *(getattr(own, name)[cut] for name in names))
        made = Market(Instrument("ONE", Decimal("0.01"), Decimal("0.00001")), part)
        Replay(FREE, [made], [run_of(on_bar=on_bar)]).run()
        assert sorted(calls) == ["ema", "rsi", "sma"]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda ctx: ctx.ind.emaa(ctx.close, 3), "emaa"),
        (lambda ctx: ctx.ind.ema(ctx.close, 0), "ema"),
        (lambda ctx: ctx.ind.atr(ctx.close, 3), "got 1 series\n  Give it high, low, close, or none"),
    ],
)
def test_mistakes_in_indicators_are_said(action: Call, message: str) -> None:
    with pytest.raises(StrategyError, match=f"(?s)s: on_bar at bar 0: .*{message}"):
        run(flat(3), on_bar=at(0, action))


# ── Several markets, several strategies ─────────────────────────────────────────────────────────────────────


def test_markets_with_gaps_are_called_at_their_own_bars() -> None:
    hours = {"ONE": [0, 1, 2, 3, 4, 5], "TWO": [1, 2, 4], "THREE": [0, 5]}
    made = [market(flat(len(own), 100.0 + 10 * index, symbol, own))
            for index, (symbol, own) in enumerate(hours.items())]  # fmt: skip
    calls: list[tuple[int, str, int]] = []

    def on_bar(ctx: Any, i: int) -> None:
        calls.append((int((ctx.ts_ns[i] - START_NS) // HOUR_NS), ctx.symbol, i))
        if ctx.symbol == "TWO" and i == 0:
            ctx.buy(1)  # at hour 2
        if ctx.symbol == "THREE" and i == 0:
            ctx.sell(1)  # its next bar is that of hour 5

    result = Replay(FREE, made, [run_of(on_bar=on_bar, markets=(0, 1, 2))]).run()
    expected = sorted((hour, index, symbol, i) for index, (symbol, own) in enumerate(hours.items())
                      for i, hour in enumerate(own))  # fmt: skip
    assert calls == [(hour, symbol, i) for hour, _, symbol, i in expected]
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    when = [(int(fill["instrument"]), int((fill["ts_ns"] - START_NS) // HOUR_NS)) for fill in fills]
    assert when == [(1, 2), (2, 5), (1, 6), (2, 6)]  # and both closed at the end
    assert len(result.samples) == 6 + 1


def test_strategies_share_the_account_and_keep_their_own_books() -> None:
    seen: dict[str, Any] = {}

    def trader(size: float) -> Call:
        def on_bar(ctx: Any, i: int) -> None:
            if i == 0:
                (ctx.buy if size > 0 else ctx.sell)(abs(size))
            if i == 2:
                seen[ctx.strategy] = (ctx.position.size, ctx.position.pnl, ctx.portfolio.equity, ctx.portfolio.exposure,
                                      ctx.state.setdefault("own", ctx.strategy))  # fmt: skip

        return on_bar

    heard: list[tuple[str, int]] = []

    def hear(name: str) -> Call:
        return lambda ctx, order: heard.append((name, order.id))

    own = bars([(100, 101, 99, 100), (100, 101, 99, 100), (100, 111, 99, 110), (110, 111, 109, 110)])
    runs = [run_of("long", on_bar=trader(3), on_order=hear("long")), run_of("short", on_bar=trader(-1)),
            run_of("other", on_bar=trader(0.5), on_order=hear("other"))]  # fmt: skip
    result = Replay(FREE, [market(own)], runs).run()
    # 3 − 1 + 0.5 units net, each of which made 10.
    assert seen == {"long": (3.0, 30.0, 10_025.0, 275.0, "long"), "short": (-1.0, -10.0, 10_025.0, 275.0, "short"),
                    "other": (0.5, 5.0, 10_025.0, 275.0, "other")}  # fmt: skip
    assert {(name, identity) for name, identity in heard if identity <= 3} == {("long", 1), ("other", 3)}
    assert {(trade.strategy, trade.pnl) for trade in result.trades()} == {("long", 30), ("short", -10), ("other", 5)}


def test_every_market_of_a_strategy_has_its_own_ctx_and_one_state() -> None:
    made = [market(flat(4, symbol=symbol)) for symbol in ("ONE", "TWO")]

    def on_bar(ctx: Any, i: int) -> None:
        ctx.state[ctx.symbol] = ctx.state.get(ctx.symbol, 0) + 1
        if ctx.symbol == "ONE" and i == 0:
            ctx.buy(1)
        if i == 2:
            assert ctx.position.size == (1.0 if ctx.symbol == "ONE" else 0.0)
        if i == 3 and ctx.symbol == "TWO":
            assert ctx.state == {"ONE": 4, "TWO": 4}

    Replay(FREE, made, [run_of(on_bar=on_bar, markets=(0, 1))]).run()


# ── Funding ─────────────────────────────────────────────────────────────────────────────────────────────────


def funded(own: Bars, funding: FundingSeries) -> tuple[RunResult, Any]:
    """A run that buys 2 units at the second open and holds them, and its funding outputs."""
    made = market(own, funding=funding)
    result = Replay(FREE, [made], [run_of(on_bar=at(0, lambda ctx: ctx.buy(2)))]).run()
    return result, view_as(result.outputs, layout.FUNDING_OUTPUT, layout.FUNDING_VIEW)


def test_a_static_rate_settles_at_whole_intervals_at_the_last_price() -> None:
    own = bars([(100, 101, 99, 100), (100, 101, 99, 101), (101, 103, 100, 102), (102, 103, 101, 103)])
    result, paid = funded(own, static_funding(own, Decimal("0.001"), 1))
    # At hours 0 and 1 nothing is held yet: what settles at an open comes before its fills. Then 2 · 101, 2 · 102.
    assert ((paid["ts_ns"] - START_NS) // HOUR_NS).tolist() == [2, 3]
    assert paid["payment"].tolist() == [20_200_000, 20_400_000]
    assert set(paid["reason"].tolist()) == {layout.BY_STATIC_RATE}
    (trade,) = result.trades()
    assert (trade.gross_pnl, trade.funding, trade.pnl) == (6, Decimal("0.406"), Decimal("5.594"))


def test_a_series_settles_at_its_own_times_inside_bars_too() -> None:
    # Into bar 1 twice: half past, and three quarters; then at the open of bar 3, where a limit order also fills.
    own = bars([(100, 101, 99, 100), (100, 101, 99, 101), (101, 103, 100, 102), (102, 103, 101, 103)])
    times = START_NS + np.array([int(1.5 * HOUR_NS), int(1.75 * HOUR_NS), 3 * HOUR_NS], dtype=np.int64)
    rates = np.array([10**9, -(10**9), 2 * 10**9], dtype=np.int64)
    marks = np.array([0, 150 * 10**8, 12_345_678_901], dtype=np.int64)
    made = market(own, funding=FundingSeries(times, rates, marks))
    stream = event_stream([made])
    kinds = [int(kind) for kind in stream.records["kind"]]
    bar, opens, settles, end = layout.BAR, layout.BAR_OPEN, layout.FUNDING, layout.END
    assert kinds == [bar, opens, settles, settles, bar, bar, settles, bar, end]
    result, paid = funded(own, FundingSeries(times, rates, marks))
    # The market order filled at the open at hour 1, so it is held at half past: 2 · 100 (the mark is the open) at
    # 0.1 %; then 2 · 150 at −0.1 % received; then 2 · 123.45678901 at 0.2 %.
    assert paid["payment"].tolist() == [20_000_000, -30_000_000, 49_382_716]
    assert paid["ts_ns"].tolist() == times.tolist()
    assert paid["lots"].tolist() == [200] * 3
    assert set(paid["reason"].tolist()) == {layout.BY_VENUE_RATE}
    assert result.figures["funding"] == 39_382_716
    fills = view_as(result.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
    assert fills["price_ticks"].tolist() == [200, 206]
    assert int(fills["seq"][0]) < int(paid["seq"][0])


def test_a_split_bar_trades_like_a_whole_one() -> None:
    own = synthesize("ONE", "1h", 300, 21)
    instrument = Instrument("ONE", Decimal("0.01"), Decimal("0.00001"))
    half = own.ts_ns[::3] + HOUR_NS // 2
    nothing = FundingSeries(half, np.zeros(len(half), dtype=np.int64), np.zeros(len(half), dtype=np.int64))

    def on_bar(ctx: Any, i: int) -> None:
        price = float(ctx.close[i])
        ctx.buy(0.01, price * 0.998)
        ctx.sell(0.01, price * 0.995, "stop")
        if i % 10 == 0:
            ctx.flatten()
            ctx.cancel_all()

    def outputs(funding: FundingSeries | None) -> tuple[Any, Any]:
        result = Replay(FREE, [Market(instrument, own, funding)], [run_of(on_bar=on_bar)]).run()
        rows = result.outputs[(result.outputs[:, 2] & 0xFF) != layout.FUNDING_OUTPUT]
        return rows[:, 1:], result.samples  # seq apart: a split bar is two records

    (whole, whole_samples), (split, split_samples) = outputs(None), outputs(nothing)
    assert len(whole) > 500
    assert np.array_equal(whole, split)
    assert np.array_equal(whole_samples, split_samples)


def test_funding_outside_the_bars_or_twice_is_not_counted() -> None:
    own = flat(4)
    times = START_NS + HOUR_NS * np.array([-1, 2, 2, 4, 9], dtype=np.int64)
    ones = np.ones(5, dtype=np.int64)
    _, paid = funded(own, FundingSeries(times, 10**9 * ones, 0 * ones))
    assert ((paid["ts_ns"] - START_NS) // HOUR_NS).tolist() == [2]


# ── a timeframe of its own ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["ema_cross", "ema_cross_signals", "rsi_reversion"])
@pytest.mark.parametrize("timeframe", ["5m", "30m"])
def test_a_strategy_on_its_own_bars_trades_as_the_run_on_such_bars(name: str, timeframe: str) -> None:
    """Market orders fill at the next open, which is the same price in minutes and in the bars made of them."""
    minutes = synthesize("ONE", "1m", 30_000, seed=3)
    whole = aggregate(minutes, timeframe).bars
    strategy = load_strategy(BUILTINS / f"{name}.py")
    params = resolve_params(strategy.schema, {})
    rich = RunSettings(initial_cash=Decimal(1_000_000), close_at_end=False)
    found = []
    for own, asked in ((minutes, timeframe), (whole, "")):
        market_of = Market(Instrument("ONE", Decimal("0.01"), Decimal("0.00001")), own, None)
        given = StrategyRun("s", strategy, params, (0,), asked)
        trades = Replay(rich, [market_of], [given]).run().trades()
        found.append([(trade.side, trade.size, trade.entry_price, trade.exit_price, trade.pnl) for trade in trades])
    assert found[0] == found[1]
    assert len(found[0]) > 3


def test_bars_of_its_own_come_beside_the_run_s() -> None:
    """Bars 5 to 9 are missing: both that of the first four and the one after are known with bar 11."""
    own = flat(8, hours=[0, 1, 2, 3, 4, 11, 12, 13])
    told: list[tuple[str, int, int, int]] = []

    def note(name: str) -> Call:
        return lambda ctx, i: told.append(
            (name, i, len(ctx.close), int(ctx.time[-1] // 3_600_000 - START_NS // HOUR_NS))
        )

    runs = [
        run_of("base", on_bar=note("base")),
        msgspec.structs.replace(run_of("own", on_bar=note("own")), timeframe="4h"),
    ]
    Replay(FREE, [market(own)], runs).run()
    assert [line for line in told if line[0] == "own"] == [("own", 0, 1, 0), ("own", 1, 2, 4), ("own", 2, 3, 8)]
    base = [line[0] for line in told]
    assert base == ["base"] * 4 + ["own"] + ["base"] * 2 + ["own"] * 2 + ["base"] * 2
