"""Entry and exit files: a class that says when to get in, a class that says when to get out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from engine.errors import StrategyError, TapewrightError
from engine.strategy import Input, InputValue, Schema, checked_schema, resolve_params
from strategies.loading import SourceFile, called_schema, never_runs, raised, refuse, run_file, takes

PartKind = Literal["entry", "exit"]
_METHOD: dict[PartKind, str] = {"entry": "should_enter", "exit": "should_exit"}
_WRITTEN: dict[PartKind, str] = {
    "entry": "should_enter(self, window)",
    "exit": "should_exit(self, window, entry_price)",
}


class Part(msgspec.Struct, frozen=True):
    """An entry or exit ready to be made: its schema, its parameters, its class, its code."""

    kind: PartKind
    name: str
    path: Path
    source: bytes
    schema: Schema
    params: dict[str, InputValue]
    made_of: type

    def make(self, params: Mapping[str, InputValue]) -> Callable[..., Any]:
        """Build one and return its method; raises StrategyError where its own code raises."""
        try:
            # A class without an __init__ of its own reads window.params.
            made = self.made_of(**params) if _has_init(self.made_of) else self.made_of()
        except TapewrightError:
            raise
        except Exception as error:  # the strategy boundary
            raise raised(error, self.path, f"{self.made_of.__name__}()") from error
        method: Callable[..., Any] = getattr(made, _METHOD[self.kind])
        return method


def load_part(path: Path, kind: PartKind, given: Mapping[str, object] | None) -> Part:
    """Run an entry or exit file and check it, with these parameters (None: its own defaults, whatever they are).

    Raises StrategyError with every mistake of the file, then with every mistake of the parameters.
    """
    file = run_file(path)
    chosen, problems = _class_of(file.module, kind)
    refuse(path, problems)
    assert chosen is not None
    schema = _schema_of(file, chosen, {} if given is None else given, is_open=given is None)
    params = resolve_params(schema, {} if given is None else given)
    part = Part(kind, path.stem, path, file.source, schema, params, chosen)
    if _has_init(chosen) and not takes(chosen, 0, params):
        written = f"{chosen.__name__}{inspect.signature(chosen)}"
        refuse(path, [f"{written} does not take its inputs {', '.join(params) or '(it has none)'} as keywords"])
    part.make(params)
    return part


def _class_of(module: ModuleType, kind: PartKind) -> tuple[type | None, list[str]]:
    """The one class of a file that has the method, or what is wrong."""
    method = _METHOD[kind]
    classes = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    chosen = list({id(each): each for each in classes if hasattr(each, method)}.values())
    if len(chosen) > 1:
        names = ", ".join(each.__name__ for each in chosen)
        return None, [f"{len(chosen)} classes have {method}: {names}; keep one (a base class may start with _)"]
    if not chosen:
        hint = ""
        if hasattr(module, method):
            hint = f"; {method} stands outside a class, put it into one"
        elif classes:
            hint = f"; {', '.join(each.__name__ for each in classes)} has none"
        return None, [f"no class with {_WRITTEN[kind]}{hint}"]
    function = getattr(chosen[0], method)
    name = f"{chosen[0].__name__}.{method}"
    if not callable(function):
        return None, [f"{name} is {function!r}, not a method; write def {_WRITTEN[kind]}"]
    is_static = isinstance(inspect.getattr_static(chosen[0], method), staticmethod | classmethod)
    count = (1 if kind == "entry" else 2) + (not is_static)
    asleep = never_runs(function)
    if asleep:
        return None, [f"{name} {asleep}"]
    if not takes(function, count):
        return None, [f"{name} is written as {method}{inspect.signature(function)}; write def {_WRITTEN[kind]}"]
    return chosen[0], []


def _schema_of(file: SourceFile, chosen: type, given: Mapping[str, object], *, is_open: bool) -> Schema:
    inputs = getattr(chosen, "inputs", None)
    has_schema = callable(getattr(file.module, "schema", None))
    if has_schema and inputs is not None:
        refuse(file.path, [f"both schema() and {chosen.__name__}.inputs tell the inputs; keep one"])
    if has_schema:
        return called_schema(file)
    own_id, own_name = file.path.stem, file.path.stem.replace("_", " ").capitalize()
    if inputs is not None:
        try:
            return checked_schema({"id": own_id, "name": own_name, "inputs": inputs}, str(file.path))
        except StrategyError as error:
            message = error.message.replace("schema().inputs", f"{chosen.__name__}.inputs")
            raise StrategyError(message, remedy=error.remedy) from None
    return Schema(own_id, own_name, inputs=_inputs_of_init(file.path, chosen, given, is_open=is_open))


def _inputs_of_init(path: Path, chosen: type, given: Mapping[str, object], *, is_open: bool) -> tuple[Input, ...]:
    """Inputs of a class that tells none: the parameters of its `__init__`, without ranges."""
    if not _has_init(chosen):
        return ()
    specs, problems = [], []
    for name, parameter in inspect.signature(chosen).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        value = given.get(name, parameter.default)
        if value is parameter.empty:
            if not is_open:
                problems.append(f"parameter {name} has no default; give it in the config")
            value = 0
        spec = _input_of(name, value)
        if spec is None:
            problems.append(f"parameter {name} is {value!r}; a number, true, false or a text is needed")
        else:
            specs.append(spec)
    refuse(path, problems)
    return tuple(specs)


def _input_of(name: str, value: object) -> Input | None:
    match value:
        case bool():
            return Input(name, "bool", value)
        case int():
            return Input(name, "int", value)
        case float():
            return Input(name, "float", value)
        case str():
            return Input(name, "select", value, options=(value,))
        case _:
            return None


def _has_init(made_of: type) -> bool:
    return inspect.getattr_static(made_of, "__init__") is not object.__init__
