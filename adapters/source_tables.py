"""Files that people have, as frames: CSV in its dialects, Parquet, Arrow. Told apart by content, not by name.

Cells of a text file stay text here, so that a finding can show what stands in the file and on which line.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from pathlib import Path

import msgspec
import polars as pl

from engine.errors import DataError, InputMissingError

_TEXT_SUFFIXES = (".csv", ".txt", ".tsv")
_SUFFIXES = ".csv, .txt, .tsv (also .gz or .zip), .parquet, .feather, .arrow"
_SEPARATORS = (",", ";", "\t", "|")
_PREAMBLE_LINES_MAX = 5
_HEADER_BYTES_MAX = 65_536
_FRAME_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)

# Positions of a file without a header line, by its number of columns: plain, Kraken's, Binance's klines.
_HEADERLESS = {
    6: ("ts", "open", "high", "low", "close", "volume"),
    7: ("ts", "open", "high", "low", "close", "volume", "trades"),
    12: (
        *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count"),
        *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
    ),
}


class SourceFrame(msgspec.Struct, frozen=True):
    """A file's columns under normalised names (lower case, words joined by `_`).

    `first_line` is the text line of the first row, 0 for a binary file. Blank lines are rows of nulls.
    """

    path: Path
    frame: pl.DataFrame
    first_line: int
    notes: tuple[str, ...]


def read_frame(path: Path) -> SourceFrame:
    """Read a file into columns; raises InputMissingError and DataError, each with what to do."""
    content = _read_bytes(path)
    if content[:4] == b"PAR1":
        return _binary(path, content, "Parquet")
    if content[:6] == b"ARROW1":
        return _binary(path, content, "Arrow")
    if content[:4] == b"FEA1":
        raise DataError(f"{path} is Feather version 1", remedy="Write it as Feather version 2, Parquet or CSV.")
    notes: list[str] = []
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if content[:2] == b"\x1f\x8b":
        content = _unpack_gzip(path, content)
        suffixes = [suffix for suffix in suffixes if suffix != ".gz"]
        notes.append("unpacked gzip")
    elif content[:4] == b"PK\x03\x04" and suffixes[-1:] == [".zip"]:
        content, member = _unpack_zip(path, content)
        suffixes = [Path(member).suffix.lower()]
        notes.append(f"unpacked {member}")
    if suffixes[-1:] and suffixes[-1] in (".parquet", ".feather", ".arrow"):
        raise DataError(
            f"{path} is not a {suffixes[-1][1:]} file: it does not begin as one does",
            remedy="The file was cut, or is of another kind. Fetch it again, or give it its own ending.",
        )
    if not suffixes or suffixes[-1] not in _TEXT_SUFFIXES:
        raise DataError(f"{path}: files of this kind are not read", remedy=f"Known are {_SUFFIXES}.")
    return _text(path, content, notes)


def normalised(name: str) -> str:
    """Return a column's name without case, blanks and signs: `Volume (BTC)` and `volume_btc` are one."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip().strip('"'))
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputMissingError(f"File not found: {path}", remedy="Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory", remedy="Name one file in it; import files one by one.") from None
    except PermissionError:
        raise DataError(f"{path} may not be read by this user", remedy=f"Run: chmod u+r {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", remedy="Check the path and the disk.") from error
    if not content:
        raise DataError(f"{path} is empty (0 bytes)", remedy="Fetch or export the file again.")
    return content


def _binary(path: Path, content: bytes, kind: str) -> SourceFrame:
    try:
        frame = pl.read_parquet(io.BytesIO(content)) if kind == "Parquet" else pl.read_ipc(io.BytesIO(content))
    except _FRAME_ERRORS as error:
        raise DataError(
            f"{path} is damaged: it begins as {kind} does, but cannot be read ({first_line_of(error)})",
            remedy="The file was cut or changed. Fetch or export it again.",
        ) from None
    return SourceFrame(path, _renamed(path, frame), 0, (kind,))


def first_line_of(error: BaseException) -> str:
    """Return the first line of another library's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unpack_gzip(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged: it cannot be unpacked ({first_line_of(error)})",
            remedy="Fetch the file again.",
        ) from None


def _unpack_zip(path: Path, content: bytes) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise DataError(f"{path} holds {len(names)} files", remedy="Unpack it and import one file.")
            return archive.read(names[0]), names[0]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"{path} is damaged: it cannot be unpacked ({first_line_of(error)})",
            remedy="Fetch the file again.",
        ) from None


def _text(path: Path, content: bytes, notes: list[str]) -> SourceFrame:
    content = content.removeprefix(b"\xef\xbb\xbf")
    place = content.find(b"\0")
    if place >= 0:
        raise DataError(
            f"{path} is not text: byte {place + 1} is zero",
            remedy="Export it as CSV in UTF-8, or as Parquet.",
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start + 1} is {content[error.start]:#04x}",
            remedy="Export it as CSV in UTF-8, or as Parquet.",
        ) from None
    preamble_lines, header, separator = _find_header(path, content)
    cells = [cell.strip().strip('"') for cell in header.split(separator)]
    has_header = not any(_is_number(cell) for cell in cells[1:])
    names: tuple[str, ...] | None = None
    if not has_header:
        names = _HEADERLESS.get(len(cells))
        if names is None:
            raise DataError(
                f"{path} has no header line, and {len(cells)} columns",
                remedy="Put a first line that names the columns: ts,open,high,low,close,volume",
            )
        notes.append(f"no header line: {len(cells)} columns taken as {','.join(names[:6])}")
    body = b"\n".join(content.split(b"\n", preamble_lines)[preamble_lines:]) if preamble_lines else content
    frame = _parse(path, body, separator, has_header=has_header, before_lines=preamble_lines)
    frame = frame.rename(dict(zip(frame.columns, names, strict=True))) if names else _renamed(path, frame)
    return SourceFrame(path, frame, preamble_lines + (2 if has_header else 1), tuple(notes))


def _find_header(path: Path, content: bytes) -> tuple[int, str, str]:
    """Lines before the header, the header, and what separates its columns."""
    lines = content[:_HEADER_BYTES_MAX].decode(errors="ignore").split("\n")
    for count, line in enumerate(lines[: _PREAMBLE_LINES_MAX + 1]):
        separator = max(_SEPARATORS, key=line.count)
        if separator in line and not line.startswith("#"):
            return count, line.rstrip("\r"), separator
    raise DataError(
        f"{path} has no columns: line 1 reads {lines[0][:60].strip()!r}",
        remedy="Separate columns by commas, the first line naming them: ts,open,high,low,close,volume",
    )


def _parse(path: Path, body: bytes, separator: str, *, has_header: bool, before_lines: int) -> pl.DataFrame:
    try:
        return pl.read_csv(body, has_header=has_header, separator=separator, infer_schema=False)
    except _FRAME_ERRORS as error:
        message = _ragged_line(body.decode(), separator, before_lines) or first_line_of(error)
        raise DataError(
            f"{path}: {message}", remedy="Every line holds one row, with as many columns as the first line."
        ) from None


def _ragged_line(text: str, separator: str, before_lines: int) -> str:
    lines = text.split("\n")
    columns = lines[0].count(separator)
    for number, line in enumerate(lines, start=before_lines + 1):
        if line.count('"') % 2:
            return f"line {number} opens a quote and does not close it"
        if line.count(separator) > columns:
            return f"line {number} has {line.count(separator) + 1} columns, the first line {columns + 1}"
    return ""


def _renamed(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    names = [normalised(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns named {twice[0]!r}", remedy="Keep one of them.")
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
