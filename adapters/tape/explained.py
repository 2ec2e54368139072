"""Whether a tape explains itself: its documents are whole, and a SESSION stands before the first record."""

from __future__ import annotations

import numpy as np

from adapters.tape.codec import Records
from adapters.tape.documents import DOCUMENT_NAMES, SESSION, Collector, DocumentText
from adapters.tape.findings import Finding, FindingKind
from engine.kernels.layout import CLOCK, DOCUMENT, GAP

_NEEDS_NO_SESSION = (CLOCK, DOCUMENT, GAP)


class Explained:
    """Looks at a tape's good records as they come; a document that a loss broke is no finding of its own."""

    def __init__(self) -> None:
        self._collector = Collector()
        self._broken: list[tuple[DocumentText, str, int]] = []
        self._before_losses: set[int] = set()
        self._after_losses: set[int] = set()
        self._has_session = False
        self._unexplained: Finding | None = None
        self._place = ("", 0)

    def lose(self, count: int, next_seq: int) -> None:
        """Be told that so many records are missing before this seq."""
        if count:
            self._before_losses.add(next_seq - count - 1)
            self._after_losses.add(next_seq)

    def take(self, segment: str, offset: int, first_seq: int, records: Records) -> None:
        """Look at the records of one frame."""
        self._place = (segment, offset)
        for place in np.flatnonzero(records["kind"] == GAP).tolist():
            self._before_losses.add(first_seq + place - 1)
            self._after_losses.add(first_seq + place + 1)
        session_seq = 0
        for text in self._collector.feed(first_seq, records):
            if text.is_broken:
                self._broken.append((text, segment, offset))
            elif text.type == SESSION and not session_seq:
                session_seq = text.first_seq
        if self._has_session or self._unexplained is not None:
            return
        needing = np.flatnonzero(~np.isin(records["kind"], _NEEDS_NO_SESSION))
        if len(needing) and not 0 < session_seq < first_seq + int(needing[0]):
            seq, ts_ns = first_seq + int(needing[0]), int(records["ts_receive_ns"][needing[0]])
            reason = "no SESSION document stands before the first record: what it means is not known"
            self._unexplained = Finding(FindingKind.NO_SESSION, segment, offset, seq, seq, ts_ns, ts_ns, reason)
        self._has_session = session_seq > 0

    def finish(self) -> list[Finding]:
        """Return the findings."""
        self._broken += [(text, *self._place) for text in self._collector.finish()]
        found = [] if self._unexplained is None else [self._unexplained]
        for text, segment, offset in self._broken:
            if text.last_seq in self._before_losses or text.first_seq in self._after_losses:
                continue
            name = DOCUMENT_NAMES.get(text.type, str(text.type))
            reason = f"the {name} document is not whole"
            kind = FindingKind.BROKEN_DOCUMENT
            found.append(Finding(kind, segment, offset, text.first_seq, text.last_seq, 0, 0, reason))
        return found
