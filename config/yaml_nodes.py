"""YAML text to nodes.

Only composed, never constructed: no tag can make an object. Plain scalars follow YAML 1.2 (`no` and `on`
are words, `1e3` is a number, `2024-01-01` is text that the field reads as a date). Anchors, aliases and `<<`
work; depth and the number of nodes after expansion are bounded.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from config.nodes import DEPTH_MAX, NODES_MAX, Entry, Form, ListNode, MapNode, Node, Path, Place, ScalarNode
from config.problems import Findings, quoted

_TAG = "tag:yaml.org,2002:"
_FORMS: dict[str, Form] = {"null": "null", "bool": "flag", "int": "number", "float": "number", "str": "text"}


class _Loader(yaml.SafeLoader):
    """A SafeLoader with the scalars of YAML 1.2 and a bound on depth."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML reads it from the class
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {DEPTH_MAX} levels",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"(?:[-+]?(?:(?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<$"), ["<"])


def read_yaml(text: str, findings: Findings) -> Node:
    """Return the tree of a YAML file (an empty map for an empty file). Raises ConfigError."""
    node = _compose(text, findings, None)
    start = Place(findings.origin, 1)
    return MapNode({}, start) if node is None else _Walk(findings, None).node(node, (), 1)


def read_value(text: str, findings: Findings, place: Place) -> Node:
    """Return the value of an option of the command line: a YAML scalar, or a list or map in flow style."""
    node = _compose(text, findings, place)
    return ScalarNode("null", "", place) if node is None else _Walk(findings, place).node(node, (), 1)


def _compose(text: str, findings: Findings, place: Place | None) -> yaml.Node | None:
    loader: _Loader | None = None
    node: yaml.Node | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        findings.stop(_at(place, findings, line, column), (), f"not valid YAML: {what}")
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = f"the character U+{ord(text[error.position]):04X} is not allowed"
        findings.stop(_at(place, findings, line, column), (), f"not valid YAML: {what}")
    except (yaml.YAMLError, ValueError, OverflowError):
        # What is beyond Python's chr() and int(), in escapes and directives, is no YAMLError in PyYAML.
        line, column = (loader.line + 1, loader.column + 1) if loader is not None else (1, 1)
        what = "an escape or number is out of range"
        findings.stop(_at(place, findings, line, column), (), f"not valid YAML: {what}")
    return node


def _at(place: Place | None, findings: Findings, line: int, column: int) -> Place:
    return place or Place(findings.origin, line, column=column)


class _Walk:
    """One pass from PyYAML's nodes to ours, counting as aliases are expanded."""

    def __init__(self, findings: Findings, place: Place | None) -> None:
        self.findings = findings
        self.fixed_place = place
        self.count = 0

    def place(self, node: yaml.Node) -> Place:
        return self.fixed_place or Place(self.findings.origin, node.start_mark.line + 1)

    def node(self, node: yaml.Node, path: Path, depth: int) -> Node:
        place = self.place(node)
        self.count += 1
        if depth > DEPTH_MAX:
            self.findings.stop(place, path[:4], f"nested deeper than {DEPTH_MAX} levels")
        if self.count > NODES_MAX:
            self.findings.stop(place, path[:4], f"more than {NODES_MAX} values after anchors are expanded")
        name = node.tag.removeprefix(_TAG)
        match node:
            case yaml.ScalarNode() if name in _FORMS:
                return ScalarNode(_FORMS[name], node.value, place)
            case yaml.ScalarNode() if name == "merge":
                return ScalarNode("text", node.value, place)
            case yaml.SequenceNode() if name == "seq":
                items = (self.node(item, (*path, index), depth + 1) for index, item in enumerate(node.value))
                return ListNode(tuple(items), place)
            case yaml.MappingNode() if name == "map":
                return self.map(node, path, depth)
            case _:
                self.findings.add(place, path, f"the tag {quoted(node.tag)} is not allowed; write the plain value")
                return ScalarNode("null", "", place)

    def map(self, node: yaml.MappingNode, path: Path, depth: int) -> MapNode:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            place = self.place(key)
            if not isinstance(key, yaml.ScalarNode):
                self.findings.add(place, path, "a list or section cannot be a name")
            elif key.tag == f"{_TAG}merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    below = self.node(source, (*path, "<<"), depth + 1)
                    if isinstance(below, MapNode):
                        merged = {**below.entries, **merged}
                    else:
                        self.findings.add(place, (*path, "<<"), "only a section can be merged")
            elif key.value in entries:
                first = entries[key.value].key_place.line
                self.findings.add(
                    place, (*path, key.value), f"given twice{f'; first on line {first}' if first else ''}"
                )
            else:
                entries[key.value] = Entry(place, self.node(value, (*path, key.value), depth + 1))
        return MapNode({**merged, **entries}, self.place(node))
