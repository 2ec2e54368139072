"""`tapewright replay --store`: the store then holds what the replay gave, row for row, and two replays are compared."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.replay_files import read_outputs, read_samples
from adapters.store import Position, RunRow, StoreReader, prepare, store_whole
from adapters.store.rows import EVENT_TABLES
from daemon.cli import run
from daemon.store_compare import compare_rows, compare_runs
from daemon.storing import result_of
from engine.errors import DataError, UsageError
from tests.stores import assert_holds, bar_result, start_of, tape_result
from tests.tape_folders import CONFIG_TEXT, two_flows, write_flow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tape of two markets and a config."""
    folder = tmp_path_factory.mktemp("home")
    write_flow(folder / "tape", two_flows(), markets=2)
    (folder / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    return folder


def replayed(capsys: pytest.CaptureFixture[str], home: Path, *options: object) -> dict[str, Any]:
    words = ["--home", home, "replay", home / "tape", home / "run.yaml", "--json", *options]
    assert run([str(word) for word in words]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def stored(path: Path, name: str) -> RunRow:
    with StoreReader(path) as reader:
        return reader.run(name)


def test_a_replay_is_stored_whole(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "runs.sqlite"
    done = replayed(capsys, home, "--store-path", path)
    folder = Path(done["folder"])
    outputs, samples = read_outputs(folder), read_samples(folder)
    row = stored(path, folder.name)
    assert (row.mode, row.status, row.hash) == ("replay", "finished", done["hash"])
    assert (row.outputs_stored, row.samples_stored) == (len(outputs), len(samples))
    assert row.end_ns == samples[-1, 0]
    assert json.loads(row.config) == json.loads((folder / "replay.json").read_text())["config"]
    assert row.initial_cash == 1_000_000 * 10**row.cash_decimals
    assert compare_rows(path, row, outputs, samples) is None
    with StoreReader(path) as reader:
        assert [each.symbol for each in reader.instruments(row.run_id)] == ["BTCUSDT", "XRPUSDT"]
        (strategy,) = reader.strategies(row.run_id)
        assert len(reader.fills(row.run_id)) == done["fills"]
        assert len(reader.trades(row.run_id)) == done["trades"]
        assert f"{sum(fill.fee for fill in reader.fills(row.run_id)) / 10**8:.8f}" == done["fees"]
        assert f"{reader.equity(row.run_id)[-1].equity / 10**8:.8f}" == done["final_equity"]
    metrics = json.loads((folder / "metrics.json").read_text())["run"]["strategies"][0]
    assert (strategy.strategy_id, strategy.source_sha256) == (metrics["id"], metrics["source_sha256"])
    assert strategy.params == metrics["params"]


def test_runs_of_one_tape_are_equal_and_of_other_settings_are_not(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (replayed(capsys, home, "--store")["run_id"] for _ in range(2))
    slow = replayed(capsys, home, "--store", "--set", "book.order_latency_ms=90")["run_id"]
    path = home / "strategy.sqlite"
    one, other, late = (stored(path, name) for name in (first, second, slow))
    assert compare_runs(path, one, other) is None
    found = compare_runs(path, one, late)
    assert found is not None
    assert found.table in EVENT_TABLES
    assert found.column in ("ts_ns", "seq")


def test_without_the_option_there_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_flow(tmp_path / "tape", two_flows(1_000), markets=2)
    (tmp_path / "run.yaml").write_text(CONFIG_TEXT, encoding="utf-8")
    replayed(capsys, tmp_path)
    assert not (tmp_path / "strategy.sqlite").exists()


def test_trouble_with_the_store_comes_before_the_work(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE mine (n)")
    before = sorted((home / "results").glob("*")) if (home / "results").exists() else []
    for path, code in ((tmp_path, 64), (tmp_path / "other.sqlite", 65)):
        words = ["--home", home, "replay", home / "tape", home / "run.yaml", "--store-path", path]
        assert run([str(word) for word in words]) == code
        assert str(path) in capsys.readouterr().err
    assert (sorted((home / "results").glob("*")) if (home / "results").exists() else []) == before


def test_a_name_that_is_taken_is_refused_and_nothing_is_added(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", tape_result()
    kept = store_whole(path, result_of(start_of(result), result, 5))
    assert kept.position == Position(len(result.outputs), len(result.samples))
    with pytest.raises(DataError, match="holds a run a run already"):
        store_whole(path, result_of(start_of(result), bar_result(), 5))
    assert_holds(path, result, kept.run_id)


def test_a_store_that_breaks_meanwhile_is_named(tmp_path: Path) -> None:
    path, result = tmp_path / "store.sqlite", tape_result()
    prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE positions")
    with pytest.raises(UsageError, match=r"store\.sqlite cannot be opened or written: no such table"):
        store_whole(path, result_of(start_of(result), result, 5))
    with StoreReader(path) as reader:
        assert reader.runs() == []
