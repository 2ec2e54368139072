"""The control socket: requests and answers as lines of JSON, for as many clients as are allowed, each with its limits.

A client that says nothing, does not read its answers or asks too much loses its connection; one that follows the
stream may sleep as long as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import TaskGroup

from daemon.control.answering import answer_of, apply, figures_of, refusal_of
from daemon.control.errors import BusyError
from daemon.control.model import AskCommand, AskTail, Controller, Request
from daemon.control.stream import Subscription
from daemon.control.unix_socket import listening_socket
from engine.errors import TapewrightError, UsageError

_CLOSING_SECONDS = 0.5
_ACCEPT_PAUSE_SECONDS = 0.1
_OUT_OF_SOMETHING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REMEDY = 'Send one JSON object a line, as docs/control.md has them, such as: {"ask": "status"}'
_DECODER = msgspec.json.Decoder(Request)


class SocketLimits(msgspec.Struct, frozen=True):
    """What clients may do. `idle_seconds`: to say something; `write_seconds`: to read an answer."""

    clients_max: int = 256
    request_bytes_max: int = 65_536
    idle_seconds: float = 60.0
    write_seconds: float = 10.0
    command_seconds: float = 30.0


DEFAULT_LIMITS = SocketLimits()


class _GoneError(Exception):
    """The client has gone, or does not read."""


class ControlSocket:
    """Serves a controller at a path while `running` lasts."""

    def __init__(self, path: Path, controller: Controller, limits: SocketLimits = DEFAULT_LIMITS) -> None:
        self.path = path
        self.clients_count = 0
        self._controller = controller
        self._limits = limits
        self._tails: set[Subscription] = set()
        self._busy_count = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ControlSocket]:
        """Listen until the block is left; commands in work may then still be answered, for a moment.

        Raises BusyError where a living process has the path.
        """
        with listening_socket(self.path) as listener:
            accepting = anyio.CancelScope()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._accept, listener, tasks, accepting)
                try:
                    yield self
                finally:
                    accepting.cancel()
                    await self._finish()
                    tasks.cancel_scope.cancel()

    async def _finish(self) -> None:
        for subscription in self._tails:
            subscription.close()
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            while self._busy_count:
                await anyio.sleep(0.005)

    async def _accept(self, listener: socket.socket, tasks: TaskGroup, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                connection = await _accepted(listener)
                if self.clients_count >= self._limits.clients_max:
                    _turn_away(connection, self._limits.clients_max)
                    continue
                self.clients_count += 1
                tasks.start_soon(self._serve, connection)

    async def _serve(self, connection: socket.socket) -> None:
        """One client, from its first request to its end."""
        try:
            reader, writer = await asyncio.open_unix_connection(
                sock=connection, limit=self._limits.request_bytes_max
            )  # fmt: skip
            try:
                with contextlib.suppress(_GoneError):
                    await self._converse(reader, writer)
            finally:
                await _close(writer)
        finally:
            connection.close()
            self.clients_count -= 1

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the client has gone, or follows the stream instead."""
        while True:
            line = await self._read_line(reader, writer)
            try:
                request = _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # nested too deeply
                await self._write(writer, refusal_of(UsageError(f"Not a request: {error}", remedy=_REMEDY)))
                continue
            if isinstance(request, AskTail):
                await self._tail(reader, writer)
                return
            with self._busy():
                await self._write(writer, await self._answer(request))

    async def _read_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The next request; raises _GoneError where none comes."""
        try:
            with anyio.fail_after(self._limits.idle_seconds):
                return await reader.readuntil()
        except asyncio.LimitOverrunError:
            bound = f"A request has more than {self._limits.request_bytes_max:,} bytes"
            await self._write(writer, refusal_of(UsageError(bound, remedy=_REMEDY)))
        except (asyncio.IncompleteReadError, OSError):
            pass
        raise _GoneError

    async def _answer(self, request: Request) -> bytes:
        try:
            match request:
                case AskTail():
                    raise AssertionError(request)
                case AskCommand(command):
                    seconds = self._limits.command_seconds
                    return answer_of(await apply(self._controller, command, seconds=seconds))
                case _:
                    return answer_of(figures_of(self._controller, request))
        except TapewrightError as error:
            return refusal_of(error)

    async def _tail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send the stream until one side ends it."""
        with contextlib.ExitStack() as stack:
            try:
                subscription = stack.enter_context(self._controller.subscribe())
            except TapewrightError as error:
                await self._write(writer, refusal_of(error))
                return
            stack.enter_context(self._busy())
            self._tails.add(subscription)
            stack.callback(self._tails.discard, subscription)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_await_end, reader, tasks.cancel_scope)
                with contextlib.suppress(OSError):
                    while await subscription.wait():
                        await _say(writer, b"".join(answer_of(item) for item in subscription.take()))
                tasks.cancel_scope.cancel()

    async def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        """Send an answer; raises _GoneError where the client does not read it."""
        try:
            with anyio.fail_after(self._limits.write_seconds):
                await _say(writer, line)
        except OSError:  # TimeoutError is one
            raise _GoneError from None

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._busy_count += 1
        try:
            yield
        finally:
            self._busy_count -= 1


async def _accepted(listener: socket.socket) -> socket.socket:
    """The next client; waits where the process has no descriptor left for one."""
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        except OSError as error:
            if error.errno not in _OUT_OF_SOMETHING:
                raise
            await anyio.sleep(_ACCEPT_PAUSE_SECONDS)
        else:
            return connection


async def _say(writer: asyncio.StreamWriter, words: bytes) -> None:
    """Write, and wait while the client reads too slowly; raises OSError where it has gone."""
    if writer.transport.is_closing():  # uvloop's transports raise RuntimeError then, where asyncio's say nothing
        raise ConnectionResetError
    writer.write(words)
    await writer.drain()


async def _await_end(reader: asyncio.StreamReader, scope: anyio.CancelScope) -> None:
    """Cancel once the client has gone; what it says meanwhile is not heard."""
    with contextlib.suppress(OSError):
        while await reader.read(4096):
            pass
    scope.cancel()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Let what was written go out for a moment, then end the connection."""
    writer.close()
    with contextlib.suppress(OSError), anyio.move_on_after(_CLOSING_SECONDS, shield=True):
        await writer.wait_closed()
    writer.transport.abort()


def _turn_away(connection: socket.socket, clients_max: int) -> None:
    """Tell a client that there are too many, as far as that goes without waiting."""
    error = BusyError(f"{clients_max} clients are connected, and no more may be", remedy="Try again in a moment.")
    with connection, contextlib.suppress(OSError):
        connection.settimeout(0)
        connection.send(refusal_of(error))
