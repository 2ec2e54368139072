"""A tape's records into a run, and what stands between them: bars of before, commands, other code.

A paper session and its replay go through this same code, so that both do the same at the same record.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adapters.replay_files import write_code
from adapters.tape import StrategyFile, TapeReader
from adapters.tape.codec import Records
from adapters.tape.documents import ABORTED, HISTORY, REPLACEMENT, AbortedCall, Collector, History, Replacement
from config.model import RunConfig
from engine.columns import BarRow
from engine.commands import REPLACE, command_of
from engine.errors import DataError
from engine.isolation import Aborted
from engine.kernels.layout import COMMAND, DOCUMENT, LAST
from engine.replay import RunResult, StrategyRun
from engine.tape_replay import TapeReplay
from strategies.registry import Registry

Load = Callable[[Replacement], StrategyRun]


class Loader:
    """Makes a strategy of the code and parameters that a document carries, as the config's entry says.

    `ready` are those that this process has loaded and checked already, by their digest.
    """

    def __init__(self, config: RunConfig, runs: Sequence[StrategyRun]) -> None:
        self._config = config
        self._runs = tuple(runs)
        self.ready: dict[str, StrategyRun] = {}

    def __call__(self, replacement: Replacement) -> StrategyRun:
        """The run that goes on; raises StrategyError or ConfigError where the code or its parameters are wrong."""
        before = self._runs[replacement.strategy]
        found = self.ready.get(digest_of(replacement))
        if found is not None:
            return found
        with tempfile.TemporaryDirectory(prefix="tapewright-") as home:
            write_code(Path(home), before.name, replacement.files)
            strategy, params = built(Registry(Path(home)), self._config, replacement.strategy, replacement.params)
        return msgspec.structs.replace(before, strategy=strategy, params=params)


def built(registry: Registry, config: RunConfig, index: int, params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A strategy of a config with these (resolved) parameters, from the registry's files."""
    entry = config.strategies[index]
    if entry.entry is None or entry.exit is None:
        return registry.build(entry.name, params)
    halves: dict[str, dict[str, Any]] = {"entry": {}, "exit": {}}
    for name, value in params.items():
        half, _, plain = name.partition("_")
        halves[half][plain] = value
    return registry.build_entry_exit(
        entry.entry.name, halves["entry"], entry.exit.name, halves["exit"], config.sizing,
        (entry.entry.timeframe or "", entry.exit.timeframe or ""),
    )  # fmt: skip


def digest_of(replacement: Replacement) -> str:
    """What tells replacements apart."""
    return msgspec.json.encode(replacement).decode()


def replacement_of(index: int, run: StrategyRun) -> Replacement:
    """A strategy as the document that carries it."""
    return Replacement(index, dict(run.params), strategy_files(run))


def strategy_files(run: StrategyRun) -> tuple[StrategyFile, ...]:
    """The files of a strategy as a tape carries them."""
    return tuple(
        StrategyFile(run.name, file.path, run.strategy.source_hash, file.source.decode()) for file in run.strategy.files
    )


class TapeDriver:
    """Drives a run over a tape. Without `obeys` only the market's records and bars of before count."""

    def __init__(self, replay: TapeReplay, load: Load, *, obeys: bool) -> None:
        self.replay = replay
        self._load = load
        self._obeys = obeys
        self._collector = Collector()
        self._replacement: Replacement | None = None
        self._replaced: dict[int, Replacement] = {}

    def start(self) -> None:
        """Call every `on_init`."""
        self.replay.start()

    def finish(self) -> RunResult:
        """Close the run. A session that only paused, to go on another day, is not ended."""
        return self.replay.finish(is_ended=not self._obeys)

    def consume(self, first_seq: int, records: Records) -> None:
        """Take the next records of the tape, the first of which has this seq."""
        kinds, flags = records["kind"], records["flags"]
        kind_bytes = kinds.tobytes() if self._obeys else b""
        if COMMAND not in kind_bytes and DOCUMENT not in kind_bytes:
            self.replay.consume(records)
            return
        is_stop = (kinds == COMMAND) | ((kinds == DOCUMENT) & ((flags & LAST) != 0))
        start = 0
        for place in [*np.flatnonzero(is_stop).tolist(), len(records) - 1]:
            if place < start:
                continue
            piece = records[start : place + 1]
            self.replay.consume(piece)
            for text in self._collector.feed(first_seq + start, piece):
                if not text.is_broken:
                    self._read(text.type, text.text)
            if is_stop[place] and kinds[place] == COMMAND:
                self._command(records[place])
            start = place + 1

    def snapshot(self) -> bytes:
        """The run, and the code that it goes on with, between two batches."""
        return msgspec.msgpack.encode(
            {
                "run": self.replay.snapshot(),
                "replaced": list(self._replaced.values()),
                "replacement": self._replacement,
                "begun": self._collector.begun(),
            }
        )

    def resume(self, snapshot: bytes) -> None:
        """Stand where a snapshot was taken; raises DataError or StrategyError where it is of another run."""
        found = msgspec.msgpack.decode(snapshot)
        if "begun" not in found:
            raise DataError("a snapshot of another version", remedy="Start from the tape instead.")
        for value in found["replaced"]:
            self._replace(msgspec.convert(value, Replacement))
        self._replacement = msgspec.convert(found["replacement"], Replacement | None)
        self._collector.go_on(found["begun"])
        self.replay.resume(found["run"])

    def _read(self, document_type: int, text: bytes) -> None:
        if document_type == HISTORY:
            history = msgspec.json.decode(text, type=History)
            partial = None if history.partial is None else BarRow(*history.partial)
            rows = [BarRow(*row) for row in history.rows]
            self.replay.take_history(history.instrument, history.timeframe, rows, partial)
        elif document_type == REPLACEMENT:
            self._replacement = msgspec.json.decode(text, type=Replacement)

    def _command(self, record: Any) -> None:
        words = tuple(int(record[name]) for name in "abcde")
        replacement, run = self._replacement, None
        is_known = words[1] < len(self.replay.runs)  # a run of another config than the session's may have fewer
        if words[0] == REPLACE and is_known and replacement is not None and replacement.strategy == words[1]:
            run = self._load(replacement)
            self._replaced[replacement.strategy] = replacement
            self._replacement = None
        command = command_of((words[0], words[1], words[2], words[3], words[4]), run)
        if command is not None:
            self.replay.command(command)

    def _replace(self, replacement: Replacement) -> None:
        self._replaced[replacement.strategy] = replacement
        self.replay.set_run(replacement.strategy, self._load(replacement))


def aborted_calls(reader: TapeReader) -> tuple[Aborted, ...]:
    """The calls that a tape knows not to have ended by themselves."""
    calls = [msgspec.convert(each.value, AbortedCall) for each in reader.documents() if each.type == ABORTED]
    return tuple(
        Aborted(call.strategy, call.call, call.requests, call.reason, call.fate, call.state) for call in calls
    )  # fmt: skip
