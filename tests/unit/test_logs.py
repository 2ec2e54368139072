"""Logs: one event one line, no secrets, nothing unbounded, and nobody waits for a reader."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from config.daemon_model import LogConfig
from daemon.logs import configure_logs, enter_line, exit_line, get_logger
from daemon.logs.pipeline import Pipeline
from daemon.logs.plain import TEXT_CHARS_MAX, plain, text
from daemon.logs.redaction import HIDDEN, is_secret, redacted, text_redactor
from daemon.logs.rendering import json_line, text_line
from daemon.logs.repeats import TROUBLES_MAX, WINDOW_SECONDS
from daemon.logs.sinks import RotatingFile, Sink
from engine.errors import InputMissingError

FACTS = {"session": "20240808T235415-3f2a", "run": "r1", "mode": "paper"}
JSON = LogConfig(format="json")
ROOT = Path(__file__).parents[2]


def logged(say: Callable[[], None], config: LogConfig = JSON, **more: Any) -> list[dict[str, Any]]:
    """The lines that something logs."""
    stream = io.StringIO()
    with configure_logs(config, **FACTS, stream=stream, **more):
        say()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Kept:
    """An outlet that keeps lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def put(self, line: bytes) -> None:
        """Keep the line."""
        self.lines.append(json.loads(line))


# One line


def test_a_line_is_one_object_that_says_when_where_and_what() -> None:
    before_ns = time.time_ns()
    (line,) = logged(lambda: get_logger("daemon.feeds").info("connected", symbol="BTCUSDT", seq=17, order=3))
    assert list(line) == ["ts", "time", "level", "event", "logger", "session", "run", "mode", "symbol", "seq", "order"]
    assert before_ns <= line["ts"] <= time.time_ns()
    seconds, fraction = divmod(line["ts"], 1_000_000_000)
    assert line["time"] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"
    assert {name: line[name] for name in ("level", "event", "logger", *FACTS)} == {
        "level": "info", "event": "connected", "logger": "daemon.feeds", **FACTS,
    }  # fmt: skip


def test_bound_fields_and_context_are_on_the_line() -> None:
    def say() -> None:
        with structlog.contextvars.bound_contextvars(strategy="ema_cross"):
            get_logger("x").bind(symbol="ETHUSDT").info("signal")

    (line,) = logged(say)
    assert (line["strategy"], line["symbol"]) == ("ema_cross", "ETHUSDT")


def test_a_field_cannot_take_the_place_of_the_line_s_own() -> None:
    (line,) = logged(lambda: get_logger("x").info("a", ts=1, mode="live", level="none"))
    assert (line["ts_"], line["mode_"], line["level_"]) == (1, "live", "none")
    assert (line["mode"], line["level"]) == ("paper", "info")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_left_out(level: str, count: int) -> None:
    def say(log: Any) -> None:
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)(f"of level {name}")

    config = msgspec.structs.replace(JSON, level=level)
    assert len(logged(lambda: say(get_logger("x")), config)) == count
    assert len(logged(lambda: say(logging.getLogger("some.library")), config)) == count


def test_values_of_every_kind_become_json() -> None:
    class Broken:
        def __str__(self) -> str:
            raise LookupError

    fields: dict[str, Any] = {
        "decimal": Decimal("1.50"), "path": Path("a/b"), "nan": float("nan"), "big": 2**70, "raw": b"\xff\x00",
        "int64": np.int64(7), "float64": np.float64(0.5), "struct": LogConfig(), "set": {1}, "pair": ("a", 1),
        "lone": "\ud800", "ends": "\x85\u2028", "keys": {1: None}, "broken": Broken(), "error": ValueError("x"),
    }  # fmt: skip
    (line,) = logged(lambda: get_logger("x").info("a", **(fields | {"numbers": fields.pop("keys")})))
    assert line["decimal"] == "1.50"
    assert line["path"] == "a/b"
    assert line["nan"] == "nan"
    assert line["big"] == str(2**70)
    assert line["raw"] == "\\xff\x00"
    assert (line["int64"], line["float64"], line["set"], line["pair"]) == (7, 0.5, [1], ["a", 1])
    assert line["struct"]["level"] == "info"
    assert line["lone"] == "\\ud800"
    assert line["ends"] == "\\x85\\u2028"
    assert line["numbers"] == {"1": None}
    assert "LookupError" in line["broken"]
    assert line["error"] == "ValueError: x"


def test_nothing_makes_a_line_grow_without_bound() -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep, "b": ["x" * 10_000] * 1000}
    fields = {f"field_{number}": number for number in range(500)}
    (line,) = logged(lambda: get_logger("x").info("e" * 10_000_000, frame=b"z" * 10_000_000, deep=deep, **fields))
    assert len(line["event"]) < TEXT_CHARS_MAX + 50
    assert line["event"].endswith("(10,000,000 characters)")
    assert len(line) < 70
    assert line["fields_left_out"] > 400
    assert len(json.dumps(line)) < 1_000_000


def test_an_exception_is_structured_and_on_one_line() -> None:
    def say() -> None:
        try:
            try:
                _ = {}["apiKey=abc123"]
            except KeyError as error:
                raise ExceptionGroup("several", [ValueError("two\nlines"), OSError(28, "disk full")]) from error
        except ExceptionGroup:
            get_logger("x").exception("recorder failed", path="a.tape")

    (line,) = logged(say)
    assert (line["level"], line["path"]) == ("error", "a.tape")
    told = line["exception"]
    assert told["type"] == "ExceptionGroup"
    assert re.search(r"test_logs\.py:\d+ say$", told["trace"][-1])
    assert told["cause"]["type"] == "KeyError"
    assert "abc123" not in json.dumps(line)
    assert [member["message"] for member in told["members"]] == ["two\nlines", "[Errno 28] disk full"]


def test_trading_lines() -> None:
    assert enter_line(Decimal("64250.10")) == "ENTER at 64250.10"
    assert enter_line(64250.1) == "ENTER at 64250.1"
    assert enter_line(0.00000012) == "ENTER at 0.00000012"
    assert exit_line("64312.4", 0.097) == "EXIT at 64312.4, P&L: 0.10%"
    assert exit_line("1", -0.001) == "EXIT at 1, P&L: 0.00%"
    assert exit_line("1", -12.5) == "EXIT at 1, P&L: -12.50%"


# Text


def test_text_is_for_people_and_cannot_move_their_cursor() -> None:
    render = text_line(colour=False)
    fields = {"ts": 1, "time": "2024-08-08T23:54:15.123456789Z", "level": "warning", "event": "feed \x1b[2J\nis stale",
              "logger": "daemon.feeds", **FACTS, "symbol": "BTCUSDT", "why": "no answer", "count": 2}  # fmt: skip
    line = render(fields).decode()
    assert line.startswith("23:54:15.123 WARNING  feed \\x1b[2J\\nis stale ")
    assert line.endswith('symbol=BTCUSDT  why="no answer"  count=2  (daemon.feeds)\n')
    assert "\x1b" not in line
    assert "\x1b[33m" in text_line(colour=True)(fields).decode()


@pytest.mark.parametrize(("format_", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_a_stream_that_is_no_terminal_gets_json_unless_told_otherwise(format_: str, is_json: bool) -> None:
    stream = io.StringIO()
    config = msgspec.convert({"format": format_}, LogConfig)
    with configure_logs(config, **FACTS, stream=stream):
        get_logger("x").info("a")
    assert stream.getvalue().startswith("{") == is_json
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal, os.fdopen(parent, "rb", buffering=0) as screen:
        with configure_logs(LogConfig(), **FACTS, stream=terminal):
            get_logger("x").error("bad")
        shown = screen.read(4096).decode()
    assert "\x1b[31m" in shown
    assert " bad" in shown


# Other people's loggers


def test_libraries_log_through_the_same_pipeline_once(capsys: pytest.CaptureFixture[str]) -> None:
    own, elsewhere = logging.getLogger("feedhandler"), io.StringIO()
    # As cryptofeed's FeedHandler sets up its logger.
    handler = logging.StreamHandler(elsewhere)
    own.addHandler(handler)
    own.propagate = False
    own.setLevel(logging.WARNING)
    try:
        lines = logged(lambda: own.info("BINANCE: connected token=%s", "abc", extra={"symbol": "BTCUSDT"}))
        assert own.handlers == [handler]
        assert (own.propagate, own.level) == (False, logging.WARNING)
    finally:
        own.removeHandler(handler)
        own.propagate = True
        own.setLevel(logging.NOTSET)
    assert [(line["logger"], line["event"], line["symbol"]) for line in lines] == [
        ("feedhandler", f"BINANCE: connected token={HIDDEN}", "BTCUSDT")
    ]
    assert elsewhere.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_cryptofeed_leaves_no_file_of_its_own(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import logging\n"
        "from config.daemon_model import LogConfig\n"
        "from daemon.logs import configure_logs\n"
        "with configure_logs(LogConfig(format='json'), session='s', run='r', mode='paper'):\n"
        "    import cryptofeed.exchanges.binance_futures\n"
        "    from cryptofeed.connection import LOG\n"
        "    LOG.warning('%s: no message', 'BINANCE')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (line["logger"], line["event"]) == ("feedhandler", "BINANCE: no message")
    assert list(tmp_path.iterdir()) == []


def test_a_record_whose_arguments_do_not_fit_is_logged_all_the_same() -> None:
    (line,) = logged(lambda: logging.getLogger("x").warning("%d of %d", "one"))  # noqa: PLE1206 - on purpose
    assert line["event"] == "%d of %d ('one',)"


def test_warnings_are_logged() -> None:
    def say() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old thing", DeprecationWarning, stacklevel=1)

    (line,) = logged(say)
    assert line["logger"] == "py.warnings"
    assert "old thing" in line["event"]


def test_everything_is_as_before_afterwards() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.is_configured(), logging.getLogger("aiosqlite").level
    logged(lambda: None)
    assert (root.handlers, root.level, structlog.is_configured(), logging.getLogger("aiosqlite").level) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "tapewright-log"]


# Secrets

SECRET_NAMES = ("key", "apiKey", "api_key", "X-MBX-APIKEY", "OK-ACCESS-KEY", "secret", "api_secret", "token",
                "accessToken", "control-token", "Authorization", "signature", "sign", "OK-ACCESS-SIGN", "listenKey",
                "listen_key", "passphrase", "password", "cookie", "Set-Cookie", "private_key", "tokens",
                "credentials")  # fmt: skip
OPEN_NAMES = (
    "symbol",
    "order",
    "monotonic_ns",
    "key_file",
    "token_file",
    "design",
    "author",
    "price",
    "path",
    "seq",
    "tokenised",
)
NAMES = st.sampled_from(SECRET_NAMES).flatmap(
    lambda name: st.sampled_from([name, name.lower(), name.upper(), f"x_{name}", f"venue.{name}"])
)
VALUES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/_-.", min_size=8, max_size=64).map(
    lambda value: f"s3cr3t{value}"
)
AROUND = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\"'"), max_size=30)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_names_that_are_none(name: str) -> None:
    assert not is_secret(name)


@given(NAMES, VALUES, st.integers(0, 3))
def test_a_secret_field_is_hidden_at_every_depth(name: str, value: str, depth: int) -> None:
    event: Any = {name: value, "pairs": [(name, value), [name.encode(), value.encode()]], "symbol": "BTCUSDT"}
    for _ in range(depth):
        event = {"inner": [event]}
    shown = json.dumps(plain(event, redacted))
    assert "s3cr3t" not in shown
    if depth < 2:
        assert "BTCUSDT" in shown


@given(NAMES, VALUES, AROUND, st.sampled_from([
    "{0}={1}", "GET https://api.venue.com/v1/order?symbol=BTCUSDT&{0}={1}&timestamp=1", "{0}%3D{1}", "{{'{0}': '{1}'}}",
    '{{"{0}": "{1}"}}', '{{\\"{0}\\": \\"{1}\\"}}', "{0} = '{1}'", "body {0}={1}, next", "('{0}', b'{1}')",
]))  # fmt: skip
def test_a_secret_in_a_text_is_hidden(name: str, value: str, around: str, form: str) -> None:
    if form == "('{0}', b'{1}')" and not re.fullmatch("(?i)(authorization|(set-)?cookie)", name):
        return
    shown = text(f"{around} {form.format(name, value)} {around}", redacted)
    assert "s3cr3t" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("wss://fstream.binance.com/ws/pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1",
         f"wss://fstream.binance.com/ws/{HIDDEN}"),
        ("https://user:pass@proxy:8080/x", f"https://{HIDDEN}@proxy:8080/x"),
        ("Authorization: Bearer abc.def.ghi", f"Authorization: {HIDDEN}"),
        ("Authorization: Basic dXNlcjpwYXNz", f"Authorization: {HIDDEN}"),
        ("sent Bearer abcdefghij to it", f"sent Bearer {HIDDEN} to it"),
        ("Cookie: a=1; sid=2", f"Cookie: {HIDDEN}"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY----- end", f"{HIDDEN} end"),
        ("-----BEGIN PRIVATE KEY-----\nMHcC", HIDDEN),
        ("unknown key: fee_bps", "unknown key: fee_bps"),
        ("https://api.venue.com/depth?symbol=BTCUSDT&limit=1000", "https://api.venue.com/depth?symbol=BTCUSDT&limit=1000"),
        ("wss://stream/ws/btcusdt@depth", "wss://stream/ws/btcusdt@depth"),
        ("hash 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
         "hash 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("expected size=1, got price=2", "expected size=1, got price=2"),
    ],
)  # fmt: skip
def test_forms_of_secrets(said: str, shown: str) -> None:
    assert redacted(said) == shown


@given(st.text(max_size=200) | NAMES.map(lambda name: f"{name}: {name}={name}"))
def test_what_is_redacted_stays_as_it_is(said: str) -> None:
    assert redacted(redacted(said)) == redacted(said)


@settings(max_examples=30)
@given(VALUES, AROUND)
def test_a_value_that_we_know_never_appears(value: str, around: str) -> None:
    lines = logged(lambda: get_logger("x").info(f"{around}{value}", note=[f"{value}{around}"]), secrets=[value])
    assert value not in json.dumps(lines, ensure_ascii=False)
    assert text_redactor(["short"])("a short text") == "a short text"


def test_redaction_of_a_long_text_takes_time_in_proportion() -> None:
    # With a pattern that starts anew at every character this would be a hundred million steps a line.
    for said in (
        "a" * 1_000_000,
        "key" * 300_000,
        "a.key" * 200_000,
        "=" * 1_000_000,
        "://" * 300_000,
        "bearer " * 100_000,
    ):
        assert len(text(said, redacted)) < TEXT_CHARS_MAX + 100


# The same trouble again


def test_the_same_warning_is_counted_and_told_once_more() -> None:
    now_ns, kept = 0, Kept()
    pipeline = Pipeline([(json_line, kept)], facts=FACTS, clock_ns=lambda: now_ns)
    for number in range(100):
        pipeline.log("x", "warning", {"event": f"retry {number}", "symbol": "BTCUSDT", "attempt": number})
    pipeline.log("x", "warning", {"event": "retry 0", "symbol": "ETHUSDT"})
    pipeline.log("x", "error", {"event": "retry 0", "symbol": "BTCUSDT"})
    pipeline.log("x", "warning", {"event": "retry 0", "symbol": "BTCUSDT", "exc_info": ValueError("other")})
    assert [(line["level"], line["symbol"], line.get("attempt")) for line in kept.lines] == [
        ("warning", "BTCUSDT", 0), ("warning", "ETHUSDT", None), ("error", "BTCUSDT", None),
        ("warning", "BTCUSDT", None),
    ]  # fmt: skip
    kept.lines.clear()
    now_ns = WINDOW_SECONDS * 1_000_000_000
    pipeline.log("x", "info", {"event": "all is well"})
    summary, info = kept.lines
    assert (summary["event"], summary["repeated"], info["event"]) == ("retry 0", 99, "all is well")
    assert summary["ts"] >= summary["repeated_since_ts"]
    pipeline.log("x", "warning", {"event": "retry 101", "symbol": "BTCUSDT"})
    assert kept.lines[-1]["event"] == "retry 101"


def test_a_detail_does_not_make_another_trouble() -> None:
    kept = Kept()
    pipeline = Pipeline([(json_line, kept)], facts=FACTS, clock_ns=lambda: 0)
    for detail in ("NaN", "nan", "Infinity"):
        pipeline.log("x", "warning", {"event": "rejected", "reason": "not a number", "detail": detail})
    pipeline.log("x", "warning", {"event": "rejected", "reason": "off tick", "detail": "NaN"})
    pipeline.flush()
    assert [(line["reason"], line["detail"], line.get("repeated")) for line in kept.lines] == [
        ("not a number", "NaN", None), ("off tick", "NaN", None), ("not a number", "NaN", 2),
    ]  # fmt: skip


def test_what_was_held_back_is_told_at_the_end_and_infos_are_never_held_back() -> None:
    def say() -> None:
        for _ in range(3):
            get_logger("x").warning("stale")
            get_logger("x").info("ENTER at 1")

    lines = logged(say)
    assert [(line["event"], line.get("repeated")) for line in lines] == [
        ("stale", None), ("ENTER at 1", None), ("ENTER at 1", None), ("ENTER at 1", None), ("stale", 2),
    ]  # fmt: skip


def test_troubles_that_are_remembered_are_bounded() -> None:
    pipeline = Pipeline([], facts=FACTS, clock_ns=lambda: 0)
    for number in range(TROUBLES_MAX * 3):
        pipeline.log("x", "warning", {"event": "bad frame", "frame": "x" * number})
        pipeline.log("x", "warning", {"event": "bad", "reason": f"r{number}"})
    assert len(pipeline._repeats) <= TROUBLES_MAX


# Nobody waits


def test_a_reader_that_stands_still_costs_lines_and_no_time() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as read:
        with configure_logs(JSON, **FACTS, stream=stream) as logs:
            # More than pipe and queue hold: if a line waited for the reader, this would never end.
            for number in range(8_000):
                get_logger("x").info("fill", number=number, padding="x" * 1_000)
            lost = logs.counts()["stream"].lost
            assert lost > 1_000
            received: list[bytes] = []
            thread = threading.Thread(target=lambda: received.extend(read))
            thread.start()
            until = time.monotonic() + 10
            while logs.counts()["stream"].written + lost < 8_000:
                assert time.monotonic() < until
                time.sleep(0.01)
            get_logger("x").info("reads again")
        stream.close()
        thread.join(10)
    lines = [json.loads(line) for line in received]
    assert [line["number"] for line in lines if "number" in line] == list(range(8_000 - lost))
    assert [(line["event"], line.get("lost")) for line in lines[-2:]] == [
        ("log lines were lost", lost),
        ("reads again", None),
    ]


def test_closing_ends_though_nobody_reads() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb"), configure_logs(JSON, **FACTS, stream=stream):
        for _ in range(500):
            get_logger("x").info("fill", padding="x" * 1_000)
    assert not [thread for thread in threading.enumerate() if thread.name == "tapewright-log"]


def test_a_reader_that_went_away_is_survived(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        config = LogConfig(format="json", file="logs/tapewright.log")
        with configure_logs(config, **FACTS, stream=stream, folder=tmp_path) as logs:
            for _ in range(10):
                get_logger("x").info("fill")
                time.sleep(0.01)
        assert logs.counts()["stream"].lost >= 10
    lines = [json.loads(line) for line in (tmp_path / "logs" / "tapewright.log").read_bytes().splitlines()]
    assert [line["event"] for line in lines].count("fill") == 10
    # The file says once what became of the stream.
    (trouble,) = [line for line in lines if line["event"] == "log lines cannot be written"]
    assert trouble["exception"]["type"] == "BrokenPipeError"


def test_threads_log_whole_lines() -> None:
    def say() -> None:
        def work(thread: int) -> None:
            for number in range(200):
                get_logger("x").info("work", thread=thread, number=number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lines = logged(say)
    for thread in range(4):
        assert [line["number"] for line in lines if line["thread"] == thread] == list(range(200))


# Files


def written(sink_file: RotatingFile, count: int) -> None:
    with Sink(sink_file, lambda lost: b"lost %d\n" % lost) as sink:
        for number in range(count):
            sink.put(b'{"number":%d,"padding":"%s"}\n' % (number, b"x" * 80))


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "tapewright.log"
    written(RotatingFile(path, bytes_max=5_000, files_kept=3), 400)
    names = ["tapewright.log.3", "tapewright.log.2", "tapewright.log.1", "tapewright.log"]
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(names)
    numbers: list[int] = []
    for name in names:
        data = (path.parent / name).read_bytes()
        assert len(data) <= 5_000
        assert data.endswith(b"\n")
        numbers += [json.loads(line)["number"] for line in data.splitlines()]
    # The last lines, in order, without a hole.
    assert numbers == list(range(400 - len(numbers), 400))
    assert len(numbers) > 100


def test_without_kept_files_the_full_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "tapewright.log"
    written(RotatingFile(path, bytes_max=5_000, files_kept=0), 100)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert json.loads(path.read_bytes().splitlines()[-1])["number"] == 99


def test_a_line_torn_by_a_crash_is_ended_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tapewright.log"
    path.write_bytes(b'{"event":"whole"}\n{"event":"to')
    written(RotatingFile(path, bytes_max=1_000_000, files_kept=3), 1)
    first, torn, last = path.read_bytes().splitlines()
    assert (first, torn) == (b'{"event":"whole"}', b'{"event":"to')
    assert json.loads(last)["number"] == 0


def test_a_disk_that_fails_costs_lines_that_are_told_once_it_works(tmp_path: Path) -> None:
    path = tmp_path / "tapewright.log"
    file = RotatingFile(path, bytes_max=1_000_000, files_kept=3)
    with Sink(file, lambda lost: b"lost %d\n" % lost) as sink:
        # The real device that is always full, in the place of the file.
        path.unlink()
        path.symlink_to("/dev/full")
        file.close()
        for _ in range(3):
            sink.put(b"gone\n")
            wait_for(lambda: sink.counts().written + sink.counts().lost > 0)
        wait_for(lambda: sink.counts().lost == 3)
        path.unlink()
        sink.put(b"first\n")
        wait_for(lambda: sink.counts().written == 1)
        sink.put(b"second\n")
    assert path.read_bytes() == b"first\nlost 3\nsecond\n"


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    config = LogConfig(format="json", file="file/tapewright.log")
    with (
        pytest.raises(InputMissingError, match=r"file/tapewright\.log cannot be opened") as raised,
        configure_logs(config, **FACTS, stream=io.StringIO(), folder=tmp_path),
    ):
        pass
    assert "logs.file" in raised.value.remedy


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)
