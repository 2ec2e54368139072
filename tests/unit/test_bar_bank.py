"""Bars from another folder and from S3: a server of this machine that answers as S3 does, asked by polars itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from adapters.bar_bank import read_bank
from adapters.bar_files import path_of, read_bars, write_bars
from adapters.synthetic_market import synthesize
from daemon.cli import run
from engine.errors import InputMissingError

COUNT = 300_000  # three row groups
CONFIG = "symbols: [BTCUSDT]\ntimeframe: 1m\nend: 2024-01-02\nstrategy: ema_cross\ndata: {bank: BANK}\n"


class Bucket(msgspec.Struct):
    """What lies in the bucket, and what was asked for: paths with the first and last byte, and their signatures."""

    objects: dict[str, bytes]
    asked: list[tuple[str, int, int]]
    signatures: list[str]
    address: str = ""


def handler_of(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    """GET with ranges, and 404 in S3's words."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = bucket.objects.get(self.path.partition("?")[0])
            if found is None:
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
                return
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "bytes=0-"))
            assert asked is not None
            first = int(asked[1]) if asked[1] else max(0, len(found) - int(asked[2]))
            stop = min(len(found), int(asked[2]) + 1) if asked[1] and asked[2] else len(found)
            bucket.asked.append((self.path, first, stop))
            bucket.signatures.append(self.headers.get("Authorization", ""))
            times = {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
            self._send(206, found[first:stop], {"Content-Range": f"bytes {first}-{stop - 1}/{len(found)}", **times})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = path_of(tmp_path_factory.mktemp("bank"), "BTCUSDT", "1m")
    write_bars(path, synthesize("BTCUSDT", "1m", COUNT, 1))
    return path


@pytest.fixture
def bucket(stored: Path) -> Iterator[Bucket]:
    holds = Bucket({"/bars/binance/BTCUSDT_1m.parquet": stored.read_bytes()}, [], [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(holds))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    holds.address = f"http://127.0.0.1:{server.server_port}"
    yield holds
    server.shutdown()
    thread.join()
    server.server_close()


def environment(bucket: Bucket) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": bucket.address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
    }  # fmt: skip


def test_a_range_from_s3_is_the_stored_one_and_no_more_is_fetched(
    bucket: Bucket, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(bucket).items():
        monkeypatch.setenv(name, value)
    whole = read_bars(stored, "BTCUSDT", "1m")
    part = read_bank(tmp_path, "s3://bars/binance/", "BTCUSDT", "1m", int(whole.ts_ns[-1_000]))
    assert part.ts_ns.tolist() == whole.ts_ns[-1_000:].tolist()
    assert part.close.tobytes() == whole.close[-1_000:].tobytes()
    size = len(bucket.objects["/bars/binance/BTCUSDT_1m.parquet"])
    assert all(first > size // 2 for _, first, _ in bucket.asked)  # the last of three row groups, and the footer
    assert all(each.startswith("AWS4-HMAC-SHA256 Credential=mine/") for each in bucket.signatures)
    assert read_bank(tmp_path, "s3://bars/binance", "BTCUSDT", "1m").volume.tobytes() == whole.volume.tobytes()
    with pytest.raises(InputMissingError, match=r"Data file not found: s3://bars/binance/ETHUSDT_1m\.parquet"):
        read_bank(tmp_path, "s3://bars/binance", "ETHUSDT", "1m")


def test_a_backtest_on_a_bucket_is_that_on_the_file(bucket: Bucket, stored: Path, tmp_path: Path) -> None:
    """In a process of its own, as its environment says."""
    hashes = []
    folder = os.path.relpath(stored.parent, tmp_path)
    for bank in ("s3://bars/binance", folder):
        config = tmp_path / "run.yaml"
        config.write_text(CONFIG.replace("BANK", bank))
        done = subprocess.run(
            [sys.executable, "-m", "daemon", "--home", str(tmp_path), "backtest", str(config), "--json"],
            capture_output=True, text=True, check=False, env={**os.environ, **environment(bucket)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        hashes.append(msgspec.json.decode(done.stdout)["hash"])
    assert hashes[0] == hashes[1]
    assert bucket.asked
    stored_texts = [path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not any(b"hunter2" in text for text in stored_texts)


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (["data.bank=nowhere"], 66, "nowhere/BTCUSDT_1m.parquet"),
        (["data.bank=s4://bucket"], 78, "an address such as s3://bucket/folder"),
        (["data.bank=elsewhere", "data.download=missing"], 78, "which stores under the home; give one of them"),
    ],
)
def test_what_is_no_bank(
    settings: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.replace("BANK", "a"))
    options = [word for setting in settings for word in ("--set", setting)]
    assert run(["--home", str(tmp_path), "backtest", str(config), *options]) == code
    assert said in capsys.readouterr().err
