"""A tape's writer killed again and again; one JSON object at the end says what was found.

`python -m tests.integration.tape_killing FOLDER KILLS`. Each child continues the tape with records whose words follow
from their seq, and says through a pipe which seq is acknowledged, until it is killed. A process of its own, so that
forking is cheap: nothing but numpy and the tape is loaded.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

from adapters.tape import TapeReader, TapeWriter
from adapters.tape.codec import Records
from adapters.tape.continuation import find_continuation
from engine.kernels.layout import PRINT, RECORD

_SEQ = struct.Struct("<q")


def records_of(first_seq: int, count: int) -> Records:
    """Records that tell their own seq; some bytes are hard to pack, so that frames are of many lengths."""
    records = np.zeros(count, RECORD)
    seqs = np.arange(first_seq, first_seq + count)
    records["kind"], records["ts_receive_ns"], records["a"] = PRINT, seqs, seqs
    records["b"] = seqs * -0x61C8864680B583EB
    records["c"] = records["b"] ^ (records["b"] >> 31)
    return records


def write_until_killed(folder: Path, pipe: int, seed: int) -> NoReturn:
    """Append, sync and say so, for ever."""
    dice = random.Random(seed)
    writer = TapeWriter(folder, is_new=False, segment_bytes=300_000)
    while True:
        writer.append(records_of(writer.last_seq + 1, dice.choice((1, 3, 50, 2_000, 9_000))))
        if dice.random() < 0.5:
            os.write(pipe, _SEQ.pack(writer.sync()))


def killed_once(folder: Path, seed: int, seconds: float) -> int:
    """Let a child write for some time, kill it, return the seq that it acknowledged last, 0 where it did none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        write_until_killed(folder, writing, seed)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    return _SEQ.unpack(said[-_SEQ.size :])[0] if said else 0


def main(folder: Path, kills: int) -> None:
    """Kill so many children; the tape must hold what each acknowledged, and nothing that was not appended."""
    dice = random.Random(kills)
    TapeWriter(folder, is_new=True).abandon()
    acknowledged = torn = children_that_synced = 0
    for seed in range(kills):
        said = killed_once(folder, seed, dice.uniform(0, 0.06))
        children_that_synced += said > 0
        acknowledged = max(acknowledged, said)
        facts = TapeReader(folder).facts()
        assert facts.last_seq >= acknowledged, (seed, facts.last_seq, acknowledged)
        torn += find_continuation(folder).torn_tail is not None
    last_seq = 0
    for batch in TapeReader(folder).batches():
        assert batch.lost == 0
        assert batch.records.tobytes() == records_of(batch.first_seq, len(batch.records)).tobytes()
        last_seq = batch.stop_seq - 1
    found = {"kills": kills, "children_that_synced": children_that_synced, "torn": torn, "last_seq": last_seq}
    print(json.dumps(found | {"acknowledged": acknowledged, "segments": len(list(folder.iterdir()))}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
