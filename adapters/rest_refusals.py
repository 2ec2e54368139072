"""What a venue's answer says about asking again: Retry-After, bans, and the weight that was used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds without any request where the venue names none. 403 is how Bybit and Binance's firewall say it: ten minutes.
_BAN_SECONDS = {429: 10.0, 418: 120.0, 403: 600.0}
_BAN_SECONDS_MAX = 3 * 86_400.0  # the longest that Binance bans
_DOUBLINGS_MAX = 5
_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
_MINUTE_SECONDS = 60


def refused_seconds(status: int, headers: Mapping[str, str], refusals_before: int) -> float:
    """For how long a host that answered so wants to hear nothing; 0: it does not mind.

    A ban that names no end is longer the more refusals came before it without an answer between.
    """
    named = retry_after_seconds(headers)
    ban = _BAN_SECONDS.get(status, 0.0) * 2 ** min(refusals_before, _DOUBLINGS_MAX)
    if status in _BAN_SECONDS or (named is not None and status >= 500):
        return min(ban if named is None else named, _BAN_SECONDS_MAX)
    return 0.0


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, whichever way it is written (RFC 9110, 10.2.3); None where it says nothing readable.

    A date is held against the answer's own date, so that this host's clock does not matter; both are cut to seconds.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return max(float(text[:12]), 1.0)
    until = _moment(text)
    if until is None:
        return None
    return max((until - (answer_date(headers) or datetime.now(UTC))).total_seconds() + 1.0, 1.0)


def answer_date(headers: Mapping[str, str]) -> datetime | None:
    """When the venue answered by its own clock, cut to the second; None where it does not say."""
    return _moment(headers.get("Date", ""))


def used_weight(headers: Mapping[str, str]) -> int | None:
    """The weight that the venue has counted in its present minute, if it counts any."""
    text = headers.get(_WEIGHT_HEADER, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def seconds_left_of_minute(headers: Mapping[str, str]) -> int:
    """How long the venue's present minute lasts at most."""
    date = answer_date(headers)
    return _MINUTE_SECONDS - (date.second if date is not None else 0)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
