"""What the look-ahead check found."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.figures.times import utc_text

FindingKind = Literal["decision", "indicator", "outside", "files", "not_repeatable"]


class Line(msgspec.Struct, frozen=True):
    """A line of a file, with its text."""

    path: str
    line: int
    text: str

    def told(self) -> str:
        """As editors know it."""
        return f"{self.path}:{self.line}" + (f"    {self.text}" if self.text else "")


class Cause(msgspec.Struct, frozen=True):
    """The line after which two runs of the strategy were no longer the same, and the local that it set otherwise."""

    line: Line
    name: str
    was: str
    became: str


class MovedIndicator(msgspec.Struct, frozen=True):
    """An indicator that gave another value for a bar that was over."""

    name: str
    symbol: str
    bar_index: int
    ts_ns: int
    was: str
    became: str


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found.

    `how` says what was done to the run; `ts_ns` and `bar_index` are of the first decision that moved (its bar's close),
    `was` and `became` the decision in words. What does not apply is empty or None.
    """

    kind: FindingKind
    how: str
    strategy: str = ""
    symbol: str = ""
    ts_ns: int = 0
    bar_index: int = -1
    was: str = ""
    became: str = ""
    ordered_at: Line | None = None
    cause: Cause | None = None
    indicator: MovedIndicator | None = None
    outside: Line | None = None

    def lines(self) -> list[str]:
        """What is said of it; the first line is its heading."""
        lines = [self._heading()]
        if self.was or self.became:
            lines.append(f"at {utc_text(self.ts_ns)}, bar {self.bar_index:,} of {self.symbol}: {self.was}")
            lines.append(f"{self.how}: {self.became}")
        if self.ordered_at is not None:
            lines.append(f"asked for at {self.ordered_at.told()}")
        if self.cause is not None:
            lines.append(f"moved at {self.cause.line.told()}")
            if self.cause.name:
                lines.append(f"  {self.cause.name}: {self.cause.was}; then {self.cause.became}")
        if self.indicator is not None:
            moved = self.indicator
            lines.append(
                f"indicator {moved.name}, bar {moved.bar_index:,} of {moved.symbol} ({utc_text(moved.ts_ns)}):"
                f" {moved.was}; then {moved.became}"
            )
        if self.outside is not None:
            lines.append(f"at {self.outside.told()}")
        return lines

    def _heading(self) -> str:
        match self.kind:
            case "decision":
                return f"{self.strategy} decides by what comes later"
            case "indicator":
                return f"{self.strategy}: an indicator's past changes with what comes later ({self.how})"
            case "outside":
                return f"{self.strategy} {self.how}, which no run can hold against what it knew"
            case "files":
                return f"{self.strategy} decides by what lies in files"
            case "not_repeatable":
                return f"{self.strategy} decides otherwise when it is run again"


class LookaheadReport(msgspec.Struct, frozen=True):
    """What was checked, and what was found. `idle`: strategies that decided nothing, of which nothing is proven."""

    clean: bool
    findings: tuple[Finding, ...]
    idle: tuple[str, ...]
    decisions: int
    bars: int
    cuts: tuple[int, ...]
    runs: int
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What is said of it."""
        verdict = "CLEAN" if self.clean else "NOTHING PROVEN" if not self.findings else f"{len(self.findings)} FOUND"
        size = f"{self.decisions:,} decisions on {self.bars:,} bars, {self.runs} runs, {len(self.cuts)} cuts"
        lines = [f"Look-ahead: {verdict}", f"  {size}, seed {self.seed}, {self.seconds:.1f} s"]
        for number, finding in enumerate(self.findings, 1):
            first, *rest = finding.lines()
            lines += [f"  {number}. {first}", *(f"     {line}" for line in rest)]
        idle = "decided nothing, so nothing is proven of it: choose a span in which it trades"
        lines += [f"  {name} {idle}" for name in self.idle]
        return lines + [f"  {note}" for note in self.notes]
