"""The same trouble again is counted instead of told: once at its start, and once at its end with how often it was.

The same: logger, level, text but for its numbers, the fields that are texts, the exception. Numbers may differ, so
`attempt=7` is the same trouble as `attempt=6`, and `symbol="ETHUSDT"` is another than `symbol="BTCUSDT"`. The field
`detail` is what one time was about, such as the text of a message, and may differ too.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from daemon.logs.plain import shown, time_text

WINDOW_SECONDS = 10
TROUBLES_MAX = 1_000

_DIGITS = re.compile(r"\d+")
_CHARS_MAX = 300
_TEXT_FIELDS_MAX = 10
_NOT_SAME = frozenset({"event", "detail"})  # the text is compared apart, the detail not at all
_NS_PER_SECOND = 1_000_000_000


class _Told:
    __slots__ = ("fields", "last_ts_ns", "repeated", "since_ns")

    def __init__(self, since_ns: int, fields: dict[str, Any]) -> None:
        self.since_ns = since_ns
        self.fields = fields
        self.repeated = 0
        self.last_ts_ns = 0


class Repeats:
    """Troubles of the last seconds, the oldest first; at most `TROUBLES_MAX`, the oldest are forgotten."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._told: OrderedDict[Hashable, _Told] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._told)

    def is_repeated(self, trouble: Hashable, ts_ns: int) -> bool:
        """Whether this was told within the window; then it is counted."""
        with self._lock:
            told = self._told.get(trouble)
            if told is None:
                return False
            told.repeated += 1
            told.last_ts_ns = ts_ns
            return True

    def begin(self, trouble: Hashable, fields: dict[str, Any]) -> None:
        """Remember what is told now."""
        with self._lock:
            self._told.setdefault(trouble, _Told(self._clock_ns(), fields))

    def ended(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """Fields of lines to write for troubles whose window is over, or that are too many; forgets them."""
        if not self._told:
            return []
        lines: list[dict[str, Any]] = []
        with self._lock:
            end_ns = self._clock_ns() - WINDOW_SECONDS * _NS_PER_SECOND
            while self._told:
                trouble, told = next(iter(self._told.items()))
                if not everything and told.since_ns > end_ns and len(self._told) < TROUBLES_MAX:
                    break
                del self._told[trouble]
                if told.repeated:
                    since_ns = told.fields["ts"]
                    when = {"ts": told.last_ts_ns, "time": time_text(told.last_ts_ns)}
                    lines.append(told.fields | when | {"repeated": told.repeated, "repeated_since_ts": since_ns})
        return lines


def trouble_of(logger: str, level: str, event: Mapping[str, Any], error: BaseException | None) -> Hashable:
    """What makes two warnings the same."""
    texts = [
        (name, value[:_CHARS_MAX]) for name, value in event.items() if name not in _NOT_SAME and isinstance(value, str)
    ]
    raised = "" if error is None else f"{type(error).__name__}: {_numberless(shown(error))}"
    return logger, level, _numberless(str(event.get("event", ""))), raised, tuple(sorted(texts)[:_TEXT_FIELDS_MAX])


def _numberless(text: str) -> str:
    return _DIGITS.sub("0", text[:_CHARS_MAX])
