"""The limits of a live feed, as plain values: whoever has a config turns it into them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


def _stale_seconds() -> Mapping[str, float]:
    return {"l2_book": 10.0, "trades": 300.0, "ticker": 30.0, "funding": 60.0, "open_interest": 300.0}


class FeedLimits(msgspec.Struct, frozen=True):
    """What a feed may do, and how long it is patient.

    `stale_seconds` by cryptofeed's channel: after such a silence an instrument's channel is stale; none or 0: never.
    Connects: `connects_burst` at once, then one each `connect_every_seconds`; 10 and 6 are at most 60 in 5 minutes. An
    attempt that fails is repeated after `backoff_seconds`, doubled each time up to `backoff_seconds_max`, counted from
    its beginning. A connection that lived for `steady_seconds` is one that worked.
    """

    first_message_seconds: float = 10.0
    stale_seconds: Mapping[str, float] = msgspec.field(default_factory=_stale_seconds)
    connects_burst: int = 10
    connect_every_seconds: float = 6.0
    connect_seconds: float = 4.5
    close_seconds: float = 0.5
    backoff_seconds: float = 0.5
    backoff_seconds_max: float = 4.5
    steady_seconds: float = 30.0
    follow_seconds: float = 5.0
    snapshot_pause_seconds: float = 0.5
    snapshot_pause_seconds_max: float = 10.0
    quiet_book_seconds: float = 2.0
    patience_seconds: float = 10.0
    patience_seconds_max: float = 600.0
    poll_seconds: float = 60.0
    message_bytes_max: int = 16 << 20
    queue_frames: int = 256
    check_seconds: float = 0.25
