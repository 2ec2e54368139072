"""Files of captures: what they are is told by content, what they are not is said with line and byte; merging."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from adapters.captures import lines as lines_module
from adapters.captures.capture_file import CaptureKind, recognise
from adapters.captures.lines import read_lines
from engine.errors import DataError, InputMissingError, UsageError
from tests.captures import imported, raw_capture, rejects_of, rows_of, table_of


def trade(receive: int, trade_id: int, symbol: str = "AUSDT") -> str:
    """A line of a USD-M capture: a trade."""
    return (
        f'{receive} {{"e":"trade","E":1,"s":"{symbol}","t":{trade_id},"T":@@{receive:04d},"m":false,"X":"MARKET",'
        '"p":"1.5","q":"3"}\n'
    )


@pytest.mark.parametrize("packing", ["plain", "gzip", "two gzips", "zip"])
def test_lines_know_their_number_and_byte_however_they_are_packed(
    tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "_CHUNK_BYTES", 3)
    text = b"ab\r\n\ncdefgh\n \ni"
    path = tmp_path / "file"
    match packing:
        case "plain":
            path.write_bytes(text)
        case "gzip":
            path.write_bytes(gzip.compress(text))
        case "two gzips":
            path.write_bytes(gzip.compress(text[:7]) + gzip.compress(text[7:]))
        case _:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("inside", text)
    found = [(line.number, line.byte, line.content) for line in read_lines(path)]
    assert found == [(1, 0, b"ab\r"), (3, 5, b"cdefgh"), (5, 14, b"i")]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "_CHUNK_BYTES", 10)
    monkeypatch.setattr(lines_module, "_LINE_BYTES_MOST", 50)
    path = tmp_path / "file"
    path.write_bytes(b"first\n" + b"x" * 200)
    with pytest.raises(DataError, match="line 2, from byte 6 on, is longer"):
        list(read_lines(path))


def test_a_damaged_gzip_says_where_it_ends(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(b"%d {}\n" % number for number in range(100_000)))
    path = tmp_path / "file.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"damaged after byte \d+") as caught:
        list(read_lines(path))
    assert "gzip -dc" in caught.value.remedy
    middle = bytearray(packed)
    middle[len(packed) // 2] ^= 0xFF
    path.write_bytes(middle)
    with pytest.raises(DataError, match="damaged after byte"):
        list(read_lines(path))


# name | content | what is said
REFUSED = """
text    | hello\\nworld\\n                        | the first lines are of no known capture: line 1, byte 0: 'hello'
json    | \\n{"a":1}\\n                           | line 2, byte 1
csv     | ts,open,high,low,close,volume\\n1,2,3,4,5,6\\n | no known capture
seconds | 1700000000 {"e":"trade","s":"A"}\\n     | no known capture
blank   | \\n \\n\\n                                | blank lines only
empty   |                                        | is empty (0 bytes)
"""


@pytest.mark.parametrize("row", [row for row in REFUSED.splitlines() if row])
def test_a_file_that_is_none_is_refused(tmp_path: Path, row: str) -> None:
    name, content, message = (cell.strip() for cell in row.split("|"))
    path = tmp_path / name
    path.write_text(content.replace("\\n", "\n"))
    with pytest.raises(DataError) as caught:
        recognise(path)
    assert message in caught.value.message
    assert caught.value.remedy


def test_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        recognise(tmp_path / "none")
    with pytest.raises(DataError, match="is a directory"):
        recognise(tmp_path)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("b", "2")
    with pytest.raises(DataError, match="holds 2 files"):
        recognise(tmp_path / "two.zip")


def test_a_wrong_kind_is_refused_with_its_first_line(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", trade(5, 1) + trade(6, 2) + trade(7, 3))
    with pytest.raises(DataError, match="header is none of Tardis'"):
        imported(path, kind=CaptureKind.tardis)
    opened, _ = imported(path, kind=CaptureKind.binance_coinm)  # only what the user knows better
    assert opened.session.instruments[0].venue == "binance_coinm"


def test_some_noise_is_counted_and_much_is_refused(tmp_path: Path) -> None:
    good = "".join(trade(5 + number, number + 1) for number in range(300))
    path = raw_capture(tmp_path / "a", good)
    text = path.read_text()
    path.write_text(text + "half a li")
    opened, records = imported(path)
    assert len(records) == 300
    assert rejects_of(opened) == {"no receive time": 1}
    path.write_text(text + "1700000000000000000 {\n" * 4)
    with pytest.raises(DataError, match=r"4 of 304 lines .* the first: a line 301 \(byte \d+\): bad JSON"):
        imported(path)


def test_files_are_merged_by_receive_time_and_number_their_sources(tmp_path: Path) -> None:
    first = raw_capture(tmp_path / "first", trade(5, 1) + trade(8, 2) + trade(8, 3))
    second = raw_capture(tmp_path / "second", trade(6, 1, "BUSDT") + trade(8, 2, "BUSDT") + trade(9, 3, "BUSDT"))
    opened, records = imported(first, second)
    assert rows_of(records) == table_of("""
        0 5 5 print 15 3 1 0 0
        1 6 6 print 15 3 1 0 0
        0 8 8 print 15 3 2 0 0    # of equal times the file named first
        0 8 8 print 15 3 3 0 0
        1 8 8 print 15 3 2 0 0
        1 9 9 print 15 3 3 0 0
    """)
    assert records["source"].tolist() == [0, 1, 0, 0, 1, 1]
    assert [source.name for source in opened.session.sources] == ["first", "second"]
    again, _ = imported(first, second)
    assert again.session == opened.session


BEFORE = """
5 {"lastUpdateId":50,"E":@@0004,"bids":[["1.0","10"]],"asks":[["1.1","20"]]}
6 {"e":"depthUpdate","E":@@0005,"T":@@0005,"s":"AUSDT","U":51,"u":53,"pu":50,"b":[["1.0","9"]],"a":[]}
"""
AFTER = """
7 {"e":"depthUpdate","E":@@0006,"T":@@0005,"s":"AUSDT","U":60,"u":61,"pu":53,"b":[["1.0","8"]],"a":[]}
"""


def test_a_file_that_continues_another_needs_no_snapshot(tmp_path: Path) -> None:
    before, after = raw_capture(tmp_path / "b", BEFORE), raw_capture(tmp_path / "a", AFTER)
    _, records = imported(after, before)
    assert rows_of(records)[-1] == "0 7 6 level 10 8 61 53 60 LAST"
    opened, records = imported(after)
    assert len(records) == 0
    assert rejects_of(opened) == {"book update before the first snapshot": 1}


def test_a_receive_time_that_falls_is_held(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", trade(9, 1) + trade(5, 2) + trade(10, 3))
    opened, records = imported(path)
    assert rows_of(records) == table_of("""
        0 9 9 print 15 3 1 0 0
        0 9 5 print 15 3 2 0 0
        0 10 10 print 15 3 3 0 0
    """)
    assert opened.report.notes == ["a: the receive time fell 1 times; the last one was kept"]


def test_trades_that_come_late_are_kept_and_are_not_skipped(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", trade(5, 1) + trade(6, 4) + trade(7, 2) + trade(8, 2) + trade(9, 9))
    opened, records = imported(path)
    assert records["c"].tolist() == [1, 4, 2, 9]
    assert opened.report.summary().trade_ids_skipped == {"AUSDT": 5}  # 3, 5 to 8


def test_a_symbol_that_is_not_there(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", trade(5, 1))
    with pytest.raises(DataError, match="no message of BTCUSDT"):
        imported(path, symbol="BTCUSDT")


def test_bars_do_not_mix_with_captures(tmp_path: Path) -> None:
    path = raw_capture(tmp_path / "a", trade(5, 1))
    bars = tmp_path / "bars.parquet"
    bars.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="holds bars"):
        imported(path, bars)
