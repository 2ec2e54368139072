"""The HTTP interface: the controller's figures and commands on 127.0.0.1, for a web interface and for scripts.

Litestar makes the routes, the checks of what comes in, and the OpenAPI document; uvicorn serves them in the daemon's
own event loop. Importing this module takes a second: it is for sessions that have `control.http_port`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import Body
from litestar.types import ASGIApp

from daemon.control.answering import apply, encoded, problem_of
from daemon.control.http_gate import HttpProblem
from daemon.control.http_stream import EventStreams
from daemon.control.model import (
    Command,
    CommandResult,
    Controller,
    OrderStatus,
    PositionStatus,
    Status,
    StrategyStatus,
)
from engine.errors import (
    EXIT_BAD_DATA,
    EXIT_CONFIG,
    EXIT_DEFECT,
    EXIT_INPUT_MISSING,
    EXIT_LOCKED,
    EXIT_USAGE,
    TapewrightError,
)

BODY_BYTES_MAX = 65_536
CommandBody = Annotated[Command, Body(media_type=RequestEncodingType.JSON)]
_STATUS_CODES = {
    EXIT_USAGE: 400, EXIT_INPUT_MISSING: 404, EXIT_BAD_DATA: 422, EXIT_CONFIG: 422, EXIT_LOCKED: 503, EXIT_DEFECT: 500,
}  # fmt: skip
_TITLES = {400: "Bad Request", 404: "Not Found", 409: "Conflict", 422: "Unprocessable Content",
           500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip
_log = logging.getLogger(__name__)


class Health(msgspec.Struct, frozen=True):
    """Somebody listens."""

    health: Literal["ok"] = "ok"


def application(controller: Controller, streams: EventStreams, *, version: str) -> Litestar:
    """The routes of a controller; whom they answer is the gate's matter."""

    @get("/health", security=[{}])
    async def health() -> Health:
        """Whether somebody listens; needs no token."""
        return Health()

    @get("/status")
    async def status() -> Status:
        """The session now."""
        return controller.status()

    @get("/strategies")
    async def strategies() -> list[StrategyStatus]:
        """All strategies, in the order of the config."""
        return controller.strategies()

    @get("/orders")
    async def orders() -> list[OrderStatus]:
        """All orders that work."""
        return controller.orders()

    @get("/positions")
    async def positions() -> list[PositionStatus]:
        """All positions that are not flat."""
        return controller.positions()

    @post("/commands", status_code=200)
    async def commands(data: CommandBody) -> CommandResult:
        """Have a command applied; the answer comes once its record is on the tape and the engine has applied it."""
        return await apply(controller, data)

    @get("/stream", media_type="text/event-stream")
    async def stream() -> ASGIApp:
        """What happens from now on, as server-sent events: the kind as the event, a StreamItem as the data."""
        return streams.respond

    handlers = [health, status, strategies, orders, positions, commands, stream]
    return Litestar(
        handlers,
        debug=False,
        pdb_on_exception=False,
        logging_config=None,  # the daemon's own
        openapi_config=_openapi(version),
        request_max_body_size=BODY_BYTES_MAX,
        exception_handlers={
            TapewrightError: _on_refusal,
            HTTPException: _on_http_exception,
            RecursionError: _on_nesting,
            UnicodeDecodeError: _on_bytes,
            Exception: _on_defect,
        },
    )


def _openapi(version: str) -> OpenAPIConfig:
    """The document alone: the pages that show it would load their scripts from the network."""
    return OpenAPIConfig(
        title="Tapewright control",
        version=version,
        path="/schema",
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"token": []}],
    )


def _on_refusal(_: Request[Any, Any, Any], error: TapewrightError) -> Response[bytes]:
    told = problem_of(error)
    status = _STATUS_CODES.get(told.exit_code, 409)
    return _response(HttpProblem(_TITLES[status], status, told.message, told.remedy, told.exit_code))


def _on_http_exception(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    title = type(error).__name__.removesuffix("Exception")
    extra = error.extra if isinstance(error.extra, list) else []
    details = [str(each.get("message", each)) if isinstance(each, Mapping) else str(each) for each in extra]
    remedy = "GET /schema tells what may be asked, and how."
    return _response(HttpProblem(title, error.status_code, ": ".join([error.detail, *details]), remedy))


def _on_nesting(_: Request[Any, Any, Any], __: RecursionError) -> Response[bytes]:
    return _response(HttpProblem(_TITLES[400], 400, "The body is nested too deeply", "Send one command."))


def _on_bytes(_: Request[Any, Any, Any], __: UnicodeDecodeError) -> Response[bytes]:
    return _response(HttpProblem(_TITLES[400], 400, "The request holds bytes that are no text", "Write it in UTF-8."))


def _on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """What no code expected ends the request, not the session: much of what can fail here is not ours."""
    _log.error("A request failed: %s %s", request.method, request.url.path, exc_info=error)
    remedy = "This is a defect of Tapewright. The daemon's log has more."
    return _response(HttpProblem(_TITLES[500], 500, "The request failed", remedy, EXIT_DEFECT))


def _response(problem: HttpProblem) -> Response[bytes]:
    return Response(encoded(problem), status_code=problem.status, media_type="application/problem+json")
