"""Commands of a session as records: what one command makes stands together, whoever else commands meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from structlog.testing import capture_logs

from config.loader import parse
from daemon.control import model
from daemon.control.stream import Broadcast
from daemon.runs import strategy_runs
from daemon.session.commanding import Commander
from engine.errors import EXIT_USAGE, InputMissingError, StrategyError, UsageError
from engine.replay import StrategyRun
from engine.strategy import Strategy, checked_schema
from strategies.registry import Registry

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


OWN = """
def schema():
    return {"id": "ema_cross", "name": "The user's own", "inputs": {}}


def on_bar(ctx, i):
    pass
"""
CONFIG = """
mode: paper
symbols: [BTCUSDT]
timeframe: 1m
strategy: ema_cross
initial_cash: 1000
"""


@pytest.mark.parametrize("file", ["ema_cross.py", "mine.py"])
@pytest.mark.parametrize("text", [OWN + "x = (\n", "import nothing_of_this_name\n" + OWN, None])
async def test_the_own_code_is_not_replaced_by_a_shipped_strategy_of_its_name(
    tmp_path: Path, file: str, text: str | None
) -> None:
    """Whether it no longer loads or is gone, and whether a command or a changed file has it read again."""
    path = tmp_path / "strategies" / "custom" / file
    path.parent.mkdir(parents=True)
    path.write_text(OWN, encoding="utf-8")
    tape, session = Tape(), Session()
    tape.synced.set()
    config = parse(CONFIG, "yaml", source="run.yaml")
    session.runs = strategy_runs(Registry(tmp_path), config, ("BTCUSDT",))
    commander = Commander(
        tmp_path, config, cast("Any", session), cast("Any", session), cast("Any", tape), cast("Any", tape),
        cast("Any", tape), Broadcast(), lambda: None, [frozenset({path.resolve()})],
    )  # fmt: skip
    assert (await commander.carry_out(model.Reload())).text == "Nothing has changed."
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    with pytest.raises((StrategyError, InputMissingError), match=str(path)) as caught:
        await commander.carry_out(model.Reload())
    assert "shipped" in caught.value.remedy
    with capture_logs() as lines:
        await commander.reload_changed(frozenset({path}))
    assert [(line["event"], line["why"]) for line in lines] == [
        ("reload refused: the old code runs on", str(caught.value))
    ]
    assert tape.put == []
    path.write_text(OWN + "# corrected\n", encoding="utf-8")
    assert (await commander.carry_out(model.Reload())).text == "New code runs: ema_cross."
