"""The year of bars through the engine: as `on_bar`, and as `signals`."""

from __future__ import annotations

import time
from statistics import median

from engine.kernels import layout
from engine.reading import view_as
from engine.replay import Replay, RunResult
from engine.strategy import resolve_params
from tests.bench.counterparts import BareLoop, run_stand_in
from tests.bench.inputs import (
    CASH,
    FAST,
    FEE_BPS,
    SLIPPAGE_BPS,
    SLOW,
    Inputs,
    replay_of,
    settings_of,
    shipped,
)
from tests.bench.measuring import Contender, Section, interleaved, seconds_text, verdict

ON_BAR_LIMIT, ON_BAR_AIM = 1.7, 1.3
SIGNALS_LIMIT = 4.0


def final_equity(result: RunResult) -> float:
    """Cash and what is open at its mark, as a float of the exact money."""
    return float(result.scales[0].money(result.figures["cash"] + result.figures["floating"]))


def orders_sent(result: RunResult) -> tuple[int, int]:
    """Buys and sells that the strategy sent, without those of the core itself."""
    rows = view_as(result.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
    lots = rows["lots"][(rows["state"] == layout.NEW) & (rows["flags"] & layout.SYSTEM == 0)]
    return int((lots > 0).sum()), int((lots < 0).sum())


def on_bar_section(inputs: Inputs) -> Section:
    """Document A's `on_bar`, under the engine and under nothing."""
    strategy, settings, bars = shipped("ema_cross"), settings_of(), inputs.bars
    params = resolve_params(strategy.schema, {})
    on_bar = strategy.on_bar
    assert on_bar is not None
    bare, ours = interleaved(
        3 if inputs.is_quick else 9,
        [
            Contender(lambda: None, lambda _: run_stand_in(on_bar, bars.close, params)),
            Contender(lambda: replay_of(inputs, strategy, settings), lambda replay: replay.run()),
        ],
    )
    ratio = ours.median / bare.median
    counted = (bare.result.buys, bare.result.sells)
    sent = orders_sent(ours.result)
    count = len(bars)
    return Section(
        "on_bar", "1. on_bar: ema_cross as printed, start to finish, against the same function without an engine",
        ("", "median", "bars/s", "buys", "sells"),
        [
            ("bare loop, stand-in ctx", seconds_text(bare.median), f"{count / bare.median:,.0f}", *map(str, counted)),
            ("engine", seconds_text(ours.median), f"{count / ours.median:,.0f}", *map(str, sent)),
        ],
        [
            f"ratio {ratio:.2f}, {verdict(ratio, ON_BAR_LIMIT)} (aim {ON_BAR_AIM})",
            f"the orders are {'the same' if counted == sent else 'NOT THE SAME'}",
        ],
        {
            "bare_seconds": bare.median, "engine_seconds": ours.median, "ratio": ratio, "limit": ON_BAR_LIMIT,
            "bare_orders": counted, "engine_orders": sent, "same_orders": counted == sent,
            "trades": ours.result.figures["trade_count"], "final_equity": final_equity(ours.result),
        },
    )  # fmt: skip


class _Stages:
    """The stages of one engine run after the other, each with its seconds."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._strategy, self._settings = shipped("ema_cross_signals"), settings_of()
        self._seconds: list[tuple[float, float, float]] = []
        self._construct = 0.0

    def prepare(self) -> Replay:
        """Construct the run: the records of the bars are made here."""
        begun = time.perf_counter()
        replay = replay_of(self._inputs, self._strategy, self._settings)
        self._construct = time.perf_counter() - begun
        return replay

    def run(self, replay: Replay) -> RunResult:
        """From start to finish."""
        begun = time.perf_counter()
        replay.start()
        started = time.perf_counter()
        result = replay.finish()
        self._seconds.append((self._construct, started - begun, time.perf_counter() - started))
        return result

    def medians(self, warm: int) -> list[float]:
        """Seconds of construction, start and finish."""
        return [median(row[index] for row in self._seconds[warm:]) for index in range(3)]


def signals_section(inputs: Inputs) -> Section:
    """The same rules as whole arrays, against one compiled loop that knows nothing else."""
    bars, stages, warm = inputs.bars, _Stages(inputs), 2
    loop = BareLoop(bars.open, bars.close, FAST, SLOW, CASH, SLIPPAGE_BPS, FEE_BPS, inputs.ticks_a_unit)
    arrays = loop.arrays()
    bare, ours = interleaved(
        5 if inputs.is_quick else 25,
        [
            Contender(lambda: arrays, loop.run),
            Contender(stages.prepare, stages.run),
        ],
        warm,
    )
    construct, start, finish = stages.medians(warm)
    equity, _, fills, trades, _ = bare.result
    exact, figures = final_equity(ours.result), ours.result.figures
    ratio = ours.median / bare.median
    same = (trades, fills) == (figures["trade_count"], figures["fill_count"]) and abs(equity - exact) < 5e-5
    count = len(bars)
    rows = [
        ("bare loop", seconds_text(bare.median), f"{count / bare.median / 1e6:.1f} M", str(trades), f"{equity:.4f}"),
        ("engine: start and finish", seconds_text(ours.median), f"{count / ours.median / 1e6:.1f} M",
         str(figures["trade_count"]), f"{exact:.4f}"),
        ("  start: indicators, signals, requests", seconds_text(start), "", "", ""),
        ("  finish: the core, its outputs", seconds_text(finish), "", "", ""),
        ("before: construction, records of bars", seconds_text(construct), "", "", ""),
    ]  # fmt: skip
    return Section(
        "signals", "2. signals: ema_cross_signals, start to finish, against one bare compiled loop",
        ("", "median", "bars/s", "trades", "final equity"), rows,
        [
            f"ratio {ratio:.2f}, {verdict(ratio, SIGNALS_LIMIT)}",
            f"trades and equity are {'the same' if same else 'NOT THE SAME'} (the loop counts money in floats)",
        ],
        {
            "bare_seconds": bare.median, "engine_seconds": ours.median,
            "construct_seconds": construct, "start_seconds": start, "finish_seconds": finish,
            "ratio": ratio, "limit": SIGNALS_LIMIT,
            "bare_trades": trades, "engine_trades": figures["trade_count"], "bare_fills": fills,
            "engine_fills": figures["fill_count"], "bare_equity": equity, "engine_equity": exact, "same_result": same,
        },
    )  # fmt: skip
