"""Bars before the start: at each bar of the run strategies see what they see there in a run over all of the bars.

The expectations are those of the longer run itself, which begins with the lookback's first bar: whatever an indicator
or a decision is, it may not depend on whether the bars before the start were traded or only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from adapters.synthetic_market import synthesize
from engine.bars import Bars, timeframe_ns
from engine.ctx import Context
from engine.figures.trades import Trade
from engine.instruments import Instrument
from engine.lookahead.observed import ObservedReplay
from engine.lookahead.veil import HighReplay, LowReplay
from engine.market import Market, shown_bars
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import RunSettings, Sizing
from engine.strategy import Schema, Strategy
from strategies.entry_exit import join
from strategies.parts import load_part

NAMES = ("ts_ns", "open", "high", "low", "close", "volume")
INSTRUMENT = Instrument("SYNTH", Decimal("0.01"), Decimal("0.00001"))
SETTINGS = RunSettings(initial_cash=Decimal(1_000_000))
few = settings(max_examples=25)


def rows(bars: Bars, chosen: Any) -> Bars:
    return msgspec.structs.replace(bars, **{name: getattr(bars, name)[chosen].copy() for name in NAMES})


def both_of(bars: Bars, first: int) -> tuple[Market, Market]:
    """The run over all of the bars, and that which begins at one of them and looks back on those before."""
    return Market(INSTRUMENT, bars), Market(
        INSTRUMENT, rows(bars, slice(first, None)), lookback=rows(bars, slice(None, first))
    )  # fmt: skip


def case_of(seed: int) -> tuple[Bars, int]:
    """Bars of some length, often with gaps in them, which begin anywhere, and the index of the start."""
    random = Random(seed)
    timeframe, count = random.choice(["1m", "5m", "15m"]), random.randint(40, 260)
    bars = synthesize("SYNTH", timeframe, count, seed)
    missing = random.choice([0.0, 0.0, 0.05, 0.3])
    bars = rows(bars, [random.random() >= missing for _ in range(count)])
    bars = msgspec.structs.replace(bars, ts_ns=bars.ts_ns + random.randint(0, 11) * timeframe_ns(timeframe))
    return bars, random.randint(1, len(bars) - 1)


# ── What is seen ────────────────────────────────────────────────────────────────────────────────────────────


Seen = dict[int, tuple[Any, ...]]


def look(ctx: Context, i: int) -> tuple[Any, ...]:
    """All kinds of views and indicators at one bar, as bits."""
    higher = ctx.tf("1h")
    values = [
        ctx.close[i], ctx.close[-1], ctx.open[-1], ctx.high[-1], ctx.low[-1], ctx.volume[-1], ctx.bars[i],
        ctx.ind.ema(ctx.close, 12)[i], ctx.ind.atr(5)[-1], ctx.ind.macd(ctx.close, 3, 8, 4)[1][i],
        ctx.ind.sma(ctx.ind.rsi(7), 3)[i], ctx.ind["ema_3_1h"][i], ctx.ind.sma(ctx.close * 1.0, 4)[-1],
        higher.close[-3:], higher.ind.ema(higher.close, 2)[-2:], ctx.ind.obv()[i],
    ]  # fmt: skip
    told = tuple(np.asarray(value).tobytes() for value in values)
    return (*told, i, ctx.index, ctx.stop, len(ctx.close), higher.stop, getattr(higher, "is_new", True))


def seen_by(replay_type: type[Replay], market: Market, timeframe: str = "") -> tuple[Seen, list[Any]]:
    """What `on_bar` sees, by the bar's time; and how many bars `on_init` and `on_finish` can look at."""
    seen: Seen = {}
    edges: list[Any] = []

    def on_bar(ctx: Context, i: int) -> None:
        assert int(ctx.ts_ns[i]) not in seen
        seen[int(ctx.ts_ns[i])] = look(ctx, i)

    strategy = Strategy(
        Schema("looks", "Looks"), __file__, "", on_bar=on_bar,
        on_init=lambda ctx: edges.append((len(ctx.close), ctx.index, ctx.ind.ema(ctx.close, 4).tobytes())),
        on_finish=lambda ctx: edges.append((len(ctx.close), ctx.index)),
    )  # fmt: skip
    replay_type(SETTINGS, [market], [StrategyRun("looks", strategy, {}, (0,), timeframe)]).run()
    return seen, edges


def after(seen: Seen, calls: int) -> Seen:
    """The last so many calls."""
    return dict(list(seen.items())[len(seen) - calls :])


@few
@given(seed=some.integers(0, 2**32 - 1), timeframe=some.sampled_from(["", "15m", "30m", "1h"]))
def test_each_bar_of_the_run_shows_what_it_shows_in_the_longer_one(seed: int, timeframe: str) -> None:
    bars, first = case_of(seed)
    whole, window = both_of(bars, first)
    expected, _ = seen_by(Replay, whole, timeframe)
    found, edges = seen_by(Replay, window, timeframe)
    assert found == after(expected, len(found))
    if timeframe in {"", bars.timeframe}:
        assert list(found) == window.bars.ts_ns.tolist()  # once for each bar of the run, for none before
        assert edges[0][:2] == (first, first - 1)  # what is before the start is history when the run begins
        assert edges[1] == (len(bars), len(bars) - 1)
    else:  # of bars of its own it is called at those that are not over at the close of the last bar before the start
        assert window.lookback is not None
        closed_ns = int(window.lookback.ts_ns[-1]) + timeframe_ns(bars.timeframe)
        assert list(found) == [ts_ns for ts_ns in expected if ts_ns + timeframe_ns(timeframe) > closed_ns]


@few
@given(seed=some.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", [ObservedReplay, HighReplay, LowReplay])
def test_under_a_veil_as_without(seed: int, kind: type[Replay]) -> None:
    """The expectation is the plain run: a veil shows the lookback and all that is over as they are."""
    bars, first = case_of(seed)
    _, window = both_of(bars, first)
    assert seen_by(kind, window) == seen_by(Replay, window)


# ── What is decided ─────────────────────────────────────────────────────────────────────────────────────────


def trades_from(result: RunResult, start_ns: int) -> list[Trade]:
    """Those entered after the start, numbered from 1."""
    kept = [trade for trade in result.trades() if trade.entry_ts_ns >= start_ns]
    return [msgspec.structs.replace(trade, trade_id=number) for number, trade in enumerate(kept, 1)]


def both_trades(
    bars: Bars, first: int, run_of: Callable[[], StrategyRun]
) -> tuple[list[Trade], list[Trade], RunResult]:  # fmt: skip
    """The trades of the longer run from the start on, those of the run itself, and the run."""
    whole, window = both_of(bars, first)
    longer = Replay(SETTINGS, [whole], [run_of()]).run()
    result = Replay(SETTINGS, [window], [run_of()]).run()
    return trades_from(longer, int(window.bars.ts_ns[0])), trades_from(result, 0), result


def _wishes(ctx: Context, i: int) -> float:
    """1 to hold, 0 to be flat, by indicators and the hour alone. Flat after each first quarter, so that runs meet."""
    if int(ctx.time[i]) // 60_000 % 60 >= 15:
        return 0.0
    return float(ctx.ind.ema(ctx.close, 3)[i] > ctx.ind["sma_2_1h"][i])


def by_bars() -> StrategyRun:
    def on_bar(ctx: Context, i: int) -> None:
        wanted = _wishes(ctx, i)
        if wanted != (ctx.position.size > 0):
            ctx.buy(1.0) if wanted else ctx.flatten()

    return StrategyRun("s", Strategy(Schema("bars", "Bars"), __file__, "", on_bar=on_bar), {}, (0,))


def by_signals(kind: str) -> Callable[[], StrategyRun]:
    def signals(ctx: Context) -> Mapping[str, Any]:
        wanted = np.where(
            ctx.time // 60_000 % 60 >= 15, 0.0, ctx.ind.ema(ctx.close, 3) > ctx.ind["sma_2_1h"]
        )  # fmt: skip
        if kind == "target":
            return {"target": wanted}
        before = np.concatenate(([0.0], wanted[:-1]))
        size = 1.0 if kind == "orders" else np.full(len(wanted), 1.0)
        return {"buy": wanted > before, "sell": wanted < before, "size": size}

    return lambda: StrategyRun("s", Strategy(Schema("s", "S"), __file__, "", signals=signals), {}, (0,))


def start_flat(bars: Bars, first: int) -> int | None:
    """The next start, from a bar on, before which a whole bar of the flat part of an hour has passed."""
    minutes = bars.ts_ns // 10**9 // 60 % 60
    for place in range(max(first, 3), len(bars)):
        if (minutes[place - 3 : place] >= 15).all():
            return place
    return None


@few
@given(seed=some.integers(0, 2**32 - 1))
@pytest.mark.parametrize("run_of", [by_bars, by_signals("target"), by_signals("orders"), by_signals("sizes")])
def test_trades_are_those_of_the_longer_run(seed: int, run_of: Callable[[], StrategyRun]) -> None:
    """Where nothing is held at the start and decisions hang on indicators only; the trades of before are no trades."""
    bars, first = case_of(seed)
    place = start_flat(bars, first)
    if place is None:
        return
    expected, found, result = both_trades(bars, place, run_of)
    assert found == expected
    assert result.bars == len(bars) - place
    assert len(result.samples) >= result.bars


def test_the_trades_compared_are_many() -> None:
    """The cases above are made at random; this one has to reach trades in every kind of run."""
    bars = synthesize("SYNTH", "5m", 2_000, 3)
    place = start_flat(bars, 700)
    assert place is not None
    for run_of in (by_bars, by_signals("target"), by_signals("orders"), by_signals("sizes")):
        expected, found, _ = both_trades(bars, place, run_of)
        assert found == expected
        assert len(found) > 50


ENTRY = """
class Turn:
    def should_enter(self, window):
        fast, slow = window.ind.ema(window.close, 3), window["sma_5"]
        assert window.close[window.index] == window.price == window.close[-1]
        return window.index >= 1 and fast[-1] > slow[-1] and fast[-2] <= slow[-2]
"""
EXIT = """
class Turn:
    def should_exit(self, window, entry_price):
        fast, slow = window.ind.ema(window.close, 3), window["sma_5"]
        return bool(fast[-1] < slow[-1] or (window.tf("1h").ind.rsi(2)[-1:] > 90).any())
"""


@pytest.mark.parametrize("timeframes", [("", ""), ("15m", ""), ("", "15m"), ("15m", "1h")])
def test_entry_and_exit_with_a_lookback(tmp_path: Path, timeframes: tuple[str, str]) -> None:
    """From each bar after which the longer run is flat and nobody waits, all its further trades are the run's."""
    for kind, text in (("entry", ENTRY), ("exit", EXIT)):
        (tmp_path / f"{kind}.py").write_text(text, encoding="utf-8")

    def run_of() -> StrategyRun:
        entry = load_part(tmp_path / "entry.py", "entry", {})
        out = load_part(tmp_path / "exit.py", "exit", {})
        strategy, params = join(entry, out, Sizing(type="fixed", value=Decimal(1)), timeframes)
        return StrategyRun("pair", strategy, params, (0,))

    bars = synthesize("SYNTH", "5m", 1_500, 7)
    whole = Replay(SETTINGS, [Market(INSTRUMENT, bars)], [run_of()]).run()
    step, count = timeframe_ns("5m"), 0
    for before, following in list(zip(whole.trades(), whole.trades()[1:], strict=False))[::9]:
        # One bar after the exit's fill the longer run is asked for an entry again.
        place = int(np.searchsorted(bars.ts_ns, before.exit_ts_ns + step))
        if following.entry_ts_ns < int(bars.ts_ns[place]) + step:
            continue
        expected, found, _ = both_trades(bars, place, run_of)
        assert found == expected
        count += len(found)
    assert count > 20


# ── The rest ────────────────────────────────────────────────────────────────────────────────────────────────


@few
@given(seed=some.integers(0, 2**32 - 1))
def test_none_is_the_run_as_it_was(seed: int) -> None:
    """Without a lookback, and with an empty one: the columns are the market's own, every output and sample the same."""
    bars, _ = case_of(seed)
    plain, empty = Market(INSTRUMENT, bars), Market(INSTRUMENT, bars, lookback=rows(bars, slice(0, 0)))
    assert shown_bars(plain) is bars
    assert shown_bars(empty) is bars
    expected = Replay(SETTINGS, [plain], [by_bars()]).run()
    found = Replay(SETTINGS, [empty], [by_bars()]).run()
    assert (found.hash, found.outputs.tobytes()) == (expected.hash, expected.outputs.tobytes())


@few
@given(seed=some.integers(0, 2**32 - 1))
def test_a_lookback_moves_nothing_but_what_is_seen(seed: int) -> None:
    """A strategy that looks at nothing has the run it has without: records, samples, funding, hash. Its own twin."""
    bars, first = case_of(seed)
    _, window = both_of(bars, first)
    plain = Market(INSTRUMENT, window.bars)

    def run_of(offset: int) -> StrategyRun:
        def on_bar(ctx: Context, i: int) -> None:
            if (i - offset) % 7 == 2:
                ctx.buy(1.0) if ctx.position.size <= 0 else ctx.sell(2.0)

        return StrategyRun("s", Strategy(Schema("s", "S"), __file__, "", on_bar=on_bar), {}, (0,))

    expected = Replay(SETTINGS, [plain], [run_of(0)]).run()
    found = Replay(SETTINGS, [window], [run_of(first)]).run()
    assert (found.hash, found.outputs.tobytes()) == (expected.hash, expected.outputs.tobytes())
    assert found.samples.tobytes() == expected.samples.tobytes()
    assert found.bars == expected.bars


def many(told: list[Any]) -> tuple[list[Market], list[StrategyRun]]:
    """Two markets, one of which begins later and has less to look back on; strategies that listen, two timeframes."""
    one = synthesize("ONE", "5m", 700, 1)
    two = rows(synthesize("TWO", "5m", 700, 2), slice(290, None))
    markets = []
    for bars, first in ((one, 300), (two, 10)):
        instrument = msgspec.structs.replace(INSTRUMENT, symbol=bars.symbol)
        markets.append(
            Market(instrument, rows(bars, slice(first, None)), lookback=rows(bars, slice(None, first)))
        )  # fmt: skip

    def on_bar(ctx: Context, i: int) -> None:
        state = ctx.state.setdefault(ctx.symbol, {"calls": 0})
        state["calls"] += 1
        told.append((ctx.strategy, ctx.symbol, i, look(ctx, i)))
        if state["calls"] % 11 == 3 and ctx.ind.ema(ctx.close, 9)[i] > ctx.close[i]:
            ctx.buy(1.0)
        elif ctx.position.size > 3:
            ctx.flatten()

    def on_order(ctx: Context, order: Any) -> None:
        told.append((ctx.strategy, ctx.symbol, ctx.index, float(ctx.close[-1]), order.state))

    def on_trade(ctx: Context, trade: Trade) -> None:
        told.append((ctx.strategy, ctx.symbol, ctx.index, float(ctx.close[-1]), trade.bars_held))

    strategy = Strategy(
        Schema("s", "S"), __file__, "", on_bar=on_bar, on_order=on_order, on_trade=on_trade,
    )  # fmt: skip
    runs = [StrategyRun("base", strategy, {}, (0, 1)), StrategyRun("higher", strategy, {}, (0, 1), "15m")]
    return markets, runs


@pytest.mark.parametrize("calls", [0, 1, 2, 137, 700, 1_071])
def test_resumed_is_uninterrupted(calls: int) -> None:
    """The expectation is the run that nobody stopped: its hash, and all that strategies were told after the stop."""
    expected_told: list[Any] = []
    expected = Replay(SETTINGS, *many(expected_told)).run()
    told: list[Any] = []
    stopped = Replay(SETTINGS, *many(told))
    stopped.start()
    stopped.run_bars(calls)
    snapshot = stopped.snapshot()
    made = len(told)
    assert told == expected_told[:made]
    after_it: list[Any] = []
    resumed = Replay(SETTINGS, *many(after_it))
    resumed.resume(snapshot)
    result = resumed.finish()
    assert result.hash == expected.hash
    assert result.outputs.tobytes() == expected.outputs.tobytes()
    assert after_it == expected_told[made:]
    assert len(result.trades()) > 5


def test_markets_each_with_their_own() -> None:
    """Counted by hand: 300 bars before 400 of ONE and 10 before 400 of TWO; a callback's ctx ends at the last bar."""
    told: list[Any] = []
    markets, runs = many(told)
    replay = Replay(SETTINGS, markets, runs)
    assert [last for _, _, last in replay.watchers()] == [("", 0)] * 4  # nobody was called at bars of before
    result = replay.run()
    assert result.bars == 800
    calls = [entry for entry in told if len(entry) == 4]
    base = {symbol: [i for name, own, i, _ in calls if (name, own) == ("base", symbol)] for symbol in ("ONE", "TWO")}
    assert base == {"ONE": list(range(300, 700)), "TWO": list(range(10, 410))}
    higher = [i for name, own, i, _ in calls if (name, own) == ("higher", "ONE")]
    assert (higher[0], len(higher)) == (100, 133)  # 25 hours of lookback are 100 quarters, 400 bars are 133 more
    by_place = {(name, own, i): seen for name, own, i, seen in calls}
    assert by_place
    closes = {market.bars.symbol: shown_bars(market).close for market in markets}
    for name, symbol, index, close, _ in (entry for entry in told if len(entry) == 5):
        if name == "base":
            assert close == closes[symbol][index]
            assert index >= {"ONE": 299, "TWO": 9}[symbol]
    last = [(name, when) for _, _, (name, when) in replay.watchers()]
    assert last[0] == ("on_bar", int(markets[0].bars.ts_ns[-1]) + timeframe_ns("5m"))


@pytest.mark.parametrize("first", [0, 10])
def test_a_market_without_bars_leaves_the_other_its_own(first: int) -> None:
    """By hand: 20 bars after those of before, each called with its index, a whole number; the empty one is never."""
    bars = synthesize("SYNTH", "5m", 20 + first, 1)
    _, window = both_of(bars, first)
    empty = msgspec.structs.replace(
        window, bars=rows(bars, slice(0, 0)), instrument=msgspec.structs.replace(INSTRUMENT, symbol="NONE")
    )  # fmt: skip
    told: list[Any] = []
    strategy = Strategy(
        Schema("s", "S"), __file__, "", on_bar=lambda ctx, i: told.append((ctx.symbol, i, type(i), float(ctx.close[i])))
    )  # fmt: skip
    Replay(SETTINGS, [window, empty], [StrategyRun("s", strategy, {}, (0, 1))]).run()
    assert told == [("SYNTH", i, int, float(bars.close[i])) for i in range(first, 20 + first)]


def test_signals_before_the_start_are_not_carried_over() -> None:
    """Counted by hand: wishes of bars 0 to 9 are before the start; of those after it each is one order."""
    bars = synthesize("SYNTH", "5m", 30, 1)
    _, window = both_of(bars, 10)

    def run_of(found: dict[str, Any]) -> StrategyRun:
        return StrategyRun("s", Strategy(Schema("s", "S"), __file__, "", signals=lambda ctx: found), {}, (0,))

    target = np.full(30, np.nan)
    target[4] = 2.0
    result = Replay(SETTINGS, [window], [run_of({"target": target})]).run()
    assert result.figures["fill_count"] == 0
    buy = np.zeros(30, dtype=bool)
    buy[[3, 9, 10, 20]] = True
    sizes = np.arange(30) / 10
    result = Replay(SETTINGS, [window], [run_of({"buy": buy, "size": sizes})]).run()
    sent = [order.size for order in result.trades()]
    assert sum(sent) == Decimal("3.0")  # 1.0 at bar 10 and 2.0 at bar 20
