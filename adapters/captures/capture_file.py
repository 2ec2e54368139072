"""One file of a capture: which kind it is, told by its content, and the messages it holds."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from adapters.captures import binance, binance_market, bybit, hyperliquid, tardis
from adapters.captures.lines import Line, read_lines
from adapters.captures.messages import Message
from adapters.captures.raw_lines import ReadMessage, read_line
from adapters.captures.report import SHARE_MOST, UNREADABLE, FileCount, ImportReport, Reason, RejectedError
from engine.errors import DataError
from engine.settings import InstrumentKind

_PROBE_LINES = 1_000
_HEAD_LINES = 50


class CaptureKind(StrEnum):
    """What a file holds, by the program or venue that wrote it."""

    binance_spot = "binance_spot"
    binance_usdm = "binance_usdm"
    binance_coinm = "binance_coinm"
    bybit = "bybit"
    hyperliquid = "hyperliquid"
    tardis = "tardis"
    bars = "bars"


SOURCE_KINDS = {
    CaptureKind.binance_spot: "binance raw capture",
    CaptureKind.binance_usdm: "binance raw capture",
    CaptureKind.binance_coinm: "binance raw capture",
    CaptureKind.bybit: "bybit order book file",
    CaptureKind.hyperliquid: "hyperliquid raw capture",
    CaptureKind.tardis: "tardis csv",
    CaptureKind.bars: "bars",
}
_REMEDY = (
    "Known are raw captures `<receive ns> <JSON>` of Binance, Bybit and Hyperliquid, Bybit's .data.zip, Tardis' CSV"
    " (incremental_book_L2, trades, derivative_ticker) and stored bars. Give --kind where a file is one of them."
)
_READERS: dict[CaptureKind, ReadMessage] = {
    CaptureKind.binance_spot: binance.read_message,
    CaptureKind.binance_usdm: binance.read_message,
    CaptureKind.binance_coinm: binance.read_message,
    CaptureKind.bybit: bybit.read_message,
    CaptureKind.hyperliquid: hyperliquid.read_message,
}


class CaptureFile(msgspec.Struct, frozen=True):
    """A file that was recognised. `exchange` is what a Tardis file names; `has_own_clock`: it has receive times."""

    path: Path
    kind: CaptureKind
    exchange: str = ""
    has_own_clock: bool = True

    @property
    def is_snapshot_in_stream(self) -> bool:
        """Whether snapshots stand in order among the deltas; Binance's are fetched beside the stream."""
        return self.kind in (CaptureKind.bybit, CaptureKind.hyperliquid, CaptureKind.tardis)

    def market_of(self, symbol: str) -> tuple[str, InstrumentKind]:
        """Venue and instrument kind of one of its symbols."""
        match self.kind:
            case CaptureKind.binance_spot:
                return "binance_spot", "spot"
            case CaptureKind.binance_usdm:
                return "binance_usdm", "linear"
            case CaptureKind.binance_coinm:
                return "binance_coinm", "inverse"
            case CaptureKind.bybit:
                return bybit.market_of(symbol)
            case CaptureKind.hyperliquid:
                return "hyperliquid", "spot" if symbol.startswith("@") or "/" in symbol else "linear"
            case CaptureKind.tardis:
                return tardis.market_of(self.exchange)
            case CaptureKind.bars:
                raise AssertionError("bars have no messages")


def recognise(path: Path, kind: CaptureKind | None = None) -> CaptureFile:
    """Tell what a file is by its content; raises InputMissingError, and DataError naming line and byte.

    `kind` says it beforehand: then only what else there is to know is looked up.
    """
    if is_parquet(path) or kind is CaptureKind.bars:
        return CaptureFile(path, CaptureKind.bars)
    lines = list(itertools.islice(read_lines(path), _PROBE_LINES))
    if not lines:
        raise DataError(f"{path} holds blank lines only", remedy="Record or fetch the file again.")
    found = kind or _kind_of(lines)
    if found is None:
        start = lines[0].content[:60].decode(errors="replace")
        raise DataError(
            f"{path}: the first lines are of no known capture: line {lines[0].number}, byte {lines[0].byte}: {start!r}",
            remedy=_REMEDY,
        )
    if found is CaptureKind.tardis:
        return _tardis_file(path, lines)
    has_own_clock = not (found is CaptureKind.bybit and lines[0].content.startswith(b"{"))
    return CaptureFile(path, found, has_own_clock=has_own_clock)


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet; a file that cannot be opened is none, and is named when it is read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


class CaptureReader:
    """Reads one file from its beginning to its end, and knows where it is."""

    def __init__(self, file: CaptureFile, report: ImportReport) -> None:
        self.file = file
        self._report = report
        self._line = Line(0, 0, b"")
        self._lines_count = 0
        self._rejected_count = 0
        self._unreadable_count = 0
        self._first_unreadable = ""

    def messages(self) -> Iterator[Message]:
        """Every message in its order; what cannot be used is counted in the report, with its first place.

        Raises DataError where more than 1 % of the lines cannot be read, once all were seen.
        """
        lines = self._counted(read_lines(self.file.path))
        if self.file.kind is CaptureKind.tardis:
            yield from tardis.read_table(lines, self._reject)
        else:
            read = _READERS[self.file.kind]
            for line in lines:
                try:
                    messages = read_line(read, line.content)
                except RejectedError as error:
                    self._reject(error)
                else:
                    yield from messages
        self._close()

    def place(self) -> str:
        """Where the line stands that was read last, as errors and reports name it."""
        return f"{self.file.path.name} line {self._line.number} (byte {self._line.byte})"

    def _counted(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            self._lines_count += 1
            self._line = line
            yield line

    def _reject(self, error: RejectedError) -> None:
        self._report.reject(error.reason, self.place, detail=error.detail)
        self._rejected_count += 1
        if error.reason is Reason.unknown_stream:
            self._report.unknown_streams[error.detail] += 1
        if error.reason in UNREADABLE:
            self._unreadable_count += 1
            self._first_unreadable = self._first_unreadable or f"{self.place()}: {error.reason}: {error.detail}"

    def _close(self) -> None:
        path, kind = self.file.path, SOURCE_KINDS[self.file.kind]
        self._report.files.append(FileCount(path.name, kind, self._lines_count, self._rejected_count))
        if self._unreadable_count > max(1, self._lines_count * SHARE_MOST):
            raise DataError(
                f"{path}: {self._unreadable_count:,} of {self._lines_count:,} lines cannot be read as {kind},"
                f" the first: {self._first_unreadable}",
                remedy="The file is damaged or of another kind. Fetch it again, or give its --kind.",
            )


def checksum(path: Path) -> str:
    """SHA-256 of the file as it lies on the disk, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind_of(lines: Sequence[Line]) -> CaptureKind | None:
    """The kind that the first lines agree on; a few of them may be noise."""
    if tardis.table_of(lines[0].content) is not None:
        return CaptureKind.tardis
    for line in lines[:_HEAD_LINES]:
        for kind, read in (
            (CaptureKind.bybit, bybit.read_message),
            (CaptureKind.hyperliquid, hyperliquid.read_message),
        ):
            try:
                read_line(read, line.content)
            except RejectedError:
                continue
            return kind
    for line in lines:
        market = binance_market.market_of(line.content)
        if market is not None:
            return CaptureKind(market)
    return None


def _tardis_file(path: Path, lines: Sequence[Line]) -> CaptureFile:
    if tardis.table_of(lines[0].content) is None:
        raise DataError(
            f"{path}: line 1, byte 0: the header is none of Tardis' incremental_book_L2, trades, derivative_ticker",
            remedy=_REMEDY,
        )
    exchange = tardis.exchange_of(lines[0].content, lines[1].content) if len(lines) > 1 else ""
    return CaptureFile(path, CaptureKind.tardis, exchange)
