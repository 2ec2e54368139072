"""Records of 64 bytes, packed one after the other into a buffer that is taken as an array.

The receive time never falls on a tape: a time before the last one is written as the last one.
"""

from __future__ import annotations

from itertools import starmap
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.captures.book_sync import BookMessage
from engine.kernels.layout import LAST, LEVEL, RECORD, SELL, SNAPSHOT

_PACK = Struct("<qqBBHHHqqqqq").pack
_HEAD, _LEVEL, _IDS = Struct("<qqBBHHH").pack, Struct("<qq").pack, Struct("<qqq").pack
_FLAGS_BYTE = 17
_NO_LEVEL = ((0, 0),)
_RECORD_BYTES = RECORD.itemsize
assert Struct("<qqBBHHHqqqqq").size == _RECORD_BYTES


class RecordBuilder:
    """Collects records; `take` gives them away."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._last_ns = 0

    def __len__(self) -> int:
        return len(self._buffer) // _RECORD_BYTES

    def add(
        self,
        kind: int,
        instrument: int,
        source: int,
        ts_exchange_ns: int,
        ts_receive_ns: int,
        words: tuple[int, int, int, int, int],
        flags: int = 0,
    ) -> None:
        """Append one record with the words a to e."""
        if ts_receive_ns > self._last_ns:  # noqa: PLR1730 - called for every message: a call of max costs as much as the rest
            self._last_ns = ts_receive_ns
        self._buffer += _PACK(ts_exchange_ns, self._last_ns, kind, flags, instrument, source, 0, *words)

    def add_book(self, instrument: int, message: BookMessage) -> int:
        """Append a book message, bids first, and return how many records it took; one without levels takes one."""
        self._last_ns = max(self._last_ns, message.ts_receive_ns)
        flags, buffer = SNAPSHOT if message.is_snapshot else 0, self._buffer
        times = (message.ts_exchange_ns, self._last_ns, LEVEL)
        ids = _IDS(message.last_id, message.previous_id, message.first_id)
        sides = ((flags, message.bids), (flags | SELL, message.asks))
        for side_flags, levels in sides if message.bids or message.asks else ((flags, _NO_LEVEL),):
            if levels:
                # What all levels of a side have in common is packed once, and stands between them.
                head = _HEAD(*times, side_flags, instrument, message.source, 0)
                buffer += head + (ids + head).join(starmap(_LEVEL, levels)) + ids
        buffer[_FLAGS_BYTE - _RECORD_BYTES] |= LAST
        return max(1, len(message.bids) + len(message.asks))

    def append(self, records: NDArray[Any]) -> None:
        """Append records that are ready; their receive times do not fall, and are raised to the last one written."""
        raised = records.copy()
        np.maximum(raised["ts_receive_ns"], self._last_ns, out=raised["ts_receive_ns"])
        self._last_ns = max(self._last_ns, int(raised["ts_receive_ns"][-1]))
        self._buffer += raised.tobytes()

    def take(self) -> NDArray[Any]:
        """The records collected so far, as an array of their own."""
        buffer, self._buffer = self._buffer, bytearray()
        return np.frombuffer(buffer, dtype=RECORD)
