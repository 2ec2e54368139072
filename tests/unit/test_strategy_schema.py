"""What a schema may say, and that every mistake in one is named."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ConfigError, StrategyError
from engine.strategy import checked_schema, resolve_params

RIGHT = {
    "id": "idea",
    "name": "Idea",
    "category": "trend",
    "version": "1.2",
    "tags": ["a", "b"],
    "inputs": {
        "length": {"type": "int", "default": 12, "min": 1, "max": 200, "label": "Length", "help": "Bars."},
        "width": {"type": "float", "default": 2, "min": 0.5},
        "allow_short": {"type": "bool", "default": False},
        "mode": {"type": "select", "default": "slow", "options": ["slow", "fast"]},
    },
}

# What is put into the schema (a path of keys, and the value), and what the error says of it.
MISTAKES: list[tuple[str, Any, str]] = [
    ("id", "", "schema().id: ''; a text that is not empty"),
    ("id", 7, "schema().id: 7"),
    ("name", None, "schema().name: None"),
    ("title", "x", "schema(): unknown key 'title'"),
    ("input", {}, "unknown key 'input'; did you mean 'inputs'?"),
    ("tags", "trend", "schema().tags: 'trend'; a list of texts"),
    ("tags", [1], "schema().tags: [1]"),
    ("inputs", [], "schema().inputs: []; a dict of inputs by name"),
    ("inputs.length", 12, "schema().inputs.length: write a dict with type and default, not 12"),
    ("inputs.two words", {}, "an input's name is a plain identifier, not 'two words'"),
    ("inputs.length.type", "integer", "schema().inputs.length.type: 'integer' is not one of int, float, bool, select"),
    ("inputs.length.type", "flaot", "did you mean 'float'?"),
    ("inputs.length.default", 0, "schema().inputs.length.default: 0 is below the minimum 1"),
    ("inputs.length.default", 201, "201 is above the maximum 200"),
    ("inputs.length.default", 1.5, "1.5 is not a whole number"),
    ("inputs.length.default", True, "True is not a whole number"),
    ("inputs.width.default", "2", "'2' is not a number"),
    ("inputs.width.default", float("nan"), "nan is not a number"),
    ("inputs.length.min", "1", "schema().inputs.length.min: '1'; a finite number"),
    ("inputs.length.min", 300, "min 300 is above max 200"),
    ("inputs.allow_short.max", 1, "schema().inputs.allow_short.max: 1; a finite number, for int and float inputs only"),
    ("inputs.allow_short.default", 1, "1 is not true or false"),
    ("inputs.mode.default", "quick", "'quick' is not one of 'slow', 'fast'"),
    ("inputs.mode.options", [], "schema().inputs.mode.options: a list of choices belongs to a select"),
    ("inputs.length.options", [1], "schema().inputs.length.options"),
    ("inputs.length.minimum", 1, "unknown key 'minimum'; did you mean 'min'?"),
]


def changed(path: str, value: Any) -> dict[str, Any]:
    copied: dict[str, Any] = {**RIGHT, "inputs": {name: dict(spec) for name, spec in RIGHT["inputs"].items()}}  # type: ignore[attr-defined]
    *outer, last = path.split(".")
    place: Any = copied
    for key in outer:
        place = place[key]
    place[last] = value
    return copied


def test_a_right_schema_is_read_whole() -> None:
    schema = checked_schema(RIGHT, "idea.py")
    assert (schema.id, schema.name, schema.category, schema.version, schema.tags) == (
        "idea", "Idea", "trend", "1.2", ("a", "b"),
    )  # fmt: skip
    length, width, allow_short, mode = schema.inputs
    assert (length.type, length.default, length.minimum, length.maximum) == ("int", 12, 1, 200)
    assert (length.label, length.help) == ("Length", "Bars.")
    assert (width.minimum, width.maximum) == (0.5, None)
    assert allow_short.default is False
    assert mode.options == ("slow", "fast")


def test_a_schema_needs_no_more_than_id_and_name() -> None:
    assert checked_schema({"id": "a", "name": "A"}, "a.py").inputs == ()


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=[f"{path}={value!r}" for path, value, _ in MISTAKES])
def test_a_mistake_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(StrategyError) as caught:
        checked_schema(changed(path, value), "idea.py")
    assert said in caught.value.message
    assert caught.value.message.startswith("idea.py: ")


def test_an_input_without_default_is_named() -> None:
    with pytest.raises(StrategyError, match=r"inputs\.length\.default: missing"):
        checked_schema(changed("inputs.length", {"type": "int"}), "idea.py")


@pytest.mark.parametrize("found", [None, [], "idea"])
def test_what_is_no_dict_is_named(found: object) -> None:
    with pytest.raises(StrategyError, match=r"schema\(\) returned \w+, not a dict"):
        checked_schema(found, "idea.py")


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(StrategyError) as caught:
        checked_schema({"id": 1, "nam": "x", "inputs": {"a": {"type": "int"}, "b": {"type": "bol", "default": 1}}}, "p")
    for said in ("schema().id", "schema().name", "'nam'", "inputs.a.default", "inputs.b.type"):
        assert said in caught.value.message


def test_params_take_defaults_and_whole_numbers_become_floats() -> None:
    schema = checked_schema(RIGHT, "idea.py")
    params = resolve_params(schema, {"length": 5, "width": 3})
    assert params == {"length": 5, "width": 3.0, "allow_short": False, "mode": "slow"}
    assert isinstance(params["width"], float)


@pytest.mark.parametrize("digits", [20, 400])
def test_whole_numbers_that_no_record_can_hold_are_refused(digits: int) -> None:
    schema = checked_schema(
        {"id": "idea", "name": "Idea", "inputs": {"n": {"type": "int", "default": 1}}}, "idea.py"
    )  # fmt: skip
    assert resolve_params(schema, {"n": -(2**63)}) == {"n": -(2**63)}
    for value in (10**digits, -(10**digits)):
        with pytest.raises(ConfigError, match="parameter n: a whole number of more than 64 bits"):
            resolve_params(schema, {"n": value})


def test_a_whole_number_beyond_all_floats_is_refused() -> None:
    schema = checked_schema(
        {"id": "idea", "name": "Idea", "inputs": {"x": {"type": "float", "default": 1.0}}}, "idea.py"
    )  # fmt: skip
    assert resolve_params(schema, {"x": 10**30}) == {"x": 1e30}
    with pytest.raises(ConfigError, match="parameter x: a whole number of more than 64 bits"):
        resolve_params(schema, {"x": 10**400})


def test_all_wrong_params_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_params(checked_schema(RIGHT, "idea.py"), {"lenght": 3, "width": 0.1, "mode": "x", "allow_short": 1})
    message = caught.value.message
    assert "idea: unknown parameter 'lenght'; did you mean 'length'?" in message
    assert "idea: parameter width: 0.1 is below the minimum 0.5" in message
    assert "idea: parameter mode: 'x' is not one of 'slow', 'fast'" in message
    assert "idea: parameter allow_short: 1 is not true or false" in message
