"""A writer killed 200 times: every record that it acknowledged is there, and the tape reads from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from adapters.tape.checking import check

ROOT = Path(__file__).parents[2]
KILLS = 200


def test_what_a_killed_writer_acknowledged_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.tape_killing", str(tmp_path / "tape"), str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == KILLS
    assert found["children_that_synced"] >= KILLS // 4
    assert found["last_seq"] >= found["acknowledged"] > 0
    assert found["segments"] > 1
    assert {finding.kind for finding in check(tmp_path / "tape")} <= {"torn tail", "no session"}
