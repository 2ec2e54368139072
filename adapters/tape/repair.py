"""A new tape of all that can be read of a damaged one, with a GAP in the place of what is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from adapters.tape.reader import TapeReader
from adapters.tape.writer import TapeWriter
from engine.errors import UsageError


class Repaired(msgspec.Struct, frozen=True):
    """What a repair did; `records_lost` stand in the old tape's seqs, `gaps_count` GAP records replace them."""

    tape: str
    records_count: int
    gaps_count: int
    records_lost: int


def repair(folder: Path, out: Path, on_progress: Callable[[int], None] | None = None) -> Repaired:
    """Write a new tape beside the damaged one, which is not touched. Seqs after the first GAP are other ones.

    Raises UsageError where `out` holds a tape, InputMissingError where `folder` holds none.
    """
    refuse_same(folder, out)
    reader = TapeReader(folder)
    gaps_count = records_lost = 0
    with TapeWriter(out, is_new=True) as writer:
        for batch in reader.batches():
            writer.append(batch.records)
            gaps_count += batch.lost > 0
            records_lost += batch.lost
            if on_progress is not None:
                on_progress(batch.stop_seq - 1)
    return Repaired(str(out), writer.last_seq, gaps_count, records_lost)


def refuse_same(folder: Path, out: Path) -> None:
    """Refuse to write a tape upon the one that is read."""
    if folder.resolve() == out.resolve():
        raise UsageError(f"{out} is the tape that is read", remedy="Give another folder with --out.")
