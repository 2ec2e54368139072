"""The bytes of a tape's files: frame headers, index, footer, names. `docs/tape.md` says what each field means."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import google_crc32c
import msgspec
import numpy as np

MAGIC = b"TWFRAME1"
INDEX_MAGIC = b"TWINDEX1"
HEADER_BYTES = 64
FOOTER_BYTES = 96
RECORD_BYTES = 64
TAPE_ID_BYTES = 16
FRAME_RECORDS_MAX = 4_096
SEGMENT_BYTES_MAX = 256_000_000

RAW, SHUFFLED_ZSTD = 0, 1  # codecs
RECORDS = 1  # the one kind of frame
HOLDS_DOCUMENTS, CONTINUES = 1, 2  # marks of a frame

INDEX_ENTRY = np.dtype(
    [("offset", "<u8"), ("first_seq", "<u8"), ("first_ns", "<i8"), ("count", "<u4"), ("marks", "<u4")]
)

_HEADER = struct.Struct("<8sBBBBIIIQqI16sI")
_FOOTER = struct.Struct("<8sQQQQqq32sII")
_NUMBERED = re.compile(r"([0-9]{6})\.tape")
_SEQ_MAX = 2**63 - 1

assert _HEADER.size == HEADER_BYTES
assert _FOOTER.size == FOOTER_BYTES


class Header(msgspec.Struct, frozen=True, gc=False):
    """What stands before a frame's payload. `sum` is its own CRC32C: the next frame's `chain`.

    (The CRC32C of all 64 bytes would not do: over bytes that end with their own CRC it is the same for every header.)
    """

    codec: int
    kind: int
    marks: int
    count: int
    length: int
    payload_sum: int
    first_seq: int
    first_ns: int
    chain: int
    tape_id: bytes
    sum: int

    @property
    def stop_seq(self) -> int:
        """The seq after its last record."""
        return self.first_seq + self.count


class Footer(msgspec.Struct, frozen=True, gc=False):
    """What a sealed segment says of itself; `digest` is the SHA-256 of all bytes before the index."""

    entries: int
    records: int
    first_seq: int
    last_seq: int
    first_ns: int
    last_ns: int
    digest: bytes
    index_sum: int


def checksum(content: bytes) -> int:
    """CRC32C."""
    return int(google_crc32c.value(content))


def encode_header(
    codec: int, marks: int, count: int, payload: bytes, first_seq: int, first_ns: int, chain: int, tape_id: bytes
) -> bytes:
    """Return the 64 bytes that stand before a payload."""
    payload_sum = checksum(payload)
    head = _HEADER.pack(
        MAGIC, codec, RECORDS, marks, 0, count, len(payload), payload_sum, first_seq, first_ns, chain, tape_id, 0
    )[:-4]
    return head + checksum(head).to_bytes(4, "little")


def decode_header(raw: bytes) -> Header | None:
    """Return a header, None where these 64 bytes are none: wrong magic, wrong sum, or counts that cannot be."""
    magic, codec, kind, marks, _, count, length, payload_sum, first_seq, first_ns, chain, tape_id, own_sum = (
        _HEADER.unpack(raw)
    )
    if magic != MAGIC or checksum(raw[:-4]) != own_sum:
        return None
    if not 1 <= count <= FRAME_RECORDS_MAX or not 1 <= length <= count * RECORD_BYTES:
        return None
    if not 1 <= first_seq <= _SEQ_MAX - count:
        return None
    return Header(codec, kind, marks, count, length, payload_sum, first_seq, first_ns, chain, tape_id, own_sum)


def encode_footer(footer: Footer) -> bytes:
    """Return the 96 bytes that end a sealed segment."""
    head = _FOOTER.pack(
        INDEX_MAGIC, footer.entries, footer.records, footer.first_seq, footer.last_seq, footer.first_ns,
        footer.last_ns, footer.digest, footer.index_sum, 0,
    )[:-4]  # fmt: skip
    return head + checksum(head).to_bytes(4, "little")


def decode_footer(raw: bytes) -> Footer | None:
    """Return a footer, None where these 96 bytes are none."""
    magic, *fields, own_sum = _FOOTER.unpack(raw)
    if magic != INDEX_MAGIC or checksum(raw[:-4]) != own_sum:
        return None
    return Footer(*fields)


def first_chain(segment_name: str, tape_id: bytes) -> int:
    """What the first frame of a segment carries as its chain: so that a renamed or foreign segment is noticed."""
    return checksum(segment_name.encode("ascii") + tape_id)


def segment_name(number: int) -> str:
    """Name of a tape's segment, from 1."""
    return f"{number:06d}.tape"


def segment_number(path: Path) -> int | None:
    """Number of a segment's file, None where the file is none."""
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match and int(match[1]) > 0 else None


def segment_paths(folder: Path) -> list[Path]:
    """Return a tape's segments in their order; empty where the folder holds none."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if segment_number(path) is not None)
