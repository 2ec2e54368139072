"""From a file to a Strategy: its code is run, and everything that breaks the contract is named at once.

A file is read once: the bytes that are hashed are the bytes that run, whatever a bytecode cache or an editor
does meanwhile.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import itertools
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec

from engine.compiled import CompiledCallback
from engine.errors import InputMissingError, StrategyError
from engine.strategy import CALLBACKS, CodeFile, Schema, Strategy, checked_schema, source_digest

_CONTRACT = {
    "schema": "schema()",
    "on_init": "on_init(ctx)",
    "on_bar": "on_bar(ctx, i)",
    "on_order": "on_order(ctx, order)",
    "on_trade": "on_trade(ctx, trade)",
    "on_finish": "on_finish(ctx)",
    "signals": "signals(ctx)",
    "on_book": "on_book(ctx)",
    "on_print": "on_print(ctx, trade)",
    "on_funding": "on_funding(ctx, funding)",
    "on_gap": "on_gap(ctx, gap)",
    "on_timer": "on_timer(ctx)",
    "compiled_state": "compiled_state(params, instrument)",
}
_MAIN = ("on_bar", "signals", "on_book", "on_print", "on_timer")  # a strategy needs one of these
_COMPILED = ("on_bar", "on_order", "on_book", "on_print", "on_funding", "on_gap", "on_timer")
_LINE_CHARS_MAX = 200
_CORRECT = "Correct the file and run: tapewright strategies check"
_serials = itertools.count(1)


class SourceFile(msgspec.Struct, frozen=True):
    """A file that was read and run: its code, and the module it made."""

    path: Path
    source: bytes
    module: ModuleType


def read_source(path: Path) -> bytes:
    """Return the code of a file; raises InputMissingError or StrategyError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputMissingError(f"Strategy file not found: {path}", remedy=f"Create {path}") from None
    except OSError as error:
        raise StrategyError(f"{path} cannot be read: {error.strerror or error}", remedy="Check its rights.") from None


def run_file(path: Path) -> SourceFile:
    """Run a file under a module name of its own; raises StrategyError that names the line where it fails."""
    source = read_source(path)
    name = f"_tapewright_file_{next(_serials)}"
    try:
        source.decode()  # code is kept as text, whatever encoding it names
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        text = f"\n    {error.text.strip()[:_LINE_CHARS_MAX]}" if error.text and error.text.strip() else ""
        place = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise StrategyError(f"{place}: {error.msg}{text}", remedy=_CORRECT) from None
    except (ValueError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
        raise StrategyError(f"{path}: {str(error) or type(error).__name__}", remedy=_CORRECT) from None
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's own file is what this is for
    except (Exception, SystemExit) as error:  # the strategy boundary
        raise raised(error, path, "while it was loaded") from error
    finally:
        del sys.modules[name]
    return SourceFile(path, source, module)


def raised(error: BaseException, path: Path, where: str) -> StrategyError:
    """What a file's own code raised, as a StrategyError with the line in that file."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"{path}:{lines[-1].lineno}" if lines else str(path)
    code = f"\n    {lines[-1].line}" if lines and lines[-1].line else ""
    return StrategyError(f"{place}: {where}: {type(error).__name__}: {error}{code}", remedy=_CORRECT)


def load_strategy(path: Path) -> Strategy:
    """Run a strategy's file and check it; raises StrategyError with every mistake at once."""
    file = run_file(path)
    problems = [problem for name in _CONTRACT for problem in _callback_problems(file.module, name)]
    problems += _compiled_problems(file.module)
    problems += _missing(file.module)
    schema = None
    if callable(getattr(file.module, "schema", None)) and not any(text.startswith("schema()") for text in problems):
        try:
            schema = called_schema(file)
        except StrategyError as error:
            problems.append(error.message.removeprefix(f"{path}: "))
    refuse(path, problems)
    assert schema is not None
    functions = {name: getattr(file.module, name, None) for name in (*CALLBACKS, "signals", "compiled_state")}
    files = (CodeFile(str(path), file.source),)
    return Strategy(schema=schema, path=str(path), source_hash=source_digest(file.source), files=files, **functions)


def called_schema(file: SourceFile) -> Schema:
    """Return what the file's `schema()` says, checked."""
    try:
        found = file.module.schema()
    except Exception as error:  # the strategy boundary
        raise raised(error, file.path, "schema()") from error
    return checked_schema(found, str(file.path))


def refuse(path: Path, problems: Sequence[str]) -> None:
    """Raise StrategyError with all problems of a file, if there are any."""
    if problems:
        raise StrategyError(f"{path}: " + "\n  ".join(problems), remedy=_CORRECT)


def takes(function: Callable[..., Any], count: int, names: Mapping[str, object] | None = None) -> bool:
    """Whether a function can be called with `count` arguments (and these keywords)."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a compiled function does not tell
        return True
    try:
        signature.bind(*range(count), **(names or {}))
    except TypeError:
        return False
    return True


def never_runs(function: object) -> str:
    """Why calling a function would not run it, or nothing."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is async, so calling it runs nothing; write a plain def"
    if inspect.isgeneratorfunction(function):
        return "has a yield, so calling it runs nothing; leave yield out"
    return ""


def _callback_problems(module: ModuleType, name: str) -> list[str]:
    function = getattr(module, name, None)
    if function is None:
        return []
    written = _CONTRACT[name]
    if isinstance(function, CompiledCallback):
        return [] if name in _COMPILED else [f"{written}: cannot be compiled; write def {written}"]
    if not callable(function):
        return [f"{written}: {name} is {function!r}, not a function; write def {written}"]
    asleep = never_runs(function)
    if asleep:
        return [f"{written}: {asleep}"]
    if not takes(cast("Callable[..., Any]", function), written.count(",") + (written[-2] != "(")):
        return [f"{written}: it is written as {name}{inspect.signature(function)}; write def {written}"]
    return []


def _compiled_problems(module: ModuleType) -> list[str]:
    """What compiled callbacks need and what they rule out."""
    compiled = [name for name in _COMPILED if isinstance(getattr(module, name, None), CompiledCallback)]
    problems = []
    if compiled and getattr(module, "compiled_state", None) is None:
        written = _CONTRACT["compiled_state"]
        problems.append(f"no {written}: {_CONTRACT[compiled[0]]} is compiled, and this makes its state")
    if "on_order" in compiled and getattr(module, "on_trade", None) is not None:
        problems.append("on_trade(ctx, trade): not called where on_order is compiled; write one of the two otherwise")
    return problems


def _missing(module: ModuleType) -> list[str]:
    """What is not there, with names that may have been meant."""
    has = {name for name in _CONTRACT if getattr(module, name, None) is not None}
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and name not in _CONTRACT
    ]
    meant = {name: near for name in own if (near := _nearest(name, set(_CONTRACT) - has))}
    needed = {"schema"} - has | (set(_MAIN) if not has & set(_MAIN) else set())
    problems = [
        f"{name}(): no such callback; did you mean {_CONTRACT[near]}?"
        for name, near in meant.items()
        if near in needed or name.lower().startswith("on")
    ]
    if "schema" in needed:
        problems.append('no schema(): write def schema(): return {"id": "my_idea", "name": "My idea", "inputs": {}}')
    if "on_bar" in needed:
        written = ", ".join(_CONTRACT[name] for name in _MAIN)
        problems.append(f"none of {written}: a strategy needs one of them")
    return problems


def _nearest(name: str, known: set[str]) -> str:
    """The known name that another looks like, underscores and case aside, or nothing."""
    plain = {each.replace("_", ""): each for each in sorted(known)}
    near = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.72)
    return plain[near[0]] if near else ""
