"""`tapewright ctl` through the real command line against a served socket."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli import run
from daemon.commands.ctl import parse_params, parse_value
from daemon.control.client import socket_path
from daemon.control.model import (
    Command,
    Flatten,
    Halt,
    Reload,
    Resume,
    SetParams,
    Shutdown,
    StartStrategy,
    StopStrategy,
)
from daemon.control.stream import StreamKind
from daemon.control.unix_socket import listening_socket
from engine.errors import EXIT_BAD_DATA, EXIT_INPUT_MISSING, EXIT_USAGE, UsageError
from tests.controls import ServedSession, served


@pytest.fixture
def session(tmp_path: Path) -> Iterator[ServedSession]:
    with served(socket_path(tmp_path, "alpha")) as session:
        yield session


def ctl(home: Path, *words: str) -> int:
    """Run `tapewright ctl` with these words: its exit code."""
    return run(["--home", str(home), "ctl", *words])


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("start cross", StartStrategy("cross")),
        ("stop cross", StopStrategy("cross")),
        ("params cross period=5 ratio=-0.5 on=true name=fast", SetParams(
            "cross", {"period": 5, "ratio": -0.5, "on": True, "name": "fast"})),
        ("flatten", Flatten()),
        ("flatten cross", Flatten("cross")),
        ("flatten --symbol BTCUSDT", Flatten("", "BTCUSDT")),
        ("halt", Halt("by hand")),
        ("halt hot", Halt("hot")),
        ("resume", Resume()),
        ("reload", Reload()),
        ("reload cross", Reload("cross")),
        ("shutdown", Shutdown()),
    ],
)  # fmt: skip
def test_each_command_arrives_and_says_what_it_did(
    tmp_path: Path, session: ServedSession, capsys: pytest.CaptureFixture[str], words: str, command: Command
) -> None:
    assert ctl(tmp_path, *words.split()) == 0
    assert session.controller.commands == [command]
    assert capsys.readouterr().out == f"{type(command).__name__} was applied (record 1)\n"
    assert ctl(tmp_path, "--session", "alpha", *words.split(), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"seq": 2, "text": f"{type(command).__name__} was applied"}


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        ("start none", EXIT_USAGE, ("error: No strategy none", "There are: cross")),
        ("params cross period=1", EXIT_USAGE, ("period 1 is too small", "Give 2 or more")),
        ("reload broken", EXIT_BAD_DATA, ("broken.py, line 3", "The old code runs on")),
        ("params cross period", EXIT_USAGE, ("'period' is no parameter", "NAME=VALUE")),
        (f"params cross period={'9' * 5_000}", EXIT_USAGE, ("999… is too large a number", "64 bits")),
        ("params cross ratio=1e999", EXIT_USAGE, ("1e999 is too large a number", "1.7e308")),
        ("stop \udcff", EXIT_USAGE, ("bytes that are no text", "UTF-8")),
        ("halt \udcff", EXIT_USAGE, ("bytes that are no text", "UTF-8")),
        ("tail --only everything", EXIT_USAGE, ("everything is no kind", "order")),
    ],
)
def test_what_is_refused_comes_to_the_terminal_with_its_remedy_and_exit_code(
    tmp_path: Path, session: ServedSession, capsys: pytest.CaptureFixture[str], words: str, code: int,
    parts: tuple[str, ...],
) -> None:  # fmt: skip
    assert ctl(tmp_path, *words.split()) == code
    said = capsys.readouterr()
    assert said.out == ""
    for part in parts:
        assert part in said.err
    assert session.controller.commands == []


def test_tables_show_the_session(tmp_path: Path, session: ServedSession, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for name in ("status", "strategies", "orders", "positions"):
        assert ctl(tmp_path, name) == 0
        shown[name] = capsys.readouterr().out
    for part in ("alpha: paper, running for 1 h 02 min", "equity 10,123.45678901", "drawdown 1.25%", "record 1,234,567",
                 "00112233445566ff", "64,000.15", "l2_book 0.0 s, trades 0.3 s", "recorder"):  # fmt: skip
        assert part in shown["status"]
    assert "HALTED" not in shown["status"]
    assert "period=20" in shown["strategies"]
    assert "BTCUSDT=0.039" in shown["strategies"]
    assert "PARTIAL" in shown["orders"]
    assert "63,999.9" in shown["orders"]
    assert "63,000" in shown["positions"]
    assert ctl(tmp_path, "halt", "too hot [red]") == ctl(tmp_path, "stop", "cross") == 0
    capsys.readouterr()
    assert ctl(tmp_path, "status") == ctl(tmp_path, "strategies") == 0
    out = capsys.readouterr().out
    assert "HALTED: too hot [red]" in out
    assert "cross is stopped: by hand" in out


def test_json_is_what_the_session_told(
    tmp_path: Path, session: ServedSession, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctl(tmp_path, "status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["session"], told["equity"], told["hash"]) == ("alpha", "10123.45678901", "00112233445566ff")
    for name, key in (("strategies", "id"), ("orders", "id"), ("positions", "symbol")):
        assert ctl(tmp_path, name, "--json") == 0
        assert key in json.loads(capsys.readouterr().out)[0]


def test_which_session_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(tmp_path, "status") == EXIT_INPUT_MISSING
    assert "tapewright run CONFIG" in capsys.readouterr().err
    with served(socket_path(tmp_path, "alpha")):
        stale = socket_path(tmp_path, "dead")
        stale.parent.mkdir()
        with listening_socket(stale):
            stale.rename(stale.with_name("kept"))
        stale.with_name("kept").rename(stale)
        assert stale.is_socket()
        assert ctl(tmp_path, "status") == 0
        capsys.readouterr()
        assert ctl(tmp_path, "--session", "dead", "status") == EXIT_INPUT_MISSING
        assert "Running: alpha" in capsys.readouterr().err
        with served(socket_path(tmp_path, "beta")) as beta:
            assert ctl(tmp_path, "halt") == EXIT_USAGE
            err = capsys.readouterr().err
            assert "2 sessions run: alpha, beta" in err
            assert "--session alpha" in err
            assert ctl(tmp_path, "--session", "beta", "halt") == 0
            assert beta.controller.commands == [Halt("by hand")]


@pytest.mark.parametrize("as_json", [False, True])
def test_tail_follows_until_the_session_ends(
    tmp_path: Path, session: ServedSession, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    def publish() -> None:
        broadcast = session.controller.broadcast
        broadcast.publish(StreamKind.BOOK, "BTCUSDT", 1)
        broadcast.publish(StreamKind.ORDER, "7", {"state": "FILLED", "price": 64000.5})
        broadcast.publish(StreamKind.LOG, "", "two\nlines")
        broadcast.close()

    session.when_watched(publish)
    assert ctl(tmp_path, "tail", "--only", "order", "--only", "log", *(["--json"] if as_json else [])) == 0
    lines = capsys.readouterr().out.splitlines()
    if as_json:
        assert [json.loads(line)["kind"] for line in lines] == ["order", "log"]
    else:
        assert lines == ["order    7            state=FILLED price=64000.5", "log                   two | lines"]


def test_a_session_that_dies_while_it_is_asked_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = socket_path(tmp_path, "alpha")
    path.parent.mkdir(parents=True)
    with listening_socket(path) as listener:
        listener.settimeout(5)

        def die() -> None:
            for _ in range(2):  # the look whether it lives, and the command
                connection, _ = listener.accept()
                connection.close()

        thread = threading.Thread(target=die)
        thread.start()
        assert ctl(tmp_path, "status") == EXIT_INPUT_MISSING
        thread.join()
    assert "ended before it answered" in capsys.readouterr().err


def test_an_answer_of_another_version_is_bad_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = socket_path(tmp_path, "alpha")
    path.parent.mkdir(parents=True)
    with listening_socket(path) as listener:
        listener.settimeout(5)

        def answer() -> None:
            listener.accept()[0].close()
            with listener.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b'{"result":{"session":"alpha"}}\n')

        thread = threading.Thread(target=answer)
        thread.start()
        assert ctl(tmp_path, "status") == EXIT_BAD_DATA
        thread.join()
    assert "another version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-5", -5), ("+5", 5), ("007", 7), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("true", True), ("False", False), ("yes", "yes"), ("fast", "fast"), ("", ""), ("nan", "nan"), ("inf", "inf"),
        ("1_000", "1_000"), ("0x10", "0x10"), ('"5"', "5"), ("'true'", "true"), ('"', '"'), ("a=b", "a=b"), ("٣", "٣"),
    ],
)  # fmt: skip
def test_values_are_read_as_they_are_meant(text: str, value: float | bool | str) -> None:
    found = parse_value(text)
    assert (type(found), found) == (type(value), value)
    assert parse_params([f"name={text}"]) == {"name": value}


@pytest.mark.parametrize("words", [["period"], ["=5"], ["a=1", "a=2"]])
def test_what_is_no_parameter_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_params(words)
    assert caught.value.remedy


def test_the_installed_program_asks_a_session_without_loading_what_it_does_not_need(
    tmp_path: Path, session: ServedSession
) -> None:
    code = (
        "import sys\nfrom daemon.cli import run\n"
        "code = run(['--home', sys.argv[1], 'ctl', 'halt', 'by a process', '--json'])\n"
        "heavy = {'numpy', 'numba', 'litestar', 'uvicorn', 'polars', 'cryptofeed'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["seq"] == 1
    assert session.controller.commands == [Halt("by a process")]
