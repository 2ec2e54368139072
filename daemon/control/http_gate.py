"""Who may speak to the HTTP interface: this machine, under its own name, with the token.

Any page that a browser on this machine shows can send requests to a loopback port. A foreign page is stopped three
times: its Origin is not ours; a name that it has pointed at 127.0.0.1 is not our Host; it has no token. Nothing here
sends CORS headers, so no page of another origin can read an answer either.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from daemon.control.answering import encoded
from engine.errors import EXIT_USAGE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health"})
"""Told without a token: they tell nothing but that somebody listens."""
_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class HttpProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was refused, as RFC 9457 has it, with what to do about it and the exit code of `tapewright ctl`."""

    title: str
    status: int
    detail: str = ""
    remedy: str = ""
    exit_code: int = EXIT_USAGE


class Gate:
    """An ASGI application before the application: refuses whom it does not know."""

    def __init__(self, application: Asgi, *, token: str, port: int) -> None:
        self._application = application
        self._token = token.encode()
        self._hosts = frozenset(
            host for name in (b"127.0.0.1", b"localhost") for host in (name, b"%b:%d" % (name, port))
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it with a problem."""
        assert scope["type"] == "http"  # the server is told to speak no websockets and no lifespan

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        problem = self._problem(scope["path"], list(scope["headers"]))
        if problem is None:
            await self._application(scope, receive, send_private)
        else:
            await _refuse(problem, send_private)

    def _problem(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> HttpProblem | None:
        found: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            found.setdefault(name.lower(), []).append(value)
        hosts, origins = found.get(b"host", []), found.get(b"origin", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return HttpProblem("Misdirected Request", 421, "The Host header does not name this machine's loopback",
                               "Ask http://127.0.0.1:PORT or http://localhost:PORT.")  # fmt: skip
        if any(origin.lower() != b"http://" + hosts[0].lower() for origin in origins):
            return HttpProblem("Forbidden", 403, "The request comes from a page of another origin",
                               "Only pages that this port itself serves may ask it.")  # fmt: skip
        if path not in OPEN_PATHS and not self._is_known(found.get(b"authorization", [])):
            return HttpProblem("Unauthorized", 401, "The bearer token is missing or wrong",
                               "Send `Authorization: Bearer TOKEN`; docs/control.md says where it is.")  # fmt: skip
        return None

    def _is_known(self, authorizations: list[bytes]) -> bool:
        if len(authorizations) != 1:
            return False
        scheme, _, token = authorizations[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


async def _refuse(problem: HttpProblem, send: Send) -> None:
    body = encoded(problem)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),  # a body that comes is not read
    ]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
