"""The one way by which anything is asked of a venue by REST.

Venues ban whoever asks too often, and ban longer whoever asks inside a ban. So every request of the process goes
through one gate, which knows of each host how long it wants to hear nothing (429, 418, Retry-After), how much weight
was used in the last minute, and how many requests are under way. Whoever must wait waits here; whoever cannot wait so
long, or gets nothing after some tries, gets one kind of error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random
from types import SimpleNamespace, TracebackType
from typing import Any

import aiohttp
import anyio
import msgspec
from yarl import URL

from adapters.rest_host import Flight, Host, HostStatistics
from adapters.rest_refusals import refused_seconds
from engine.bars import NS_PER_SECOND
from engine.errors import EXIT_UNAVAILABLE, TapewrightError, UsageError

_CHUNK_BYTES = 1 << 16
_WORDS_BYTES = 300  # of a refusal, in an error's text
_USER_AGENT = "tapewright"
_REMEDIES = {
    401: "The venue wants to know who asks there; public data have another address.",
    403: "The venue keeps this host's address out: for a while after too many requests, or for where it is.",
    404: "The venue has no such address. Look at `feed.rest`.",
    418: "The venue has banned this host's address. Let nothing on this host ask until the ban is over.",
    429: "The venue has had too many requests from this host. Look for other programs that ask it.",
    451: "The venue does not answer where this host is.",
}
_REMEDY = "See whether the venue is up and `feed.rest` is its address; the daemon can start from its cache meanwhile."


class RestUnavailableError(TapewrightError):
    """A venue's REST interface does not give what was asked. `status` is 0 where there was no answer.

    `is_lasting`: asking again at once would not help. `said` is what the venue wrote with its refusal.
    """

    exit_code = EXIT_UNAVAILABLE

    def __init__(self, address: str, what: str, *, status: int = 0, is_lasting: bool = False, said: str = "") -> None:
        super().__init__(f"{address} {what}", remedy=_REMEDIES.get(status, _REMEDY))
        self.address = address
        self.status = status
        self.is_lasting = is_lasting
        self.said = said


class GateLimits(msgspec.Struct, frozen=True):
    """What the gate allows itself. The weight is half of what Binance USD-M gives an address.

    `patience_seconds` is the longest that one caller waits for bans and weight; `attempts` counts the first one.
    """

    weight_per_minute: int = 1_200
    in_flight: int = 4
    timeout_seconds: float = 15.0
    patience_seconds: float = 75.0
    attempts: int = 4
    backoff_seconds: float = 0.5
    backoff_seconds_max: float = 8.0
    body_bytes_max: int = 64 << 20


class RestAnswer(msgspec.Struct, frozen=True):
    """An answer of status 200. Headers are looked up in any case.

    `sent_ns` (just before the request left) and `answered_ns` (its headers were here) are the monotonic clock's.
    """

    body: bytes
    headers: Mapping[str, str]
    sent_ns: int
    answered_ns: int


class RestGate:
    """One session for all requests, open inside `async with`. It is given to whoever asks."""

    def __init__(self, limits: GateLimits | None = None) -> None:
        self._limits = limits or GateLimits()
        self._hosts: dict[str, Host] = {}
        self._session: aiohttp.ClientSession | None = None
        self._random = Random()  # noqa: S311 - spreads repetitions, no secret

    async def __aenter__(self) -> RestGate:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_mark_sent)
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": _USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            with anyio.CancelScope(shield=True):
                await session.close()

    async def get(self, address: str, *, weight: int = 1, patience_seconds: float | None = None) -> RestAnswer:
        """What is at an address, after whatever waiting the host demands.

        Raises RestUnavailableError: nothing after all attempts, refused for good, or a ban that outlasts the patience.
        """
        host = self._host_of(address)
        patience = self._limits.patience_seconds if patience_seconds is None else patience_seconds
        deadline_ns = time.monotonic_ns() + round(patience * NS_PER_SECOND)
        attempt = 1
        while True:
            try:
                return await self._attempt(host, address, min(weight, self._limits.weight_per_minute), deadline_ns)
            except RestUnavailableError as error:
                if error.is_lasting or attempt >= self._limits.attempts or host.banned_until_ns > deadline_ns:
                    raise
            pause = min(self._limits.backoff_seconds * 2 ** (attempt - 1), self._limits.backoff_seconds_max)
            await anyio.sleep(pause * self._random.uniform(0.5, 1.0))
            attempt += 1
            host.retries += 1

    def statistics(self) -> list[HostStatistics]:
        """The counters of every host that was asked."""
        now_ns = time.monotonic_ns()
        return [host.statistics(now_ns) for host in self._hosts.values()]

    def _host_of(self, address: str) -> Host:
        try:
            url = URL(address)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError(f"{address!r} is no REST address", remedy="Write it with its scheme, as https://host.")
        host = self._hosts.get(url.authority)
        if host is None:
            limits = self._limits
            host = Host(url.authority, weight_per_minute=limits.weight_per_minute, in_flight=limits.in_flight)
            self._hosts[url.authority] = host
        return host

    async def _attempt(self, host: Host, address: str, weight: int, deadline_ns: int) -> RestAnswer:
        """Wait until the host may be asked, and ask once."""
        while True:
            await _wait(host, address, weight, deadline_ns)
            async with host.places:
                if host.wait_ns(weight, time.monotonic_ns()) > 0:
                    continue  # a ban, or another's weight, came while this one queued
                flight = Flight()
                host.begin(flight, weight)
                try:
                    with flight.scope:
                        return await self._ask(host, address, flight)
                finally:
                    host.flights.discard(flight)
            # Called back before it was sent: a ban began meanwhile.

    async def _ask(self, host: Host, address: str, flight: Flight) -> RestAnswer:
        assert self._session is not None, "the gate is open"
        sent_ns = time.monotonic_ns()
        try:
            # A redirection may lead to a host that bans: it is never followed unseen.
            async with self._session.get(address, allow_redirects=False, trace_request_ctx=flight) as response:
                answered_ns = time.monotonic_ns()
                host.learn_weight(response.headers, answered_ns)
                if response.status != 200:
                    raise await self._refused(host, address, response)
                body = await self._body(address, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            host.failures += 1
            raise RestUnavailableError(address, f"did not answer ({_said(error)})") from None
        host.accept()
        return RestAnswer(body, response.headers, sent_ns, answered_ns)

    async def _refused(
        self, host: Host, address: str, response: aiohttp.ClientResponse
    ) -> RestUnavailableError:  # fmt: skip
        """The error for an answer that is none; where it bans, the ban begins."""
        status = response.status
        host.refused[status] += 1
        seconds = refused_seconds(status, response.headers, host.refusals_in_a_row)
        if seconds > 0:
            host.ban(time.monotonic_ns() + round(seconds * NS_PER_SECOND))
        words = (await response.content.read(_WORDS_BYTES)).decode(errors="replace")
        location = response.headers.get("Location")
        said = f"to {location}" if location else " ".join(words.split())
        until = f"; nothing is asked of it for {seconds:.0f} s" if seconds > 0 else ""
        is_lasting = seconds <= 0 and status < 500
        return RestUnavailableError(
            address, f"answered {status} {said}{until}".rstrip(), status=status, is_lasting=is_lasting, said=said
        )  # fmt: skip

    async def _body(self, address: str, response: aiohttp.ClientResponse) -> bytes:
        most = self._limits.body_bytes_max
        chunks, size = [], 0
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            size += len(chunk)
            if size > most:
                raise RestUnavailableError(address, f"sends more than {most:,} bytes", status=200, is_lasting=True)
            chunks.append(chunk)
        return b"".join(chunks)


async def _wait(host: Host, address: str, weight: int, deadline_ns: int) -> None:
    """Wait for the end of a ban and for weight; raises RestUnavailableError where that would be too late."""
    host.waiting += 1
    try:
        while (wait_ns := host.wait_ns(weight, now_ns := time.monotonic_ns())) > 0:
            if now_ns + wait_ns > deadline_ns:
                why = "is banned" if host.banned_until_ns > now_ns else "has no weight left"
                what = f"was not asked: this host {why} there for another {wait_ns / NS_PER_SECOND:.0f} s"
                last = next(reversed(host.refused), 0) if host.banned_until_ns > now_ns else 0
                raise RestUnavailableError(address, what, status=last, is_lasting=True)
            await anyio.sleep(wait_ns / NS_PER_SECOND)
    finally:
        host.waiting -= 1


async def _mark_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any
) -> None:  # fmt: skip
    """From here on calling the request back would lose its answer."""
    context.trace_request_ctx.is_sent = True


def _said(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
