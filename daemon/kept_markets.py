"""Markets that stay in memory between runs, as long as their files and what the config says of them stay the same."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import msgspec
import numpy as np

from adapters.bar_bank import S3
from config.document import to_document
from config.model import RunConfig
from daemon.markets import load_market, market_files
from engine.market import Market

# Modification time, change time, size, number of a file; None: it is not there.
Stamp = tuple[int, int, int, int] | None


class _Kept(msgspec.Struct, frozen=True):
    key: object
    checksum: int
    market: Market
    lines: list[str]


class KeptMarkets:
    """Loads as `load_market` does, and only what has changed since it was loaded before.

    A strategy can write to columns if it goes out of its way, so their checksum is compared before they are used again.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def load(self, home: Path, symbol: str, config: RunConfig) -> tuple[Market, list[str]]:
        """One market of a run, and the lines of its log; raises as `load_market` does."""
        key = _key(home, symbol, config)
        kept = self._kept.get(symbol)
        if kept is not None and kept.key == key and _checksum(kept.market) == kept.checksum:
            return kept.market, list(kept.lines)
        self._kept.pop(symbol, None)
        market, lines = load_market(home, symbol, config)
        self._kept[symbol] = _Kept(key, _checksum(market), market, list(lines))
        return market, lines

    def forget_but(self, symbols: tuple[str, ...]) -> None:
        """Drop what no run asks for any more."""
        for symbol in [symbol for symbol in self._kept if symbol not in symbols]:
            del self._kept[symbol]


def _key(home: Path, symbol: str, config: RunConfig) -> object:
    """All that a market is made of: its files as they lie there, and the config without its strategies."""
    paths = market_files(home, symbol, config)
    rest = msgspec.structs.replace(config, strategies=(), indicators=(), source="")
    seen = object() if config.data.bank.startswith(S3) else None  # like nothing else: what lies there is not known
    return [_stamp(path) for path in paths], [str(path) for path in paths], to_document(rest), seen


def _stamp(path: Path) -> Stamp:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _checksum(market: Market) -> int:
    crc = 0
    for bars in (market.bars, market.lookback):
        if bars is not None:
            for column in (bars.ts_ns, bars.open, bars.high, bars.low, bars.close, bars.volume):
                crc = google_crc32c.extend(crc, np.ascontiguousarray(column).view(np.uint8).tobytes())
    return crc
