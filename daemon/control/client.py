"""The other side of the control socket: plain and blocking, for commands that ask once and end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from daemon.control.errors import BusyError, RefusedError
from daemon.control.model import (
    Answer,
    AskCommand,
    AskOrders,
    AskPositions,
    AskStatus,
    AskStrategies,
    AskTail,
    Command,
    CommandResult,
    OrderStatus,
    PositionStatus,
    Request,
    Status,
    StrategyStatus,
)
from daemon.control.stream import StreamItem
from daemon.control.unix_socket import connect, is_live
from engine.errors import DataError, InputMissingError, UsageError

SOCKET_NAME = "control.sock"
ANSWER_SECONDS = 40.0
"""How long an answer is waited for: longer than the daemon takes to say that a command is not applied yet."""
_Result = TypeVar("_Result")


class ControlClient:
    """Asks a session. Every method raises RefusedError with the session's own words where it refuses."""

    def __init__(self, path: Path, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.path = path
        self._connection = connect(path, answer_seconds)
        self._lines = self._connection.makefile("rb")

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._connection.close()

    def status(self) -> Status:
        """The session now."""
        return self._ask(AskStatus(), Status)

    def strategies(self) -> list[StrategyStatus]:
        """All strategies."""
        return self._ask(AskStrategies(), list[StrategyStatus])

    def orders(self) -> list[OrderStatus]:
        """All orders that work."""
        return self._ask(AskOrders(), list[OrderStatus])

    def positions(self) -> list[PositionStatus]:
        """All positions that are not flat."""
        return self._ask(AskPositions(), list[PositionStatus])

    def command(self, command: Command) -> CommandResult:
        """Have a command applied."""
        return self._ask(AskCommand(command), CommandResult)

    def tail(self) -> Iterator[StreamItem]:
        """What happens from now on, until the session ends; it may be silent for as long as it likes."""
        self._send(AskTail())
        self._connection.settimeout(None)
        while line := self._lines.readline():
            yield self._result(line, StreamItem)

    def _ask(self, request: Request, result_type: type[_Result]) -> _Result:
        self._send(request)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise BusyError(
                f"The session at {self.path} does not answer",
                remedy="It is overloaded or hangs. Look at its log, or end it.",
            ) from None
        except ConnectionError:
            line = b""
        if not line:
            raise InputMissingError(
                f"The session at {self.path} ended before it answered",
                remedy="See its log; start it again with: tapewright run CONFIG",
            )
        return self._result(line, result_type)

    def _send(self, request: Request) -> None:
        try:
            line = msgspec.json.encode(request) + b"\n"
        except UnicodeEncodeError:
            raise UsageError("The command holds bytes that are no text", remedy="Write it in UTF-8.") from None
        # A session that turns us away may have said why before it closed: that is read then.
        with contextlib.suppress(ConnectionError):
            self._connection.sendall(line)

    def _result(self, line: bytes, result_type: type[_Result]) -> _Result:
        try:
            answer = msgspec.json.decode(line, type=Answer)
            if answer.problem is None:
                return msgspec.json.decode(answer.result, type=result_type)
        except msgspec.DecodeError as error:
            raise DataError(
                f"The session at {self.path} gave an answer that cannot be read: {error}",
                remedy="It runs another version of Tapewright. Use its own command, or start it again.",
            ) from None
        problem = answer.problem
        raise RefusedError(problem.message, remedy=problem.remedy, exit_code=problem.exit_code)


def socket_path(home: Path, session: str) -> Path:
    """Where a session listens."""
    return home / "sessions" / session / SOCKET_NAME


def running_sessions(home: Path) -> list[str]:
    """The sessions of a home folder in which a daemon listens, by name."""
    found = sorted((home / "sessions").glob(f"*/{SOCKET_NAME}"))
    return [path.parent.name for path in found if is_live(path)]


def find_session(home: Path, session: str = "") -> Path:
    """The socket of the named session, or of the only one that runs.

    Raises InputMissingError where there is none, UsageError where it is not clear which.
    """
    running = running_sessions(home)
    also = f"Running: {', '.join(running)}" if running else "None runs. Start one: tapewright run CONFIG"
    if session:
        if session not in running:
            raise InputMissingError(f"No session {session} runs in {home.resolve()}", remedy=also)
        return socket_path(home, session)
    if not running:
        raise InputMissingError(
            f"No session runs in {home.resolve()}",
            remedy="Start one: tapewright run CONFIG. Or name the home folder: tapewright --home FOLDER ctl ...",
        )
    if len(running) > 1:
        raise UsageError(
            f"{len(running)} sessions run: {', '.join(running)}",
            remedy=f"Say which: tapewright ctl --session {running[0]} ...",
        )
    return socket_path(home, running[0])
