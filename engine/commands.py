"""What whoever runs a session tells the engine meanwhile, as records of the tape, so that a replay is told the same.

A record has room for a code, a strategy and a market. What needs more (parameters, code) stands in a document before
it, which the driver of the run reads; here it arrives as a ready `StrategyRun`.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from engine.replay import StrategyRun

START, STOP, FLATTEN, HALT, RESUME, REPLACE = 1, 2, 3, 4, 5, 6
EVERY = -1

Words: TypeAlias = tuple[int, int, int, int, int]


class StartStrategy(msgspec.Struct, frozen=True):
    """Let a strategy that was stopped, or has failed, run again: its `on_init` is called, its state is kept."""

    strategy: int


class StopStrategy(msgspec.Struct, frozen=True):
    """Tell a strategy nothing more, and cancel its orders; its position stays."""

    strategy: int


class Flatten(msgspec.Struct, frozen=True):
    """Cancel orders and close positions by market orders: of one strategy or every one, on one market or every one."""

    strategy: int = EVERY
    market: int = EVERY


class Halt(msgspec.Struct, frozen=True):
    """Cancel all orders, and refuse what opens a position, until `Resume`."""


class Resume(msgspec.Struct, frozen=True):
    """Trade again after a halt, whoever brought it on; guards count from the present equity."""


class Replace(msgspec.Struct, frozen=True):
    """Go on with other parameters or other code; position, orders and `ctx.state` are kept, `on_init` is called."""

    strategy: int
    run: StrategyRun


Command: TypeAlias = StartStrategy | StopStrategy | Flatten | Halt | Resume | Replace


def words_of(command: Command) -> Words:
    """The words a to e of a command's record."""
    match command:
        case StartStrategy():
            return START, command.strategy, EVERY, 0, 0
        case StopStrategy():
            return STOP, command.strategy, EVERY, 0, 0
        case Flatten():
            return FLATTEN, command.strategy, command.market, 0, 0
        case Halt():
            return HALT, EVERY, EVERY, 0, 0
        case Resume():
            return RESUME, EVERY, EVERY, 0, 0
        case Replace():
            return REPLACE, command.strategy, EVERY, 0, 0
        case _:
            assert_never(command)


def command_of(words: Words, replacement: StrategyRun | None = None) -> Command | None:
    """The command that a record's words mean; None for a code of a later version, or one whose document is missing."""
    code, strategy, market, *_ = words
    match code:
        case 1:
            return StartStrategy(strategy)
        case 2:
            return StopStrategy(strategy)
        case 3:
            return Flatten(strategy, market)
        case 4:
            return Halt()
        case 5:
            return Resume()
        case 6 if replacement is not None:
            return Replace(strategy, replacement)
        case _:
            return None
