"""Too much at once, and readers that stand still, against a whole daemon: nothing is lost, and nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio

from adapters.loopback.seeded import SeededSettings
from adapters.metrics.histogram import LATENCY_BOUNDS_SECONDS
from daemon.control.socket_server import ControlSocket
from daemon.control.stream import StreamKind
from daemon.control.token import TOKEN_NAME
from engine.kernels import layout
from tests.controls import PlainController
from tests.faults import (
    Venue,
    assert_no_trade_is_missing,
    daemon_on,
    free_port,
    lasting,
    measured,
    scrape,
    told,
    venue,
)
from tests.sessions import CONFIG, Daemon, end, start, wait_until

BUSY = SeededSettings(seed=3, events_per_second=100)
DRAIN_SECONDS = 10.0
MEGABYTES_MOST = 100.0
_BUCKET = "receive_to_decision_seconds_bucket"


def test_a_burst_loses_nothing_is_drained_and_costs_little_memory(tmp_path: Path) -> None:
    """Ten times as much for a while; then the venue falls silent, so that what it has sent can be counted."""
    port, seconds = free_port(), lasting(8.0, 60.0)
    with venue(f"burst@6:10/{seconds}", settings=BUSY) as at, daemon_on(
        tmp_path / "home", at, f"metrics.port={port}", config=CONFIG
    ) as daemon:  # fmt: skip
        daemon.running().synchronised()
        at.wait(5.9)
        sent, before, most = at.counts().messages, _megabytes(daemon), 0.0
        while at.seconds() < 6 + seconds:
            most = max(most, _megabytes(daemon))
            time.sleep(0.1)
        at.play("stall", "")
        ended = at.seconds()
        wait_until(lambda: _is_drained(at, port), 60, lambda: f"{at.counts()} {scrape(port)}")
        drained = at.seconds() - ended
        most = max(most, _megabytes(daemon))
        rate = (at.counts().messages - sent) / seconds
        measured(f"{rate:,.0f} messages/s for {seconds:.0f} s; drained in {drained:.1f} s; {most - before:+.1f} MB")
        assert rate > 5 * sent / 5.9
        assert drained <= DRAIN_SECONDS
        assert most - before <= MEGABYTES_MOST
        assert at.counts().overflows == 0
        assert daemon.lines.of("disconnected") == []
        daemon.stop()
    found = told(daemon)
    assert_no_trade_is_missing(found)
    assert not (found.records["kind"] == layout.GAP).any()
    assert int((found.records["kind"] == layout.PRINT).sum()) > 100 * seconds


def test_readers_that_stand_still_are_not_noticed_by_the_engine(tmp_path: Path) -> None:
    """With and without them in turn: where the machine is busy with something else, it is so for both."""
    metrics, http = free_port(), free_port()
    settings = [f"metrics.port={metrics}", f"control.http_port={http}"]
    with venue(settings=BUSY) as at, daemon_on(tmp_path / "home", at, *settings) as daemon:
        daemon.running().synchronised()
        at.wait(3.0)
        without, beside = [], []
        for _ in range(2):
            without.append(_quantiles(metrics, 5.0))
            with _frozen_readers(daemon, metrics, http) as tail:
                beside.append(_quantiles(metrics, 5.0))
                lost = _items_lost(tail)
            measured(
                f"p50, p99 without {without[-1]}, with frozen readers {beside[-1]}; one of them missed {lost} items"
            )
            assert lost > 0  # it did stand still, for longer than its buffer lasts
        for place, bounds in enumerate(zip(*without, strict=True)):
            best = min(each[place] for each in beside)
            # Who follows costs something, whether it reads or not; who blocked anybody would cost seconds.
            assert best <= _two_buckets_above(max(bounds)), ("p50", "p99")[place]
        assert daemon.process.poll() is None, daemon.lines.tail()
        assert [strategy["state"] for strategy in daemon.ctl("strategies")] == ["running"]
        daemon.stop()
    found = told(daemon)
    assert_no_trade_is_missing(found)
    assert not (found.records["kind"] == layout.GAP).any()


def _megabytes(daemon: Daemon) -> float:
    pages = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _is_drained(at: Venue, port: int) -> bool:
    """Whether every message that the exchange has sent was heard, decided on and stored."""
    found = scrape(port)
    heard = sum(value for key, value in found.items() if key[0] == "messages_total")
    waiting = sum(value for key, value in found.items() if key[0] == "queue_depth")
    is_stored = found["store_last_seq",] == found["tape_last_seq",] == found["tape_acknowledged_seq",]
    return heard == at.counts().messages and waiting == 0 and is_stored


def _quantiles(port: int, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile of receive to decision over some seconds from now, as upper bounds of buckets."""
    before = _counts(port)
    time.sleep(seconds)
    counts = [after - earlier for after, earlier in zip(_counts(port), before, strict=True)]
    assert counts[-1] > 50 * seconds
    bounds = (*LATENCY_BOUNDS_SECONDS, float("inf"))
    found = [
        next(bound for bound, count in zip(bounds, counts, strict=True) if count >= share * counts[-1])
        for share in (0.5, 0.99)
    ]
    return found[0], found[1]


def _counts(port: int) -> list[float]:
    return [value for key, value in scrape(port).items() if key[0] == _BUCKET]


def _two_buckets_above(bound: float) -> float:
    above = [each for each in LATENCY_BOUNDS_SECONDS if each > bound]
    return above[1] if len(above) > 1 else float("inf")


@contextmanager
def _frozen_readers(daemon: Daemon, metrics: int, http: int) -> Iterator[socket.socket]:
    """A `ctl tail` that is stopped, tails and event streams that nobody reads, half a request for metrics."""
    with ExitStack() as stack:
        tail = start(["--home", str(daemon.home), "ctl", "--session", daemon.name, "tail", "--json"])
        stack.callback(end, tail)
        assert tail.stdout is not None
        tail.stdout.readline()
        tail.send_signal(signal.SIGSTOP)
        stack.callback(tail.send_signal, signal.SIGCONT)
        folder = daemon.tape.parent
        token = (folder / TOKEN_NAME).read_text().strip()
        request = f"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:{http}\r\nAuthorization: Bearer {token}\r\n\r\n"
        for _ in range(3):
            _tcp(stack, http, request.encode())
            _tcp(stack, metrics, b"GET /metr")
            _tcp(stack, metrics, b"")
        yield _unix(stack, folder / "control.sock", b'{"ask":"tail"}\n')


def _tcp(stack: ExitStack, port: int, words: bytes) -> socket.socket:
    found = stack.enter_context(contextlib.closing(socket.socket()))
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", port))
    found.sendall(words)
    return found


def _unix(stack: ExitStack, path: Path, words: bytes) -> socket.socket:
    found = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
    found.connect(str(path))
    found.sendall(words)
    return found


def _items_lost(tail: socket.socket) -> int:
    """Read again, until the stream says how much was dropped meanwhile."""
    tail.settimeout(20)
    with tail.makefile("rb") as lines:
        for line in lines:
            item: dict[str, Any] = json.loads(line)["result"]
            if item["kind"] == "dropped":
                return int(item["value"])
    return 0


def test_a_reader_that_goes_away_while_something_is_published_ends_nothing_but_itself(tmp_path: Path) -> None:
    """Under uvloop it is a RuntimeError to write to who has just gone, and that ended the session."""
    anyio.run(_come_and_go, tmp_path / "control.sock", backend_options={"use_uvloop": True})


async def _come_and_go(path: Path) -> None:
    controller, loop = PlainController(), asyncio.get_running_loop()
    bell, rope = socket.socketpair()

    def publish() -> None:
        controller.broadcast.publish(StreamKind.ORDER, "1", "x")

    def ring() -> None:  # as a message of the feed does it: heard in one turn of the loop, published in the next
        bell.recv(1)
        loop.call_soon(publish)

    with bell, rope:
        loop.add_reader(bell, ring)
        async with ControlSocket(path, controller).running() as control:
            for _ in range(20):
                with anyio.fail_after(10), socket.socket(socket.AF_UNIX) as reader:
                    reader.connect(str(path))
                    reader.sendall(b'{"ask":"tail"}\n')
                    while not controller.broadcast.is_watched:
                        await anyio.sleep(0.001)
                    publish()
                    await anyio.sleep(0.005)  # it has something that it never reads
                    rope.send(b"!")
                    reader.close()  # seen in the same turn of the loop
                    while control.clients_count:
                        await anyio.sleep(0.001)
        loop.remove_reader(bell)
