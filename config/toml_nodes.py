"""TOML text to nodes.

Python's parser keeps no positions, so the lines come from a search for table headers and `key =`: right for
files as people write them; a value inside an inline table or a list gets the line of what holds it.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from typing import Any

from config.nodes import DEPTH_MAX, NODES_MAX, Entry, ListNode, MapNode, Node, Path, Place, ScalarNode
from config.problems import Findings

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w$-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w$-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w$-]+|"[^"]*"|'[^']*'""")
_AT = re.compile(r"^(.*) \(at line (\d+), column (\d+)\)$")


class _FloatText(str):
    """A float as written; tomllib hands its text over, and the field decides what it becomes."""

    __slots__ = ()


def read_toml(text: str, findings: Findings) -> Node:
    """Return the tree of a TOML file. Raises ConfigError for a syntax error, such as a key given twice."""
    try:
        document = tomllib.loads(text, parse_float=_FloatText)
    except RecursionError:
        findings.stop(Place(findings.origin, 1), (), f"nested deeper than {DEPTH_MAX} levels")
    except tomllib.TOMLDecodeError as error:
        at = _AT.match(str(error))
        what, line, column = (at[1], int(at[2]), int(at[3])) if at else (str(error), text.count("\n") + 1, 0)
        findings.stop(Place(findings.origin, line, column=column), (), f"not valid TOML: {what}")
    except ValueError:  # beyond the digits that Python's int() reads, or a date that is none
        findings.stop(Place(findings.origin, 1), (), "not valid TOML: a number or date is out of range")
    return _Walk(findings, key_lines(text)).node(document, (), 1)


def key_lines(text: str) -> dict[Path, int]:
    """Return the line of each key and table header that a search by line finds."""
    lines: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _with_last_indices(tuple(_parts(header[2])), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
        elif key := _KEY.match(line):
            path = (*table, *_parts(key[1]))
            for length in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:length], number)
            continue
        for length in range(1, len(table) + 1):
            lines.setdefault(table[:length], number)
    return lines


def _parts(dotted_key: str) -> list[str]:
    return [part[0].strip("\"'") for part in _PART.finditer(dotted_key)]


def _with_last_indices(names: tuple[str, ...], counts: dict[Path, int]) -> Path:
    """`a.b` under `[[a]]` means the last of them."""
    path: Path = ()
    for position, name in enumerate(names):
        path = (*path, name)
        if path in counts and position < len(names) - 1:
            path = (*path, counts[path])
    return path


class _Walk:
    """One pass from tomllib's values to nodes."""

    def __init__(self, findings: Findings, lines: dict[Path, int]) -> None:
        self.findings = findings
        self.lines = lines
        self.count = 0

    def place(self, path: Path) -> Place:
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return Place(self.findings.origin, self.lines[path[:length]])
        return Place(self.findings.origin, 1)

    def node(self, value: Any, path: Path, depth: int) -> Node:
        place = self.place(path)
        self.count += 1
        if depth > DEPTH_MAX:
            self.findings.stop(place, path[:4], f"nested deeper than {DEPTH_MAX} levels")
        if self.count > NODES_MAX:
            self.findings.stop(place, path[:4], f"more than {NODES_MAX} values")
        match value:
            case dict():
                return MapNode(
                    {
                        name: Entry(self.place((*path, name)), self.node(below, (*path, name), depth + 1))
                        for name, below in value.items()
                    },
                    place,
                )
            case list():
                items = (self.node(below, (*path, index), depth + 1) for index, below in enumerate(value))
                return ListNode(tuple(items), place)
            case bool():
                return ScalarNode("flag", str(value).lower(), place)
            case _FloatText():
                return ScalarNode("number", str(value), place)
            case int():
                return ScalarNode("number", _digits(value), place)
            case dt.date() | dt.time():  # a datetime is a date
                return ScalarNode("text", value.isoformat(), place)
            case _:
                return ScalarNode("text", value, place)


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # hexadecimal of thousands of digits can be read, but not written
        return hex(value)
