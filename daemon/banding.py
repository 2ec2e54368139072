"""The band of equity: a finished backtest made again under every other same-bar priority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import msgspec

from config.model import RunConfig
from daemon.runs import curve_of
from daemon.stages import Stages
from engine.errors import TapewrightError
from engine.figures.band import EquityBand, envelope
from engine.market import Market
from engine.replay import KnownIndicators, Replay, RunResult, StrategyRun
from engine.settings import SameBarPriority


def band_of(
    result: RunResult, start_ns: int, config: RunConfig, markets: Sequence[Market], known: Sequence[KnownIndicators],
    fresh_runs: Callable[[], list[StrategyRun]], stages: Stages,
) -> EquityBand | None:  # fmt: skip
    """The band around the run's equity; None where it is not asked for, no bar was ambiguous, or a run of it failed.

    `fresh_runs` builds the strategies anew for each run, so that none sees what another left in them.
    """
    if not config.diagnostics.band or not result.figures["ambiguous_bars"]:
        return None
    execution = config.settings.execution
    others = [choice for choice in get_args(SameBarPriority) if choice != execution.same_bar_priority]
    stages.stage(f"Running again under {len(others)} other same-bar priorities...")
    curves = []
    for choice in others:
        changed = msgspec.structs.replace(execution, same_bar_priority=choice)
        settings = msgspec.structs.replace(config.settings, execution=changed)
        try:
            found = Replay(settings, markets, fresh_runs(), known).run()
        except TapewrightError as error:
            stages.stage(f"No band of equity: the run under {choice} stopped: {error.message}")
            return None
        curves.append(curve_of(found, start_ns, config))
    return envelope(curve_of(result, start_ns, config), curves)
