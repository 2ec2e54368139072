"""What a strategy is told on a tape, when, and what it sees there: on hand-made tapes that can be followed.

Prices are in ticks of 0.5, sizes in lots of 0.01. Times are ms after a whole hour, and the venue's clock is the host's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from adapters.tape.codec import Records
from engine.book_state import TapeMarket
from engine.errors import StrategyError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.replay import RunResult, StrategyRun
from engine.settings import BookExecution, RunSettings
from engine.strategy import Strategy
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.loading import load_strategy

START_MS = 1_699_999_200_000
ONE = Instrument("ONE", Decimal("0.5"), Decimal("0.01"))
TWO = Instrument("TWO", Decimal("0.5"), Decimal("0.01"))
AT_ONCE = BookExecution(lateness_ms=50, sample_ms=1_000_000)
LAGGING = BookExecution(
    order_latency_ms=Decimal(20), response_latency_ms=Decimal(15), lateness_ms=50, sample_ms=1_000_000
)

NOTING = """
T0 = 1_699_999_200_000


def schema():
    return {{"id": "noting", "name": "Noting", "timer_ms": {timer_ms}}}


def note(ctx, *words):
    said = " ".join(str(word) for word in words)
    ctx.state.setdefault("told", []).append(f"{{ctx.now_ns / 10**6 - T0:g}} {{said}}")

"""


class Tape:
    """Records written by hand, one message each at a time in ms."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.update_id = 0

    def _add(self, at_ms: int, kind: int, flags: int, market: int, *words: int, exchange_ms: int | None = None) -> Tape:
        receive_ns = (START_MS + at_ms) * 1_000_000
        exchange_ns = receive_ns if exchange_ms is None else (START_MS + exchange_ms) * 1_000_000
        self.rows.append((exchange_ns, receive_ns, kind, flags, market, 0, 0, *words, *([0] * (5 - len(words)))))
        return self

    def _levels(self, at_ms: int, bids: dict[int, int], asks: dict[int, int], flags: int, market: int) -> Tape:
        before, self.update_id = self.update_id, self.update_id + 1
        levels = [(price, lots, 0) for price, lots in bids.items()]
        levels += [(price, lots, layout.SELL) for price, lots in asks.items()]
        for number, (price, lots, side) in enumerate(levels, 1):
            own = flags | side | (layout.LAST if number == len(levels) else 0)
            self._add(at_ms, layout.LEVEL, own, market, price, lots, self.update_id, before, self.update_id)
        return self

    def book(self, at_ms: int, bids: dict[int, int], asks: dict[int, int], market: int = 0) -> Tape:
        """A snapshot: sizes by price."""
        return self._levels(at_ms, bids, asks, layout.SNAPSHOT, market)

    def change(self, at_ms: int, bids: dict[int, int], asks: dict[int, int], market: int = 0) -> Tape:
        """Sizes by price that follow what was there."""
        return self._levels(at_ms, bids, asks, 0, market)

    def lose(self) -> Tape:
        """A message that was never received."""
        self.update_id += 1
        return self

    def sold(self, at_ms: int, price: int, lots: int, number: int = 0, market: int = 0) -> Tape:
        """A trade in which the taker sold."""
        return self._add(at_ms, layout.PRINT, layout.SELL, market, price, lots, number)

    def bought(self, at_ms: int, price: int, lots: int, number: int = 0, market: int = 0) -> Tape:
        """A trade in which the taker bought."""
        return self._add(at_ms, layout.PRINT, 0, market, price, lots, number)

    def traded(self, at_ms: int, price: int, lots: int, number: int = 0, market: int = 0) -> Tape:
        """By whom the venue does not say."""
        return self._add(at_ms, layout.PRINT, layout.SIDE_UNKNOWN, market, price, lots, number)

    def mark(self, at_ms: int, price: int, market: int = 0) -> Tape:
        """The venue's mark price."""
        return self._add(at_ms, layout.MARK, 0, market, price * 10**6)

    def funding(self, at_ms: int, rate_e12: int, mark_micro: int, time_ms: int) -> Tape:
        """A settlement for a time; mark 0: the venue gave none."""
        return self._add(at_ms, layout.FUNDING, 0, 0, rate_e12, mark_micro, exchange_ms=time_ms)

    def gap(self, at_ms: int, reason: int, lost: int, market: int = layout.ALL_INSTRUMENTS) -> Tape:
        """Data that were lost."""
        return self._add(at_ms, layout.GAP, 0, market, reason, lost)

    def clock(self, at_ms: int) -> Tape:
        """Time that passes."""
        return self._add(at_ms, layout.CLOCK, 0, 0)

    def records(self) -> Records:
        """All of it."""
        return np.array(self.rows, dtype=layout.RECORD)


def written(folder: Path, body: str, *, name: str = "noting", timer_ms: int = 0) -> Strategy:
    """A strategy of these callbacks, which may `note` what they hear."""
    path = folder / f"{name}.py"
    path.write_text(NOTING.format(timer_ms=timer_ms) + body)
    return load_strategy(path)


def replay_of(
    tape: Tape, *strategies: Strategy, book: BookExecution = AT_ONCE, markets: Sequence[Instrument] = (ONE,),
    timeframes: Sequence[str] = (),
) -> TapeReplay:  # fmt: skip
    every = tuple(range(len(markets)))
    frames = list(timeframes) or ["1s"] * len(strategies)
    runs = [StrategyRun(f"s{n}", own, {}, every, frames[n]) for n, own in enumerate(strategies)]
    records = tape.records()
    own = TapeInput(tuple(markets), (TapeMarket(has_book=True),) * len(markets), lambda: [records])
    settings = RunSettings(initial_cash=Decimal(100_000), leverage=Decimal(10), close_at_end=False, book=book)
    return TapeReplay(settings, own, runs)


def told(
    tape: Tape, *strategies: Strategy, book: BookExecution = AT_ONCE, markets: Sequence[Instrument] = (ONE,),
    timeframes: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """What the first strategy noted."""
    replay = replay_of(tape, *strategies, book=book, markets=markets, timeframes=timeframes)
    replay.run()
    return list(replay._states[0]["told"])


def a_book(tape: Tape | None = None, at_ms: int = 0) -> Tape:
    """Bids 100 and 99, asks 102 and 103."""
    return (Tape() if tape is None else tape).book(at_ms, {200: 500, 198: 700}, {204: 400, 206: 600})


# ── The market ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_callback_and_when(tmp_path: Path) -> None:
    strategy = written(
        tmp_path,
        """
def on_init(ctx):
    ctx.state["told"] = ["init " + ctx.symbol]

def on_book(ctx):
    note(ctx, "book", ctx.book.bid, ctx.book.ask)

def on_print(ctx, trade):
    note(ctx, "print", trade.price, trade.size, trade.side or "?", trade.id, trade.ts_ns // 10**6 - T0)

def on_bar(ctx, i):
    note(ctx, "bar", i, ctx.open[i], ctx.high[i], ctx.low[i], ctx.close[i], ctx.volume[i])

def on_timer(ctx):
    note(ctx, "timer")

def on_funding(ctx, funding):
    note(ctx, "funding", funding.rate, funding.mark, funding.ts_ns // 10**6 - T0)

def on_gap(ctx, gap):
    note(ctx, "gap", gap.reason, gap.lost, ctx.book.is_valid)

def on_finish(ctx):
    note(ctx, "finish")
""",
        timer_ms=400,
    )
    tape = a_book(at_ms=10).sold(20, 200, 50, 7).bought(30, 204, 100, 8).traded(40, 202, 1, 9)
    tape.change(50, {200: 0}, {}).funding(60, 125_000_000, 201_500_000, 0).funding(70, -1, 0, 0)
    tape.change(450, {199: 5}, {}).clock(1_040).clock(1_060).gap(1_070, layout.GAP_DISCONNECTED, -1)
    tape.sold(1_080, 201, 1).gap(1_210, layout.GAP_ROT, 12, 0)
    a_book(tape, 1_300).lose().change(1_310, {199: 6}, {}).change(1_320, {199: 7}, {})
    a_book(tape, 1_700).clock(2_100)
    assert told(tape, strategy) == [
        "init ONE",
        "10 book 100.0 102.0",
        "20 print 100.0 0.5 sell 7 20",
        "30 print 102.0 1.0 buy 8 30",
        "40 print 101.0 0.01 ? 9 40",
        "50 book 99.0 102.0",
        "60 funding 0.000125 100.75 0",
        "70 funding -1e-12 nan 0",
        "400 timer",
        "450 book 99.5 102.0",
        "800 timer",
        "1050 bar 0 100.0 102.0 100.0 101.0 1.51",  # closed by time: its end and the lateness, though nothing traded
        "1070 gap disconnected None False",
        "1210 gap rot 12 False",  # no print, no timer while the book cannot be trusted
        "1300 book 100.0 102.0",
        "1310 gap sequence None False",
        "1700 book 100.0 102.0",
        "2000 timer",
        "2050 bar 1 100.5 100.5 100.5 100.5 0.01",  # a bar all the same holds what traded meanwhile
        "2100 finish",
    ]


def test_bars_of_several_timeframes_each_by_its_own(tmp_path: Path) -> None:
    body = """
def on_bar(ctx, i):
    note(ctx, ctx.timeframe, i, ctx.time[i] - T0, ctx.close[i], len(ctx.close), ctx.index, ctx.bars.shape[0])
"""
    second, two = (written(tmp_path, body, name=name) for name in ("one", "two"))
    tape = a_book().sold(100, 200, 1).sold(1_200, 198, 1).sold(3_010, 206, 1).clock(6_000)
    replay = replay_of(tape, second, two, timeframes=("1s", "2s"))
    replay.run()
    assert [state["told"] for state in replay._states] == [
        [
            "1050 1s 0 0 100.0 1 0 1",
            "2050 1s 1 1000 99.0 2 1 2",
            "3010 1s 2 2000 99.0 3 2 3",  # a print that belongs to the next bar closes this one at once
            "4050 1s 3 3000 103.0 4 3 4",
            "5050 1s 4 4000 103.0 5 4 5",
        ],
        ["2050 2s 0 0 99.0 1 0 1", "4050 2s 1 2000 103.0 2 1 2"],
    ]


def test_what_the_book_shows(tmp_path: Path) -> None:
    strategy = written(
        tmp_path,
        """
def on_book(ctx):
    book = ctx.book
    note(ctx, "best", book.bid, book.bid_size, book.ask, book.ask_size, book.mid, book.spread)
    note(ctx, "ticks", book.bid_ticks, book.ask_ticks, book.is_valid, book.update_id, book.ts_ns // 10**6 - T0)
    note(ctx, "bids", book.bids(), book.bids(1), "asks", book.asks(), book.asks(1))
    note(ctx, "lots", book.depth_lots("bid", 1), book.depth_lots("bid", 9), book.depth_lots("ask", 9))
    note(ctx, "average", *(book.average_price(size) for size in (4, 7, -5, -12, 10.01, 0)))
    note(ctx, "last", ctx.last, ctx.mark)
""",
    )
    tape = a_book(at_ms=5).sold(6, 198, 1).change(7, {200: 0, 198: 0}, {}).mark(8, 210).change(9, {196: 1}, {204: 0})
    noted = told(tape, strategy)
    assert noted[:6] == [
        "5 best 100.0 5.0 102.0 4.0 101.0 2.0",
        "5 ticks 200 204 True 1 5",
        "5 bids [(100.0, 5.0), (99.0, 7.0)] [(100.0, 5.0)] asks [(102.0, 4.0), (103.0, 6.0)] [(102.0, 4.0)]",
        "5 lots 500 1200 1000",
        f"5 average 102.0 {(4 * 102 + 3 * 103) / 7} 100.0 {(5 * 100 + 7 * 99) / 12} nan nan",
        "5 last nan 101.0",
    ]
    assert noted[6:8] == ["7 best nan 0.0 102.0 4.0 nan nan", "7 ticks 0 204 True 2 7"]
    assert noted[11] == "7 last 99.0 99.0"
    assert noted[12] == "9 best 98.0 0.01 103.0 6.0 100.5 5.0"
    assert noted[17] == "9 last 99.0 105.0"


def test_a_gap_of_all_is_told_on_each_market(tmp_path: Path) -> None:
    body = "def on_book(ctx):\n    pass\n\ndef on_gap(ctx, gap):\n    note(ctx, ctx.symbol, gap.reason)\n"
    strategy = written(tmp_path, body)
    tape = a_book().gap(5, layout.GAP_DOWNTIME, 3).gap(6, layout.GAP_CUT, 1, 1)
    assert told(tape, strategy, markets=(ONE, TWO)) == ["5 ONE downtime", "5 TWO downtime", "6 TWO cut"]


# ── Orders ──────────────────────────────────────────────────────────────────────────────────────────────────

BUYS_ONCE = """
def on_book(ctx):
    note(ctx, "book", ctx.position.size, ctx.position_lots, [order.state for order in ctx.orders], ctx.order_rows())
    if "id" not in ctx.state:
        ctx.state["id"] = {order}

def on_order(ctx, order):
    filled = "" if order.fill_price is None else f" {{order.fill_size}} at {{order.fill_price}}"
    at = f"of {{order.ts_ns // 10**6 - T0}}{{filled}}"
    note(ctx, "order", order.id, order.state, order.reason or "-", order.filled, ctx.position.size, at)

def on_trade(ctx, trade):
    note(ctx, "trade", trade.side, trade.size, trade.pnl)
"""


def buying(folder: Path, order: str) -> Strategy:
    return written(folder, BUYS_ONCE.format(order=order))


def test_reports_come_in_order_after_the_response_and_the_position_with_them(tmp_path: Path) -> None:
    strategy = buying(tmp_path, "ctx.buy(5)")
    tape = a_book()
    for at_ms in (10, 25, 34, 36, 50):
        tape.change(at_ms, {190: at_ms}, {})
    assert told(tape, strategy, book=LAGGING) == [
        "0 book 0.0 0 [] []",
        "10 book 0.0 0 ['NEW'] [(1, 500, 0)]",
        "25 book 0.0 0 ['NEW'] [(1, 500, 0)]",  # at the venue since 20, filled there; nobody here knows
        "34 book 0.0 0 ['NEW'] [(1, 500, 0)]",
        "35 order 1 ACTIVE - 0.0 0.0 of 20",
        "35 order 1 PARTIAL - 4.0 4.0 of 20 4.0 at 102.0",
        "35 order 1 FILLED - 5.0 5.0 of 20 1.0 at 103.0",
        "36 book 5.0 500 [] []",
        "50 book 5.0 500 [] []",
    ]


def test_an_order_that_rests_and_is_cancelled_too_late(tmp_path: Path) -> None:
    strategy = written(
        tmp_path,
        """
def on_init(ctx):
    ctx.state["books"] = 0

def on_book(ctx):
    ctx.state["books"] += 1
    if ctx.state["books"] == 1:
        ctx.buy(1, 99.5)
    if ctx.state["books"] == 2:
        ctx.cancel(ctx.orders[0].id)

def on_order(ctx, order):
    note(ctx, order.state, order.reason or "-", order.filled, [each.filled for each in ctx.orders])
""",
    )
    tape = a_book().bought(21, 204, 1).change(60, {190: 1}, {}).sold(70, 199, 40).sold(90, 199, 100).clock(200)
    assert told(tape, strategy, book=LAGGING) == [
        "35 ACTIVE - 0.0 [0.0]",
        "85 PARTIAL - 0.4 [0.4]",
        "95 CANCELED requested 0.4 []",  # the cancel arrived at 80
    ]


def test_what_is_refused_at_once_and_at_the_venue(tmp_path: Path) -> None:
    tape = a_book().bought(21, 204, 1).clock(100)
    for order, said in (
        ("ctx.buy(5, 100, post_only=True)", "35 order 1 ACTIVE - 0.0 0.0 of 20"),
        ("ctx.buy(5, 102, post_only=True)", "35 order 1 REJECTED post_only 0.0 0.0 of 20"),
        ("ctx.buy(0)", "0 order 1 REJECTED invalid 0.0 0.0 of 0"),
    ):
        assert told(tape, buying(tmp_path, order), book=LAGGING)[1:] == [said]


def test_without_a_record_an_answer_waits_for_the_lateness(tmp_path: Path) -> None:
    """At the venue at 20; what the feed still brings of that time may come until 70."""
    assert told(a_book().clock(100), buying(tmp_path, "ctx.buy(1)"), book=LAGGING)[1:] == [
        "70 order 1 ACTIVE - 0.0 0.0 of 20",
        "70 order 1 FILLED - 1.0 1.0 of 20 1.0 at 102.0",
    ]


def test_a_trade_is_told_after_the_order_that_closed_it(tmp_path: Path) -> None:
    strategy = written(
        tmp_path,
        """
def on_book(ctx):
    if ctx.position.size == 0 and not ctx.orders and "sent" not in ctx.state:
        ctx.state["sent"] = ctx.buy(1)
    elif ctx.position.size > 0 and not ctx.orders:
        ctx.flatten()

def on_order(ctx, order):
    note(ctx, order.side, order.state, ctx.position.size)

def on_trade(ctx, trade):
    note(ctx, "trade", trade.side, trade.size, trade.entry_price, trade.exit_price, trade.pnl, trade.exit_reason)
""",
    )
    tape = a_book().bought(21, 204, 1).change(50, {190: 1}, {}).bought(71, 204, 1).clock(100)
    assert told(tape, strategy, book=LAGGING) == [
        "35 buy ACTIVE 0.0",
        "35 buy FILLED 1.0",
        "85 sell ACTIVE 1.0",
        "85 sell FILLED 0.0",
        "85 trade long 1.00 102.0 100.0 -2.00000000 order",
    ]


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────

RAISING = {
    "on_init": "ctx", "on_book": "ctx", "on_print": "ctx, trade", "on_bar": "ctx, i", "on_timer": "ctx",
    "on_order": "ctx, order", "on_trade": "ctx, trade", "on_funding": "ctx, funding", "on_gap": "ctx, gap",
    "on_finish": "ctx",
}  # fmt: skip


@pytest.mark.parametrize("name", RAISING)
def test_what_a_callback_raises_is_named_with_file_and_line(tmp_path: Path, name: str) -> None:
    acting = "def on_timer(ctx):\n    ctx.flatten() if ctx.position.size else ctx.buy(1)\n\n"
    raising = f"def {name}({RAISING[name]}):\n    return 1 / 0\n"
    strategy = written(tmp_path, raising if name == "on_timer" else acting + raising, timer_ms=100)
    tape = a_book().sold(10, 200, 1).funding(20, 1, 0, 0).clock(500).gap(2_000, layout.GAP_REJECTED, 1)
    with pytest.raises(StrategyError) as caught:
        told(tape, strategy)
    line = 1 + Path(strategy.path).read_text().splitlines().index("    return 1 / 0")
    assert f"s0: {name} on ONE: ZeroDivisionError: division by zero" in caught.value.message
    assert f"{strategy.path}:{line}\n    return 1 / 0" in caught.value.message


def test_a_wrong_order_is_named_with_its_callback(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=re.escape("s0: on_book: order size -1")):
        told(a_book(), written(tmp_path, "def on_book(ctx):\n    ctx.buy(-1)\n"))


# ── Compiled callbacks ──────────────────────────────────────────────────────────────────────────────────────

COMPILED = """
import numpy as np

from engine.compiled import best_ask, best_bid, compiled, send
from engine.kernels.layout import GTC, IOC

STATE = np.dtype([("books", "<i8"), ("lots", "<i8")])


def compiled_state(params, instrument):
    return np.array([(0, 100)], dtype=STATE)


@compiled(STATE)
def on_book(core, me, market, state):
    state.books += 1
    if state.books % 2 == 1:
        send(core, me, market, state.lots, best_ask(core, market), IOC, 0, 0)
    else:
        send(core, me, market, -state.lots, best_bid(core, market), IOC, 0, 0)
"""
AFTER = """

def on_order(ctx, order):
    note(ctx, order.side, order.state, ctx.position.size)

def on_trade(ctx, trade):
    note(ctx, "trade", trade.pnl)
"""


def test_compiled_and_python_callbacks_of_one_strategy(tmp_path: Path) -> None:
    tape = a_book().bought(21, 204, 1).change(50, {190: 1}, {}).bought(71, 204, 1).clock(100)
    assert told(tape, written(tmp_path, COMPILED + AFTER), book=LAGGING) == [
        "35 buy ACTIVE 0.0",
        "35 buy FILLED 1.0",
        "85 sell ACTIVE 1.0",
        "85 sell FILLED 0.0",
        "85 trade -2.00000000",
    ]


def _new_orders(result: RunResult) -> list[tuple[int, int, int]]:
    """(strategy, order, lots) in the order in which they were sent."""
    rows = result.outputs[(result.outputs[:, 2] & 0xFFFF) == (layout.ORDER_OUTPUT | layout.NEW << 8)]
    return [(int(row[2]) >> 32 & 0xFFFF, int(row[3]), int(row[4])) for row in rows]


@pytest.mark.parametrize("is_compiled_first", [True, False])
def test_two_strategies_on_one_account_are_told_in_order(tmp_path: Path, *, is_compiled_first: bool) -> None:
    quick = written(tmp_path, COMPILED, name="quick")
    slow = written(
        tmp_path,
        """
def on_book(ctx):
    ctx.state["cash"] = [*ctx.state.get("cash", []), ctx.portfolio.cash]
    ctx.state["count"] = ctx.state.get("count", 0) + 1
    ctx.send_lots(3 if ctx.state["count"] % 2 else -3)
""",
        name="slow",
    )
    tape = a_book().change(50, {190: 1}, {}).change(60, {190: 2}, {}).clock(70)
    replay = replay_of(tape, *((quick, slow) if is_compiled_first else (slow, quick)))
    sent = _new_orders(replay.run())
    first, second = (100, 3) if is_compiled_first else (3, 100)
    assert sent == [
        (0, 1, first), (1, 2, second), (0, 3, -first), (1, 4, -second), (0, 5, first), (1, 6, second),
    ]  # fmt: skip
    states = replay._states[1 if is_compiled_first else 0]
    assert states["cash"][:2] == [100_000.0, 100_000.0]
    assert states["cash"][2] == pytest.approx(100_000 - 2 - 0.06)  # what both lost on the way there and back


def test_a_compiled_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for wrong in ("np.zeros(2, dtype=STATE)", "np.zeros(1)"):
        strategy = written(tmp_path, COMPILED.replace("np.array([(0, 100)], dtype=STATE)", wrong))
        with pytest.raises(StrategyError, match=r"s0: compiled_state gives .*, not the state of on_book"):
            replay_of(a_book(), strategy)


def test_an_error_in_compiled_code_ends_the_run(tmp_path: Path) -> None:
    strategy = written(tmp_path, COMPILED.replace("state.books % 2 == 1", "state.lots // (state.books - 2) > 0"))
    with pytest.raises(StrategyError, match="a compiled callback has raised an error"):
        replay_of(a_book().change(50, {190: 1}, {}).clock(70), strategy).run()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (COMPILED.replace("def compiled_state", "def _state"), "no compiled_state(params, instrument): on_book(ctx)"),
        (COMPILED + "\non_order = on_book\ndef on_trade(ctx, trade):\n    pass\n", "not called where on_order is"),
        (COMPILED + "\non_init = on_book\n", "on_init(ctx): cannot be compiled"),
    ],
)
def test_compiled_callbacks_that_could_not_work_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StrategyError, match=re.escape(said)):
        written(tmp_path, text)


def test_nan_where_there_is_nothing(tmp_path: Path) -> None:
    body = "def on_book(ctx):\n    ctx.state['seen'] = [ctx.last, ctx.book.mid, ctx.position.entry_price]\n"
    strategy = written(tmp_path, body)
    replay = replay_of(Tape().book(0, {200: 1}, {}), strategy)
    replay.run()
    assert all(math.isnan(value) for value in replay._states[0]["seen"])
