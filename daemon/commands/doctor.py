"""`tapewright doctor`: says whether everything is here that a run needs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import EXIT_FINDINGS

_REQUIRED = ("msgspec", "numba", "numpy", "polars", "pyyaml", "rich", "typer")
_OLDEST = (3, 11)
_FREE_BYTES_LEAST = 1 << 30


def doctor(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Check Python, packages, the compiled engine, folders and disk; exit 1 where something is missing."""
    checks = [_python(), *_packages(), _names(), _kernels(), *_home(context.obj.home)]
    if as_json:
        typer.echo(json.dumps({"ok": all(ok for ok, _, _ in checks), "checks": [
            {"ok": ok, "check": name, "found": found} for ok, name, found in checks
        ]}))  # fmt: skip
    else:
        for ok, name, found in checks:
            typer.echo(f"{'ok     ' if ok else 'MISSING'}  {name:<18} {found}")
    if not all(ok for ok, _, _ in checks):
        raise typer.Exit(EXIT_FINDINGS)


Check = tuple[bool, str, str]


def _python() -> Check:
    wanted = ".".join(map(str, _OLDEST))
    found = f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores"
    is_enough = sys.version_info[:2] >= _OLDEST
    return is_enough, "python", found if is_enough else f"{found}; needs {wanted}"


def _packages() -> list[Check]:
    found: list[Check] = []
    for name in _REQUIRED:
        try:
            found.append((True, name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((False, name, "not installed; run: uv sync"))
    return found


def _names() -> Check:
    from daemon.cli import foreign_packages

    foreign = foreign_packages()
    return not foreign, "package names", "; ".join(foreign) or "ours"


def _kernels() -> Check:
    from engine.kernels.compile import CACHE_FOLDER, is_compiled

    if CACHE_FOLDER is None:
        return False, "compiled engine", "no folder to keep it in; set TAPEWRIGHT_CACHE_DIR to one that can be written"
    state = "ready" if is_compiled() else "not compiled yet: the first run does it, some 20 seconds"
    return True, "compiled engine", f"{state} ({CACHE_FOLDER})"


def _home(home: Path) -> list[Check]:
    if not home.is_dir():
        return [(False, "home folder", f"{home} is not there; create it, or name another with --home")]
    writable = os.access(home, os.W_OK)
    free = shutil.disk_usage(home).free
    bars = len(list((home / "data" / "raw").glob("*.parquet")))
    return [
        (writable, "home folder", f"{home.resolve()}" + ("" if writable else " cannot be written")),
        (free >= _FREE_BYTES_LEAST, "free space", f"{free / (1 << 30):.1f} GiB"),
        (True, "stored bars", f"{bars} files" if bars else "none yet; see: tapewright data import --help"),
    ]
