"""The command as a user starts it: cold and warm, stage by stage, and how much memory a year takes."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

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


def _environment(folder: Path) -> dict[str, str]:
    """A cache of kernels and one of Python's bytecode, both new, whatever this machine is set to."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    caches = {"TAPEWRIGHT_CACHE_DIR": str(folder / "cache"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return kept | caches


def _backtest(home: Path, environment: dict[str, str]) -> dict[str, Any]:
    """One run of the command, with what is left of the wall clock beside the stages that it times itself."""
    found = in_child(["-c", _COMMAND, "--home", str(home), "backtest", str(home / _CONFIG), "--json"],
                     environment)  # fmt: skip
    staged = found["load_seconds"] + found["loop_seconds"] + found["write_seconds"]
    found["figures_seconds"] = found["total_seconds"] - staged
    found["import_seconds"] = found["wall_seconds"] - found["total_seconds"]
    return found


def starts_section(inputs: Inputs) -> Section:
    """Cold with an empty cache, then warm runs with bare imports between them."""
    repeats = 3 if inputs.is_quick else 7
    with tempfile.TemporaryDirectory(prefix="tapewright-bench-") as folder:
        home, environment = Path(folder) / "home", _environment(Path(folder))
        prepare_home(home, inputs)
        for _ in range(2):  # Python's own bytecode is made at the first import: once for all versions of ours
            in_child(["-c", _ALL_IMPORTS], environment)
        cold = _backtest(home, environment)
        _backtest(home, environment)
        warm, imports = [], []
        for _ in range(repeats):
            imports.append(in_child(["-c", _IMPORTS], environment))
            warm.append(_backtest(home, environment))
    names = ("import", "load", "loop", "figures", "write", "total", "wall")
    warmed = {name: median_of(warm, f"{name}_seconds") for name in names}
    bare = median_of(imports, "wall_seconds")
    compiling, ratio = cold["wall_seconds"] - warmed["wall"], warmed["wall"] / bare
    labels = {
        "import": "import, start and end of Python", "load": "load: bars, records", "loop": "loop: kernels, run",
        "figures": "figures", "write": "write", "total": "inside the command", "wall": "whole command",
    }  # fmt: skip
    rows = [(labels[name], seconds_text(warmed[name]), seconds_text(cold[f"{name}_seconds"])) for name in names]
    rows += [
        ("CPU", seconds_text(median_of(warm, "cpu_seconds")), seconds_text(cold["cpu_seconds"])),
        (_IMPORTS, seconds_text(bare), ""),
    ]
    return Section(
        "starts", "4. starts: `tapewright backtest` on stored bars, as a process", ("", "warm, median", "cold"), rows,
        [
            f"warm is {ratio:.2f} of the bare imports, {verdict(ratio, WARM_LIMIT)}",
            f"compiling (cold less warm) takes {compiling:.1f} s, {verdict(compiling, COMPILE_LIMIT_SECONDS)} s",
        ],
        {
            "warm": warmed, "cold": {name: cold[f"{name}_seconds"] for name in names}, "imports_seconds": bare,
            "ratio": ratio, "limit": WARM_LIMIT, "compile_seconds": compiling,
            "compile_limit_seconds": COMPILE_LIMIT_SECONDS, "trades": cold["trades"],
            "final_equity": cold["final_equity"],
            "ratio_of_pairs": median(run["wall_seconds"] / own["wall_seconds"]
                                     for run, own in zip(warm, imports, strict=True)),
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
