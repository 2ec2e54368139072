"""Machine code with every table access checked says what the quick code says, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.replay.test_tape_strategies import hash_of_all

ROOT = Path(__file__).resolve().parents[2]


def test_checked_and_unchecked_code_agree() -> None:
    """The other process is the other kind: the checked one where this one is not, and the other way round."""
    other = "0" if os.environ.get("TAPEWRIGHT_CHECK_BOUNDS") == "1" else "1"
    code = "from tests.replay.test_tape_strategies import hash_of_all; print(hash_of_all())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"TAPEWRIGHT_CHECK_BOUNDS": other, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert found.stdout.strip() == hash_of_all(), found.stderr
