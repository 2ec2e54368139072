"""The websocket side: who is connected, what each asked for, and how a frame reaches them.

Each connection has a bounded queue. At a finite speed a client that lets it overflow is disconnected, as the venue does
it; at full speed the market waits for the slowest client instead.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Collection
from typing import Any

import anyio
import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from adapters.loopback.frames import MARKET_CHANNELS, PUBLIC_CHANNELS, Channel, Frame, wrapped

QUEUE_FRAMES = 20_000
_FULL_SPEED_QUEUE_FRAMES = 500
_MESSAGE_BYTES_MOST = 1 << 16
_STREAMS_MOST = 1_024
ROUTES: dict[str, frozenset[Channel]] = {
    "/stream": frozenset(Channel),
    "/public/stream": PUBLIC_CHANNELS,
    "/market/stream": MARKET_CHANNELS,
}


class _Request(msgspec.Struct, frozen=True):
    """What a client sends."""

    method: str
    params: list[str] = []
    id: int | str | None = None


class Subscriber:
    """One connection: the streams that it asked for, by instrument and channel, and what a fault has silenced."""

    def __init__(
        self, channels: Collection[Channel], transport: Any, queue: MemoryObjectSendStream[bytes], *, is_mute: bool
    ) -> None:
        self.queue = queue
        self.is_mute = is_mute
        self.silent_until_ns = 0.0
        self.channels_until_ns: dict[Channel, float] = {}
        self.close_code: int | None = None
        self._channels = channels
        self._transport = transport
        self._streams: dict[tuple[str, Channel], list[str]] = {}

    def subscribe(self, stream: str) -> None:
        """Take a stream's name; one that there is not is never heard of again, as at the venue."""
        symbol, _, rest = stream.partition("@")
        word = rest.partition("@")[0]
        if word not in list(Channel) or Channel(word) not in self._channels or len(self.names()) >= _STREAMS_MOST:
            return
        names = self._streams.setdefault((symbol.upper(), Channel(word)), [])
        if stream not in names:
            names.append(stream)

    def unsubscribe(self, stream: str) -> None:
        """Take a stream's name back."""
        for names in self._streams.values():
            if stream in names:
                names.remove(stream)

    def names(self) -> list[str]:
        """All streams asked for."""
        return [name for names in self._streams.values() for name in names]

    def streams_of(self, frame: Frame, venue_ns: int) -> list[str]:
        """Under which names a frame goes to this client, now."""
        if self.is_mute or venue_ns < max(self.silent_until_ns, self.channels_until_ns.get(frame.channel, 0)):
            return []
        return self._streams.get((frame.symbol, frame.channel), [])

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        reset_transport(self._transport)

    def finish(self) -> None:
        """End the connection with a TCP FIN and no close frame."""
        self.is_mute = True
        self._transport.close()

    def close(self, code: int) -> None:
        """End the connection cleanly: what is in its queue goes out before."""
        self.is_mute = True
        self.close_code = code
        self.queue.close()


class Hub:
    """All connections. `played_ns` is the venue time of what is played now; `on_connect` hears of each new one."""

    def __init__(self, played_ns: Callable[[], int], on_connect: Callable[[], None], *, is_full_speed: bool) -> None:
        self.subscribers: list[Subscriber] = []
        self.mute_until_ns = 0.0
        self.connections_count = 0
        self.messages_count = 0
        self.overflows_count = 0
        self._played_ns = played_ns
        self._on_connect = on_connect
        self._is_full_speed = is_full_speed

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its opening to its end."""
        socket_response = web.WebSocketResponse(compress=False, max_msg_size=_MESSAGE_BYTES_MOST, timeout=1.0)
        await socket_response.prepare(request)
        limit = _FULL_SPEED_QUEUE_FRAMES if self._is_full_speed else QUEUE_FRAMES
        send, receive = anyio.create_memory_object_stream[bytes](limit)
        is_mute = self._played_ns() < self.mute_until_ns
        subscriber = Subscriber(ROUTES[request.path], request.transport, send, is_mute=is_mute)
        for stream in request.query.get("streams", "").split("/"):
            subscriber.subscribe(stream)
        self.subscribers.append(subscriber)
        self.connections_count += 1
        self._on_connect()
        try:
            with send, receive:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_write, socket_response, subscriber, receive)
                    await self._read(socket_response, subscriber)
                    tasks.cancel_scope.cancel()
        finally:
            self.subscribers.remove(subscriber)
        return socket_response

    async def send(self, frame: Frame) -> None:
        """Give a frame to all who asked for it."""
        venue_ns = self._played_ns()
        for subscriber in tuple(self.subscribers):
            for stream in subscriber.streams_of(frame, venue_ns):
                await self._offer(subscriber, wrapped(stream, frame))

    def stall(self, until_ns: float) -> None:
        """Who is connected hears nothing until then."""
        for subscriber in self.subscribers:
            subscriber.silent_until_ns = until_ns

    def silence(self, channel: Channel, until_ns: float) -> None:
        """Who is connected hears nothing of one channel until then."""
        for subscriber in self.subscribers:
            subscriber.channels_until_ns[channel] = until_ns

    def close_all(self, code: int = WSCloseCode.GOING_AWAY) -> None:
        """End all connections cleanly."""
        for subscriber in tuple(self.subscribers):
            subscriber.close(code)

    async def _offer(self, subscriber: Subscriber, message: bytes) -> None:
        # Who has gone is noticed by its own handler.
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            try:
                subscriber.queue.send_nowait(message)
            except anyio.WouldBlock:
                if not self._is_full_speed:
                    self.overflows_count += 1
                    subscriber.is_mute = True
                    subscriber.reset()
                    return
                await subscriber.queue.send(message)
            self.messages_count += 1

    async def _read(self, socket_response: web.WebSocketResponse, subscriber: Subscriber) -> None:
        """Answer what the client says, until the connection ends."""
        async for message in socket_response:
            if message.type is WSMsgType.TEXT:
                answer = _answer(message.data, subscriber)
                with contextlib.suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
                    subscriber.queue.send_nowait(msgspec.json.encode(answer))


async def _write(
    socket_response: web.WebSocketResponse, subscriber: Subscriber, receive: MemoryObjectReceiveStream[bytes]
) -> None:
    """Send what is in the queue, until the connection ends, or nothing more will come."""
    try:
        async for message in receive:
            await socket_response.send_frame(message, WSMsgType.TEXT)
        if subscriber.close_code is not None:
            await socket_response.close(code=subscriber.close_code)
    except ConnectionError:
        receive.close()


def _answer(text: str, subscriber: Subscriber) -> dict[str, object]:
    """What the venue answers to a message of a client."""
    try:
        request = msgspec.json.decode(text, type=_Request)
    except msgspec.DecodeError:
        return {"error": {"code": 3, "msg": "Invalid JSON"}}
    if request.method == "SUBSCRIBE":
        for stream in request.params:
            subscriber.subscribe(stream)
    elif request.method == "UNSUBSCRIBE":
        for stream in request.params:
            subscriber.unsubscribe(stream)
    elif request.method == "LIST_SUBSCRIPTIONS":
        return {"result": subscriber.names(), "id": request.id}
    else:
        return {"error": {"code": 2, "msg": "Invalid request: unknown method"}, "id": request.id}
    return {"result": None, "id": request.id}


def reset_transport(transport: Any) -> None:
    """End a TCP connection with an RST."""
    found = transport.get_extra_info("socket") if transport is not None else None
    if found is None:
        return
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
