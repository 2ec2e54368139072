"""What a strategy is: a schema of its inputs, and the functions that the runtime calls."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from engine.errors import ConfigError, StrategyError

InputType = Literal["int", "float", "bool", "select"]
InputValue = int | float | bool | str
_INPUT_KEYS = ("type", "default", "min", "max", "options", "label", "help", "step")
_SCHEMA_KEYS = ("id", "name", "inputs", "category", "version", "tags", "description", "timer_ms")
_TYPES = ("int", "float", "bool", "select")
CALLBACKS = (
    "on_init", "on_bar", "on_order", "on_trade", "on_finish", "on_book", "on_print", "on_funding", "on_gap", "on_timer",
)  # fmt: skip


class Input(msgspec.Struct, frozen=True):
    """One parameter of a strategy: its type, default, and range or options."""

    name: str
    type: InputType
    default: InputValue
    minimum: float | None = None
    maximum: float | None = None
    options: tuple[InputValue, ...] = ()
    label: str = ""
    help: str = ""


class Schema(msgspec.Struct, frozen=True):
    """What `schema()` says, checked."""

    id: str
    name: str
    inputs: tuple[Input, ...] = ()
    category: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    timer_ms: int | str = 0


class CodeFile(msgspec.Struct, frozen=True):
    """A file of a strategy as it was read and run."""

    path: str
    source: bytes


class Strategy(msgspec.Struct, frozen=True):
    """A strategy ready to run: its schema, its functions (None where it has none), where it came from.

    `files` is the code that runs, so that it can be kept with what it did.
    """

    schema: Schema
    path: str
    source_hash: str
    on_init: Callable[[Any], object] | None = None
    on_bar: Callable[[Any, int], object] | None = None
    on_order: Callable[[Any, Any], object] | None = None
    on_trade: Callable[[Any, Any], object] | None = None
    on_finish: Callable[[Any], object] | None = None
    signals: Callable[[Any], Mapping[str, Any]] | None = None
    # On a tape. A callback may be one in machine code (`engine.compiled`); `compiled_state` then makes its state.
    on_book: Callable[[Any], object] | None = None
    on_print: Callable[[Any, Any], object] | None = None
    on_funding: Callable[[Any, Any], object] | None = None
    on_gap: Callable[[Any, Any], object] | None = None
    on_timer: Callable[[Any], object] | None = None
    compiled_state: Callable[[dict[str, InputValue], Any], Any] | None = None
    files: tuple[CodeFile, ...] = ()
    # What is called in place of `on_bar` on one market, once `on_init` is over: it need not look up which one it is.
    bar_caller: Callable[[Any], Callable[[Any, int], object]] | None = None


def source_digest(*sources: bytes) -> str:
    """SHA-256 over the code of a strategy."""
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and _fits(value)


def _fits(value: int) -> bool:
    """Whether records, snapshots and compiled code can hold it."""
    return -(2**63) <= value < 2**63


def _unknown_keys(found: Mapping[str, object], known: tuple[str, ...], where: str) -> list[str]:
    problems = []
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            problems.append(f"{where}: unknown key {key!r}{hint}")
    return problems


def _value_problem(spec: Input, value: object) -> str:
    """Why a value is not allowed for an input, or nothing."""
    if spec.type == "select":
        return "" if value in spec.options else f"{value!r} is not one of {', '.join(map(repr, spec.options))}"
    if spec.type == "bool":
        return "" if isinstance(value, bool) else f"{value!r} is not true or false"
    if spec.type == "int" and (not isinstance(value, int) or isinstance(value, bool)):
        return f"{value!r} is not a whole number"
    if isinstance(value, int) and not isinstance(value, bool) and not _fits(value):
        return "a whole number of more than 64 bits"
    if not _is_number(value):
        return f"{value!r} is not a number"
    assert isinstance(value, int | float)
    if spec.minimum is not None and value < spec.minimum:
        return f"{value!r} is below the minimum {spec.minimum:g}"
    if spec.maximum is not None and value > spec.maximum:
        return f"{value!r} is above the maximum {spec.maximum:g}"
    return ""


def _checked_input(name: object, found: object, where: str) -> tuple[Input | None, list[str]]:
    if not isinstance(name, str) or not name.isidentifier():
        return None, [f"{where}: an input's name is a plain identifier, not {name!r}"]
    if not isinstance(found, Mapping):
        return None, [f"{where}: write a dict with type and default, not {found!r}"]
    problems = _unknown_keys(found, _INPUT_KEYS, where)
    kind = found.get("type")
    if kind not in _TYPES:
        near = difflib.get_close_matches(str(kind), _TYPES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return None, [*problems, f"{where}.type: {kind!r} is not one of {', '.join(_TYPES)}{hint}"]
    if "default" not in found:
        return None, [*problems, f"{where}.default: missing; every input needs one"]
    for bound in ("min", "max"):
        if bound in found and (kind not in {"int", "float"} or not _is_number(found[bound])):
            problems.append(f"{where}.{bound}: {found[bound]!r}; a finite number, for int and float inputs only")
    options = found.get("options", ())
    if (kind == "select") != bool(options) or not isinstance(options, list | tuple):
        problems.append(f"{where}.options: a list of choices belongs to a select input, and only to one")
    if problems:
        return None, problems
    spec = Input(
        name=name, type=kind, default=found["default"], minimum=found.get("min"), maximum=found.get("max"),
        options=tuple(options), label=str(found.get("label", "")), help=str(found.get("help", "")),
    )  # fmt: skip
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        return None, [f"{where}: min {spec.minimum:g} is above max {spec.maximum:g}"]
    problem = _value_problem(spec, spec.default)
    return (None, [f"{where}.default: {problem}"]) if problem else (spec, [])


def checked_schema(found: object, path: str) -> Schema:
    """What a strategy's `schema()` returned, as a Schema; raises StrategyError with every mistake at once."""
    if not isinstance(found, Mapping):
        raise StrategyError(
            f"{path}: schema() returned {type(found).__name__}, not a dict",
            remedy='Return a dict: {"id": "my_idea", "name": "My idea", "inputs": {}}.',
        )
    problems = _unknown_keys(found, _SCHEMA_KEYS, "schema()")
    for key in ("id", "name"):
        if not isinstance(found.get(key), str) or not found[key]:
            problems.append(f"schema().{key}: {found.get(key)!r}; a text that is not empty is needed")
    inputs = found.get("inputs", {})
    specs: list[Input] = []
    if isinstance(inputs, Mapping):
        for name, described in inputs.items():
            spec, own = _checked_input(name, described, f"schema().inputs.{name}")
            problems.extend(own)
            if spec is not None:
                specs.append(spec)
    else:
        problems.append(f"schema().inputs: {inputs!r}; a dict of inputs by name is needed")
    tags = found.get("tags", ())
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        problems.append(f"schema().tags: {tags!r}; a list of texts is needed")
    timer = found.get("timer_ms", 0)
    is_input = isinstance(timer, str) and any(spec.name == timer and spec.type == "int" for spec in specs)
    if not (isinstance(timer, int) and not isinstance(timer, bool) and timer >= 0) and not is_input:
        problems.append(f"schema().timer_ms: {timer!r}; whole milliseconds, or the name of an int input")
    if problems:
        raise StrategyError(f"{path}: " + "\n  ".join(problems), remedy="Correct the schema and run again.")
    return Schema(
        id=found["id"], name=found["name"], inputs=tuple(specs), category=str(found.get("category", "")),
        version=str(found.get("version", "")), tags=tuple(tags), description=str(found.get("description", "")),
        timer_ms=timer,
    )  # fmt: skip


def resolve_params(schema: Schema, given: Mapping[str, object]) -> dict[str, InputValue]:
    """The given values with the schema's defaults; raises ConfigError with every mistake at once."""
    problems = []
    names = [spec.name for spec in schema.inputs]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names) or 'none'}"
            problems.append(f"{schema.id}: unknown parameter {name!r}{hint}")
    values: dict[str, InputValue] = {}
    for spec in schema.inputs:
        value = given.get(spec.name, spec.default)
        if spec.type == "float" and isinstance(value, int) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # what no float can hold is refused below
                value = float(value)
        problem = _value_problem(spec, value)
        if problem:
            problems.append(f"{schema.id}: parameter {spec.name}: {problem}")
        values[spec.name] = value  # type: ignore[assignment]
    if problems:
        raise ConfigError(
            f"The params of {schema.id} are wrong",
            problems=tuple(problems),
            remedy="Correct the params of this strategy in the config.",
        )
    return values
