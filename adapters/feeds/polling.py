"""What a venue tells only when asked, asked for through the gate at a steady pace (Binance's open interest)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec

from adapters.rest_gate import RestGate, RestUnavailableError


class Poll(msgspec.Struct, frozen=True):
    """One channel: the addresses to ask, one for each symbol."""

    channel: str
    addresses: tuple[tuple[str, str], ...]
    weight: int
    every_seconds: float


async def keep_polling(
    poll: Poll,
    gate: RestGate,
    take: Callable[[str, bytes], Awaitable[None]],
    failed: Callable[[str, str], None],
) -> None:
    """Ask for ever; `take` gets symbol and body, `failed` symbol and reason."""
    while True:
        for symbol, address in poll.addresses:
            try:
                answer = await gate.get(address, weight=poll.weight)
            except RestUnavailableError as error:
                failed(symbol, error.message)
            else:
                await take(symbol, answer.body)
        await anyio.sleep(poll.every_seconds)


def addresses_of(rest: str, path: str, symbols: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """(symbol, address) for (symbol, the exchange's own name) pairs."""
    return tuple((symbol, f"{rest.rstrip('/')}{path.format(name)}") for symbol, name in symbols)
