"""The parts of the look-ahead check: worlds, veils, decisions, moments, lines."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.synthetic_market import synthesize
from daemon.lookahead.ambient import Ambient, listening
from engine.instruments import Instrument
from engine.kernels import layout
from engine.lookahead.decisions import Decision, Difference, first_difference, request_of, text_of
from engine.lookahead.moments import moments
from engine.lookahead.observed import ObservedReplay
from engine.lookahead.tracing import LineTrace, parting
from engine.lookahead.veil import HighReplay, LowReplay
from engine.lookahead.worlds import POISONS, Poison, closes_of, cut, other_bars, poisoned
from engine.market import Market
from engine.reading import scale_of
from engine.replay import Replay, StrategyRun
from engine.settings import RunSettings
from strategies.loading import load_strategy, run_file
from strategies.registry import Registry

BARS = synthesize("SYNTH", "1m", 1_500, 5)
MARKET = Market(Instrument("SYNTH", Decimal("0.01"), Decimal("0.00001")), BARS)
SETTINGS = RunSettings(initial_cash=Decimal(1_000_000))
FIELDS = ("open", "high", "low", "close", "volume")


def _decision(ts_ns: int, lots: int, **fields: int) -> Decision:
    row = np.zeros(1, dtype=layout.REQUEST)
    row["kind"], row["lots"], row["type"], row["tif"] = layout.ORDER_REQUEST, lots, layout.MARKET, layout.GTC
    for name, value in fields.items():
        row[name] = value
    return Decision(ts_ns, request_of(row[0]))


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("stop", [0, 1, 700, 1_400])
def test_other_bars_are_bars_that_could_be_and_the_same_up_to_the_moment(poison: Poison, stop: int) -> None:
    moment = int(closes_of(BARS)[stop - 1]) if stop else 0
    (other,) = poisoned([MARKET], moment, poison, 7)
    (again,) = poisoned([MARKET], moment, poison, 7)
    bars = other.bars
    for name in FIELDS:
        assert np.array_equal(getattr(bars, name)[:stop], getattr(BARS, name)[:stop])
        assert np.array_equal(getattr(bars, name), getattr(again.bars, name))
        assert not np.shares_memory(getattr(bars, name), getattr(BARS, name))
    assert (bars.close[stop:] != BARS.close[stop:]).mean() > 0.9
    assert (bars.low > 0).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert np.isfinite(bars.volume).all()
    for name in FIELDS[:4]:  # the nearest double of a price with two decimals, as the data are
        assert np.array_equal(np.round(getattr(bars, name), 2), getattr(bars, name))
    Replay(SETTINGS, [other], []).run()  # the engine takes them


def test_a_mirror_turns_the_next_move_around() -> None:
    (other,) = poisoned([MARKET], int(closes_of(BARS)[99]), "mirrored", 1)
    true, mirrored = np.diff(BARS.close[99:]), np.diff(other.bars.close[99:])
    moved = np.abs(true) > 0.05  # what is smaller can be rounded away
    assert np.array_equal(np.sign(true[moved]), -np.sign(mirrored[moved]))


def test_cut_markets_end_at_the_moment_and_hold_nothing_more() -> None:
    moment = int(closes_of(BARS)[41])
    (short,) = cut([MARKET], moment)
    assert len(short.bars) == 42
    assert short.bars.close.base is None
    (between,) = cut([MARKET], moment + 1)
    assert len(between.bars) == 42


def test_other_files_are_other_throughout() -> None:
    bars = other_bars(BARS, MARKET.instrument, 3)
    assert (bars.close[1:] != BARS.close[1:]).mean() > 0.9
    assert np.array_equal(bars.ts_ns, BARS.ts_ns)


EVERYTHING = """
import math


def schema():
    return {"id": "all_of_it", "name": "All of it"}


def on_bar(ctx, i):
    hours = ctx.tf("15m")
    if i < 60 or not len(hours.close) or ctx.orders:
        return
    spec, upper = ctx.ind["ema_3_15m"], ctx.ind.bbands(ctx.close, 20)[0]
    nested = ctx.ind.sma(ctx.ind.macd(ctx.close)[1], 5)
    own = ctx.ind["rsi_14"]
    high = hours.ind.donchian(5)[0]
    if ctx.bars[i][4] != ctx.close[-1] or math.isnan(spec[i]) or math.isnan(high[-1]):
        return
    score = (spec[i] - upper[i]) + nested[i] + own[i] / 100 + (high[-1] - ctx.high[i]) + ctx.volume[i] * 1e-9
    if ctx.position.size == 0:
        ctx.buy(ctx.size.percent_equity(0.1), price=round(ctx.close[i] + score * 1e-3, 2))
    elif hours.is_new:
        ctx.flatten()
"""


@pytest.mark.parametrize("kind", [ObservedReplay, HighReplay, LowReplay])
def test_a_run_under_a_veil_is_the_run_itself(tmp_path: Path, kind: type[ObservedReplay]) -> None:
    """Hash for hash: what is behind the current bar never shows, and what is before it is true to the bit."""
    path = tmp_path / "all_of_it.py"
    path.write_text(EVERYTHING, encoding="utf-8")

    def runs() -> list[StrategyRun]:
        donchian, params = Registry(tmp_path).build("donchian_breakout")
        return [
            StrategyRun("all_of_it", load_strategy(path), {}, (0,)),
            StrategyRun("donchian", donchian, params, (0,)),
        ]

    plain = Replay(SETTINGS, [MARKET], runs()).run()
    other = kind(SETTINGS, [MARKET], runs()).run()
    assert other.hash == plain.hash
    assert plain.figures["fill_count"] > 20


@pytest.mark.parametrize("kind", [HighReplay, LowReplay])
def test_nothing_leads_behind_a_veil(kind: type[ObservedReplay]) -> None:
    (_, context, _), *_rest = kind(
        SETTINGS, [MARKET], [StrategyRun("x", Registry(Path()).load("buy_and_hold"), {"share": 1.0}, (0,))]
    ).watchers()  # fmt: skip
    context.show(100)
    shown = [
        context.close, context.open, context.high, context.low, context.volume, context.ind.ema(context.close, 5),
        context.ind["rsi_14"], context.ind["sma_2_15m"], context.bars, context.tf("15m").close,
    ]  # fmt: skip
    for values in shown:
        base: Any = values.base
        assert len(base) > len(values)
        later = base[len(values) :]
        assert later.min() > np.nanmax(values) if kind is HighReplay else later.max() < np.nanmax(values)
        with pytest.raises(ValueError, match="WRITEABLE"):
            base.flags.writeable = True


def test_the_first_difference_counts_up_to_the_moment() -> None:
    one = [_decision(10, 1), _decision(20, -1), _decision(30, 2)]
    two = [_decision(10, 1), _decision(20, -1), _decision(30, 3)]
    assert first_difference(one, two) == Difference(2, one[2], two[2])
    assert first_difference(one, two, 29) is None
    assert first_difference(one, two[:2], 30) == Difference(2, one[2], None)
    extra = [*one[:1], _decision(15, 5), *one[1:]]
    found = first_difference(one, extra)
    assert found is not None
    assert found.first == extra[1]


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (_decision(1, 150_000), "buy 1.50000 market"),
        (_decision(1, -100_000, type=layout.LIMIT, limit_ticks=10_150), "sell 1.00000 limit 101.5"),
        (_decision(1, 0, kind=layout.CANCEL_REQUEST, order_id=12), "cancel order 12"),
        (_decision(1, 0, kind=layout.TARGET_REQUEST), "flatten"),
        (None, "nothing"),
    ],
)  # fmt: skip
def test_decisions_in_words(decision: Decision | None, text: str) -> None:
    assert text_of(decision, scale_of(MARKET.instrument, 8)) == text


def test_cuts_lie_at_decisions_at_edges_and_between() -> None:
    closes = closes_of(BARS)
    decisions = [_decision(int(closes[place]), 1) for place in range(50, 1_400, 10)]
    found = moments(closes, decisions, ("1h",), 12, is_ahead=False)
    assert len(found) <= 12
    assert {int(closes[50]), int(closes[1_390])} <= set(found)
    at = {decision.ts_ns for decision in decisions}
    assert sum(moment in at for moment in found) >= 6
    assert any(moment % (3_600 * 10**9) == 0 for moment in found)
    assert min(moments(closes, decisions, (), 12, is_ahead=True)) == int(closes[50])
    assert moments(closes, [], (), 12, is_ahead=False) == []


def _traced(path: Path, given: float) -> list[Any]:
    function = run_file(path).module.decide
    trace = LineTrace({str(path)}, (), 0)
    with trace:
        function(given)
    return trace.steps


@pytest.mark.parametrize(
    ("body", "line", "name"),
    [
        ("    half = given / 2\n    return half > 1\n", 2, "half"),
        ("    if given > 3:\n        return 1\n    return 1\n", 2, ""),
        ("    both = [given]\n    both.append(1)\n    return 0\n", 2, "both"),
    ],
)
def test_the_line_at_which_two_runs_part(tmp_path: Path, body: str, line: int, name: str) -> None:
    path = tmp_path / "decides.py"
    path.write_text("def decide(given):\n" + body, encoding="utf-8")
    one, two = _traced(path, 2.0), _traced(path, 5.0)
    # What is handed in differs here, which in a check it does not.
    for steps in (one, two):
        steps[:] = [msgspec.structs.replace(step, values={k: v for k, v in step.values.items() if k != "given"})
                    for step in steps]  # fmt: skip
    found = parting(one, two)
    assert found is not None
    assert (found.line, found.name) == (line, name)
    assert parting(one, _traced(path, 2.0)[:0]) is not None or not one


def test_reading_counts_and_writing_does_not(tmp_path: Path) -> None:
    path = tmp_path / "reaches.py"
    path.write_text(
        "import sqlite3\n\ndef reach(folder):\n    (folder / 'out.txt').write_text('x')\n"
        "    text = (folder / 'out.txt').read_text()\n    sqlite3.connect(folder / 'x.sqlite').close()\n"
        "    import decimal, zoneinfo\n    zoneinfo.ZoneInfo('UTC')\n    return text\n",
        encoding="utf-8",
    )
    ambient = Ambient()
    with listening(ambient):
        run_file(path).module.reach(tmp_path)
    told = [(reach.what.split()[0], reach.place.line) for reach in ambient.found]
    assert told == [("reads", 5), ("opens", 6)]
    (tmp_path / "out.txt").read_text()  # nobody listens any more
    assert len(ambient.found) == 2
