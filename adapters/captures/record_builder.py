"""Records of 64 bytes, packed one after the other into a buffer that is taken as an array.

The receive time never falls on a tape: a time before the last one is written as the last one.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.captures.book_sync import BookMessage
from engine.kernels.layout import LAST, LEVEL, RECORD, SELL, SNAPSHOT

_PACK = Struct("<qqBBHHHqqqqq").pack
_FLAGS_BYTE = 17
assert Struct("<qqBBHHHqqqqq").size == RECORD.itemsize


class RecordBuilder:
    """Collects records; `take` gives them away."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._last_ns = 0

    def __len__(self) -> int:
        return len(self._buffer) // RECORD.itemsize

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
        self._last_ns = max(self._last_ns, ts_receive_ns)
        self._buffer += _PACK(ts_exchange_ns, self._last_ns, kind, flags, instrument, source, 0, *words)

    def add_book(self, instrument: int, message: BookMessage) -> int:
        """Append a book message, bids first, and return how many records it took; one without levels takes one."""
        self._last_ns = max(self._last_ns, message.ts_receive_ns)
        flags = SNAPSHOT if message.is_snapshot else 0
        head = (message.ts_exchange_ns, self._last_ns, LEVEL)
        owner = (instrument, message.source, 0)
        ids = (message.last_id, message.previous_id, message.first_id)
        bid_flags, ask_flags = flags, flags | SELL
        records = [_PACK(*head, bid_flags, *owner, price, size, *ids) for price, size in message.bids]
        records += [_PACK(*head, ask_flags, *owner, price, size, *ids) for price, size in message.asks]
        if not records:
            records.append(_PACK(*head, flags, *owner, 0, 0, *ids))
        last = bytearray(records[-1])
        last[_FLAGS_BYTE] |= LAST
        records[-1] = bytes(last)
        self._buffer += b"".join(records)
        return len(records)

    def append(self, records: NDArray[Any]) -> None:
        """Append records that are ready; their receive times do not fall, and are raised to the last one written."""
        raised = records.copy()
        np.maximum(raised["ts_receive_ns"], self._last_ns, out=raised["ts_receive_ns"])
        self._last_ns = max(self._last_ns, int(raised["ts_receive_ns"][-1]))
        self._buffer += raised.tobytes()

    def take(self) -> NDArray[Any]:
        """The records collected so far, as an array of their own."""
        records = np.frombuffer(bytes(self._buffer), dtype=RECORD).copy()
        self._buffer.clear()
        return records
