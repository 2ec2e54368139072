"""The socket's file: private from the start, stale ones replaced, living ones left alone, paths of any length."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon.control.errors import BusyError
from daemon.control.unix_socket import ADDRESS_BYTES_MAX, connect, is_live, listening_socket
from engine.errors import EXIT_LOCKED, InputMissingError, UsageError


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_the_file_is_a_socket_of_mode_0600_whatever_the_umask_and_goes_in_the_end(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "control.sock"
    before = os.umask(umask)
    try:
        with listening_socket(path):
            mode = path.lstat().st_mode
            assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


def test_the_mode_holds_from_the_moment_of_binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "control.sock"
    modes = []
    listen = socket.socket.listen

    def looking(listener: socket.socket, backlog: int) -> None:
        modes.append(stat.S_IMODE(path.lstat().st_mode))
        listen(listener, backlog)

    monkeypatch.setattr(socket.socket, "listen", looking)
    before = os.umask(0)
    try:
        with listening_socket(path):
            pass
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_a_living_one_is_refused_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with listening_socket(path):
        with pytest.raises(BusyError, match="Another process listens") as caught, listening_socket(path):
            pass
        assert caught.value.exit_code == EXIT_LOCKED
        assert is_live(path)
        connect(path, 1).close()


def test_the_file_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    code = "import os, socket, sys; s = socket.socket(1); s.bind(sys.argv[1]); s.listen(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.is_socket()
    assert not is_live(path)
    with pytest.raises(InputMissingError, match="No session listens"):
        connect(path, 1)
    with listening_socket(path):
        assert is_live(path)


def test_one_of_many_that_begin_at_once_wins_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        start, done = threading.Barrier(8), threading.Barrier(8)
        outcomes: list[str] = []

        def begin(start: threading.Barrier = start, done: threading.Barrier = done, to: list[str] = outcomes) -> None:
            start.wait()
            try:
                with listening_socket(path):
                    to.append("won")
                    done.wait()
            except BusyError:
                to.append("refused")
                done.wait()

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused"] * 7 + ["won"]
        assert not path.exists()


def test_a_file_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with listening_socket(path):
        path.rename(tmp_path / "old.sock")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.is_socket()


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(UsageError, match="is in the way"), listening_socket(path):
        pass
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"), listening_socket(tmp_path / "nowhere" / "control.sock"):
        pass


@pytest.mark.parametrize("length", [ADDRESS_BYTES_MAX - 1, ADDRESS_BYTES_MAX, ADDRESS_BYTES_MAX + 1, 400])
def test_a_path_of_any_length_works(tmp_path: Path, length: int) -> None:
    folder = tmp_path
    missing = length - len(str(folder / "control.sock"))
    while missing > 0:
        part = min(missing - 1, 200) if missing > 1 else 1
        if missing - 1 - part == 1:
            part -= 1
        folder /= "x" * part
        missing -= part + 1
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "control.sock"
    assert len(str(path)) == length
    with listening_socket(path) as listener:
        assert path.is_socket()
        with connect(path, 1) as client:
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(b"heard")
                assert accepted.recv(5) == b"heard"
    assert not path.exists()


def test_a_name_that_no_address_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long"), listening_socket(tmp_path / ("x" * 120)):
        pass
