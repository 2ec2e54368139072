"""REST answers that go wrong on the way, or hold other rows than they should: so many of them, then no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from adapters.loopback.faults import FaultKind
from adapters.loopback.sockets import reset_transport

REST_DAMAGES = (
    FaultKind.rest_reset,
    FaultKind.rest_truncated,
    FaultKind.rest_repeating,
    FaultKind.rest_lacking,
)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RestDamage:
    """How many answers of each kind are still to go wrong."""

    def __init__(self) -> None:
        self._left: Counter[FaultKind] = Counter()

    def arm(self, kind: FaultKind, count: int) -> None:
        """So many more go wrong."""
        self._left[kind] += count

    async def answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """What the handler answers, damaged where that is armed."""
        if self._take(FaultKind.rest_reset):
            reset_transport(request.transport)
            return web.Response()
        response = await handler(request)
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes) or response.status != 200:
            return response
        body = response.body
        if body.startswith((b"[[", b"[{")):
            body = self._with_other_rows(body)
        if self._take(FaultKind.rest_truncated):
            return await _break_off(request, body)
        response.body = body
        return response

    def _with_other_rows(self, body: bytes) -> bytes:
        rows: list[Any] = msgspec.json.decode(body)
        if len(rows) > 1 and self._take(FaultKind.rest_repeating):
            middle = len(rows) // 2
            return msgspec.json.encode(rows[:middle] + rows[middle - 1 :])
        if len(rows) > 1 and self._take(FaultKind.rest_lacking):
            third = max(1, len(rows) // 3)
            return msgspec.json.encode(rows[:third] + rows[2 * third : -1])
        return body

    def _take(self, kind: FaultKind) -> bool:
        if self._left[kind] <= 0:
            return False
        self._left[kind] -= 1
        return True


async def _break_off(request: web.Request, body: bytes) -> web.StreamResponse:
    """Half of what the headers promise, then the connection's end."""
    response = web.StreamResponse(headers={"Content-Length": str(len(body)), "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response
