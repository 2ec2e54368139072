"""Lines of a file, however it is packed: plain, gzip, or a zip of one file. Memory is bounded, places are known."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from engine.errors import DataError, InputMissingError

_CHUNK_BYTES = 1 << 20
_LINE_BYTES_MOST = 64 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line without its end: number from 1, and where it begins (bytes, unpacked, from 0)."""

    number: int
    byte: int
    content: bytes


def read_lines(path: Path) -> Iterator[Line]:
    """Every line that is not blank; raises InputMissingError or DataError naming file, line and byte."""
    number, byte, rest = 0, 0, b""
    for chunk in _chunks(path):
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        for part in parts:
            number += 1
            if part.strip():
                yield Line(number, byte, part)
            byte += len(part) + 1
        if len(rest) > _LINE_BYTES_MOST:
            raise DataError(
                f"{path} is no text of lines: line {number + 1}, from byte {byte} on, is longer than"
                f" {_LINE_BYTES_MOST >> 20} MiB",
                remedy="A capture has one message on each line. Check that it is the right file.",
            )
    if rest.strip():
        yield Line(number + 1, byte, rest)


def _chunks(path: Path) -> Iterator[bytes]:
    done = 0
    try:
        with contextlib.ExitStack() as stack:
            source = _opened(path, stack)
            while chunk := source.read(_CHUNK_BYTES):
                done += len(chunk)
                yield chunk
    except FileNotFoundError:
        raise InputMissingError(f"File not found: {path}", remedy="Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory", remedy="Name the files in it.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read by this user", remedy=f"Run: chmod u+r {path}") from None
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} is damaged after byte {done} of what it unpacks to: {error}",
            remedy=f"Fetch it again, or import what can be read: gzip -dc {path.name} > part.txt",
        ) from None
    if not done:
        raise DataError(f"{path} is empty (0 bytes)", remedy="Fetch or record the file again.")


def _opened(path: Path, stack: contextlib.ExitStack) -> IO[bytes]:
    file = stack.enter_context(path.open("rb"))
    magic = file.read(4)
    file.seek(0)
    if magic[:2] == _GZIP_MAGIC:
        unpacked = gzip.GzipFile(fileobj=file, mode="rb")
        stack.callback(unpacked.close)
        return cast("IO[bytes]", unpacked)
    if magic == _ZIP_MAGIC:
        archive = stack.enter_context(zipfile.ZipFile(file))
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} files", remedy="Unpack it, and import the files in it.")
        return stack.enter_context(archive.open(names[0]))
    return file
