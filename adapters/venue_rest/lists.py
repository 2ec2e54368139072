"""A venue's instrument lists: fetched, kept, and taken from what was kept where the venue does not give them now.

The bodies are kept as they came. So a session can be recorded with them, and cryptofeed's class reads the same bytes
whether they are an hour or a month old.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import zstandard
from anyio import to_thread

from adapters.feeds import exchange
from adapters.feeds.exchange import Listing, read_listing
from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate, RestUnavailableError
from adapters.venue_rest.addresses import address_at
from engine.bars import NS_PER_SECOND
from engine.errors import DataError

# The address in cryptofeed's class is for customers only; this one is public and gives the same form.
_PUBLIC_ADDRESSES = {"COINBASE": ["https://api.coinbase.com/api/v3/brokerage/market/products"]}
_WEIGHTS = {"BINANCE": 20}
_VERSION = 1
_BYTES_MOST = 256 << 20
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")


class ListsFound(msgspec.Struct, frozen=True):
    """The bodies, what they say, when they were fetched (ns since 1970), and, where they are old, why."""

    bodies: list[bytes]
    listing: Listing
    fetched_ns: int
    is_cached: bool
    note: str = ""


class CachedLists(msgspec.Struct, frozen=True):
    """What is kept of one venue, with the address that it was fetched from."""

    version: int
    exchange: str
    rest: str
    fetched_ns: int
    bodies: list[bytes]


class InstrumentCache:
    """A folder with the last good lists of each venue, a file for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, venue: Venue, rest: str = "") -> Path:
        """Where a venue's lists are. Those of something that stands for the venue are kept apart from its own."""
        end = _NOT_IN_NAMES.sub("_", urlsplit(rest).hostname or "")
        return self._folder / f"{venue.exchange}{'-' if end else ''}{end}.lists.zst"

    def store(self, venue: Venue, rest: str, bodies: list[bytes], fetched_ns: int) -> None:
        """Keep lists instead of those before, in one step; raises DataError where the folder cannot be written."""
        from adapters.bar_files import write_whole  # noqa: PLC0415 - it brings polars, which takes half a second

        document = msgspec.msgpack.encode(CachedLists(_VERSION, venue.exchange, rest, fetched_ns, bodies))
        packed = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(document)
        write_whole(self.path(venue, rest), lambda file: _write(file.write, packed))

    def load(self, venue: Venue, rest: str = "") -> CachedLists | None:
        """What was kept of this venue at this address; None where that is nothing that can be read."""
        try:
            packed = self.path(venue, rest).read_bytes()
            document = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_BYTES_MOST)
            cached = msgspec.msgpack.decode(document, type=CachedLists)
        except (OSError, zstandard.ZstdError, msgspec.DecodeError):
            return None
        is_this = (cached.version, cached.exchange, cached.rest) == (_VERSION, venue.exchange, rest)
        return cached if is_this else None


def list_addresses(venue: Venue, rest: str = "") -> list[str]:
    """Where a venue's lists are, in the order in which its class reads them."""
    own = exchange.list_addresses(venue)
    return [address_at(address, rest) for address in _PUBLIC_ADDRESSES.get(venue.exchange, own)]


async def fetch_lists(gate: RestGate, venue: Venue, rest: str = "") -> list[bytes]:
    """The bodies of a venue's instrument lists; raises RestUnavailableError."""
    weight = _WEIGHTS.get(venue.exchange, 1)
    return [(await gate.get(address, weight=weight)).body for address in list_addresses(venue, rest)]


async def instrument_lists(
    gate: RestGate, venue: Venue, cache: InstrumentCache, rest: str = "", clock_ns: Callable[[], int] = time.time_ns
) -> ListsFound:  # fmt: skip
    """The venue's lists of now, which are kept, or the last ones that were; `note` says what went wrong.

    Raises what fetching or reading raises where nothing was kept: RestUnavailableError, DataError.
    """
    try:
        bodies = await fetch_lists(gate, venue, rest)
        # Lists of several MB: reading them would stop the loop for a while.
        listing = await to_thread.run_sync(_read, venue, bodies)
    except (RestUnavailableError, DataError) as error:
        cached = await to_thread.run_sync(cache.load, venue, rest)
        if cached is None:
            raise
        listing = await to_thread.run_sync(read_listing, venue, cached.bodies)
        fetched = datetime.fromtimestamp(cached.fetched_ns // NS_PER_SECOND, UTC).isoformat(sep=" ", timespec="minutes")
        note = f"{error.message}. The instrument lists of {venue.exchange} are those of {fetched}."
        return ListsFound(cached.bodies, listing, cached.fetched_ns, is_cached=True, note=note)
    fetched_ns = clock_ns()
    note = ""
    try:
        await to_thread.run_sync(partial(cache.store, venue, rest, bodies, fetched_ns))
    except DataError as error:
        note = f"The instrument lists of {venue.exchange} were not kept: {error.message}"
    return ListsFound(bodies, listing, fetched_ns, is_cached=False, note=note)


def _read(venue: Venue, bodies: list[bytes]) -> Listing:
    listing = read_listing(venue, bodies)
    if not listing.names:
        raise DataError(
            f"The instrument list of {venue.exchange} is empty",
            remedy="The venue may be under maintenance, or `feed.rest` stands for another venue.",
        )
    return listing


def _write(write: Callable[[bytes], int], packed: bytes) -> None:
    write(packed)
