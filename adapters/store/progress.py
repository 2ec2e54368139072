"""How far each run is stored, and which rows of a batch come next: arithmetic on numbers of outputs, no database."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.store.rows import TableRows, is_book_last, output_rows, sample_rows
from adapters.store.runs import Batch, Position
from engine.errors import DataError
from engine.kernels import layout

_NOTHING = np.zeros((0, layout.OUTPUT_WORDS), dtype=np.int64)


class Progress(msgspec.Struct, frozen=True):
    """A run's position, and the output after it that waits for its fill: a book makes no row of its own.

    Of the samples every `sample_every`th makes a row.
    """

    position: Position
    held: NDArray[np.int64] = _NOTHING
    sample_every: int = 1


def next_rows(progress: Progress, batch: Batch) -> tuple[Progress, list[TableRows]]:
    """The rows of a batch, and where the run stands when they are stored; what overlaps is given again.

    Raises DataError where the batch begins after what is stored: rows between would be missing for good.
    """
    position, held = progress.position, progress.held
    known = position.outputs + len(held)
    if batch.first_output > known or batch.first_sample > position.samples:
        raise DataError(
            f"run {batch.run_id} is stored up to output {known} and sample {position.samples}; a batch that begins at"
            f" output {batch.first_output} and sample {batch.first_sample} would leave a hole",
            remedy="Replay the run's tape from a snapshot that is not after what is stored.",
        )
    first, outputs = batch.first_output, batch.outputs
    if len(held) and first == known:
        first, outputs = position.outputs, np.concatenate((held, outputs))
    stop = first + len(outputs)
    if stop > known:
        held = outputs[-1:].copy() if is_book_last(outputs) else _NOTHING
    samples = max(position.samples, batch.first_sample + len(batch.samples))
    tables = output_rows(batch.run_id, first, outputs)
    curve = sample_rows(batch.run_id, batch.first_sample, batch.samples, progress.sample_every)
    if len(curve):
        tables.append(curve)
    return Progress(Position(max(stop, known) - len(held), samples), held, progress.sample_every), tables
