"""What tests of faults need: an exchange whose clock and counts can be read, and a strategy that betrays every call.

`venue` runs the exchange in a thread of the test, so that its counters can be read while a daemon, a process of its
own, trades on it. Its market opens with the first websocket: faults are counted from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from adapters.loopback.faults import parse_faults
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.server import ExchangeCounts, ExchangeOptions, LoopbackExchange
from adapters.replay_files import write_code
from daemon.replaying import tape_driver, tape_run
from daemon.session.opening import read_earlier
from engine.bars import NS_PER_SECOND
from engine.kernels import layout
from engine.reading import view_as
from strategies.registry import Registry
from tests.sessions import Daemon, wait_until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC, ETH = 0, 1
CONFIG = """
mode: paper
symbols: [BTCUSDT, ETHUSDT]
timeframe: 1s
strategies: [{name: probe}]
initial_cash: 1000000
leverage: 5
commission: {schedule: venue}
book: {order_latency_ms: 5, response_latency_ms: 5}
paper: {warmup: none, snapshot_seconds: 2}
logs: {format: json}
"""
PROBE = '''
"""Orders at each call that decides, so that orders tell of calls; at a gap it asks for what it may not."""


def schema():
    return {"id": "probe", "name": "Probe", "timer_ms": 50, "inputs": {}}


def ask(ctx):
    lots = ctx.whole_lots(0.02)
    ctx.send_lots(-lots if ctx.position_lots > 0 else lots, tif="IOC")


def on_book(ctx):
    ask(ctx)


def on_print(ctx, _print):
    ask(ctx)


def on_timer(ctx):
    ask(ctx)


def on_bar(ctx, _index):
    ask(ctx)


def on_gap(ctx, _gap):
    lots = ctx.whole_lots(0.02)
    ctx.send_lots(lots if ctx.position_lots >= 0 else -lots, tif="IOC")
'''


class Venue:
    """A loopback exchange in a thread of this process."""

    def __init__(self, exchange: LoopbackExchange, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._loop = loop
        self.rest, self.websocket = exchange.rest_address, exchange.websocket_address

    def settings(self) -> list[str]:
        """What a daemon must be told to use it."""
        return ["--set", f"feed.rest={self.rest}", "--set", f"feed.websocket={self.websocket}"]

    def counts(self) -> ExchangeCounts:
        """What has happened at the exchange."""
        return self._exchange.counts()

    def funding_rate_e12(self, symbol: str, settled: float) -> int:
        """The rate of a settlement (seconds since 1970)."""
        rate = self._exchange._market.boards[symbol].funding.rate(round(settled * 1000))
        return round(float(rate) * 10**12)

    def seconds(self) -> float:
        """Its clock, since the market has opened."""
        return self._exchange.venue_ns() / NS_PER_SECOND

    def ts_ns(self, seconds: float) -> int:
        """Such a time as this host's, ns since 1970; the market has opened."""
        return time.time_ns() - self._exchange.venue_ns() + round(seconds * NS_PER_SECOND)

    def play(self, name: str, argument: str) -> None:
        """Let a fault begin now."""
        (fault,) = parse_faults([f"{name}@{self.seconds():.3f}:{argument}"])
        self._loop.call_soon_threadsafe(self._exchange._start, fault)

    def wait(self, seconds: float) -> None:
        """Wait until its clock shows a time."""
        wait_until(lambda: self.seconds() >= seconds, 120, lambda: f"the venue's clock never came to {seconds} s")


@contextmanager
def venue(*faults: str, settings: SeededSettings | None = None) -> Iterator[Venue]:
    """An exchange with a seeded market: `venue("gap@5", "banned@6:4")`."""
    options = ExchangeOptions(1.0, parse_faults(faults), waits_for_client=True)
    exchange = LoopbackExchange(SeededMarket(settings or SeededSettings(seed=3)), options)
    is_ready, leave = threading.Event(), threading.Event()
    failed: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def play() -> None:
        async with exchange.running():
            loops.append(asyncio.get_running_loop())
            is_ready.set()
            while not leave.is_set():
                await anyio.sleep(0.02)

    def run() -> None:
        try:
            anyio.run(play)
        except BaseException as error:  # the test's thread raises it
            failed.append(error)
            is_ready.set()

    thread = threading.Thread(target=run, name="exchange")
    thread.start()
    try:
        is_ready.wait()
        if not failed:
            yield Venue(exchange, loops[0])
    finally:
        leave.set()
        thread.join()
    if failed:
        raise failed[0]


def daemon_on(
    home: Path, at: Venue, *settings: str, config: str = CONFIG, strategies: dict[str, str] | None = None
) -> Daemon:
    """A daemon at a venue, with strategies in its home by file name (the probe), and settings `name=value`."""
    folder = home / "strategies" / "custom"
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in (strategies or {"probe": PROBE}).items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    arguments = [word for setting in settings for word in ("--set", setting)]
    return Daemon(home, at, config=config, arguments=arguments)


class Lost(msgspec.Struct, frozen=True):
    """A time in which an instrument's book was INVALID: seqs of the first and the last record after which it was."""

    instrument: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int

    @property
    def seconds(self) -> float:
        """How long, by receive times."""
        return (self.last_ns - self.first_ns) / NS_PER_SECOND


class Told(msgspec.Struct, frozen=True):
    """A session as its tape tells it: its records (the first has seq 1), what the engine said, when books were lost."""

    records: NDArray[Any]
    outputs: NDArray[np.int64]
    lost: tuple[Lost, ...]

    def orders(self, instrument: int, first_seq: int, last_seq: int) -> NDArray[Any]:
        """Order rows of an instrument between two records, both included."""
        rows = view_as(self.outputs, layout.ORDER_OUTPUT, layout.ORDER_VIEW)
        return rows[(rows["instrument"] == instrument) & (rows["seq"] >= first_seq) & (rows["seq"] <= last_seq)]

    def fills(self, instrument: int, first_seq: int, last_seq: int) -> NDArray[Any]:
        """Fill rows of an instrument between two records, both included."""
        rows = view_as(self.outputs, layout.FILL_OUTPUT, layout.FILL_VIEW)
        return rows[(rows["instrument"] == instrument) & (rows["seq"] >= first_seq) & (rows["seq"] <= last_seq)]


def told(daemon: Daemon) -> Told:
    """Verify a session, which must be equal, and replay its tape record by record, looking at the books after each."""
    verdict = daemon.verify()
    assert (verdict["equal"], verdict["sound"]) == (True, True)
    earlier = read_earlier(daemon.tape)
    assert earlier is not None
    with tempfile.TemporaryDirectory() as code:
        for each in earlier.code:
            write_code(Path(code), each.id, [each])
        run = tape_run(earlier.reader, earlier.config, Registry(Path(code)))
        driver = tape_driver(run)
    driver.start()
    states, parts = [], []
    for part in run.reading.parts():
        parts.append(part.records.copy())
        for place in range(len(part.records)):
            driver.consume(part.first_seq + place, part.records[place : place + 1])
            states.append(driver.replay.engine.state.books["state"].copy())
    result = driver.finish()
    assert f"{result.hash:016x}" == verdict["replay_hash"]  # cut into single records it says the same
    records = np.concatenate(parts)
    return Told(records, result.outputs, tuple(_lost(records, np.array(states) == layout.BOOK_INVALID_STATE)))


def _lost(records: NDArray[Any], is_invalid: NDArray[np.bool_]) -> Iterator[Lost]:
    times = records["ts_receive_ns"]
    for instrument in range(is_invalid.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], is_invalid[:, instrument].astype(np.int8), [0]))))
        for first, stop in edges.reshape(-1, 2).tolist():
            end = min(stop, len(times) - 1)  # the record that made it valid again
            yield Lost(instrument, first + 1, stop, int(times[first]), int(times[end]))


def assert_nothing_is_decided_while_lost(found: Told) -> None:
    """No order goes out and nothing is filled on a book that is lost.

    The probe orders at every call: an order that was refused would be a call too. The one exception is what it asks at
    the gap itself, which must be refused; what stands before that at the same record happened before the loss.
    """
    for lost in found.lost:
        orders = found.orders(lost.instrument, lost.first_seq, lost.last_seq)
        refused = orders[orders["reason"] == layout.BOOK_INVALID]
        assert set(refused["seq"].tolist()) <= _gaps(found, lost), lost
        sent = orders[(orders["state"] == layout.NEW) & ~np.isin(orders["order_id"], refused["order_id"])]
        if len(refused):
            assert not (sent["order_id"] > refused["order_id"].min()).any(), lost
        assert not (sent["seq"] > lost.first_seq).any(), lost
        assert len(found.fills(lost.instrument, lost.first_seq + 1, lost.last_seq)) == 0, lost


def _gaps(found: Told, lost: Lost) -> set[int]:
    """Seqs at which a strategy is told of a gap while a book is lost: the first, and each GAP of the instrument."""
    records = found.records[lost.first_seq - 1 : lost.last_seq]
    is_gap = (records["kind"] == layout.GAP) & np.isin(records["instrument"], (lost.instrument, layout.ALL_INSTRUMENTS))
    return {lost.first_seq, *(np.flatnonzero(is_gap) + lost.first_seq).tolist()}


def measured(text: str) -> None:
    """A figure for docs/reliability.md: pytest shows it with -s."""
    sys.stdout.write(f"\n  {text}\n")


def lasting(short: float, full: float) -> float:
    """How long a fault lasts: `full` seconds where TAPEWRIGHT_FULL_FAULTS is set, as for docs/reliability.md."""
    return full if os.environ.get("TAPEWRIGHT_FULL_FAULTS") else short


def assert_no_trade_is_missing(found: Told, instruments: int = 2) -> None:
    """The exchange numbers trades one by one: every one from the first to the last is there, once."""
    prints = found.records[found.records["kind"] == layout.PRINT]
    for instrument in range(instruments):
        ids = prints["c"][prints["instrument"] == instrument].tolist()
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def free_port() -> int:
    """A port that nobody has now."""
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def scrape(port: int) -> dict[tuple[str, ...], float]:
    """A daemon's metrics: (name, label values...) to value, `tapewright_` left out."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("tapewright_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def log_seconds(line: dict[str, Any], since_ns: int) -> float:
    """How long after a moment a line of the log was written."""
    return (line["ts"] - since_ns) / NS_PER_SECOND
