"""`tapewright service`: units as systemd-analyze sees them, written with this installation's paths."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.commands.service import command_path, service_app, unreachable
from daemon.units import EXPOSURE_MOST, UNITS, check_unit, shipped_unit, unit_text
from engine.errors import EXIT_FINDINGS, InputMissingError, TapewrightError, UsageError

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (apt install systemd)"
)


def service(*arguments: str | Path) -> str:
    """Run the command and return what it prints; a failure is raised."""
    result = CliRunner().invoke(service_app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def lines_of(unit: str, name: str) -> list[str]:
    return [line.removeprefix(f"{name}=") for line in unit.splitlines() if line.startswith(f"{name}=")]


@needs_systemd_analyze
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_in_a_shipped_unit(name: str) -> None:
    verdict = check_unit(shipped_unit(name))
    assert verdict.findings == ()
    assert verdict.exposure is not None
    assert verdict.exposure <= EXPOSURE_MOST


@needs_systemd_analyze
def test_a_unit_that_is_wrong_or_open_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "tapewright.service"
    wrong.write_text(shipped_unit(UNITS[0]).read_text("utf-8").replace("Restart=on-failure", "Restart=sometimes"))
    assert any("sometimes" in finding for finding in check_unit(wrong).findings)
    bare = tmp_path / "tapewright-bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    verdict = check_unit(bare)
    assert verdict.exposure is not None
    assert verdict.exposure > 9
    result = CliRunner().invoke(service_app, ["check", "--unit-folder", str(tmp_path), "--json"])
    assert result.exit_code == EXIT_FINDINGS
    told = json.loads(result.output)
    assert told["ok"] is False
    assert {unit["unit"]: unit["good"] for unit in told["units"]} == {wrong.name: False, bare.name: False}


@needs_systemd_analyze
def test_check_without_installed_units_looks_at_ours(tmp_path: Path) -> None:
    told = service("check", "--unit-folder", tmp_path)
    assert told.count(": good, exposure ") == len(UNITS)


@pytest.mark.parametrize("name", ["a\nExecStartPre=x.yaml", "\udcff.yaml"])
def test_a_path_that_no_unit_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="characters that no unit can hold"):
        unit_text(Path("/opt/tapewright"), tmp_path / name, is_instance=False)


@needs_systemd_analyze
def test_installed_units_are_good(tmp_path: Path) -> None:
    service("install", "--unit-folder", tmp_path)
    service("install", "--unit-folder", tmp_path, "--instance", "btc")
    service("install", "--unit-folder", tmp_path, "--instance", "eth", "--config", tmp_path / "my 100% config.yaml")
    told = json.loads(service("check", "--unit-folder", tmp_path, "--json"))
    assert {unit["unit"] for unit in told["units"]} == {*UNITS, "tapewright@eth.service"}
    assert [unit["findings"] for unit in told["units"]] == [[], [], []]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_says_what_the_daemon_needs(name: str) -> None:
    text = shipped_unit(name).read_text("utf-8")
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    unit, own = parser["Service"], "tapewright-%i" if "@" in name else "tapewright"
    assert unit["Type"] == "notify"
    assert int(unit["WatchdogSec"]) > 5
    assert int(unit["TimeoutStopSec"]) > 5
    assert set(unit["RestartPreventExitStatus"].split()) == {"64", "65", "66", "75", "78"}
    assert {unit["StateDirectory"], unit["CacheDirectory"], unit["RuntimeDirectory"]} == {own}
    assert f"TAPEWRIGHT_CACHE_DIR=%C/{own}" in unit["Environment"]
    assert f"--home %S/{own} run" in unit["ExecStart"]
    # numba compiles: with it the daemon would not start.
    assert "MemoryDenyWriteExecute" not in unit
    assert "IPAddressDeny" not in unit
    assert unit["DynamicUser"] == "yes"
    # Without a default a missing file of the token would keep the service from starting.
    assert unit["SetCredential"] == "control-token:\\n"
    assert parser["Unit"]["StartLimitBurst"] == "5"


def test_the_two_units_differ_in_names_only() -> None:
    single, instance = (shipped_unit(name).read_text("utf-8").split("[Unit]")[1] for name in UNITS)
    back = instance.replace("-%i", "").replace(": %i", "").replace("/%i.yaml", "/tapewright.yaml")
    assert back.replace("/%i.control-token", "/control-token") == single


def test_install_writes_this_installation_s_command(tmp_path: Path) -> None:
    told = service("install", "--unit-folder", tmp_path)
    file = tmp_path / "tapewright.service"
    assert f"{file}: written" in told
    assert "systemctl enable --now tapewright\n" in told
    assert lines_of(file.read_text("utf-8"), "ExecStart") == [
        f"{Path(sys.executable).with_name('tapewright')} --home %S/tapewright run /etc/tapewright/tapewright.yaml"
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert os.access(command_path(), os.X_OK)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("arguments", "file", "config"),
    [
        (["--config", "/srv/a.yaml"], "tapewright.service", "/srv/a.yaml"),
        (["--instance", "btc"], "tapewright@.service", "/etc/tapewright/%i.yaml"),
        (["--instance", "btc", "--config", "/srv/a.yaml"], "tapewright@btc.service", "/srv/a.yaml"),
        (["--config", "/srv/100% of $5.yaml"], "tapewright.service", '"/srv/100%% of $$5.yaml"'),
    ],
)
def test_configs_and_instances(tmp_path: Path, arguments: list[str], file: str, config: str) -> None:
    service("install", "--unit-folder", tmp_path, *arguments)
    (line,) = lines_of((tmp_path / file).read_text("utf-8"), "ExecStart")
    assert line.split(" run ")[1] == config


def test_a_unit_that_somebody_changed_is_kept(tmp_path: Path) -> None:
    service("install", "--unit-folder", tmp_path)
    assert "as it should be already" in service("install", "--unit-folder", tmp_path)
    file = tmp_path / "tapewright.service"
    changed = file.read_text("utf-8").replace("MemoryMax=2G", "MemoryMax=8G")
    file.write_text(changed)
    with pytest.raises(UsageError, match="says something else"):
        service("install", "--unit-folder", tmp_path)
    assert file.read_text("utf-8") == changed
    assert "replaced" in service("install", "--unit-folder", tmp_path, "--force")
    assert "MemoryMax=2G" in file.read_text("utf-8")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    told = service("install", "--unit-folder", tmp_path, "--dry-run")
    assert told == f"# {tmp_path / 'tapewright.service'}\n{unit_text(command_path(), None, is_instance=False)}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected", "says"),
    [
        (["install", "--unit-folder", "/no/such/folder"], InputMissingError, "--unit-folder"),
        (["install", "--instance", "../x", "--dry-run"], UsageError, "not a name"),
        (["install", "--instance", "", "--dry-run"], UsageError, "not a name"),
        (["check", "/no/such.service"], InputMissingError, "Unit not found"),
    ],
)
def test_what_cannot_be_done_says_so(arguments: list[str], expected: type[TapewrightError], says: str) -> None:
    with pytest.raises(expected, match=says):
        service(*arguments)


def test_what_the_service_s_user_cannot_reach_is_named(tmp_path: Path) -> None:
    assert unreachable([Path("/usr/bin/env")]) == []
    (hidden,) = unreachable([Path("/home/somebody/tapewright")])
    assert "lies under /home" in hidden
    (absent,) = unreachable([Path("/etc/tapewright-that-is-not-there.yaml")])
    assert "not there yet" in absent


@needs_systemd_analyze
def test_the_system_calls_of_the_engine_are_allowed() -> None:
    def calls(group: str) -> set[str]:
        """What a group of system calls stands for, its own groups followed."""
        command = ["systemd-analyze", "--no-pager", "syscall-filter", group]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = {line.strip() for line in printed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}
        inner = {name for name in found if name.startswith("@")}
        return (found - inner).union(*map(calls, inner))

    added, taken = lines_of(shipped_unit(UNITS[0]).read_text("utf-8"), "SystemCallFilter")
    allowed = set().union(*map(calls, added.split())) - set().union(*map(calls, taken.removeprefix("~").split()))
    # Compiling, the store, the tape, watching files, sockets, threads; and getrlimit of every start.
    assert {"mprotect", "mmap", "fdatasync", "flock", "inotify_add_watch", "epoll_wait", "clone3", "sendto",
            "prlimit64", "sched_getaffinity", "getrandom", "ftruncate", "setitimer"} <= allowed  # fmt: skip
    assert not {"setrlimit", "ptrace", "mount", "bpf", "init_module", "clock_settime", "add_key"} & allowed
