"""Payloads of frames: byte shuffle, then zstd.

All first bytes of the records, then all second bytes, and so on: most bytes of a record are those of the record
before it, so that planes of equal bytes arise, which zstd level 1 packs nine times and more.
"""

from __future__ import annotations

import numpy as np
import zstandard
from numpy.typing import NDArray

from adapters.tape.format import FRAME_RECORDS_MAX, RAW, RECORD_BYTES, SHUFFLED_ZSTD, Header
from engine.kernels.layout import RECORD

Records = NDArray[np.void]


class Packer:
    """Makes payloads; keeps its buffers, so it belongs to one writer."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._planes = np.empty(FRAME_RECORDS_MAX * RECORD_BYTES, np.uint8)

    def pack(self, records: Records) -> tuple[int, bytes]:
        """Return codec and payload of C-contiguous records; as they are, where packing would not make them fewer."""
        planes = self._planes[: len(records) * RECORD_BYTES].reshape(RECORD_BYTES, len(records))
        np.copyto(planes, records.view(np.uint8).reshape(len(records), RECORD_BYTES).T)
        packed = self._compressor.compress(planes.data)
        if len(packed) < planes.size:
            return SHUFFLED_ZSTD, packed
        return RAW, records.tobytes()


class Unpacker:
    """Turns payloads into records; keeps its buffers, so it belongs to one reader."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor()
        self._pairs = np.empty(FRAME_RECORDS_MAX * RECORD_BYTES // 2, np.uint16)
        self._lower_pairs = np.empty_like(self._pairs)
        self._quads = np.empty(FRAME_RECORDS_MAX * RECORD_BYTES // 4, np.uint32)
        self._lower_quads = np.empty_like(self._quads)

    def unpack(self, header: Header, payload: bytes, into: Records) -> bool:
        """Fill `into` (C-contiguous, `header.count` records); False where the payload does not hold them."""
        size = header.count * RECORD_BYTES
        if header.codec == RAW:
            if len(payload) != size:
                return False
            into.view(np.uint8)[:] = np.frombuffer(payload, np.uint8)
            return True
        assert header.codec == SHUFFLED_ZSTD
        try:
            shuffled = self._decompressor.decompress(payload, max_output_size=size)
        except zstandard.ZstdError:
            return False
        if len(shuffled) != size:
            return False
        self._unshuffle(np.frombuffer(shuffled, np.uint8).reshape(RECORD_BYTES, header.count), into)
        return True

    def _unshuffle(self, planes: NDArray[np.uint8], into: Records) -> None:
        """Put the planes back side by side: pairs of bytes first, then fours, then each four into its records.

        Twice as fast as one plane after the other, which touches every record 64 times.
        """
        count = planes.shape[1]
        pairs, lower_pairs = (
            each[: RECORD_BYTES // 2 * count].reshape(-1, count) for each in (self._pairs, self._lower_pairs)
        )
        quads, lower_quads = (
            each[: RECORD_BYTES // 4 * count].reshape(-1, count) for each in (self._quads, self._lower_quads)
        )
        _join(planes, pairs, lower_pairs, 8)
        _join(pairs, quads, lower_quads, 16)
        words = into.view(np.uint32).reshape(count, RECORD_BYTES // 4)
        for place in range(RECORD_BYTES // 4):
            words[:, place] = quads[place]


def _join(
    narrow: NDArray[np.unsignedinteger],
    wide: NDArray[np.unsignedinteger],
    lower: NDArray[np.unsignedinteger],
    bits: int,
) -> None:
    """Make each two rows of `narrow` one row of `wide`; the work is done eight bytes at a time."""
    np.copyto(wide, narrow[1::2])
    np.copyto(lower, narrow[0::2])
    # The upper half of each element is still 0, so no bit of one moves into the next.
    upper_words = wide.reshape(-1).view(np.uint64)
    np.left_shift(upper_words, np.uint64(bits), out=upper_words)
    np.bitwise_or(upper_words, lower.reshape(-1).view(np.uint64), out=upper_words)


def empty_records(count: int) -> Records:
    """Room for records."""
    return np.empty(count, RECORD)
