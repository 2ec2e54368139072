"""The command as a user starts it: cold and warm, stage by stage, and how much memory a year takes."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from adapters.bar_files import path_of, write_bars
from config.loader import load
from daemon.app import backtest
from tests.bench.inputs import CASH, FEE_BPS, SLIPPAGE_BPS, Inputs
from tests.bench.measuring import MEGABYTE, Section, in_child, median_of, peak_bytes, seconds_text, verdict

WARM_LIMIT = 2.5  # of the time to import numpy, numba and polars
COMPILE_LIMIT_SECONDS = 25.0
MEMORY_LIMIT_MB = 250.0
_CONFIG = "bench.yaml"
_COMMAND = "from daemon.cli import main; main()"
_IMPORTS = "import numpy, numba, polars"
_STAGES = {
    "import": "import, start and end of Python",
    "load": "load: bars, records",
    "loop": "loop: kernels, run",
    "figures": "figures",
    "write": "write",
    "total": "inside the command",
    "wall": "whole command",
    "cpu": "CPU of it",
}
_ALL_IMPORTS = f"{_IMPORTS}, daemon.cli, daemon.app, daemon.commands.backtest"


def prepare_home(home: Path, inputs: Inputs) -> None:
    """A home folder with the bars stored, and a config that trades them."""
    bars = inputs.bars
    write_bars(path_of(home, bars.symbol, bars.timeframe), bars)
    (home / _CONFIG).write_text(
        f"symbols: [{bars.symbol}]\ntimeframe: {bars.timeframe}\n"
        "strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}\n"
        f"initial_cash: {CASH}\ncommission_bps: {FEE_BPS}\nslippage_bps: {SLIPPAGE_BPS}\n"
    )


def _environments(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A new cache of kernels, with Python's bytecode kept in a new place; the same with no bytecode kept."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    plain["TAPEWRIGHT_CACHE_DIR"] = str(folder / "cache")
    nothing_kept = plain | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder / "none")}
    return plain | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}, nothing_kept


def _backtest(home: Path, environment: dict[str, str], strategy: str = "ema_cross") -> dict[str, Any]:
    """One run of the command, with what is left of the wall clock beside the stages that it times itself."""
    command = ["--home", str(home), "backtest", str(home / _CONFIG), "--strategy", strategy, "--no-report", "--json"]
    found = in_child(["-c", _COMMAND, *command], environment)
    staged = found["load_seconds"] + found["loop_seconds"] + found["write_seconds"]
    found["figures_seconds"] = found["total_seconds"] - staged
    found["import_seconds"] = found["wall_seconds"] - found["total_seconds"]
    return found


class _Starts(msgspec.Struct):
    """What was run, each a list of runs with the seconds of their stages."""

    cold: dict[str, Any]
    on_bar: list[dict[str, Any]] = []
    signals: list[dict[str, Any]] = []
    imports: list[dict[str, Any]] = []
    bare_on_bar: list[dict[str, Any]] = []
    bare_imports: list[dict[str, Any]] = []


def _start(inputs: Inputs, repeats: int) -> _Starts:
    with tempfile.TemporaryDirectory(prefix="tapewright-bench-") as folder:
        home = Path(folder) / "home"
        kept, nothing_kept = _environments(Path(folder))
        prepare_home(home, inputs)
        for _ in range(2):  # cold means the kernels: the bytecode of numpy and the rest is made before
            in_child(["-c", _ALL_IMPORTS], kept)
        starts = _Starts(_backtest(home, kept))
        _backtest(home, kept, "ema_cross_signals")
        for _ in range(repeats):
            starts.imports.append(in_child(["-c", _IMPORTS], kept))
            starts.on_bar.append(_backtest(home, kept))
            starts.signals.append(_backtest(home, kept, "ema_cross_signals"))
            starts.bare_imports.append(in_child(["-c", _IMPORTS], nothing_kept))
            starts.bare_on_bar.append(_backtest(home, nothing_kept))
    return starts


def starts_section(inputs: Inputs) -> Section:
    """Cold with an empty cache, then warm runs with bare imports between them."""
    starts = _start(inputs, 3 if inputs.is_quick else 5)
    cold, imports = starts.cold, median_of(starts.imports, "wall_seconds")
    on_bar, signals = ({name: median_of(runs, f"{name}_seconds") for name in _STAGES}
                       for runs in (starts.on_bar, starts.signals))  # fmt: skip
    bare = {"imports": median_of(starts.bare_imports, "wall_seconds"),
            "wall": median_of(starts.bare_on_bar, "wall_seconds")}  # fmt: skip
    compiling = cold["wall_seconds"] - on_bar["wall"]
    ratio, ratio_signals, ratio_bare = (
        on_bar["wall"] / imports,
        signals["wall"] / imports,
        bare["wall"] / bare["imports"],
    )
    rows = [
        (label, *(seconds_text(seconds) for seconds in (on_bar[name], signals[name], cold[f"{name}_seconds"])))
        for name, label in _STAGES.items()
    ]
    rows.append((_IMPORTS, seconds_text(imports), seconds_text(imports), ""))
    return Section(
        "starts", "4. starts: `tapewright backtest` on stored bars, as a process",
        ("", "ema_cross", "ema_cross_signals", "ema_cross, cold"), rows,
        [
            f"warm is {ratio:.2f} of the bare imports, {verdict(ratio, WARM_LIMIT)}; with signals {ratio_signals:.2f}",
            f"without kept bytecode {ratio_bare:.2f}: {seconds_text(bare['wall'])} to {seconds_text(bare['imports'])}",
            f"compiling (cold less warm) takes {compiling:.1f} s, {verdict(compiling, COMPILE_LIMIT_SECONDS)} s",
        ],
        {
            "warm": on_bar, "warm_signals": signals, "cold": {name: cold[f"{name}_seconds"] for name in _STAGES},
            "imports_seconds": imports, "ratio": ratio, "ratio_signals": ratio_signals, "limit": WARM_LIMIT,
            "without_bytecode": bare, "ratio_without_bytecode": ratio_bare,
            "compile_seconds": compiling, "compile_limit_seconds": COMPILE_LIMIT_SECONDS,
            "trades": cold["trades"], "final_equity": cold["final_equity"],
        },
    )  # fmt: skip


def memory_of_year(home: Path) -> dict[str, Any]:
    """Peak of this process after the imports, and after a whole backtest; the kernels' code counts as the run's."""
    imported = peak_bytes()
    config = load(home / _CONFIG)
    report = backtest(home, config)
    return {"imported_bytes": imported, "peak_bytes": peak_bytes(), "bars": report.result.bars}


def memory_section(inputs: Inputs) -> Section:
    """The whole command's memory, less that of its imports."""
    with tempfile.TemporaryDirectory(prefix="tapewright-bench-") as folder:
        home = Path(folder)
        prepare_home(home, inputs)
        runs = [in_child(["-m", "tests.bench.starts", str(home)]) for _ in range(3)]
    imported, peak = median_of(runs, "imported_bytes"), median_of(runs, "peak_bytes")
    grown = (peak - imported) / MEGABYTE
    return Section(
        "memory", "5. memory: the same backtest, peak of its process", ("", "median"),
        [("after the imports", f"{imported / MEGABYTE:,.0f} MB"), ("after the run", f"{peak / MEGABYTE:,.0f} MB"),
         ("the run", f"{grown:,.0f} MB"), ("the run, a bar", f"{1e6 * grown / len(inputs.bars):,.0f} bytes")],
        [f"{grown:,.0f} MB, {verdict(grown, MEMORY_LIMIT_MB)} MB"],
        {"imported_bytes": imported, "peak_bytes": peak, "run_mb": grown, "limit_mb": MEMORY_LIMIT_MB},
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(memory_of_year(Path(sys.argv[1]))))  # noqa: T201
