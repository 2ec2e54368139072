"""The control token: where it comes from, and what is not taken for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.control.token import control_token
from engine.errors import DataError, InputMissingError, TapewrightError, UsageError

TOKEN = "0123456789abcdef0123"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_token_is_made_once_private_and_kept(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        token = control_token(tmp_path)
    finally:
        os.umask(umask)
    assert len(token) >= 32
    assert control_token(tmp_path) == token
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("control-token", 0o600)]
    (tmp_path / "other").mkdir()
    assert control_token(tmp_path / "other") != token


def test_a_file_goes_before_systemd_s_credential_and_that_before_the_session_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = written(tmp_path / "given", f"{TOKEN}-file\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    own = control_token(tmp_path)  # systemd has none
    written(credentials / "control-token", f"{TOKEN}-systemd", 0o440)
    assert control_token(tmp_path, given) == f"{TOKEN}-file"
    assert control_token(tmp_path) == f"{TOKEN}-systemd" != own
    written(credentials / "control-token", "\n", 0o440)  # what our units set where there is no file
    assert control_token(tmp_path) == own


def test_a_folder_that_takes_no_token_is_named(tmp_path: Path) -> None:
    written(tmp_path / "session", "a file")
    with pytest.raises(UsageError, match="control-token cannot be written") as caught:
        control_token(tmp_path / "session")
    assert "control.token_file" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "mode", "error", "message"),
    [
        ("", 0o600, DataError, "holds no token"),
        ("short", 0o600, DataError, "holds no token"),
        (f"{TOKEN} {TOKEN}", 0o600, DataError, "one line"),
        (f"{TOKEN}\n{TOKEN}", 0o600, DataError, "one line"),
        (f"{TOKEN}é", 0o600, DataError, "printable"),
        (TOKEN, 0o640, UsageError, "mode 640"),
        (TOKEN, 0o604, UsageError, "mode 604"),
        (None, 0o600, InputMissingError, "not there"),
    ],
)
def test_what_is_no_token_is_refused_with_a_remedy(
    tmp_path: Path, text: str | None, mode: int, error: type[TapewrightError], message: str
) -> None:
    path = tmp_path / "token"
    if text is not None:
        written(path, text, mode)
    with pytest.raises(error, match=message) as caught:
        control_token(tmp_path, path)
    assert caught.value.remedy
    assert TOKEN not in str(caught.value)
