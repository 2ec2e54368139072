"""The stream of outputs as server-sent events.

Written as an ASGI application of its own, so that a reader's buffer lives exactly as long as its connection.
"""

from __future__ import annotations

from typing import Any

import anyio

from daemon.control.answering import encoded
from daemon.control.model import Controller
from daemon.control.stream import StreamItem, Subscription

KEEP_ALIVE_SECONDS = 15.0
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]


class EventStreams:
    """All readers of one HTTP interface."""

    def __init__(self, controller: Controller, *, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> None:
        self._controller = controller
        self._keep_alive_seconds = keep_alive_seconds
        self._subscriptions: set[Subscription] = set()

    async def respond(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002 - the form of ASGI
        """Send the stream until the reader has gone, or `close`. Raises what subscribing raises, before any answer."""
        with self._controller.subscribe() as subscription:
            self._subscriptions.add(subscription)
            try:
                await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS]})
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_await_end, receive, tasks.cancel_scope)
                    await self._send(subscription, send)
                    tasks.cancel_scope.cancel()
            finally:
                self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End all streams."""
        for subscription in self._subscriptions:
            subscription.close()

    async def _send(self, subscription: Subscription, send: Any) -> None:
        await send(_part(b": listening\n\n"))
        is_open = True
        while is_open:
            with anyio.move_on_after(self._keep_alive_seconds) as waiting:
                is_open = await subscription.wait()
            if waiting.cancelled_caught:
                await send(_part(b":\n\n"))
            elif is_open:
                await send(_part(b"".join(_event(item) for item in subscription.take())))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(item: StreamItem) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (item.number, item.kind.value.encode(), encoded(item))


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _await_end(receive: Any, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
