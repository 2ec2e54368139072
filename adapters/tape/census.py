"""What lies on a tape, counted: records by kind and instrument, read whole."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from adapters.tape.documents import DOCUMENT_NAMES
from adapters.tape.reader import TapeReader
from engine.kernels import layout
from engine.kernels.layout import ALL_INSTRUMENTS, GAP

KIND_NAMES = {
    layout.BAR: "BAR", layout.BAR_OPEN: "BAR_OPEN", layout.FUNDING: "FUNDING", layout.END: "END",
    layout.LEVEL: "LEVEL", layout.PRINT: "PRINT", layout.QUOTE: "QUOTE", layout.MARK: "MARK", layout.GAP: "GAP",
    layout.CLOCK: "CLOCK", layout.COMMAND: "COMMAND", layout.INTEREST: "INTEREST",
    layout.FORCED: "LIQUIDATION", layout.DOCUMENT: "DOCUMENT",
}  # fmt: skip
GAP_NAMES = {
    layout.GAP_DISCONNECTED: "DISCONNECTED", layout.GAP_SEQUENCE: "SEQUENCE", layout.GAP_ROT: "ROT",
    layout.GAP_DOWNTIME: "DOWNTIME", layout.GAP_CROSSED: "CROSSED", layout.GAP_CUT: "CUT",
    layout.GAP_REJECTED: "REJECTED",
}  # fmt: skip
_ALL = "(all)"
_OF_MARKETS = (
    layout.BAR, layout.BAR_OPEN, layout.FUNDING, layout.LEVEL, layout.PRINT, layout.QUOTE, layout.MARK, layout.GAP,
    layout.INTEREST, layout.FORCED,
)  # fmt: skip
_KINDS = 256


class Count(msgspec.Struct, frozen=True):
    """Records of one kind of one symbol; the symbol is empty where the kind belongs to no market."""

    kind: str
    symbol: str
    records_count: int


class Census(msgspec.Struct, frozen=True):
    """Every record counted once; `gaps` by reason, `documents` by type; `lost_count`: seqs that rot took."""

    counts: tuple[Count, ...]
    gaps: dict[str, int]
    documents: dict[str, int]
    lost_count: int


def take_census(reader: TapeReader, on_progress: Callable[[int], None] | None = None) -> Census:
    """Count the records of a tape; `on_progress` is told the seq that was reached."""
    sessions = reader.sessions()
    symbols = [instrument.symbol for instrument in sessions[-1][1].instruments] if sessions else []
    # One row a kind; a column for each instrument, one for those no session names, one for records of all.
    table = np.zeros((_KINDS, len(symbols) + 2), np.int64)
    gaps: dict[str, int] = {}
    lost_count = 0
    for batch in reader.batches():
        kinds, numbers = batch.records["kind"].astype(np.int64), batch.records["instrument"].astype(np.int64)
        columns = np.minimum(numbers, len(symbols))
        columns[numbers == ALL_INSTRUMENTS] = len(symbols) + 1
        table += np.bincount(kinds * table.shape[1] + columns, minlength=table.size).reshape(table.shape)
        for reason in batch.records["a"][kinds == GAP].tolist():
            name = GAP_NAMES.get(reason, str(reason))
            gaps[name] = gaps.get(name, 0) + 1
        lost_count += batch.lost
        if on_progress is not None:
            on_progress(batch.stop_seq - 1)
    documents: dict[str, int] = {}
    for document in reader.documents():
        name = DOCUMENT_NAMES.get(document.type, str(document.type))
        documents[name] = documents.get(name, 0) + 1
    return Census(tuple(_counts(table, [*symbols, "(unknown)", _ALL])), gaps, documents, lost_count)


def _counts(table: np.ndarray[tuple[int, int], np.dtype[np.int64]], symbols: list[str]) -> list[Count]:
    found = []
    for kind in np.flatnonzero(table.any(axis=1)).tolist():
        name = KIND_NAMES.get(kind, str(kind))
        if kind not in _OF_MARKETS:
            found.append(Count(name, "", int(table[kind].sum())))
            continue
        found += [
            Count(name, symbols[place], int(table[kind, place])) for place in np.flatnonzero(table[kind]).tolist()
        ]
    return found
