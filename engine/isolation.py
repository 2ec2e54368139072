"""What becomes of a run when a strategy's code fails: the run ends, or the strategy alone does.

A failure that the code brings about itself happens again in a replay. An interruption (a callback that took too long,
or that killed the process) does not, so it is written down: which call it was, and what had been asked for before.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Fate = Literal["running", "stopped", "faulted", "quarantined"]


class InterruptedCallbackError(BaseException):
    """Raised from outside into a callback that takes too long; no `except Exception` of a strategy can hold it."""


class Policy(msgspec.Struct, frozen=True):
    """`is_isolated`: a strategy that fails is taken out alone; `is_flattened`: its positions are closed then."""

    is_isolated: bool = False
    is_flattened: bool = False


class Aborted(msgspec.Struct, frozen=True):
    """A callback that did not end by itself: the `call`-th of a strategy, and the requests that it had made.

    `state` is its `ctx.state` afterwards, packed; None: as it was before.
    """

    strategy: int
    call: int
    requests: tuple[bytes, ...]
    reason: str
    fate: Fate = "faulted"
    state: bytes | None = None


class Failure(msgspec.Struct, frozen=True):
    """A strategy that was taken out: when, in which call, and what its code did.

    `number` counts the run's failures from 0. `aborted`: the call was interrupted, and nothing says so yet.
    """

    number: int
    strategy: int
    seq: int
    ts_ns: int
    symbol: str
    where: str
    message: str
    aborted: Aborted | None = None


class Watch(Protocol):
    """Whoever looks after callbacks in Python while they run; a replay needs nobody."""

    def enter(self, strategy: int, call: int) -> None:
        """A callback begins."""

    def leave(self) -> None:
        """It has ended, in whatever way; raises InterruptedCallbackError where it was interrupted."""


class Unwatched:
    """Nobody."""

    def enter(self, strategy: int, call: int) -> None:
        """Nothing."""

    def leave(self) -> None:
        """Nothing."""
