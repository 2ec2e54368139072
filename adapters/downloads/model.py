"""What a download is asked for, and what it did."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from adapters.bar_quality import Gap

DownloadKind = Literal["bars", "funding", "mark"]
MARK_TIMEFRAME = "8h"  # what funding is paid on
DownloadExchange = Literal["BINANCE", "BINANCE_FUTURES"]


class DownloadOrder(msgspec.Struct, frozen=True):
    """Rows of a symbol (the venue's name) whose time lies in `[start_ns, end_ns)`.

    `timeframe` is that of bars and of mark prices; funding has none. `rest` stands for the venue's own address.
    """

    symbol: str
    timeframe: str
    start_ns: int
    end_ns: int
    exchange: DownloadExchange = "BINANCE_FUTURES"
    kind: DownloadKind = "bars"
    rest: str = ""


class DownloadReport(msgspec.Struct, frozen=True):
    """What a download did: counts and gaps of the range that was asked for, the hash of the whole file.

    Gaps are what the venue has not, asked at least twice. `end_ns` is earlier than asked where the rest has not ended
    yet. `listed_ns` is the venue's first row, where it has none at the start; else 0.
    """

    symbol: str
    timeframe: str
    kind: DownloadKind
    exchange: DownloadExchange
    source: str
    stored: str
    start_ns: int
    end_ns: int
    rows_count: int
    rows_fetched: int
    first_ts_ns: int
    last_ts_ns: int
    listed_ns: int
    rows_missing: int
    gaps_count: int
    gaps: tuple[Gap, ...]
    requests: int
    content_sha256: str
    notes: tuple[str, ...]


class Progress(Protocol):
    """Told how many rows of all that are missing have come."""

    def __call__(self, done: int, total: int, /) -> None:
        """So many of so many."""
