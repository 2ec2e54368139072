"""A unix socket as a file: made with mode 0600, replaced where its owner has died, removed at the end.

The mode is set on the socket before it is bound, which Linux takes over for the file: at no moment could anybody else
have connected, and the process's umask stays as it is. A lock on the folder lets only one process at a time look
whether a file is stale and replace it. Addresses hold 107 bytes; a longer path is reached through its opened folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.control.errors import BusyError
from engine.errors import InputMissingError, TapewrightError, UsageError

ADDRESS_BYTES_MAX = 107
"""Of a unix socket's path, without the closing zero."""
BACKLOG = 512
MODE = 0o600
_CONNECT_PAUSE_SECONDS = 0.01


@contextmanager
def listening_socket(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path` until the block is left; it does not block.

    Raises BusyError where a living process listens there, UsageError where the path cannot be used.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.settimeout(0)
        try:
            identity = _listen(listener, path)
        except OSError as error:
            raise UsageError(
                f"{path}: no socket can be made there: {error.strerror}",
                remedy="Make the folder writable for this user, or choose another home folder (--home).",
            ) from None
        try:
            yield listener
        finally:
            _remove(path, identity)
    finally:
        listener.close()


def connect(path: Path, timeout_seconds: float) -> socket.socket:
    """A connection to who listens at `path`, which blocks up to the timeout.

    Raises InputMissingError where nobody listens, UsageError where this user may not connect.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_seconds)
    try:
        with _address(path) as address:
            _connect(connection, address, time.monotonic() + timeout_seconds)
    except OSError as error:
        connection.close()
        raise _not_connected(path, error) from None
    return connection


def _not_connected(path: Path, error: OSError) -> TapewrightError:
    match error:
        case FileNotFoundError() | ConnectionRefusedError() | NotADirectoryError():
            return InputMissingError(f"No session listens at {path}", remedy="Start one: tapewright run CONFIG")
        case PermissionError():
            return UsageError(f"{path} belongs to another user", remedy="Run the command as that user.")
        case BlockingIOError() | TimeoutError():
            return BusyError(
                f"The session at {path} does not answer",
                remedy="It is overloaded or hangs. Look at its log, or end it.",
            )
        case _:
            return UsageError(f"{path} cannot be connected to: {error.strerror}", remedy="Is it a session's socket?")


def is_live(path: Path) -> bool:
    """Whether a process listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            with _address(path) as address:
                probe.connect(address)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except (BlockingIOError, PermissionError):  # so many wait that no more may; somebody else's
            return True
    return True


def _connect(connection: socket.socket, address: str, deadline: float) -> None:
    """Connect; while more wait than the backlog holds, try again until the deadline (monotonic seconds)."""
    while True:
        try:
            connection.connect(address)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_CONNECT_PAUSE_SECONDS)
        else:
            return


def _listen(listener: socket.socket, path: Path) -> tuple[int, int]:
    """Bind and listen; returns by what the file is known again."""
    with _locked(path.parent):
        _remove_stale(path)
        os.fchmod(listener.fileno(), MODE)
        with _address(path) as address:
            listener.bind(address)
        listener.listen(BACKLOG)
        return _identity(path)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that has died."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is in the way: it is no socket", remedy="Move it away, then start again.")
    if is_live(path):
        raise BusyError(
            f"Another process listens at {path}",
            remedy="This session runs already. See: tapewright ctl status. Stop it: tapewright ctl shutdown",
        )
    path.unlink()


def _remove(path: Path, identity: tuple[int, int]) -> None:
    """Remove the file if it is still ours."""
    with contextlib.suppress(OSError), _locked(path.parent):
        if _identity(path) == identity:
            path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; others wait for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path, or where it is too long for an address, a short one through its opened folder."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{folder}/{path.name}"
        if len(os.fsencode(short)) > ADDRESS_BYTES_MAX:
            raise UsageError(f"{path.name!r} is too long for a socket's name", remedy="Choose a shorter name.")
        yield short
    finally:
        os.close(folder)
