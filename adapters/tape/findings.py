"""One thing that is wrong with a tape."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class FindingKind(StrEnum):
    """Kinds of findings."""

    TORN_TAIL = "torn tail"
    ROTTEN_FRAME = "rotten frame"
    CHAIN_BREAK = "chain break"
    MISSING_SEGMENT = "missing segment"
    SEQ_JUMP = "seq jump"
    FALLING_TIME = "falling time"
    BAD_FOOTER = "bad footer"
    BAD_INDEX = "bad index"
    DIGEST = "digest mismatch"
    BROKEN_DOCUMENT = "broken document"
    NO_SESSION = "no session"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. Records `first_seq` to `last_seq` are lost or touched (none where last < first).

    Times are those of the good records around them, 0 where there is none.
    """

    kind: FindingKind
    segment: str
    offset: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    text: str

    def line(self) -> str:
        """As one line for people."""
        count = self.last_seq - self.first_seq + 1
        records = f", records {self.first_seq:,} to {self.last_seq:,} ({count:,})" if count > 0 else ""
        return f"{self.segment}, offset {self.offset:,}: {self.kind}{records}: {self.text}"
