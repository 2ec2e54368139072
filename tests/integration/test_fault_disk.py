"""A disk that is full or read-only: the session stops, names the path, loses nothing, goes on once there is room."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from adapters.tape.checking import check
from adapters.tape.findings import FindingKind
from engine.errors import EXIT_BAD_DATA, EXIT_USAGE
from tests.sessions import Daemon, cli, exchange

MEGABYTE = 1 << 20
STORE = ("--set", "store.path=store/s.sqlite")
ON_DISK = {"tape and snapshots": "sessions", "store": "store"}


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, in memory."""
    folder.mkdir(parents=True)
    done = _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    path = folder / "ballast"
    with path.open("ab", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return path


@pytest.mark.parametrize("what", ON_DISK)
def test_a_full_disk_stops_the_session_and_room_lets_it_go_on(what: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        disk(home / ON_DISK[what], 8) as mounted,
        exchange("--seed", "3", "--rate", "100") as venue,
        Daemon(home, venue, arguments=STORE) as daemon,
    ):
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=3)
        ballast = fill(mounted)
        assert daemon.process.wait(60) in (EXIT_BAD_DATA, EXIT_USAGE)
        _assert_named(daemon, mounted)
        _assert_whole(daemon)
        ballast.unlink()
        daemon.again().running().synchronised()
        daemon.lines.wait_for("fill", count=2)
        found = daemon.stop()
        verdict = daemon.verify()
        assert (verdict["starts"], verdict["session_hash"]) == (2, found)


@pytest.mark.parametrize("what", ON_DISK)
def test_a_disk_that_becomes_read_only_does_no_harm(what: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        disk(home / ON_DISK[what], 32) as mounted,
        exchange("--seed", "3", "--rate", "100") as venue,
        Daemon(home, venue, arguments=STORE) as daemon,
    ):
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=3)
        daemon.kill()  # a disk that a process writes to cannot be made read-only
        assert _mount("-o", "remount,ro", str(mounted)).returncode == 0
        refused = cli("--home", str(home), "run", str(daemon.config), "--name", "s", *venue.settings(),
                      "--set", "store.path=store/s.sqlite")  # fmt: skip
        assert refused.returncode in (EXIT_BAD_DATA, EXIT_USAGE), refused.stderr
        assert str(mounted) in refused.stderr
        assert "Traceback" not in refused.stderr
        assert _mount("-o", "remount,rw", str(mounted)).returncode == 0
        _assert_whole(daemon)
        daemon.again().running().synchronised()
        daemon.lines.wait_for("fill", count=2)
        daemon.stop()
        assert daemon.verify()["starts"] == 2


def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def _assert_named(daemon: Daemon, mounted: Path) -> None:
    daemon.lines.finish()
    said = "".join(daemon.lines.errors)
    assert "error: " in said, said
    assert str(mounted) in said, said
    assert "Traceback" not in said, said


def _assert_whole(daemon: Daemon) -> None:
    """Tape and store hold nothing broken: a torn tail is what a writer that was stopped leaves."""
    assert {each.kind for each in check(daemon.tape)} <= {FindingKind.TORN_TAIL}
    with closing(sqlite3.connect(daemon.home / "store" / "s.sqlite")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
