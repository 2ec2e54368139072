"""The values that a session's logs never show, and the file that a venue's keys come from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from config.daemon_model import ControlConfig, DaemonConfig, FeedConfig, LogConfig
from daemon.cli import run
from daemon.logs import configure_logs, get_logger
from daemon.session.folder import SessionFolder
from daemon.session.venue import keys_of, secrets_of, session_token
from engine.errors import EXIT_BAD_DATA, DataError, InputMissingError, TapewrightError


def test_keys_and_the_token_are_hidden_wherever_they_appear(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# mine\nkey_id = abcdef123\nkey_secret=s3cr3t/with=signs\n", encoding="utf-8")
    config = DaemonConfig(feed=FeedConfig(key_file="keys"), control=ControlConfig(http_port=8100))
    folder = SessionFolder(tmp_path, "alpha")
    secrets = secrets_of(tmp_path, config, folder)
    token = folder.token.read_text(encoding="ascii").strip()
    assert secrets == ("abcdef123", "s3cr3t/with=signs", token)
    assert secrets_of(tmp_path, config, folder) == secrets
    assert secrets_of(tmp_path, DaemonConfig(), folder) == ()
    stream = io.StringIO()
    with configure_logs(LogConfig(), session="a", run="a", mode="paper", stream=stream, secrets=secrets):
        get_logger("x").info(f"said abcdef123 and {token}", body="(s3cr3t/with=signs)")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["body"]) == ("said [hidden] and [hidden]", "([hidden])")


def test_secrets_of_the_environment_are_read_where_they_are_used_and_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = FeedConfig(key_id="${env:TW_ID}", key_secret="${env:TW_KEY}")
    control = ControlConfig(http_port=8100, token="${env:TW_TOKEN}")
    folder = SessionFolder(tmp_path, "alpha")
    values = {"TW_ID": "abcdef123", "TW_KEY": "s3cr3t/with=signs", "TW_TOKEN": "hunter2-hunter2-hunter2"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert keys_of(tmp_path, feed) == {"key_id": "abcdef123", "key_secret": "s3cr3t/with=signs"}
    assert secrets_of(tmp_path, DaemonConfig(feed=feed, control=control), folder) == tuple(values.values())
    assert not folder.token.exists()
    monkeypatch.setenv("TW_TOKEN", "hunter2")
    with pytest.raises(DataError, match=r"\$\{env:TW_TOKEN\} holds no token of at least 16") as caught:
        session_token(tmp_path, control, folder)
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("TW_TOKEN")
    with pytest.raises(InputMissingError, match="the environment has no TW_TOKEN") as missing:
        session_token(tmp_path, control, folder)
    assert "export TW_TOKEN=" in missing.value.remedy


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, InputMissingError, "cannot be read: No such file"),
        (b"\xff\xfe", DataError, "is no text"),
        (b"", DataError, "has no key_id and no key_secret"),
        (b"key_id: abcdef\nkey_secret: 123456\n", DataError, "has no key_id and no key_secret"),
        (b"key_id = abcdef\nkey_secret =\n", DataError, "has no key_secret"),
    ],
)
def test_a_key_file_without_keys_is_named_but_not_told(
    tmp_path: Path, content: bytes | None, error: type[TapewrightError], said: str
) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(error, match="feed.key_file: .*keys " + said) as caught:
        keys_of(tmp_path, FeedConfig(key_file="keys"))
    assert "key_id = …" in caught.value.remedy
    assert "abcdef" not in str(caught.value)


def test_the_command_refuses_such_a_file_before_it_asks_anybody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").write_bytes(b"\xff")
    config = "mode: paper\nsymbols: [BTCUSDT]\ntimeframe: 1m\nstrategy: ema_cross\nfeed: {key_file: keys}\n"
    (tmp_path / "c.yaml").write_text(config, encoding="utf-8")
    assert run(["--home", str(tmp_path), "run", str(tmp_path / "c.yaml")]) == EXIT_BAD_DATA
    assert "feed.key_file" in capsys.readouterr().err
