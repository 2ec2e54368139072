"""Any value as one that a line of JSON can hold: without secrets, bounded in depth, length and number.

A line must not grow with what went wrong: a 10 MB frame in an error's message is cut, and the cut is said.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from numbers import Integral
from pathlib import PurePath

import msgspec

from daemon.logs.redaction import HIDDEN, is_secret

Redact = Callable[[str], str]

TEXT_CHARS_MAX = 2_000
# Read before it is redacted: what lies behind this is neither searched nor shown.
_SEARCHED_CHARS_MAX = 8_000
_ITEMS_MAX = 50
_NAME_CHARS_MAX = 100
_DEPTH_MAX = 5
_FRAMES_MAX = 30
_MEMBERS_MAX = 5
# What some readers take for the end of a line; JSON writes only ASCII's as escapes.
_LINE_ENDS = {0x85: "\\x85", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_INTEGER_MAX = 2**63 - 1
_PAIR_COUNT = 2
_NS_PER_SECOND = 1_000_000_000


def plain(value: object, redact: Redact, depth: int = 0) -> object:  # noqa: PLR0911 - one line for each kind of value
    """The value as text, number, truth, None, list or dict; what has no such form becomes its text."""
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value, redact, depth)
        case int():
            return value if -_INTEGER_MAX <= value <= _INTEGER_MAX else text(str(value), redact)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case str():
            return text(value, redact)
        case Decimal():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return text(bytes(value[:_SEARCHED_CHARS_MAX]).decode("utf-8", "backslashreplace"), redact)
        case PurePath():
            return text(str(value), redact)
        case BaseException():
            return text(f"{type(value).__name__}: {shown(value)}", redact)
        case Integral():
            # numpy's
            return plain(int(value), redact, depth)
        case _ if depth >= _DEPTH_MAX:
            return "…"
        case msgspec.Struct():
            named: dict[object, object] = {name: getattr(value, name) for name in value.__struct_fields__}
            return _dict(named, redact, depth)
        case Mapping():
            return _dict(value, redact, depth)
        case tuple() | list() | AbstractSet():
            return _list(value, redact, depth)
        case _:
            return text(shown(value), redact)


def text(value: str, redact: Redact) -> str:
    """A text without secrets, of bounded length, that can be encoded."""
    shown_part = redact(value[:_SEARCHED_CHARS_MAX])
    if len(shown_part) > TEXT_CHARS_MAX or len(value) > _SEARCHED_CHARS_MAX:
        shown_part = f"{shown_part[:TEXT_CHARS_MAX]}… ({len(value):,} characters)"
    if not shown_part.isascii():
        shown_part = shown_part.translate(_LINE_ENDS).encode("utf-8", "backslashreplace").decode()
    return shown_part


def shown(value: object) -> str:
    """`str(value)`, also where the value's own code is broken: a log must not fail because of what it tells."""
    try:
        return str(value)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return f"<{type(value).__name__}: its text raised {type(error).__name__}>"


def time_text(ts_ns: int) -> str:
    """`2024-08-08T23:54:15.000000042Z`."""
    seconds, fraction_ns = divmod(ts_ns, _NS_PER_SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction_ns:09d}Z"


def exception_fields(error: BaseException, redact: Redact, depth: int = 0) -> dict[str, object]:
    """An exception as type, message, trace (`file:line function`, outermost first), cause and members."""
    frames = traceback.extract_tb(error.__traceback__)
    left_out = max(0, len(frames) - _FRAMES_MAX)
    trace = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[left_out:]]
    fields: dict[str, object] = {
        "type": type(error).__name__,
        "message": text(shown(error), redact),
        "trace": [f"… {left_out} outer frames", *trace] if left_out else trace,
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if depth < _DEPTH_MAX:
        if cause is not None:
            fields["cause"] = exception_fields(cause, redact, depth + 1)
        if isinstance(error, BaseExceptionGroup):
            members = error.exceptions[:_MEMBERS_MAX]
            fields["members"] = [exception_fields(member, redact, depth + 1) for member in members]
            fields["members_count"] = len(error.exceptions)
    return fields


def _dict(value: Mapping[object, object], redact: Redact, depth: int) -> dict[str, object]:
    made: dict[str, object] = {}
    for count, (key, inner) in enumerate(value.items()):
        if count >= _ITEMS_MAX:
            made["…"] = f"{len(value) - _ITEMS_MAX:,} more"
            break
        name = _name(key)[:_NAME_CHARS_MAX]
        made[text(name, redact)] = HIDDEN if is_secret(name) else plain(inner, redact, depth + 1)
    return made


def _list(value: tuple[object, ...] | list[object] | AbstractSet[object], redact: Redact, depth: int) -> list[object]:
    if isinstance(value, tuple | list) and len(value) == _PAIR_COUNT and isinstance(value[0], str | bytes):
        # Headers come as pairs.
        name = _name(value[0])[:_NAME_CHARS_MAX]
        if is_secret(name):
            return [text(name, redact), HIDDEN]
    made: list[object] = []
    for count, inner in enumerate(value):
        if count >= _ITEMS_MAX:
            made.append(f"… {len(value) - _ITEMS_MAX:,} more")
            break
        made.append(plain(inner, redact, depth + 1))
    return made


def _name(key: object) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else shown(key)
