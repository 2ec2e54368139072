"""What strategies raise, say and keep becomes text and bytes that logs, the store and snapshots can take."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.boundary import TEXT_CHARS_MAX, strategy_boundary, told_text
from engine.ctx import Logger
from engine.errors import StrategyError
from engine.replay import packed


class BrokenError(Exception):
    """One whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no"), "ValueError: no"),
        (ValueError("a \udcff"), r"ValueError: a \udcff"),
        (ValueError("x" * 100_000), "ValueError: " + "x" * TEXT_CHARS_MAX + "\n"),
        (BrokenError(), "BrokenError: its text raised RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_whatever_a_strategy_raises_can_be_told(error: BaseException, said: str) -> None:
    with pytest.raises(StrategyError) as caught, strategy_boundary("mine", "mine.py", "BTC", "on_bar"):
        raise error
    assert f"mine: on_bar on BTC: {said}" in caught.value.message
    assert len(caught.value.message) < TEXT_CHARS_MAX + 200
    caught.value.message.encode()


def test_whatever_a_strategy_logs_can_be_told() -> None:
    lines: list[tuple[str, str, str, str]] = []
    logger = Logger(lambda *line: lines.append(line), "mine", "BTC")
    logger.info("\udcff é")
    logger.warn(7)
    logger.error("x" * 100_000)
    assert [(level, len(text)) for level, _, _, text in lines] == [("info", 8), ("warn", 1), ("error", TEXT_CHARS_MAX)]
    assert lines[0][3] == r"\udcff é"
    assert told_text("é") == "é"


def within_itself() -> dict[str, Any]:
    state: dict[str, Any] = {}
    state["self"] = state
    return state


@pytest.mark.parametrize("state", [{"n": 2**64}, {"text": "\udcff"}, within_itself(), {"set": object()}])
def test_what_no_snapshot_can_keep_is_the_strategy_s_mistake(state: dict[str, Any]) -> None:
    with pytest.raises(StrategyError, match="no snapshot can keep") as caught:
        packed({"states": [state]})
    assert caught.value.remedy
    assert msgspec.msgpack.decode(packed({"states": [{"n": -(2**63)}]})) == {"states": [{"n": -(2**63)}]}
