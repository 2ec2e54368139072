"""From what was said to lines: one way for structlog's events and for records of the standard library.

An event is stamped, given the session's facts, made plain and bounded without secrets, held back where it is the same
trouble again, then rendered once for each outlet. Nothing here waits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import structlog

from daemon.logs.plain import Redact, exception_fields, plain, text, time_text
from daemon.logs.redaction import HIDDEN, is_secret, text_redactor
from daemon.logs.repeats import Repeats, trouble_of

Fields = dict[str, Any]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_SPELLINGS = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info", "log": "info"}
_FIELDS_MAX = 60
_RESERVED = frozenset({"ts", "time", "level", "logger", "session", "run", "mode", "exception", "repeated"})
_NOT_FIELDS = frozenset({"event", "exc_info", "stack_info", "stack"})
_WARNING = _LEVELS["warning"]


class Outlet(Protocol):
    """Takes lines and never holds up who gives them."""

    def put(self, line: bytes) -> None:
        """Take a line, or count it as lost."""


class Pipeline:
    """Makes lines of events and hands them to the outlets. May be called from any thread."""

    def __init__(
        self, outlets: Sequence[tuple[Callable[[Fields], bytes], Outlet]], *, facts: Mapping[str, str],
        secrets: Collection[str] = (), clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._outlets = outlets
        self._facts = dict(facts)
        self._redact = text_redactor(secrets)
        self._repeats = Repeats(clock_ns)

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """The last processor of structlog: the line goes to the outlets, and nothing is left for a logger to print."""
        self.log(getattr(logger, "name", ""), _SPELLINGS.get(method, method), event)
        raise structlog.DropEvent

    def log(self, logger: str, level: str, event: Mapping[str, Any]) -> None:
        """Log an event: its text under `event`, an exception under `exc_info`, all else are fields."""
        now_ns = time.time_ns()
        error = _exception(event.get("exc_info"))
        trouble = trouble_of(logger, level, event, error) if _LEVELS.get(level, 0) >= _WARNING else None
        for summary in self._repeats.ended():
            self._write(summary)
        if trouble is not None and self._repeats.is_repeated(trouble, now_ns):
            return
        fields = stamped(now_ns, level, text(str(event.get("event", "")), self._redact), logger, self._facts)
        _add_fields(fields, event, self._redact)
        if error is not None:
            fields["exception"] = exception_fields(error, self._redact)
        if trouble is not None:
            self._repeats.begin(trouble, fields)
        self._write(fields)

    def flush(self) -> None:
        """Tell what was held back and not yet told."""
        for summary in self._repeats.ended(everything=True):
            self._write(summary)

    def _write(self, fields: Fields) -> None:
        lines: dict[Callable[[Fields], bytes], bytes] = {}
        for render, outlet in self._outlets:
            line = lines.get(render)
            if line is None:
                line = lines[render] = render(fields)
            outlet.put(line)


def level_number(name: str) -> int:
    """The standard library's number of a level."""
    return _LEVELS[name]


def stamped(now_ns: int, level: str, event: str, logger: str, facts: Mapping[str, str]) -> Fields:
    """The fields that every line begins with; `ts` is in UTC nanoseconds, and `time` is the same moment to read."""
    return {"ts": now_ns, "time": time_text(now_ns), "level": level, "event": event, "logger": logger, **facts}


def lost_line(render: Callable[[Fields], bytes], facts: Mapping[str, str]) -> Callable[[int], bytes]:
    """A function that makes the line about so many lost ones, for an outlet to write by itself."""

    def make(count: int) -> bytes:
        return render(stamped(time.time_ns(), "warning", "log lines were lost", "daemon.logs", facts) | {"lost": count})

    return make


def _add_fields(fields: Fields, event: Mapping[str, Any], redact: Redact) -> None:
    left_out = 0
    for name, value in event.items():
        if name in _NOT_FIELDS:
            continue
        if len(fields) >= _FIELDS_MAX:
            left_out += 1
            continue
        # A caller's `ts` is not the line's.
        shown_name = f"{name}_" if name in _RESERVED else name
        fields[shown_name] = HIDDEN if is_secret(name) else plain(value, redact)
    if left_out:
        fields["fields_left_out"] = left_out


def _exception(found: object) -> BaseException | None:
    """What `exc_info` means: an exception, logging's triple, or True for the one that is being handled."""
    match found:
        case BaseException():
            return found
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exception()
        case _:
            return None
