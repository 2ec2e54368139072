"""Commands of a session as records: what one command makes stands together, whoever else commands meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from daemon.control import model
from daemon.control.stream import Broadcast
from daemon.session.commanding import Commander
from engine.errors import EXIT_USAGE, UsageError
from engine.replay import StrategyRun
from engine.strategy import Strategy, checked_schema

pytestmark = pytest.mark.asyncio


class Tape:
    """Sequencer, loop and recorder of a session at once: what was put, in order; nothing is on the disk until told."""

    def __init__(self) -> None:
        self.put: list[tuple[str, Any]] = []
        self.applied_seq = self.last_seq = 0
        self.synced = anyio.Event()

    def document(self, _type: int, value: Any) -> None:
        """Note a replacement."""
        self.put.append(("document", value.strategy))

    def command(self, words: tuple[int, ...]) -> None:
        """Note a command."""
        self.put.append(("command", words))

    def step(self) -> None:
        """Apply all."""
        self.applied_seq = self.last_seq = len(self.put)

    async def acknowledged(self, _seq: int) -> None:
        """Wait for the disk."""
        await self.synced.wait()


class Session:
    """What a commander knows of a run: two strategies."""

    def __init__(self) -> None:
        inputs = {"period": {"type": "int", "default": 5, "min": 2}}
        schema = checked_schema({"id": "cross", "name": "Cross", "inputs": inputs}, "cross.py")
        strategy = Strategy(schema, "cross.py", "ab" * 32)
        self.runs = [StrategyRun(name, strategy, {"period": 5}, (0,)) for name in ("one", "two")]
        self.fates = ["running", "running"]
        self.ready: dict[str, StrategyRun] = {}
        self.scales = ()


def commander_of(tape: Any, session: Any) -> Commander:
    return Commander(
        Path(), session, session, session, tape, tape, tape, Broadcast(), lambda: None, [frozenset(), frozenset()]
    )  # fmt: skip


async def test_a_reload_of_several_strategies_is_applied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tape, session = Tape(), Session()
    commander = commander_of(tape, session)
    monkeypatch.setattr(commander, "read_again", lambda index: session.runs[index])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commander.carry_out, model.Reload())
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(commander.carry_out, model.StopStrategy("two"))
        await anyio.wait_all_tasks_blocked()
        tape.synced.set()
    assert [kind for kind, _ in tape.put] == ["document", "command", "document", "command", "command"]
    assert [index for kind, index in tape.put if kind == "document"] == [0, 1]


@pytest.mark.parametrize("params", [{"period": 1}, {"period": 10**400}, {"perid": 3}])
async def test_parameters_that_make_no_sense_are_the_commands_mistake(params: dict[str, model.ParamValue]) -> None:
    tape = Tape()
    with pytest.raises(UsageError, match="peri") as caught:
        await commander_of(tape, Session()).carry_out(model.SetParams("one", params))
    assert caught.value.exit_code == EXIT_USAGE
    assert "tapewright ctl strategies" in caught.value.remedy
    assert tape.put == []


async def test_why_a_session_was_halted_is_kept() -> None:
    tape = Tape()
    tape.synced.set()
    commander = commander_of(tape, Session())
    await commander.carry_out(model.Halt("too hot"))
    assert commander.halt_reason == "too hot"
