"""What a config file says, before anyone asks whether it is right: scalars, lists and maps with their lines.

YAML, JSON and TOML all become this one tree, so that everything after it is written once. Scalars stay text:
a number is turned into a Decimal straight from what the user wrote, never by way of a float.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]
Form = Literal["null", "flag", "number", "text"]

DEPTH_MAX = 32
NODES_MAX = 50_000


class Place(msgspec.Struct, frozen=True):
    """Where a value was written: a file and line, or (line 0) an option of the command line for `path`."""

    origin: str
    line: int = 0
    path: str = ""
    column: int = 0

    def label(self) -> str:
        """Return the place as a message begins with it: `ema.yaml:7`, `ema.yaml:7:12`, `--set a.b=c`."""
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join((self.origin, *numbers))


class ScalarNode(msgspec.Struct, frozen=True):
    """One value; `text` is what was written, without quotes."""

    form: Form
    text: str
    place: Place


class ListNode(msgspec.Struct, frozen=True):
    """Values in order."""

    items: tuple[Node, ...]
    place: Place


class Entry(msgspec.Struct, frozen=True):
    """A value and the place of its key."""

    key_place: Place
    node: Node


class MapNode(msgspec.Struct, frozen=True):
    """Values by name, in the order of the file."""

    entries: dict[str, Entry]
    place: Place


Node: TypeAlias = ScalarNode | ListNode | MapNode


def dotted(path: Path) -> str:
    """Return a path as users write it: `strategies[1].params.fast`."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f".{step}" if parts else step)
    return "".join(parts)


def find(root: Node, path: Path) -> Node | None:
    """Return the node at `path`, or None."""
    node: Node | None = root
    for step in path:
        node = child(node, step)
    return node


def child(node: Node | None, step: Step) -> Node | None:
    """Return the node one step below, or None."""
    match node:
        case MapNode() if isinstance(step, str) and step in node.entries:
            return node.entries[step].node
        case ListNode() if isinstance(step, int) and 0 <= step < len(node.items):
            return node.items[step]
        case _:
            return None


def place_of(root: Node, path: Path) -> Place:
    """Where the key of `path` stands, or the nearest thing above it that is there."""
    place, node = root.place, root
    for step in path:
        below = child(node, step)
        if below is None:
            break
        place = node.entries[str(step)].key_place if isinstance(node, MapNode) else below.place
        node = below
    return place


def is_null(node: Node | None) -> bool:
    """Whether nothing stands there: no key, or a key without a value."""
    return node is None or (isinstance(node, ScalarNode) and node.form == "null")
