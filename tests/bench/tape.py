"""How fast a tape runs through the engine, beside hftbacktest on the same capture in the same process.

`python -m tests.bench.tape [--quick] [--json] [--only SECTIONS]`. Figures are raw level and trade events per CPU
second, medians; the machine's speed cancels in the ratios. Needs the `bench` extra for the sections with hftbacktest
and the real capture of `../shared/data/l2`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daemon.memory import keep_freed_memory  # first of all, as the command does

from adapters.captures.importing import ImportOptions, open_captures  # isort: skip
from adapters.tape import TapeReader, TapeWriter
from engine.book_state import TapeMarket
from engine.instruments import Instrument
from engine.replay import RunResult, StrategyRun
from engine.settings import BookExecution, Commission, RunSettings
from engine.strategy import Strategy, resolve_params
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.loading import load_strategy
from tests.bench.measuring import MEGABYTE, ROOT, Section, forget_peak, peak_bytes

CAPTURE = ROOT.parent / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
SECTIONS = ("empty", "grid", "python", "files", "memory")
COPIES, REPEATS = 20, 5
_BUILTINS = ROOT / "strategies" / "builtins"


class Capture:
    """The capture as records, so many copies one after another in time, and what a run needs to know of it."""

    def __init__(self, copies: int) -> None:
        opened = open_captures([CAPTURE], ImportOptions(without=("quotes",)))
        self.single = np.concatenate([np.array(batch) for batch in opened.batches])
        self.session = opened.session
        self.offset_ns = opened.session.sources[0].clock_offset_ns
        self._strategies: dict[str, Strategy] = {}
        self.span_ns = int(self.single["ts_receive_ns"].max() - self.single["ts_receive_ns"].min()) + 10**9
        self.events = np.tile(self.single, copies)
        self.shift(self.events, copies)

    def shift(self, records: NDArray[Any], copies: int, first: int = 0) -> None:
        """Move copy after copy behind the one before it in time."""
        shifts = np.repeat((np.arange(copies, dtype=np.int64) + first) * self.span_ns, len(self.single))
        for field in ("ts_exchange_ns", "ts_receive_ns"):
            records[field] += shifts

    @property
    def instrument(self) -> Instrument:
        """BTCUSDT as the session has it."""
        own = self.session.instruments[0]
        return Instrument(own.symbol, own.tick_size, own.lot_size)

    def _strategy(self, name: str) -> Strategy:
        """A shipped strategy, loaded (and compiled) once."""
        if name not in self._strategies:
            self._strategies[name] = load_strategy(_BUILTINS / f"{name}.py")
        return self._strategies[name]

    def replay(self, strategy: str | None, records: NDArray[Any]) -> RunResult:
        """One run over records in memory: 10 ms to the venue and back, queue positions by the power model."""
        settings = RunSettings(
            initial_cash=Decimal(1_000_000), leverage=Decimal(10),
            commission=Commission(maker_bps=Decimal(2), taker_bps=Decimal(5)),
            book=BookExecution(order_latency_ms=Decimal(10), response_latency_ms=Decimal(10), queue_model="power"),
        )  # fmt: skip
        tape = TapeInput((self.instrument,), (TapeMarket(True, self.offset_ns),), lambda: [records])
        runs = []
        if strategy is not None:
            loaded = self._strategy(strategy)
            runs.append(StrategyRun(strategy, loaded, resolve_params(loaded.schema, {}), (0,)))
        return TapeReplay(settings, tape, runs).run()


def _cpu_seconds(run: Callable[[], object]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun


def _rates(events: int, repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Events per CPU second of each run: medians, the runs taken in turn, one unmeasured turn first."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for own, run in zip(seconds, runs, strict=True):
            found = _cpu_seconds(run)
            if turn:
                own.append(found)
    return [events / median(own) for own in seconds]


def _millions(rate: float) -> str:
    return f"{rate / 1e6:.1f} M"


def empty_section(capture: Capture, peer: Any, repeats: int) -> Section:
    """No strategy: books, prints, samples, hash."""
    from tests.bench import tape_peer  # noqa: PLC0415 - needs the bench extra

    count = len(capture.events)
    own, other = _rates(
        count, repeats, lambda: capture.replay(None, capture.events), lambda: tape_peer.empty_seconds(peer)
    )
    section = Section("empty", "no strategy, events per CPU second", ("engine", "events/s", "ratio"))
    section.rows = [("tapewright", _millions(own), f"{own / other:.2f}"), ("hftbacktest 2.4.4", _millions(other), "1")]
    section.notes = ["asked: at least 2, aimed at: 4"]
    section.figures = {"events": count, "tapewright": own, "hftbacktest": other, "ratio": own / other}
    return section


def grid_section(capture: Capture, peer: Any, repeats: int) -> Section:
    """The grid: 20 x 20 limits every 100 ms, 10 ms latency, queue positions, ledger and hash."""
    from tests.bench import tape_peer  # noqa: PLC0415 - needs the bench extra

    count = len(capture.events)
    results: list[RunResult] = []
    trades: list[int] = []
    own, other = _rates(
        count, repeats, lambda: results.append(capture.replay("grid_compiled", capture.events)),
        lambda: trades.append(tape_peer.grid_seconds(peer)[1]),
    )  # fmt: skip
    figures = results[-1].figures
    section = Section(
        "grid", "grid 20 x 20 every 100 ms, events per CPU second", ("engine", "events/s", "ratio", "fills")
    )
    section.rows = [
        ("tapewright, compiled", _millions(own), f"{own / other:.2f}", f"{figures['fill_count']:,}"),
        ("hftbacktest 2.4.4", _millions(other), "1", f"{trades[-1]:,}"),
    ]
    section.notes = [
        f"{figures['order_count']:,} orders, hash {results[-1].hash:016x}; asked: at least 3, aimed at: 6",
        "fills differ: hftbacktest fills a whole order at once, here a print fills no more than it traded",
    ]
    section.figures = {
        "events": count, "tapewright": own, "hftbacktest": other, "ratio": own / other,
        "orders": figures["order_count"], "fills": figures["fill_count"], "hash": f"{results[-1].hash:016x}",
    }  # fmt: skip
    return section


def python_section(capture: Capture, repeats: int) -> Section:
    """The same grid as a Python strategy woken every 100 ms."""
    records = capture.single
    hashes: dict[str, int] = {}

    def run(strategy: str) -> None:
        hashes[strategy] = capture.replay(strategy, records).hash

    python, compiled = _rates(len(records), repeats, lambda: run("grid"), lambda: run("grid_compiled"))
    section = Section("python", "the grid in Python beside the compiled one, one copy", ("form", "events/s", "ratio"))
    section.rows = [("compiled", _millions(compiled), "1"), ("Python", _millions(python), f"{python / compiled:.3f}")]
    section.notes = ["the same hash" if hashes["grid"] == hashes["grid_compiled"] else "HASHES DIFFER"]
    section.figures = {"compiled": compiled, "python": python, "ratio": python / compiled,
                       "is_same_hash": hashes["grid"] == hashes["grid_compiled"]}  # fmt: skip
    return section


def _copies(capture: Capture, copies: int) -> Iterator[NDArray[Any]]:
    for copy in range(copies):
        records = capture.single.copy()
        capture.shift(records, 1, copy)
        yield records


def memory_section(capture: Capture, folder: Path, *, is_quick: bool) -> Section:
    """What reading a tape and running it adds to the process's memory, for a tape and one ten times as long."""
    title = "memory beyond what the process held, reading a tape through the engine"
    section = Section("memory", title, ("copies", "records", "MB"))
    few = 2 if is_quick else COPIES
    for copies in (few, 10 * few):
        with TapeWriter(folder / f"x{copies}", is_new=True) as writer:
            for records in _copies(capture, copies):
                writer.append(records)
        tape = TapeInput((capture.instrument,), (TapeMarket(True, capture.offset_ns),),
                         lambda copies=copies: (each.records for each in TapeReader(folder / f"x{copies}").batches()))  # type: ignore[misc]  # fmt: skip
        before = forget_peak()
        TapeReplay(RunSettings(), tape, []).run()
        added = (peak_bytes() - before) / MEGABYTE
        section.rows.append((f"x{copies}", f"{copies * len(capture.single):,}", f"{added:.1f}"))
        section.figures[f"x{copies}_mb"] = added
        shutil.rmtree(folder / f"x{copies}")
    return section


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tape", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer copies and repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections to run [%(default)s]")
    return parser.parse_args()


def main() -> int:
    """Run the sections asked for; 0 even where a limit is missed: the figures say so."""
    keep_freed_memory()
    arguments = _arguments()
    wanted = arguments.only.split(",")
    if not CAPTURE.exists():
        print(f"{CAPTURE} is not there: this benchmark runs on the real capture", file=sys.stderr)  # noqa: T201
        return 66
    if {"empty", "grid"} & set(wanted) and importlib.util.find_spec("hftbacktest") is None:
        print("hftbacktest is not there: uv run --extra bench python -m tests.bench.tape", file=sys.stderr)  # noqa: T201
        return 66
    copies, repeats = (4, 3) if arguments.quick else (COPIES, REPEATS)
    capture = Capture(copies)
    peer = None
    if {"empty", "grid"} & set(wanted):
        from tests.bench import tape_peer  # noqa: PLC0415 - needs the bench extra

        peer = tape_peer.convert(CAPTURE, copies, capture.offset_ns)
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    document: dict[str, Any] = {
        "copies": copies,
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}",
    }
    try:
        for name in [each for each in SECTIONS if each in wanted]:
            section = _section(name, capture, peer, folder, repeats, is_quick=arguments.quick)
            document[name] = section.figures
            if not arguments.json:
                print(f"\n{section.text()}", flush=True)  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps(document))  # noqa: T201
    return 0


def _section(name: str, capture: Capture, peer: Any, folder: Path, repeats: int, *, is_quick: bool) -> Section:
    match name:
        case "empty":
            return empty_section(capture, peer, repeats)
        case "grid":
            return grid_section(capture, peer, repeats)
        case "python":
            return python_section(capture, repeats)
        case "files":
            from tests.bench.tape_files import tape_files_section  # noqa: PLC0415 - only where it is asked for

            return tape_files_section(is_quick=is_quick)
        case _:
            return memory_section(capture, folder, is_quick=is_quick)


if __name__ == "__main__":
    sys.exit(main())
