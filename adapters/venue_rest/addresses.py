"""Addresses at a venue, or at whatever stands for it: a loopback exchange, a proxy."""

from __future__ import annotations

from urllib.parse import urlencode


def address_at(address: str, rest: str, query: dict[str, str | int] | None = None) -> str:
    """The venue's own address, with `rest` (scheme, host, perhaps a path before) instead of its scheme and host."""
    if rest:
        path = address.partition("://")[2].partition("/")[2]
        address = f"{rest.rstrip('/')}/{path}"
    return f"{address}?{urlencode(query)}" if query else address
