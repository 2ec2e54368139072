"""The line at which two runs of the same code part: every line of the strategies' files that runs, with its locals."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Collection, Sequence
from types import FrameType
from typing import Any

import msgspec
import numpy as np

_STEPS_MOST = 200_000
_ITEMS_MOST = 32
_SAMPLE = 2_048
_TEXT_CHARS_MAX = 80


class Value(msgspec.Struct, frozen=True):
    """A local as two runs can be compared by it, and as it is told."""

    digest: object
    shown: str


class Step(msgspec.Struct, frozen=True):
    """A line that is about to run (or, with `returned`, has returned), and the locals before it.

    `before` is the step of the same call before this one, -1 at its first line.
    """

    path: str
    line: int
    function: str
    values: dict[str, Value]
    before: int
    returned: Value | None = None


class Parting(msgspec.Struct, frozen=True):
    """The line after which two runs were no longer the same.

    `name`: the local that it set otherwise, empty where the code went another way; then what it was in both runs.
    """

    path: str
    line: int
    name: str = ""
    was: str = ""
    became: str = ""


class LineTrace:
    """While entered, remembers the lines of these files that run.

    In those of `whole_paths`, whose code is given whole columns, only `rows` values of a column count: those up to the
    moment that two runs share.
    """

    def __init__(self, paths: Collection[str], whole_paths: Collection[str], rows: int) -> None:
        self.steps: list[Step] = []
        self._paths = frozenset(paths)
        self._whole_paths = frozenset(whole_paths)
        self._all_rows = rows
        self._rows: int | None = None
        self._last: dict[FrameType, int] = {}
        self._before: Any = None

    def __enter__(self) -> LineTrace:
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)
        self._last.clear()

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._paths or frame.f_code.co_name == "<module>":
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event in {"line", "return"} and len(self.steps) < _STEPS_MOST:
            self._rows = self._all_rows if frame.f_code.co_filename in self._whole_paths else None
            values = {name: value for name, each in frame.f_locals.items() if (value := self._value(each)) is not None}
            returned = self._value(argument) if event == "return" else None
            code = frame.f_code
            before = self._last.get(frame, -1)
            self._last[frame] = len(self.steps)
            self.steps.append(Step(code.co_filename, frame.f_lineno, code.co_name, values, before, returned))
            if event == "return":
                del self._last[frame]
        return self._line

    def _value(self, value: object, depth: int = 0) -> Value | None:
        """None for what cannot be compared."""
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            text = repr(value)
            return Value(text, text[:_TEXT_CHARS_MAX])
        if depth > 2:
            return None
        if isinstance(value, dict):
            items: list[Any] = [each for pair in list(value.items())[:_ITEMS_MOST] for each in pair]
        elif isinstance(value, tuple | list):
            items = list(value[:_ITEMS_MOST])
        else:
            return None
        found = [self._value(each, depth + 1) for each in items]
        shown = ", ".join(each.shown if each is not None else "..." for each in found)
        return Value(tuple(each.digest if each is not None else None for each in found), shown[:_TEXT_CHARS_MAX])

    def _array(self, value: Any) -> Value | None:
        if value.dtype.hasobject:
            return None
        if self._rows is not None and value.ndim == 1 and len(value) >= self._rows:
            value = value[: self._rows]
        last = f", last {value[-1].item()!r}" if value.ndim == 1 and len(value) and value.dtype.names is None else ""
        shown = f"{len(value):,} values{last}" if value.ndim == 1 else f"an array of shape {value.shape}"
        return Value((value.shape, zlib.crc32(_sample(value).tobytes())), shown)


def parting(one: Sequence[Step], two: Sequence[Step]) -> Parting | None:
    """Where two runs part; None where all that can be compared is the same."""
    for place, (first, second) in enumerate(zip(one, two, strict=False)):
        if (first.path, first.line, first.function) != (second.path, second.line, second.function):
            before = one[place - 1] if place else first
            return Parting(before.path, before.line)
        for name in dict.fromkeys([*first.values, *second.values]):
            was, became = first.values.get(name), second.values.get(name)
            if (was and was.digest) != (became and became.digest):
                set_by = one[first.before] if first.before >= 0 else first
                return Parting(set_by.path, set_by.line, name, _told(was), _told(became))
        was, became = first.returned, second.returned
        if (was and was.digest) != (became and became.digest):
            return Parting(first.path, first.line, "what it returns", _told(was), _told(became))
    if len(one) != len(two):
        longer = one if len(one) > len(two) else two
        place = min(len(one), len(two))
        before = longer[place - 1] if place else longer[0]
        return Parting(before.path, before.line)
    return None


def _sample(value: Any) -> Any:
    """All of an array; of a long one its end, and some of the rest."""
    if value.ndim != 1 or len(value) <= 2 * _SAMPLE:
        return value
    return np.concatenate((value[:: len(value) // _SAMPLE], value[-_SAMPLE:]))


def _told(value: Value | None) -> str:
    return "not set" if value is None else value.shown
