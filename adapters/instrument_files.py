"""What a venue says of an instrument, as `data download` keeps it: `data/instruments/{SYMBOL}.json` under a home.

One file a symbol, as there is one for its bars: a home holds one market by that name.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import msgspec

from adapters.bar_files import checked_symbol, shown, write_whole
from engine.errors import DataError
from engine.settings import InstrumentKind


class StoredInstrument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tick, lot and the least notional of an order; `source` is the address, `fetched_ns` when it was asked (UTC)."""

    symbol: str
    exchange: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: Decimal
    minimum_notional: Decimal
    source: str
    fetched_ns: int


def instrument_path(home: Path, symbol: str) -> Path:
    """Where the file of a symbol is; raises UsageError where it is no name for one."""
    return home / "data" / "instruments" / f"{checked_symbol(symbol)}.json"


def read_instrument(home: Path, symbol: str) -> StoredInstrument | None:
    """What is stored of a symbol, None where nothing is. Raises DataError for a file that cannot be right."""
    path = instrument_path(home, symbol)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=StoredInstrument)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise _unsound(path, symbol, str(error)) from None
    if found.symbol != symbol or found.tick_size <= 0 or found.lot_size <= 0 or found.minimum_notional < 0:
        raise _unsound(path, symbol, "it is of another symbol, or a step is not above 0")
    return found


def write_instrument(home: Path, instrument: StoredInstrument) -> Path:
    """Store what a venue says, in one step; the file's path."""
    path = instrument_path(home, instrument.symbol)
    text = msgspec.json.format(msgspec.json.encode(instrument), indent=2) + b"\n"
    write_whole(path, lambda file: _write(file, text))
    return path


def _write(file: BinaryIO, text: bytes) -> None:
    file.write(text)


def _unsound(path: Path, symbol: str, problem: str) -> DataError:
    return DataError(
        f"{shown(path)} cannot be right: {problem}",
        remedy=f"Run: tapewright data download --kind instrument --symbol {symbol}; or remove it: tick and lot are"
        " then taken from the bars' decimals.",
    )
