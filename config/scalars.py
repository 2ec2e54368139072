"""From a scalar's text to its value, and back: exact numbers and points in time."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

NUMBER = r"[-+]?(?:(?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
MOMENT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,3}0{0,6})?)?(?:Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_NUMBER = re.compile(NUMBER)
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")
_MOMENT = re.compile(MOMENT)

DIGITS_MAX = 28  # what decimal's default context holds without rounding
DECIMALS_MAX = 18
NUMBER_LENGTH_MAX = 64
INT64_MAX = 2**63 - 1

NS_PER_MS = 1_000_000
# Below: seconds or a date such as 20240101 written where milliseconds belong. Above: micro- or nanoseconds.
MOMENT_MS_MIN = 100_000_000_000
MOMENT_MS_MAX = 7_258_118_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decimal_of(text: str) -> Decimal | None:
    """Return a number exactly as written, without idle zeros; None for other text and beyond 28 digits."""
    if len(text) > NUMBER_LENGTH_MAX or _NUMBER.fullmatch(text) is None:
        return None
    plain = plain_text(Decimal(text))
    _, _, decimals = plain.partition(".")
    if len(decimals) > DECIMALS_MAX or len(plain.strip("-0.").replace(".", "")) > DIGITS_MAX:
        return None
    value = Decimal(plain)
    return value if abs(value) < 10**DIGITS_MAX else None


def whole_of(text: str) -> int | None:
    """Return a whole number of 64 bits (`20`, `20.0`, `2e1`); None where the text is none."""
    value = decimal_of(text)
    if value is None or value != value.to_integral_value() or abs(value) > INT64_MAX:
        return None
    return int(value)


def plain_number_of(text: str) -> int | float | None:
    """Return a strategy parameter: an int where written as one, else a float; None for other text."""
    if len(text) > NUMBER_LENGTH_MAX or _NUMBER.fullmatch(text) is None:
        return None
    if _WHOLE.fullmatch(text):
        whole = int(text)
        return whole if abs(whole) <= INT64_MAX else None
    number = float(text)
    return number if math.isfinite(number) else None


def moment_ns_of(text: str) -> int | None:
    """Return an ISO date (its first instant) or time as UTC ns; no offset means UTC. None for other text."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Differences of aware times are exact, even where the offset leads out of the calendar.
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    ts_ms = since // timedelta(milliseconds=1)
    return ts_ms * NS_PER_MS if 0 <= ts_ms <= MOMENT_MS_MAX else None


def moment_ns_of_ms(text: str) -> int | None:
    """UTC milliseconds as UTC ns; None for what cannot be milliseconds."""
    ts_ms = whole_of(text)
    if ts_ms is None or not MOMENT_MS_MIN <= ts_ms <= MOMENT_MS_MAX:
        return None
    return ts_ms * NS_PER_MS


def plain_text(value: Decimal) -> str:
    """Return a Decimal without exponent and idle zeros: equal values give equal text."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def moment_text(ts_ns: int) -> str:
    """UTC ns (whole milliseconds) as ISO text: `2024-01-01T00:00:00Z`, with `.500` where it is needed."""
    ts_ms, rest = divmod(ts_ns, NS_PER_MS)
    assert rest == 0, "times of a config are whole milliseconds"
    moment = _EPOCH + timedelta(milliseconds=ts_ms)
    precision = "milliseconds" if ts_ms % 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
