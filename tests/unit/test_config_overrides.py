"""Options of the command line: `--set a.b=c` and `--strategy NAME`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from config.loader import parse
from config.model import RunConfig, StrategyEntry, StrategyPart
from engine.errors import ConfigError

BASE = "symbols: [BTCUSDT, ETHUSDT]\ntimeframe: 1m\n"


def run(*overrides: str, text: str = BASE, strategy: str | None = None) -> RunConfig:
    """Return the config of BASE, or `text`, with overrides."""
    return parse(text, "yaml", source="run.yaml", overrides=overrides, strategy=strategy)


def problems(*overrides: str, text: str = BASE, strategy: str | None = None) -> tuple[str, ...]:
    """Return what is wrong with them."""
    with pytest.raises(ConfigError) as caught:
        run(*overrides, text=text, strategy=strategy)
    return caught.value.problems


def test_values_of_every_shape() -> None:
    config = run(
        "symbols=[BTCUSDT]",
        "leverage=2.50",
        "funding.rate=-0.0001",
        "sizing={type: risk, value: 0.01}",
        "strategy=ema_cross",
        "strategy.params.fast=20",
        "strategy.params.name='20'",
        "instruments.BTCUSDT.tiers[0].notional_floor=0",
        "instruments.BTCUSDT.tiers.0.maintenance_rate=0.01",
        'instruments."BTCUSDT".tick_size=0.1',
        "start=2024-01-01",
        "indicators.0=sma_20_1m",
    )
    assert config.symbols == ("BTCUSDT",)
    assert config.settings.leverage == Decimal("2.5")
    assert config.funding.rate == Decimal("-0.0001")
    assert config.sizing.type == "risk"
    assert config.strategies == (StrategyEntry("ema_cross", "ema_cross", {"fast": 20, "name": "20"}),)
    assert config.instruments["BTCUSDT"].tiers[0].maintenance_rate == Decimal("0.01")
    assert config.instruments["BTCUSDT"].tick_size == Decimal("0.1")
    assert config.indicators == ("sma_20_1m",)
    assert config.start_ns == 1_704_067_200_000_000_000


def test_the_file_is_overridden_and_null_takes_away() -> None:
    text = BASE + "leverage: 9999\nrisk: {max_drawdown: 0.2}\ncommission_bps: 3\nstrategies: [a, {name: b}]\n"
    config = run(
        "leverage=3",
        "risk.max_drawdown=",
        "commission_bps=null",
        "commission.maker_bps=1",
        "strategies[0].params.x=1",
        "strategies[1].id=c",
        text=text,
    )
    assert config.settings.leverage == 3
    assert config.settings.risk.max_drawdown is None
    assert config.settings.commission.maker_bps == 1
    assert config.strategies == (StrategyEntry("a", "a", {"x": 1}), StrategyEntry("c", "b"))


def test_entry_and_exit_by_path() -> None:
    config = run("strategy.entry.params.fast=9", text=f"{BASE}strategy: {{entry: a, exit: b}}\n")
    assert config.strategies == (StrategyEntry("a_b", entry=StrategyPart("a", {"fast": 9}), exit=StrategyPart("b")),)


WRONG = """
leverage=0 => --set leverage=0: 0 is not allowed; a number from 1 to 1000
sizing.tpe=x => --set sizing.tpe=x: unknown field; did you mean "type"?
levrage=2 => --set levrage=2: unknown field; did you mean "leverage"?
sizing={tpe: x} => --set sizing={tpe: x}: sizing.tpe: unknown field; did you mean "type"?
risk.max_drawdown.x=1 => --set risk.max_drawdown.x=1: risk.max_drawdown: a section is not allowed; a number above 0 and at most 1
symbols[5]=X => --set symbols[5]=X: "5" is no index of this list of 2
symbols.x=X => --set symbols.x=X: "x" is no index of this list of 2
timeframe.x=1 => --set timeframe.x=1: "x" is not to be found in "1m"
timeframe[0]=1 => --set timeframe[0]=1: "0" is not to be found in "1m"
leverage => --set leverage: not a setting; write path=value, such as leverage=2 or strategy.params.fast=20
=2 => --set =2: not a setting; write path=value, such as leverage=2 or strategy.params.fast=20
.a=2 => --set .a=2: not a setting; write path=value, such as leverage=2 or strategy.params.fast=20
symbol=BTCUSDT => run.yaml:1: symbols: given together with symbol, which says the same; give one of them
"""  # noqa: E501  a table: one case a line
CASES = [tuple(line.split(" => ")) for line in WRONG.strip().splitlines()]


@pytest.mark.parametrize(("override", "message"), CASES, ids=[case[0] for case in CASES])
def test_problems_name_the_option(override: str, message: str) -> None:
    assert problems(override) == (message,)


def test_syntax_of_a_value() -> None:
    assert problems("symbols=[A")[0].startswith("--set symbols=[A: not valid YAML")


NAMED = [
    ("", "ema", [StrategyEntry("ema", "ema")]),
    ("strategy: ema", "ema", [StrategyEntry("ema", "ema")]),
    ("strategy: rsi", "ema", [StrategyEntry("ema", "ema")]),
    ("strategy: {name: ema, params: {a: 1}}", "ema", [StrategyEntry("ema", "ema", {"a": 1})]),
    ("strategy: {params: {a: 1}}", "ema", [StrategyEntry("ema", "ema", {"a": 1})]),
    ("strategy: {name: rsi, params: {a: 1}}", "ema", [StrategyEntry("ema", "ema")]),
    ("strategy: {entry: a, exit: b}", "ema", [StrategyEntry("ema", "ema")]),
    ("strategies: [rsi, {id: x, name: ema}]", "x", [StrategyEntry("x", "ema")]),
    (
        "strategies: [rsi, {id: x, name: ema}, ema]",
        "ema",
        [StrategyEntry("x", "ema"), StrategyEntry("ema", "ema")],
    ),
]


@pytest.mark.parametrize(("line", "name", "entries"), NAMED, ids=[case[0] for case in NAMED])
def test_the_strategy_of_the_command_line(line: str, name: str, entries: list[StrategyEntry]) -> None:
    assert list(run(text=f"{BASE}{line}\n", strategy=name).strategies) == entries


def test_the_strategy_of_the_command_line_comes_before_settings() -> None:
    config = run("strategy.params.fast=5", text=f"{BASE}strategy: {{name: rsi, params: {{a: 1}}}}\n", strategy="ema")
    assert config.strategies == (StrategyEntry("ema", "ema", {"fast": 5}),)


def test_a_strategy_that_is_none() -> None:
    text = f"{BASE}strategies: [ema_cross, {{entry: a, exit: b}}]\n"
    assert problems(text=text, strategy="ema_crss") == (
        '--strategy ema_crss: "ema_crss" is none of the file\'s strategies; did you mean "ema_cross"?',
    )
    assert run(text=text, strategy="a_b").strategies[0].id == "a_b"
    assert problems(strategy="a/b") == (
        '--strategy a/b: "a/b" is not allowed; a name: 1 to 64 letters, digits, dots, - and _',
    )


HERE = "is not allowed here, as the command is for mode"
MODES = [
    (f"{BASE}mode: backtest\n", (), f'run.yaml:3: mode: "backtest" {HERE} paper; paper, or leave it out'),
    (BASE, ("mode=backtest",), f'--set mode=backtest: "backtest" {HERE} paper; paper, or leave it out'),
    (
        f"{BASE}mode: papper\n",
        (),
        'run.yaml:3: mode: "papper" is not allowed; one of backtest, paper; did you mean "paper"?',
    ),
    (f"{BASE}mode:\n", (), "run.yaml:3: mode: null is not allowed; one of backtest, paper"),
]


@pytest.mark.parametrize(("text", "overrides", "message"), MODES, ids=[case[2] for case in MODES])
def test_another_mode_than_the_commands(text: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "yaml", source="run.yaml", overrides=overrides, mode="paper")
    assert caught.value.problems == (message,)


def test_what_the_commands_mode_needs_is_told_with_it() -> None:
    text = f"{BASE}mode: backtest\nstart: 2024-01-01\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, "yaml", source="run.yaml", mode="paper")
    assert [problem.split(":")[2].strip() for problem in caught.value.problems] == ["mode", "start"]
    assert parse(text.replace("mode: backtest", ""), "yaml", source="run.yaml").start_ns is not None
