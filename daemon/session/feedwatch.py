"""The session's ear at the feed: records wake the run loop; what happens to connections and books is told."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from adapters.captures.report import Reason
from daemon.control import model
from daemon.logs import get_logger
from daemon.session.raw import RawFrames
from daemon.session.sequencer import Sequencer

# What comes twice, or before and between snapshots, as it always does: it is counted, and no news.
_ORDINARY = frozenset(
    {
        Reason.old_update, Reason.duplicate_trade, Reason.before_snapshot, Reason.no_snapshot_after_gap,
        Reason.snapshot_not_needed, Reason.snapshot_too_old,
    }
)  # fmt: skip
_FRAME = " frame "  # between a source's name and its frame's number, where a place names both


class Connection(msgspec.Struct):
    """One connection: since when it is as it is (monotonic s), how often it was made, why it ended last."""

    address: str
    state: model.ConnectionState = "connecting"
    since: float = 0.0
    connects: int = 0
    why: str = ""


class FeedWatch:
    """What a live feed tells (`adapters.feeds.sink.FeedSink`)."""

    def __init__(self, sequencer: Sequencer, raw: RawFrames | None) -> None:
        self.connections: dict[int, Connection] = {}
        self._sequencer = sequencer
        self._raw = raw
        self._log = get_logger("feed")
        self.changed: Callable[[], None] = sequencer.wake
        self.room = sequencer.room

    @property
    def has_room(self) -> bool:
        """Whether no more records wait than may."""
        return self._sequencer.has_room

    def raw(self, source: int, receive_ns: int, frame: bytes | str) -> None:
        """A frame as it came."""
        if self._raw is not None:
            self._raw.put(source, receive_ns, frame)

    def connected(self, source: int, address: str) -> None:
        """A connection was made."""
        found = self.connections.setdefault(source, Connection(address))
        found.address, found.state, found.since = address, "connected", time.monotonic()
        found.connects += 1
        self._log.info("connected", source=source, address=address, connects=found.connects)

    def disconnected(self, source: int, address: str, reason: str) -> None:
        """A connection ended, or was not made."""
        found = self.connections.setdefault(source, Connection(address))
        found.state, found.since, found.why = "waiting", time.monotonic(), reason
        self._log.warning("disconnected", source=source, address=address, reason=reason)

    def stale(self, symbol: str, channel: str, seconds: float) -> None:
        """A channel of an instrument has gone quiet."""
        self._log.warning("stale", symbol=symbol, channel=channel, silent_seconds=round(seconds, 1))

    def book_invalid(self, symbol: str, reason: str) -> None:
        """A book can no longer be trusted: nothing is decided on it."""
        self._log.warning("book invalid", symbol=symbol, reason=reason)

    def book_resynced(self, symbol: str) -> None:
        """A book is whole."""
        self._log.info("book synchronised", symbol=symbol)

    def trade_gap(self, symbol: str, skipped: int) -> None:
        """Trades are missing."""
        self._log.warning("trades missing", symbol=symbol, skipped=skipped)

    def rejected(self, reason: str, place: str, detail: str) -> None:
        """A message was left out. A flood of them is one trouble for each reason and source, whatever they held."""
        tell = self._log.debug if reason in _ORDINARY else self._log.warning
        source, _, frame = place.rpartition(_FRAME)
        if source and frame.isdecimal():
            tell("message rejected", reason=reason, source=source, frame=int(frame), detail=detail)
        else:
            tell("message rejected", reason=reason, source=place, detail=detail)
