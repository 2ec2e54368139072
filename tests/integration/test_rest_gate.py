"""The gate on real sockets: who bans is left alone, who fails is asked again, and nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest
from aiohttp import web

from adapters.loopback.faults import parse_faults
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.server import ExchangeOptions, LoopbackExchange
from adapters.rest_gate import GateLimits, HostStatistics, RestAnswer, RestGate, RestUnavailableError
from adapters.rest_refusals import refused_seconds, retry_after_seconds
from engine.bars import NS_PER_SECOND
from engine.errors import UsageError
from tests.rest_server import always, in_turn, rest_server

pytestmark = pytest.mark.asyncio
QUICK = GateLimits(attempts=3, backoff_seconds=0.02, backoff_seconds_max=0.05, timeout_seconds=5, patience_seconds=10)


@asynccontextmanager
async def gate_of(limits: GateLimits = QUICK, **changes: float) -> AsyncIterator[RestGate]:
    values = {name: getattr(limits, name) for name in limits.__struct_fields__} | changes
    async with RestGate(GateLimits(**values)) as gate:
        yield gate


async def many(gate: RestGate, addresses: list[str]) -> list[RestAnswer | RestUnavailableError]:
    """What becomes of requests made at the same time."""
    found: list[RestAnswer | RestUnavailableError] = []

    async def one(address: str) -> None:
        try:
            found.append(await gate.get(address))
        except RestUnavailableError as error:
            found.append(error)

    async with anyio.create_task_group() as tasks:
        for address in addresses:
            tasks.start_soon(one, address)
    return found


def only(gate: RestGate) -> HostStatistics:
    (statistics,) = gate.statistics()
    return statistics


async def test_an_answer_has_its_body_headers_and_times() -> None:
    async with rest_server(always(b"[1]", headers={"X-Said": "so"})) as server, gate_of() as gate:
        before_ns = time.monotonic_ns()
        answer = await gate.get(f"{server.address}/a?b=1&c=%26")
        assert (answer.body, answer.headers["x-said"]) == (b"[1]", "so")
        assert before_ns <= answer.sent_ns <= server.arrivals[0][0] <= answer.answered_ns <= time.monotonic_ns()
        assert server.arrivals[0][1] == "/a?b=1&c=%26"
        assert (only(gate).requests, only(gate).in_flight, only(gate).refused) == (1, 0, {})


# -- bans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [418, 429, 503])
async def test_nothing_is_sent_inside_a_ban(status: int) -> None:
    refusal = always(b'{"code":-1003}', status, {"Retry-After": "1"})
    async with rest_server(in_turn(refusal, always())) as server, gate_of() as gate, anyio.create_task_group() as tasks:
        tasks.start_soon(gate.get, f"{server.address}/first")
        while not only_refused(gate):
            await anyio.sleep(0.01)
        banned_ns = time.monotonic_ns()
        assert 0 < only(gate).banned_until_ns - banned_ns <= NS_PER_SECOND
        found = await many(gate, [f"{server.address}/{number}" for number in range(12)])
        assert all(isinstance(each, RestAnswer) for each in found)
        assert server.arrivals_between(server.arrivals[0][0], server.arrivals[0][0] + NS_PER_SECOND) == []
        assert only(gate).refused == {status: 1}
    assert len(server.arrivals) == 14
    assert only(gate).banned_until_ns == 0


def only_refused(gate: RestGate) -> bool:
    return any(statistics.refused for statistics in gate.statistics())


async def test_after_a_ban_one_goes_ahead_alone() -> None:
    """Where the ban goes on one request meets it, not as many as there are places."""
    refusal = always(b"", 429, {"Retry-After": "1"})
    async with rest_server(in_turn(refusal, refusal, always())) as server, gate_of() as gate:
        with pytest.raises(RestUnavailableError):
            await gate.get(f"{server.address}/first", patience_seconds=0)
        await many(gate, [f"{server.address}/{number}" for number in range(8)])
        second_ns = server.arrivals[1][0]
        assert server.arrivals_between(second_ns, second_ns + NS_PER_SECOND) == []


async def test_a_request_that_was_not_sent_yet_is_called_back() -> None:
    """Its connection was still being opened when the ban came; the venue must not see it before the end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    heard: list[int] = []
    ban_ns = 0

    async def serve(connection: socket.socket) -> None:
        with connection:
            while await loop.sock_recv(connection, 4096):
                heard.append(time.monotonic_ns())
                await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with gate_of() as gate:
        first = asyncio.create_task(gate.get(f"{address}/first"))
        connection, _ = await loop.sock_accept(listener)
        assert await loop.sock_recv(connection, 4096)
        filler = socket.create_connection(listener.getsockname())  # the queue of one is full: who connects now, waits
        second = asyncio.create_task(gate.get(f"{address}/second"))
        await asyncio.sleep(0.2)
        assert only(gate).in_flight == 2
        ban_ns = time.monotonic_ns()
        refusal = b"HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
        await loop.sock_sendall(connection, refusal)
        serving = [asyncio.create_task(serve(connection))]
        await asyncio.sleep(0.1)
        assert (only(gate).in_flight, only(gate).refused) == (0, {429: 1})

        async def accept() -> None:
            while True:
                other, _ = await loop.sock_accept(listener)
                serving.append(asyncio.create_task(serve(other)))

        accepting = asyncio.create_task(accept())
        assert [(await task).body for task in (first, second)] == [b"{}", b"{}"]
        assert len(heard) == 2
        assert min(heard) >= ban_ns + NS_PER_SECOND
    filler.close()
    for task in (accepting, *serving):
        task.cancel()
    await asyncio.gather(accepting, *serving, return_exceptions=True)
    listener.close()


async def test_a_ban_longer_than_the_patience_is_an_error_at_once_and_others_are_not_asked() -> None:
    async with rest_server(always(b"", 418, {"Retry-After": "3600"})) as server, gate_of() as gate:
        first = await many(gate, [f"{server.address}/{number}" for number in range(3)])
        assert all(isinstance(each, RestUnavailableError) for each in first)
        count = len(server.arrivals)
        with pytest.raises(RestUnavailableError, match=r"is banned there for another 3[56]\d\d s") as caught:
            await gate.get(f"{server.address}/later")
        assert caught.value.status == 418
        assert "Let nothing on this host ask" in caught.value.remedy
        assert len(server.arrivals) == count


async def test_another_host_is_not_concerned_by_a_ban() -> None:
    async with (
        rest_server(always(b"", 429, {"Retry-After": "3600"})) as banning,
        rest_server(always()) as other,
        gate_of() as gate,
    ):
        with pytest.raises(RestUnavailableError):
            await gate.get(banning.address)
        assert (await gate.get(other.address)).body == b"{}"


async def test_a_ban_as_a_date_is_held_against_the_venues_own_clock() -> None:
    venue_now = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)  # far from this host's
    headers = {
        "Date": format_datetime(venue_now, usegmt=True),
        "Retry-After": format_datetime(venue_now + timedelta(seconds=1), usegmt=True),
    }
    async with rest_server(in_turn(always(b"", 429, headers), always())) as server, gate_of() as gate:
        await gate.get(server.address)
        waited_ns = server.arrivals[1][0] - server.arrivals[0][0]
        assert NS_PER_SECOND <= waited_ns < 6 * NS_PER_SECOND


RETRY_TABLE = [
    # Retry-After, seconds, why
    ("7", 7.0, "plain seconds"),
    ("0", 1.0, "at least one"),
    (" 12 ", 12.0, "spaces"),
    ("Thu, 01 Jan 1970 00:00:30 GMT", 31.0, "a date, 30 s after the answer's; both are cut to seconds"),
    ("Wed, 31 Dec 1969 00:00:00 GMT", 1.0, "a date that was"),
    ("soon", None, "no number, no date"),
    ("-5", None, "no number"),
    ("", None, "nothing"),
    ("1e3", None, "no whole number"),
    ("٣", None, "digits that are not ASCII"),
]


async def test_retry_after_in_its_forms() -> None:
    date = {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
    for text, seconds, why in RETRY_TABLE:
        assert retry_after_seconds({"Retry-After": text} | date) == seconds, why


BAN_TABLE = [
    # status, Retry-After, refusals before, seconds, why
    (429, "7", 0, 7.0, "as it says"),
    (429, "7", 3, 7.0, "as it says, whatever was before"),
    (429, "soon", 0, 10.0, "unreadable: our own measure"),
    (429, "", 2, 40.0, "longer each time"),
    (429, "", 99, 320.0, "but not for ever"),
    (418, "", 0, 120.0, "a ban"),
    (403, "", 0, 600.0, "a firewall's"),
    (418, "999999999999999999999", 0, 259_200.0, "three days is the longest ban there is"),
    (503, "", 0, 0.0, "broken, but not angry"),
    (503, "3", 0, 3.0, "broken until then"),
    (404, "3", 0, 0.0, "no reason to wait"),
]


async def test_how_long_a_refusal_bans() -> None:
    for status, text, before, seconds, why in BAN_TABLE:
        assert refused_seconds(status, {"Retry-After": text}, before) == seconds, why


# -- weight ---------------------------------------------------------------------------------------------------------


async def test_weight_of_our_own_is_kept_within_the_budget() -> None:
    async with rest_server(always()) as server, gate_of(weight_per_minute=50, patience_seconds=1) as gate:
        for _ in range(5):
            await gate.get(server.address, weight=10)
        with pytest.raises(RestUnavailableError, match=r"no weight left there for another (59|60) s"):
            await gate.get(server.address, weight=1)
        assert (len(server.arrivals), only(gate).used_weight) == (5, 50)


async def test_a_request_heavier_than_the_whole_budget_is_possible_once() -> None:
    async with rest_server(always()) as server, gate_of(weight_per_minute=50, patience_seconds=1) as gate:
        await gate.get(server.address, weight=1000)
        with pytest.raises(RestUnavailableError, match="no weight left"):
            await gate.get(server.address)


async def test_weight_that_the_venue_counts_is_waited_for_to_the_end_of_its_minute() -> None:
    headers = {"X-MBX-USED-WEIGHT-1m": "1199", "Date": "Thu, 01 Jan 1970 00:00:58 GMT"}
    async with rest_server(in_turn(always(headers=headers), always())) as server, gate_of() as gate:
        await gate.get(server.address)
        assert only(gate).used_weight == 1199
        await gate.get(server.address)
        assert only(gate).used_weight == 1200
        await gate.get(server.address)
        first_ns, second_ns, third_ns = (when_ns for when_ns, _ in server.arrivals)
        assert second_ns - first_ns < NS_PER_SECOND < 2 * NS_PER_SECOND <= third_ns - first_ns + NS_PER_SECOND // 100


async def test_no_more_are_in_flight_than_allowed() -> None:
    running = most = 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.03)
        running -= 1
        return web.Response()

    async with rest_server(count) as server, gate_of(in_flight=3) as gate:
        await many(gate, [f"{server.address}/{number}" for number in range(12)])
        assert (most, len(server.arrivals)) == (3, 12)


# -- what goes wrong ------------------------------------------------------------------------------------------------


async def test_broken_answers_are_asked_for_again() -> None:
    broken = always(b"try later", 502)
    async with rest_server(in_turn(broken, broken, always(b"at last"))) as server, gate_of() as gate:
        assert (await gate.get(server.address)).body == b"at last"
        assert (only(gate).requests, only(gate).retries, only(gate).refused) == (3, 2, {502: 2})


async def test_what_stays_broken_is_an_error_with_address_status_and_remedy() -> None:
    async with rest_server(always(b"try later", 502)) as server, gate_of() as gate:
        with pytest.raises(RestUnavailableError) as caught:
            await gate.get(f"{server.address}/depth")
        assert caught.value.message == f"{server.address}/depth answered 502 try later"
        assert (caught.value.status, caught.value.address) == (502, f"{server.address}/depth")
        assert "feed.rest" in caught.value.remedy
        assert len(server.arrivals) == QUICK.attempts


async def test_a_wrong_question_is_not_repeated() -> None:
    async with rest_server(always(b'{"code":-1121,"msg":"Invalid symbol."}', 400)) as server, gate_of() as gate:
        with pytest.raises(RestUnavailableError, match=r"answered 400 .*Invalid symbol") as caught:
            await gate.get(server.address)
        assert caught.value.is_lasting
        assert len(server.arrivals) == 1


async def test_a_redirection_is_not_followed() -> None:
    async with rest_server(always()) as other:
        away = always(b"", 302, {"Location": other.address})
        async with rest_server(away) as server, gate_of() as gate:
            with pytest.raises(RestUnavailableError, match=f"answered 302 to {other.address}"):
                await gate.get(server.address)
            assert other.arrivals == []


async def test_a_slow_venue_is_given_up_and_asked_again() -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with rest_server(in_turn(slow, always(b"now"))) as server, gate_of(timeout_seconds=0.3) as gate:
        assert (await gate.get(server.address)).body == b"now"
        assert (only(gate).failures, only(gate).retries) == (1, 1)
    async with rest_server(slow) as server, gate_of(timeout_seconds=0.2, attempts=2) as gate:
        with pytest.raises(RestUnavailableError, match="no answer in time"):
            await gate.get(server.address)
        assert (len(server.arrivals), only(gate).in_flight) == (2, 0)


async def test_a_venue_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with gate_of() as gate:
        with pytest.raises(RestUnavailableError, match="did not answer") as caught:
            await gate.get(f"http://127.0.0.1:{port}/fapi/v1/time")
        assert (caught.value.status, only(gate).failures) == (0, QUICK.attempts)


async def test_what_is_no_http_is_an_error() -> None:
    async def rubbish(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff what is this\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(rubbish, "127.0.0.1", 0)
    async with server, gate_of() as gate:
        with pytest.raises(RestUnavailableError, match="did not answer"):
            await gate.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


async def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with rest_server(in_turn(half, always(b"whole"))) as server, gate_of() as gate:
        assert (await gate.get(server.address)).body == b"whole"


async def test_an_oversized_body_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            return response

    async with rest_server(endless) as server, gate_of(body_bytes_max=1 << 20) as gate:
        with pytest.raises(RestUnavailableError, match="sends more than 1,048,576 bytes"):
            await gate.get(server.address)
        assert len(server.arrivals) == 1
        await asyncio.sleep(0.1)
        assert sent < 32 << 20


async def test_what_is_no_address_is_a_usage_error() -> None:
    async with gate_of() as gate:
        for address in ("127.0.0.1:80/x", "ftp://host/x", "", "http://", "http://[::1"):
            with pytest.raises(UsageError, match="no REST address"):
                await gate.get(address)


# -- cancelling -----------------------------------------------------------------------------------------------------


async def test_cancelled_in_flight_waiting_and_queueing_leaves_nothing() -> None:
    released = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    before = asyncio.all_tasks()
    async with rest_server(slow) as server, gate_of(in_flight=2, timeout_seconds=60) as gate:
        with anyio.move_on_after(0.3) as scope:
            await many(gate, [f"{server.address}/{number}" for number in range(6)])
        assert scope.cancelled_caught
        assert (only(gate).in_flight, only(gate).waiting, only(gate).requests) == (0, 0, 2)
        released.set()
        server.answering = always(b"free again")
        assert [each.body for each in await many(gate, [server.address] * 3)] == [b"free again"] * 3  # type: ignore[union-attr]
        server.answering = always(b"", 429, {"Retry-After": "3"})
        with anyio.move_on_after(0.3):
            await gate.get(server.address)
        assert (only(gate).in_flight, only(gate).waiting, only(gate).refused) == (0, 0, {429: 1})
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# -- the loopback exchange ------------------------------------------------------------------------------------------


@asynccontextmanager
async def exchange_of(*faults: str) -> AsyncIterator[LoopbackExchange]:
    options = ExchangeOptions(faults=parse_faults(faults))
    async with LoopbackExchange(SeededMarket(SeededSettings()), options).running() as exchange:
        await anyio.sleep(0.3)  # the faults have begun
        yield exchange


async def test_the_exchanges_own_weight_is_read() -> None:
    async with exchange_of() as exchange, gate_of() as gate:
        await gate.get(f"{exchange.rest_address}/fapi/v1/depth?symbol=BTCUSDT&limit=1000", weight=20)
        await gate.get(f"{exchange.rest_address}/fapi/v1/time")
        assert only(gate).used_weight in (21, 1)  # 1: a minute of the venue's began between


async def test_the_exchange_that_bans_counts_one_refusal() -> None:
    async with exchange_of("banned@0.1:1.5") as exchange, gate_of() as gate:
        found = await many(gate, [f"{exchange.rest_address}/fapi/v1/ping"])
        assert isinstance(found[0], RestAnswer)
        found = await many(gate, [f"{exchange.rest_address}/fapi/v1/ping"] * 5)
        assert all(isinstance(each, RestAnswer) for each in found)
        assert (exchange.counts().refused_requests, exchange.counts().requests) == (1, 6)


async def test_the_exchange_that_is_broken_or_slow_is_asked_again() -> None:
    async with exchange_of("broken@0.1:1") as exchange, gate_of(attempts=8, backoff_seconds_max=1) as gate:
        assert (await gate.get(f"{exchange.rest_address}/fapi/v1/ping")).body == b"{}"
        assert only(gate).refused[503] >= 1
    async with exchange_of("slow@0.1:1/1.0") as exchange, gate_of(timeout_seconds=0.4, attempts=8) as gate:
        assert (await gate.get(f"{exchange.rest_address}/fapi/v1/ping")).body == b"{}"
        assert only(gate).failures >= 1
