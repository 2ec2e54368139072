"""What is stored of a replay so that it can be proven and looked into: outputs, samples, the run, its code, snapshots.

`replay.json` is the run: config, tape, strategies. `outputs.parquet` and `samples.parquet` are all that the core said.
`strategies/` holds the code that ran, as a home folder does, so that it is found there again by the same names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl
import zstandard
from numpy.typing import NDArray

from adapters.bar_files import read_parquet, write_whole
from adapters.result_files import write_columns
from adapters.tape import StrategyFile
from engine.errors import DataError, InputMissingError
from engine.kernels import layout
from engine.strategy import CodeFile

FORMAT = 1
RUN_FILE, OUTPUTS_FILE, SAMPLES_FILE = "replay.json", "outputs.parquet", "samples.parquet"
LATENCY_FILE, SNAPSHOTS, STRATEGIES = "latencies.parquet", "snapshots", "strategies"
SAMPLE_COLUMNS = ("ts_ns", "equity", "exposure", "margin")
OUTPUT_COLUMNS = tuple(f"w{number}" for number in range(layout.OUTPUT_WORDS))
_SNAPSHOT_LEVEL = 3
_BROKEN = "Replay the tape again."


class SnapshotPlace(msgspec.Struct, frozen=True):
    """A stored snapshot: the state before the record `next_seq`; `ts_ns` is the last record's receive time."""

    file: str
    next_seq: int
    ts_ns: int


class StoredCode(msgspec.Struct, frozen=True):
    """A strategy's file as it ran: whose, where it came from, where in the run's folder it lies."""

    id: str
    path: str
    file: str
    sha256: str


class StoredReplay(msgspec.Struct, frozen=True, kw_only=True):
    """What `replay.json` says. `config` is the config document; `last_seq` is that of the last record read."""

    format: int = FORMAT
    software: str
    hash: str
    tape: str
    tape_id: str
    tape_digest: str
    last_seq: int
    records: int
    config: dict[str, Any]
    strategies: tuple[StoredCode, ...] = ()
    snapshots: tuple[SnapshotPlace, ...] = ()


def write_replay(
    folder: Path, replay: StoredReplay, outputs: NDArray[np.int64], samples: NDArray[np.int64]
) -> list[Path]:  # fmt: skip
    """Write what the core said, then the document of the run."""
    written = [
        write_columns(folder / OUTPUTS_FILE, {name: outputs[:, word] for word, name in enumerate(OUTPUT_COLUMNS)}),
        write_columns(folder / SAMPLES_FILE, {name: samples[:, word] for word, name in enumerate(SAMPLE_COLUMNS)}),
    ]
    text = msgspec.json.format(msgspec.json.encode(replay), indent=2) + b"\n"
    _put(folder / RUN_FILE, text)
    return [*written, folder / RUN_FILE]


def read_replay(folder: Path) -> StoredReplay:
    """Read a run's document; raises InputMissingError where there is none, DataError where it is not one."""
    path = folder / RUN_FILE
    try:
        data = path.read_bytes()
    except OSError:
        raise InputMissingError(
            f"{folder} holds no {RUN_FILE}: it is not the folder of a replay",
            remedy="Name the results folder of a `tapewright replay`, or its run id.",
        ) from None
    try:
        found = msgspec.json.decode(data, type=StoredReplay)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}", remedy=_BROKEN) from None
    if found.format != FORMAT:
        raise DataError(
            f"{path} has format {found.format}", remedy=f"Read it with the version that wrote it: {found.software}"
        )
    return found


def read_outputs(folder: Path) -> NDArray[np.int64]:
    """All stored outputs, (n, 16); raises InputMissingError or DataError."""
    return _read_columns(folder / OUTPUTS_FILE, OUTPUT_COLUMNS)


def read_samples(folder: Path) -> NDArray[np.int64]:
    """All stored samples, (n, 4); raises InputMissingError or DataError."""
    return _read_columns(folder / SAMPLES_FILE, SAMPLE_COLUMNS)


def _read_columns(path: Path, names: Sequence[str]) -> NDArray[np.int64]:
    if not path.is_file():
        raise InputMissingError(f"File not found: {path}", remedy=_BROKEN)
    try:
        frame = read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} is damaged: it cannot be read as Parquet ({cause})", remedy=_BROKEN) from None
    if dict(frame.schema) != dict.fromkeys(names, pl.Int64):
        raise DataError(f"{path} has other columns than {', '.join(names)}, int64 each", remedy=_BROKEN)
    rows: NDArray[np.int64] = np.ascontiguousarray(frame.to_numpy()) if len(frame) else np.zeros((0, len(names)), "<i8")
    return rows


def write_code(folder: Path, id_: str, files: Sequence[CodeFile | StrategyFile]) -> list[StoredCode]:
    """Write a strategy's files where a home folder has them, so that the same name finds them; two may share one.

    Raises DataError where another strategy's code lies there already.
    """
    stored = []
    for each in files:
        path = PurePath(each.path)
        kind = path.parent.name if path.parent.name in ("entry", "exit") else "custom"
        source = each.source if isinstance(each.source, bytes) else each.source.encode()
        place = folder / STRATEGIES / kind / path.name
        if place.exists() and place.read_bytes() != source:
            raise DataError(
                f"Two strategies of the run have the file {kind}/{path.name}, with different code",
                remedy="Give their files different names.",
            )
        _put(place, source)
        digest = hashlib.sha256(source).hexdigest()
        stored.append(StoredCode(id_, str(each.path), place.relative_to(folder).as_posix(), digest))
    return stored


def changed_code(folder: Path, replay: StoredReplay) -> list[str]:
    """Name the stored files that are not what ran."""
    changed = []
    for each in replay.strategies:
        path = folder / each.file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != each.sha256:
            changed.append(each.file)
    return changed


def _put(path: Path, data: bytes) -> None:
    def write(file: BinaryIO) -> None:
        file.write(data)

    write_whole(path, write)


def write_snapshot(folder: Path, snapshot: bytes, next_seq: int, ts_ns: int) -> SnapshotPlace:
    """Store a snapshot of a run before the record `next_seq`."""
    place = SnapshotPlace(f"{SNAPSHOTS}/{next_seq:012d}.zst", next_seq, ts_ns)
    packed = zstandard.ZstdCompressor(level=_SNAPSHOT_LEVEL).compress(snapshot)
    _put(folder / place.file, packed)
    return place


def read_snapshot(folder: Path, place: SnapshotPlace) -> bytes | None:
    """Read a snapshot; None where it is gone or damaged: a run can always start from the tape's beginning."""
    try:
        return zstandard.ZstdDecompressor().decompress((folder / place.file).read_bytes())
    except (OSError, zstandard.ZstdError):
        return None
