"""cryptofeed alone at the sockets of a load: its own connections and handlers, callbacks that do nothing.

`python -m tests.bench.daemon_peer REST WEBSOCKET`. Once a second it says (steady ns, CPU ns, messages), until ended.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import time
import urllib.request
from typing import Any

import uvloop
from cryptofeed.connection_handler import ConnectionHandler
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols

from adapters.feeds.exchange import Listing, list_addresses, read_listing
from adapters.feeds.venues import VENUES
from tests.bench.daemon_frames import SYMBOL

EXCHANGE = "BINANCE_FUTURES"
_ROUTES = {"/public": ("l2_book", "ticker"), "/market": ("trades", "funding")}


async def follow(rest: str, websocket: str) -> None:
    """Connect as cryptofeed does, and count."""
    listing = await asyncio.to_thread(_listing, rest)
    counts = [0]
    for path, channels in _ROUTES.items():
        feed = peer_of(listing, channels, rest)
        for connection, subscribe, handle, authenticate in feed.connect():
            connection.address = f"{websocket}{path}/{_path_of(connection.address)}"
            connection.ws_kwargs["compression"] = None
            handler = ConnectionHandler(connection, subscribe, _counted(handle, counts), authenticate, retries=0)
            handler.start(asyncio.get_running_loop())
    while True:
        await asyncio.sleep(1)
        held = {"steady_ns": time.monotonic_ns(), "cpu_ns": time.process_time_ns(), "messages": counts[0]}
        print(json.dumps({"event": "held"} | held), flush=True)  # noqa: T201


def peer_of(listing: Listing, channels: tuple[str, ...], rest: str) -> Any:
    """Cryptofeed's object for some channels; a book's snapshot is fetched from `rest`, in a thread."""

    async def nothing(_said: Any, _receipt: float) -> None:
        """What somebody would do with it."""

    async def read(address: str) -> str:
        return (await asyncio.to_thread(_get, f"{rest}/{_path_of(address)}")).decode()

    name = next(name for name, own in listing.names.items() if own == SYMBOL)
    Symbols.set(EXCHANGE, listing.names, listing.info)
    feed: Any = EXCHANGE_MAP[EXCHANGE](
        config={"log": {"disabled": True}}, subscription={channel: [name] for channel in channels},
        callbacks=dict.fromkeys(channels, nothing),
    )  # fmt: skip
    atexit.unregister(feed.http_conn.__del__)
    feed.http_conn.read = read
    return feed


def _counted(handle: Any, counts: list[int]) -> Any:
    async def counted(*arguments: Any) -> None:
        counts[0] += 1
        await handle(*arguments)

    return counted


def _listing(rest: str) -> Listing:
    venue = VENUES[EXCHANGE]
    return read_listing(venue, [_get(f"{rest}/{_path_of(address)}") for address in list_addresses(venue)])


def _path_of(address: str) -> str:
    return address.partition("://")[2].partition("/")[2]


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvloop.run(follow(sys.argv[1], sys.argv[2]))
