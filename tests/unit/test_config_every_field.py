"""Every field of the table, wrong once in every way of its kind, through the command line: exit 78, named, told why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_never

import pytest

from config.kinds import (
    Choice,
    Field,
    Flag,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Moment,
    Named,
    Number,
    Params,
    Paths,
    Section,
    Text,
    allowed,
)
from config.loader import load
from config.nodes import Path as Steps
from config.nodes import dotted
from config.table import ROOT
from daemon.cli import run
from engine.errors import EXIT_CONFIG, ConfigError

SYMBOL = "BTCUSDT"


def fields(kind: Kind, path: Steps = ()) -> Iterator[tuple[Steps, Field]]:
    """Every field below `kind`, those of lists and of sections by name at their first place."""
    match kind:
        case Section():
            for field in kind.fields:
                yield (*path, field.name), field
                yield from fields(field.kind, (*path, field.name))
        case Named():
            yield from fields(kind.section, path)
        case ListOf():
            yield from fields(kind.item, (*path, 0))
        case MapOf():
            yield from fields(kind.item, (*path, SYMBOL))
        case _:
            pass


FIELDS = [(path, field) for path, field in fields(ROOT)]
IDS = [dotted(path) for path, _ in FIELDS]
REQUIRED = [(path, field) for path, field in FIELDS if field.required]


def wrong(kind: Kind) -> Iterator[Any]:
    """Return what a field of this kind must refuse: other types, what is out of range, words it does not know."""
    match kind:
        case Number():
            yield from ("x", True, [1], {})
            yield from (str(bound - 1) for bound in (kind.minimum, kind.above) if bound is not None)
            if kind.above is not None:
                yield str(kind.above)
            if kind.maximum is not None:
                yield str(kind.maximum + Decimal("0.000001"))
        case Integer():
            yield from ("1", True, kind.minimum + 0.5, [kind.minimum], kind.minimum - 1, kind.maximum + 1)
        case Flag():
            yield from ("true", 1, [True])
        case Choice():
            yield from (1, True, [kind.words[0]], "", f"{kind.words[0]}x", kind.words[0].swapcase())
        case Text():
            yield from (1, True, ["a"], {}, "\x00")
        case Paths():
            yield from (1, True, [1], {}, "", [""])
        case Moment():
            yield from ("tomorrow", True, 1, ["2024-01-01"])
        case Params():
            yield from ("x", 1, [1])
        case ListOf():
            yield from ("x", 1, {})
            if kind.count_min:
                yield []
        case Section() | MapOf():
            yield from ("x", 1, [1])
        case Named():
            yield from (1, True, [1])
        case _:
            assert_never(kind)


def base(path: Steps) -> dict[str, Any]:
    """A config that is right, with all that must stand around the field at `path`."""
    document: dict[str, Any] = {"symbols": [SYMBOL], "timeframe": "1m"}
    match path[0]:
        case "symbol":
            del document["symbols"]
        case "strategy" | "strategies":
            parts = {"entry": {"name": "a"}, "exit": {"name": "b"}}
            strategy = parts if {"entry", "exit"} & {*path} else {"name": "a"}
            document[str(path[0])] = strategy if path[0] == "strategy" else [strategy]
        case "instruments":
            tiers = [{"notional_floor": 0, "maintenance_rate": 0}]
            document["instruments"] = {SYMBOL: {"tiers": tiers} if "tiers" in path else {}}
        case _:
            if len(path) > 1:
                document[str(path[0])] = {}
    return document


def with_value(path: Steps, value: Any) -> dict[str, Any]:
    """Return the right config with one value put in its place."""
    document = base(path)
    below: Any = document
    for step in path[:-1]:
        below = below[step]
    below[path[-1]] = value
    return document


def problems(document: dict[str, Any], file: Path) -> tuple[str, ...]:
    """Return what is said of a config file, one line for each problem."""
    file.write_text(json.dumps(document))
    try:
        load(file)
    except ConfigError as error:
        return error.problems
    return ()


def is_told(problem: str, file: Path, path: Steps, field: Field) -> bool:
    """Whether a line says where, which field and what is allowed: `FILE:LINE: FIELD: VALUE is not allowed; WHAT IS`."""
    named = problem.startswith(f"{file}:1: {dotted(path)}: ")
    return named and f" is not allowed; {allowed(field.kind)}" in problem


@pytest.mark.parametrize(("path", "field"), FIELDS, ids=IDS)
def test_each_field_wrong_once_on_the_command_line(
    path: Steps, field: Field, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(with_value(path, next(wrong(field.kind)))))
    assert run(["config", "check", str(file)]) == EXIT_CONFIG
    title, *lines, remedy = capsys.readouterr().err.splitlines()
    assert title == f"error: {file}: 1 problem"
    assert [is_told(line.strip(), file, path, field) for line in lines] == [True]
    assert "docs/configuration.md" in remedy


@pytest.mark.parametrize(("path", "field"), FIELDS, ids=IDS)
def test_each_field_wrong_in_every_way(path: Steps, field: Field, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    values = [*wrong(field.kind)]
    if not field.nullable and not isinstance(field.kind, Section | MapOf | Params | ListOf):
        values.append(None)
    for value in values:
        found = problems(with_value(path, value), file)
        assert [is_told(problem, file, path, field) for problem in found] == [True], (value, found)


@pytest.mark.parametrize(("path", "field"), FIELDS, ids=IDS)
def test_each_field_misspelt(path: Steps, field: Field, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    slip = (*path[:-1], f"{field.name}{field.name[-1]}")
    expected = f'{file}:1: {dotted(slip)}: unknown field; did you mean "{field.name}"?'
    assert expected in problems(with_value(slip, 1), file)


@pytest.mark.parametrize(("path", "field"), REQUIRED, ids=[dotted(path) for path, _ in REQUIRED])
def test_each_required_field_left_out(path: Steps, field: Field, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    document = base(path)
    below: Any = document
    for step in path[:-1]:
        below = below[step]
    del below[field.name]
    assert problems(document, file) == (f"{file}:1: {dotted(path)}: missing; {allowed(field.kind)}",)


@pytest.mark.parametrize("path", [path for path, _ in FIELDS], ids=IDS)
def test_what_stands_around_the_wrong_value_is_right(path: Steps, tmp_path: Path) -> None:
    document = base(path)
    if path == ("symbol",):
        document["symbol"] = SYMBOL
    assert problems(document, tmp_path / "run.json") == ()


def test_the_fields_are_all_there() -> None:
    """The walk over the table reaches its far corners."""
    assert {"reload.debounce_ms", "strategies[0].entry.params", f"instruments.{SYMBOL}.tiers[0].notional_floor"} <= {
        *IDS
    }
    assert len(FIELDS) > 140
