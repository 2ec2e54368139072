"""cryptofeed's recordings as files: told by content, put in order, and imported as a tape."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.captures.importing import ImportOptions, TapeImport
from adapters.feeds.capture import is_ws_capture, open_recording, read_events, to_ns
from adapters.feeds.ws_import import open_ws_capture
from engine.errors import DataError, InputMissingError, UsageError
from engine.kernels import layout
from tests.captures import rows_of, table_of
from tests.feeds import BINANCE_LIST, BITMEX_LIST, OKX_LIST, OKX_SPOT_LIST, write_recording

OKX_HEAD = [
    "wss://ws.okx.com:8443/ws/v5/public <-> 1700000000.0",
    "wss://ws.okx.com:8443/ws/v5/public <- 1700000000.1: {}",
]
OKX_WANTED = {"l2_book": ["BTC-USDT-PERP"], "trades": ["BTC-USDT-PERP"], "candles": ["BTC-USDT-PERP"]}
DEPTH = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000"


def _line(milliseconds: int, frame: object) -> str:
    return f"{1_700_000_000 + milliseconds / 1000:.3f}: {json.dumps(frame, separators=(',', ':'))}"


def _okx_book(action: str, asks: list[list[str]], ids: tuple[int, int] | None = None) -> dict[str, Any]:
    data: dict[str, Any] = {"asks": asks, "bids": [], "ts": "1700000000000", "checksum": 0}
    if ids:
        data |= {"seqId": ids[0], "prevSeqId": ids[1]}
    return {"arg": {"channel": "books", "instId": "BTC-USDT-SWAP"}, "action": action, "data": [data]}


def _okx_trade(number: int, size: str = "0.01") -> dict[str, Any]:
    data = {
        "instId": "BTC-USDT-SWAP",
        "tradeId": str(number),
        "px": "100.5",
        "sz": size,
        "side": "sell",
        "ts": "1700000000001",
    }
    return {"arg": {"channel": "trades", "instId": "BTC-USDT-SWAP"}, "data": [data]}


def _okx(folder: Path, *lines: str, head: list[str] | None = None, **more: list[str]) -> list[Path]:
    streams = {"ws.1.0": [*(OKX_HEAD if head is None else head), *lines]} | more
    return write_recording(folder, "OKX", [OKX_LIST, OKX_SPOT_LIST], OKX_WANTED, streams)


def _imported(files: list[Path], options: ImportOptions | None = None) -> tuple[TapeImport, NDArray[Any]]:
    opened = open_ws_capture(files, options)
    batches = list(opened.batches)
    return opened, np.concatenate(batches) if batches else np.zeros(0, layout.RECORD)


@pytest.mark.parametrize(
    ("first", "is_one"),
    [
        ("wss://ws.okx.com:8443/ws/v5/public <-> 1652459224.5300605", True),
        ('https://www.okx.com/api/v5/public/instruments?instType=SPOT -> 1652458996.25: {"code":"0"}', True),
        ('configuration: {"l2_book":["BTC-USDT"]}', True),
        ('1652459225.5037491: {"event":"subscribe"}', True),  # a later part has no head
        ("1652459225.5037491: b'\\x8b'", True),
        ('1723161255838314000 {"stream":"btcusdt@bookTicker"}', False),  # another recorder's
        ("ts,open,high,low,close,volume", False),
        ("1652459225: hello", False),
    ],
)
def test_a_recording_is_told_by_its_first_line(tmp_path: Path, first: str, is_one: bool) -> None:
    path = tmp_path / "anything.txt"
    path.write_text(first + "\nmore\n")
    assert is_ws_capture(path) is is_one


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"1626992741.06217", 1626992741062170000),
        (b"1626992741.3105128", 1626992741310512800),
        (b"1626992741", 1626992741000000000),
        (b"1626992741.1234567899", 1626992741123456789),
    ],
)
def test_receive_times_are_read_as_decimals(text: bytes, ns: int) -> None:
    assert to_ns(text) == ns


def test_files_come_in_any_order_and_parts_in_theirs(tmp_path: Path) -> None:
    more = {
        "ws.1.1": [_line(350, [35])],
        "ws.1.10": [_line(500, [5])],
        "ws.2.0": [*OKX_HEAD, _line(400, [4]), _line(390, [39])],
    }
    recording = open_recording(_okx(tmp_path, _line(300, [3]), **more)[::-1])
    assert [path.name for path in recording.files] == [
        "OKX.ws.1.0.gz", "OKX.ws.1.1.gz", "OKX.ws.1.10.gz", "OKX.ws.2.0.gz", "OKX.0.gz",
    ]  # fmt: skip
    assert recording.connections == ((0, 1, 2), (3,))
    came = [(event.file, event.message) for event in read_events(recording) if event.message]
    assert came == [(0, b"[3]"), (1, b"[35]"), (3, b"[4]"), (3, b"[39]"), (2, b"[5]")]


def test_a_recording_becomes_a_session_and_records(tmp_path: Path) -> None:
    files = _okx(
        tmp_path,
        _line(200, {"event": "subscribe"}),
        _line(250, _okx_book("update", [["100.6", "1", "0", "1"]], (9, 8))),
        _line(300, _okx_book("snapshot", [["100.5", "2", "0", "1"]], (10, -1))),
        _line(400, _okx_book("update", [["100.6", "1", "0", "1"]], (12, 10))),
        _line(500, _okx_trade(41)),
        _line(500, _okx_trade(41)),
        _line(600, _okx_book("update", [["100.7", "1", "0", "1"]], (20, 15))),
        _line(700, _okx_book("update", [["100.8", "1", "0", "1"]], (21, 20))),
        _line(800, _okx_book("snapshot", [["100.9", "1", "0", "1"]], (30, -1))),
    )
    opened, records = _imported(files)
    assert rows_of(records) == table_of(
        """
        # instrument, receive ms, exchange ms, kind, a b c d e, flags
          0 300 0 level 1005 200 10 -1 0 SNAPSHOT SELL LAST
          0 400 0 level 1006 100 12 10 0 SELL LAST
          0 500 1 print 1005   1 41  0 0 SELL
          0 600 - gap      2  -1 1700000000400000000 0 0     # 15 is not what came before
          0 800 0 level 1009 100 30 -1 0 SNAPSHOT SELL LAST
        """
    )
    (instrument,) = opened.session.instruments
    assert (instrument.symbol, instrument.venue, instrument.channels) == ("BTC-USDT-SWAP", "okx", ("book", "prints"))
    assert [source.name for source in opened.session.sources] == ["OKX.ws.1.0.gz", "OKX.0.gz"]
    summary = opened.report.summary()
    assert summary.counts == {"level": 3, "print": 1, "gap": 1}
    assert summary.rejects == {
        "book update before the first snapshot": 1,
        "duplicate trade id": 1,
        "book update after a gap, no snapshot since": 2,
    }


def test_a_reconnect_is_a_gap_and_begins_the_books_anew(tmp_path: Path) -> None:
    snapshot = _okx_book("snapshot", [["100.5", "2", "0", "1"]])
    again = OKX_HEAD[0].replace("1700000000.0", "1700000000.450")
    files = _okx(tmp_path, _line(300, snapshot), again, _line(500, snapshot), _line(600, _okx_trade(7)))
    _, records = _imported(files)
    assert [(int(record["kind"]), int(record["a"])) for record in records] == [
        (layout.LEVEL, 1005), (layout.GAP, layout.GAP_DISCONNECTED), (layout.LEVEL, 1005), (layout.PRINT, 1005),
    ]  # fmt: skip
    assert int(records["ts_receive_ns"][1]) == 1_700_000_000_450_000_000


def test_binance_takes_the_fetched_snapshots_in_their_order(tmp_path: Path) -> None:
    def depth(first: int, last: int, previous: int, *bids: list[str]) -> dict[str, Any]:
        data = {
            "e": "depthUpdate",
            "E": 1700000000007,
            "s": "BTCUSDT",
            "U": first,
            "u": last,
            "pu": previous,
            "b": bids,
            "a": [],
        }
        return {"stream": "btcusdt@depth", "data": data}

    def book(last: int) -> dict[str, Any]:
        return {"lastUpdateId": last, "E": 1700000000000, "bids": [["100.0", "1"]], "asks": []}

    files = write_recording(
        tmp_path,
        "BINANCE_FUTURES",
        [BINANCE_LIST],
        {"l2_book": ["BTC-USDT-PERP"]},
        {
            "ws.1.0": [
                "wss://fstream.binance.com/stream?streams=btcusdt@depth <-> 1700000000.0",
                _line(100, depth(40, 55, 39, ["99.9", "2"])),
                _line(300, depth(56, 60, 55)),
                _line(400, depth(70, 75, 69)),
                _line(500, depth(76, 85, 75, ["99.8", "3"])),
            ]
        },
        [(DEPTH, "1700000000.050", book(5)), (DEPTH, "1700000000.200", book(50)), (DEPTH, "1700000000.600", book(80))],
    )
    opened, records = _imported(files)
    rows = [[int(record[name]) for name in ("kind", "flags", "a", "b", "c", "d", "e")] for record in records]
    last, snapshot = layout.LAST, layout.LAST | layout.SNAPSHOT
    assert rows == [
        [layout.LEVEL, snapshot, 1000, 1000, 50, -1, 0],  # not 5, which came before it was asked for
        [layout.LEVEL, last, 999, 2000, 55, 39, 40],
        [layout.LEVEL, last, 0, 0, 60, 55, 56],  # only its ids matter
        [layout.GAP, 0, layout.GAP_SEQUENCE, -1, 1_700_000_000_300_000_000, 0, 0],
        [layout.LEVEL, snapshot, 1000, 1000, 80, -1, 0],
        [layout.LEVEL, last, 998, 3000, 85, 75, 76],
    ]
    assert [int(record["ts_receive_ns"]) // 10**6 % 1000 for record in records] == [200, 200, 300, 400, 600, 600]
    assert opened.session.instruments[0].tick_size.as_tuple().exponent == -1


def test_frames_that_cannot_be_read_lose_their_book_and_are_counted_with_their_place(tmp_path: Path) -> None:
    bad = _okx_book("update", [["100.6", "NaN", "0", "1"]])
    files = _okx(
        tmp_path,
        _line(300, _okx_book("snapshot", [["100.5", "2", "0", "1"]])),
        _line(400, bad),
        _line(500, _okx_trade(1, "-3")),
        _line(600, _okx_book("snapshot", [["100.5", "2", "0", "1"]])),
        '1700000000.700: {"arg":{"channel":"boo',
        _line(800, {"arg": {"channel": "liquidation-warning"}, "data": []}),
        _line(900, {"no": "arg"}),
    )
    opened, records = _imported(files)
    kinds = [(int(record["kind"]), int(record["a"])) for record in records]
    gap, level = (layout.GAP, layout.GAP_REJECTED), (layout.LEVEL, 1005)
    assert kinds == [level, gap, level, gap]
    summary = opened.report.summary()
    assert summary.rejects == {"not a number": 1, "price or size not above zero": 1, "bad JSON": 1, "unknown stream": 1}
    assert summary.first_rejects["bad JSON"].startswith("OKX.ws.1.0.gz line 7: ")
    assert summary.unknown_streams == {"%s: Unhandled message %s": 1}
    assert not logging.getLogger("feedhandler").handlers


def test_a_rate_without_a_mark_price_is_settled_when_its_time_has_passed(tmp_path: Path) -> None:
    def rate(text: str, funding_ms: int) -> dict[str, Any]:
        data = {"instId": "BTC-USDT-SWAP", "fundingRate": text, "fundingTime": str(funding_ms), "nextFundingRate": ""}
        return {"arg": {"channel": "funding-rate", "instId": "BTC-USDT-SWAP"}, "data": [data]}

    frames = [_line(300, rate("0.0001", 1_700_000_001_000)), _line(900, rate("0.0002", 1_700_000_001_000))]
    later = _line(1_500, rate("0.0005", 1_700_028_801_000))
    files = write_recording(
        tmp_path,
        "OKX",
        [OKX_LIST, OKX_SPOT_LIST],
        {"funding": ["BTC-USDT-PERP"]},
        {"ws.1.0": [*OKX_HEAD, *frames, later]},
    )
    opened, records = _imported(files)
    assert rows_of(records) == ["0 1500 1000 funding 200000000 0 0 0 0"]
    assert opened.session.instruments[0].channels == ("funding",)


def test_a_settlement_that_is_told_twice_is_written_once(tmp_path: Path) -> None:
    def funding(action: str, rate: float) -> dict[str, Any]:
        row = {
            "symbol": "XBTUSD",
            "timestamp": "2023-11-14T20:00:00.003Z",
            "fundingInterval": "2000-01-01T08:00:00.000Z",
        }
        return {"table": "funding", "action": action, "data": [{**row, "fundingRate": rate}]}

    head = ["wss://www.bitmex.com/realtime <-> 1700000000.0"]
    again = "wss://www.bitmex.com/realtime <-> 1700000000.5"
    lines = [_line(300, funding("partial", -0.000012)), again, _line(600, funding("partial", -0.000012))]
    wanted = {"funding": ["BTC-USD-PERP"]}
    files = write_recording(tmp_path, "BITMEX", [BITMEX_LIST], wanted, {"ws.1.0": [*head, *lines]})
    _, records = _imported(files)
    assert rows_of(records) == [
        "0 300 -8000000 funding -12000000 0 0 0 0",
        "0 500 - gap 1 -1 0 0 0",  # there is no book to lose, but something may have been missed
    ]


def test_one_symbol_can_be_chosen_and_channels_left_out(tmp_path: Path) -> None:
    files = _okx(tmp_path, _line(300, _okx_book("snapshot", [["100.5", "2", "0", "1"]])), _line(500, _okx_trade(4)))
    _, records = _imported(files, ImportOptions(symbol="BTC-USDT-SWAP", without=frozenset({"book"}), clock_offset_ns=5))
    assert records["kind"].tolist() == [layout.PRINT]
    with pytest.raises(DataError, match="no message of ETH-USDT-SWAP"):
        open_ws_capture(files, ImportOptions(symbol="ETH-USDT-SWAP"))


def test_importing_twice_gives_the_same_tape(tmp_path: Path) -> None:
    files = _okx(tmp_path, _line(300, _okx_book("snapshot", [["100.5", "2", "0", "1"]])), _line(500, _okx_trade(4)))
    (first, once), (second, again) = _imported(files), _imported(files[::-1])
    assert first.session == second.session
    assert once.tobytes() == again.tobytes()


def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    listed, stream = sorted(_okx(tmp_path, _line(300, {"event": "subscribe"})))
    with pytest.raises(InputMissingError, match=r"instrument list and the subscription of OKX are missing") as refused:
        open_ws_capture([stream])
    assert "OKX.0" in refused.value.remedy
    with pytest.raises(InputMissingError, match="no file says at which address"):
        open_ws_capture([listed])
    with pytest.raises(DataError, match="no message of any instrument"):
        open_ws_capture([listed, stream])
    wanted = {"l2_book": ["BTC-USDT-PERP"]}
    head = {"ws.1.0": ["wss://fstream.binance.com/stream?streams=x <-> 1700000000.0"]}
    with pytest.raises(InputMissingError, match="sends no book snapshots") as refused:
        open_ws_capture(write_recording(tmp_path, "BINANCE_FUTURES", [BINANCE_LIST], wanted, head))
    assert "BINANCE_FUTURES.http" in refused.value.remedy


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (["wss://stream.bybit.com/realtime_public <-> 1618677785.48"], "of before version 5"),
        (["wss://ws-feed.pro.coinbase.com <-> 1618677785.48"], "which Advanced Trade has replaced"),
        (["wss://unheard.of/ws <-> 1618677785.48"], "no exchange that is read"),
        ([OKX_HEAD[0], "garbage"], "OKX.ws.1.0.gz line 2 .*: none of `time: message`"),
    ],
)
def test_what_cannot_be_played_is_refused_with_the_reason(tmp_path: Path, head: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        open_ws_capture(_okx(tmp_path, head=head))
    assert refused.value.remedy


def test_files_of_two_exchanges_and_files_of_none_are_refused(tmp_path: Path) -> None:
    files = _okx(tmp_path, **{"ws.2.0": ["wss://www.bitmex.com/realtime <-> 1700000000.0"]})
    with pytest.raises(DataError, match="several exchanges"):
        open_ws_capture(files)
    other = tmp_path / "other.txt"
    other.write_text("ts,open\n")
    with pytest.raises(DataError, match="no recording of cryptofeed"):
        open_ws_capture([*files, other])
    changed = tmp_path / "OKX.0.gz"
    changed.write_bytes(gzip.compress(gzip.decompress(changed.read_bytes()) + b"something else\n"))
    with pytest.raises(DataError, match="neither `URL -> time: body` nor"):
        open_ws_capture([changed, tmp_path / "OKX.ws.1.0.gz"])


def test_the_options_of_other_captures_are_not_for_these(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has the exchange's own list"):
        open_ws_capture(_okx(tmp_path), ImportOptions(meta=tmp_path))
