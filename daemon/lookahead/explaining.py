"""Why a decision moved: the line that asked for it, the line at which the runs part, the indicator that gave way."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from pathlib import Path

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
        cause, last = self._cause(world, first.ts_ns)
        return Finding(
            kind=kind,
            how=world.how,
            strategy=self._runs[first.strategy].name,
            symbol=self._shaped.scales[first.market].instrument.symbol,
            ts_ns=first.ts_ns,
            bar_index=self._bar(first.market, first.ts_ns),
            was=text_of(difference.was if difference.was and difference.was.ts_ns == first.ts_ns else None,
                        self._shaped.scales[first.market]),
            became=_first_line(error) if error is not None else text_of(
                difference.became if difference.became and difference.became.ts_ns == first.ts_ns else None,
                self._shaped.scales[first.market],
            ),
            ordered_at=self._line(first.place or last),
            cause=cause,
            indicator=indicator.indicator if indicator is not None else None,
        )  # fmt: skip

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
            place = _first_moved(own, other, world.until_ns) if own is not None else None
            if own is None or place is None:
                continue
            output, row = place
            symbol = self._shaped.scales[own.market].instrument.symbol
            return Finding(
                kind="indicator", how=world.how, strategy=self._runs[own.strategy].name, symbol=symbol,
                indicator=MovedIndicator(
                    own.name, symbol, row, int(own.closes_ns[row]), repr(float(own.outputs[output][row])),
                    repr(float(other.outputs[output][row])),
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
        bars = self._shaped.markets[market].bars
        return int(np.searchsorted(bars.ts_ns, ts_ns, side="left")) - 1

    def _cause(self, world: World, moment_ns: int) -> tuple[Cause | None, Place | None]:
        """The line at which run and world part up to a moment, and the last line that ran in the run itself."""
        is_ahead = any(run.strategy.signals is not None for run in self._runs)
        rows = self._bar(0, moment_ns) + 1
        traces = []
        for each in (self._worlds.same(), world):
            trace = LineTrace(self._paths | self._whole_paths, self._whole_paths, rows)
            # Whole columns are computed at the start: the world must end where it was cut, not where the decision lies.
            until = each.until_ns if each.until_ns is not None else moment_ns
            if each is not world or not is_ahead:
                until = moment_ns
            each.make().observe(until, traced=trace, traced_calls=_TRACED_CALLS)
            traces.append(trace.steps)
        steps = traces[0]
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


def _first_moved(one: IndicatorColumns, two: IndicatorColumns, until_ns: int) -> tuple[int, int] | None:
    """Output and row of the first value that differs among those of bars that are over."""
    stop = int(np.searchsorted(one.closes_ns, until_ns, side="right"))
    found: list[tuple[int, int]] = []
    for output, (left, right) in enumerate(zip(one.outputs, two.outputs, strict=True)):
        count = min(stop, len(left), len(right))
        differs = _bits(left[:count]) != _bits(right[:count])
        if differs.any():
            found.append((int(np.argmax(differs)), output))
    if not found:
        return None
    row, output = min(found)
    return output, row


def _bits(values: FloatColumn) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Values as bits, every not-a-number the same."""
    plain: FloatColumn = np.where(np.isnan(values), np.nan, values)
    return plain.view(np.int64)


def _first_line(error: StrategyError) -> str:
    return error.message.splitlines()[0]


def _moved_home(finding: Finding, folder: Path, home: Path) -> Finding:
    """The same with lines of the home instead of those of its copy."""
    import msgspec

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
