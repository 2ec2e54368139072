"""A backtest on its way into the store beside all that is done with it meanwhile: its loop, its figures, its files."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.store import FinishedRun, RunStart, store_whole
from adapters.store.process import ProcessEndedError, StoringProcess
from adapters.store.runs import renamed
from config.model import RunConfig
from daemon.storing import end_of, result_of, run_start
from engine.errors import TapewrightError
from engine.market import Market
from engine.reading import scale_of
from engine.replay import Progress, Replay, RunResult, StrategyRun

PROCESS_ROWS_MIN = 100_000
"""Rows of equity from which a process of its own pays: it takes a third of a second to start."""
AHEAD_SECONDS_MAX = 1.5
"""So long before the loop's end, as far as that can be told, the store is opened: others cannot write from then on."""
HELD_SECONDS_MAX = 2.0
"""Where the loop is not over by then, the store is left to others again until it is; a session waits for 5 s."""
ROWS_A_MESSAGE_MIN = 16_384


class Storing:
    """A run that is stored; this one is not, as its config wants it."""

    seconds = 0.0
    """How long the work took, beside whatever else went on; known when `trouble` has been asked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A run that has not come to its end is not stored."""
        self.abandon()

    def abandon(self) -> None:
        """The run comes to no end: nothing of it is left in the store."""

    def following(self, replay: Replay, progress: Progress) -> Progress:
        """What the loop is to call on its way."""
        del replay
        return progress

    def end(self, name: str, result: RunResult) -> None:
        """The run is over, and this is its name."""

    def trouble(self) -> TapewrightError | None:
        """Wait until the run is stored; what hindered it, if anything did. Raises what nobody expects."""
        return None


class StoringThread(Storing):
    """In a thread, once the run is over: SQLite works without Python's lock, so files can be written meanwhile."""

    def __init__(self, path: Path, start: RunStart) -> None:
        self._path = path
        self._start = start
        self._thread: threading.Thread | None = None
        self._trouble: TapewrightError | None = None
        self._defect: BaseException | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What has begun is brought to its end."""
        if self._thread is not None:
            self._thread.join()

    def end(self, name: str, result: RunResult) -> None:
        """The run is over: begin to store it."""
        self._begin(_finished(self._start, name, result))

    def trouble(self) -> TapewrightError | None:
        """Wait until the run is stored; what hindered it, if anything did. Raises what nobody expects."""
        assert self._thread is not None, "the run has ended"
        self._thread.join()
        if self._defect is not None:
            raise self._defect
        return self._trouble

    def _begin(self, run: FinishedRun) -> None:
        self._thread = threading.Thread(target=self._store, args=(run,), name="store")
        self._thread.start()

    def _store(self, run: FinishedRun) -> None:
        begun = time.perf_counter()
        try:
            store_whole(self._path, run)
        except TapewrightError as error:
            self._trouble = error
        except BaseException as error:
            self._defect = error
        finally:
            self.seconds = time.perf_counter() - begun


class StoringAhead(StoringThread):
    """In a process of its own, which has stored most of the run when its loop is over.

    Where the process ends for reasons of its own, the run is stored here.
    """

    def __init__(self, path: Path, start: RunStart) -> None:
        super().__init__(path, start)
        self._process: StoringProcess | None = StoringProcess(path, start)
        self._run: FinishedRun | None = None
        self._opened = 0.0  # when the store was opened; 0: it is not
        self._is_left = False  # to others, until the run is over

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What has not come to its end is undone."""
        self.abandon()
        super().__exit__(kind, error, trace)

    def following(self, replay: Replay, progress: Progress) -> Progress:
        """What the loop is to call on its way: `progress`, and samples go to the process."""
        begun = time.monotonic()

        def follow(done: int, total: int) -> None:
            progress(done, total)
            now = time.monotonic()
            if done and (self._opened or (now - begun) * (total - done) / done <= AHEAD_SECONDS_MAX):
                self._follow(replay, now)

        return follow

    def end(self, name: str, result: RunResult) -> None:
        """The run is over: the process gets what it has not."""
        run = _finished(self._start, name, result)
        if self._process is not None:
            try:
                self._process.finish(run)
            except OSError:
                self.abandon()
            else:
                self._run = run
                return
        self._begin(run)

    def _follow(self, replay: Replay, now: float) -> None:
        """Hand on the samples that there are; nothing more once the store has been open for too long."""
        if self._process is None or self._is_left:
            return
        self._is_left = self._opened > 0 and now - self._opened > HELD_SECONDS_MAX
        if self._is_left:
            self._process.forget()
            return
        samples = replay.samples_after(self._process.given)
        if len(samples) >= ROWS_A_MESSAGE_MIN:
            self._opened = self._opened or now
            try:
                self._process.give(samples)
            except OSError:  # no room for its file
                self.abandon()

    def trouble(self) -> TapewrightError | None:
        """Wait until the run is stored; what hindered it, if anything did. Raises what nobody expects."""
        process, run = self._process, self._run
        self._process = self._run = None
        if process is not None and run is not None:
            try:
                self.seconds = process.answer().seconds
            except TapewrightError as error:
                return error
            except ProcessEndedError:
                self._begin(run)
            else:
                return None
        return super().trouble()

    def abandon(self) -> None:
        """The run comes to no end: what the process has begun is undone."""
        process, self._process = self._process, None
        if process is not None:
            process.abandon()


def begin_storing(
    home: Path, config: RunConfig, runs: Sequence[StrategyRun], markets: Sequence[Market], start_ns: int
) -> Storing:  # fmt: skip
    """Make ready to store a backtest that begins, where its config wants it stored."""
    store = config.daemon.store
    if not store.enabled:
        return Storing()
    scales = [scale_of(market.instrument, config.settings.cash_decimals) for market in markets]
    start = run_start("", "backtest", config, runs, scales, start_ns, sample_every=store.sample_every)
    path, rows = home / store.path, max((len(market.bars) for market in markets), default=0) // store.sample_every
    if rows >= PROCESS_ROWS_MIN:
        try:
            return StoringAhead(path, start)
        except OSError:  # no process, no room for its files: the thread needs neither
            pass
    return StoringThread(path, start)


def _finished(start: RunStart, name: str, result: RunResult) -> FinishedRun:
    return result_of(renamed(start, name), result, end_of(result, start.start_ns))
