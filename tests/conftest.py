"""What holds for every test: the same examples each time, and no limit on how long one may take."""

from __future__ import annotations

import os

from hypothesis import settings

# TAPEWRIGHT_RANDOM=1 draws new examples on each run, for hunting; everywhere else a run repeats exactly.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("hunt", deadline=None)
settings.load_profile("hunt" if os.environ.get("TAPEWRIGHT_RANDOM") == "1" else "same")
