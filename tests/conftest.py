"""What holds for every test: the same examples each time, and no limit on how long one may take."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Whole sessions against faults and recordings: minutes each. `pytest -m faults` runs them, one after the other.
_FAULTS = {
    "test_fault_disk", "test_fault_feed", "test_fault_load", "test_fault_process", "test_fault_rest",
    "test_fault_strategy", "test_session_capture", "test_session_reload", "test_session_restart", "test_session_warmup",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them by their file."""
    for item in items:
        if item.path.stem in _FAULTS:
            item.add_marker("faults")


# TAPEWRIGHT_RANDOM=1 draws new examples on each run, for hunting; everywhere else a run repeats exactly.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("hunt", deadline=None)
settings.load_profile("hunt" if os.environ.get("TAPEWRIGHT_RANDOM") == "1" else "same")
