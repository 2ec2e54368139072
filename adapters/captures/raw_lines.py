"""What the raw captures of all venues share: `<receive ns> <JSON>`, and how a line is refused that is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from adapters.captures.messages import Message
from adapters.captures.report import Reason, RejectedError
from engine.bars import NS_PER_MS

Id: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**62 // NS_PER_MS)]
ReadMessage: TypeAlias = Callable[[bytes], Sequence[Message]]

# What msgspec raises for bytes that are no JSON: not UTF-8, and nested too deep, are errors of their own.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_EARLIEST_NS = 10**18  # 2001; a receive time below is in another unit
_LATEST_NS = 2**62


def read_line(read: ReadMessage, content: bytes) -> Sequence[Message]:
    """The messages of one line; raises RejectedError with the reason where there are none to use."""
    try:
        return read(content)
    except msgspec.ValidationError as error:
        raise RejectedError(Reason.bad_message, str(error)) from None
    except UNDECODABLE as error:
        raise RejectedError(Reason.bad_json, str(error)) from None


def receive_time(content: bytes) -> tuple[int, bytes]:
    """A line's receive time (ns) and what stands after it; raises RejectedError where it begins otherwise."""
    digits, _, body = content.partition(b" ")
    if not (digits.isdigit() and len(digits) <= 19 and _EARLIEST_NS <= (receive_ns := int(digits)) < _LATEST_NS):
        raise RejectedError(Reason.no_receive_time, content[:40].decode(errors="replace"))
    return receive_ns, body
