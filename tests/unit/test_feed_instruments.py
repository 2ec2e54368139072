"""Instrument lists in each exchange's form, and the units that data finer than them need."""

from __future__ import annotations

from decimal import Decimal
from math import lcm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.captures.messages import BookText
from adapters.feeds.exchange import read_listing
from adapters.feeds.instruments import InstrumentSeen, common_unit, plan_instrument
from adapters.feeds.venues import VENUES, venue_of_address
from engine.errors import DataError
from tests.feeds import (
    BINANCE_LIST,
    BITGET_LIST,
    BITGET_MIX_LIST,
    BITMEX_LIST,
    BYBIT_LIST,
    BYBIT_SPOT_LIST,
    COINBASE_LIST,
    DERIBIT_LIST,
    KRAKEN_FUTURES_LIST,
    KRAKEN_LIST,
    OKX_LIST,
    OKX_SPOT_LIST,
    list_bodies,
)

LISTS: dict[str, list[object]] = {
    "BINANCE_FUTURES": [BINANCE_LIST],
    "BITGET": [BITGET_LIST, BITGET_MIX_LIST],
    "BITMEX": [BITMEX_LIST],
    "BYBIT": [BYBIT_LIST, BYBIT_SPOT_LIST],
    "COINBASE": [COINBASE_LIST],
    "DERIBIT": [DERIBIT_LIST],
    "KRAKEN": [KRAKEN_LIST],
    "KRAKEN_FUTURES": [KRAKEN_FUTURES_LIST],
    "OKX": [OKX_LIST, OKX_SPOT_LIST],
}

TABLE = """
# exchange        name           | symbol         venue          kind    tick  lot        multiplier  why
  BINANCE_FUTURES BTC-USDT-PERP  | BTCUSDT        binance_usdm   linear  0.1   0.001      1           sizes are base units
  BITGET          BTC-USDT       | BTCUSDT        bitget_spot    spot    0.01  0.0001     1           price and quantity scale
  BITGET          BTC-USDT-PERP  | BTCUSDT_UMCBL  bitget_mix     linear  0.5   0.001      1           a step of 5 in the last place
  BITMEX          BTC-USD-PERP   | XBTUSD         bitmex         inverse 0.5   100        1           a contract is 1 USD
  BITMEX          ETH-USD-PERP   | ETHUSD         bitmex         linear  0.05  1          0.000001    a quanto: 100 satoshi a USD
  BITMEX          BTC-USDT-PERP  | XBTUSDT        bitmex         linear  0.5   100        0.000001    a contract is 1e-6 XBT
  BYBIT           BTC-USDT-PERP  | BTCUSDT        bybit_linear   linear  0.1   0.001      1           sizes are base units
  BYBIT           BTC-USDT       | BTC/USDT       bybit_spot     spot    0.01  0.000001   1           linear and spot share a name
  COINBASE        BTC-USD        | BTC-USD        coinbase       spot    0.01  0.00000001 1           increments
  DERIBIT         BTC-USD-PERP   | BTC-PERPETUAL  deribit        inverse 0.5   10         1           sizes are USD, not contracts
  KRAKEN          BTC-USD        | XBT/USD        kraken         spot    0.1   0.00000001 1           the websocket's name
  KRAKEN_FUTURES  BTC-USD-PERP   | PI_XBTUSD      kraken_futures inverse 0.5   1          1           upper case on the tape
  OKX             BTC-USDT-PERP  | BTC-USDT-SWAP  okx            linear  0.1   0.01       0.01        contracts of 0.01 BTC
  OKX             BTC-USD-PERP   | BTC-USD-SWAP   okx            inverse 0.1   1          100         contracts of 100 USD
  OKX             BTC-USDT       | BTC-USDT       okx            spot    0.1   0.00000001 1           base units
"""  # fmt: skip # noqa: E501 - a table
ROWS = [line.split("|") for line in TABLE.splitlines() if "|" in line and not line.startswith("#")]


@pytest.mark.parametrize(("left", "right"), ROWS)
def test_an_instrument_is_what_its_exchange_lists(left: str, right: str) -> None:
    exchange, name = left.split()
    symbol, venue, kind, tick, lot, multiplier = right.split()[:6]
    listing = read_listing(VENUES[exchange], list_bodies(*LISTS[exchange]))
    seen = InstrumentSeen(name, listing.instruments[listing.names[name]])
    planned = plan_instrument(VENUES[exchange], listing, seen, frozenset())
    assert (planned.symbol, planned.venue, planned.kind) == (symbol, venue, kind)
    assert (planned.tick_size, planned.lot_size) == (Decimal(tick), Decimal(lot))
    assert planned.multiplier == Decimal(multiplier)


def test_data_finer_than_the_list_make_the_unit_finer() -> None:
    listing = read_listing(VENUES["BINANCE_FUTURES"], list_bodies(BINANCE_LIST))
    seen = InstrumentSeen("BTC-USDT-PERP", listing.instruments["BTCUSDT"])
    seen.take(BookText("BTCUSDT", 0, 0, 1, -1, 0, True, [("100.25", "1")], [("NaN", "-1"), ("1e-30", "x")]))
    planned = plan_instrument(VENUES["BINANCE_FUTURES"], listing, seen, frozenset())
    assert (planned.tick_size, planned.lot_size) == (Decimal("0.05"), Decimal("0.001"))
    assert planned.metadata["tick_size_is"] == "finest step seen"
    assert planned.metadata["lot_size_is"] == "instrument list"
    assert planned.channels == ("book",)


def test_without_a_list_the_data_tell_the_unit() -> None:
    listing = read_listing(VENUES["OKX"], list_bodies(OKX_LIST))
    seen = InstrumentSeen("BTC-USDT-PERP", None)
    assert plan_instrument(VENUES["OKX"], listing, seen, frozenset()).tick_size == 1
    seen.take(BookText("BTC-USDT-SWAP", 0, 0, 0, -1, 0, True, [("100.10", "300")], [("100.25", "7")]))
    planned = plan_instrument(VENUES["OKX"], listing, seen, frozenset({"book"}))
    assert (planned.tick_size, planned.lot_size, planned.channels) == (Decimal("0.05"), 1, ())


@given(st.integers(1, 10**6), st.integers(0, 8), st.integers(1, 10**9), st.integers(0, 8))
def test_the_common_unit_is_the_greatest_that_divides_both(unit: int, scale: int, number: int, places: int) -> None:
    first, second = Decimal(unit).scaleb(-scale), Decimal(number).scaleb(-places)
    common = common_unit(first, second)
    assert first % common == 0
    assert second % common == 0
    # No greater one does: the quotients have no common divisor.
    quotients = (int(first / common), int(second / common))
    assert lcm(*quotients) == quotients[0] * quotients[1]


def test_a_list_of_another_form_is_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"instrument list of COINBASE has a form .* does not read") as refused:
        read_listing(VENUES["COINBASE"], list_bodies([{"id": "BTC-USD"}]))
    assert "again" in refused.value.remedy


def test_an_address_tells_its_exchange() -> None:
    found = {address: venue_of_address(address) for address in ("wss://ws.okx.com:8443/ws/v5/public", "wss://other/x")}
    assert [venue.exchange if venue else None for venue in found.values()] == ["OKX", None]
