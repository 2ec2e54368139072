"""What can go wrong at a venue, by name: the table of faults, and `NAME@TIME[:ARGUMENT]` read.

TIME is seconds since the start. The argument is one value or two, `FIRST/SECOND`; what is left out has a default.
Faults of the stream hit one instrument, the first unless the argument names one, so that the others can be seen to live
on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from adapters.loopback.frames import Channel
from adapters.loopback.timeline import Burst
from engine.bars import NS_PER_SECOND
from engine.errors import UsageError

_SECONDS_MOST = 1e8
_BYTES_MOST = 1 << 28
FOR_EVER = math.inf


class FaultKind(StrEnum):
    """The faults' names."""

    reset = "reset"
    fin = "fin"
    close = "close"
    refused = "refused"
    stall = "stall"
    mute = "mute"
    channel = "channel"
    gap = "gap"
    duplicate = "duplicate"
    reorder = "reorder"
    garbage = "garbage"
    oversized = "oversized"
    crossed = "crossed"
    nan = "nan"
    limited = "limited"
    banned = "banned"
    broken = "broken"
    slow = "slow"
    rest_reset = "rest_reset"
    rest_truncated = "rest_truncated"
    rest_repeating = "rest_repeating"
    rest_lacking = "rest_lacking"
    burst = "burst"
    funding_missing = "funding_missing"
    funding_twice = "funding_twice"
    funding_late = "funding_late"


class Fault(msgspec.Struct, frozen=True):
    """A fault to be played. Which of the fields mean something, the table says; `symbol` empty: the first."""

    kind: FaultKind
    at_ns: int
    amount: float = 1
    seconds: float = FOR_EVER
    channel: Channel = Channel.depth
    symbol: str = ""

    @property
    def until_ns(self) -> float:
        """When it is over, ns since the start."""
        return self.at_ns + self.seconds * NS_PER_SECOND


_Field: TypeAlias = Literal["amount", "seconds", "channel", "symbol"]


class Slot(msgspec.Struct, frozen=True):
    """One value of an argument: which field it is, what it is called, and what it is where it is left out."""

    field: _Field
    label: str
    default: float | str


class FaultInfo(msgspec.Struct, frozen=True):
    """A row of the table."""

    kind: FaultKind
    slots: tuple[Slot, ...]
    text: str

    def argument(self) -> str:
        """How its argument is written."""
        return "/".join(slot.label for slot in self.slots)

    def defaults(self) -> str:
        """What is taken where the argument is left out."""
        words = {FOR_EVER: "for ever", "": "the first"}
        return "/".join(words.get(slot.default) or f"{slot.default}" for slot in self.slots)


_COUNT, _SYMBOL = Slot("amount", "COUNT", 1), Slot("symbol", "SYMBOL", "")
_REQUESTS = Slot("amount", "COUNT", 1)
_ALWAYS = Slot("seconds", "SECONDS", FOR_EVER)


def _seconds(default: float) -> Slot:
    return Slot("seconds", "SECONDS", default)


TABLE = (
    FaultInfo(FaultKind.reset, (), "every websocket is reset (TCP RST)"),
    FaultInfo(FaultKind.fin, (), "every websocket ends without a close frame (TCP FIN)"),
    FaultInfo(FaultKind.close, (Slot("amount", "CODE", 1001),), "every websocket is closed cleanly"),
    FaultInfo(FaultKind.refused, (_seconds(5),), "all connections are reset, and new ones refused for so long"),
    FaultInfo(FaultKind.stall, (_ALWAYS,), "open websockets stay open and say nothing; what they miss is lost"),
    FaultInfo(FaultKind.mute, (_seconds(60),), "websockets opened in this time connect, but never say anything"),
    FaultInfo(
        FaultKind.channel, (Slot("channel", "CHANNEL", "depth"), _ALWAYS), "open websockets say nothing of one channel"
    ),
    FaultInfo(FaultKind.gap, (_COUNT, _SYMBOL), "so many book messages are left out"),
    FaultInfo(FaultKind.duplicate, (_COUNT, _SYMBOL), "so many messages, of any channel, come twice"),
    FaultInfo(FaultKind.reorder, (_COUNT, _SYMBOL), "so many pairs of book messages come the wrong way round"),
    FaultInfo(FaultKind.garbage, (_COUNT, _SYMBOL), "so many book messages break off in the middle: no JSON"),
    FaultInfo(FaultKind.oversized, (Slot("amount", "BYTES", 10_000_000), _SYMBOL), "one message of so many bytes"),
    FaultInfo(FaultKind.crossed, (_COUNT, _SYMBOL), "so many book messages hold a bid above the best ask"),
    FaultInfo(FaultKind.nan, (_COUNT, _SYMBOL), "so many messages of book, trades and quotes hold NaN for a price"),
    FaultInfo(FaultKind.limited, (_seconds(10),), "REST answers 429 with Retry-After"),
    FaultInfo(FaultKind.banned, (_seconds(60),), "REST answers 418 with Retry-After"),
    FaultInfo(FaultKind.broken, (_seconds(10),), "REST answers 503"),
    FaultInfo(FaultKind.slow, (Slot("amount", "DELAY", 10), _seconds(60)), "REST answers DELAY seconds late"),
    FaultInfo(FaultKind.rest_reset, (_REQUESTS,), "so many REST requests are reset (TCP RST) instead of answered"),
    FaultInfo(FaultKind.rest_truncated, (_REQUESTS,), "so many REST answers break off in the middle"),
    FaultInfo(FaultKind.rest_repeating, (_REQUESTS,), "so many REST lists hold rows twice"),
    FaultInfo(FaultKind.rest_lacking, (_REQUESTS,), "so many REST lists lack rows in the middle and at the end"),
    FaultInfo(FaultKind.burst, (Slot("amount", "FACTOR", 10), _seconds(60)), "FACTOR times as much happens"),
    FaultInfo(FaultKind.funding_missing, (_SYMBOL,), "the next settlement never appears in the list of funding rates"),
    FaultInfo(FaultKind.funding_twice, (_SYMBOL,), "the next settlement appears twice in it"),
    FaultInfo(FaultKind.funding_late, (_seconds(30), _SYMBOL), "the next settlement appears in it so much later"),
)
_INFOS = {info.kind.value: info for info in TABLE}


def parse_faults(texts: Sequence[str]) -> tuple[Fault, ...]:
    """Faults by their time; raises UsageError naming what cannot be read."""
    return tuple(sorted((_parse(text) for text in texts), key=lambda fault: fault.at_ns))


def bursts_of(faults: Sequence[Fault]) -> list[Burst]:
    """The bursts among them, for the timeline."""
    bursts = [fault for fault in faults if fault.kind is FaultKind.burst]
    return [
        Burst(fault.at_ns, round(fault.at_ns + min(fault.seconds, _SECONDS_MOST) * NS_PER_SECOND), fault.amount)
        for fault in bursts
    ]


def table_lines() -> list[str]:
    """The table as text, a line a fault."""
    rows = [("NAME", "ARGUMENT", "DEFAULT", "WHAT HAPPENS")]
    rows += [(info.kind.value, info.argument(), info.defaults(), info.text) for info in TABLE]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    columns = [[f"{row[place]:<{width}}" for place, width in enumerate(widths)] + [row[3]] for row in rows]
    return ["  ".join(cells) for cells in columns]


def _parse(text: str) -> Fault:
    name, has_time, rest = text.partition("@")
    time_text, _, argument = rest.partition(":")
    info = _INFOS.get(name)
    if info is None or not has_time:
        raise UsageError(
            f"--fault {text!r} is none of the faults" if has_time else f"--fault {text!r} has no time",
            remedy="Write NAME@TIME or NAME@TIME:ARGUMENT, as gap@10:3. tapewright exchange --faults lists the names.",
        )
    values = argument.split("/") if argument else []
    if len(values) > len(info.slots):
        raise _unreadable(text, f"has an argument of {len(values)} values, and takes {len(info.slots)}")
    chosen = {slot.field: slot.default for slot in info.slots}
    for slot, value in zip(info.slots, values, strict=False):
        if value:
            chosen[slot.field] = value
    channel = str(chosen.get("channel", Channel.depth))
    if channel not in list(Channel):
        raise _unreadable(text, f"names the channel {channel!r}; there are {', '.join(Channel)}")
    return Fault(
        info.kind,
        round(_number(text, time_text.removesuffix("s"), "time") * NS_PER_SECOND),
        _number(text, chosen.get("amount", 1), "argument", above=0),
        _number(text, chosen.get("seconds", FOR_EVER), "argument", above=0),
        Channel(channel),
        str(chosen.get("symbol", "")).upper(),
    )


def _number(text: str, value: float | str, meaning: str, above: float = -1) -> float:
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise _unreadable(text, f"has {value!r} as its {meaning}, which is no number") from None
        if not (above < number and 0 <= number <= max(_SECONDS_MOST, _BYTES_MOST)):
            raise _unreadable(text, f"has {value!r} as its {meaning}, which is out of range")
        return number
    return value


def _unreadable(text: str, what: str) -> UsageError:
    return UsageError(f"--fault {text!r} {what}", remedy="tapewright exchange --faults says what each one takes.")
