"""JSON text to nodes.

Python's parser says whether the text is JSON and where it is not; then one walk over text known to be right
notes the lines, which that parser does not give.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right

from config.nodes import DEPTH_MAX, NODES_MAX, Entry, Form, ListNode, MapNode, Node, Path, Place, ScalarNode
from config.problems import Findings

_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[-+.0-9A-Za-z]+")
_FORMS: dict[str, Form] = {"null": "null", "true": "flag", "false": "flag"}


def read_json(text: str, findings: Findings) -> Node:
    """Return the tree of a JSON file. Raises ConfigError for a syntax error."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        place = Place(findings.origin, error.lineno, column=error.colno)
        findings.stop(place, (), f"not valid JSON: {error.msg}")
    except RecursionError:
        findings.stop(Place(findings.origin, 1), (), f"nested deeper than {DEPTH_MAX} levels")
    return _Walk(text, findings).node((), 1)


class _Walk:
    """One pass over text that is valid JSON."""

    def __init__(self, text: str, findings: Findings) -> None:
        self.text = text
        self.findings = findings
        self.position = 0
        self.count = 0
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.decoder = json.JSONDecoder()

    def skip(self) -> str:
        """Pass over white space; the next character."""
        space = _SPACE.match(self.text, self.position)
        assert space is not None
        self.position = space.end()
        return self.text[self.position]

    def take(self) -> str:
        """Return the next character that is no white space, passed over."""
        character = self.skip()
        self.position += 1
        return character

    def place(self) -> Place:
        return Place(self.findings.origin, bisect_right(self.line_starts, self.position))

    def string(self) -> str:
        value, self.position = self.decoder.raw_decode(self.text, self.position)
        assert isinstance(value, str)
        return value

    def node(self, path: Path, depth: int) -> Node:
        first = self.skip()
        place = self.place()
        self.count += 1
        if depth > DEPTH_MAX:
            self.findings.stop(place, path[:4], f"nested deeper than {DEPTH_MAX} levels")
        if self.count > NODES_MAX:
            self.findings.stop(place, path[:4], f"more than {NODES_MAX} values")
        match first:
            case "{":
                return self.map(path, depth, place)
            case "[":
                return self.list(path, depth, place)
            case '"':
                return ScalarNode("text", self.string(), place)
            case _:
                word = _WORD.match(self.text, self.position)
                assert word is not None
                self.position = word.end()
                return ScalarNode(_FORMS.get(word[0], "number"), word[0], place)

    def list(self, path: Path, depth: int, place: Place) -> ListNode:
        items: list[Node] = []
        self.take()
        if self.skip() == "]":
            self.take()
            return ListNode((), place)
        while True:
            items.append(self.node((*path, len(items)), depth + 1))
            if self.take() == "]":
                return ListNode(tuple(items), place)

    def map(self, path: Path, depth: int, place: Place) -> MapNode:
        entries: dict[str, Entry] = {}
        self.take()
        if self.skip() == "}":
            self.take()
            return MapNode(entries, place)
        while True:
            self.skip()
            key_place, key = self.place(), self.string()
            self.take()
            value = self.node((*path, key), depth + 1)
            if key in entries:
                first = entries[key].key_place.line
                self.findings.add(key_place, (*path, key), f"given twice; first on line {first}")
            else:
                entries[key] = Entry(key_place, value)
            if self.take() == "}":
                return MapNode(entries, place)
