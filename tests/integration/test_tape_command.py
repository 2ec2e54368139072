"""The tape commands through the command line, on tapes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from adapters.tape import CLOSING, SESSION, Closing, TapeReader, TapeWriter
from adapters.tape.export import export
from daemon.cli import run
from daemon.commands.tape import tape_app
from engine.errors import DataError, InputMissingError, UsageError
from engine.kernels import layout
from engine.kernels.layout import RECORD
from tests.tapes import START_NS, a_session, read_all, some_records, write_tape

# One record of each kind, with the words of docs/tape.md. Ticks of instrument 0 are 0.1, lots 0.001.
# kind, flags, a, b, c, d, e
ROWS = [
    (layout.LEVEL, layout.SNAPSHOT, 617_849, 102, 5_123_107_837_557, -1, 0),
    (layout.LEVEL, layout.SNAPSHOT | layout.SELL | layout.LAST, 618_003, 3_330, 5_123_107_837_557, -1, 0),
    (layout.LEVEL, layout.LAST, 617_849, 0, 12, 11, 10),
    (layout.PRINT, layout.SELL, 618_002, 7, 5_266_231_007, 0, 0),
    (layout.PRINT, layout.SIDE_UNKNOWN, 618_002, 7, 5_266_231_008, 0, 0),
    (layout.QUOTE, 0, 618_002, 9, 618_003, 3_330, 13),
    (layout.MARK, 0, 618_002_500_000, 0, 100_000_000, 1_723_190_400 * 10**9, 0),
    (layout.FUNDING, 0, -123_000_000, 618_002_123_456, 0, 0, 0),
    (layout.GAP, 0, layout.GAP_DISCONNECTED, -1, 0, 0, 0),
    (layout.INTEREST, 0, 81_234_567, 0, 0, 0, 0),
    (layout.FORCED, layout.SELL, 617_000, 15, 0, 0, 0),
    (layout.BAR, layout.LAST, 617_900, 618_100, 617_800, 618_000, 1_234_567),
    (layout.CLOCK, 0, 0, 0, 0, 0, 0),
]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    folder = tmp_path / "tape"
    records = np.zeros(len(ROWS), RECORD)
    for record, (kind, flags, *words) in zip(records, ROWS, strict=True):
        record["kind"], record["flags"] = kind, flags
        for field, word in zip("abcde", words, strict=True):
            record[field] = word
    records["ts_receive_ns"] = START_NS + np.arange(len(ROWS)) * 10**9
    records["ts_exchange_ns"] = START_NS - 5
    records["source"] = 1
    records["instrument"][records["kind"] == layout.GAP] = layout.ALL_INSTRUMENTS
    with TapeWriter(folder, is_new=True) as writer:
        writer.document(SESSION, a_session(), START_NS)
        writer.append(records)
        writer.document(CLOSING, Closing({"PRINT": 2}))
    return folder


def invoke(*arguments: object) -> Result:
    """Run a tape command; errors come through."""
    return CliRunner().invoke(tape_app, [str(argument) for argument in arguments])


def told(*arguments: object) -> Any:
    """Run with --json: one object on one line and nothing else."""
    result = invoke(*arguments, "--json")
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def rotten(folder: Path) -> None:
    """Flip a bit in the middle of a tape's first segment."""
    path = folder / "000001.tape"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def test_info_counts_every_record(tape: Path) -> None:
    found = told("info", tape)
    pieces = int((read_all(tape)["kind"] == layout.DOCUMENT).sum())
    assert {(each["kind"], each["symbol"]): each["records_count"] for each in found["census"]["counts"]} == {
        ("LEVEL", "BTCUSDT"): 3, ("PRINT", "BTCUSDT"): 2, ("QUOTE", "BTCUSDT"): 1, ("MARK", "BTCUSDT"): 1,
        ("FUNDING", "BTCUSDT"): 1, ("GAP", "(all)"): 1, ("INTEREST", "BTCUSDT"): 1, ("LIQUIDATION", "BTCUSDT"): 1,
        ("BAR", "BTCUSDT"): 1, ("CLOCK", ""): 1, ("DOCUMENT", ""): pieces,
    }  # fmt: skip
    assert found["census"]["gaps"] == {"DISCONNECTED": 1}
    assert found["census"]["documents"] == {"SESSION": 1, "CLOSING": 1}
    assert found["facts"]["records_count"] == len(ROWS) + pieces
    assert (found["facts"]["first_ns"], found["facts"]["last_ns"]) == (START_NS, START_NS + (len(ROWS) - 1) * 10**9)
    assert found["facts"]["bytes_count"] == sum(path.stat().st_size for path in tape.iterdir())
    assert found["bytes_per_record"] == pytest.approx(found["facts"]["bytes_count"] / (len(ROWS) + pieces))
    assert found["sessions"][0]["session"]["instruments"][0]["tick_size"] == "0.1"


def test_info_for_people(tape: Path) -> None:
    lines = invoke("info", tape).stdout
    assert "sealed" in lines
    assert "2024-08-08T23:54:15.000000000Z to 2024-08-08T23:54:27.000000000Z (12 s)" in lines
    assert "source 0: recorder (made up), clock offset +1.268 s, estimated" in lines
    assert "0: BTCUSDT binance_usdm linear, tick 0.1, lot 0.001" in lines


def test_check_ends_with_0_or_1(tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    write_tape(tape, some_records(500))
    assert told("check", tape)["sound"] is True
    assert "sound, sealed, digest" in invoke("check", tape).stdout
    rotten(tape)
    result = invoke("check", tape)
    assert result.exit_code == 1
    assert "000001.tape, offset " in result.stdout
    assert "rotten frame, records " in result.stdout
    found = told("check", tape)
    assert found["sound"] is False
    (finding,) = found["findings"]
    assert finding["last_seq"] - finding["first_seq"] + 1 == 8
    assert run(["tape", "check", str(tape)]) == 1


def test_repair_writes_a_sound_tape(tmp_path: Path) -> None:
    tape, out = tmp_path / "tape", tmp_path / "repaired"
    write_tape(tape, some_records(500))
    rotten(tape)
    found = told("repair", tape, "--out", out)
    assert found["gaps_count"] == 1
    assert found["records_lost"] >= 8
    assert told("check", out)["sound"] is True
    assert told("info", out)["census"]["gaps"] == {"ROT": 1}


def test_cut_by_times(tape: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    lines = invoke("cut", tape, "--out", out, "--from", "2024-08-08T23:54:18Z", "--to", START_NS + 6 * 10**9).stdout
    assert "2024-08-08T23:54:18.000000000Z to 2024-08-08T23:54:20.000000000Z" in lines
    kinds = read_all(out)["kind"]
    assert kinds[kinds != layout.DOCUMENT].tolist() == [layout.GAP, layout.PRINT, layout.PRINT, layout.QUOTE]
    assert told("check", out)["sound"] is True


def test_export_gives_what_the_venue_printed(tape: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    found = told("export", tape, "--out", out)
    documents = int((read_all(tape)["kind"] == layout.DOCUMENT).sum())
    assert found["left_out"] == documents + 1  # the CLOCK
    assert found["rows"] == {
        "levels": 3, "prints": 2, "quotes": 1, "marks": 1, "funding": 1, "gaps": 1, "bars": 1, "interest": 1,
        "liquidations": 1,
    }  # fmt: skip
    tables = {name: pl.read_parquet(out / f"{name}-000001.parquet").to_dicts() for name in found["rows"]}
    first_seq = int(np.flatnonzero(read_all(tape)["kind"] == layout.LEVEL)[0]) + 1
    assert tables["levels"][0] == {
        "seq": first_seq, "ts_exchange_ns": START_NS - 5, "ts_receive_ns": START_NS, "symbol": "BTCUSDT", "source": 1,
        "side": "bid", "price": 61784.9, "price_ticks": 617_849, "size": 0.102, "size_lots": 102,
        "is_snapshot": True, "is_last": False, "update_id": 5_123_107_837_557, "previous_update_id": None,
        "first_update_id": None,
    }  # fmt: skip
    assert (tables["levels"][1]["side"], tables["levels"][1]["price"]) == ("ask", 61800.3)
    assert (tables["levels"][2]["previous_update_id"], tables["levels"][2]["first_update_id"]) == (11, 10)
    assert [row["side"] for row in tables["prints"]] == ["sell", None]
    assert tables["quotes"][0]["ask_price"] == 61800.3
    mark = tables["marks"][0]
    assert (mark["mark_price"], mark["index_price"], mark["funding_rate"]) == (61800.25, None, 0.0001)
    assert tables["funding"][0]["rate"] == -0.000123
    assert tables["funding"][0]["mark_price"] == 61800.2123456
    gap = tables["gaps"][0]
    assert (gap["symbol"], gap["reason"], gap["records_lost"], gap["from_ns"]) == (None, "DISCONNECTED", None, None)
    assert (tables["bars"][0]["high"], tables["bars"][0]["volume"]) == (61810.0, 1234.567)
    assert tables["interest"][0]["interest"] == 81234.567
    assert (tables["liquidations"][0]["side"], tables["liquidations"][0]["price"]) == ("sell", 61700.0)
    explained = [json.loads(line) for line in (out / "documents.jsonl").read_text().splitlines()]
    assert [each["type"] for each in explained] == [SESSION, CLOSING]


def test_export_in_parts_and_of_some_kinds(tmp_path: Path) -> None:
    original = write_tape(tmp_path / "tape", some_records(2_000))
    export(tmp_path / "tape", tmp_path / "tables", ("prints",), part_rows=100)
    assert {path.name.split("-")[0] for path in (tmp_path / "tables").iterdir()} == {"prints", "documents.jsonl"}
    rows = pl.scan_parquet(tmp_path / "tables" / "prints-*.parquet").sort("seq").collect()
    prints = np.flatnonzero(original["kind"] == layout.PRINT)
    assert rows["seq"].to_list() == (prints + 1).tolist()
    assert rows["price_ticks"].to_list() == original["a"][prints].tolist()
    ticks = np.where(original["instrument"][prints] == 0, 0.1, 0.01)
    assert rows["price"].to_list() == np.round(original["a"][prints] * ticks, 2).tolist()


def test_what_cannot_be_is_told_with_its_exit_code(tape: Path, tmp_path: Path) -> None:
    assert run(["tape", "info", str(tmp_path / "none")]) == 66
    assert run(["tape", "cut", str(tape), "--out", str(tmp_path / "cut"), "--from", "yesterday"]) == 64
    assert run(["tape", "export", str(tape), "--out", str(tape)]) == 64
    assert run(["tape", "export", str(tape), "--out", str(tmp_path / "x"), "--kind", "books"]) == 64
    for arguments, error in (
        (("repair", tape, "--out", tape), UsageError),
        (("check", tmp_path), InputMissingError),
    ):
        assert isinstance(invoke(*arguments).exception, error)
    with TapeWriter(tape, is_new=False) as writer:
        record = np.zeros(1, RECORD)
        record["kind"], record["instrument"] = layout.PRINT, 7
        writer.append(record)
        seq = writer.last_seq
    failed = invoke("export", tape, "--out", tmp_path / "y").exception
    assert isinstance(failed, DataError)
    assert f"seq {seq}: no session names instrument 7" in str(failed)


def test_a_tape_that_is_written_can_be_looked_at(tmp_path: Path) -> None:
    with TapeWriter(tmp_path, is_new=True, frame_records=8) as writer:
        writer.document(SESSION, a_session())
        writer.append(some_records(100))
        found = told("info", tmp_path)
        assert found["facts"]["is_sealed"] is False
        assert len(read_all(tmp_path)) <= found["facts"]["records_count"] <= writer.last_seq
        assert told("check", tmp_path)["sound"] is True
    assert TapeReader(tmp_path).facts().is_sealed
