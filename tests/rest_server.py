"""A venue for tests of REST: an HTTP server on 127.0.0.1 that does what the test says and remembers who asked when."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RestServer:
    """Answers every address with what `answering` gives; `arrivals` holds (monotonic ns, path and query)."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.arrivals: list[tuple[int, str]] = []
        self.address = ""

    def arrivals_between(self, start_ns: int, end_ns: int) -> list[str]:
        """What was asked in between."""
        return [path for when_ns, path in self.arrivals if start_ns < when_ns < end_ns]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note down and answer."""
        self.arrivals.append((time.monotonic_ns(), request.path_qs))
        return await self.answering(request)


@asynccontextmanager
async def rest_server(answering: Answering) -> AsyncIterator[RestServer]:
    server = RestServer(answering)
    application = web.Application()
    application.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def always(body: bytes = b"{}", status: int = 200, headers: Mapping[str, str] | None = None) -> Answering:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return answer


def in_turn(*answers: Answering) -> Answering:
    """One after the other; the last one goes on for ever."""
    waiting = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)

    return answer
