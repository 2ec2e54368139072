"""A recording played into cryptofeed's own classes: the same code reads it that reads the exchange live.

Nothing in it waits: the answers that a class asks for are at hand, so each coroutine runs to its end at once and no
event loop is needed. Each connection has an exchange object of its own, as it has live.
"""

from __future__ import annotations

import ast
import logging
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from adapters.captures.report import ImportReport, Reason
from adapters.feeds.capture import Answer, Event, Recording, read_events
from adapters.feeds.exchange import CHANNELS, Exchange, Listing, SnapshotUnavailableError
from adapters.feeds.normaliser import FeedMessage, Loss
from engine.kernels.layout import GAP_DISCONNECTED

_LIMIT = re.compile(r"&limit=\d+")
_LOGGER = logging.getLogger("feedhandler")
# What cryptofeed warns of when it lost a book; the gap says it already.
_OF_LOSSES = ("Missing", "Requesting")
_DETAIL_CHARACTERS = 200
_Result = TypeVar("_Result")


def complete(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _Result = done.value
        return result
    coroutine.close()
    raise AssertionError("a recording has nothing to wait for")


def queues_of(answers: Mapping[str, Sequence[Answer]]) -> dict[str, deque[Answer]]:
    """Recorded answers in their order by address, whatever depth of the book was asked for."""
    queues: dict[str, deque[Answer]] = {}
    for url, found in answers.items():
        queues.setdefault(_LIMIT.sub("", url), deque()).extend(found)
    return queues


class RecordedAnswers:
    """Stands where an exchange object has its HTTP connection, and gives the recorded answers in their order.

    `queues` as `queues_of` gives them, perhaps shared by several connections; `arrive` is told when an answer came.
    """

    def __init__(self, queues: dict[str, deque[Answer]], arrive: Callable[[int], None]) -> None:
        self._queues = queues
        self._arrive = arrive
        self.asked_ns = 0

    async def read(self, address: str, **_options: Any) -> str:
        """The next answer from an address that came after the message in hand; one before it is to another question."""
        queue = self._queues.get(_LIMIT.sub("", address), deque())
        while queue:
            answer = queue.popleft()
            if answer.ts_receive_ns >= self.asked_ns:
                self._arrive(answer.ts_receive_ns)
                return answer.body.decode()
        raise SnapshotUnavailableError(address)

    async def close(self) -> None:
        """There is nothing to close."""


class RecordedConnection:
    """Stands where an exchange object has its websocket: what is sent goes nowhere."""

    def __init__(self, address: str, subscription: dict[str, Any]) -> None:
        self.address = address
        self.subscription = subscription
        self.uuid = address

    async def write(self, *_message: Any) -> None:
        """Subscriptions were answered when the recording was made."""


class Playback:
    """One pass through a recording. What no class could read is counted in `report`."""

    def __init__(self, recording: Recording, listing: Listing, report: ImportReport) -> None:
        self._recording = recording
        self._report = report
        self._complaints = _Complaints(report, self.place)
        self._event = Event(0, 0, 0, "", b"", 0)
        polled = recording.venue.polled_channels
        wanted = {
            channel: names
            for channel, names in recording.subscription.items()
            if channel in CHANNELS and channel not in polled
        }
        self.exchanges = [Exchange(recording.venue, listing, wanted, report) for _ in recording.connections]
        self._connections: dict[int, RecordedConnection] = {}
        queues = queues_of(recording.answers)
        self._answers = [RecordedAnswers(queues, exchange.normaliser.arrive) for exchange in self.exchanges]
        for exchange, answers_of in zip(self.exchanges, self._answers, strict=True):
            exchange.feed.http_conn = answers_of

    def run(self) -> Iterator[tuple[int, FeedMessage]]:
        """Each message of the recording, with the number of the file that it is from."""
        for event in read_events(self._recording):
            for message in self._follow(event):
                yield event.file, message

    def place(self) -> str:
        """Where the line stands that was played last."""
        return f"{self._recording.files[self._event.file].name} line {self._event.line_number}"

    def _follow(self, event: Event) -> list[FeedMessage]:
        self._event = event
        _LOGGER.addHandler(self._complaints)
        try:
            return self._play(event)
        finally:
            _LOGGER.removeHandler(self._complaints)

    def _play(self, event: Event) -> list[FeedMessage]:
        exchange = self.exchanges[event.connection]
        was_open = event.connection in self._connections
        lost: list[FeedMessage] = []
        if event.address or not was_open:
            address = event.address or self._recording.addresses[event.connection]
            connection = RecordedConnection(address, exchange.feed.subscription)
            self._connections[event.connection] = connection
            complete(exchange.open(connection, event.ts_receive_ns))
            if was_open:
                lost = [Loss("", event.ts_receive_ns, GAP_DISCONNECTED)]
        if event.address:
            return lost
        self._answers[event.connection].asked_ns = event.ts_receive_ns
        text = _unquoted(event.message)
        connection = self._connections[event.connection]
        return complete(exchange.handle(text, connection, event.ts_receive_ns, self.place))


class _Complaints(logging.Handler):
    """Counts what cryptofeed says of messages that it leaves unread."""

    def __init__(self, report: ImportReport, place: Callable[[], str]) -> None:
        super().__init__(logging.WARNING)
        self._report = report
        self._place = place

    def emit(self, record: logging.LogRecord) -> None:
        template = str(record.msg)
        if any(word in template for word in _OF_LOSSES):
            return
        self._report.reject(Reason.unknown_stream, self._place, detail=record.getMessage()[:_DETAIL_CHARACTERS])
        self._report.unknown_streams[template] += 1


def _unquoted(message: bytes) -> str:
    """A message as text; the recorder wrote bytes as Python does, b'…'."""
    if message[:2] in (b"b'", b'b"'):
        content: bytes = ast.literal_eval(message.decode())
        return content.decode()
    return message.decode(errors="replace")
