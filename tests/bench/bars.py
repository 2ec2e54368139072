"""How fast a year of one-minute bars runs, each figure beside its counterpart in the same process.

`python -m tests.bench.bars` prints a table a section; `--json` one object. docs/performance.md says what each
figure is. Absolute times depend on the machine and on what else it does; ratios are what to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from daemon.memory import keep_freed_memory  # first of all, as the command does: daemon says how numpy asks for memory
from engine.kernels.compile import is_compiled
from tests.bench.inputs import Inputs, load_inputs
from tests.bench.loops import on_bar_section, signals_section
from tests.bench.measuring import Section
from tests.bench.orders import orders_section
from tests.bench.peers import peers_section
from tests.bench.starts import memory_section, starts_section

SECTIONS = ("on_bar", "signals", "orders", "starts", "memory", "peers")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bars", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50,000 bars and fewer repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--data", type=Path, help="a stored Parquet file of one-minute bars [the real year]")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections to run [%(default)s]")
    return parser.parse_args()


def _machine() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


def _compile_elsewhere() -> None:
    """Have another process compile the kernels, so that this one runs them as every later start does: from the cache.

    A process that has compiled them holds each in a module of its own, and runs the core some 10 % slower.
    """
    if not is_compiled() and "--quick" not in sys.argv:
        command = [sys.executable, "-m", "tests.bench.bars", "--quick", "--only", "on_bar,signals", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Run the sections asked for; 0 even where a limit is missed: the figures say so."""
    keep_freed_memory()
    arguments = _arguments()
    wanted = arguments.only.split(",")
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        print(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}", file=sys.stderr)  # noqa: T201
        return 64
    _compile_elsewhere()
    inputs = load_inputs(arguments.data, is_quick=arguments.quick)
    data = str(arguments.data.resolve()) if arguments.data else ""
    sections: dict[str, Callable[[Inputs], Section]] = {
        "on_bar": on_bar_section,
        "signals": signals_section,
        "orders": lambda each: orders_section(each, data),
        "starts": starts_section,
        "memory": memory_section,
        "peers": peers_section,
    }
    document = {"source": inputs.source, "bars": len(inputs.bars), "quick": inputs.is_quick, "machine": _machine()}
    if not arguments.json:
        print(f"{len(inputs.bars):,} bars of {inputs.source}; {document['machine']}")  # noqa: T201
    for name in SECTIONS:
        if name in wanted:
            section = sections[name](inputs)
            document[name] = section.figures
            if not arguments.json:
                print(f"\n{section.text()}", flush=True)  # noqa: T201
    if arguments.json:
        print(json.dumps(document))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
