"""A line from an event: JSON for machines, text for a person. Neither can break its line or the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import msgspec

Fields = Mapping[str, Any]

_PLAIN = {"ts", "time", "level", "event", "logger", "session", "run", "mode", "exception"}
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_EVENT_WIDTH = 32


def json_line(fields: Fields) -> bytes:
    """One JSON object and a line feed."""
    return msgspec.json.encode(fields) + b"\n"


def text_line(*, colour: bool) -> Callable[[Fields], bytes]:
    """A function that makes `14:03:07.120 WARNING feed is stale  symbol=BTCUSDT (daemon.feeds)`, UTC, from an event."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    def render(fields: Fields) -> bytes:
        level = str(fields["level"])
        pairs = "  ".join(f"{paint(_safe(name), '36')}={_safe(_value(value))}" for name, value in fields.items()
                          if name not in _PLAIN)  # fmt: skip
        head = f"{paint(str(fields['time'])[11:23], '2')} {paint(f'{level.upper():<8}', _COLOURS.get(level, '0'))}"
        event = _safe(str(fields["event"]))
        line = f"{head} {event:<{_EVENT_WIDTH}}  {pairs}" if pairs else f"{head} {event}"
        if fields.get("logger"):
            line += paint(f"  ({_safe(str(fields['logger']))})", "2")
        return "\n".join([line, *_exception_lines(fields.get("exception")), ""]).encode("utf-8", "backslashreplace")

    return render


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user did not ask for none (NO_COLOR)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _value(value: object) -> str:
    if isinstance(value, str):
        return value if value and " " not in value and "=" not in value else f'"{value}"'
    return msgspec.json.encode(value).decode()


def _safe(text: str) -> str:
    """Without control characters: what an exchange sends must not move somebody's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _exception_lines(exception: object, indent: str = "    ") -> list[str]:
    if not isinstance(exception, Mapping):
        return []
    lines = [f"{indent}{_safe(str(frame))}" for frame in exception.get("trace", ())]
    lines.append(f"{indent}{_safe(str(exception.get('type')))}: {_safe(str(exception.get('message')))}")
    for name, inner in (("cause", exception.get("cause")), *(("one of them", m) for m in exception.get("members", ()))):
        if inner is not None:
            lines += [f"{indent}{name}:", *_exception_lines(inner, indent + "    ")]
    return lines
