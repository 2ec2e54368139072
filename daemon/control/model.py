"""What a running session tells and is told: its status, the commands, and the protocol of both sides of the socket.

The daemon implements `Controller`; the unix socket, HTTP and `tapewright ctl` speak these structs and nothing else.
Money, prices and sizes are exact decimals, in JSON as strings; times are ns UTC; ages are ms.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from daemon.control.stream import Subscription

ParamValue = int | float | bool | str
Mode = Literal["paper"]
SessionState = Literal["starting", "running", "draining"]
BookState = Literal["none", "syncing", "valid", "invalid", "stale"]
ConnectionState = Literal["connecting", "connected", "waiting"]
StrategyState = Literal["running", "stopped", "faulted", "quarantined"]
Side = Literal["buy", "sell"]


# What is told


class SymbolStatus(msgspec.Struct, frozen=True):
    """One market. `age_ms`: since the book's last change; `last_message_ms`: since each channel's last message."""

    symbol: str
    book: BookState
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    mark: Decimal | None = None
    age_ms: int | None = None
    last_message_ms: dict[str, int] = {}


class ConnectionStatus(msgspec.Struct, frozen=True):
    """One connection of the feed. `why`: what ended it last; `since_ns`: when it came into its state."""

    name: str
    state: ConnectionState
    since_ns: int
    connects_count: int = 0
    messages_count: int = 0
    why: str = ""


class QueueStatus(msgspec.Struct, frozen=True):
    """One bounded queue: how many wait, how many may, how many were dropped since the start."""

    name: str
    size: int
    size_max: int
    dropped_count: int = 0


class Status(msgspec.Struct, frozen=True):
    """The session at one moment. `halted`: why no strategy may open, or empty.

    `seq`: the last record that the engine has applied; `acknowledged_seq`: the last one that is stored with all its
    outputs. `hash`: the engine's chain after `seq`, 16 hex digits. `drawdown`: from the highest equity, a share of it.
    """

    session: str
    mode: Mode
    state: SessionState
    pid: int
    version: str
    config_source: str
    started_ns: int
    now_ns: int
    seq: int
    acknowledged_seq: int
    hash: str
    equity: Decimal
    cash: Decimal
    exposure: Decimal
    drawdown: float
    halted: str = ""
    symbols: tuple[SymbolStatus, ...] = ()
    connections: tuple[ConnectionStatus, ...] = ()
    queues: tuple[QueueStatus, ...] = ()


class StrategyStatus(msgspec.Struct, frozen=True):
    """One strategy. `why`: what stopped it; `positions`: its size per symbol, signed; `orders_count`: that work."""

    id: str
    state: StrategyState
    why: str
    params: dict[str, ParamValue]
    symbols: tuple[str, ...]
    positions: dict[str, Decimal]
    orders_count: int
    realised: Decimal
    fees: Decimal
    source_hash: str
    file: str


class OrderStatus(msgspec.Struct, frozen=True):
    """An order that works. `type`, `state`, `time_in_force`: the engine's names; prices None where it has none."""

    id: int
    strategy: str
    symbol: str
    side: Side
    type: str
    state: str
    time_in_force: str
    size: Decimal
    filled: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    created_ns: int


class PositionStatus(msgspec.Struct, frozen=True):
    """What a strategy holds of one symbol. `size` is signed; pnl is before fees and funding."""

    strategy: str
    symbol: str
    size: Decimal
    entry_price: Decimal
    mark: Decimal | None
    unrealised: Decimal
    realised: Decimal


# What is commanded: each becomes a record on the tape


class _Command(msgspec.Struct, frozen=True, tag_field="do", forbid_unknown_fields=True):
    pass


class StartStrategy(_Command, frozen=True, tag="start"):
    """Let a strategy that is stopped or faulted run (again)."""

    strategy: str


class StopStrategy(_Command, frozen=True, tag="stop"):
    """Stop a strategy: its orders are cancelled, its positions stay."""

    strategy: str


class SetParams(_Command, frozen=True, tag="params"):
    """Give a strategy other parameters; those that are not named stay."""

    strategy: str
    params: dict[str, ParamValue]


class Flatten(_Command, frozen=True, tag="flatten"):
    """Cancel orders and close positions: of one strategy or all (empty), of one symbol or all (empty)."""

    strategy: str = ""
    symbol: str = ""


class Halt(_Command, frozen=True, tag="halt"):
    """Let no strategy open anything; what closes a position goes through."""

    reason: str


class Resume(_Command, frozen=True, tag="resume"):
    """End a halt."""


class Reload(_Command, frozen=True, tag="reload"):
    """Read a strategy's file again, or all files (empty); what does not load leaves the old code running."""

    strategy: str = ""


class Shutdown(_Command, frozen=True, tag="shutdown"):
    """Drain and stop the daemon, as SIGTERM does."""


Command = StartStrategy | StopStrategy | SetParams | Flatten | Halt | Resume | Reload | Shutdown


class CommandResult(msgspec.Struct, frozen=True):
    """A command that was applied: the `seq` of its record, and what it did, in a sentence."""

    seq: int
    text: str


class Controller(Protocol):
    """The daemon's side. The figures are told at once, from memory."""

    def status(self) -> Status:
        """The session now."""
        ...

    def strategies(self) -> list[StrategyStatus]:
        """All strategies, in the order of the config."""
        ...

    def orders(self) -> list[OrderStatus]:
        """All orders that work."""
        ...

    def positions(self) -> list[PositionStatus]:
        """All positions that are not flat."""
        ...

    async def command(self, command: Command) -> CommandResult:
        """Returns once the command's record is on the tape and the engine has applied it.

        Raises TapewrightError with a remedy: an unknown strategy, a wrong parameter, code that does not load.
        """
        ...

    def subscribe(self) -> contextlib.AbstractContextManager[Subscription]:
        """A stream of outputs, until the block is left. Raises BusyError where there are too many."""
        ...


# The socket's protocol: one JSON object a line, an answer for each request in their order


class _Request(msgspec.Struct, frozen=True, tag_field="ask", forbid_unknown_fields=True):
    pass


class AskStatus(_Request, frozen=True, tag="status"):
    """Answered with a Status."""


class AskStrategies(_Request, frozen=True, tag="strategies"):
    """Answered with StrategyStatus, a list."""


class AskOrders(_Request, frozen=True, tag="orders"):
    """Answered with OrderStatus, a list."""


class AskPositions(_Request, frozen=True, tag="positions"):
    """Answered with PositionStatus, a list."""


class AskTail(_Request, frozen=True, tag="tail"):
    """Answered with StreamItem, one a line, until one side ends it. The connection takes no further request."""


class AskCommand(_Request, frozen=True, tag="command"):
    """Answered with a CommandResult once the command was applied."""

    command: Command


Request = AskStatus | AskStrategies | AskOrders | AskPositions | AskTail | AskCommand


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused, what to do about it, and the exit code that a command line ends with."""

    message: str
    remedy: str
    exit_code: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the daemon's: `result`, or the `problem`."""

    result: msgspec.Raw = msgspec.Raw()
    problem: Problem | None = None
