"""Every block of docs/strategies.md does what the page says, and the page leaves nothing of ctx out."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from adapters.synthetic_market import synthesize
from config.loader import load
from daemon.commands.strategies import app
from engine import compiled
from engine.book_state import TapeMarket
from engine.ctx import Context, Logger, Portfolio, Position, Sizes, WorkingOrder
from engine.instruments import Instrument
from engine.market import Market
from engine.reading import OrderUpdate
from engine.replay import Replay, RunResult, StrategyRun
from engine.settings import BookExecution, RunSettings, Sizing
from engine.tape_ctx import Book, FundingEvent, Gap, Print, TapeContext
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.entry_exit import PartWindow
from strategies.registry import Registry
from tests.tapes import FLOW_OFFSET_NS, order_flow

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]


def written(home: Path, text: str) -> tuple[str, str]:
    """Write a block to the path in its first line; returns its folder and name."""
    path = home / text.splitlines()[0].removeprefix("# ")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path.parent.name, path.stem


def on_tape(run: StrategyRun) -> RunResult:
    """Run a strategy over a made-up tape."""
    instrument = Instrument("BTCUSDT", Decimal("0.1"), Decimal("0.001"))
    market = TapeMarket(has_book=True, clock_offset_ns=FLOW_OFFSET_NS)
    book = BookExecution(order_latency_ms=Decimal(20), response_latency_ms=Decimal(10))
    tape = TapeInput((instrument,), (market,), lambda: [order_flow(4_000, 5)])
    return TapeReplay(RunSettings(initial_cash=Decimal(100_000), book=book), tape, [run]).run()


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {kind for kind, _ in BLOCKS} == {"text", "python", "yaml", "console"}


@pytest.mark.parametrize("text", PYTHON, ids=[text.splitlines()[0] for text in PYTHON])
def test_a_strategy_of_the_page_trades(tmp_path: Path, text: str) -> None:
    folder, name = written(tmp_path, text)
    registry = Registry(tmp_path)
    if folder == "custom":
        strategy, params = registry.build(name)
    else:
        names = (name, "fixed_tp_sl") if folder == "entry" else ("ema_cross", name)
        strategy, params = registry.build_entry_exit(names[0], {}, names[1], {}, Sizing())
    run = StrategyRun(name, strategy, params, (0,))
    if strategy.on_bar is None and strategy.signals is None:
        assert len(on_tape(run).trades()) >= 3
        return
    market = Market(Instrument("SYNTH", Decimal("0.01"), Decimal("0.00001")), synthesize("SYNTH", "1h", 3_000, 5))
    assert Replay(RunSettings(), [market], [run]).run().trades()


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml"])
def test_a_config_of_the_page_is_right_and_its_strategies_are_there(tmp_path: Path, text: str) -> None:
    for block in PYTHON:
        written(tmp_path, block)
    path = tmp_path / "run.yaml"
    path.write_text(text)
    for entry in load(path).strategies:
        if entry.entry is not None and entry.exit is not None:
            Registry(tmp_path).build_entry_exit(
                entry.entry.name, entry.entry.params, entry.exit.name, entry.exit.params, Sizing()
            )
        else:
            Registry(tmp_path).build(entry.name, entry.params)


@pytest.mark.parametrize(
    "command", [line.split()[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()], ids=str
)
def test_a_command_of_the_page_runs(tmp_path: Path, command: list[str]) -> None:
    for block in PYTHON:
        written(tmp_path, block)
    assert command[0] == "strategies"
    assert CliRunner().invoke(app, command[1:], obj=SimpleNamespace(home=tmp_path)).exit_code == 0


def members(kind: type) -> list[str]:
    slots = [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
    return sorted({name for name in (*slots, *dir(kind)) if not name.startswith("_")})


@pytest.mark.parametrize("name", members(Context))
def test_the_page_shows_all_of_ctx(name: str) -> None:
    assert f"`ctx.{name}" in PAGE or f"`.{name}" in PAGE


@pytest.mark.parametrize(
    ("before", "kind"), [("position", Position), ("portfolio", Portfolio), ("size", Sizes), ("logger", Logger)]
)
def test_the_page_shows_all_parts_of_ctx(before: str, kind: type) -> None:
    for name in members(kind):
        if name != "warning":  # another word for warn
            assert f"ctx.{before}.{name}" in PAGE or f"`.{name}" in PAGE


@pytest.mark.parametrize("name", members(TapeContext))
def test_the_page_shows_all_of_ctx_on_a_tape(name: str) -> None:
    assert f"`ctx.{name}" in PAGE or f"`.{name}" in PAGE


def test_the_page_shows_all_of_the_book_events_and_compiled_callbacks() -> None:
    for name in members(Book):
        assert f"ctx.book.{name}" in PAGE or f"`.{name}" in PAGE
    for name in (*Print.__struct_fields__, *FundingEvent.__struct_fields__, *Gap.__struct_fields__):
        assert f"`{name}`" in PAGE
    for name, value in vars(compiled).items():
        if callable(value) and getattr(value, "__module__", "") == compiled.__name__ and name[0].islower():
            assert f"`{name}(" in PAGE or f"@{name}(" in PAGE


def test_the_page_shows_all_of_window_order_and_shipped_strategies(tmp_path: Path) -> None:
    for name in members(PartWindow):
        assert f"window.{name}" in PAGE or f"`.{name}`" in PAGE
    for name in (*WorkingOrder.__struct_fields__, *OrderUpdate.__struct_fields__):
        assert f"`{name}`" in PAGE
    for listed in Registry(tmp_path).listing():
        assert f"`{listed.name}`" in PAGE
