"""`tapewright verify`: equal runs, planted differences, tapes that are gone, changed, or carry their own run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from adapters.bar_files import path_of, write_bars
from adapters.synthetic_market import synthesize
from adapters.tape import StrategyFile
from adapters.tape.codec import Records
from config.document import to_document
from config.loader import parse
from daemon.cli import run
from engine.kernels import layout
from engine.reading import kinds_of
from strategies.registry import SHIPPED
from tests.tape_folders import CONFIG_TEXT, flow, two_flows, write_flow

CAPTURE = Path(__file__).parents[3] / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
OWN = "own_cross"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a tape, a config, and a strategy of the user's own."""
    write_flow(tmp_path / "tape", flow())
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT.replace("ema_cross", OWN), encoding="utf-8")
    (tmp_path / "strategies" / "custom").mkdir(parents=True)
    source = (SHIPPED / "builtins" / "ema_cross.py").read_text()
    (tmp_path / "strategies" / "custom" / f"{OWN}.py").write_text(source.replace('"ema_cross"', f'"{OWN}"'))
    return tmp_path


def replayed(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    config = ["--home", str(home), "replay", str(home / "tape"), str(home / "run.yaml"), "--json", *arguments]
    assert run(config) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def verified(home: Path, capsys: pytest.CaptureFixture[str], target: object, code: int, *more: str) -> dict[str, Any]:
    assert run(["--home", str(home), "verify", str(target), "--json", *more]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def alter(path: Path, row: int, column: str, by: int = 1) -> tuple[int, int]:
    """Change one number of a stored table; what it was, and what it is now."""
    frame = pl.read_parquet(path)
    values = frame[column].to_list()
    before = values[row]
    values[row] += by
    frame.with_columns(pl.Series(column, values, dtype=pl.Int64)).write_parquet(path)
    return before, before + by


def test_a_run_is_what_its_tape_makes_of_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(home, capsys)
    by_id = verified(home, capsys, found["run_id"], 0)
    assert by_id == verified(home, capsys, found["folder"], 0) | {"folder": by_id["folder"]}
    assert by_id["equal"]
    assert by_id["stored_hash"] == by_id["replayed_hash"] == found["hash"]
    assert by_id["outputs"] > 50
    assert by_id["difference"] is None
    assert run(["--home", str(home), "verify", found["run_id"]]) == 0
    shown = capsys.readouterr().out
    assert shown.count(found["hash"]) == 2
    assert "EQUAL" in shown


@pytest.mark.parametrize(
    "settings",
    [
        ("book.fills=bars",), ("book={latency_file: latency.csv, queue_model: power}",), ("symbols=[BTCUSDT]",),
        ("start=2024-08-08T23:59:30Z", "end=2024-08-09T00:01:00Z"), ("strategy=market_maker_compiled",),
        ("strategy={entry: ema_cross, exit: {name: fixed_tp_sl, params: {tp: 0.0001, sl: 0.0001}}}",),
        ("strategies=[{id: a, name: grid}, {id: b, name: grid, timeframe: 5s}]", "strategy="),
    ],
    ids=lambda settings: settings[0][:30],
)  # fmt: skip
def test_runs_of_every_kind_repeat(home: Path, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]) -> None:
    (home / "latency.csv").write_text("ts,order_latency_ms,response_latency_ms\n2024-08-09T00:00:00Z,4,2\n")
    found = replayed(home, capsys, *(word for each in settings for word in ("--set", each)))
    (home / "latency.csv").unlink()
    verdict = verified(home, capsys, found["run_id"], 0)
    assert verdict["replayed_hash"] == found["hash"]


def test_a_number_that_was_changed_is_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(replayed(home, capsys)["folder"])
    outputs = pl.read_parquet(folder / "outputs.parquet").to_numpy()
    row = int(np.flatnonzero(kinds_of(outputs) == layout.FILL_OUTPUT)[3])
    before, after = alter(folder / "outputs.parquet", row, "w5")
    verdict = verified(home, capsys, folder, 1)
    assert verdict["stored_hash"] == verdict["replayed_hash"]
    expected = {"what": "output", "row": row, "seq": int(outputs[row, 0]), "ts_ns": int(outputs[row, 1]),
                "kind": "fill", "field": "price_ticks", "first": after, "second": before}  # fmt: skip
    assert verdict["difference"] == expected
    assert run(["--home", str(home), "verify", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert "DIFFERENT" in shown
    assert f"output {row:,}, seq {expected['seq']:,}" in shown
    assert "fill, price_ticks" in shown
    assert f"stored: {after}" in shown
    assert f"replayed: {before}" in shown


def test_each_kind_of_difference_has_its_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(replayed(home, capsys)["folder"])
    kept = {name: (folder / name).read_bytes() for name in ("outputs.parquet", "samples.parquet", "replay.json")}

    def difference() -> dict[str, Any]:
        found: dict[str, Any] = verified(home, capsys, folder, 1)["difference"]
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        return found

    alter(folder / "outputs.parquet", 0, "w2", 1 << 8)
    found = difference()
    assert (found["kind"], found["field"], found["second"]) == ("order", "state", layout.NEW)
    alter(folder / "outputs.parquet", 2, "w0", 7)
    assert difference()["field"] == "seq"
    frame = pl.read_parquet(folder / "outputs.parquet")
    frame.head(len(frame) - 1).write_parquet(folder / "outputs.parquet")
    found = difference()
    assert (found["row"], found["field"], found["first"]) == (len(frame) - 1, "row", None)
    before, after = alter(folder / "samples.parquet", 20, "equity")
    found = difference()
    assert (found["what"], found["row"], found["field"], found["first"], found["second"]) == (
        "sample", 20, "equity", after, before,
    )  # fmt: skip
    text = json.loads(kept["replay.json"])
    (folder / "replay.json").write_text(json.dumps(text | {"hash": "0" * 16}))
    assert difference()["what"] == "hash"
    verified(home, capsys, folder, 0)


def test_the_stored_code_runs_not_the_file_as_it_is_now(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(home, capsys)
    file = home / "strategies" / "custom" / f"{OWN}.py"
    file.write_text(file.read_text().replace("ctx.buy(", "ctx.sell("))
    assert verified(home, capsys, found["run_id"], 0)["equal"]
    assert replayed(home, capsys)["hash"] != found["hash"]
    file.unlink()
    assert verified(home, capsys, found["run_id"], 0)["equal"]
    stored = Path(found["folder"]) / "strategies" / "custom" / f"{OWN}.py"
    stored.write_text(stored.read_text() + "\n")
    assert run(["--home", str(home), "verify", found["run_id"]]) == 65
    assert f"strategies/custom/{OWN}.py: not the code that ran" in capsys.readouterr().err


def test_a_tape_that_is_gone_or_elsewhere(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(home, capsys)
    (home / "tape").rename(home / "moved")
    assert run(["--home", str(home), "verify", found["run_id"]]) == 66
    assert str(home / "tape") in capsys.readouterr().err
    assert verified(home, capsys, found["run_id"], 0, "--tape", str(home / "moved"))["equal"]


def test_another_tape_is_said_and_still_compared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(home, capsys)
    shutil.rmtree(home / "tape")
    write_flow(home / "tape", flow(seed=2))
    verdict = verified(home, capsys, found["run_id"], 1)
    assert "This is not the tape that ran" in verdict["notes"][0]
    assert verdict["difference"]["what"] == "output"


def test_a_byte_of_the_tape_is_named_by_the_check(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replayed(home, capsys)
    segment = home / "tape" / "000001.tape"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    verdict = verified(home, capsys, home / "tape", 1)
    assert not verdict["sound"]
    assert verdict["equal"]
    kinds = {finding["kind"] for finding in verdict["findings"]}
    assert kinds >= {"rotten frame"}
    assert verdict["findings"][0]["segment"] == "000001.tape"
    assert run(["--home", str(home), "verify", str(home / "tape")]) == 1
    assert "rotten frame" in capsys.readouterr().out
    assert not verified(home, capsys, found["run_id"], 1)["equal"]


def test_neither_a_tape_nor_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(home), "verify", "nothing_of_that_name"]) == 66
    assert "there is no session, tape or run of that name" in capsys.readouterr().err
    assert run(["--home", str(home), "verify", str(home / "strategies")]) == 66
    assert "not the folder of a replay" in capsys.readouterr().err


# ── Tapes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_tape_holds_and_its_quotes_are_the_books(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = write_flow(tmp_path / "tape", two_flows(), markets=2)
    verdict = verified(tmp_path, capsys, tmp_path / "tape", 0)
    assert (verdict["sound"], verdict["equal"], verdict["strategies"]) == (True, True, [])
    assert verdict["hash"] == verdict["hash_cut_elsewhere"]
    quotes = np.count_nonzero(records["kind"] == layout.QUOTE)
    # Those in the time after a loss meet no valid book.
    assert quotes * 0.6 < verdict["quotes"]["compared"] <= quotes
    assert verdict["quotes"]["mismatches"] == 0


@pytest.mark.parametrize("word", ["a", "b", "c", "d"])
def test_a_quote_that_the_book_does_not_bear_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    records = flow(2_000)
    place = int(np.flatnonzero(records["kind"] == layout.QUOTE)[20])
    records[word][place] += 1
    write_flow(tmp_path / "tape", records)
    verdict = verified(tmp_path, capsys, tmp_path / "tape", 1)
    assert verdict["quotes"]["mismatches"] == 1
    (found,) = verdict["quotes"]["first"]
    documents = verdict["records"] - len(records)
    assert (found["seq"], found["update_id"]) == (documents + place + 1, int(records["e"][place]))
    assert [a - b for a, b in zip(found["quote"], found["book"], strict=True)] == [int(name == word) for name in "abcd"]
    assert run(["verify", str(tmp_path / "tape")]) == 1
    assert f"seq {found['seq']}, BTCUSDT, update id" in capsys.readouterr().out


def carried(folder: Path, records: Records, source: str) -> None:
    """A tape that carries the config and the code of the run that recorded it."""
    config = parse(CONFIG_TEXT, "yaml", source="run.yaml", is_tape=True)
    entry = msgspec.structs.replace(config.strategies[0], name="recorded", params={})
    document = to_document(msgspec.structs.replace(config, strategies=(entry,)))
    file = StrategyFile(entry.id, "/home/trader/strategies/custom/recorded.py", "", source)
    write_flow(folder, records, config=document, strategies=(file,))


def test_a_tape_that_carries_its_run_is_run_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = (SHIPPED / "builtins" / "ema_cross.py").read_text().replace('"default": 1.0', '"default": 0.5')
    carried(tmp_path / "tape", flow(), source)
    verdict = verified(tmp_path, capsys, tmp_path / "tape", 0)
    assert verdict["strategies"] == ["ema_cross"]
    write_flow(tmp_path / "plain", flow())
    assert verified(tmp_path, capsys, tmp_path / "plain", 0)["hash"] != verdict["hash"]


def test_code_that_depends_on_its_batches_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        "import sys\n\nNOTE = vars(sys).setdefault('_tests_note', {'runs': 0})\n\n\n"
        "def schema():\n    return {'id': 'recorded', 'name': 'Recorded'}\n\n\n"
        "def on_init(ctx):\n    NOTE['runs'] += 1\n\n\n"
        "def on_bar(ctx, i):\n    if i == 30:\n        ctx.buy(0.1 * NOTE['runs'])\n"
    )
    carried(tmp_path / "tape", flow(), source)
    verdict = verified(tmp_path, capsys, tmp_path / "tape", 1)
    assert verdict["hash"] != verdict["hash_cut_elsewhere"]
    assert (verdict["difference"]["kind"], verdict["difference"]["field"]) == ("order", "lots")


def test_a_tape_of_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = path_of(tmp_path, "SYNTH", "5m")
    target.parent.mkdir(parents=True)
    write_bars(target, synthesize("SYNTH", "5m", 2_000, 3))
    assert run(["tape", "import", str(target), "--out", str(tmp_path / "tape")]) == 0
    capsys.readouterr()
    verdict = verified(tmp_path, capsys, tmp_path / "tape", 0)
    assert verdict["quotes"] is None
    assert verdict["hash"] == verdict["hash_cut_elsewhere"]


@pytest.mark.real_data
@pytest.mark.skipif(not CAPTURE.is_file(), reason="the shared data are not here")
def test_a_real_tape_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tape", "import", str(CAPTURE), "--out", str(tmp_path / "tape")]) == 0
    capsys.readouterr()
    verdict = verified(tmp_path, capsys, tmp_path / "tape", 0)
    assert verdict["quotes"]["compared"] > 600
    assert verdict["quotes"]["mismatches"] == 0
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    for strategy in ("ema_cross", "market_maker", "grid_compiled"):
        found = replayed(tmp_path, capsys, "--set", f"strategy={strategy}")
        assert verified(tmp_path, capsys, found["run_id"], 0)["replayed_hash"] == found["hash"]
