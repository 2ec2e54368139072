"""Which of Binance's markets a raw capture was recorded on, told by what its messages have and lack."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec
from msgspec import field

from adapters.captures.binance import ENVELOPE
from adapters.captures.raw_lines import UNDECODABLE, receive_time
from adapters.captures.report import RejectedError

BinanceMarket: TypeAlias = Literal["binance_spot", "binance_usdm", "binance_coinm"]

_COINM_SYMBOL = re.compile(r"[A-Z0-9]+USD_(PERP|\d{6})")


class _Probe(msgspec.Struct, frozen=True):
    event: str = field(name="e", default="")
    symbol: str = field(name="s", default="")
    previous_id: int | None = field(name="pu", default=None)
    origin: str | None = field(name="X", default=None)
    last_update_id: int | None = field(name="lastUpdateId", default=None)
    update_id: int | None = field(name="u", default=None)
    event_ms: int | None = field(name="E", default=None)
    is_best_match: bool | None = field(name="M", default=None)


_PROBE = msgspec.json.Decoder(_Probe)


def market_of(content: bytes) -> BinanceMarket | None:
    """The market that a line must come from: None where it could be from any, or is no line of Binance's."""
    try:
        body = receive_time(content)[1]
        envelope = ENVELOPE.decode(body)
        probe = _PROBE.decode(envelope.data if envelope.stream else body)
    except (RejectedError, *UNDECODABLE):
        return None
    is_book = probe.event == "depthUpdate"
    if probe.event in ("trade", "aggTrade"):
        is_spot = probe.is_best_match is not None
    elif probe.last_update_id is not None:
        is_spot = probe.event_ms is None
    elif is_book or probe.update_id is not None:
        is_spot = probe.previous_id is None if is_book else not probe.event
    elif probe.event in ("markPriceUpdate", "forceOrder"):
        is_spot = False
    else:
        return None
    if is_spot:
        return "binance_spot"
    if not probe.symbol:
        return None
    return "binance_coinm" if _COINM_SYMBOL.fullmatch(probe.symbol) else "binance_usdm"
