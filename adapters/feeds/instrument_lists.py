"""The exchanges' own lists of instruments: tick, lot, kind and multiplier, which cryptofeed mostly does not keep.

A size on the tape is in the unit that the exchange's messages have: contracts at OKX and BitMEX, USD at Deribit's
inverse contracts, base units elsewhere. `multiplier` says what one of those units is, as in `engine.instruments`.
Options and quantos are settled in another currency than they are quoted in; their value is linear in the price all
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from adapters.feeds.venues import Venue
from engine.settings import InstrumentKind

# Of a settlement currency as BitMEX writes it: how many of its units make one. USDt and the like have a million.
_BITMEX_UNITS = {"XBt": Decimal(10**8), "Gwei": Decimal(10**9)}
_BITMEX_UNITS_ELSE = Decimal(10**6)


class ListedInstrument(msgspec.Struct, frozen=True):
    """What a list says of one instrument, 0 where it is silent. `symbol` is the one that cryptofeed knows it by."""

    symbol: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: Decimal
    multiplier: Decimal = Decimal(1)
    minimum_notional: Decimal = Decimal(0)
    metadata: dict[str, str] = {}


def read_lists(venue: Venue, lists: Sequence[Any]) -> dict[str, ListedInstrument]:
    """The instruments of parsed lists by their symbol; empty for an exchange whose lists are not read here.

    Raises LookupError, TypeError or ArithmeticError where a list has another form.
    """
    reader = _READERS.get(venue.exchange)
    if reader is None:
        return {}
    return {listed.symbol: listed for body in lists for listed in reader(body)}


def _binance(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["symbols"]:
        filters = {each["filterType"]: each for each in entry["filters"]}
        notional = filters.get("MIN_NOTIONAL") or filters.get("NOTIONAL") or {}
        yield ListedInstrument(
            entry["symbol"],
            "linear" if "contractType" in entry else "spot",
            _number(filters.get("PRICE_FILTER", {}).get("tickSize")),
            _number(filters.get("LOT_SIZE", {}).get("stepSize")),
            minimum_notional=_number(notional.get("minNotional", notional.get("notional"))),
        )


def _bitget(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["data"]:
        if "symbolName" in entry:
            tick, lot = _decimals(entry["priceScale"]), _decimals(entry["quantityScale"])
            yield ListedInstrument(entry["symbolName"], "spot", tick, lot)
            continue
        yield ListedInstrument(
            entry["symbol"],
            "linear",
            _decimals(entry["pricePlace"]) * _number(entry["priceEndStep"]),
            _decimals(entry["volumePlace"]),
            metadata={"settled_in": "margin currency"} if entry["symbol"].endswith("_DMCBL") else {},
        )


def _bitmex(body: Any) -> Iterator[ListedInstrument]:
    for entry in body:
        units = _BITMEX_UNITS.get(entry["settlCurrency"], _BITMEX_UNITS_ELSE)
        multiplier = abs(_number(entry["multiplier"])) / units
        kind: InstrumentKind = "inverse" if entry["isInverse"] else "linear"
        if entry["typ"] == "IFXXXP":
            kind, multiplier = "spot", 1 / (_number(entry["underlyingToPositionMultiplier"]) or Decimal(1))
        yield ListedInstrument(
            entry["symbol"],
            kind,
            _number(entry["tickSize"]),
            _number(entry["lotSize"]),
            multiplier or Decimal(1),
            metadata={"settled_in": entry["settlCurrency"]} if entry["isQuanto"] else {},
        )


def _bybit(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["result"]["list"]:
        lots = entry["lotSizeFilter"]
        is_spot = "contractType" not in entry
        yield ListedInstrument(
            f"{entry['baseCoin']}/{entry['quoteCoin']}" if is_spot else entry["symbol"],
            "spot" if is_spot else "linear",
            _number(entry["priceFilter"]["tickSize"]),
            _number(lots.get("basePrecision") if is_spot else lots.get("qtyStep")),
            minimum_notional=_number(lots.get("minOrderAmt" if is_spot else "minNotionalValue")),
        )


def _coinbase(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["products"]:
        tick = _number(entry.get("price_increment") or entry["quote_increment"])
        yield ListedInstrument(entry["product_id"], "spot", tick, _number(entry["base_increment"]))


def _deribit(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["result"]:
        is_future = entry["kind"] == "future"
        is_reversed = entry["quote_currency"] == "USD" and entry.get("future_type", "reversed") == "reversed"
        kind: InstrumentKind = "inverse" if is_future and is_reversed else "linear"
        yield ListedInstrument(
            entry["instrument_name"],
            "spot" if entry["kind"] == "spot" else kind,
            _number(entry["tick_size"]),
            _number(entry["min_trade_amount"]),
            metadata={"option": entry["option_type"]} if entry["kind"] == "option" else {},
        )


def _kraken(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["result"].values():
        if "wsname" not in entry:
            continue
        tick = _number(entry.get("tick_size")) or _decimals(entry["pair_decimals"])
        lot = _decimals(entry["lot_decimals"])
        yield ListedInstrument(
            entry["wsname"], "spot", tick, lot, minimum_notional=_number(entry.get("costmin"))
        )  # fmt: skip


def _kraken_futures(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["instruments"]:
        if "tickSize" not in entry:
            continue
        is_inverse = entry["type"] == "futures_inverse"
        yield ListedInstrument(
            entry["symbol"],
            "inverse" if is_inverse else "linear",
            _number(entry["tickSize"]),
            _decimals(entry.get("contractValueTradePrecision", 0)),
            _number(entry.get("contractSize", 1)),
        )


def _okx(body: Any) -> Iterator[ListedInstrument]:
    for entry in body["data"]:
        is_spot = entry["instType"] == "SPOT"
        kind: InstrumentKind = "inverse" if entry["ctType"] == "inverse" else "linear"
        yield ListedInstrument(
            entry["instId"],
            "spot" if is_spot else kind,
            _number(entry["tickSz"]),
            _number(entry["lotSz"]),
            Decimal(1) if is_spot else _number(entry["ctVal"]) * _number(entry["ctMult"]),
            metadata={"option": entry["optType"]} if entry["optType"] else {},
        )


def _number(value: Any) -> Decimal:
    """A list's number; 0 for none. Lists are parsed without floats."""
    return Decimal(value) if value not in (None, "") else Decimal(0)


def _decimals(places: Any) -> Decimal:
    """The step of so many decimals."""
    return Decimal(1).scaleb(-int(places))


_READERS: dict[str, Callable[[Any], Iterator[ListedInstrument]]] = {
    "BINANCE": _binance,
    "BINANCE_FUTURES": _binance,
    "BITGET": _bitget,
    "BITMEX": _bitmex,
    "BYBIT": _bybit,
    "COINBASE": _coinbase,
    "DERIBIT": _deribit,
    "KRAKEN": _kraken,
    "KRAKEN_FUTURES": _kraken_futures,
    "OKX": _okx,
}
