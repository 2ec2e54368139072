"""Documents on a tape: what explains its records, as JSON in pieces of 40 bytes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.tape.codec import Records, empty_records
from engine.errors import DataError
from engine.kernels.layout import DOCUMENT, LAST
from engine.settings import InstrumentKind

SESSION, CONFIG, STRATEGY, CLOSING, HISTORY, REPLACEMENT, ABORTED = 1, 2, 3, 4, 5, 6, 7
DOCUMENT_NAMES = {
    SESSION: "SESSION", CONFIG: "CONFIG", STRATEGY: "STRATEGY", CLOSING: "CLOSING", HISTORY: "HISTORY",
    REPLACEMENT: "REPLACEMENT", ABORTED: "ABORTED",
}  # fmt: skip
FORMAT = 1
PIECE_BYTES = 40
DOCUMENT_BYTES_MAX = 16_000_000
FIRST = 2  # flag of a document's first piece

_WORDS_PER_RECORD = 8
_FIRST_WORD = 3  # of `a`


class TapeInstrument(msgspec.Struct, frozen=True):
    """One market of a session; its place in the session's list is the number that records carry."""

    symbol: str
    venue: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: Decimal
    multiplier: Decimal = Decimal(1)
    minimum_notional: Decimal = Decimal(0)
    channels: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


class TapeSource(msgspec.Struct, frozen=True):
    """One recording connection, or the file that was imported; its place is the number that records carry.

    Feed latency of a record = ts_receive + `clock_offset_ns` − ts_exchange.
    """

    name: str
    kind: str
    sha256: str = ""
    bytes: int = 0
    clock_offset_ns: int = 0
    clock_offset_is: Literal["estimated", "given", "none"] = "none"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the records that follow it mean, until the next SESSION document."""

    format: int = FORMAT
    session: str
    created_ns: int
    software: str
    instruments: tuple[TapeInstrument, ...]
    sources: tuple[TapeSource, ...] = ()
    notes: tuple[str, ...] = ()


class StrategyFile(msgspec.Struct, frozen=True):
    """One file of a strategy that ran in the session."""

    id: str
    path: str
    sha256: str
    source: str


class Closing(msgspec.Struct, frozen=True):
    """How a session ended in order: records by the name of their kind, what was rejected by reason."""

    counts: dict[str, int] = {}
    rejects: dict[str, int] = {}


BarWords = tuple[int, int, int, int, int, int]


class History(msgspec.Struct, frozen=True):
    """Closed bars of before the session, or of a time that it has not seen: opening ns, prices in ticks, size in lots.

    `partial` is the bar that was open when they were asked for, as far as it had come. `source` says where from.
    """

    instrument: int
    timeframe: str
    rows: tuple[BarWords, ...]
    partial: BarWords | None = None
    source: str = ""


class Replacement(msgspec.Struct, frozen=True):
    """What a strategy goes on with from the next COMMAND record of code REPLACE: its parameters and all its files."""

    strategy: int
    params: dict[str, Any]
    files: tuple[StrategyFile, ...]


class AbortedCall(msgspec.Struct, frozen=True):
    """A call of a strategy that did not end by itself: its number, what it had asked for (REQUEST rows, base64).

    `state` is what its `ctx.state` was then, as msgpack; None: as before the call.
    """

    strategy: int
    call: int
    requests: tuple[bytes, ...]
    reason: str
    fate: Literal["faulted", "quarantined"] = "faulted"
    state: bytes | None = None


class TapeDocument(NamedTuple):
    """A document as it stands on a tape; `seq` is that of its first piece."""

    type: int
    value: Any
    seq: int


class DocumentText(msgspec.Struct, frozen=True):
    """A document's JSON and the seqs of its first and last piece; `is_broken`: pieces of it are missing."""

    type: int
    text: bytes
    first_seq: int
    last_seq: int
    is_broken: bool = False


def to_pieces(document_type: int, value: object, ts_receive_ns: int) -> Records:
    """Return a document as DOCUMENT records."""
    text = msgspec.json.encode(value)
    assert text.startswith(b"{"), "a document is a JSON object"
    if len(text) > DOCUMENT_BYTES_MAX:
        raise DataError(
            f"A {DOCUMENT_NAMES.get(document_type, document_type)} document of {len(text):,} bytes is too large",
            remedy=f"A document may have {DOCUMENT_BYTES_MAX:,} bytes.",
        )
    count = -(-len(text) // PIECE_BYTES)
    records = empty_records(count)
    records["ts_exchange_ns"], records["ts_receive_ns"], records["source"] = 0, ts_receive_ns, 0
    records["kind"], records["flags"], records["instrument"] = DOCUMENT, 0, document_type
    records["spare"] = PIECE_BYTES
    records["flags"][0] = FIRST
    records["flags"][-1] |= LAST
    records["spare"][-1] = len(text) - (count - 1) * PIECE_BYTES
    words = np.frombuffer(text.ljust(count * PIECE_BYTES, b"\0"), "<i8")
    _words(records)[:] = words.reshape(count, -1)
    return records


def _words(records: Records) -> NDArray[np.int64]:
    """`a` to `e` of C-contiguous records, side by side."""
    return records.view("<i8").reshape(-1, _WORDS_PER_RECORD)[:, _FIRST_WORD:]


class Collector:
    """Puts documents together from records that come in order; what is missing makes a document broken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._first_seq = 0
        self._next_seq = 0
        self._type = 0
        self._is_beheaded = False

    def feed(self, first_seq: int, records: Records) -> Iterator[DocumentText]:
        """Take records whose seqs run on from `first_seq`; give each document that ends, or breaks off, in them."""
        for place in np.flatnonzero(records["kind"] == DOCUMENT).tolist():
            record = records[place]
            seq, document_type = first_seq + place, int(record["instrument"])
            is_first = bool(record["flags"] & FIRST)
            if self._parts and (is_first or seq != self._next_seq):
                yield self._ended(is_broken=True)
            if not self._parts:
                self._first_seq, self._type, self._is_beheaded = seq, document_type, not is_first
            self._parts.append(_words(records[place : place + 1]).tobytes()[: int(record["spare"])])
            self._next_seq = seq + 1
            if record["flags"] & LAST:
                yield self._ended(is_broken=False)

    def finish(self) -> Iterator[DocumentText]:
        """Give the document that the records broke off in."""
        if self._parts:
            yield self._ended(is_broken=True)

    def begun(self) -> tuple[list[bytes], int, int, int, bool]:
        """The document that the records broke off in, as plain values, for another collector to `go_on` with."""
        return [*self._parts], self._first_seq, self._next_seq, self._type, self._is_beheaded

    def go_on(self, begun: tuple[list[bytes], int, int, int, bool]) -> None:
        """Stand where another collector stood."""
        self._parts, self._first_seq, self._next_seq, self._type, self._is_beheaded = begun

    def _ended(self, *, is_broken: bool) -> DocumentText:
        text = b"".join(self._parts)
        self._parts.clear()
        broken = is_broken or self._is_beheaded or not _is_json(text)
        return DocumentText(self._type, text, self._first_seq, self._next_seq - 1, broken)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def session_of(text: DocumentText, where: str) -> Session:
    """Return a SESSION document's content; raises DataError where it is none that this version reads."""
    try:
        session = msgspec.json.decode(text.text, type=Session)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{where}, seq {text.first_seq}: the SESSION document is not one: {error}",
            remedy="Another program wrote it. Import the recording again.",
        ) from error
    if session.format != FORMAT:
        raise DataError(
            f"{where}, seq {text.first_seq}: the SESSION document has format {session.format}",
            remedy=f"This version reads format {FORMAT}. Read the tape with the version that wrote it:"
            f" {session.software}",
        )
    return session
