"""Times of figures as they are written."""

from __future__ import annotations

import numpy as np

from engine.bars import NS_PER_MS


def utc_text(ts_ns: int) -> str:
    """Write a UTC time in ns as ISO 8601 to the millisecond: `2025-01-16T14:30:25.000Z`."""
    return str(np.datetime_as_string(np.datetime64(ts_ns // NS_PER_MS, "ms"), timezone="UTC"))
