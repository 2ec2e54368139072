"""Options of the command line put into a file's tree: `--strategy NAME` first, then each `--set a.b=c`, then the mode.

They change nodes before anything is checked; so what they set is checked, and told, as lines of the file are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from config.kinds import Kind, ListOf, MapOf, Named, Section
from config.model import Mode
from config.nodes import Entry, ListNode, MapNode, Node, Path, Place, ScalarNode, Step, child, is_null, place_of
from config.problems import Findings, quoted, shown, suggestion
from config.reader import named
from config.table import ROOT, SECRETS
from config.yaml_nodes import read_value

_STEP = re.compile(r'\.?(?:"(?P<quoted>[^"]+)"|(?P<name>[^.\[\]"=]+))|\[(?P<index>[0-9]{1,6})\]')


def with_strategy(root: Node, name: str, findings: Findings) -> Node:
    """Return the tree with the strategy that the command line names.

    Of several `strategies` it selects one, by id or name. A single `strategy` of that name, or without one,
    keeps its parameters; another is replaced.
    """
    place = Place(f"--strategy {name}", path="strategy.name")
    listed = child(root, "strategies")
    if isinstance(listed, ListNode):
        chosen = tuple(item for item in listed.items if name in _names(item))
        if not chosen:
            known = [known for item in listed.items for known in _names(item)]
            more = suggestion(name, known) or f": {', '.join(known)}"
            text = f"{quoted(name)} is none of the file's strategies{more}"
            findings.add(place, ("strategy", "name"), text)
            return root
        return _with(root, "strategies", ListNode(chosen, listed.place), listed.place)
    current = child(root, "strategy")
    if isinstance(current, MapNode) and (
        name in _names(current) or not {"name", "entry", "exit"} & set(current.entries)
    ):
        base = current
    elif isinstance(current, ScalarNode) and current.text == name:
        return root
    else:
        base = MapNode({}, place)
    if name in _names(base):
        return root
    node = ScalarNode("text", name, place)
    return _with(root, "strategy", _with(base, "name", node, place), place)


def _names(item: Node) -> list[str]:
    """Return the names that a strategy goes by."""
    if isinstance(item, ScalarNode):
        return [item.text]
    found = [child(item, "id"), child(item, "name")]
    names = [node.text for node in found if isinstance(node, ScalarNode) and node.form == "text"]
    entry, leave = child(item, "entry"), child(item, "exit")
    if entry is not None and leave is not None:
        names += [f"{first}_{second}" for first in _names(entry) for second in _names(leave)]
    return names


def with_settings(root: Node, settings: Sequence[str], findings: Findings) -> Node:
    """Return the tree with every `a.b=c` put in, in their order."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        place = Place(f"--set {setting}", path=name.strip())
        path = _steps(name.strip())
        if name.strip() in SECRETS and "${env:" not in text:
            place = Place(f"--set {name}=[hidden]", path=name.strip())  # a secret, where only its name belongs
        if not equals or not path:
            findings.add(place, (), "not a setting; write path=value, such as leverage=2 or strategy.params.fast=20")
            continue
        value = read_value(text, findings, place)
        root = _put(root, ROOT, path, value, place, findings)
    return root


def with_mode(root: Node, mode: Mode, findings: Findings) -> Node:
    """Return the tree with the mode that the command stands for; a problem where the file says another one."""
    place = Place(findings.origin, 1)
    given = child(root, "mode")
    if isinstance(given, ScalarNode) and given.text in get_args(Mode) and given.text != mode:
        text = f"{shown(given)} is not allowed here, as the command is for mode {mode}; {mode}, or leave it out"
        findings.add(place_of(root, ("mode",)), ("mode",), text)
    elif given is not None:
        return root
    return _with(root, "mode", ScalarNode("text", mode, place), place)


def _steps(text: str) -> Path:
    """`strategies[1].params.fast` as steps; empty where the text is no path."""
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (position == 0 and (text[0] in ".[")):
            return ()
        if match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["quoted"] or match["name"])
        position = match.end()
    return tuple(steps)


def _put(node: Node, kind: Kind | None, path: Path, value: Node, place: Place, findings: Findings) -> Node:
    """`node` with `value` at `path`; sections on the way are made, bare names become sections."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(kind, Named):
        node = named(node) if isinstance(node, ScalarNode) and node.form == "text" else node
        kind = kind.section
    if isinstance(node, ListNode):
        index = int(step) if str(step).isdecimal() else -1
        if not 0 <= index <= len(node.items):
            findings.add(place, (), f"{quoted(str(step))} is no index of this list of {len(node.items)}")
            return node
        below_kind = kind.item if isinstance(kind, ListOf) else None
        old = node.items[index] if index < len(node.items) else ScalarNode("null", "", place)
        new = _put(old, below_kind, rest, value, place, findings)
        return ListNode((*node.items[:index], new, *node.items[index + 1 :]), node.place)
    if isinstance(kind, ListOf) and is_null(node):
        return _put(ListNode((), place), kind, path, value, place, findings)
    if is_null(node):
        node = MapNode({}, place)
    if not isinstance(node, MapNode) or isinstance(step, int):
        findings.add(place, (), f"{quoted(str(step))} is not to be found in {shown(node)}")
        return node
    old = child(node, step) or ScalarNode("null", "", place)
    return _with(node, step, _put(old, _kind_below(kind, step), rest, value, place, findings), place)


def _kind_below(kind: Kind | None, step: str) -> Kind | None:
    match kind:
        case Section():
            field = kind.field(step)
            return field.kind if field else None
        case MapOf():
            return kind.item
        case _:
            return None


def _with(node: Node, name: str, value: Node, place: Place) -> Node:
    """Return a map with one value put in; the rest keeps its places."""
    if not isinstance(node, MapNode):
        return node
    old = node.entries.get(name)
    # A section that only gained a value stays where it was; a value that changed has its new place.
    key_place = value.place if old is None or value.place == place else old.key_place
    return MapNode({**node.entries, name: Entry(key_place, value)}, node.place)
