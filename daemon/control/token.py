"""The bearer token of the HTTP interface: from a file, from systemd, or made once and kept beside the socket."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from engine.errors import DataError, InputMissingError, UsageError

CREDENTIAL = "control-token"
TOKEN_NAME = "control-token"  # noqa: S105 - the file's name, not a token
CHARACTERS_MIN = 16


def control_token(session_folder: Path, token_file: Path | None = None) -> str:
    """The token: of `token_file`, else of the systemd credential `control-token`, else of the session's own file.

    The last one is made, with mode 0600, where it is not there. Raises InputMissingError, DataError or UsageError
    where a file cannot be read or written, holds no token, or may be read by others.
    """
    if token_file is not None:
        return _read(token_file, is_private=True)
    credential = _credential()
    if credential is not None:
        return _read(credential, is_private=False)  # systemd keeps it; it may be a group's
    own = session_folder / TOKEN_NAME
    if not own.exists():
        _make(own)
    return _read(own, is_private=True)


def _credential() -> Path | None:
    """The credential's file. Our units set an empty line where nobody has put a token: that is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / CREDENTIAL
    try:
        return path if path.read_bytes().strip() else None
    except FileNotFoundError:
        return None
    except OSError:
        return path  # reading it as a token says why it cannot be had


def _read(path: Path, *, is_private: bool) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise InputMissingError(
            f"{path}: the control token is not there",
            remedy="Put one into the file, such as of: openssl rand -hex 32. Or leave control.token_file out.",
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", remedy="Let the daemon's user read it.") from None
    except UnicodeDecodeError:
        text = ""
    if is_private and mode & 0o077:
        raise UsageError(f"{path} may be read by others (mode {mode & 0o777:o})", remedy=f"Run: chmod 600 {path}")
    return checked_token(text, str(path), f"openssl rand -hex 32 > {path}")


def checked_token(text: str, source: str, command: str = "openssl rand -hex 32") -> str:
    """The token, if it is one; DataError names its source, and nothing of it."""
    if len(text) < CHARACTERS_MIN or not (text.isascii() and text.isprintable()) or " " in text:
        raise DataError(
            f"{source} holds no token of at least {CHARACTERS_MIN} printable characters in one line",
            remedy=f"Make one: {command}",
        )
    return text


def _make(path: Path) -> None:
    """Write a new token under another name first, so that the file is never there half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="Make its folder one that you may write to, or name a token under control.token_file.",
        ) from None
