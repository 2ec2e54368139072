"""`tapewright runs list` by what is asked for, and `runs delete`: rows, files, and what is refused."""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.store.rows import COLUMNS
from daemon.cli import app
from tests.backtests import backtested, json_by, make_home, said_by


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path, "SYNTH", "OTHER")


def listed(capsys: pytest.CaptureFixture[str], home: Path, *options: object) -> list[str]:
    return [each["name"] for each in json_by(capsys, home, "runs", "list", *options)["runs"]]


def counts(home: Path) -> dict[str, int]:
    with closing(sqlite3.connect(home / "strategy.sqlite")) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = ("strategy_runs", "run_strategies", "run_instruments", "errors", *COLUMNS)
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def renamed(home: Path, old: str, **facts: Any) -> None:
    """A stored run with other facts, as a session that goes on would have them."""
    with closing(sqlite3.connect(home / "strategy.sqlite")) as connection, connection:
        for column, value in facts.items():
            connection.execute(f"UPDATE strategy_runs SET {column} = ? WHERE name = ?", (value, old))


def test_the_list_is_of_what_is_asked_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = backtested(capsys, home)["run_id"]
    two = backtested(capsys, home, "symbols=[OTHER]")["run_id"]
    both = backtested(capsys, home, "symbols=[SYNTH, OTHER]", "strategy.name=rsi_reversion", "strategy.params=")[
        "run_id"
    ]
    assert listed(capsys, home) == [one, two, both]
    assert listed(capsys, home, "--symbol", "SYNTH") == [one, both]
    assert listed(capsys, home, "--strategy", "ema_cross") == [one, two]
    assert listed(capsys, home, "--last", 2) == [two, both]
    assert listed(capsys, home, "--strategy", "ema_cross", "--last", 1) == [two]
    assert listed(capsys, home, "--mode", "paper") == []
    assert listed(capsys, home, "--mode", "backtest", "--symbol", "OTHER") == [two, both]
    assert said_by(capsys, home, "runs", "list", "--symbol", "NONE").endswith("holds no such run.\n")
    assert "--last" in said_by(capsys, home, "runs", "list", "--last", 0, code=64)
    shown = said_by(capsys, home, "runs", "list")
    assert next(line for line in shown.splitlines() if both in line).count("rsi_reversion") == 2  # its name, too


def test_what_is_deleted_is_gone_and_its_room_is_used_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (backtested(capsys, home) for _ in range(2))
    kept = {table: count // 2 for table, count in counts(home).items()}
    size = (home / "strategy.sqlite").stat().st_size
    said = said_by(capsys, home, "runs", "delete", first["run_id"], "--yes")
    rows = sum(kept.values())
    assert said.startswith(f"Deleted {first['run_id']}: {rows:,} rows, ")
    assert counts(home) == kept
    assert Path(first["folder"]).is_dir()
    assert listed(capsys, home) == [second["run_id"]]
    backtested(capsys, home)
    assert (home / "strategy.sqlite").stat().st_size <= size + 16 * 4_096
    done = json_by(capsys, home, "runs", "delete", 2, 3, 2, "--yes")
    assert [each["rows"] for each in done["deleted"]] == [rows, rows]
    assert all(each["bytes_freed"] > 500_000 for each in done["deleted"])
    assert set(counts(home).values()) == {0}


def test_with_its_files_and_no_one_else_s(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = backtested(capsys, home, "symbols=[SYNTH, OTHER]")
    second = backtested(capsys, home, "symbols=[SYNTH, OTHER]")
    third = backtested(capsys, home)
    journals = sorted((home / "data" / "journals").glob("*"))
    assert len(journals) == 5
    done = json_by(capsys, home, "runs", "delete", first["run_id"], "--files", "--yes")["deleted"][0]
    assert len(done["files"]) == 5  # the account's folder, two symbols' with a journal each
    assert not any(Path(file).exists() for file in done["files"])
    assert not Path(first["folder"]).exists()
    assert done["file_bytes"] > 100_000
    left = sorted((home / "data" / "journals").glob("*"))
    assert len(left) == 3
    assert len(list((home / "results").iterdir())) == 4
    for each in (second, third):
        assert (Path(each["folder"]) / "metrics.json").exists()
    json_by(capsys, home, "runs", "delete", second["run_id"], third["run_id"], "--files", "--yes")
    assert not any((home / "results").iterdir())
    assert not any((home / "data" / "journals").iterdir())
    assert len(list((home / "data" / "raw").iterdir())) == 2


def test_a_metrics_file_cannot_name_other_files_for_deletion(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = backtested(capsys, home)
    (Path(done["folder"]) / "metrics.json").write_text(
        '{"run": {"journals": {"A": "run.yaml", "B": "data/journals/../../run.yaml", "C": "/etc/passwd"}}}'
    )
    told = json_by(capsys, home, "runs", "delete", 1, "--files", "--yes")["deleted"][0]["files"]
    assert sorted(Path(file).name for file in told) == sorted([done["run_id"], f"{done['run_id']}.parquet"])
    assert (home / "run.yaml").exists()


def test_it_asks_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = backtested(capsys, home)["run_id"]
    words = ["--home", str(home), "runs", "delete", "1"]
    refused = CliRunner().invoke(app, words, input="n\n")
    assert refused.exit_code != 0
    assert name in refused.output
    assert listed(capsys, home) == [name]
    assert CliRunner().invoke(app, words, input="y\n").exit_code == 0
    assert listed(capsys, home) == []


def test_a_running_run_is_refused_and_with_it_all_that_are_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (backtested(capsys, home)["run_id"] for _ in range(2))
    renamed(home, second, status="running", name="session")
    said = said_by(capsys, home, "runs", "delete", first, "session", "--yes", code=64)
    assert "session is running" in said
    assert "ctl --session session shutdown" in said
    assert listed(capsys, home) == [first, "session"]
    lock = home / "sessions" / "session" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said_by(capsys, home, "runs", "delete", "session", "--yes", "--force", code=75)
    assert listed(capsys, home) == [first, "session"]
    said_by(capsys, home, "runs", "delete", "session", "--yes", "--force")
    assert listed(capsys, home) == [first]


def test_names_that_are_not_there_delete_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = backtested(capsys, home)["run_id"]
    assert "holds no run nowhere" in said_by(capsys, home, "runs", "delete", name, "nowhere", "--yes", code=66)
    assert listed(capsys, home) == [name]
