"""What a session must know of its venue before it can begin: instruments, how far clocks are apart, fees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from adapters.captures.importing import session_name, software
from adapters.feeds.exchange import Listing
from adapters.feeds.limits import FeedLimits
from adapters.feeds.live import LiveFeed
from adapters.feeds.venues import VENUES, Venue
from adapters.rest_gate import RestGate
from adapters.tape import Session, TapeInstrument, TapeSource
from adapters.venue_rest.fees import venue_fees
from adapters.venue_rest.lists import InstrumentCache, instrument_lists
from adapters.venue_rest.server_time import clock_offset_ns
from config.daemon_model import ControlConfig, DaemonConfig, FeedConfig
from daemon.control.token import checked_token, control_token
from daemon.logs import get_logger
from daemon.session.folder import SessionFolder
from daemon.session.opening import Earlier
from engine.bars import NS_PER_SECOND
from engine.errors import DataError, InputMissingError, TapewrightError

_AGREED_NS = NS_PER_SECOND // 10
_KEY_NAMES = ("key_id", "key_secret")


class KnownVenue(msgspec.Struct, frozen=True):
    """A venue, its instruments, and what the session's clock lacks to its own.

    `shift_ns` is what the session's clock is ahead of the host's: a host whose clock was set since the session began
    would else send its orders into the venue's future.
    """

    venue: Venue
    listing: Listing
    offset_ns: int
    offset_is: str
    shift_ns: int = 0


async def ask_venue(home: Path, feed: FeedConfig, gate: RestGate, earlier: Earlier | None) -> KnownVenue:
    """Ask a venue; a session that goes on keeps the clocks' difference that it began with.

    Raises RestUnavailableError or DataError where the venue cannot be had and was never asked before.
    """
    log = get_logger("venue")
    venue = VENUES[feed.exchange]
    found = await instrument_lists(gate, venue, InstrumentCache(home / "cache" / "instruments"), feed.rest)
    if found.note:
        log.warning("instrument lists", note=found.note)
    kept = earlier.session.sources[0] if earlier is not None else None
    try:
        offset = await clock_offset_ns(gate, venue, feed.rest)
    except TapewrightError as error:
        log.warning("the venue's time is not known: clocks are taken to agree as before", why=error.message)
        if kept is not None:
            return KnownVenue(venue, found.listing, kept.clock_offset_ns, kept.clock_offset_is)
        return KnownVenue(venue, found.listing, 0, "none")
    if kept is not None:
        shift_ns = offset.offset_ns - kept.clock_offset_ns
        if abs(shift_ns) <= offset.uncertainty_ns + _AGREED_NS:
            shift_ns = 0
        else:
            log.warning("clocks were set since the session began", shift_seconds=shift_ns / NS_PER_SECOND)
        return KnownVenue(venue, found.listing, kept.clock_offset_ns, kept.clock_offset_is, shift_ns)
    if abs(offset.offset_ns) <= offset.uncertainty_ns + _AGREED_NS:
        return KnownVenue(venue, found.listing, 0, "none")  # they agree as far as can be told
    log.warning("clocks differ", offset_seconds=offset.offset_ns / NS_PER_SECOND, source=offset.source)
    return KnownVenue(venue, found.listing, offset.offset_ns, "estimated")


def session_document(feed: LiveFeed, known: KnownVenue, now_ns: int, earlier: Earlier | None) -> Session:
    """The document that a start of the session writes first."""
    offset_is: Any = known.offset_is
    sources = tuple(
        TapeSource(each.name, each.kind, clock_offset_ns=known.offset_ns, clock_offset_is=offset_is)
        for each in feed.sources
    )  # fmt: skip
    before = {each.symbol: each for each in earlier.session.instruments} if earlier is not None else {}
    instruments = tuple(_with_fees(each, before.get(each.symbol)) for each in feed.instruments)
    return Session(
        session=session_name(now_ns, sources), created_ns=now_ns, software=software(), instruments=instruments,
        sources=sources, notes=feed.notes,
    )  # fmt: skip


def _with_fees(instrument: TapeInstrument, before: TapeInstrument | None) -> TapeInstrument:
    """The instrument with its venue's published fees in its metadata; a session keeps those that it began with."""
    if before is not None and "maker_bps" in before.metadata:
        known = {name: before.metadata[name] for name in ("maker_bps", "taker_bps", "fees_as_of")}
    else:
        fees = venue_fees(instrument.venue, "spot" if instrument.kind == "spot" else "perpetual")
        if fees is None:
            return instrument
        known = {"maker_bps": f"{fees.maker_bps:f}", "taker_bps": f"{fees.taker_bps:f}", "fees_as_of": fees.as_of}
    return msgspec.structs.replace(instrument, metadata={**instrument.metadata, **known})


def limits_of(feed: FeedConfig) -> FeedLimits:
    """The limits of a feed, as the config has them."""
    stale = {
        "l2_book": feed.stale_book_seconds, "trades": feed.stale_trades_seconds, "ticker": feed.stale_ticker_seconds,
        "funding": feed.stale_funding_seconds, "open_interest": feed.stale_open_interest_seconds,
    }  # fmt: skip
    return FeedLimits(
        first_message_seconds=float(feed.first_message_seconds),
        stale_seconds={channel: float(seconds) for channel, seconds in stale.items()},
    )


def keys_of(home: Path, feed: FeedConfig) -> dict[str, str] | None:
    """Keys of a venue that gives public data to known customers only: lines `name = value` of a file, or variables.

    Raises InputMissingError or DataError, which name the file and none of its content.
    """
    if feed.key_id and feed.key_secret:
        return {name: variable(f"feed.{name}", getattr(feed, name)) for name in _KEY_NAMES}
    if not feed.key_file:
        return None
    path, remedy = home / feed.key_file, "Write key_id = … and key_secret = … into it, or leave feed.key_file out."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputMissingError(
            f"feed.key_file: {path} cannot be read: {error.strerror or error}",
            remedy=remedy,
        ) from error
    except UnicodeDecodeError:
        raise DataError(f"feed.key_file: {path} is no text", remedy=remedy) from None
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    keys = {name.strip(): value.strip() for name, _, value in pairs}
    missing = [name for name in _KEY_NAMES if not keys.get(name)]
    if missing:
        raise DataError(f"feed.key_file: {path} has no {' and no '.join(missing)}", remedy=remedy)
    return keys


def secrets_of(home: Path, config: DaemonConfig, folder: SessionFolder) -> tuple[str, ...]:
    """The values of a session that no log may show. Raises as `keys_of` and `session_token` do."""
    keys = tuple((keys_of(home, config.feed) or {}).values())
    if not config.control.http_port:
        return keys
    return (*keys, session_token(home, config.control, folder))


def session_token(home: Path, control: ControlConfig, folder: SessionFolder) -> str:
    """The bearer token of a session. Raises as `control_token` and `variable` do."""
    if control.token:
        return checked_token(variable("control.token", control.token), control.token)
    return control_token(folder.path, home / control.token_file if control.token_file else None)


def variable(field: str, reference: str) -> str:
    """The value that `${env:NAME}` stands for. Raises InputMissingError where the environment has none."""
    name = reference.removeprefix("${env:").removesuffix("}")
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputMissingError(
            f"{field}: the environment has no {name}",
            remedy=f"Set it for the daemon's process: export {name}=… (its value is shown nowhere).",
        )
    return value
