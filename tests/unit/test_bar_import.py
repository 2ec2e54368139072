"""Files as people have them: what is understood, what is refused and in which words, what is stored."""

from __future__ import annotations

import gzip
import os
import threading
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from adapters.bar_files import content_hash, path_of, read_bars, stored_hash, write_bars
from adapters.bar_import import import_bars, read_source, refusal
from adapters.bar_quality import NO_TIME
from adapters.synthetic_market import synthesize
from engine.bars import Bars
from engine.errors import DataError, InputMissingError, UsageError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MINUTE_NS = 60_000_000_000
FIRST_NS = 1_640_995_200_000_000_000  # 2022-01-01
HEADER = "ts,open,high,low,close,volume\n"
VALUES = "10,12,9,11,5"
SIX = HEADER + "1640995200000,10,12,9,11,5\n1640995260000,11,13,10,12,6\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def written(folder: Path, text: str, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# the first cell of two rows | what the column is taken for
TIMES = [
    ("1640995200", "1640995260", "integers in s"),
    ("1640995200000", "1640995260000", "integers in ms"),
    ("1640995200000000", "1640995260000000", "integers in us"),
    ("1640995200000000000", "1640995260000000000", "integers in ns"),
    ("1640995200.0", "1640995260.0", "numbers in s"),
    ("1.6409952e12", "1.64099526e12", "numbers in ms"),
    ("2022-01-01 00:00:00", "2022-01-01 00:01:00", "text without a zone, taken as UTC"),
    ("2022-01-01T00:00:00.000", "2022-01-01T00:01:00.000", "text without a zone, taken as UTC"),
    ("2022-01-01T00:00:00Z", "2022-01-01T00:01:00.000Z", "text with a zone"),
    ("2022-01-01 00:00:00+00:00", "2022-01-01 00:01:00+00:00", "text with a zone"),
    ("2022-01-01 05:30:00+05:30", "2022-01-01 05:31:00+0530", "text with a zone"),
    ("2021-12-31 19:00:00-05:00", "2021-12-31 19:01:00-05:00", "text with a zone"),
    ("2022-01-01 00:00:00 UTC", "2022-01-01 00:01:00 UTC", "text with a zone"),
    ("2022-01-01 00:00:00", "2022-01-01T00:01:00Z", "text with a zone, and text without, taken as UTC"),
    ("2022/01/01 00:00", "2022/01/01 00:01", "text without a zone, taken as UTC"),
    ("20220101 000000", "20220101 000100", "text without a zone, taken as UTC"),
]


@pytest.mark.parametrize(("first", "second", "taken"), TIMES)
def test_times_in_every_writing(tmp_path: Path, first: str, second: str, taken: str) -> None:
    source = read_source(written(tmp_path, f"{HEADER}{first},{VALUES}\n{second},{VALUES}\n"))
    assert source.table.ts_ns.tolist() == [FIRST_NS, FIRST_NS + MINUTE_NS]
    assert source.time_unit == taken


@pytest.mark.parametrize("days", [("2022-01-01", "2022-01-02"), ("20220101", "20220102"), ("2022/01/01", "2022/01/02")])
def test_dates(tmp_path: Path, days: tuple[str, str]) -> None:
    source = read_source(
        written(tmp_path, f"Date,Open,High,Low,Close,Volume\n{days[0]},{VALUES}\n{days[1]},{VALUES}\n")
    )
    assert source.table.ts_ns.tolist() == [FIRST_NS, FIRST_NS + 1440 * MINUTE_NS]


HEADERS = [
    "timestamp,open,high,low,close,volume",
    "Date,Open,High,Low,Close,Volume",
    '"Timestamp","Open","High","Low","Close","Volume_(BTC)"',
    "Unix Timestamp,Open,High,Low,Close,Vol",
    "open_time,open,high,low,close,Volume BTC",
    "openTime,o,h,l,c,v",
    ",Open,High,Low,Close,Volume",
    "TIME;OPEN;HIGH;LOW;CLOSE;VOLUME",
    "datetime\topen\thigh\tlow\tclose\tvolume",
]


@pytest.mark.parametrize("header", HEADERS)
def test_columns_under_their_usual_names(tmp_path: Path, header: str) -> None:
    separator = next(sign for sign in ";\t," if sign in header)
    row = f"1640995200,{VALUES}".replace(",", separator)
    table = read_source(written(tmp_path, f"{header}\n{row}\n")).table
    assert [float(table.column(name)[0]) for name in ("open", "high", "low", "close", "volume")] == [10, 12, 9, 11, 5]


def test_headerless_binance_klines(tmp_path: Path) -> None:
    row = "1640995200000,10,12,9,11,5,1640995259999,55.0,3,2.5,27.0,0\n"
    source = read_source(written(tmp_path, row + row.replace("10,12", "10,13")))
    assert source.table.high.tolist() == [12.0, 13.0]
    assert "no header line: 12 columns" in source.notes[0]


def test_a_preamble_bom_crlf_blank_lines_and_volumes_of_two_coins(tmp_path: Path) -> None:
    text = (
        "\ufeffhttps://www.example.org\r\n"
        "unix,date,symbol,open,high,low,close,Volume USDT,Volume BTC\r\n"
        "1640995200,2022-01-01 00:00:00,BTC/USDT,10,12,9,11,55,5\r\n\r\n"
        "1640995260,2022-01-01 00:01:00,BTC/USDT,10,x,9,11,55,5\r\n"
    )
    path = written(tmp_path, text)
    source = read_source(path, symbol="BTCUSDT")
    assert source.table.volume.tolist() == [5.0, 5.0]
    assert "1 blank lines skipped" in source.notes
    report = import_bars(tmp_path, path, "BTCUSDT", "1m")
    (finding,) = report.quality.findings
    assert (finding.row, finding.line, finding.field, finding.value) == (2, 5, "high", "'x'")


def test_date_and_clock_in_two_columns(tmp_path: Path) -> None:
    path = written(tmp_path, f"Date,Time,Open,High,Low,Close,Volume\n2022-01-01,00:01:00,{VALUES}\n")
    assert read_source(path).table.ts_ns.tolist() == [FIRST_NS + MINUTE_NS]


def test_packed_files(tmp_path: Path) -> None:
    packed = tmp_path / "bars.csv.gz"
    packed.write_bytes(gzip.compress(SIX.encode()))
    archive = tmp_path / "bars.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("BTCUSDT-1m.csv", SIX)
    for path in (packed, archive):
        assert len(read_source(path).table) == 2


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_parquet_and_feather_with_timestamps(tmp_path: Path, unit: str, zone: str | None) -> None:
    frame = pl.DataFrame(
        {"date": [FIRST_NS, FIRST_NS + MINUTE_NS]} | {name: [10.0, 10.0] for name in ("open", "high", "low", "close")}
    ).with_columns(volume=pl.lit(1), date=pl.col("date").cast(pl.Datetime("ns", zone)).cast(pl.Datetime(unit, zone)))  # type: ignore[arg-type]
    frame.write_parquet(tmp_path / "bars.parquet")
    frame.write_ipc(tmp_path / "bars.feather")
    for name in ("bars.parquet", "bars.feather"):
        source = read_source(tmp_path / name)
        assert source.table.ts_ns.tolist() == [FIRST_NS, FIRST_NS + MINUTE_NS]
        assert source.table.volume.tolist() == [1.0, 1.0]


def test_values_are_the_doubles_nearest_to_the_text(tmp_path: Path, home: Path) -> None:
    text = "46216.93", "46271.08000000", "46208.37", "46250", "40.57574"
    path = written(tmp_path, f"{HEADER}1640995200000,{','.join(text)}\n")
    import_bars(home, path, "BTCUSDT", "1m")
    bars = read_bars(path_of(home, "BTCUSDT", "1m"), "BTCUSDT", "1m")
    assert [float(getattr(bars, name)[0]) for name in ("open", "high", "low", "close", "volume")] == [
        float(value) for value in text
    ]


# what is wrong with a file | text | what the error says
BROKEN_TEXT = [
    ("a header only", HEADER, "has no rows"),
    ("no columns", "hello\nworld\n", "line 1 reads 'hello'"),
    ("no time", "a,open,high,low,close,volume\n1,1,1,1,1,1\n", "no column of times"),
    ("no close", "ts,open,high,low,volume\n1640995200,1,1,1,1\n", "no column 'close'"),
    ("no volume", "ts,open,high,low,close\n1640995200,1,1,1,1\n", "--no-volume"),
    ("a column twice", "ts,open,Open,high,low,close,volume\n1,1,1,1,1,1,1\n", "two columns named 'open'"),
    ("too many cells", SIX + "1640995320000,1,1,1,1,1,1\n", "line 4 has 7 columns"),
    ("an open quote", SIX + '"1640995320000,1,1,1,1,1\n', "line 4 opens a quote"),
    ("no times", f"{HEADER}yesterday,{VALUES}\n", "first 'yesterday'"),
    ("days first", f"{HEADER}31/01/2022,{VALUES}\n", "year first"),
    ("no header, five columns", "1640995200,1,1,1,1\n", "no header line, and 5 columns"),
]


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in BROKEN_TEXT], ids=[case[0] for case in BROKEN_TEXT])
def test_broken_text_is_refused_with_a_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_source(path)
    assert message in str(caught.value)
    assert str(path) in caught.value.message
    assert caught.value.remedy


def parquet_bytes(folder: Path) -> bytes:
    path = folder / "whole.parquet"
    pl.DataFrame({"ts": [1, 2], "open": [1.0, 2.0]}).write_parquet(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bars.csv", b"", "is empty"),
        ("bars.csv", b"ts,open\0\1\2", "is not text: byte 8"),
        ("bars.csv", b"ts,\xff\xfe,open\n", "byte 4 is 0xff"),
        ("bars.parquet", b"ts,open,high,low,close,volume\n", "is not a parquet file"),
        ("bars.feather", b"rubbish", "is not a feather file"),
        ("bars.feather", b"FEA1rubbish", "Feather version 1"),
        ("bars.arrow", b"ARROW1rubbish", "is damaged"),
        ("bars.xlsx", b"PK\x03\x04rubbish", "files of this kind"),
        ("bars.zip", b"PK\x03\x04rubbish", "is damaged"),
        ("bars.json", b"[1,2]", "files of this kind"),
        ("bars", b"ts,open", "files of this kind"),
        ("bars.csv.gz", b"\x1f\x8brubbish", "is damaged"),
        ("bars.csv.gz", gzip.compress(b"ts,open\n" * 1000, mtime=0)[:40], "is damaged"),
    ],
)
def test_rubbish_is_refused_with_a_remedy(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_source(path)
    assert name in caught.value.message
    assert caught.value.remedy


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    whole = parquet_bytes(tmp_path)
    for length in (5, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut.parquet"
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.parquet is damaged"):
            read_source(path)


def test_a_directory_and_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a directory"):
        read_source(tmp_path)
    with pytest.raises(InputMissingError, match="File not found"):
        read_source(tmp_path / "nothing.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, SIX)
    path.chmod(0)
    with pytest.raises(DataError, match="may not be read"):
        read_source(path)


def test_a_refused_file_leaves_what_is_stored(tmp_path: Path, home: Path) -> None:
    import_bars(home, written(tmp_path, SIX), "BTCUSDT", "1m")
    stored = path_of(home, "BTCUSDT", "1m")
    before = stored.read_bytes()
    bad = written(tmp_path, SIX + "1640995320000,10,9,12,11,5\n1640995320000,10,12,9,x,5\n", "bad.csv")
    report = import_bars(home, bad, "BTCUSDT", "1m")
    assert report.refused
    message = str(refusal(report))
    assert "bad.csv was not stored" in message
    assert "high_below_low: row 3 (line 4) 2022-01-01 00:02:00: high 9.0" in message
    assert "not_a_number: row 4 (line 5) 2022-01-01 00:02:00: close 'x'" in message
    assert "--repair" in message
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_an_import_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="cannot be written"):
        import_bars(tmp_path, written(tmp_path, SIX), "BTCUSDT", "1m")


def test_repairs_are_recorded_beside_the_file_and_forgotten_with_it(tmp_path: Path, home: Path) -> None:
    text = SIX + "\n1640995380000,10,9,12,11,5\n1640995320000,10,12,9,bad,5\n"
    report = import_bars(home, written(tmp_path, text, "bad.csv"), "BTCUSDT", "1m", repair=True)
    records = home / "data" / "raw" / "BTCUSDT_1m.repairs.jsonl"
    assert report.repairs_file == "data/raw/BTCUSDT_1m.repairs.jsonl"
    lines = [msgspec.json.decode(line) for line in records.read_bytes().splitlines()]
    assert [(line["action"], line["row"], line["line"], line["before"]) for line in lines] == [
        ("dropped", 4, 6, "'bad'"),
        ("swapped", 3, 5, "9.0 12.0"),
    ]
    assert len(read_bars(path_of(home, "BTCUSDT", "1m"), "BTCUSDT", "1m")) == 3
    clean = import_bars(home, written(tmp_path, SIX), "BTCUSDT", "1m", repair=True)
    assert (clean.repairs, clean.repairs_file, clean.replaced) == ((), "", True)
    assert not records.exists()


def test_nothing_left_after_repair_is_an_error(tmp_path: Path, home: Path) -> None:
    with pytest.raises(DataError, match="no row is left"):
        import_bars(home, written(tmp_path, f"{HEADER}1640995200,0,0,0,0,0\n"), "X", "1m", repair=True)


def test_times_out_of_range_are_named_and_survive_nothing(tmp_path: Path, home: Path) -> None:
    text = SIX + f"1640995320,{VALUES}\n,{VALUES}\n99999999999999999999,{VALUES}\n"
    path = written(tmp_path, text)
    report = import_bars(home, path, "BTCUSDT", "1m")
    assert report.quality.counts == {"bad_time": 2, "time_out_of_range": 1, "off_grid": 1, "disorder": 1}
    values = [(f.row, f.value) for f in report.quality.findings if f.kind != "off_grid"]
    assert values[:3] == [(4, "(empty)"), (5, "'99999999999999999999'"), (3, "'1640995320'")]
    assert (read_source(path).table.ts_ns == NO_TIME).sum() == 2


def test_shift_moves_bars_stamped_by_their_close(tmp_path: Path, home: Path) -> None:
    path = written(tmp_path, SIX.replace("1640995200000", "1640995259999").replace("1640995260000", "1640995319999"))
    assert import_bars(home, path, "BTCUSDT", "1m").quality.counts == {"off_grid": 2}
    text = SIX.replace("1640995260000", "1640995320000").replace("1640995200000", "1640995260000")
    import_bars(home, written(tmp_path, text), "BTCUSDT", "1m", shift_seconds=-60)
    assert read_bars(path_of(home, "BTCUSDT", "1m"), "BTCUSDT", "1m").ts_ns[0] == FIRST_NS
    with pytest.raises(UsageError, match="over a year"):
        import_bars(home, path, "BTCUSDT", "1m", shift_seconds=10**15)


@pytest.mark.parametrize("symbol", ["BTC/USDT", "../x", "", ".hidden", "a b", "x" * 70])
def test_symbols_that_are_no_file_names(home: Path, symbol: str) -> None:
    with pytest.raises(UsageError, match="is not a symbol"):
        path_of(home, symbol, "1m")


def some_bars(count: int = 10) -> Bars:
    return synthesize("BTCUSDT", "1m", count, seed=3)


def test_stored_bars_come_back_bit_for_bit_in_columns_of_their_own(home: Path) -> None:
    path = path_of(home, "BTCUSDT", "1m")
    bars = some_bars(200_000)
    write_bars(path, bars)
    back = read_bars(path, "BTCUSDT", "1m")
    assert content_hash(back) == content_hash(bars) == stored_hash(path)
    for name in ("ts_ns", "open", "high", "low", "close", "volume"):
        column = getattr(back, name)
        assert (column == getattr(bars, name)).all()
        assert column.base is None
        assert column.flags.owndata
        assert column.flags.c_contiguous
        assert column.ndim == 1
    assert (back.symbol, back.timeframe) == ("BTCUSDT", "1m")


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [(None, None, 10), (0, 10, 10), (2, 5, 3), (5, 5, 0), (7, 2, 0), (-5, 3, 3), (8, 99, 2), (20, 30, 0)],
)
def test_the_start_is_in_and_the_end_is_out(home: Path, start: int | None, end: int | None, rows: int) -> None:
    path = path_of(home, "BTCUSDT", "1m")
    bars = some_bars()
    write_bars(path, bars)
    at = int(bars.ts_ns[0])
    cut = read_bars(
        path,
        "BTCUSDT",
        "1m",
        None if start is None else at + start * MINUTE_NS,
        None if end is None else at + end * MINUTE_NS,
    )
    assert len(cut) == rows
    assert len(cut.close) == rows
    assert cut.close.base is None
    assert cut.ts_ns.base is None
    if rows:
        first = max(start or 0, 0)
        assert cut.ts_ns[0] == at + first * MINUTE_NS
        assert cut.close.tolist() == bars.close[first : first + rows].tolist()


def test_a_missing_file_names_the_command(home: Path) -> None:
    with pytest.raises(InputMissingError) as caught:
        read_bars(path_of(home, "BTCUSDT", "1m"), "BTCUSDT", "1m")
    assert caught.value.message == "Data file not found: data/raw/BTCUSDT_1m.parquet"
    assert caught.value.remedy == (
        "Run: tapewright data import FILE --symbol BTCUSDT --timeframe 1m"
        " (or: tapewright data synth --symbol BTCUSDT --timeframe 1m;"
        " from Binance: tapewright data download --symbol BTCUSDT --timeframe 1m --start DATE --end DATE)"
    )


def stored_frame(**changes: object) -> pl.DataFrame:
    frame = pl.DataFrame({"ts": [1640995200000, 1640995260000]}).with_columns(open=pl.lit(2.0), high=pl.lit(2.0))
    frame = frame.with_columns(low=pl.lit(1.0), close=pl.lit(1.5), volume=pl.lit(0.0))
    return frame.with_columns(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (stored_frame().drop("close"), "first 'close'"),
        (stored_frame(ts=pl.lit("now")), "first 'ts'"),
        (stored_frame(extra=pl.lit(1)), "first 'extra'"),
        (stored_frame(volume=pl.lit(None, dtype=pl.Float64)), "row 1 has no volume"),
        (stored_frame().reverse(), "the time of row 2 is not later than that of row 1"),
        (stored_frame(ts=pl.lit(1640995200000)), "the time of row 2 is not later than that of row 1"),
        (stored_frame(ts=pl.Series([1640995200000, 1640995230000])), "is less than 60 s after that of row 1"),
        (stored_frame(ts=pl.lit(2**62)), "ts does not hold UTC milliseconds"),
        (stored_frame(close=pl.lit(float("nan"))), "the bar of 2022-01-01 00:00:00.000 cannot be"),
        (stored_frame(close=pl.lit(3.0)), "cannot be"),
        (stored_frame(low=pl.lit(0.0)), "cannot be"),
        (stored_frame(volume=pl.lit(-1.0)), "cannot be"),
        (stored_frame(high=pl.lit(float("inf"))), "cannot be"),
    ],
)
def test_a_stored_file_that_is_wrong_is_refused(home: Path, frame: pl.DataFrame, message: str) -> None:
    path = path_of(home, "BTCUSDT", "1m")
    path.parent.mkdir(parents=True)
    frame.write_parquet(path)
    with pytest.raises(DataError, match=message) as caught:
        read_bars(path, "BTCUSDT", "1m")
    assert "data/raw/BTCUSDT_1m.parquet" in caught.value.message
    assert "tapewright data" in caught.value.remedy


def test_a_file_that_is_replaced_meanwhile_is_read_as_one_of_the_two(home: Path) -> None:
    path = path_of(home, "X", "1m")
    kinds = {count: synthesize("X", "1m", count, seed=count) for count in (2_000, 3_000)}
    hashes = {content_hash(bars) for bars in kinds.values()}
    write_bars(path, kinds[2_000])
    is_over = threading.Event()

    def replace() -> None:
        while not is_over.is_set():
            for bars in kinds.values():
                write_bars(path, bars)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(300):
            assert content_hash(read_bars(path, "X", "1m")) in hashes
            assert stored_hash(path) in hashes
    finally:
        is_over.set()
        writer.join()


def test_a_damaged_stored_file_is_refused(home: Path) -> None:
    path = path_of(home, "BTCUSDT", "1m")
    write_bars(path, some_bars())
    whole = path.read_bytes()
    for content in (b"", b"rubbish", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"data/raw/BTCUSDT_1m\.parquet is damaged"):
            read_bars(path, "BTCUSDT", "1m")


# file | symbol | timeframe | bars | missing, runs, longest | bars without volume: as ../shared/data/README.md has it
REAL = [
    *(
        (f"ohlcv/binance_spot_{coin}USDT_15m_2022", f"{coin}USDT", "15m", 35040, (0, 0, 0))
        for coin in ("BTC", "ETH", "SOL")
    ),
    *(
        (f"ohlcv/binance_spot_{coin}USDT_1h_2022", f"{coin}USDT", "1h", 8760, (0, 0, 0))
        for coin in ("BTC", "ETH", "SOL")
    ),
    *(
        (f"ohlcv/binance_spot_{coin}USDT_1m_2022", f"{coin}USDT", "1m", 525600, (0, 0, 0))
        for coin in ("BTC", "ETH", "SOL")
    ),
    ("ohlcv/bitfinex_spot_BTCUSD_1m_2019", "BTCUSD", "1m", 512727, (12873, 9955, 197)),
    *(
        (f"perp/binance_usdm_{coin}USDT_15m_2022Q4", f"{coin}USDT", "15m", 8833, (0, 0, 0))
        for coin in ("AXS", "BNB", "ETH", "SAND", "SOL")
    ),
    *(
        (f"perp/binance_usdm_{coin}USDT_1h_2022Q4", f"{coin}USDT", "1h", 2209, (0, 0, 0))
        for coin in ("AXS", "BNB", "ETH", "SAND", "SOL")
    ),
    *(
        (f"perp/binance_usdm_{coin}USDT_1m_2025-05", f"{coin}USDT", "1m", 43199, (0, 0, 0))
        for coin in ("BTC", "LAYER", "XRP")
    ),
    ("perp/binance_usdm_ETHUSDT_1m_2025-05", "ETHUSDT", "1m", 60191, (0, 0, 0)),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "symbol", "timeframe", "rows", "gaps"), REAL, ids=[case[0] for case in REAL])
def test_real_files_import_with_the_gaps_they_have(
    home: Path, name: str, symbol: str, timeframe: str, rows: int, gaps: tuple[int, int, int]
) -> None:
    path = DATA / f"{name}.parquet"
    if not path.exists():
        pytest.skip("../shared/data is not there")
    report = import_bars(home, path, symbol, timeframe)
    quality = report.quality
    assert not report.refused
    assert quality.rows_count == rows
    assert (quality.gaps.bars_missing, quality.gaps.runs_count, quality.gaps.longest_bars) == gaps
    if name == "ohlcv/binance_spot_SOLUSDT_1m_2022":
        assert quality.zero_volume_bars == 31
    bars = read_bars(path_of(home, symbol, timeframe), symbol, timeframe)
    frame = pl.read_parquet(path)
    assert (bars.ts_ns == frame["ts"].to_numpy() * 1_000_000).all()
    assert all((getattr(bars, field) == frame[field].to_numpy()).all() for field in frame.columns[1:])


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("backtestingpy_GOOG.csv", 2148),
        ("backtrader_2006-day-001.txt", 255),
        ("basana_binance_btcusdt_day_2020.csv", 366),
    ],
)
def test_other_packages_daily_files_import(home: Path, name: str, rows: int) -> None:
    path = DATA / "golden" / name
    if not path.exists():
        pytest.skip("../shared/data is not there")
    report = import_bars(home, path, "TEST", "1d")
    assert (report.refused, report.quality.rows_count) == (False, rows)


def test_a_year_of_csv_gives_the_same_bars(tmp_path: Path, home: Path) -> None:
    bars = synthesize("SYNTH", "1m", 50_000, seed=5)
    frame = pl.DataFrame(
        {"ts": bars.ts_ns // 1_000_000}
        | {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    )
    frame.write_csv(tmp_path / "bars.csv")
    import_bars(home, tmp_path / "bars.csv", "SYNTH", "1m")
    back = read_bars(path_of(home, "SYNTH", "1m"), "SYNTH", "1m")
    assert content_hash(back) == content_hash(bars)
    assert np.array_equal(back.ts_ns, bars.ts_ns)
