"""An exchange that sends at a fixed rate whatever its client does: a process of its own, for the daemon's benchmarks.

`python -m tests.bench.daemon_load --rate N --seconds S --notes FILE`. Message k is due at the beginning + k / rate on
the host's steady clock, and is sent then or as soon after as may be; a client that is slow is not waited for. The
notes are rows of (kind, id, due ns, sent ns), from which latency is counted, so that no stall hides the next messages.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from pathlib import Path

import numpy as np
from aiohttp import web

from adapters.loopback.rest import RestApi
from adapters.loopback.sockets import ROUTES
from tests.bench.daemon_reel import Reel

HOST = "127.0.0.1"
REEL_FRAMES = 93_000
_LEAD_NS = 1_500_000_000
_NAP_NS = 60_000  # a sleep is that late at most; the rest is spun
_PUBLIC, _MARKET = "/public/stream", "/market/stream"


class Load:
    """The two websockets of a session, and the sending."""

    def __init__(self, rate: int, seconds: float, frames: int) -> None:
        self.reel = Reel(frames, lambda: time.time_ns() // 1_000_000)
        self.interval_ns = round(1e9 / rate)
        self.notes = np.full((round(rate * seconds), 4), -1, dtype=np.int64)
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._both = asyncio.Event()
        self.ended = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One websocket, from its opening to its end."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self._sockets[request.path] = socket
        if request.path == _PUBLIC:
            await self._greet(socket)
        if {_PUBLIC, _MARKET} <= set(self._sockets):
            self._both.set()
        async for _message in socket:
            pass
        self._sockets.pop(request.path, None)
        return socket

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        """Say one message: a feed makes its next connection when it has heard something on the first."""
        while not (said := self.reel.say()).is_public:
            pass
        await socket.send_str(said.text)

    async def send(self) -> None:
        """Send everything in its time; clients that are gone miss it."""
        await self._both.wait()
        begun_ns = time.monotonic_ns() + _LEAD_NS
        await asyncio.sleep(_LEAD_NS / 1e9 - 0.1)
        for k, note in enumerate(self.notes):
            due_ns = begun_ns + k * self.interval_ns
            said = self.reel.say()
            _wait_until(due_ns)
            note[:3] = said.kind, said.number, due_ns
            socket = self._sockets.get(_PUBLIC if said.is_public else _MARKET)
            if socket is not None:
                with contextlib.suppress(ConnectionError):  # it has just gone
                    await socket.send_str(said.text)
            note[3] = time.monotonic_ns()
            await asyncio.sleep(0)
        self.ended.set()


def _wait_until(due_ns: int) -> None:
    """Sleep and spin: an event loop's timers are late by a millisecond."""
    while (left_ns := due_ns - time.monotonic_ns()) > 0:
        if left_ns > _NAP_NS:
            time.sleep((left_ns - _NAP_NS) / 1e9)


async def serve(rate: int, seconds: float, frames: int, notes: Path) -> None:
    """Listen, send, write the notes, and go on answering until the process is ended."""
    load = Load(rate, seconds, frames)
    application = web.Application()
    RestApi(load.reel, lambda: time.time_ns() // 1_000_000).add_to(application.router)  # type: ignore[arg-type]
    for path in ROUTES:
        application.router.add_get(path, load.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    port = int(runner.addresses[0][1])
    _say("listening", rest=f"http://{HOST}:{port}", websocket=f"ws://{HOST}:{port}", source=load.reel.source, port=port)
    await load.send()
    np.save(notes, load.notes)
    _say("sent", messages=len(load.notes))
    await asyncio.Event().wait()


def _say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event} | fields), flush=True)  # noqa: T201


def main() -> None:
    """Run until ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--frames", type=int, default=REEL_FRAMES)
    parser.add_argument("--notes", type=Path, required=True)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.rate, chosen.seconds, chosen.frames, chosen.notes))


if __name__ == "__main__":
    main()
