"""Document B's whole pipeline on a year of minutes: each phase beside its floor, memory, the interactive report.

    python -m tests.bench.pipeline [--quick] [--json] [--data FILE] [--only whole,phases,memory,report]

The run is B's own: entry ema_cross, exit fixed_tp_sl, indicators sma_20_1m, rsi_14_1m, ema_50_4h out of the cache; bar
journal, results folder and database are written. A floor is the least that could be done with the same bytes: polars
reading and writing them, SQLite given the rows, the strategy's own Python called without an engine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.bar_files import path_of, read_bars, read_parquet, write_bars
from adapters.report.files import write_report
from adapters.store.schema import connect, prepare
from adapters.synthetic_market import synthesize
from config.loader import load
from daemon.app import BacktestReport, backtest, report_input
from engine.bars import Bars
from engine.indicators import compute
from strategies.parts import load_part
from tests.bench.inputs import QUICK_BARS, REAL, SEED, YEAR_BARS
from tests.bench.measuring import (
    MEGABYTE,
    ROOT,
    Contender,
    Section,
    in_child,
    interleaved,
    median_of,
    peak_bytes,
    seconds_text,
    verdict,
)

LIMIT_SECONDS = 3.0  # where document B says 5
PAGE_LIMIT_BYTES = 5 * MEGABYTE
SYMBOL = "BTCUSDT"
_COMMAND = "from daemon.cli import main; main()"
_PARTS = ROOT / "strategies"
_IMPORTS = "import numpy, numba, polars"
_PHASES = ("load", "loop", "figures", "journal", "write", "store")
_CONFIG = f"""symbols: ["{SYMBOL}"]
timeframe: "1m"
strategy:
  entry: {{name: "ema_cross", params: {{fast: 20, slow: 50}}}}
  exit: {{name: "fixed_tp_sl", params: {{tp: 0.05, sl: 0.02}}}}
indicators: [sma_20_1m, rsi_14_1m, ema_50_4h]
"""


def prepared_home(home: Path, data: Path | None, *, is_quick: bool) -> str:
    """A home with the year stored, B's config, and the indicators cached; says where the bars are from."""
    path = data if data is not None else REAL
    count = QUICK_BARS if is_quick else YEAR_BARS
    if data is None and not path.exists():
        bars, source = synthesize(SYMBOL, "1m", count, SEED), f"made-up bars, seed {SEED}"
    else:
        bars, source = read_bars(path, SYMBOL, "1m"), path.name
    write_bars(path_of(home, SYMBOL, "1m"), _first(bars, count))
    (home / "run.yaml").write_text(_CONFIG, encoding="utf-8")
    backtest(home, load(home / "run.yaml"))
    return source


def _first(bars: Bars, count: int) -> Bars:
    columns = (bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.timeframe, *(column[:count] for column in columns))


def whole_section(home: Path, repeats: int) -> Section:
    """The command as a user starts it, from the first instruction to its end, bytecode kept as Python does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(home / "bytecode")
    command = ["-c", _COMMAND, "--home", str(home), "backtest", str(home / "run.yaml"), "--no-report", "--json"]
    runs, imports = [], []
    for turn in range(repeats + 1):
        os.sync()  # what earlier runs have written is written back before, not during
        found, bare = in_child(command, environment), in_child(["-c", _IMPORTS], environment)
        if turn:  # the first one makes the bytecode
            runs.append(found | {"start_seconds": found["wall_seconds"] - found["total_seconds"]})
            imports.append(bare)
    wall, bare_wall = median_of(runs, "wall_seconds"), median_of(imports, "wall_seconds")
    names = ("start", *_PHASES, "total", "wall", "cpu")
    labels = {"start": "Python's start, imports, end", "total": "inside the command", "wall": "whole command",
              "cpu": "CPU of it, both cores"}  # fmt: skip
    medians = {name: median_of(runs, f"{name}_seconds") for name in names}
    rows = [(labels.get(name, name), seconds_text(medians[name])) for name in names]
    ranked = sorted(each["wall_seconds"] for each in runs)
    return Section(
        "whole", f"1. tapewright backtest, cached, {runs[0]['bars']:,} bars, as a process", ("", "median"),
        [*rows, (_IMPORTS, seconds_text(bare_wall))],
        [f"{wall:.2f} s (from {ranked[0]:.2f} to {ranked[-1]:.2f}), {verdict(wall, LIMIT_SECONDS)} s",
         f"document B says 5 s; {wall / bare_wall:.2f} of the bare imports"],
        {**medians, "imports": bare_wall, "limit": LIMIT_SECONDS, "hash": runs[0]["hash"], "trades": runs[0]["trades"]},
    )  # fmt: skip


class Floors:
    """The least that each phase could be: the same bytes through polars and SQLite, the strategy without an engine."""

    def __init__(self, home: Path, done: BacktestReport, scratch: Path) -> None:
        self.raw = path_of(home, SYMBOL, "1m")
        self.indicators = sorted((home / "data" / "indicators" / SYMBOL).glob("*.parquet"))
        self.journal = read_parquet(next(iter(done.journals.values())))
        self.tables = [read_parquet(path) for path in sorted(done.folder.glob("*.parquet"))]
        self.trades = (done.folder / "trades.csv").read_bytes()
        self.rows = _rows_of(home, done.run_id)
        self.scratch = scratch
        self.closes = done.bars[0].close
        self.held = self.journal["in_position"].to_list()

    def load(self) -> None:
        """Read the bars and the cached indicators."""
        for path in (self.raw, *self.indicators):
            read_parquet(path)

    def loop(self) -> int:
        """Ask entry or exit at every bar, as the run did, on memoised arrays, cut when asked for: no engine."""
        window = _BareWindow(self.closes)
        entry = load_part(_PARTS / "entry" / "ema_cross.py", "entry", {"fast": 20, "slow": 50})
        leaving = load_part(_PARTS / "exit" / "fixed_tp_sl.py", "exit", {"tp": 0.05, "sl": 0.02})
        enter, leave = entry.make(entry.params), leaving.make(leaving.params)
        count = 0
        for index, is_held in enumerate(self.held):
            window.show(index)
            if is_held:
                count += bool(leave(window, 20_000.0))
            else:
                count += bool(enter(window))
        return count

    def write_journal(self) -> None:
        """Write the journal's frame whole."""
        self.journal.write_parquet(self.scratch / "journal.parquet", compression="zstd", compression_level=1)

    def write(self) -> None:
        """Write the results' tables and the CSV's bytes."""
        for number, table in enumerate(self.tables):
            table.write_parquet(self.scratch / f"{number}.parquet", compression="zstd", compression_level=1)
        (self.scratch / "trades.csv").write_bytes(self.trades)

    def store(self) -> None:
        """Give SQLite the same rows, in one transaction on the disk."""
        path = self.scratch / "floor.sqlite"
        for each in self.scratch.glob("floor.sqlite*"):
            each.unlink()
        prepare(path)
        with contextlib.closing(connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")  # the run's own row stands in no floor
            connection.execute("BEGIN IMMEDIATE")
            for table, (width, rows) in self.rows.items():
                connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", rows)
            connection.execute("COMMIT")


class _BareWindow:
    """What the two methods look at: the last close, closes up to the bar, memoised averages of them."""

    side = 1

    def __init__(self, closes: Any) -> None:
        self._closes = closes
        self._items = memoryview(closes.data)
        self._memo: dict[int, Any] = {}
        self.ind = self
        self.index = -1
        self.price = 0.0

    def show(self, index: int) -> None:
        self.index = index
        self.price = self._items[index]

    @property
    def close(self) -> Any:
        return self._closes[: self.index + 1]

    def ema(self, close: Any, length: int) -> Any:
        full = self._memo.get(length)
        if full is None:
            full = self._memo[length] = compute("ema", (length,), [self._closes])[0]
        return full[: len(close)]


def _rows_of(home: Path, name: str) -> dict[str, tuple[int, list[tuple[Any, ...]]]]:
    """Each table's rows of a run, its columns counted (those that are computed left out)."""
    found = {}
    with contextlib.closing(sqlite3.connect(home / "strategy.sqlite")) as connection:
        (run_id,) = connection.execute("SELECT run_id FROM strategy_runs WHERE name = ?", (name,)).fetchone()
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if "run_id" in columns and table not in {"strategy_runs", "run_strategies", "run_instruments"}:
                query = f"SELECT {', '.join(columns)} FROM {table} WHERE run_id = ?"
                found[table] = (len(columns), connection.execute(query, (run_id,)).fetchall())
    return found


def phases_section(home: Path, repeats: int) -> Section:
    """Each phase of a run in this process, and its floor, in turns."""
    config = load(home / "run.yaml")
    scratch = home / "scratch"
    scratch.mkdir(exist_ok=True)
    floors = Floors(home, backtest(home, config), scratch)
    runs: list[BacktestReport] = []
    calls: dict[str, Callable[[], object]] = {
        "load": floors.load, "loop": floors.loop, "journal": floors.write_journal, "write": floors.write,
        "store": floors.store,
    }  # fmt: skip

    def run(_: object) -> None:
        runs.append(backtest(home, config))

    def called(call: Callable[[], object]) -> Callable[[Any], object]:
        return lambda _: call()

    contenders = [Contender(lambda: None, run)] + [Contender(lambda: None, called(call)) for call in calls.values()]
    timings = interleaved(repeats, contenders)
    least = dict(zip(calls, (timing.median for timing in timings[1:]), strict=True))
    ours = {name: median_of([_seconds(each) for each in runs[1:]], name) for name in (*_PHASES, "total")}
    rows = []
    for name in (*_PHASES, "total"):
        floor = least.get(name)
        ratio = f"{ours[name] / floor:.2f}" if floor else ""
        rows.append((name, seconds_text(ours[name]), seconds_text(floor) if floor else "", ratio))
    return Section(
        "phases", "2. phases inside one process, each beside its floor", ("", "ours", "floor", "ratio"), rows,
        ["floors: polars reads bars and indicators; the two methods called bare; polars writes the journal's frame,",
         "the results' tables; SQLite given the rows. The store goes on beside loop, figures and files, in a process;",
         "the journal is written while the figures are computed; what is left of both at the end is in write."],
        {"ours": ours, "floors": least, "ratios": {name: ours[name] / floor for name, floor in least.items()}},
    )  # fmt: skip


def _seconds(report: BacktestReport) -> dict[str, float]:
    timings = report.timings
    return {name: getattr(timings, name) for name in (*_PHASES, "total")}


def memory_of(home: Path, what: str) -> dict[str, Any]:
    """Peak of this process after the imports, and after a whole run, or after polars read and wrote the same bytes."""
    imported, beside = peak_bytes(), _ChildrenPeak()
    if what == "run":
        with beside:
            backtest(home, load(home / "run.yaml"))
    else:
        journal = max((home / "data" / "journals").glob("*.parquet"))
        results = max((home / "results").iterdir())
        frames = [read_parquet(path) for path in (path_of(home, SYMBOL, "1m"), journal, *results.glob("*.parquet"))]
        for number, frame in enumerate(frames):
            frame.write_parquet(home / f"floor-{number}.parquet", compression="zstd", compression_level=1)
    return {"imported_bytes": imported, "peak_bytes": peak_bytes(), "beside_bytes": beside.bytes}


class _ChildrenPeak(threading.Thread):
    """The greatest memory of a process that this one has started, looked at every few milliseconds until it ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._is_over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        while not self._is_over.wait(0.005):
            for own in Path("/proc/self/task").glob("*/children"):
                for child in own.read_text().split():
                    place = Path("/proc") / child
                    with contextlib.suppress(OSError):
                        if b"adapters.store" in (place / "cmdline").read_bytes():  # before, its memory is this one's
                            self.bytes = max(self.bytes, peak_bytes(place / "status"))


def memory_section(home: Path) -> Section:
    """What a run takes beside its imports, and what polars takes to hold and write the same bytes."""
    grown, beside = {}, 0.0
    for what in ("run", "floor"):
        found = [in_child(["-m", "tests.bench.pipeline", "--memory-of", what, str(home)]) for _ in range(3)]
        beside = max(beside, median_of(found, "beside_bytes") / MEGABYTE)
        grown[what] = (median_of(found, "peak_bytes") - median_of(found, "imported_bytes")) / MEGABYTE
    ratio = grown["run"] / grown["floor"]
    return Section(
        "memory", "3. memory above the imports, peak of a process", ("", "median"),
        [("the run, everything written", f"{grown['run']:,.0f} MB"),
         ("polars: the same files", f"{grown['floor']:,.0f} MB"), ("ratio", f"{ratio:.2f}"),
         ("the process that stores, all of it", f"{beside:,.0f} MB")], [],
        {"run_mb": grown["run"], "floor_mb": grown["floor"], "ratio": ratio, "store_mb": beside},
    )  # fmt: skip


def report_section(home: Path, repeats: int) -> Section:
    """report.html of a run with some 10,000 trades: size, and time to make it, the pictures with it."""
    (home / "many.yaml").write_text(
        f"symbols: [{SYMBOL}]\ntimeframe: 1m\ninitial_cash: 1000000\n"
        "strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}\n", encoding="utf-8",
    )  # fmt: skip
    done = backtest(home, load(home / "many.yaml"))
    given = report_input(done)
    seconds, page = [], done.folder / "report.html"
    for _ in range(repeats):
        begun = time.perf_counter()
        write_report(done.folder, given)
        seconds.append({"s": time.perf_counter() - begun})
    size, taken = page.stat().st_size, median_of(seconds, "s")
    return Section(
        "report", f"4. the report, {done.result.bars:,} bars, {len(done.trades):,} trades", ("", "median"),
        [("report.html", f"{size / MEGABYTE:.2f} MB"), ("to write it, and the pictures", seconds_text(taken))],
        [f"{verdict(size / MEGABYTE, PAGE_LIMIT_BYTES / MEGABYTE)} MB; how it moves: python -m tests.bench.report"],
        {"bytes": size, "seconds": taken, "limit_bytes": PAGE_LIMIT_BYTES},
    )  # fmt: skip


def main() -> None:
    """Run the sections and print them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pipeline", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50,000 bars, fewer repeats")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--data", type=Path, help="other one-minute bars, a stored Parquet file")
    parser.add_argument("--only", default="whole,phases,memory,report", help="sections, by commas")
    parser.add_argument("--memory-of", nargs=2, metavar=("WHAT", "HOME"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.memory_of:
        print(json.dumps(memory_of(Path(chosen.memory_of[1]), chosen.memory_of[0])))  # noqa: T201
        return
    repeats = 3 if chosen.quick else 5
    folder = Path(tempfile.mkdtemp(prefix="tapewright-bench-"))
    try:
        source = prepared_home(folder, chosen.data, is_quick=chosen.quick)
        made: dict[str, Callable[[], Section]] = {
            "whole": lambda: whole_section(folder, repeats), "phases": lambda: phases_section(folder, repeats),
            "memory": lambda: memory_section(folder), "report": lambda: report_section(folder, 3),
        }  # fmt: skip
        found = {}
        for name in chosen.only.split(","):
            section = made[name]()
            found[name] = section.figures
            if not chosen.json:
                sys.stdout.write(section.text() + "\n\n")
                sys.stdout.flush()
        load_average = os.getloadavg()[0]
        if chosen.json:
            print(json.dumps({"source": source, "load": load_average, **found}))  # noqa: T201
        else:
            sys.stdout.write(f"bars: {source}; load at the end {load_average:.1f}\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
