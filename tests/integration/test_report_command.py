"""`backtest --report` and `report schema` through the command line, and the build's hook that fetches the charts."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import types
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from adapters.report import page
from adapters.report.schema import json_schema
from daemon.cli import run
from tests.reports import make_home

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("home"), bars=10_080)


def _backtest(config: Path, *arguments: str) -> int:
    return run(["--home", str(config.parent), "backtest", str(config), *arguments])


def _newest(config: Path) -> Path:
    return max((config.parent / "results").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


FILES = {"equity.png", "drawdown.png", "report.pdf", "report.html"}


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        # what the command line or the config says | what is made of it: document B names the first three
        ((), {"equity.png", "drawdown.png", "report.html"}),
        (("--no-report",), set()),
        (("--set", "report.files=[]"), set()),
        (("--set", "report.files=[png]"), {"equity.png", "drawdown.png"}),
        (("--set", "report.files=[]", "--report"), FILES),
    ],
)
def test_what_a_backtest_leaves_to_look_at(
    config: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], written: set[str]
) -> None:
    monkeypatch.setattr(page, "charts_script", lambda: "globalThis.LightweightCharts={};")
    assert _backtest(config, *arguments) == 0
    assert FILES & {file.name for file in _newest(config).iterdir()} == written


def test_without_the_charts_a_backtest_that_was_not_asked_says_so_and_ends_well(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "javascript.lock.json").write_bytes((Path(page.__file__).parent / "javascript.lock.json").read_bytes())
    monkeypatch.setattr(page, "_HERE", tmp_path)
    assert _backtest(config) == 0
    told = capsys.readouterr()
    assert "No report: report.html needs the charting library" in told.err
    assert "uv sync --reinstall-package tapewright" in told.err
    assert {"equity.png", "drawdown.png"} <= {file.name for file in _newest(config).iterdir()}


def test_a_plain_backtest_loads_nothing_of_reports(config: Path) -> None:
    """In a process of its own, where no other test has imported it."""
    script = (
        "import sys; from daemon.cli import run; code = run(sys.argv[1:]);"
        " names = ('matplotlib', 'adapters.report');"
        " found = [name for name in sys.modules if name in names or name.startswith('adapters.report.')];"
        " print(code, found, file=sys.stderr)"
    )
    arguments = ["--home", str(config.parent), "backtest", str(config)]
    plain = [*arguments, "--no-report"]
    done = subprocess.run([sys.executable, "-c", script, *plain], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "0 []"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--report"], capture_output=True, text=True, check=True
    )
    assert "matplotlib" in done.stderr.splitlines()[-1]
    assert "adapters.report" in done.stderr.splitlines()[-1]


def test_pictures_and_page_are_written_where_they_are_asked_for(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "charts_script", lambda: "globalThis.LightweightCharts={};")
    assert _backtest(config, "--report", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    folder = Path(found["folder"])
    assert [Path(file).name for file in found["report"]] == ["equity.png", "drawdown.png", "report.pdf", "report.html"]
    assert (folder / "equity.png").read_bytes().startswith(PNG)
    assert (folder / "drawdown.png").read_bytes().startswith(PNG)
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not any(f'{attribute}="http' in text for attribute in ("src", "link"))


def test_without_the_charting_library_the_run_is_told_and_the_remedy_said(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = tmp_path / "javascript.lock.json"
    lock.write_bytes((ROOT / "adapters" / "report" / lock.name).read_bytes())
    monkeypatch.setattr(page, "_HERE", tmp_path)
    assert _backtest(config, "--report") == 66
    said = capsys.readouterr()
    assert "Sharpe" in said.out
    assert "lightweight-charts" in said.err
    assert "is missing" in said.err
    assert "uv sync --reinstall-package tapewright" in said.err
    names = {file.name for file in _newest(config).iterdir()}
    assert {"trades.csv", "metrics.json", "equity.png", "drawdown.png", "report.pdf"} <= names
    assert "report.html" not in names


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(json_schema()))


# --- the hook ---


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """hatch_build.py, with hatchling's base class away: that one lives in the build's own environment."""
    interface = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = object  # type: ignore[attr-defined]
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _locked(root: Path, *, content: bytes = b"export{};", archive_of: bytes = b"export{};") -> bytes:
    """Write a lock for one file of `content`; return the archive of `archive_of` that a registry would give."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as members:
        entry = tarfile.TarInfo("package/it.mjs")
        entry.size = len(archive_of)
        members.addfile(entry, io.BytesIO(archive_of))
    file = {"member": "package/it.mjs", "name": "it.mjs", "integrity": _integrity(content)}
    package = {"resolved": "https://it", "integrity": _integrity(buffer.getvalue()), "files": [file]}
    report = root / "adapters" / "report"
    report.mkdir(parents=True)
    (report / "javascript.lock.json").write_text(json.dumps({"it": package}), encoding="utf-8")
    return buffer.getvalue()


def _build(hook: Any, root: Path) -> Path:
    builder = hook.JavaScriptHook()
    builder.root = str(root)
    builder.initialize("editable", {})
    return root / "adapters" / "report" / "vendor" / "it.mjs"


def test_the_hook_fetches_once_and_asks_no_more(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, asked = _locked(tmp_path), []

    def open_address(address: str, timeout: float) -> io.BytesIO:
        asked.append((address, timeout))
        return io.BytesIO(archive)

    monkeypatch.setattr(urllib.request, "urlopen", open_address)
    assert _build(hook, tmp_path).read_bytes() == b"export{};"
    _build(hook, tmp_path)
    assert len(asked) == 1
    _build(hook, tmp_path).write_bytes(b"changed")
    assert _build(hook, tmp_path).read_bytes() == b"export{};"
    assert len(asked) == 2


def test_a_build_without_a_registry_goes_on(
    hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route")

    _locked(tmp_path)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert not _build(hook, tmp_path).exists()
    assert "no route" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["archive", "file"])
def test_other_content_than_the_lock_s_is_not_taken(
    hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    archive = _locked(tmp_path, archive_of=b"export{};" if what == "archive" else b"other")
    given = archive + b"more" if what == "archive" else archive
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(given))
    assert not _build(hook, tmp_path).exists()
    assert "is not what javascript.lock.json says" in capsys.readouterr().err


def test_the_lock_names_an_integrity_for_everything() -> None:
    lock = json.loads((ROOT / "adapters" / "report" / "javascript.lock.json").read_text(encoding="utf-8"))
    for package in lock.values():
        assert package["resolved"].startswith("https://registry.npmjs.org/")
        assert all(each["integrity"].startswith("sha512-") for each in (package, *package["files"]))
