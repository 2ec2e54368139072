"""What an import counted: records by kind, rejects by reason with the first place of each, streams not known.

Nothing is left out silently: what does not reach the tape stands here, in the tape's closing document and on screen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import msgspec

from engine.kernels import layout

KIND_NAMES = {
    layout.BAR: "bar",
    layout.BAR_OPEN: "bar_open",
    layout.FUNDING: "funding",
    layout.END: "end",
    layout.LEVEL: "level",
    layout.PRINT: "print",
    layout.QUOTE: "quote",
    layout.MARK: "mark",
    layout.GAP: "gap",
    layout.INTEREST: "interest",
    layout.FORCED: "liquidation",
}


class Reason(StrEnum):
    """Why a line, or a message of it, is not on the tape."""

    no_receive_time = "no receive time"
    bad_json = "bad JSON"
    bad_message = "a message without the fields of its kind"
    bad_row = "a row without the columns of its kind"
    unknown_stream = "unknown stream"
    unknown_symbol = "no symbol in the message, and several in the file"
    not_a_number = "not a number"
    not_above_zero = "price or size not above zero"
    out_of_range = "a number beyond 2^60 units"
    off_tick = "price not a multiple of the tick"
    off_lot = "size not a multiple of the lot"
    not_a_market_trade = "not a market trade"
    duplicate_trade = "duplicate trade id"
    old_update = "old update id"
    before_snapshot = "book update before the first snapshot"
    snapshot_not_needed = "snapshot while the book was whole"
    snapshot_too_old = "snapshot older than the updates after it"
    no_snapshot_after_gap = "book update after a gap, no snapshot since"
    aggregate_of_trades = "aggTrade where single trades are there too"
    stale_funding = "funding time passed without a fresh rate"


# A line of these reasons could not be read at all. A file with more than a few of them is another kind of file.
UNREADABLE = frozenset((Reason.no_receive_time, Reason.bad_json, Reason.bad_message, Reason.bad_row))
# A message of these reasons does not fit the instrument. With more than a few of them tick or lot are wrong.
MISFIT = frozenset((Reason.not_a_number, Reason.out_of_range, Reason.off_tick, Reason.off_lot))
SHARE_MOST = 0.01


class RejectedError(Exception):
    """One line or message is left out, for a reason that is counted. It never leaves this package."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


class FileCount(msgspec.Struct, frozen=True):
    """What was read of one file."""

    name: str
    kind: str
    lines_count: int
    rejected_count: int


class ImportSummary(msgspec.Struct, frozen=True):
    """The report as it is printed and written: see `ImportReport`."""

    files: tuple[FileCount, ...]
    records_count: int
    counts: dict[str, int]
    rejects: dict[str, int]
    first_rejects: dict[str, str]
    unknown_streams: dict[str, int]
    trade_ids_skipped: dict[str, int]
    gaps: dict[str, int]
    notes: tuple[str, ...]


class ImportReport:
    """Counts kept while an import runs. `counts` is by record kind, `gaps` and `trade_ids_skipped` by symbol."""

    def __init__(self) -> None:
        self.files: list[FileCount] = []
        self.counts: Counter[int] = Counter()
        self.rejects: Counter[Reason] = Counter()
        self.first_rejects: dict[Reason, str] = {}
        self.unknown_streams: Counter[str] = Counter()
        self.trade_ids_skipped: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.notes: list[str] = []

    def reject(self, reason: Reason, place: Callable[[], str], *, detail: str = "", count: int = 1) -> None:
        """Count what is left out; `place` names file, line and byte, and is asked for the first of each reason."""
        self.rejects[reason] += count
        if reason not in self.first_rejects:
            self.first_rejects[reason] = f"{place()}: {detail}" if detail else place()

    def summary(self) -> ImportSummary:
        """Everything counted so far, most frequent first."""
        return ImportSummary(
            files=tuple(self.files),
            records_count=self.counts.total(),
            counts={KIND_NAMES[kind]: count for kind, count in sorted(self.counts.items())},
            rejects={str(reason): count for reason, count in self.rejects.most_common()},
            first_rejects={str(reason): place for reason, place in self.first_rejects.items()},
            unknown_streams=dict(self.unknown_streams.most_common()),
            trade_ids_skipped=dict(self.trade_ids_skipped),
            gaps=dict(self.gaps),
            notes=tuple(self.notes),
        )
