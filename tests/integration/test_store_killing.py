"""A writer killed 50 times: every row that it acknowledged is there, none is there twice, the database is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 50


def test_what_a_killed_writer_acknowledged_is_there_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.store_killing", str(tmp_path / "store"), str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == KILLS
    assert found["children_that_stored"] >= KILLS // 4
    assert found["outputs"] >= found["acknowledged"] > 0
    assert found["samples"] > 0
