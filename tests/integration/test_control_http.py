"""The HTTP interface on a real loopback port: whom it answers, with what, its stream, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
import uvloop

from daemon.control import http_server
from daemon.control.http_server import ControlHttp
from daemon.control.model import Halt, SetParams
from daemon.control.stream import EVENTS_MAX, StreamKind
from engine.errors import EXIT_BAD_DATA, EXIT_USAGE, UsageError
from tests.controls import PlainController

pytestmark = pytest.mark.asyncio

TOKEN = "a-token-of-this-test-alone"
FIGURES = ("/status", "/strategies", "/orders", "/positions")


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[ControlHttp, PlainController]]:
    controller = PlainController()
    async with ControlHttp(controller, token=TOKEN, port=0, version="0.1.0").running() as server:
        yield server, controller


@asynccontextmanager
async def client_of(server: ControlHttp, token: str = TOKEN) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(server.address, headers=headers) as client:
        yield client


async def exchange(server: ControlHttp, request: bytes) -> tuple[int, bytes]:
    """Send bytes, read status and everything up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer


async def until(condition: Any) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


async def test_it_tells_what_the_controller_tells() -> None:
    async with serving() as (server, _), client_of(server) as client:
        answers = {}
        for path in FIGURES:
            async with client.get(path) as answer:
                assert (answer.status, answer.content_type) == (200, "application/json")
                assert answer.headers["Cache-Control"] == "no-store"
                assert not [name for name in answer.headers if name.lower().startswith("access-control")]
                answers[path] = await answer.json()
    assert answers["/status"]["equity"] == "10123.45678901"
    assert answers["/status"]["symbols"][0]["last_message_ms"] == {"l2_book": 12, "trades": 340}
    assert answers["/strategies"][0]["id"] == "cross"
    assert answers["/orders"][0]["price"] == "63999.9"
    assert answers["/positions"][0]["entry_price"] == "63000"


async def test_commands_are_applied_or_refused_with_a_remedy() -> None:
    async with serving() as (server, controller), client_of(server) as client:
        async with client.post("/commands", json={"do": "halt", "reason": "too hot"}) as answer:
            assert answer.status == 200
            assert await answer.json() == {"seq": 1, "text": "Halt was applied"}
        async with client.post(
            "/commands", json={"do": "params", "strategy": "cross", "params": {"period": 9, "on": True, "a": "b"}}
        ) as answer:
            assert answer.status == 200
        async with client.post("/commands", json={"do": "start", "strategy": "none"}) as answer:
            assert (answer.status, answer.content_type) == (400, "application/problem+json")
            assert await answer.json() == {
                "title": "Bad Request", "status": 400, "detail": "No strategy none", "remedy": "There are: cross",
            }  # fmt: skip
        async with client.post("/commands", json={"do": "reload", "strategy": "broken"}) as answer:
            problem = await answer.json()
            assert (answer.status, problem["exit_code"]) == (422, EXIT_BAD_DATA)
        assert controller.commands == [Halt("too hot"), SetParams("cross", {"period": 9, "on": True, "a": "b"})]


async def test_what_is_no_command_is_a_bad_request() -> None:
    bodies = [b"", b"{", b"null", b"[]", b'"halt"', b'{"do":"dance"}', b'{"do":"halt"}', b'{"do":"halt","reason":1}',
              b"\xff", b'{"do":"halt","reason":"\xff"}', b'{"do":"resume","more":1}', b"[" * 60_000]  # fmt: skip
    async with serving() as (server, controller), client_of(server) as client:
        for body in bodies:
            async with client.post("/commands", data=body, headers={"Content-Type": "application/json"}) as answer:
                problem = await answer.json()
                assert (body[:20], answer.status, problem["status"]) == (body[:20], 400, 400)
                assert problem.get("exit_code", EXIT_USAGE) == EXIT_USAGE
                assert problem["detail"]
                assert problem["remedy"]
        assert controller.commands == []


async def test_other_paths_and_methods_are_problems_too() -> None:
    async with serving() as (server, _), client_of(server) as client:
        for method, path, status in (
            ("GET", "/nothing", 404), ("POST", "/status", 405), ("PUT", "/commands", 405), ("GET", "/commands", 405),
        ):  # fmt: skip
            async with client.request(method, path) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json")
                assert (await answer.json())["remedy"].startswith("GET /schema")


async def test_nothing_is_told_without_the_token() -> None:
    wrong = [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN,
             f"Bearer {TOKEN.upper()}", "Bearer \xe9\xe9"]  # fmt: skip
    async with serving() as (server, _):
        for authorization in wrong:
            line = b"" if authorization is None else f"Authorization: {authorization}\r\n".encode("latin-1")
            for path in (*FIGURES, "/stream", "/schema", "/schema/openapi.json", "/commands", "/nothing", "//health"):
                request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode() + line + b"\r\n"
                status, answer = await exchange(server, request)
                assert (path, authorization, status) == (path, authorization, 401)
                assert b"www-authenticate: bearer" in answer.lower()
                assert b"64000" not in answer
                assert TOKEN.encode() not in answer


async def test_two_tokens_are_none() -> None:
    async with serving() as (server, _):
        for tokens in (("wrong", TOKEN), (TOKEN, "wrong"), (TOKEN, TOKEN)):
            lines = "".join(f"Authorization: Bearer {token}\r\n" for token in tokens)
            request = f"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n"
            assert (await exchange(server, request.encode()))[0] == 401


async def test_the_host_header_must_name_this_machine() -> None:
    async with serving() as (server, _):
        known = ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "127.0.0.1"]
        foreign = ["evil.example", "evil.example:PORT", "127.0.0.1:1", "127.0.0.1.evil.example:PORT", "localhost.:PORT",
                   "[::1]:PORT", "0.0.0.0:PORT", "user@127.0.0.1:PORT", ""]  # fmt: skip
        rest = f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        for host in known + foreign:
            told = host.replace("PORT", str(server.port))
            for path in ("/status", "/health"):
                request = f"GET {path} HTTP/1.1\r\nHost: {told}\r\n{rest}"
                status, _ = await exchange(server, request.encode())
                assert (host, status) == (host, 200 if host in known else 421)


async def test_an_origin_must_be_the_one_that_is_asked() -> None:
    async with serving() as (server, controller), client_of(server) as client:
        own = ["http://127.0.0.1:PORT", "HTTP://127.0.0.1:PORT"]
        foreign = ["http://localhost:PORT", "https://127.0.0.1:PORT", "http://127.0.0.1:1", "http://127.0.0.1",
                   "http://evil.example", "null", ""]  # fmt: skip
        for origin in own + foreign:
            headers = {"Origin": origin.replace("PORT", str(server.port))}
            async with client.post("/commands", json={"do": "resume"}, headers=headers) as answer:
                assert (origin, answer.status) == (origin, 200 if origin in own else 403)
        assert len(controller.commands) == len(own)


async def test_a_preflight_of_a_foreign_page_gets_nothing() -> None:
    async with serving() as (server, _), client_of(server, token="") as client:
        headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        async with client.options("/commands", headers=headers) as answer:
            assert answer.status == 403
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_health_needs_no_token_and_tells_nothing() -> None:
    async with serving() as (server, _), client_of(server, token="") as client, client.get("/health") as answer:
        assert answer.status == 200
        assert await answer.json() == {"health": "ok"}


async def test_a_body_beyond_the_limit_is_refused_whether_it_says_its_length_or_not() -> None:
    async with serving() as (server, controller), client_of(server) as client:
        body = json.dumps({"do": "halt", "reason": "x" * 70_000}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 10_000):
                yield body[start : start + 10_000]

        for data in (body, chunks()):
            async with client.post("/commands", data=data, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 413
                assert (await answer.json())["status"] == 413
        assert controller.commands == []
        async with client.get("/status") as answer:
            assert answer.status == 200


async def test_the_schema_describes_every_path_and_command() -> None:
    async with serving() as (server, _), client_of(server) as client:
        for path in ("/schema", "/schema/openapi.json"):
            async with client.get(path) as answer:
                assert answer.status == 200
                schema = json.loads(await answer.text())
    assert set(schema["paths"]) == {*FIGURES, "/health", "/commands", "/stream"}
    text = json.dumps(schema)
    for name in ("StartStrategy", "StopStrategy", "SetParams", "Flatten", "Halt", "Resume", "Reload", "Shutdown"):
        assert name in text
    assert schema["security"] == [{"token": []}]
    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    halt = next(each for name, each in schema["components"]["schemas"].items() if name.endswith("Halt"))
    assert set(halt["properties"]) >= {"reason", "do"}


async def events_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The items of a stream of server-sent events; each event's name and id must be its item's."""
    event: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            item = json.loads(event["data"])
            assert (event["event"], event["id"]) == (item["kind"], str(item["number"]))
            yield item
            event = {}


async def test_the_stream_brings_events_and_ends_with_the_server() -> None:
    async with contextlib.AsyncExitStack() as stack:
        server, controller = await stack.enter_async_context(serving())
        outer = contextlib.AsyncExitStack()
        client = await outer.enter_async_context(client_of(server))
        answer = await outer.enter_async_context(client.get("/stream"))
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = events_of(answer)
        controller.broadcast.publish(StreamKind.BOOK, "BTC", 1)
        controller.broadcast.publish(StreamKind.BOOK, "BTC", 2)
        controller.broadcast.publish(StreamKind.LOG, "", "two\nlines")
        assert (await anext(events))["value"] == 2
        assert (await anext(events))["value"] == "two\nlines"
    assert [event async for event in events] == []
    assert not controller.broadcast.is_watched
    await outer.aclose()


async def test_too_many_streams_are_refused_and_places_become_free() -> None:
    async with serving() as (server, controller), client_of(server) as client:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(32):
                assert (await stack.enter_async_context(client.get("/stream"))).status == 200
            async with client.get("/stream") as answer:
                assert answer.status == 503
                assert (await answer.json())["remedy"]
        await until(lambda: controller.broadcast.statistics().subscriptions_count == 0)


async def test_a_frozen_reader_of_the_stream_costs_the_publisher_nothing() -> None:
    async with serving() as (server, controller):
        with socket.socket() as frozen:
            frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            frozen.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(frozen, ("127.0.0.1", server.port))
            head = f"GET /stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            await loop.sock_sendall(frozen, head.encode())
            await until(lambda: controller.broadcast.is_watched)
            for number in range(100_000):
                controller.broadcast.publish(StreamKind.ORDER, "", "x" * 200)
                if number % 1000 == 0:
                    await anyio.sleep(0)
            statistics = controller.broadcast.statistics()
            assert statistics.waiting_count == EVENTS_MAX
            assert statistics.dropped_count > 50_000
            async with client_of(server) as client, client.get("/status") as answer:
                assert answer.status == 200
        await until(lambda: not controller.broadcast.is_watched)


async def test_a_port_that_is_taken_is_named() -> None:
    async with serving() as (server, _):
        second = ControlHttp(PlainController(), token=TOKEN, port=server.port, version="0.1.0")
        with pytest.raises(UsageError, match=f"Port {server.port}") as caught:
            async with second.running():
                pass
        assert "control.http_port" in caught.value.remedy


async def test_signals_stay_the_daemon_s() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        async with serving() as (server, _), client_of(server) as client:
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: heard)
            await anyio.sleep(0.25)  # uvicorn looks every 0.1 s whether it should end
            async with client.get("/status") as answer:
                assert answer.status == 200
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_end_leaves_nothing_whoever_is_connected(*, is_cancelled: bool) -> None:
    before = len(asyncio.all_tasks())
    sockets: list[socket.socket] = []
    with anyio.CancelScope() as scope:
        async with serving() as (server, controller):
            for head in (
                "",
                "GET /status HT",
                f"GET /stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            ):
                sockets.append(socket.create_connection(("127.0.0.1", server.port)))
                sockets[-1].sendall(head.encode())
            await until(lambda: controller.broadcast.is_watched)
            controller.broadcast.publish(StreamKind.LOG, "", "x" * 20_000_000)  # more than the kernel keeps
            if is_cancelled:
                scope.cancel()
                await anyio.sleep_forever()
    await anyio.sleep(0)
    assert len(asyncio.all_tasks()) == before
    assert not controller.broadcast.is_watched
    for each in sockets:
        each.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


async def test_connections_that_ask_nothing_or_are_too_many_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "CONNECTIONS_MAX", 3)
    async with serving() as (server, _):
        opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(10)]
        for reader, writer in opened:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        async with client_of(server) as client, client.get("/status") as answer:
            assert answer.status == 200


async def test_a_next_request_that_never_ends_its_headers_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.2)
    async with serving() as (server, controller), client_of(server) as client, client.get("/stream") as stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        with anyio.fail_after(5):
            assert (await reader.read()).count(b"HTTP/1.1 200") == 1
        writer.close()
        controller.broadcast.publish(StreamKind.LOG, "", "an answer that goes on is no silence")
        assert (await anext(events_of(stream)))["value"] == "an answer that goes on is no silence"


async def test_what_nobody_expected_ends_the_request_alone_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (server, controller), client_of(server) as client:
        controller.orders = lambda: 1 // 0  # type: ignore[method-assign, assignment, return-value]
        with caplog.at_level(logging.ERROR):
            async with client.get("/orders") as answer:
                assert answer.status == 500
                assert "division" not in await answer.text()
        assert "ZeroDivisionError" in caplog.text
        async with client.get("/status") as answer:
            assert answer.status == 200


async def test_what_is_no_http_ends_its_connection_alone() -> None:
    async with serving() as (server, _):
        for garbage in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET /status HTTP/1.1\r\nX: " + b"y" * 100_000):
            with contextlib.suppress(ConnectionError):
                assert (await exchange(server, garbage))[0] == 400
        async with client_of(server) as client, client.get("/status") as answer:
            assert answer.status == 200


async def test_the_same_serves_on_uvloop() -> None:
    def work() -> None:
        async def converse() -> None:
            async with serving() as (server, _), client_of(server) as client, client.get("/status") as answer:
                assert answer.status == 200

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(converse())

    await asyncio.to_thread(work)
