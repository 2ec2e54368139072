"""Faults of the stream against a whole daemon: it comes back, it notices, it decides nothing on what it cannot know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.bars import NS_PER_SECOND
from engine.kernels import layout
from tests.faults import BTC, ETH, assert_nothing_is_decided_while_lost, daemon_on, log_seconds, told, venue

BACK_SECONDS = 5.0


def test_after_any_end_of_its_connections_it_is_back_within_five_seconds(tmp_path: Path) -> None:
    ends = {"reset": 2.0, "fin": 5.0, "close": 8.0}
    refused_at, refused_for = 11.0, 6.0
    faults = [f"{name}@{at}" for name, at in ends.items()]
    with venue(*faults, f"refused@{refused_at}:{refused_for}") as at, daemon_on(tmp_path / "home", at) as daemon:
        daemon.running().synchronised()
        returns = [*ends.values(), refused_at + refused_for]
        for count in range(2, len(returns) + 2):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                daemon.lines.wait_for("book synchronised", count=count, symbol=symbol)
            for source in (0, 1):
                daemon.lines.wait_for("connected", count=count, source=source)
        lines = daemon.lines
        for place, since in enumerate(returns, start=1):
            back = [
                log_seconds(line, at.ts_ns(since))
                for line in (
                    *(lines.of("connected", source=source)[place] for source in (0, 1)),
                    *(lines.of("book synchronised", symbol=symbol)[place] for symbol in ("BTCUSDT", "ETHUSDT")),
                )
            ]
            print("back after", since, [round(each, 3) for each in back])
            assert 0 <= min(back) <= max(back) <= BACK_SECONDS
        assert at.counts().connections == 2 * (len(returns) + 1)
        daemon.stop()
        found = told(daemon)
    assert_nothing_is_decided_while_lost(found)
    gaps = found.records[found.records["kind"] == layout.GAP]
    assert set(gaps["a"].tolist()) == {layout.GAP_DISCONNECTED}
    assert (found.records["kind"] == layout.PRINT)[-2_000:].any()


if __name__ == "__main__":
    pytest.main([__file__, "-s"])
