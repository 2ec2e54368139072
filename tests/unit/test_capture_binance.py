"""Raw captures of Binance: what each stream becomes, on each of its markets."""

# ruff: noqa: E501 - a capture is written as a recorder writes it: a message a line
from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from adapters.captures.capture_file import CaptureKind, recognise
from engine.errors import DataError, UsageError
from tests.captures import START_NS, imported, raw_capture, rejects_of, rows_of, table_of

# `@@0012` is the ms of the start plus 12.
USDM = """
5  {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":@@0004,"T":@@0003,"s":"BTCUSDT","U":90,"u":95,"pu":80,"b":[["9.90","1.0"]],"a":[]}}
6  {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":@@0005,"T":@@0003,"s":"BTCUSDT","U":97,"u":105,"pu":95,"b":[["9.90","2.0"]],"a":[["10.10","0.000"]]}}
7  {"lastUpdateId":100,"E":@@0006,"T":@@0006,"bids":[["9.90","1.5"],["9.80","7"]],"asks":[["10.10","3"],["10.20","4"]]}
8  {"stream":"btcusdt@trade","data":{"e":"trade","E":@@0007,"T":@@0006,"s":"BTCUSDT","t":7,"p":"10.20","q":"0.5","X":"MARKET","m":false}}
9  {"stream":"btcusdt@trade","data":{"e":"trade","E":@@0008,"T":@@0008,"s":"BTCUSDT","t":8,"p":"9.90","q":"0.1","X":"INSURANCE_FUND","m":true}}
10 {"stream":"btcusdt@trade","data":{"e":"trade","E":@@0009,"T":@@0009,"s":"BTCUSDT","t":9,"p":"9.90","q":"0.1","X":"MARKET","m":true}}
11 {"stream":"btcusdt@trade","data":{"e":"trade","E":@@0009,"T":@@0009,"s":"BTCUSDT","t":9,"p":"9.90","q":"0.1","X":"MARKET","m":true}}
12 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":106,"s":"BTCUSDT","b":"9.90","B":"2.0","a":"10.20","A":"4","T":@@0011,"E":@@0011}}
13 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":@@0012,"T":@@0012,"s":"BTCUSDT","U":106,"u":108,"pu":105,"b":[],"a":[]}}
14 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":@@0013,"T":@@0013,"s":"BTCUSDT","U":112,"u":114,"pu":110,"b":[["9.70","1"]],"a":[]}}
15 {"stream":"btcusdt@forceOrder","data":{"e":"forceOrder","E":@@0014,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.4","p":"9.80","ap":"9.85","X":"FILLED","T":@@0014}}}
16 {"stream":"btcusdt@kline_1m","data":{"e":"kline","E":@@0015,"s":"BTCUSDT"}}
"""

USDM_RECORDS = """
# i receive exchange kind  a  b c d e
0 7  6  level  99  15 100 -1 0  SNAPSHOT          # deltas wait for it: ids 80 to 95 are old by then
0 7  6  level  98  70 100 -1 0  SNAPSHOT
0 7  6  level 101  30 100 -1 0  SNAPSHOT SELL
0 7  6  level 102  40 100 -1 0  SNAPSHOT SELL LAST
0 7  5  level  99  20 105 95 97                   # 96 to 105 spans 100; it is written when it can be used
0 7  5  level 101   0 105 95 97 SELL LAST
0 8  6  print 102   5 7 0 0                       # T, not E
0 10 9  print  99   1 9 0 0 SELL
0 12 11 quote  99  20 102 40 106
0 13 12 level   0   0 108 105 106 LAST            # no levels, but ids
0 14 -  gap     2  -1 1700000000013000000 0 0     # 109 to 111 are missing
0 15 14 liquidation 98 4 0 0 0 SELL
"""


def test_usdm_book_prints_quotes_and_liquidations(tmp_path: Path) -> None:
    opened, records = imported(raw_capture(tmp_path / "a", USDM))
    assert rows_of(records) == table_of(USDM_RECORDS)
    instrument = opened.session.instruments[0]
    assert (instrument.symbol, instrument.venue, instrument.kind) == ("BTCUSDT", "binance_usdm", "linear")
    assert (str(instrument.tick_size), str(instrument.lot_size)) == ("0.1", "0.1")
    assert instrument.channels == ("book", "prints", "quotes", "liquidations")
    assert rejects_of(opened) == {
        "old update id": 1,
        "not a market trade": 1,
        "duplicate trade id": 1,
        "unknown stream": 1,
        "book update after a gap, no snapshot since": 1,
    }
    summary = opened.report.summary()
    assert summary.unknown_streams == {"kline_1m": 1}
    assert summary.first_rejects["duplicate trade id"].startswith("a line 7 (byte ")
    assert summary.gaps == {"BTCUSDT": 1}


SPOT = """
5  {"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":@@0004,"s":"ETHUSDT","U":8,"u":11,"b":[["2000.01000000","1.00000000"]],"a":[]}}
6  {"lastUpdateId":9,"bids":[["2000.00000000","1.50000000"]],"asks":[["2000.02000000","3.00000000"]]}
7  {"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":@@0006,"s":"ETHUSDT","U":12,"u":14,"b":[["2000.01000000","0.00000000"]],"a":[]}}
8  {"stream":"ethusdt@bookTicker","data":{"u":14,"s":"ETHUSDT","b":"2000.00000000","B":"1.50000000","a":"2000.02000000","A":"3.00000000"}}
9  {"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":@@0008,"s":"ETHUSDT","a":3,"p":"2000.02000000","q":"0.25000000","f":5,"l":6,"T":@@0007,"m":false,"M":true}}
9  {"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":@@0008,"s":"ETHUSDT","a":6,"p":"2000.02000000","q":"0.25000000","f":9,"l":9,"T":@@0007,"m":false,"M":true}}
10 {"lastUpdateId":10,"bids":[["1.00000000","1.50000000"]],"asks":[["3000.02000000","3.00000000"]]}
"""
SPOT_RECORDS = """
0 6 - level 200000 150  9 -1 0 SNAPSHOT
0 6 - level 200002 300  9 -1 0 SNAPSHOT SELL LAST
0 6 4 level 200001 100 11  7 8 LAST     # U 8 is 7 + 1, and spans 9 and 10
0 7 6 level 200001   0 14 11 12 LAST
0 8 - quote 200000 150 200002 300 14    # spot's quotes have no time
0 9 7 print 200002 25 3 0 0
0 9 7 print 200002 25 6 0 0
"""


def test_spot_ids_run_on_by_one_and_a_late_snapshot_does_no_harm(tmp_path: Path) -> None:
    opened, records = imported(raw_capture(tmp_path / "a", SPOT))
    assert rows_of(records) == table_of(SPOT_RECORDS)
    assert opened.session.instruments[0].kind == "spot"
    assert rejects_of(opened) == {"snapshot while the book was whole": 1}
    assert opened.report.summary().trade_ids_skipped == {"ETHUSDT": 2}


COINM = """
5 {"lastUpdateId":50,"E":@@0004,"T":@@0004,"symbol":"BTCUSD_PERP","pair":"BTCUSD","bids":[["60000.0","10"]],"asks":[["60000.1","20"]]}
6 {"e":"depthUpdate","E":@@0005,"T":@@0005,"s":"BTCUSD_PERP","ps":"BTCUSD","U":51,"u":53,"pu":50,"b":[["60000.0","9"]],"a":[]}
7 {"e":"markPriceUpdate","E":@@0006,"s":"BTCUSD_PERP","p":"60000.05000000","P":"60001.0","i":"59990.00000000","r":"0.00010000","T":@@0500}
8 {"e":"markPriceUpdate","E":@@0500,"s":"BTCUSD_PERP","p":"60010.00000000","P":"60001.0","i":"59990.00000000","r":"0.00020000","T":@@9000}
9 {"e":"aggTrade","E":@@0501,"s":"BTCUSD_PERP","a":1,"p":"60000.1","q":"3","f":1,"l":1,"T":@@0501,"m":true}
"""
COINM_RECORDS = """
0 5   4 level 600000 10 50 -1 0 SNAPSHOT
0 5   4 level 600001 20 50 -1 0 SNAPSHOT SELL LAST
0 6   5 level 600000  9 53 50 51 LAST
0 7   6 mark    600000500000 599900000000 100000000 1700000000500000000 0
0 8 1000 funding 100000000 600000500000 0 0 0      # the rate and mark before the time, rounded to the second
0 8 500 mark    600100000000 599900000000 200000000 1700000009000000000 0
0 9 501 print 600001 3 1 0 0 SELL
"""


def test_coinm_without_a_wrapper_counts_contracts_and_settles_funding(tmp_path: Path) -> None:
    opened, records = imported(raw_capture(tmp_path / "a", COINM))
    assert rows_of(records) == table_of(COINM_RECORDS)
    instrument = opened.session.instruments[0]
    assert (instrument.venue, instrument.kind, instrument.multiplier) == ("binance_coinm", "inverse", Decimal(100))
    assert instrument.channels == ("book", "prints", "marks", "funding")


def test_two_symbols_two_instruments_and_a_snapshot_of_neither_is_refused(tmp_path: Path) -> None:
    table = """
    5 {"e":"depthUpdate","E":@@0005,"T":@@0005,"s":"AUSDT","U":51,"u":53,"pu":50,"b":[["1.0","9"]],"a":[]}
    6 {"e":"depthUpdate","E":@@0005,"T":@@0005,"s":"BUSDT","U":51,"u":53,"pu":50,"b":[["2.00","9"]],"a":[]}
    7 {"lastUpdateId":50,"E":@@0004,"bids":[["60000.0","10"]],"asks":[["60000.1","20"]]}
    8 {"e":"aggTrade","E":@@0501,"s":"AUSDT","a":1,"p":"1.5","q":"3","f":1,"l":1,"T":@@0007,"m":true}
    9 {"e":"aggTrade","E":@@0501,"s":"BUSDT","a":1,"p":"2.25","q":"3","f":1,"l":1,"T":@@0008,"m":true}
    """
    opened, records = imported(raw_capture(tmp_path / "a", table))
    assert rows_of(records) == ["0 8 7 print 15 3 1 0 0 SELL", "1 9 8 print 225 3 1 0 0 SELL"]
    assert [each.symbol for each in opened.session.instruments] == ["AUSDT", "BUSDT"]
    assert rejects_of(opened) == {
        "book update before the first snapshot": 2,
        "no symbol in the message, and several in the file": 1,
    }
    only, records = imported(tmp_path / "a", symbol="BUSDT")
    assert rows_of(records) == ["0 9 8 print 225 3 1 0 0 SELL"]
    assert [each.symbol for each in only.session.instruments] == ["BUSDT"]
    with pytest.raises(UsageError, match="are for one symbol"):
        imported(tmp_path / "a", tick_size=Decimal("0.1"))


def test_single_trades_stand_for_their_aggregates(tmp_path: Path) -> None:
    table = """
    5 {"e":"aggTrade","E":@@0501,"s":"AUSDT","a":1,"p":"1.5","q":"3","f":7,"l":7,"T":@@0004,"m":true}
    6 {"e":"trade","E":@@0501,"s":"AUSDT","t":7,"p":"1.5","q":"3","T":@@0004,"m":true,"X":"MARKET"}
    """
    opened, records = imported(raw_capture(tmp_path / "a", table))
    assert rows_of(records) == ["0 6 4 print 15 3 7 0 0 SELL"]
    assert rejects_of(opened) == {"aggTrade where single trades are there too": 1}


# what is wrong with the trade | reason
WRONG = """
"p":"NaN","q":"1"       | not a number
"p":"Infinity","q":"1"  | not a number
"p":"0","q":"1"         | price or size not above zero
"p":"-1","q":"1"        | price or size not above zero
"p":"1","q":"0"         | price or size not above zero
"p":"1","q":"1","X":"NA" | not a market trade
"p":1,"q":"1"           | a message without the fields of its kind
"p":"1"                 | a message without the fields of its kind
"p":"1                  | bad JSON
"""


@pytest.mark.parametrize("row", [row for row in WRONG.splitlines() if row])
def test_wrong_trades_are_left_out_with_the_reason(tmp_path: Path, row: str) -> None:
    cells, _, reason = row.partition("|")
    good = '5 {"e":"trade","E":@@0001,"s":"AUSDT","t":7,"T":@@0004,"m":true,"p":"1.5","q":"3"}\n'
    bad = '6 {"e":"trade","E":@@0001,"s":"AUSDT","t":8,"T":@@0004,"m":true,' + cells.strip() + "}\n"
    path = raw_capture(tmp_path / "a", good + bad)
    opened, records = imported(path)
    assert len(records) == 1
    assert rejects_of(opened) == {reason.strip(): 1}
    assert "a line 2 (byte " in next(iter(opened.report.summary().first_rejects.values()))


def test_a_book_message_that_cannot_be_read_loses_the_book(tmp_path: Path) -> None:
    table = """
    5 {"lastUpdateId":50,"E":@@0004,"bids":[["1.0","10"]],"asks":[["1.1","20"]]}
    6 {"e":"depthUpdate","E":@@0005,"T":@@0005,"s":"AUSDT","U":51,"u":53,"pu":50,"b":[["NaN","9"]],"a":[]}
    7 {"e":"depthUpdate","E":@@0006,"T":@@0005,"s":"AUSDT","U":54,"u":55,"pu":53,"b":[["1.0","9"]],"a":[]}
    8 {"lastUpdateId":54,"E":@@0004,"bids":[["1.0","8"]],"asks":[["1.1","20"]]}
    """
    opened, records = imported(raw_capture(tmp_path / "a", table))
    assert rows_of(records)[2:] == table_of("""
        0 6 -  gap 7 -1 1700000000005000000 0 0
        0 8 4 level 10  8 54 -1 0 SNAPSHOT
        0 8 4 level 11 20 54 -1 0 SNAPSHOT SELL LAST
        0 8 6 level 10  9 55 53 54 LAST
    """)
    assert rejects_of(opened) == {"not a number": 1}


def test_the_clock_offset_is_estimated_given_or_none(tmp_path: Path) -> None:
    trades = "".join(
        f'{50 + at} {{"e":"trade","E":1,"s":"AUSDT","t":{at + 1},"T":@@{at + 1320 - at % 7:04d},"m":true,"X":"MARKET",'
        '"p":"1.5","q":"3"}\n'
        for at in range(200)
    )
    path = raw_capture(tmp_path / "a", trades)
    opened, records = imported(path)
    source = opened.session.sources[0]
    assert (source.clock_offset_is, source.clock_offset_ns) == ("estimated", 1_270_000_000)
    latency_ns = records["ts_receive_ns"] + source.clock_offset_ns - records["ts_exchange_ns"]
    assert (latency_ns >= 0).mean() >= 0.99
    assert records["ts_receive_ns"][0] == START_NS + 50_000_000  # as recorded
    given = imported(path, clock_offset_ns=0)[0].session.sources[0]
    assert (given.clock_offset_is, given.clock_offset_ns) == ("given", 0)


def test_a_clock_ahead_or_a_slow_line_is_not_told_apart(tmp_path: Path) -> None:
    table = '900 {"e":"trade","E":1,"s":"AUSDT","t":1,"T":@@0500,"m":true,"X":"MARKET","p":"1.5","q":"3"}'
    source = imported(raw_capture(tmp_path / "a", table))[0].session.sources[0]
    assert (source.clock_offset_is, source.clock_offset_ns) == ("none", 0)


def test_channels_can_be_left_out(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", USDM)
    opened, records = imported(path, without=frozenset({"book", "quotes", "liquidations"}))
    assert rows_of(records) == ["0 8 6 print 102 5 7 0 0", "0 10 9 print 99 1 9 0 0 SELL"]
    assert opened.session.instruments[0].channels == ("prints",)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('5 {"e":"depthUpdate","E":1,"s":"AUSDT","U":1,"u":2,"pu":0,"b":[],"a":[]}', "binance_usdm"),
        ('5 {"e":"depthUpdate","E":1,"s":"AUSDT","U":1,"u":2,"b":[],"a":[]}', "binance_spot"),
        ('5 {"u":2,"s":"AUSDT","b":"1","B":"1","a":"2","A":"1"}', "binance_spot"),
        ('5 {"e":"bookTicker","u":2,"s":"BTCUSD_260327","b":"1","B":"1","a":"2","A":"1"}', "binance_coinm"),
        ('5 {"e":"aggTrade","E":1,"s":"AUSDT","a":1,"p":"1","q":"1","T":1,"m":true}', "binance_usdm"),
        ('5 {"e":"trade","E":1,"s":"AUSDT","t":1,"p":"1","q":"1","T":1,"m":true,"M":true}', "binance_spot"),
        ('5 {"e":"markPriceUpdate","E":1,"s":"AUSDT","p":"1"}', "binance_usdm"),
    ],
)
def test_the_market_is_told_by_the_messages(tmp_path: Path, line: str, kind: str) -> None:
    path = raw_capture(tmp_path / "a", '1 {"result":null,"id":1}\n' + line)
    assert recognise(path).kind is CaptureKind(kind)


def test_exchange_info_gives_tick_and_lot(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", USDM)
    meta = tmp_path / "info.json"
    meta.write_text(
        '{"symbols":[{"symbol":"BTCUSDT","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.05"},'
        '{"filterType":"LOT_SIZE","stepSize":"0.001"},{"filterType":"MIN_NOTIONAL","notional":"5"}]}]}'
    )
    opened, records = imported(path, meta=meta)
    instrument = opened.session.instruments[0]
    assert (instrument.tick_size, instrument.lot_size) == (Decimal("0.05"), Decimal("0.001"))
    assert instrument.minimum_notional == Decimal(5)
    assert instrument.metadata == {"tick_size_is": "exchangeInfo", "lot_size_is": "exchangeInfo"}
    assert rows_of(records)[0] == "0 7 6 level 198 1500 100 -1 0 SNAPSHOT"
    meta.write_text('{"symbols":[]}')
    with pytest.raises(DataError, match="does not list BTCUSDT"):
        imported(path, meta=meta)
    meta.write_text("[]")
    with pytest.raises(DataError, match="exchangeInfo"):
        imported(path, meta=meta)


def test_a_tick_that_is_too_coarse_is_refused(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", USDM)
    with pytest.raises(DataError, match="do not fit their instrument") as caught:
        imported(path, tick_size=Decimal(1))
    assert "a line 1 (byte 0)" in caught.value.message
    assert "--tick" in caught.value.remedy
