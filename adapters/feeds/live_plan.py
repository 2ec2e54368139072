"""What a live feed is going to be, before anything is opened: instruments with their numbers, and the connections.

All that one instrument says on a route goes over one connection, so that losing a connection loses whole instruments.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches

import msgspec

from adapters.feeds.exchange import CHANNELS, Listing
from adapters.feeds.instruments import InstrumentSeen, plan_instrument
from adapters.feeds.venues import Route, Venue
from adapters.tape.documents import TapeInstrument
from engine.errors import DataError, UsageError

# What each of cryptofeed's channels puts on a tape.
_TAPE_CHANNELS = {
    "l2_book": ("book",),
    "trades": ("prints",),
    "ticker": ("quotes",),
    "funding": ("funding", "marks"),
    "liquidations": ("liquidations",),
    "open_interest": ("interest",),
}


class Planned(msgspec.Struct, frozen=True):
    """An instrument of the feed: cryptofeed's name, the number on records, cryptofeed's channels."""

    name: str
    symbol: str
    index: int
    channels: tuple[str, ...]
    is_spot: bool


class ConnectionPlan(msgspec.Struct, frozen=True):
    """One websocket: cryptofeed's names by channel, and the route that it takes."""

    route: Route
    channels: dict[str, tuple[str, ...]]


class LivePlan(msgspec.Struct, frozen=True):
    """All of it. `without` are the tape's channels that nobody asked for; `notes` say what is left out, and why."""

    instruments: tuple[TapeInstrument, ...]
    planned: tuple[Planned, ...]
    connections: tuple[ConnectionPlan, ...]
    polled: dict[str, tuple[str, ...]]
    without: frozenset[str]
    notes: tuple[str, ...]


def plan_feed(
    venue: Venue,
    listing: Listing,
    symbols: Sequence[str],
    channels: Sequence[str],
    earlier: Sequence[TapeInstrument] = (),
) -> LivePlan:
    """Plan a feed of instruments (cryptofeed's names or the venue's own) and channels (cryptofeed's).

    `earlier` are the instruments of the session before: they keep their numbers. Raises UsageError for an exchange,
    instrument or channel that there is not, DataError where an instrument's units cannot be told or have changed.
    """
    if not (venue.live_channels or venue.spot_channels):
        raise UsageError(
            f"{venue.exchange} is read from recordings only", remedy="Choose another exchange for a live feed."
        )
    unknown = [channel for channel in channels if channel not in CHANNELS]
    if unknown or not channels or not symbols:
        raise UsageError(
            f"The channels {', '.join(unknown)} are not known" if unknown else "A feed needs a symbol and a channel",
            remedy=f"Channels are {', '.join(CHANNELS)}.",
        )
    instruments = list(earlier)
    planned, notes = [], []
    for name in dict.fromkeys(_name_of(listing, venue, text) for text in symbols):
        is_spot = listing.symbol(name).is_spot
        possible = venue.spot_channels if is_spot else venue.live_channels
        wanted = tuple(channel for channel in CHANNELS if channel in channels and channel in possible)
        left_out = [channel for channel in channels if channel not in wanted]
        symbol = listing.symbol(name).name
        if left_out:
            notes.append(f"{symbol}: {venue.exchange} has no {', '.join(left_out)} in a live feed")
        index = _place(instruments, _instrument(venue, listing, name, wanted))
        planned.append(Planned(name, symbol, index, wanted, is_spot))
    polled = {
        channel: tuple(each.name for each in planned if channel in each.channels)
        for channel in venue.polls
        if channel in channels
    }
    asked = {tape for channel in channels for tape in _TAPE_CHANNELS[channel]}
    return LivePlan(
        tuple(instruments),
        tuple(planned),
        tuple(_connections(venue, planned)),
        polled,
        frozenset(tape for found in _TAPE_CHANNELS.values() for tape in found if tape not in asked),
        tuple(notes),
    )


def _name_of(listing: Listing, venue: Venue, text: str) -> str:
    if text in listing.names:
        return text
    by_symbol = {listing.symbol(name).name: name for name in listing.names}
    if text.upper() in by_symbol:
        return by_symbol[text.upper()]
    near = get_close_matches(text.upper(), [*by_symbol, *listing.names], 3, 0.5)
    raise UsageError(
        f"{venue.exchange} lists no instrument {text!r}",
        remedy=f"Near it are {', '.join(near)}." if near else "Write it as the exchange does, BTCUSDT for example.",
    )


def _instrument(venue: Venue, listing: Listing, name: str, channels: Sequence[str]) -> TapeInstrument:
    listed = listing.instruments.get(listing.names[name])
    if listed is None or listed.tick_size <= 0 or listed.lot_size <= 0:
        raise DataError(
            f"The list of {venue.exchange} does not say tick and lot of {name}",
            remedy="Without them no price can be written. Leave the instrument out, or record it and import that.",
        )
    seen = InstrumentSeen(name, listed)
    seen.channels = {tape for channel in channels for tape in _TAPE_CHANNELS[channel]}
    if not venue.has_marks:
        seen.channels.discard("marks")
    return plan_instrument(venue, listing, seen, frozenset())


def _place(instruments: list[TapeInstrument], instrument: TapeInstrument) -> int:
    """Put an instrument where it was, or at the end; raises DataError where its units no longer fit."""
    for index, before in enumerate(instruments):
        if (before.symbol, before.venue) != (instrument.symbol, instrument.venue):
            continue
        same_units = (before.kind, before.multiplier) == (instrument.kind, instrument.multiplier)
        if not (same_units and _fits(instrument, before)):
            raise DataError(
                f"{instrument.symbol} had tick {before.tick_size} and lot {before.lot_size} in this session, and has"
                f" {instrument.tick_size} and {instrument.lot_size} now",
                remedy="Positions are counted in them: begin anew (paper.on_restart: reset).",
            )
        # The earlier units go on: what is kept is counted in them, and the new ones are whole multiples.
        instruments[index] = msgspec.structs.replace(
            instrument, tick_size=before.tick_size, lot_size=before.lot_size
        )  # fmt: skip
        return index
    instruments.append(instrument)
    return len(instruments) - 1


def _fits(instrument: TapeInstrument, before: TapeInstrument) -> bool:
    ticks, lots = instrument.tick_size % before.tick_size, instrument.lot_size % before.lot_size
    return ticks == lots == Decimal(0)


def _connections(venue: Venue, planned: Sequence[Planned]) -> list[ConnectionPlan]:
    """Instruments in groups, as many as a connection takes; spot apart from derivatives, whose addresses may differ."""
    plans = []
    for route in venue.routes:
        for is_spot in (False, True):
            group: list[tuple[str, tuple[str, ...]]] = []
            streams_count = 0
            for each in planned:
                channels = _on_route(venue, route, each)
                if each.is_spot is not is_spot or not channels:
                    continue
                if group and streams_count + len(channels) > route.streams_most:
                    plans.append(_connection(route, group))
                    group, streams_count = [], 0
                group.append((each.name, channels))
                streams_count += len(channels)
            if group:
                plans.append(_connection(route, group))
    return plans


def _on_route(venue: Venue, route: Route, planned: Planned) -> tuple[str, ...]:
    """The channels of an instrument that go over a route."""
    streamed = (channel for channel in planned.channels if channel not in venue.polls)
    return tuple(channel for channel in streamed if not route.channels or channel in route.channels)


def _connection(route: Route, group: Sequence[tuple[str, tuple[str, ...]]]) -> ConnectionPlan:
    by_channel = {
        channel: tuple(name for name, channels in group if channel in channels) for channel in CHANNELS
    }  # fmt: skip
    return ConnectionPlan(route, {channel: names for channel, names in by_channel.items() if names})
