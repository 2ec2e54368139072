"""From a request to its answer, whichever way it came: what the socket and HTTP have in common."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec

from daemon.control.errors import BusyError
from daemon.control.model import (
    Answer,
    AskOrders,
    AskPositions,
    AskStatus,
    AskStrategies,
    Command,
    CommandResult,
    Controller,
    Problem,
)
from engine.errors import TapewrightError

COMMAND_SECONDS = 30.0
"""After so long, who waits for a command is told that it is not applied yet."""

_ENCODER = msgspec.json.Encoder(enc_hook=str)  # what has no form in JSON is shown, and ends nothing


def encoded(value: Any) -> bytes:
    """A value as JSON."""
    return _ENCODER.encode(value)


def answer_of(value: Any) -> bytes:
    """The line that carries a result."""
    return encoded(Answer(msgspec.Raw(encoded(value)))) + b"\n"


def refusal_of(error: TapewrightError) -> bytes:
    """The line that carries a problem."""
    return encoded(Answer(problem=problem_of(error))) + b"\n"


def problem_of(error: TapewrightError) -> Problem:
    """An error as it is told."""
    return Problem(error.message, error.remedy, error.exit_code)


def figures_of(controller: Controller, request: AskStatus | AskStrategies | AskOrders | AskPositions) -> Any:
    """What a request for figures asks for."""
    match request:
        case AskStatus():
            return controller.status()
        case AskStrategies():
            return controller.strategies()
        case AskOrders():
            return controller.orders()
        case AskPositions():
            return controller.positions()


async def apply(controller: Controller, command: Command, *, seconds: float = COMMAND_SECONDS) -> CommandResult:
    """Have a command applied; raises BusyError where that takes longer than `seconds`."""
    with anyio.move_on_after(seconds):
        return await controller.command(command)
    raise BusyError(
        f"The command was not applied within {seconds:g} s",
        remedy="It may still be applied once the session catches up. See: tapewright ctl status",
    )
