"""Snapshots of a running session: kept once everything in them is on the disk, so that a restart can trust them."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import msgspec
import zstandard

from adapters.bar_files import write_whole
from adapters.store import Position
from daemon.driving import TapeDriver
from daemon.logs import get_logger
from daemon.session.pump import StorePump
from daemon.session.recorder import Recorder
from engine.errors import StrategyError

_KEPT = 4
_LEVEL = 1


class SessionSnapshot(msgspec.Struct, frozen=True):
    """The run after the record `seq` of a tape; outputs and samples are counted since the run's start."""

    tape_id: str
    software: str
    seq: int
    outputs: int
    samples: int
    hash: str
    run: bytes


def take_snapshot(driver: TapeDriver, tape_id: str, software: str, seq: int) -> SessionSnapshot:
    """The run as it stands after `seq`, with all its outputs handed on."""
    engine = driver.replay.engine
    core = engine.state.core
    return SessionSnapshot(
        tape_id, software, seq, engine.drained, int(core["step"][0]), f"{engine.hash:016x}", driver.snapshot()
    )  # fmt: skip


def write_session_snapshot(folder: Path, snapshot: SessionSnapshot) -> Path:
    """Store a snapshot, and forget all but the newest ones."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{snapshot.seq:015d}.snapshot"
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(msgspec.msgpack.encode(snapshot))

    def write(file: BinaryIO) -> None:
        file.write(packed)

    write_whole(path, write)
    for old in sorted(folder.glob("*.snapshot"))[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def read_session_snapshots(folder: Path) -> list[SessionSnapshot]:
    """All that can be read, the newest first."""
    found = []
    for path in sorted(folder.glob("*.snapshot"), reverse=True):
        try:
            unpacked = zstandard.ZstdDecompressor().decompress(path.read_bytes())
            found.append(msgspec.msgpack.decode(unpacked, type=SessionSnapshot))
        except (OSError, zstandard.ZstdError, msgspec.DecodeError):
            continue  # an older one, or the tape's beginning, does as well
    return found


async def keep_snapshots(
    driver: TapeDriver, recorder: Recorder, pump: StorePump, folder: Path, facts: tuple[str, str], seconds: float
) -> None:  # fmt: skip
    """Take a snapshot every so often, until cancelled. `facts`: the tape's id, this software."""
    while True:
        await anyio.sleep(seconds)
        await keep_snapshot(driver, recorder, pump, folder, facts)


async def keep_snapshot(
    driver: TapeDriver, recorder: Recorder, pump: StorePump, folder: Path, facts: tuple[str, str]
) -> None:  # fmt: skip
    """Store a snapshot of now, once tape and store have all that is in it; none where a `ctx.state` prevents it."""
    try:
        snapshot = take_snapshot(driver, *facts, recorder.last_seq)
    except StrategyError as error:
        get_logger("session").error("no snapshot: a restart will go through more of the tape", why=str(error))
        return
    await recorder.acknowledged(snapshot.seq)
    await pump.stored(Position(snapshot.outputs, snapshot.samples))
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(write_session_snapshot, folder, snapshot)
