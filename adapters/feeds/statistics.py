"""What a live feed has counted, for metrics and for whoever asks how it is: others read it, the feed alone writes."""

from __future__ import annotations

from collections import Counter

from adapters.feeds.staleness import Heard


class FeedStatistics:
    """Counters since the start. Channels are cryptofeed's, symbols the tape's, reasons single words of a short list.

    `connects` by source are connections that the venue took, `attempts` all. `reconnects` by reason: reset, closed,
    refused, unreachable, timeout, tls, protocol, oversized (the venue's or the network's), silent, stale, mute, book
    (ours), defect. `books` says of each symbol whether its book is whole.
    """

    def __init__(self) -> None:
        self.channels: dict[tuple[str, str], Heard] = {}
        self.frames: Counter[int] = Counter()
        self.attempts = 0
        self.connects: Counter[int] = Counter()
        self.reconnects: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.gaps: Counter[tuple[str, int]] = Counter()
        self.trade_ids_skipped: Counter[str] = Counter()
        self.snapshots: Counter[str] = Counter()
        self.books: dict[str, bool] = {}

    def messages(self) -> dict[tuple[str, str], int]:
        """How many messages came, by (channel, symbol)."""
        return {key: heard.count for key, heard in self.channels.items()}

    def last_receive_ns(self) -> dict[tuple[str, str], int]:
        """When the last message came, by (channel, symbol); 0: none yet."""
        return {key: heard.receive_ns for key, heard in self.channels.items()}
