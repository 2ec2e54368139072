"""One websocket of cryptofeed's, opened, subscribed and closed by us: no task of its own, no socket left behind.

cryptofeed builds the connection (its class knows address and subscription); what it does not set is set here: a bound
on frames that wait, on a frame's size, and on how long opening and closing may take.
"""

from __future__ import annotations

import atexit
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from cryptofeed.exceptions import ConnectionClosed as NotOpen
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from adapters.feeds.exchange import Exchange
from adapters.feeds.limits import FeedLimits
from adapters.feeds.supervision import was_reached

_PING_SECONDS = 20.0
_TOO_BIG, _NO_PONG = 1009, 1011
_ORIGIN = re.compile(r"^wss?://[^/]+")
_DETAIL_CHARACTERS = 200
_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ConnectionClosed, NotOpen), "closed"),
    ((InvalidHandshake,), "refused"),
    ((TimeoutError,), "timeout"),
    ((ssl.SSLError,), "tls"),
    ((OSError, EOFError), "reset"),
    ((WebSocketException,), "protocol"),
)
# What ends a connection, or keeps one from being made.
NETWORK_ERRORS = (OSError, WebSocketException, EOFError, NotOpen)


class ExchangeConnection:
    """The websocket of one `Exchange`, which must need exactly one. It is opened as often as is needed.

    `origin` replaces scheme, host and port of the class's address (a loopback exchange, a proxy), `path` comes before
    the rest of it.
    """

    def __init__(self, exchange: Exchange, limits: FeedLimits, *, path: str = "", origin: str = "") -> None:
        self._exchange = exchange
        self._limits = limits
        ((connection, _, _, _),) = exchange.feed.connect()
        # A connection registers itself with atexit, and is never let go.
        atexit.unregister(connection.__del__)
        own_origin = _ORIGIN.match(connection.address)
        assert own_origin is not None, "cryptofeed takes wss addresses only"
        rest = connection.address[own_origin.end() :]
        connection.address = f"{origin.rstrip('/') or own_origin[0]}{path}{rest}"
        connection.ws_kwargs |= {
            "max_queue": limits.queue_frames,
            "max_size": limits.message_bytes_max,
            "open_timeout": limits.connect_seconds,
            "close_timeout": limits.close_seconds,
            "ping_interval": _PING_SECONDS,
            "ping_timeout": _PING_SECONDS,
            "compression": None,
        }
        self.raw = connection
        self.address: str = connection.address.partition("?")[0]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connect; inside, frames can be read. However it is left, the socket is closed after it."""
        websocket: Any = None
        try:
            async with self.raw.connect():
                websocket = self.raw.conn
                yield
        finally:
            if websocket is not None:
                await self._shut(websocket)

    async def subscribe(self, ts_receive_ns: int) -> None:
        """Say who we are, where keys were given, and what we want to hear."""
        exchange = self._exchange
        if exchange.has_keys:
            await exchange.feed.authenticate(self.raw)
            await exchange.open(self.raw, ts_receive_ns)
        else:
            await exchange.open(_Stranger(self.raw, exchange.venue.unsigned), ts_receive_ns)

    def frames(self) -> AsyncGenerator[str | bytes]:
        """What comes, until the connection ends; close it with `aclosing`."""
        frames: AsyncGenerator[str | bytes] = self.raw.read()
        return frames

    async def _shut(self, websocket: Any) -> None:
        """Close politely for a moment, then for good; also where we are being cancelled."""
        with anyio.move_on_after(self._limits.close_seconds, shield=True):
            await websocket.close()
        websocket.transport.abort()
        with anyio.move_on_after(self._limits.close_seconds, shield=True):
            await websocket.wait_closed()


class _Stranger:
    """A connection on which public data are asked for without keys, whatever the class would say."""

    def __init__(self, connection: Any, replacements: tuple[tuple[str, str], ...]) -> None:
        self._connection = connection
        self._replacements = [(re.compile(pattern), text) for pattern, text in replacements]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def write(self, message: str) -> None:
        """Send a message with what a stranger must not say taken out."""
        for pattern, text in self._replacements:
            message = pattern.sub(text, message)
        await self._connection.write(message)


def reason_of(error: BaseException) -> str:
    """Why a connection ended, or was not made: a word of a short list, and the detail."""
    detail = f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS]
    return f"{_word(error)}: {detail}"


def _word(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        sent_code = error.sent.code if error.sent is not None else 0
        if sent_code == _TOO_BIG:
            return "oversized"
        if error.rcvd is None:
            return "silent" if sent_code == _NO_PONG else "reset"
    if not was_reached(error):
        return "unreachable"
    return next((word for kinds, word in _WORDS if isinstance(error, kinds)), "defect")
