"""Why a decision moved: the line that asked for it, the line at which the runs part, the indicator that gave way."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from daemon.lookahead.ambient import Reach
from daemon.lookahead.model import Cause, Finding, FindingKind, Line, MovedIndicator
from daemon.lookahead.worlds import World, Worlds
from engine.bars import FloatColumn
from engine.errors import StrategyError
from engine.lookahead.decisions import Difference, Place, text_of
from engine.lookahead.observed import IndicatorColumns, ObservedReplay, Outcome
from engine.lookahead.tracing import LineTrace, parting
from engine.replay import StrategyRun
from strategies.plugins import Plugin

_TRACED_CALLS = 50


class Explainer:
    """Makes findings out of differences. `reference` is set once the run itself has been made."""

    def __init__(self, home: Path, worlds: Worlds, runs: Sequence[StrategyRun], plugins: Sequence[Plugin]) -> None:
        self._home = home
        self._worlds = worlds
        self._runs = runs
        self._paths = {file.path for run in runs for file in run.strategy.files}
        whole = {file.path for run in runs if run.strategy.signals is not None for file in run.strategy.files}
        self._whole_paths = whole | {str(plugin.path) for plugin in plugins}
        self._shape: ObservedReplay | None = None
        self.reference = Outcome([], [], ())

    def decision(
        self, world: World, difference: Difference, kind: FindingKind, outcome: Outcome | None = None,
        indicator: Finding | None = None,
    ) -> Finding:  # fmt: skip
        """A decision that another run does not share."""
        first = difference.first
        error = outcome.error if outcome is not None and difference.became is None else None
        is_new = difference.was is None or difference.was.ts_ns != first.ts_ns
        cause, last = self._cause(world, first.ts_ns, first.strategy, first.market, is_new=is_new)
        scale = self._shaped.scales[first.market]
        became = difference.became if difference.became and difference.became.ts_ns == first.ts_ns else None
        return Finding(
            kind=kind,
            how=world.how,
            strategy=self._runs[first.strategy].name,
            symbol=self._shaped.scales[first.market].instrument.symbol,
            ts_ns=first.ts_ns,
            bar_index=self._bar(first.market, first.ts_ns),
            was=text_of(None if is_new else difference.was, scale),
            became=_first_line(error) if error is not None else text_of(became, scale),
            ordered_at=self._line(first.place or last),
            cause=cause,
            indicator=indicator.indicator if indicator is not None else None,
        )

    def raised(self, world: World, outcome: Outcome) -> Finding:
        """A run that only ends with an error where what comes later is not what it was."""
        assert outcome.error is not None
        cause, last = self._cause(world, outcome.stopped_ns)
        return Finding(
            kind="decision", how=world.how, strategy=outcome.error.message.partition(":")[0],
            symbol=self._shaped.scales[0].instrument.symbol, ts_ns=outcome.stopped_ns,
            bar_index=self._bar(0, outcome.stopped_ns), was="no error", became=_first_line(outcome.error),
            ordered_at=self._line(last), cause=cause,
        )  # fmt: skip

    def files(self, world: World, difference: Difference, outcome: Outcome, folder: Path) -> Finding:
        """A decision that depends on what lies in stored files."""
        found = self.decision(world, difference, "files", outcome)
        return _moved_home(found, folder, self._home)

    def outside(self, reaches: Sequence[Reach]) -> list[Finding]:
        """What code reached for outside, the first time from each line."""
        found: list[Finding] = []
        lines = set()
        for reach in reaches:
            line = self._line(reach.place)
            if line is None or (line.path, line.line) in lines:
                continue
            lines.add((line.path, line.line))
            found.append(Finding(kind="outside", how=reach.what, strategy=self._owner(reach.place.path), outside=line))
        return found

    def indicator(self, world: World, outcome: Outcome) -> Finding | None:
        """The first indicator whose values for bars that are over are not those of the run itself."""
        if world.until_ns is None:
            return None
        known = {(each.strategy, each.market, each.name): each for each in self.reference.indicators}
        for other in outcome.indicators:
            own = known.get((other.strategy, other.market, other.name))
            row = _first_moved(own, other, world.until_ns) if own is not None else None
            if own is None or row is None:
                continue
            symbol = self._shaped.scales[own.market].instrument.symbol
            return Finding(
                kind="indicator", how=world.how, strategy=self._runs[own.strategy].name, symbol=symbol,
                indicator=MovedIndicator(
                    own.name, symbol, row, int(own.closes_ns[row]), repr(float(own.values[row])),
                    repr(float(other.values[row])),
                ),
            )  # fmt: skip
        return None

    @property
    def _shaped(self) -> ObservedReplay:
        """A run that is not made, for its names and units."""
        if self._shape is None:
            self._shape = self._worlds.same().make()
        return self._shape

    def _bar(self, market: int, ts_ns: int) -> int:
        """The bar as strategies count it: those from before the run among them."""
        return int(np.searchsorted(self._shaped.shown[market].ts_ns, ts_ns, side="left")) - 1

    def _cause(
        self, world: World, moment_ns: int, strategy: int = 0, market: int = 0, *, is_new: bool = False
    ) -> tuple[Cause | None, Place | None]:
        """The line at which run and world part up to a moment, and the last line that ran (`is_new`: of the world)."""
        rows = self._shaped.bars_over(strategy, market, moment_ns)
        traces = []
        for each in (self._worlds.same(), world):
            trace = LineTrace(self._paths | self._whole_paths, self._whole_paths, rows)
            each.make().observe(moment_ns, traced=trace, traced_calls=_TRACED_CALLS)
            traces.append(trace.steps)
        steps = traces[1 if is_new else 0]
        last = Place(steps[-1].path, steps[-1].line) if steps else None
        found = parting(*traces)
        if found is None:
            return None, last
        line = self._line(Place(found.path, found.line))
        return (None if line is None else Cause(line, found.name, found.was, found.became)), last

    def _owner(self, path: str) -> str:
        for run in self._runs:
            if any(file.path == path for file in run.strategy.files):
                return run.name
        return Path(path).stem

    def _line(self, place: Place | None) -> Line | None:
        if place is None:
            return None
        path = Path(place.path)
        shown = path.relative_to(self._home).as_posix() if path.is_relative_to(self._home) else str(path)
        return Line(shown, place.line, linecache.getline(place.path, place.line).strip())


def _first_moved(one: IndicatorColumns, two: IndicatorColumns, until_ns: int) -> int | None:
    """The first bar that is over and whose value differs."""
    count = min(int(np.searchsorted(one.closes_ns, until_ns, side="right")), len(one.values), len(two.values))
    differs = _bits(one.values[:count]) != _bits(two.values[:count])
    return int(np.argmax(differs)) if differs.any() else None


def _bits(values: FloatColumn) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Values as bits, every not-a-number the same."""
    plain: FloatColumn = np.where(np.isnan(values), np.nan, values)
    return plain.view(np.int64)


def _first_line(error: StrategyError) -> str:
    return error.message.splitlines()[0]


def _moved_home(finding: Finding, folder: Path, home: Path) -> Finding:
    """The same with lines of the home instead of those of its copy."""

    def line_of(line: Line | None) -> Line | None:
        if line is None or not Path(line.path).is_relative_to(folder):
            return line
        return Line(Path(line.path).relative_to(folder).as_posix(), line.line, line.text)

    cause = finding.cause
    if cause is not None:
        moved = line_of(cause.line)
        assert moved is not None
        cause = msgspec.structs.replace(cause, line=moved)
    return msgspec.structs.replace(
        finding,
        ordered_at=line_of(finding.ordered_at),
        cause=cause,
        became=finding.became.replace(str(folder), str(home)),
    )
