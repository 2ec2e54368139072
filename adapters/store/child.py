"""The process that stores a run while another one still makes it: told by messages, it reads the arrays from files.

Samples go in as they come, in the one transaction that the run's end completes. Whatever ends early, this process or
the one that asks, leaves nothing in the store.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.store.runs import FinishedRun, RunStart, RunStatus, StoredRun, renamed
from adapters.store.whole import WholeRun, one_transaction
from engine.errors import TapewrightError
from engine.kernels import layout

SAMPLE_WORDS = 4
_LENGTH_BYTES = 4


class Begin(msgspec.Struct, frozen=True, tag=True):
    """A run to be stored; nothing is opened before its first samples. Its name comes at its end.

    `wait_seconds`: how long others that write to the file are waited for.
    """

    path: bytes
    start: RunStart
    wait_seconds: float


class Samples(msgspec.Struct, frozen=True, tag=True):
    """So many samples of the run lie in the samples' file by now."""

    count: int


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Undo what is not complete, so that others may write; the run goes on."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The run is over: all its outputs and samples lie in the files."""

    name: str
    status: RunStatus
    end_ns: int
    hash: int
    outputs: int
    samples: int


class Stored(msgspec.Struct, frozen=True, tag=True):
    """It is on the disk; `seconds`: how long the work took, without the time spent waiting for the run."""

    run: StoredRun
    seconds: float


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It is not; what hindered it, by the name of the error's class."""

    kind: str
    message: str
    remedy: str


Request: TypeAlias = Begin | Samples | Forget | Finish
Answer: TypeAlias = Stored | Refused
Message = TypeVar("Message")
REQUESTS: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


class _ForgottenError(Exception):
    """Asked for: the transaction is undone."""


def send(stream: IO[bytes], message: Request | Answer) -> None:
    """Write one message, and flush it."""
    data = msgspec.msgpack.encode(message)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
    stream.flush()


def receive(stream: IO[bytes], decoder: msgspec.msgpack.Decoder[Message]) -> Message:
    """Wait for a message that `REQUESTS` or `ANSWERS` reads; raises EOFError where the other side has ended."""
    head = stream.read(_LENGTH_BYTES)
    data = stream.read(int.from_bytes(head, "little"))
    if len(head) < _LENGTH_BYTES or len(data) < int.from_bytes(head, "little"):
        raise EOFError
    return decoder.decode(data)


class _Storing:
    """One run, from the first message to the answer."""

    def __init__(self, requests: IO[bytes], samples: int, outputs: int) -> None:
        self._requests = requests
        self._samples_file = samples
        self._outputs_file = outputs
        self._waited = 0.0
        begin = self._next()
        assert isinstance(begin, Begin), "the first message says what begins"
        self._path, self._start, self._wait_seconds = Path(os.fsdecode(begin.path)), begin.start, begin.wait_seconds

    def store(self) -> Stored:
        """Store the run as it comes; raises EOFError where the other side ends before the run does."""
        while True:
            request = self._next()
            begun, self._waited = time.perf_counter(), 0.0
            try:
                with one_transaction(self._path, self._wait_seconds) as connection:
                    stored = self._follow(WholeRun(connection, self._path, self._start), request)
            except _ForgottenError:
                continue
            return Stored(stored, time.perf_counter() - begun - self._waited)

    def _follow(self, run: WholeRun, request: Request) -> StoredRun:
        done = 0
        while True:
            match request:
                case Samples(count):
                    run.add_samples(self._samples(count)[done:])
                    done = count
                case Finish():
                    return run.finish(self._finished(request))
                case Forget():
                    raise _ForgottenError
                case Begin():
                    raise AssertionError("a process stores one run")
            request = self._next()

    def _next(self) -> Request:
        begun = time.perf_counter()
        found = receive(self._requests, REQUESTS)
        self._waited += time.perf_counter() - begun
        return found

    def _samples(self, count: int) -> NDArray[np.int64]:
        return _mapped(self._samples_file, count, SAMPLE_WORDS)

    def _finished(self, end: Finish) -> FinishedRun:
        outputs = _mapped(self._outputs_file, end.outputs, layout.OUTPUT_WORDS)
        return FinishedRun(
            renamed(self._start, end.name), end.status, end.end_ns, end.hash, outputs, self._samples(end.samples)
        )


def _mapped(file: int, rows: int, words: int) -> NDArray[np.int64]:
    """The first rows of a table in a file; only the pages that are read come into memory."""
    if not rows:
        return np.zeros((0, words), dtype=np.int64)
    with os.fdopen(os.dup(file), "rb") as opened:
        return np.memmap(opened, dtype=np.int64, mode="r", shape=(rows, words))


def main(samples: int, outputs: int) -> None:
    """Store one run: messages on standard input, the answer on standard output, the arrays in files opened already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the other process; its end ends this one
    answer: Answer
    try:
        answer = _Storing(sys.stdin.buffer, samples, outputs).store()
    except EOFError:
        return
    except TapewrightError as error:
        answer = Refused(type(error).__name__, error.message, error.remedy)
    send(sys.stdout.buffer, answer)
