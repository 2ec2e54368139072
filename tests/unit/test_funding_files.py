"""Funding rates and mark prices: reading, storing, joining."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from adapters.funding_files import (
    funding_path,
    import_funding,
    mark_path,
    read_funding,
    read_funding_table,
    read_mark,
)
from engine.errors import DataError, InputMissingError, UsageError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
HOUR_NS = 3_600_000_000_000
FIRST_NS = 1_664_582_400_000_000_000  # 2022-10-01


def written(folder: Path, text: str, name: str = "funding.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_rates_are_exact_and_times_whole_seconds(tmp_path: Path) -> None:
    path = written(tmp_path, "ts,funding_rate\n1664582400008,-0.00008458\n1664611200027,0.00010000\n")
    ts_ns, rate_e12 = read_funding(path)
    assert ts_ns.tolist() == [FIRST_NS, FIRST_NS + 8 * HOUR_NS]
    assert rate_e12.tolist() == [-84_580_000, 100_000_000]


@pytest.mark.parametrize(
    "header",
    [
        "calc_time,funding_interval_hours,last_funding_rate",
        "fundingTime,symbol,fundingRate",
        "date,x,rate",
        "time,x,funding_rate",
    ],
)
def test_names_of_venues(tmp_path: Path, header: str) -> None:
    path = written(tmp_path, f"{header}\n1664582400008,8,0.0001\n")
    assert read_funding(path)[1].tolist() == [100_000_000]


def test_rates_kept_as_candles(tmp_path: Path) -> None:
    path = written(tmp_path, "date,open,high,low,close,volume\n2022-10-01 00:00:00,0.0001,0,0,0,0\n")
    assert read_funding(path)[1].tolist() == [100_000_000]


def test_equal_repeats_are_dropped_and_counted_and_rows_sorted(tmp_path: Path) -> None:
    path = written(tmp_path, "ts,funding_rate\n1664611200000,0.2\n1664582400008,0.1\n1664582400001,0.1\n")
    report = import_funding(tmp_path, path, "BTCUSDT")
    assert (report.rows_count, report.duplicates_dropped, report.stored) == (2, 1, "data/funding/BTCUSDT.parquet")
    ts_ns, rate_e12 = read_funding(funding_path(tmp_path, "BTCUSDT"))
    assert ts_ns.tolist() == [FIRST_NS, FIRST_NS + 8 * HOUR_NS]
    assert rate_e12.tolist() == [10**11, 2 * 10**11]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ts,funding_rate\n1664582400008,0.1\n\n1664582400001,0.2\n", "lines 2 and 4 give 2022-10-01 00:00:00"),
        ("ts,funding_rate\n1664582400000,high\n", r"funding_rate of line 2 \(nan\) cannot be"),
        ("ts,funding_rate\n1664582400000,46216.93\n", r"line 2 \(46216.93\) cannot be"),
        ("ts,funding_rate\n1664582400000,0.1\nnever,0.1\n", "the time of line 3 cannot be"),
        ("ts,funding_rate\n1664582400,0.1\n1664582400000,0.1\n1664611200000,0.1\n", "the time of line 2"),
        ("ts,funding_rate\n", "has no rows"),
        ("ts,price\n1,2\n", "no column 'funding_rate'"),
        ("a,funding_rate\n1,2\n", "no column 'ts'"),
    ],
)
def test_wrong_rates_are_named_and_nothing_stored_is_lost(tmp_path: Path, text: str, message: str) -> None:
    import_funding(tmp_path, written(tmp_path, "ts,funding_rate\n1664582400000,0.1\n"), "BTCUSDT")
    before = funding_path(tmp_path, "BTCUSDT").read_bytes()
    with pytest.raises(DataError, match=message) as caught:
        import_funding(tmp_path, written(tmp_path, text), "BTCUSDT")
    assert caught.value.remedy
    assert funding_path(tmp_path, "BTCUSDT").read_bytes() == before


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf", "1e30"])
def test_mark_prices_that_cannot_be(tmp_path: Path, price: str) -> None:
    with pytest.raises(DataError, match="open of line 2"):
        import_funding(tmp_path, written(tmp_path, f"ts,open\n1664582400000,{price}\n"), "BTCUSDT", "mark")


def stored(home: Path) -> tuple[Path, Path]:
    rates = "ts,funding_rate\n1664582400008,0.0001\n1664589600000,0.0002\n1664611200027,0.0003\n"
    marks = "ts,open,high,low,close\n1664582400000,12.55941354,13,12,12\n1664611200000,13.5,13,12,12\n"
    import_funding(home, written(home, rates), "AXSUSDT")
    import_funding(home, written(home, marks), "AXSUSDT", "mark")
    return funding_path(home, "AXSUSDT"), mark_path(home, "AXSUSDT")


def test_a_rate_joins_the_mark_price_of_its_second(tmp_path: Path) -> None:
    rates, marks = stored(tmp_path)
    assert read_mark(marks)[1].tolist() == [12.55941354, 13.5]
    table = read_funding_table("AXSUSDT", rates, marks)
    assert table.ts_ns.tolist() == [FIRST_NS, FIRST_NS + 2 * HOUR_NS, FIRST_NS + 8 * HOUR_NS]
    assert table.rate_e12.tolist() == [10**8, 2 * 10**8, 3 * 10**8]
    assert table.mark_e8.tolist() == [1_255_941_354, 0, 1_350_000_000]
    assert (table.symbol, table.rows_without_mark, len(table)) == ("AXSUSDT", 1, 3)


def test_rates_without_a_mark_price_are_dropped_where_asked(tmp_path: Path) -> None:
    table = read_funding_table("AXSUSDT", *stored(tmp_path), drop_without_mark=True)
    assert table.rate_e12.tolist() == [10**8, 3 * 10**8]
    assert table.rows_without_mark == 1


def test_no_mark_file_and_a_span(tmp_path: Path) -> None:
    rates, _ = stored(tmp_path)
    table = read_funding_table("AXSUSDT", rates, start_ns=FIRST_NS + HOUR_NS, end_ns=FIRST_NS + 8 * HOUR_NS)
    assert table.rate_e12.tolist() == [2 * 10**8]
    assert table.mark_e8.tolist() == [0]


def test_missing_files_name_the_command(tmp_path: Path) -> None:
    rates, marks = stored(tmp_path)
    marks.unlink()
    with pytest.raises(InputMissingError, match=r"Mark file not found: data/mark/AXSUSDT\.parquet") as caught:
        read_funding_table("AXSUSDT", rates, marks)
    assert "tapewright data import FILE --symbol AXSUSDT --kind mark" in caught.value.remedy
    with pytest.raises(UsageError):
        funding_path(tmp_path, "../x")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("symbol", "span", "rows", "without_mark"),
    [
        *((symbol, "2022Q4", 277, 0) for symbol in ("AXSUSDT", "BNBUSDT", "ETHUSDT", "SANDUSDT")),
        ("SOLUSDT", "2022Q4", 352, 75),  # 2 h and 4 h intervals in November 2022, mark bars of 8 h
        ("BTCUSDT", "2022", 1095, 0),
        ("BTCUSDT", "2025", 266, 0),
        ("ETHUSDT", "2025", 302, 0),
        ("XRPUSDT", "2025", 266, 0),
        ("LAYERUSDT", "2025", 984, 748),
    ],
)
def test_real_funding_joins_its_mark_prices(
    tmp_path: Path, symbol: str, span: str, rows: int, without_mark: int
) -> None:
    rates = DATA / "funding" / f"binance_usdm_{symbol}_funding_{span}.parquet"
    marks = DATA / "mark" / f"binance_usdm_{symbol}_mark_8h_{span}.parquet"
    if not rates.exists():
        pytest.skip("../shared/data is not there")
    import_funding(tmp_path, rates, symbol)
    import_funding(tmp_path, marks, symbol, "mark")
    table = read_funding_table(symbol, funding_path(tmp_path, symbol), mark_path(tmp_path, symbol))
    assert (len(table), table.rows_without_mark, table.duplicates_dropped) == (rows, without_mark, 0)
    assert (table.ts_ns % HOUR_NS == 0).all()
    frame = pl.read_parquet(rates)
    assert table.rate_e12.tolist() == [int(Decimal(repr(rate)) * 10**12) for rate in frame["funding_rate"]]
    prices = dict(zip(*pl.read_parquet(marks)[["ts", "open"]].get_columns(), strict=True))
    for ts_ns, mark_e8 in zip(table.ts_ns.tolist(), table.mark_e8.tolist(), strict=True):
        price = prices.get(ts_ns // 1_000_000)
        assert mark_e8 == (0 if price is None else int(Decimal(repr(price)) * 10**8))


@pytest.mark.real_data
def test_funding_of_an_inverse_contract_without_mark_prices() -> None:
    path = DATA / "funding" / "bitmex_XBTUSD_funding_2019.parquet"
    if not path.exists():
        pytest.skip("../shared/data is not there")
    assert len(read_funding_table("XBTUSD", path)) == 1095
