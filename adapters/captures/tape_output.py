"""An import, written: session document, records, closing document; a tape whole or none at all."""

from __future__ import annotations

from pathlib import Path

from adapters.captures.importing import TapeImport
from adapters.captures.report import ImportSummary
from adapters.tape import CLOSING, SESSION, Closing, TapeWriter
from adapters.tape.format import segment_paths
from engine.errors import DataError


def write_import(opened: TapeImport, folder: Path) -> ImportSummary:
    """Write a new tape into `folder` and return the report.

    Raises UsageError where a tape is there already, DataError where the files turn out unreadable or the disk refuses:
    then no tape is left behind.
    """
    was_there = folder.exists()
    writer = TapeWriter(folder, is_new=True)
    is_done = False
    try:
        with writer:
            writer.document(SESSION, opened.session, opened.session.created_ns)
            for records in opened.batches:
                writer.append(records)
            summary = opened.report.summary()
            if not summary.records_count:
                raise _nothing_left(summary)
            writer.document(CLOSING, _closing(summary))
        is_done = True
    finally:
        if not is_done:
            for path in segment_paths(folder):
                path.unlink()
            if not was_there:
                folder.rmdir()
    return summary


def _closing(summary: ImportSummary) -> Closing:
    skipped = sum(summary.trade_ids_skipped.values())
    return Closing(summary.counts, summary.rejects | ({"trade ids skipped": skipped} if skipped else {}))


def _nothing_left(summary: ImportSummary) -> DataError:
    rejects = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejects.items())
    return DataError(
        f"No record is left for a tape: {rejects or 'the files hold no messages'}",
        remedy="A book needs its snapshot: name the file that it continues as well, or see what is rejected.",
    )
