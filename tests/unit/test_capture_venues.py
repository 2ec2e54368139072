"""Captures of Bybit and Hyperliquid, and Tardis' tables."""

# ruff: noqa: E501 - a capture is written as a recorder writes it: a message a line
from __future__ import annotations

import gzip
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import DataError
from tests.captures import START_MS, START_NS, imported, raw_capture, rejects_of, rows_of, table_of


def bybit_archive(path: Path, table: str) -> Path:
    """Write Bybit's archive: a zip of one file, a message a line; `@@0005` is a time."""
    lines = []
    for line in table.strip().splitlines():
        parts = line.strip().split("@@")
        lines.append(parts[0] + "".join(str(START_MS + int(part[:4])) + part[4:] for part in parts[1:]))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("2024-12-01_XRPUSDT_ob500.data", "\n".join(lines) + "\n")
    return path


BYBIT = """
{"topic":"orderbook.500.XRPUSDT","type":"delta","ts":@@0001,"data":{"s":"XRPUSDT","b":[["1.9531","1"]],"a":[],"u":6,"seq":1},"cts":@@0000}
{"topic":"orderbook.500.XRPUSDT","type":"snapshot","ts":@@0009,"data":{"s":"XRPUSDT","b":[["1.9531","10"]],"a":[["1.9532","20"]],"u":7,"seq":1},"cts":@@0005}
{"topic":"orderbook.500.XRPUSDT","type":"delta","ts":@@0011,"data":{"s":"XRPUSDT","b":[["1.9531","0"],["1.953","4"]],"a":[],"u":8,"seq":2},"cts":@@0010}
{"topic":"orderbook.500.XRPUSDT","type":"delta","ts":@@0012,"data":{"s":"XRPUSDT","b":[["1.9529","5"]],"a":[],"u":8,"seq":2},"cts":@@0010}
{"topic":"orderbook.500.XRPUSDT","type":"delta","ts":@@0013,"data":{"s":"XRPUSDT","b":[],"a":[["1.9532","2"]],"u":10,"seq":3},"cts":@@0012}
{"topic":"orderbook.500.XRPUSDT","type":"snapshot","ts":@@0014,"data":{"s":"XRPUSDT","b":[["1.9528","10"]],"a":[["1.9530","20"]],"u":1,"seq":4},"cts":@@0013}
{"topic":"orderbook.500.XRPUSDT","type":"delta","ts":@@0015,"data":{"s":"XRPUSDT","b":[["1.9527","3"]],"a":[],"u":2,"seq":5},"cts":@@0014}
"""
BYBIT_RECORDS = """
0 9  5  level 19531 10  7 -1 0 SNAPSHOT
0 9  5  level 19532 20  7 -1 0 SNAPSHOT SELL LAST
0 11 10 level 19531  0  8  7 8
0 11 10 level 19530  4  8  7 8 LAST
0 13 -  gap 2 -1 1700000000011000000 0 0        # 9 is missing
0 14 13 level 19528 10  1 -1 0 SNAPSHOT         # the venue counts from 1 again
0 14 13 level 19530 20  1 -1 0 SNAPSHOT SELL LAST
0 15 14 level 19527  3  2  1 2 LAST
"""


def test_bybit_counts_messages_and_a_snapshot_starts_anew(tmp_path: Path) -> None:
    opened, records = imported(bybit_archive(tmp_path / "a.data.zip", BYBIT))
    assert rows_of(records) == table_of(BYBIT_RECORDS)
    instrument, source = opened.session.instruments[0], opened.session.sources[0]
    assert (instrument.symbol, instrument.venue, instrument.kind) == ("XRPUSDT", "bybit_linear", "linear")
    assert (source.kind, source.clock_offset_is) == ("bybit order book file", "none")
    assert rejects_of(opened) == {
        "book update before the first snapshot": 1,
        "old update id": 1,
        "book update after a gap, no snapshot since": 1,
    }


def test_bybit_with_receive_times_has_trades_too(tmp_path: Path) -> None:
    table = """
    20 {"topic":"orderbook.50.BTCUSD","type":"snapshot","ts":@@0009,"data":{"s":"BTCUSD","b":[["9.5","10"]],"a":[["10","20"]],"u":7,"seq":1},"cts":@@0005}
    21 {"topic":"publicTrade.BTCUSD","type":"snapshot","ts":@@0012,"data":[{"T":@@0011,"s":"BTCUSD","S":"Sell","v":"3","p":"9.5","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false}]}
    """
    opened, records = imported(raw_capture(tmp_path / "a", table))
    assert rows_of(records) == table_of("""
        0 20 5  level  95 10 7 -1 0 SNAPSHOT
        0 20 5  level 100 20 7 -1 0 SNAPSHOT SELL LAST
        0 21 11 print  95  3 0 0 0 SELL             # its id is a text, which no record holds
    """)
    assert (opened.session.instruments[0].venue, opened.session.instruments[0].kind) == ("bybit_inverse", "inverse")


HYPERLIQUID = """
5 {"channel":"subscriptionResponse","data":{"method":"subscribe"}}
6 {"channel":"l2Book","data":{"coin":"BTC","time":@@0002,"levels":[[{"n":5,"px":"105.0","sz":"3.0"}],[{"n":1,"px":"106.0","sz":"0.5"}]]}}
7 {"channel":"trades","data":[{"coin":"BTC","side":"B","px":"106.0","sz":"0.2","tid":900,"time":@@0001,"hash":"0x1"},{"coin":"BTC","side":"A","px":"105.0","sz":"0.1","tid":44,"time":@@0003,"hash":"0x1"}]}
8 {"channel":"trades","data":[{"coin":"BTC","side":"A","px":"105.0","sz":"0.1","tid":44,"time":@@0003,"hash":"0x1"}]}
9 {"channel":"l2Book","data":{"coin":"BTC","time":@@0008,"levels":[[],[{"n":1,"px":"104.0","sz":"0.5"}]]}}
9 {"channel":"bbo","data":{"coin":"BTC","time":@@0008,"bbo":[{"n":1,"px":"103.0","sz":"0.5"},{"n":1,"px":"104.0","sz":"0.5"}]}}
"""
HYPERLIQUID_RECORDS = """
0 6 2 level 105 30 0 -1 0 SNAPSHOT
0 6 2 level 106  5 0 -1 0 SNAPSHOT SELL LAST
0 7 1 print 106  2 900 0 0
0 7 3 print 105  1 44 0 0 SELL              # ids are no running numbers
0 9 8 level 104  5 0 -1 0 SNAPSHOT SELL LAST
0 9 8 quote 103  5 104 5 0
"""


def test_hyperliquid_sends_whole_books_and_repeats_trades(tmp_path: Path) -> None:
    opened, records = imported(raw_capture(tmp_path / "a", HYPERLIQUID))
    assert rows_of(records) == table_of(HYPERLIQUID_RECORDS)
    assert rejects_of(opened) == {"unknown stream": 1, "duplicate trade id": 1}
    assert opened.session.instruments[0].venue == "hyperliquid"


def tardis(path: Path, header: str, table: str, exchange: str = "binance-futures", symbol: str = "BTCUSDT") -> Path:
    """Write a Tardis table, gzipped: each row `<exchange ms> <receive ms> <other cells, by commas>`."""
    lines = [f"exchange,symbol,timestamp,local_timestamp,{header}"]
    for row in table.strip().splitlines():
        made, received, rest = row.split("#")[0].split()
        times = ",".join(
            str((START_NS // 10**3) + int(text) * 1000) if text.isdigit() else text for text in (made, received)
        )
        lines.append(f"{exchange},{symbol},{times},{rest}")
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


BOOK_HEADER = "is_snapshot,side,price,amount"
BOOK = """
1 2  false,bid,99.5,1        # before the first snapshot
3 5  true,bid,99.5,1
3 5  true,ask,100,2.5
4 5  false,ask,100,0         # the same local time, another message
6 7  false,ask,100.5,1
6 7  false,bid,99.5,0.5
9 9  false,bid,99,1e-1       # the venue gave no time
9 10 false,bid,99,2          # what comes before a row that cannot be read, and after it, may belong to it
10 11 false,buy,99,1         # no side
12 13 false,bid,98,1
14 15 true,bid,98,1
"""
BOOK_RECORDS = """
0 5  3  level 199 10 0 -1 0 SNAPSHOT
0 5  3  level 200 25 0 -1 0 SNAPSHOT SELL LAST
0 5  4  level 200  0 0 -1 0 SELL LAST
0 7  6  level 199  5 0 -1 0
0 7  6  level 201 10 0 -1 0 SELL LAST
0 9  -  level 198  1 0 -1 0 LAST
0 10 -  gap 7 -1 1700000000009000000 0 0
0 15 14 level 196 10 0 -1 0 SNAPSHOT LAST
"""


def test_tardis_books(tmp_path: Path) -> None:
    opened, records = imported(tardis(tmp_path / "a.csv.gz", BOOK_HEADER, BOOK), tick_size=Decimal("0.5"))
    assert rows_of(records) == table_of(BOOK_RECORDS)
    instrument = opened.session.instruments[0]
    assert (instrument.venue, instrument.kind, instrument.metadata["tick_size_is"]) == (
        "binance_usdm",
        "linear",
        "given",
    )
    assert rejects_of(opened) == {
        "book update before the first snapshot": 1,
        "a row without the columns of its kind": 1,
    }


TRADES = """
1 3  77,buy,100.5,2
2 3  78,sell,100,0.5
2 4  78,sell,100,0.5
5 6  ab-1,unknown,100,1
5 6  ,,100,1
"""
TICKERS_HEADER = "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,index_price,mark_price"
TICKERS = f"""
1 2       {(START_NS + 10**9) // 10**3},0.0001,,1000.55,100.5,100.25,100.123
3 4       {(START_NS + 10**9) // 10**3},0.0001,,1000.55,100.0,100.25,100.123
5 6       {(START_NS + 10**9) // 10**3},0.0002,,1000.65,100.0,100.25,100.2
1000 1001 {(START_NS + 10**9) // 10**3},0.0002,,1000.65,100.0,100.25,100.3
1003 1004 {(START_NS + 9 * 10**9) // 10**3},0.0003,,,100.0,,100.4
"""
MERGED_RECORDS = """
0 2    1    mark 1001230000 1002500000 100000000 1700000001000000000 0
0 2    1    interest 10005 0 0 0 0
0 3    1    print 1005 20 77 0 0
0 3    2    print 1000 5 78 0 0 SELL
0 6    5    mark 1002000000 1002500000 200000000 1700000001000000000 0
0 6    5    interest 10006 0 0 0 0
0 6    5    print 1000 10 0 0 0 UNKNOWN
0 6    5    print 1000 10 0 0 0 UNKNOWN
0 1001 1000 funding 200000000 1002000000 0 0 0     # due at 1000, at what stood before the row of that time
0 1001 1000 mark 1003000000 1002500000 200000000 1700000001000000000 0
0 1004 1003 mark 1004000000 0 300000000 1700000009000000000 0
"""


def test_tardis_trades_and_tickers_are_merged_by_receive_time(tmp_path: Path) -> None:
    trades = tardis(tmp_path / "trades.csv.gz", "id,side,price,amount", TRADES)
    tickers = tardis(tmp_path / "ticker.csv.gz", TICKERS_HEADER, TICKERS)
    opened, records = imported(tickers, trades)
    assert rows_of(records) == table_of(MERGED_RECORDS)
    instrument = opened.session.instruments[0]
    assert instrument.channels == ("prints", "marks", "funding", "interest")
    assert (str(instrument.tick_size), str(instrument.lot_size)) == ("0.1", "0.1")
    assert rejects_of(opened) == {"duplicate trade id": 1}


# A row that cannot be read inside a run of snapshot rows, as its first, and between messages.
BROKEN_SNAPSHOTS = """
1 2 true,bid,99,1
3 4 true,bid,98,1
3 4 true,bid,97,one,two
3 4 true,ask,100,1
5 6 false,bid,96,1
7 8 true,bid,95,1,1
7 8 true,ask,100,1
9 10 true,bid,94,1
"""


def test_a_snapshot_with_a_row_missing_is_none(tmp_path: Path) -> None:
    path = tardis(tmp_path / "a.csv.gz", BOOK_HEADER, BROKEN_SNAPSHOTS + "11 12 false,bid,94,1\n" * 300)
    opened, records = imported(path)
    assert rows_of(records)[:4] == table_of("""
        0 2  1 level 99 1 0 -1 0 SNAPSHOT LAST
        0 4  - gap 7 -1 1700000000002000000 0 0
        0 10 9 level 94 1 0 -1 0 SNAPSHOT LAST
        0 12 11 level 94 1 0 -1 0
    """)
    assert rejects_of(opened)["a row without the columns of its kind"] == 2


def test_a_ticker_alone_takes_its_tick_from_last_prices(tmp_path: Path) -> None:
    opened, _ = imported(tardis(tmp_path / "ticker.csv.gz", TICKERS_HEADER, TICKERS))
    instrument = opened.session.instruments[0]
    assert str(instrument.tick_size) == "0.1"
    assert instrument.metadata == {
        "tick_size_is": "finest decimals of mark prices seen",
        "lot_size_is": "nothing seen",
    }


def test_a_table_with_many_rows_that_are_none_is_refused(tmp_path: Path) -> None:
    path = tardis(tmp_path / "a.csv.gz", "id,side,price,amount", "1 2 7,buy,1,1\n3 x 8,buy,1,1\n4 x 9,buy,1,1")
    with pytest.raises(DataError, match=r"2 of 4 lines cannot be read as tardis csv.*a.csv.gz line 3 \(byte \d+\)"):
        imported(path)
