"""A config as it is after all: every field with its value, and where that value comes from.

What is printed is a config file itself, of the newest version, and loads to an equal config.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from config.document import to_document
from config.kinds import Kind, ListOf, Moment, Named, Number, kind_below
from config.loader import Resolved
from config.nodes import ListNode, Node, Path, Place, ScalarNode, dotted, find, is_null, place_of
from config.problems import Findings
from config.table import ROOT, SHORT_FOR
from config.yaml_nodes import read_value
from engine.errors import ConfigError

DEFAULT = "default"
_COLUMN = 48
# The canonical form's name of a field, and what files may call it.
_ALIASES = (("symbols", "symbol"), *((".".join(long), short) for short, longs in SHORT_FOR.items() for long in longs))


class Shown(msgspec.Struct, frozen=True):
    """One line: a field or item at its depth, its value as YAML (empty for a section), its origin."""

    depth: int
    head: str
    value: str
    origin: str
    path: str


def shown_lines(resolved: Resolved) -> list[str]:
    """The config as YAML, each value with a comment that says where it stands: `base.yaml:3`, `--set a=b`, default."""
    lines = []
    for each in _fields(resolved):
        text = f"{'  ' * each.depth}{each.head}{f' {each.value}' if each.value else ''}"
        lines.append(f"{text:<{_COLUMN}}  # {each.origin}" if each.origin else text)
    return lines


def shown_document(resolved: Resolved) -> dict[str, Any]:
    """The same for programs: the stored form, the origin of each value by its path, and the files that were read."""
    origins = {each.path: each.origin for each in _fields(resolved) if each.origin}
    return {
        "config": to_document(resolved.config),
        "origins": origins,
        "files": [str(file) for file in resolved.files],
        "migrated": list(resolved.notes),
    }


def _fields(resolved: Resolved) -> Iterator[Shown]:
    document = to_document(resolved.config)
    document.pop("source")
    for name, value in document.items():
        yield from _below(resolved.root, (name,), f"{name}:", value, kind_below(ROOT, name), 0)


def _below(root: Node, path: Path, head: str, value: Any, kind: Kind | None, depth: int) -> Iterator[Shown]:
    if isinstance(kind, Named):
        kind = kind.section
    if isinstance(value, dict) and value:
        yield Shown(depth, head, "", "", dotted(path))
        for name, inner in value.items():
            yield from _below(root, (*path, name), f"{_text(name)}:", inner, kind_below(kind, name), depth + 1)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield Shown(depth, head, "", "", dotted(path))
        item_kind = kind.item if isinstance(kind, ListOf) else None
        for index, item in enumerate(value):
            yield from _item(root, (*path, index), item, item_kind, depth + 1)
    else:
        yield Shown(depth, head, _yaml(value, kind), _origin(root, path), dotted(path))


def _item(root: Node, path: Path, item: dict[str, Any], kind: Kind | None, depth: int) -> Iterator[Shown]:
    """A section of a list: its first field stands behind the dash."""
    if isinstance(kind, Named):
        kind = kind.section
    for place, (name, inner) in enumerate(item.items()):
        below = _below(root, (*path, name), f"{name}:", inner, kind_below(kind, name), depth + 1)
        for line in below:
            if place == 0 and line.path == dotted((*path, name)):
                yield msgspec.structs.replace(line, depth=depth, head=f"- {line.head}")
            else:
                yield line


def _yaml(value: Any, kind: Kind | None) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            inner = kind.item if isinstance(kind, ListOf) else None
            return f"[{', '.join(_yaml(item, inner) for item in value)}]"
        case dict():
            return "{}"
        case str() if isinstance(kind, Number | Moment):
            return value
        case str():
            return _text(value)
        case _:
            return repr(value)


def _text(text: str) -> str:
    """Text without quotes where YAML takes it for the same text, in a list too; else as JSON writes it."""
    try:
        node = read_value(f"[{text}]", Findings(""), Place(""))
    except ConfigError:
        return json.dumps(text)
    item = node.items[0] if isinstance(node, ListNode) and len(node.items) == 1 else None
    is_same = isinstance(item, ScalarNode) and item.form == "text" and item.text == text
    return text if is_same and ": " not in text and " #" not in text else json.dumps(text)


def _origin(root: Node, path: Path) -> str:
    for written in _spellings(root, path):
        if not is_null(find(root, written)):
            return place_of(root, written).label()
    return DEFAULT


def _spellings(root: Node, path: Path) -> Iterator[Path]:
    """The paths by which a file may have given a value."""
    if path[0] == "strategies":
        if isinstance(find(root, path[:2]), ScalarNode) and path[2:] in (("name",), ("id",)):
            yield path[:2]  # a bare name
        if len(path) > 2 and find(root, ("strategy",)) is not None:
            if isinstance(find(root, ("strategy",)), ScalarNode) and path[2:] in (("name",), ("id",)):
                yield ("strategy",)
            yield ("strategy", *path[2:])
    yield path
    for name, alias in _ALIASES:
        if dotted(path) == name:
            yield (alias,)
