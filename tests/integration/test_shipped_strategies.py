"""Every shipped strategy runs, trades, gives the same twice and when cut, and accounts for every cent."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.bar_files import read_bars
from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.errors import StrategyError
from engine.instruments import Instrument
from engine.market import Market
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import Commission, Execution, Risk, RunSettings, Sizing, Slippage
from engine.strategy import InputValue, Strategy
from strategies.registry import SHIPPED, Registry

SHARED = Path(__file__).parents[2].parent / "shared"
REAL_BARS = SHARED / "data" / "ohlcv" / "binance_spot_BTCUSDT_1h_2022.parquet"
HOUR_NS = 3_600 * 10**9
SETTINGS = RunSettings(
    initial_cash=Decimal(100_000), leverage=Decimal(5), slippage=Slippage(bps=Decimal(2)),
    commission=Commission(maker_bps=Decimal(2), taker_bps=Decimal(4)),
)  # fmt: skip
JOINED = "ema_cross with fixed_tp_sl"
ON_TAPES = {form for name in ("grid", "market_maker", "book_imbalance") for form in (name, f"{name}_compiled")}
NAMES = sorted({path.stem for path in (SHIPPED / "builtins").glob("*.py")} - ON_TAPES)  # tests/replay has the others

# The document's example, as printed.
PRINTED = """\
def schema():
    return {
        "id": "ema_cross",
        "name": "EMA Cross",
        "inputs": {
            "fast": {"type": "int", "default": 12, "min": 1, "max": 200},
            "slow": {"type": "int", "default": 26, "min": 1, "max": 200},
            "size": {"type": "float", "default": 1.0, "min": 0.1, "max": 10.0}
        }
    }

def on_init(ctx):
    pass

def on_bar(ctx, i):
    close = ctx.close
    fast = ctx.ind.ema(close, int(ctx.params["fast"]))
    slow = ctx.ind.ema(close, int(ctx.params["slow"]))

    if i < 1:
        return

    if fast[i] > slow[i] and fast[i-1] <= slow[i-1]:
        ctx.buy(ctx.params["size"])
    if fast[i] < slow[i] and fast[i-1] >= slow[i-1]:
        ctx.sell(ctx.params["size"])
"""


@cache
def synthetic() -> Bars:
    return synthesize("SYNTH", "1h", 20_000, 7)


def market_of(bars: Bars) -> Market:
    return Market(Instrument(bars.symbol, Decimal("0.01"), Decimal("0.00001")), bars)


def built(home: Path, name: str) -> tuple[Strategy, dict[str, InputValue]]:
    if name == JOINED:
        return Registry(home).build_entry_exit("ema_cross", {}, "fixed_tp_sl", {}, Sizing())
    return Registry(home).build(name)


def replay_of(
    strategy: Strategy, params: dict[str, InputValue], bars: Bars, settings: RunSettings = SETTINGS
) -> Replay:
    return Replay(settings, [market_of(bars)], [StrategyRun("run", strategy, params, (0,))])


def proven(home: Path, name: str, bars: Bars) -> RunResult:
    """Run twice, and once cut in three; everything that a run gives is the same."""
    strategy, params = built(home, name)
    result = replay_of(strategy, params, bars).run()
    again = replay_of(*built(home, name), bars).run()
    assert again.hash == result.hash
    cut = replay_of(strategy, params, bars)
    cut.start()
    for share in (3, 2):
        cut.run_bars(len(bars) // share)
        snapshot = cut.snapshot()
        cut = replay_of(strategy, params, bars)
        cut.resume(snapshot)
    resumed = cut.finish()
    assert resumed.hash == result.hash
    assert resumed.log == result.log
    np.testing.assert_array_equal(resumed.outputs, result.outputs)
    trades = result.trades()
    gained = Decimal(result.figures["cash"]).scaleb(-SETTINGS.cash_decimals) - SETTINGS.initial_cash
    assert sum(trade.pnl for trade in trades) == gained
    return result


@pytest.mark.parametrize("name", [*NAMES, JOINED])
def test_it_trades_on_a_made_up_market_and_accounts_for_everything(tmp_path: Path, name: str) -> None:
    result = proven(tmp_path, name, synthetic())
    assert len(result.trades()) >= (1 if name == "buy_and_hold" else 50)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_BARS.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize("name", [*NAMES, JOINED])
def test_it_trades_on_a_year_of_bitcoin_and_accounts_for_everything(tmp_path: Path, name: str) -> None:
    result = proven(tmp_path, name, read_bars(REAL_BARS, "BTCUSDT", "1h"))
    assert len(result.trades()) >= (1 if name == "buy_and_hold" else 20)


@pytest.mark.parametrize("execution", [Execution("close_to_close"), Execution(latency_bars=2), Execution(
    max_volume_share=Decimal("0.001"))], ids=["close_to_close", "latency", "partial"])  # fmt: skip
@pytest.mark.parametrize("name", [*NAMES, JOINED])
def test_it_never_holds_more_than_it_means_to(tmp_path: Path, name: str, execution: Execution) -> None:
    """Late and partial fills: no double orders, so a strategy that is only long never ends up short."""
    settings = RunSettings(initial_cash=Decimal(1_000_000), leverage=Decimal(5), execution=execution)
    strategy, params = built(tmp_path, name)
    trades = replay_of(strategy, params, synthetic(), settings).run().trades()
    assert trades
    if name not in {"ema_cross", "ema_cross_signals", "bollinger_reversion"}:
        assert {trade.side for trade in trades} == {"long"}


def test_ema_cross_is_the_documents_example_to_the_letter() -> None:
    assert (SHIPPED / "builtins" / "ema_cross.py").read_text() == PRINTED


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "spec").is_dir(), reason="../shared is absent")
def test_the_printed_example_is_the_documents() -> None:
    text = (SHARED / "spec" / "strategy-architecture.md").read_text()
    example = re.search(r"## Example strategy.*?```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert example[1] == PRINTED


def test_the_example_by_signals_gives_the_same_trades_and_hash(tmp_path: Path) -> None:
    by_bar, by_signals = (
        replay_of(*built(tmp_path, name), synthetic()).run() for name in ("ema_cross", "ema_cross_signals")
    )
    assert by_bar.trades() == by_signals.trades()
    assert by_bar.hash == by_signals.hash


def test_macd_cross_goes_short_where_it_is_allowed_to(tmp_path: Path) -> None:
    strategy, params = Registry(tmp_path).build("macd_cross", {"allow_short": True})
    trades = replay_of(strategy, params, synthetic()).run().trades()
    assert {trade.side for trade in trades} == {"long", "short"}


@pytest.mark.parametrize("direction", ["long", "short"])
def test_bollinger_reversion_keeps_its_direction(tmp_path: Path, direction: str) -> None:
    strategy, params = Registry(tmp_path).build("bollinger_reversion", {"direction": direction})
    assert {trade.side for trade in replay_of(strategy, params, synthetic()).run().trades()} == {direction}


def bars_of(table: str) -> Bars:
    """Bars of a table: one line a bar, open high low close; what follows a # says why."""
    rows = np.array([[float(cell) for cell in line.split("#")[0].split()] for line in table.strip().splitlines()])
    columns = [np.ascontiguousarray(rows[:, place]) for place in range(4)]
    times = np.arange(len(rows), dtype=np.int64) * HOUR_NS
    return Bars("HAND", "1h", times, columns[0], columns[1], columns[2], columns[3], np.full(len(rows), 1e6))


QUIET = RunSettings(initial_cash=Decimal(10_000))
SMALL = {"length": 2, "atr_length": 2, "stop_atr": 1.0, "risk": 0.01, "most": 0.5}

# The bars, and when and at which price the trade ended: the stop is what is tested.
STOPS: list[tuple[str, str, list[tuple[int, float]]]] = [
    (
        "falls to the first stop",
        """
        100 101  99 100
        100 101  99 100    # highest high 101, ATR 2
        100 104 100 104    # closes above 101: buy, stop at 104 - ATR 3 = 101
        104 105 100 100    # bought at 104, the stop at 101 is hit in the bar of the entry
        100 100 100 100
        """,
        [(3, 101.0)],
    ),
    (
        "gaps below the stop",
        """
        100 101  99 100
        100 101  99 100
        100 104 100 104    # buy, stop at 101
        104 105 103 104    # bought; ATR 2.5, so the stop moves to 101.5
         98  99  97  98    # opens below it: the open is the price
         98  98  98  98
        """,
        [(4, 98.0)],
    ),
    (
        "follows up, never down",
        """
        100 101  99 100
        100 101  99 100
        100 104 100 104    # buy, stop at 101
        104 110 104 110    # ATR 4.5: the stop moves to 105.5
        110 110 107 107    # ATR 3.75: 103.25 would be lower, so it stays
        107 107 105 106    # hit at 105.5
        106 106 106 106
        """,
        [(5, 105.5)],
    ),
    (
        "ends with the data",
        """
        100 101  99 100
        100 101  99 100
        100 104 100 104
        104 105 103 104
        104 105 103 104
        """,
        [(4, 104.0)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("table", "ends"), [row[1:] for row in STOPS], ids=[row[0] for row in STOPS])
def test_the_stop_of_donchian_breakout(tmp_path: Path, table: str, ends: list[tuple[int, float]]) -> None:
    strategy, params = Registry(tmp_path).build("donchian_breakout", SMALL)
    bars = bars_of(table)
    result = replay_of(strategy, params, bars, QUIET).run()
    trades = result.trades()
    assert [(min(trade.exit_ts_ns - 1, int(bars.ts_ns[-1])) // HOUR_NS, trade.exit_price) for trade in trades] == [
        (bar if price != 98.0 else bar - 1, price) for bar, price in ends  # what fills at an open ends at that moment
    ]  # fmt: skip
    assert result.figures["live_orders"] == 0


def test_a_refused_entry_of_donchian_breakout_leaves_no_stop(tmp_path: Path) -> None:
    """At a price that has doubled overnight the order cannot be paid for."""
    strategy, params = Registry(tmp_path).build("donchian_breakout", {**SMALL, "most": 0.99, "risk": 0.5})
    bars = bars_of("100 101 99 100\n100 101 99 100\n100 104 100 104\n300 301 99 100\n100 101 99 100")
    replay = replay_of(strategy, params, bars, QUIET)
    replay.start()
    replay.run_bars(len(bars))
    states = [(order.type, order.state) for order in replay._runners[0].context.orders]
    assert states == []
    assert replay.finish().trades() == []


def write(home: Path, name: str, text: str) -> None:
    path = home / "strategies" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def joined_run(
    home: Path, *, entry: str = "", exit_text: str = "", sizing: Sizing | None = None, settings: RunSettings = SETTINGS,
    bars: Bars | None = None,
) -> RunResult:  # fmt: skip
    names = ["ema_cross", "fixed_tp_sl"]
    if entry:
        write(home, "entry/own_entry.py", entry)
        names[0] = "own_entry"
    if exit_text:
        write(home, "exit/own_exit.py", exit_text)
        names[1] = "own_exit"
    strategy, params = Registry(home).build_entry_exit(names[0], {}, names[1], {}, sizing or Sizing())
    return replay_of(strategy, params, synthetic() if bars is None else bars, settings).run()


EVERY_TENTH = "class E:\n    def should_enter(self, window):\n        return {} if window.index % 10 == 0 else None\n"
AFTER_FIVE = "class X:\n    def should_exit(self, window, entry_price):\n        return window.index % 10 == 5\n"


def test_entry_and_exit_log_what_happened(tmp_path: Path) -> None:
    result = joined_run(tmp_path)
    trades = result.trades()
    lines = [line.message for line in result.log]
    assert lines[0] == f"ENTER at {trades[0].entry_price:.12g}"
    assert lines[1] == f"EXIT at {trades[0].exit_price:.12g}, P&L: {trades[0].pnl_percent:.2f}%"
    assert len(lines) == 2 * len(trades)


@pytest.mark.parametrize(
    ("wanted", "side"), [("True", "long"), ('"long"', "long"), ('"short"', "short"), ("-1", "short")]
)
def test_an_entry_says_its_side(tmp_path: Path, wanted: str, side: str) -> None:
    trades = joined_run(tmp_path, entry=EVERY_TENTH.format(wanted), exit_text=AFTER_FIVE).trades()
    assert len(trades) == 2_000
    assert {trade.side for trade in trades} == {side}
    assert {trade.bars_held for trade in trades} == {5}


@pytest.mark.parametrize("wanted", ["'buy'", "2", "[1]", "window.close"])
def test_an_entry_that_says_something_else_is_named(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(StrategyError, match=r"should_enter"):
        joined_run(tmp_path, entry=EVERY_TENTH.format(wanted))


@pytest.mark.parametrize("kind", ["fixed", "percent_equity", "risk"])
@pytest.mark.parametrize("policy", ["exact", "recompute"])
def test_sizing_decides_the_size_in_and_out(tmp_path: Path, kind: Any, policy: Any) -> None:
    sizing = Sizing(kind, Decimal("0.05"), Decimal("0.1"), policy)
    result = joined_run(tmp_path, entry=EVERY_TENTH.format("True"), exit_text=AFTER_FIVE, sizing=sizing)
    first = result.trades()[0]
    close = Decimal(str(synthetic().close[0]))
    units = {"fixed": Decimal("0.05"), "percent_equity": 5_000 / close, "risk": 5_000 / (close / 10)}[kind]
    assert 0 <= units - first.size <= Decimal("0.00001")
    fewer = len(result.trades()) < 2_000  # a part that is left over stays until the exit is asked again
    assert fewer == (policy == "recompute" and kind != "fixed")


def test_an_entry_and_an_exit_have_timeframes_of_their_own(tmp_path: Path) -> None:
    """Bars of 1 m: the entry is asked when 5 m have closed, the exit when 15 m have; both see their own bars only."""
    write(tmp_path, "entry/five.py", "class E:\n    def should_enter(self, window):\n"
          "        assert window.timeframe == '5m' and len(window.close) == window.index + 1\n"
          "        assert (window.time[-1] // 60_000) % 5 == 0\n        return True\n")  # fmt: skip
    write(tmp_path, "exit/fifteen.py", "class X:\n    def should_exit(self, window, entry_price):\n"
          "        assert window.tf('1m').close[-1] == window.price\n"
          "        return (window.time[-1] // 60_000) % 15 == 0\n")  # fmt: skip
    bars = synthesize("SYNTH", "1m", 3_000, 5)
    strategy, params = Registry(tmp_path).build_entry_exit("five", {}, "fifteen", {}, Sizing(), ("5m", "15m"))
    trades = replay_of(strategy, params, bars, SETTINGS).run().trades()
    minutes = [(trade.entry_ts_ns // 60_000_000_000, trade.exit_ts_ns // 60_000_000_000) for trade in trades]
    assert len(trades) > 100
    # An order fills at the open of the bar after the one at whose close it was made.
    assert all(entered % 5 == 0 and (left % 15 == 0 or trade is trades[-1]) for (entered, left), trade in
               zip(minutes, trades, strict=True))  # fmt: skip


def test_an_entry_is_not_asked_again_while_its_order_works(tmp_path: Path) -> None:
    always = "class E:\n    def should_enter(self, window):\n        return True\n"
    settings = RunSettings(initial_cash=Decimal(100_000), execution=Execution(latency_bars=3))
    trades = joined_run(tmp_path, entry=always, exit_text=AFTER_FIVE, settings=settings).trades()
    assert {trade.fills for trade in trades} == {2}
    assert {trade.side for trade in trades} == {"long"}


def test_a_guard_that_closes_the_position_is_noticed(tmp_path: Path) -> None:
    always = "class E:\n    def should_enter(self, window):\n        return window.position.size == 0\n"
    never = "class X:\n    def should_exit(self, window, entry_price):\n        return False\n"
    settings = RunSettings(initial_cash=Decimal(100_000), risk=Risk(daily_loss_limit=Decimal("0.002")))
    result = joined_run(tmp_path, entry=always, exit_text=never, settings=settings)
    trades = result.trades()
    assert len(trades) > 10
    assert {trade.exit_reason for trade in trades[:-1]} == {"guard"}
    assert len(result.log) == 2 * len(trades)


WINDOW = """
class E:
    def should_enter(self, window):
        i = window.index
        assert len(window.close) == len(window.open) == len(window.high) == len(window.low) == i + 1
        assert len(window.time) == len(window.volume) == len(window["sma_20_1h"]) == len(window["close"]) == i + 1
        assert window.price == window.close[-1] == window["close"][-1]
        assert (window.symbol, window.timeframe, window.side) == ("SYNTH", "1h", 0)
        upper, middle, lower = window["bbands_20_2"]
        if i == 50:
            assert window["sma_20"][-1] == middle[-1] == window.ind.sma(window.close, 20)[-1]
            assert window["atr"][-1] == window.ind.atr(14)[-1] and window["sma_20_60m"][-1] == middle[-1]
        window.state["asked"] = window.state.get("asked", 0) + 1
        assert window.params == {} and window.state["asked"] == i + 1
        return False
"""


def test_the_window_of_an_entry(tmp_path: Path) -> None:
    assert joined_run(tmp_path, entry=WINDOW).trades() == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("sma_20_1s", "timeframe 1s: no bars smaller than"),
        ("smaa_20", 'Indicator not implemented: "smaa". Did you mean "sma"?'),
    ],
)
def test_what_the_window_does_not_have_is_named(tmp_path: Path, asked: str, said: str) -> None:
    with pytest.raises(StrategyError, match=re.escape(said)):
        joined_run(
            tmp_path, entry=f"class E:\n    def should_enter(self, window):\n        return window['{asked}'][-1] > 0\n"
        )


RAISING: list[tuple[dict[str, str], str]] = [
    (
        {"entry": "class E:\n    def should_enter(self, window):\n        return 1 // (7 - window.index) > 5\n"},
        r"run: on_bar at bar 7: .*own_entry\.py:3: should_enter: ZeroDivisionError",
    ),
    (
        {"exit_text": "class X:\n    def should_exit(self, window, entry_price):\n        return nothing\n"},
        r"run: on_bar at bar \d+: .*own_exit\.py:3: should_exit: NameError",
    ),
]


@pytest.mark.parametrize(("texts", "said"), RAISING, ids=["entry", "exit"])
def test_a_part_that_raises_is_named_with_line_and_bar(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    with pytest.raises(StrategyError, match=said):
        joined_run(tmp_path, **texts)  # type: ignore[arg-type]


def test_a_strategy_that_raises_is_named_with_line_and_bar(tmp_path: Path) -> None:
    text = "def schema():\n    return {'id': 'own', 'name': 'Own'}\n\ndef on_bar(ctx, i):\n    1 / (7 - i)\n"
    write(tmp_path, "custom/own.py", text)
    with pytest.raises(StrategyError) as caught:
        replay_of(*Registry(tmp_path).build("own"), synthetic()).run()
    assert "run: on_bar at bar 7 on SYNTH: ZeroDivisionError" in caught.value.message
    assert "custom/own.py:5\n    1 / (7 - i)" in caught.value.message


def test_one_joined_strategy_on_two_markets_keeps_them_apart(tmp_path: Path) -> None:
    markets = [market_of(synthesize(symbol, "1h", 3_000, seed)) for symbol, seed in (("ONE", 1), ("TWO", 2))]
    strategy, params = built(tmp_path, JOINED)
    both = Replay(SETTINGS, markets, [StrategyRun("run", strategy, params, (0, 1))]).run()
    sides = {symbol: [t.entry_ts_ns for t in both.trades() if t.symbol == symbol] for symbol in ("ONE", "TWO")}
    for market in markets:
        alone = Replay(SETTINGS, [market], [StrategyRun("run", strategy, params, (0,))]).run()
        assert [trade.entry_ts_ns for trade in alone.trades()] == sides[market.bars.symbol]
