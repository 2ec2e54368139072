"""The control socket on real unix sockets: answers, refusals, limits, many clients, frozen ones, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop

from daemon.control.client import ControlClient
from daemon.control.errors import BusyError, RefusedError
from daemon.control.model import (
    Command,
    Flatten,
    Halt,
    Reload,
    Resume,
    SetParams,
    Shutdown,
    StartStrategy,
    Status,
    StopStrategy,
)
from daemon.control.socket_server import ControlSocket, SocketLimits
from daemon.control.stream import EVENTS_MAX, StreamKind
from engine.errors import EXIT_BAD_DATA, EXIT_LOCKED, EXIT_USAGE, InputMissingError
from tests.controls import PlainController, served

COMMANDS: list[Command] = [
    StartStrategy("cross"), StopStrategy("cross"),
    SetParams("cross", {"period": 5, "ratio": 0.5, "on": True, "name": "x"}),
    Flatten(), Flatten("cross", "BTCUSDT"), Halt("too hot"), Resume(), Reload(), Reload("cross"), Shutdown(),
]  # fmt: skip


@asynccontextmanager
async def serving(
    path: Path, limits: SocketLimits | None = None
) -> AsyncIterator[tuple[ControlSocket, PlainController]]:
    """A session that this test's own loop serves."""
    controller = PlainController()
    async with ControlSocket(path, controller, limits or SocketLimits()).running() as server:
        yield server, controller


class Raw:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, line: bytes) -> Any:
        """Send bytes, read an answer."""
        self.writer.write(line)
        return await self.hear()

    async def hear(self) -> Any:
        """An answer, or None at the end."""
        line = await self.reader.readline()
        return json.loads(line) if line else None


@asynccontextmanager
async def raw(path: Path) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def ask(path: Path) -> Status:
    with ControlClient(path) as client:
        return client.status()


async def until(condition: Any) -> None:
    """Wait for what must come."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


def test_a_client_reads_what_the_session_tells(tmp_path: Path) -> None:
    with served(tmp_path / "control.sock") as session, ControlClient(session.path) as client:
        plain = session.controller
        assert client.status() == plain.status()
        assert client.strategies() == plain.strategies()
        assert client.orders() == plain.orders()
        assert client.positions() == plain.positions()


@pytest.mark.parametrize("command", COMMANDS, ids=repr)
def test_commands_arrive_as_they_were_sent(tmp_path: Path, command: Command) -> None:
    with served(tmp_path / "control.sock") as session, ControlClient(session.path) as client:
        result = client.command(command)
        assert (result.seq, result.text) == (1, f"{type(command).__name__} was applied")
        assert session.controller.commands == [command]


@pytest.mark.parametrize(
    ("command", "exit_code", "message", "remedy"),
    [
        (StartStrategy("none"), EXIT_USAGE, "No strategy none", "There are: cross"),
        (SetParams("cross", {"period": 1}), EXIT_USAGE, "period 1 is too small", "Give 2 or more"),
        (Reload("broken"), EXIT_BAD_DATA, "line 3: invalid syntax", "The old code runs on"),
    ],
)
def test_refusals_come_with_message_remedy_and_exit_code(
    tmp_path: Path, command: Command, exit_code: int, message: str, remedy: str
) -> None:
    with served(tmp_path / "control.sock") as session, ControlClient(session.path) as client:
        with pytest.raises(RefusedError, match=message) as caught:
            client.command(command)
        assert caught.value.exit_code == exit_code
        assert remedy in caught.value.remedy
        assert client.status().session == "alpha"  # the connection lives on


@pytest.mark.asyncio
async def test_the_same_serves_on_uvloop(tmp_path: Path) -> None:
    def work() -> None:
        async def converse() -> None:
            path = tmp_path / "control.sock"
            async with serving(path) as (server, controller):
                async with raw(path) as client:
                    assert (await client.say(b'{"ask":"status"}\n'))["result"]["session"] == "alpha"
                    client.writer.write(b'{"ask":"tail"}\n')
                    await until(lambda: controller.broadcast.is_watched)
                    controller.broadcast.publish(StreamKind.LOG, "", "hello")
                    assert (await client.hear())["result"]["value"] == "hello"
                await until(lambda: server.clients_count == 0)
            assert not path.exists()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(converse())

    await asyncio.to_thread(work)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"hello\n", b"{}\n", b"[]\n", b"null\n", b'{"ask":"everything"}\n', b'{"ask":"status","more":1}\n',
     b'{"ask":"command"}\n', b'{"ask":"command","command":{"do":"dance"}}\n', b"\xff\xfe\x00\n",
     b'{"ask":"command","command":{"do":"params","strategy":"cross","params":{"period":[1]}}}\n',
     b'{"ask":"command","command":{"do":"start","strategy":"\xff"}}\n', b"[" * 60_000 + b"\n",
     b'{"z":' + b"[" * 60_000 + b"\n", b'{"ask":"status","z":' + b'{"a":' * 12_000 + b"\n"],
)  # fmt: skip
async def test_garbage_is_refused_and_the_connection_lives_on(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "control.sock"
    async with serving(path) as (_, controller), raw(path) as client:
        problem = (await client.say(garbage))["problem"]
        assert problem["message"].startswith("Not a request")
        assert (problem["exit_code"], bool(problem["remedy"])) == (EXIT_USAGE, True)
        assert (await client.say(b'{"ask":"status"}\n'))["result"]["session"] == "alpha"
        assert controller.commands == []


@pytest.mark.asyncio
async def test_a_request_of_any_size_beyond_the_limit_ends_its_connection_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path) as (server, _), raw(path) as other:
        for size in (65_537, 1_000_000, 20_000_000):
            async with raw(path) as client:
                with contextlib.suppress(ConnectionError):  # the session does not read all of it
                    client.writer.write(b"x" * size)
                    await client.writer.drain()
                with contextlib.suppress(ConnectionError):
                    assert "more than 65,536 bytes" in (await client.hear())["problem"]["message"]
                    assert await client.hear() is None
        assert (await other.say(b'{"ask":"status"}\n'))["result"]["session"] == "alpha"
        await until(lambda: server.clients_count == 1)


@pytest.mark.asyncio
async def test_requests_in_one_packet_are_answered_in_order_and_halves_are_awaited(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path), raw(path) as client:
        client.writer.write(b'{"ask":"status"}\n{"ask":"orders"}\n{"ask":"posi')
        assert (await client.hear())["result"]["pid"] == 4711
        assert (await client.hear())["result"][0]["id"] == 7
        assert (await client.say(b'tions"}\n'))["result"][0]["size"] == "0.039"


@pytest.mark.asyncio
async def test_200_clients_at_once_each_get_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path) as (server, controller):
        counts = []

        async def converse(number: int) -> None:
            async with raw(path) as client:
                for turn in range(5):
                    command = f'{{"ask":"command","command":{{"do":"halt","reason":"{number} {turn}"}}}}\n'
                    assert "result" in await client.say(command.encode())
                counts.append(server.clients_count)
                await until(lambda: len(counts) == 200)

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(converse, number)
        assert max(counts) == 200
        reasons = {command.reason for command in controller.commands if isinstance(command, Halt)}
        assert reasons == {f"{number} {turn}" for number in range(200) for turn in range(5)}
        await until(lambda: server.clients_count == 0)


@pytest.mark.asyncio
async def test_clients_beyond_the_bound_are_told_and_places_become_free(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, SocketLimits(clients_max=2)) as (server, _):
        async with raw(path) as one, raw(path) as two:
            for client in (one, two):
                assert "result" in await client.say(b'{"ask":"orders"}\n')
            async with raw(path) as three:
                assert (await three.hear())["problem"]["exit_code"] == EXIT_LOCKED
                assert await three.hear() is None
            with pytest.raises(RefusedError, match="2 clients are connected"):
                await asyncio.to_thread(ask, path)
        await until(lambda: server.clients_count == 0)
        async with raw(path) as client:
            assert "result" in await client.say(b'{"ask":"orders"}\n')


@pytest.mark.asyncio
async def test_who_says_nothing_or_half_a_request_loses_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, SocketLimits(idle_seconds=0.05)) as (server, _):
        async with raw(path) as silent, raw(path) as slow:
            slow.writer.write(b'{"ask":')
            assert await silent.hear() is None
            assert await slow.hear() is None
        await until(lambda: server.clients_count == 0)


@pytest.mark.asyncio
async def test_who_does_not_read_answers_loses_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, SocketLimits(write_seconds=0.1)) as (server, _):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(path))
            asked = 0
            with contextlib.suppress(ConnectionError):
                while asked < 50_000:
                    with contextlib.suppress(BlockingIOError):
                        client.send(b'{"ask":"status"}\n' * 100)
                        asked += 100
                    await anyio.sleep(0)
                    if asked and server.clients_count == 0:
                        break
            await until(lambda: server.clients_count == 0)
            assert asked < 50_000


@pytest.mark.asyncio
async def test_a_command_that_is_not_applied_in_time_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path, SocketLimits(command_seconds=0.05)) as (_, controller), raw(path) as client:
        controller.command_may_end = anyio.Event()
        problem = (await client.say(b'{"ask":"command","command":{"do":"resume"}}\n'))["problem"]
        assert problem["exit_code"] == EXIT_LOCKED
        assert "It may still be applied" in problem["remedy"]


def test_a_stream_brings_what_happens_and_ends_with_the_session(tmp_path: Path) -> None:
    with served(tmp_path / "control.sock") as session, ControlClient(session.path) as client:

        def publish() -> None:
            session.controller.broadcast.publish(StreamKind.FILL, "7", session.controller.positions()[0])
            session.controller.broadcast.publish(StreamKind.LOG, "", {"event": "ENTER", "other": object})

        session.when_watched(publish)
        stream = client.tail()
        fill, log = next(stream), next(stream)
        session.stop()
        assert list(stream) == []
    assert (fill.kind, fill.key, fill.value["entry_price"]) == (StreamKind.FILL, "7", "63000")
    assert (log.kind, log.value["event"]) == (StreamKind.LOG, "ENTER")
    assert log.value["other"] == "<class 'object'>"  # what has no form in JSON is shown as text


@pytest.mark.asyncio
async def test_a_frozen_reader_costs_a_bounded_buffer_and_the_publisher_nothing(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path) as (server, controller), raw(path) as frozen:
        broadcast = controller.broadcast
        frozen.writer.transport.pause_reading()  # type: ignore[attr-defined]
        frozen.writer.write(b'{"ask":"tail"}\n')
        await until(lambda: broadcast.is_watched)

        async def publish(start: int, stop: int) -> None:
            for number in range(start, stop):
                broadcast.publish(StreamKind.ORDER, str(number), {"number": number, "text": "x" * 200})
                broadcast.publish(StreamKind.BOOK, f"S{number % 20}", number)
                if number % 1000 == 0:
                    await anyio.sleep(0)  # the server runs

        tracemalloc.start()
        try:
            await publish(0, 50_000)
            first = tracemalloc.get_traced_memory()[0]
            await publish(50_000, 100_000)
            second = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert second < 4_000_000  # 100,000 orders of 200 characters are more than 20 MB
        assert second - first < 500_000
        statistics = broadcast.statistics()
        assert statistics.published_count == 200_000
        assert statistics.waiting_count == EVENTS_MAX + 20
        async with raw(path) as other:  # others are answered meanwhile
            assert "result" in await other.say(b'{"ask":"status"}\n')

        frozen.writer.transport.resume_reading()  # type: ignore[attr-defined]
        items = []
        while not items or items[-1]["number"] < 200_000:
            items.append((await frozen.hear())["result"])
        numbers = [item["number"] for item in items if item["kind"] != "dropped"]
        assert numbers == sorted(set(numbers))
        told = sum(item["value"] for item in items if item["kind"] == "dropped")
        orders = [int(item["key"]) for item in items if item["kind"] == "order"]
        assert orders[-EVENTS_MAX:] == list(range(100_000 - EVENTS_MAX, 100_000))
        assert told + len(orders) == 100_000  # nothing is missing that was not told
        last_books = {item["key"]: item["value"] for item in items if item["kind"] == "book"}
        assert last_books == {f"S{each}": 99_980 + each for each in range(20)}
    assert server.clients_count == 0
    assert broadcast.statistics().subscriptions_count == 0


@pytest.mark.asyncio
async def test_a_reader_that_goes_frees_its_place_and_too_many_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path) as (server, controller):
        async with contextlib.AsyncExitStack() as stack:
            for count in range(1, 33):
                reader = await stack.enter_async_context(raw(path))
                reader.writer.write(b'{"ask":"tail"}\n')
                await until(lambda count=count: controller.broadcast.statistics().subscriptions_count == count)
            async with raw(path) as late:
                assert (await late.say(b'{"ask":"tail"}\n'))["problem"]["exit_code"] == EXIT_LOCKED
        await until(lambda: server.clients_count == 0)
        assert controller.broadcast.statistics().subscriptions_count == 0


@pytest.mark.asyncio
async def test_two_servers_on_one_path_and_a_second_start_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path), raw(path) as client:
        with pytest.raises(BusyError, match="runs already") as caught:
            async with serving(path):
                pass
        assert caught.value.exit_code == EXIT_LOCKED
        assert "result" in await client.say(b'{"ask":"status"}\n')
    assert not path.exists()
    async with serving(path):
        assert path.is_socket()


@pytest.mark.asyncio
async def test_a_defect_of_the_session_s_own_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def fail() -> None:
        async with serving(path) as (_, controller), raw(path) as client:
            controller.orders = lambda: 1 // 0  # type: ignore[method-assign, assignment, return-value]
            client.writer.write(b'{"ask":"orders"}\n')
            await anyio.sleep(10)

    with pytest.raises(BaseExceptionGroup) as caught:
        await fail()
    assert caught.group_contains(ZeroDivisionError)
    assert not path.exists()


@pytest.mark.asyncio
async def test_without_descriptors_clients_wait_and_are_then_served(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path), raw(path) as client:
        assert "result" in await client.say(b'{"ask":"orders"}\n')
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket(socket.AF_UNIX) as late:
            used = late.fileno() + 1
            late.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (used, limits[1]))
            try:
                late.connect(str(path))
                late.send(b'{"ask":"orders"}\n')
                await anyio.sleep(0.25)
                assert "result" in await client.say(b'{"ask":"orders"}\n')
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            with anyio.fail_after(5):
                assert b"result" in await asyncio.get_running_loop().sock_recv(late, 4096)


@pytest.mark.asyncio
async def test_the_end_lets_a_command_in_work_be_answered(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with contextlib.AsyncExitStack() as stack:
        client_stack = contextlib.AsyncExitStack()
        _, controller = await stack.enter_async_context(serving(path))
        client = await client_stack.enter_async_context(raw(path))
        controller.command_may_end = anyio.Event()
        client.writer.write(b'{"ask":"command","command":{"do":"shutdown"}}\n')
        await controller.command_waits.wait()
        asyncio.get_running_loop().call_later(0.05, controller.command_may_end.set)
    assert (await client.hear())["result"]["text"] == "Shutdown was applied"
    assert await client.hear() is None
    await client_stack.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_end_leaves_nothing_whoever_is_connected(tmp_path: Path, *, is_cancelled: bool) -> None:
    path = tmp_path / "control.sock"
    clients = contextlib.AsyncExitStack()
    before = len(asyncio.all_tasks())
    with anyio.CancelScope() as scope:
        async with serving(path) as (_, controller):
            idle, tailing, waiting = [await clients.enter_async_context(raw(path)) for _ in range(3)]
            tailing.writer.write(b'{"ask":"tail"}\n')
            controller.command_may_end = anyio.Event()  # never
            waiting.writer.write(b'{"ask":"command","command":{"do":"resume"}}\n')
            await controller.command_waits.wait()
            await until(lambda: controller.broadcast.is_watched)
            if is_cancelled:
                scope.cancel()
                await anyio.sleep_forever()
    assert len(asyncio.all_tasks()) == before
    assert not path.exists()
    assert not controller.broadcast.is_watched
    for client in (idle, tailing, waiting):
        assert await client.hear() is None
    await clients.aclose()
    with pytest.raises(InputMissingError, match="No session listens"):
        ControlClient(path)
