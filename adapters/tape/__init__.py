"""Tape files: the format of `docs/tape.md`, its writer and reader, check, repair, cut and export.

Importing this package loads neither numba nor polars: a recorder starts fast and stays small.
"""

from adapters.tape.documents import (
    CLOSING,
    CONFIG,
    SESSION,
    STRATEGY,
    Closing,
    Session,
    StrategyFile,
    TapeDocument,
    TapeInstrument,
    TapeSource,
)
from adapters.tape.facts import SegmentFacts, TapeFacts
from adapters.tape.reader import TapeBatch, TapeReader
from adapters.tape.segment_writer import TapeLockedError
from adapters.tape.writer import TapeWriter

__all__ = [
    "CLOSING", "CONFIG", "SESSION", "STRATEGY", "Closing", "SegmentFacts", "Session", "StrategyFile", "TapeBatch",
    "TapeDocument", "TapeFacts", "TapeInstrument", "TapeLockedError", "TapeReader", "TapeSource", "TapeWriter",
]  # fmt: skip
