"""cryptofeed's raw recordings, as its `raw_data_collection` writes them; told apart by content, gzipped or not.

A recording is several files of one exchange. `X.0` holds the instrument lists, `URL -> time: body`, and the
`configuration:` that was subscribed; it grows with every start of the recorder, so the last of each counts. `X.http.*`
holds other REST answers in the same form. `X.ws.N.P` is part P of connection N: `address <-> time` where it was opened,
`address <- time: message` for what was sent, and `time: message` for what came. A later part has no head of its own.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from adapters.captures.lines import Line, read_lines
from adapters.feeds.venues import VENUES, Venue, venue_of_address
from engine.errors import DataError, InputMissingError

_ANSWER = re.compile(rb"(https?://\S+) -> (\d+(?:\.\d+)?): (.*)", re.DOTALL)
_OPENED = re.compile(rb"(wss?://.+?) <-> (\d+(?:\.\d+)?)\s*")
_SENT = re.compile(rb"(?:wss?|https?)://.+? <- \d+(?:\.\d+)?: ")
_CAME = re.compile(rb"(\d{9,11}(?:\.\d+)?): ?(.*)", re.DOTALL)
_CONFIGURATION = b"configuration: "
_PART = re.compile(r"(.+)\.(\d+)(?:\.(?:gz|zip))?")
_HEAD_BYTES = b" header: "


class Answer(msgspec.Struct, frozen=True):
    """A recorded REST answer."""

    ts_receive_ns: int
    body: bytes


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened on connection `connection` (counted from 0): it was opened at `address`, or a message came."""

    ts_receive_ns: int
    connection: int
    file: int
    address: str
    message: bytes
    line_number: int


class Recording(msgspec.Struct, frozen=True):
    """The files of one exchange. `files` in order: the parts of each connection, then those with REST answers.

    `lists` are the bodies of the last instrument list from each address, `answers` the other answers in order by
    address, `subscription` cryptofeed's channels with its symbols, `connections` the numbers of each one's files.
    """

    venue: Venue
    files: tuple[Path, ...]
    connections: tuple[tuple[int, ...], ...]
    addresses: tuple[str, ...]
    lists: tuple[bytes, ...]
    answers: dict[str, tuple[Answer, ...]]
    subscription: dict[str, list[str]]


def is_ws_capture(path: Path) -> bool:
    """Whether a file's first line is one of cryptofeed's recorder. Raises as `read_lines` does."""
    line = next(iter(read_lines(path)), None)
    return line is not None and _role(line.content) != ""


def open_recording(files: Sequence[Path]) -> Recording:
    """Sort the files of one exchange, given in any order, and read those that explain the others.

    Raises InputMissingError naming the file that is missing, DataError where files are of two exchanges, of none that
    is known, or of an interface that no class of today reads.
    """
    streams: dict[str, list[tuple[int, Path]]] = {}
    explaining: list[Path] = []
    for path in files:
        line = next(iter(read_lines(path)), None)
        role = _role(line.content) if line is not None else ""
        if not role:
            raise DataError(
                f"{path} is no recording of cryptofeed: its first line is none of `URL -> time: body`,"
                " `address <-> time` and `time: message`",
                remedy="Give the files that cryptofeed's raw data collection wrote, as they are.",
            )
        if role == "answers":
            explaining.append(path)
            continue
        match = _PART.fullmatch(path.name)
        streams.setdefault(match[1] if match else path.name, []).append((int(match[2]) if match else 0, path))
    parts = [[path for _, path in sorted(stream)] for _, stream in sorted(streams.items())]
    addresses = tuple(_address(stream[0]) for stream in parts)
    venue = _venue(files, addresses)
    lists, answers, subscription = _read_answers(explaining)
    ordered = [path for stream in parts for path in stream]
    numbers = iter(range(len(ordered)))
    recording = Recording(
        venue=venue,
        files=(*ordered, *sorted(explaining)),
        connections=tuple(tuple(next(numbers) for _ in stream) for stream in parts),
        addresses=addresses,
        lists=tuple(lists.values()),
        answers={url: tuple(found) for url, found in answers.items()},
        subscription=subscription,
    )
    _refuse_incomplete(recording)
    return recording


def read_events(recording: Recording) -> Iterator[Event]:
    """What happened on all connections, by receive time; the order within a connection is that of its files."""
    streams = [_read_connection(recording, number) for number in range(len(recording.connections))]
    return heapq.merge(*streams, key=_receive_ns)


def to_ns(text: bytes) -> int:
    """A time in decimal seconds as ns, exactly; more than nine decimals are cut."""
    whole, _, fraction = text.partition(b".")
    return int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))


def _place(path: Path, line: Line) -> str:
    return f"{path.name} line {line.number} (byte {line.byte})"


def _receive_ns(event: Event) -> int:
    return event.ts_receive_ns


def _role(content: bytes) -> str:
    if content.startswith(_CONFIGURATION) or _ANSWER.match(content):
        return "answers"
    if _OPENED.fullmatch(content) or _SENT.match(content):
        return "stream"
    came = _CAME.match(content)
    return "stream" if came and came[2][:1] in (b"{", b"[", b"b") else ""


def _address(path: Path) -> str:
    """Where a connection was opened; empty where its first part does not say."""
    line = next(iter(read_lines(path)))
    opened = _OPENED.fullmatch(line.content)
    return opened[1].decode() if opened else ""


def _venue(files: Sequence[Path], addresses: Sequence[str]) -> Venue:
    names = ", ".join(path.name for path in files)
    known = {address: venue_of_address(address) for address in addresses if address}
    if not known:
        raise InputMissingError(
            f"{names}: no file says at which address a websocket was opened",
            remedy="Give the recording's X.ws.N.0 as well: its first line is `address <-> time`.",
        )
    for address, venue in known.items():
        if venue is None:
            raise DataError(
                f"{names}: recorded at {address}, which is no exchange that is read",
                remedy=f"Known are {', '.join(VENUES)}, at their own addresses.",
            )
        for part, reason in venue.retired:
            if part in address:
                raise DataError(
                    f"{names}: recorded at {address}: {reason}. cryptofeed's class {venue.exchange} does not know its"
                    " instrument list or its messages, so that nothing of this capture can be read",
                    remedy=f"Record {venue.exchange} again with the cryptofeed that is installed here (2.4.1 or later"
                    " 2.x).",
                )
    venues = {venue.exchange: venue for venue in known.values() if venue is not None}
    if len(venues) > 1:
        raise DataError(
            f"{names}: files of several exchanges ({', '.join(sorted(venues))})",
            remedy="Import the files of each exchange by themselves.",
        )
    return next(iter(venues.values()))


def _read_answers(
    paths: Sequence[Path],
) -> tuple[dict[str, bytes], dict[str, list[Answer]], dict[str, list[str]]]:
    """Instrument lists by address, other answers by address, and the subscription."""
    lists: dict[str, bytes] = {}
    answers: dict[str, list[Answer]] = {}
    subscription: dict[str, list[str]] = {}
    for path in sorted(paths):
        found: list[tuple[str, Answer]] = []
        has_configuration = False
        for line in read_lines(path):
            if line.content.startswith(_CONFIGURATION):
                has_configuration = True
                subscription = _configuration(path, line)
            elif match := _ANSWER.match(line.content):
                body = match[3].partition(_HEAD_BYTES)[0]
                found.append((match[1].decode(), Answer(to_ns(match[2]), body)))
            else:
                raise DataError(
                    f"{_place(path, line)}: neither `URL -> time: body` nor `configuration: …`",
                    remedy="The file was changed, or is another one. Give it as cryptofeed wrote it.",
                )
        for url, answer in found:
            if has_configuration:
                lists[url] = answer.body
            else:
                answers.setdefault(url, []).append(answer)
    return lists, answers, subscription


def _configuration(path: Path, line: Line) -> dict[str, list[str]]:
    try:
        return msgspec.json.decode(line.content.removeprefix(_CONFIGURATION), type=dict[str, list[str]])
    except msgspec.DecodeError as error:
        raise DataError(
            f"{_place(path, line)}: the configuration is not one object of channels and symbols ({error})",
            remedy="Give the file as cryptofeed wrote it.",
        ) from None


def _refuse_incomplete(recording: Recording) -> None:
    exchange, names = recording.venue.exchange, ", ".join(path.name for path in recording.files)
    if not recording.lists or not recording.subscription:
        raise InputMissingError(
            f"{names}: the instrument list and the subscription of {exchange} are missing",
            remedy=f"Give the recording's {exchange}.0 as well: it holds `URL -> time: body` and `configuration: …`.",
        )
    if recording.venue.is_snapshot_fetched and "l2_book" in recording.subscription and not recording.answers:
        raise InputMissingError(
            f"{names}: {exchange} sends no book snapshots; those that were fetched are missing",
            remedy=f"Give the recording's {exchange}.http.* as well: no book can be built without them.",
        )


def _read_connection(recording: Recording, number: int) -> Iterator[Event]:
    latest_ns = 0
    for file in recording.connections[number]:
        path = recording.files[file]
        for line in read_lines(path):
            content = line.content
            if match := _CAME.match(content):
                latest_ns = max(latest_ns, to_ns(match[1]))
                yield Event(latest_ns, number, file, "", match[2], line.number)
            elif match := _OPENED.fullmatch(content):
                latest_ns = max(latest_ns, to_ns(match[2]))
                yield Event(latest_ns, number, file, match[1].decode(), b"", line.number)
            elif not _SENT.match(content):
                raise DataError(
                    f"{_place(path, line)}: none of `time: message`, `address <- time: …` and `address <-> time`",
                    remedy="The file was changed, or is another one. Give it as cryptofeed wrote it.",
                )
