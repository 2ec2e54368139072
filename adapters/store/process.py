"""A run handed to a process of its own while it is made: what it gives is stored beside the loop, not after it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.store import child, whole
from adapters.store.runs import FinishedRun, RunStart
from adapters.store.schema import StoreLockedError
from engine.errors import DataError, TapewrightError, UsageError

_ERRORS: dict[str, type[TapewrightError]] = {
    each.__name__: each for each in (DataError, UsageError, StoreLockedError)
}  # fmt: skip


class ProcessEndedError(Exception):
    """The process ended without an answer: nothing of the run is in the store."""


class StoringProcess:
    """The other side of `child`. Its calls do not wait for the disk, but for `answer`."""

    def __init__(self, path: Path, start: RunStart) -> None:
        """Start the process, which needs a third of a second for its imports. Raises OSError where none can be."""
        with contextlib.ExitStack() as opened:
            self._samples = opened.enter_context(tempfile.TemporaryFile())
            self._outputs = opened.enter_context(tempfile.TemporaryFile())
            files = self._samples.fileno(), self._outputs.fileno()
            code = f"import sys; sys.path[:] = {sys.path!r}; from adapters.store.child import main; main{files!r}"
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=files
            )
            self._files = opened.pop_all()
        self._given = 0
        self._send(child.Begin(os.fsencode(path), start, whole.WAIT_SECONDS))

    @property
    def process_id(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    @property
    def given(self) -> int:
        """How many samples it has been given."""
        return self._given

    def give(self, samples: NDArray[np.int64]) -> None:
        """Hand on the next samples (n, 4); the first ones open the store."""
        self._append(samples)
        self._send(child.Samples(self._given))

    def forget(self) -> None:
        """Let it undo what it has begun; all that was given is stored when the run is over."""
        self._send(child.Forget())

    def finish(self, run: FinishedRun) -> None:
        """Hand on the rest of a run that is over, whose samples begin with those that were given."""
        assert not run.errors, "what goes wrong is stored at once"
        self._append(run.samples[self._given :])
        np.ascontiguousarray(run.outputs).tofile(self._outputs)
        self._outputs.flush()
        name, end_ns = run.start.name, run.end_ns
        self._send(child.Finish(name, run.status, end_ns, run.hash, len(run.outputs), len(run.samples)))

    def answer(self) -> child.Stored:
        """Wait until the run is stored. Raises what hindered it, ProcessEndedError where no answer came."""
        assert self._process.stdout is not None, "a pipe was asked for"
        try:
            found = child.receive(self._process.stdout, child.ANSWERS)
        except EOFError:
            raise ProcessEndedError from None
        finally:
            self._close()
        if isinstance(found, child.Refused):
            raise _ERRORS.get(found.kind, DataError)(found.message, remedy=found.remedy)
        return found

    def abandon(self) -> None:
        """End the process, wherever it stands: nothing of the run is left in the store."""
        self._process.kill()
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._files.close()

    def _append(self, samples: NDArray[np.int64]) -> None:
        np.ascontiguousarray(samples).tofile(self._samples)
        self._samples.flush()
        self._given += len(samples)

    def _send(self, request: child.Request) -> None:
        assert self._process.stdin is not None, "a pipe was asked for"
        with contextlib.suppress(BrokenPipeError):  # it has ended; `answer` says why
            child.send(self._process.stdin, request)
