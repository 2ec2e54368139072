"""What is stored, file by file: its span, quality, content hash, and the steps its decimals make."""

from __future__ import annotations

from pathlib import Path

import msgspec

from adapters.bar_files import content_hash, name_of, shown, stored_hash
from adapters.bar_import import placed, read_source
from adapters.bar_quality import FIELDS, PRICE_FIELDS, Quality, check_bars
from engine.bars import Bars
from engine.errors import UsageError
from engine.precision import infer_unit


class BarSummary(msgspec.Struct, frozen=True):
    """One file of bars. `hash_differs` where the file says another content hash of itself than it has."""

    path: str
    symbol: str
    timeframe: str
    time_unit: str
    quality: Quality
    tick_size: str
    lot_size: str
    content_sha256: str
    hash_differs: bool

    @property
    def sound(self) -> bool:
        """Whether nothing was found against the file."""
        return self.quality.sound and not self.hash_differs


def stored_paths(home: Path) -> list[Path]:
    """Every file of bars stored under a home, by name."""
    return sorted(path for path in (home / "data" / "raw").glob("*.parquet") if name_of(path) is not None)


def summarize(path: Path, symbol: str = "", timeframe: str = "", *, no_volume: bool = False) -> BarSummary:
    """Check any file of candles, stored or not; symbol and timeframe default to what its name tells.

    Raises UsageError where neither tells the timeframe, else as `read_source` does.
    """
    named = name_of(path)
    symbol = symbol or (named[0] if named else "")
    timeframe = timeframe or (named[1] if named else "")
    if not timeframe:
        raise UsageError(f"The timeframe of {path} is not known", remedy="Give it, such as --timeframe 1m.")
    source = read_source(path, symbol=symbol, no_volume=no_volume)
    table = source.table
    quality = placed(check_bars(table, timeframe), source)
    bars = Bars(symbol, timeframe, table.ts_ns, *(table.column(field) for field in FIELDS))
    content_sha256 = content_hash(bars)
    says = stored_hash(path) if named and not source.frame.first_line else None
    return BarSummary(
        path=shown(path),
        symbol=symbol,
        timeframe=timeframe,
        time_unit=source.time_unit,
        quality=quality,
        tick_size=f"{infer_unit(*(table.column(field) for field in PRICE_FIELDS)):f}" if quality.sound else "",
        lot_size=f"{infer_unit(table.volume):f}" if quality.sound else "",
        content_sha256=content_sha256,
        hash_differs=says is not None and says != content_sha256,
    )
