"""systemd's unit files: ours with an installation's paths in them, and what systemd-analyze says of any."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from engine.errors import InputMissingError, UsageError

EXPOSURE_MOST = 1.5
UNITS = ("tapewright.service", "tapewright@.service")

_OVERALL = re.compile(r"Overall exposure level for \S+: (\d+\.\d+)")
_COMMAND = "/usr/bin/env tapewright"
_CONFIG = re.compile(r"/etc/tapewright/(?:tapewright|%i)\.yaml")
_SECONDS_MAX = 60


class UnitVerdict(msgspec.Struct, frozen=True):
    """What systemd-analyze said: its complaints, and the exposure from 0 to 10; None where it cannot rate offline."""

    unit: str
    findings: tuple[str, ...]
    exposure: float | None

    @property
    def is_good(self) -> bool:
        """Whether it complained of nothing and the exposure is low enough."""
        return not self.findings and (self.exposure is None or self.exposure <= EXPOSURE_MOST)


def unit_text(command: Path, config: Path | None, *, is_instance: bool) -> str:
    """The unit of one session or of an instance, with this command and, where one is given, this config."""
    text = shipped_unit(UNITS[is_instance]).read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        if line.startswith("ExecStart="):
            lines.append(_exec_start(line, command, config))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def shipped_unit(name: str) -> Path:
    """Where a unit of ours lies: inside the installed package, or in the folder `systemd` of a checkout."""
    here = Path(__file__).parent
    for folder in (here / "systemd", here.parent / "systemd"):
        if (folder / name).is_file():
            return folder / name
    raise InputMissingError(f"The unit {name} is not part of this installation", remedy="Install Tapewright again.")


def check_shipped(command: Path) -> list[UnitVerdict]:
    """Check our units as they would be installed."""
    with tempfile.TemporaryDirectory(prefix="tapewright-units-") as folder:
        verdicts = []
        for name in UNITS:
            file = Path(folder) / name
            file.write_text(unit_text(command, None, is_instance="@" in name), encoding="utf-8")
            verdicts.append(check_unit(file))
        return verdicts


def check_unit(file: Path) -> UnitVerdict:
    """Have systemd-analyze read a unit file; raises InputMissingError where there is no systemd-analyze."""
    found = shutil.which("systemd-analyze")
    if found is None:
        raise InputMissingError("systemd-analyze is not installed", remedy="Debian and Ubuntu: apt install systemd")
    verified = _analyze([found, "verify", "--man=no", str(file)])
    findings = [line.strip() for line in (verified.stdout + verified.stderr).splitlines() if line.strip()]
    if verified.returncode and not findings:
        findings.append(f"systemd-analyze verify ended with {verified.returncode}")
    rated = _analyze([found, "security", "--offline=true", "--no-pager", str(file)])
    overall = _OVERALL.search(rated.stdout)
    return UnitVerdict(file.name, tuple(findings), float(overall[1]) if overall else None)


def _exec_start(line: str, command: Path, config: Path | None) -> str:
    assert _COMMAND in line
    assert _CONFIG.search(line)
    line = line.replace(_COMMAND, _quoted(command))
    return line if config is None else _CONFIG.sub(lambda _: _quoted(config), line)


def _quoted(path: Path) -> str:
    """A path as one word of ExecStart, where % and $ mean something, and spaces part words.

    Raises UsageError for one that no line of a unit can hold.
    """
    if not str(path).isprintable():
        raise UsageError(
            f"{str(path)!r} has characters that no unit can hold", remedy="Name a path of printable characters."
        )
    text = str(path).replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w./@:,+=%$\-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _analyze(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LC_ALL": "C.UTF-8",
        "SYSTEMD_COLORS": "0",
        "SYSTEMD_PAGER": "cat",
        "SYSTEMD_EMOJI": "0",
    }
    return subprocess.run(  # noqa: S603 - systemd-analyze, with the path of a unit
        command, capture_output=True, text=True, env=environment, timeout=_SECONDS_MAX, check=False
    )
