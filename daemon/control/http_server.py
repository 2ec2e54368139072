"""uvicorn in the daemon's event loop: on 127.0.0.1 only, without its signal handlers, ending when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from daemon.control.http import application
from daemon.control.http_gate import Gate
from daemon.control.http_stream import EventStreams
from daemon.control.model import Controller
from engine.errors import UsageError

HOST = "127.0.0.1"
CONNECTIONS_MAX = 128
HEADER_BYTES_MAX = 16_384
REQUEST_SECONDS = 10.0
"""After so long without a request a connection is closed; one that has made some may take twice as long."""
_CLOSING_SECONDS = 1


class _BoundedProtocol(H11Protocol):
    """Ends connections that are too many, or that ask nothing: anybody on this machine can open some."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self.loop.call_later(REQUEST_SECONDS, self._end_silence, None)

    def _end_silence(self, answered: RequestResponseCycle | None) -> None:
        """End a connection that has asked nothing since the last look, at which it had had its answer to `answered`.

        uvicorn's own limit ends with the first byte of a next request, not with its last header.
        """
        cycle: RequestResponseCycle | None = self.cycle  # None until a request has begun, whatever its type says
        if self.transport.is_closing():
            return
        if cycle is None or cycle is answered:
            self.transport.abort()
            return
        self.loop.call_later(REQUEST_SECONDS, self._end_silence, cycle if cycle.response_complete else None)


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to the daemon."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlHttp:
    """Serves a controller over HTTP while `running` lasts. `port` 0: any that is free, told by `port` then."""

    def __init__(self, controller: Controller, *, token: str, port: int, version: str) -> None:
        self.port = port
        self._token = token
        self._streams = EventStreams(controller)
        self._application = application(controller, self._streams, version=version)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ControlHttp]:
        """Listen until the block is left. Raises UsageError where the port is not to be had."""
        with listening(self.port) as listener:
            self.port = listener.getsockname()[1]
            server = _Server(self._config())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_serve, server, listener)
                try:
                    await server.listens.wait()
                    yield self
                finally:
                    self._streams.close()
                    server.should_exit = True

    def _config(self) -> uvicorn.Config:
        gate: Any = Gate(self._application, token=self._token, port=self.port)  # type: ignore[arg-type]
        return uvicorn.Config(
            gate,
            http=_BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )


async def _serve(server: _Server, listener: socket.socket) -> None:
    """Serve until `should_exit`. A cancelled server would leave its connections open, so it ends in its own way."""
    with anyio.CancelScope(shield=True):
        await server.serve([listener])
        for connection in tuple(server.server_state.connections):  # who still does not read
            connection.transport.abort()


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens there; raises UsageError where the port is not to be had."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError as error:
            raise UsageError(
                f"Port {port} of {HOST} cannot be listened on: {error.strerror}",
                remedy="Another program has it, perhaps another session. Choose another control.http_port.",
            ) from None
        yield listener
