"""What one tick and one lot of a symbol are: given, from the venue's list of instruments, or from the data's decimals.

Decimals tell the finest step that was seen, which is the tick unless the venue's tick is coarser (0.5, say): then every
price is still a whole number, only of smaller steps. The session document says which it was, under `metadata`.
"""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import msgspec

from adapters.captures.decimals import unit_of
from adapters.captures.survey import CHANNELS, SymbolSurvey
from adapters.tape.documents import TapeInstrument
from engine.errors import DataError, InputMissingError
from engine.settings import InstrumentKind

_CONTRACT_USD = {"BTCUSD": Decimal(100)}
_CONTRACT_USD_ELSE = Decimal(10)


class InstrumentRules(msgspec.Struct, frozen=True):
    """What a venue's list says of a symbol; 0 where it says nothing."""

    tick_size: Decimal
    lot_size: Decimal
    minimum_notional: Decimal = Decimal(0)
    contract_size: Decimal = Decimal(0)


class _Filter(msgspec.Struct, frozen=True, rename="camel"):
    filter_type: str
    tick_size: Decimal = Decimal(0)
    step_size: Decimal = Decimal(0)
    min_notional: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)


class _Symbol(msgspec.Struct, frozen=True, rename="camel"):
    symbol: str
    filters: list[_Filter]
    contract_size: Decimal = Decimal(0)


class _ExchangeInfo(msgspec.Struct, frozen=True):
    symbols: list[_Symbol]


def read_exchange_info(path: Path) -> dict[str, InstrumentRules]:
    """Tick, lot and contract size by symbol from Binance's exchangeInfo (JSON, also .gz); raises DataError."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        info = msgspec.json.decode(content, type=_ExchangeInfo, strict=False)
    except FileNotFoundError:
        raise InputMissingError(f"File not found: {path}", remedy="Check the path given with --meta.") from None
    except (msgspec.DecodeError, OSError, EOFError) as error:
        raise DataError(
            f"{path} is not a list of instruments as Binance's exchangeInfo gives it: {error}",
            remedy="Fetch /api/v3/exchangeInfo, /fapi/v1/exchangeInfo or /dapi/v1/exchangeInfo, or leave --meta out.",
        ) from None
    return {symbol.symbol: _rules(symbol) for symbol in info.symbols}


def plan_instrument(
    symbol: str,
    market: tuple[str, InstrumentKind],
    seen: SymbolSurvey,
    rules: InstrumentRules | None,
    *,
    tick_size: Decimal | None = None,
    lot_size: Decimal | None = None,
    without: frozenset[str] = frozenset(),
) -> TapeInstrument:
    """The instrument as the session document names it; `metadata` says where tick and lot come from."""
    venue, kind = market
    tick, tick_is = _first(
        (tick_size, "given"),
        (rules.tick_size if rules else None, "exchangeInfo"),
        (unit_of(seen.price_decimals) if seen.price_decimals >= 0 else None, "finest decimals seen"),
        (unit_of(seen.mark_decimals) if seen.mark_decimals >= 0 else None, "finest decimals of mark prices seen"),
    )
    lot, lot_is = _first(
        (lot_size, "given"),
        (rules.lot_size if rules else None, "exchangeInfo"),
        (unit_of(seen.size_decimals) if seen.size_decimals >= 0 else None, "finest decimals seen"),
    )
    multiplier, multiplier_is = Decimal(1), ""
    if kind == "inverse":
        listed = rules.contract_size if rules else Decimal(0)
        pair = symbol.partition("_")[0]
        assumed = _CONTRACT_USD.get(pair, _CONTRACT_USD_ELSE) if venue == "binance_coinm" else Decimal(1)
        multiplier, multiplier_is = (listed, "exchangeInfo") if listed else (assumed, "the venue's usual contract")
    metadata = {"tick_size_is": tick_is, "lot_size_is": lot_is}
    if multiplier_is:
        metadata["multiplier_is"] = multiplier_is
    return TapeInstrument(
        symbol=symbol,
        venue=venue,
        kind=kind,
        tick_size=tick,
        lot_size=lot,
        multiplier=multiplier,
        minimum_notional=rules.minimum_notional if rules else Decimal(0),
        channels=tuple(name for name in CHANNELS if name in seen.channels and name not in without),
        metadata=metadata,
    )


def _first(*choices: tuple[Decimal | None, str]) -> tuple[Decimal, str]:
    """The first that is known, and what it is; 1 where none is."""
    for value, what in choices:
        if value is not None and value > 0:
            return Decimal(f"{value.normalize():f}"), what
    return Decimal(1), "nothing seen"


def _rules(symbol: _Symbol) -> InstrumentRules:
    filters = {each.filter_type: each for each in symbol.filters}
    none = _Filter("")
    minimum = filters.get("MIN_NOTIONAL") or filters.get("NOTIONAL") or none
    return InstrumentRules(
        tick_size=filters.get("PRICE_FILTER", none).tick_size,
        lot_size=filters.get("LOT_SIZE", none).step_size,
        minimum_notional=(minimum.min_notional or minimum.notional).normalize() + 0,
        contract_size=symbol.contract_size,
    )
