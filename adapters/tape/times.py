"""Moments as people write them on a command line, as UTC nanoseconds, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from engine.bars import NS_PER_SECOND
from engine.errors import UsageError

_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<time>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d{1,9}))?(?P<zone>[Zz]|[+-]\d\d:?\d\d)?)?"
)
# A count below this would be of seconds, ms or us: taken for ns it would mean a day of January 1970, silently.
_NS_LEAST = 10**17
_NS_MOST = 2**63 - 1


def parse_time(text: str) -> int:
    """Return a moment: ISO (2024-08-08, 2024-08-08T23:55:00.5Z; UTC where no zone is given) or ns since 1970.

    Raises UsageError where the text is neither.
    """
    stripped = text.strip()
    if stripped.isdecimal():
        if _NS_LEAST <= int(stripped) <= _NS_MOST:
            return int(stripped)
        raise _refused(text)
    match = _ISO.fullmatch(stripped)
    if match is None:
        raise _refused(text)
    zone = (match["zone"] or "Z").upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00'}{zone}")
        seconds = int(moment.astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        raise _refused(text) from None
    ts_ns = seconds * NS_PER_SECOND + int((match["fraction"] or "0").ljust(9, "0"))
    if not 0 <= ts_ns <= _NS_MOST:
        raise _refused(text)
    return ts_ns


def time_text(ts_ns: int) -> str:
    """Return a moment as ISO in UTC, with all its nine decimals."""
    seconds, fraction = divmod(ts_ns, NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def _refused(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a moment",
        remedy="Write it such as 2024-08-08T23:55:00Z (UTC where no zone is given), or in nanoseconds since 1970.",
    )
