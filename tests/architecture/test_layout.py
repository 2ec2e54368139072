"""The house's own rules: who imports whom, who owns which package name, what is documented."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("adapters", "config", "daemon", "engine", "strategies")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def _sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_no_other_distribution_claims_a_package_name_of_ours() -> None:
    owners = importlib.metadata.packages_distributions()
    foreign = {name: owners[name] for name in PACKAGES if set(owners.get(name, [])) - {"tapewright"}}
    assert foreign == {}


def test_the_engine_stands_on_msgspec_numpy_numba_and_the_standard_library() -> None:
    impure = {"time", "random", "asyncio", "socket", "sqlite3"}
    allowed = {"engine", "msgspec", "numpy", "numba"} | (sys.stdlib_module_names - impure)
    for path in _sources("engine"):
        assert _imports(path) <= allowed, path


def test_kernels_import_numpy_and_numba_only() -> None:
    allowed = {"engine", "numpy", "numba", "__future__", "typing", "math", "collections"}
    for path in sorted((ROOT / "engine" / "kernels").rglob("*.py")):
        if path.name != "compile.py":
            assert _imports(path) <= allowed, path


def test_the_import_contract_holds() -> None:
    script = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_dependency_says_why_it_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += project["project"]["optional-dependencies"]["bench"]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("## Dependencies") : text.index("## State of the work")]
    names = [re.split(r"[<>=\[ ]", requirement)[0] for requirement in wanted]
    assert [name for name in names if name not in table] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_names_a_machine_s_folder(package: str) -> None:
    for path in [*_sources(package), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(?:work|root|home/[a-z]+|tmp)/", text), path
