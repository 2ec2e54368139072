"""Files that build on others: `extends` read and merged to one tree, in which every value keeps its own place.

Later layers win: of a list the later ones, and a file over all that it builds on. Sections are merged field by field,
lists are replaced, and null takes away what was said before. A strategy of another name is another one, so nothing of
the earlier one's stays with it; and of two fields that say the same, the later layer's stands.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from config.files import FORMATS, read_file
from config.kinds import Kind, Named, allowed, kind_below
from config.migrations import migrate
from config.nodes import Entry, ListNode, MapNode, Node, ScalarNode, child, find, is_null
from config.nodes import Path as Steps
from config.problems import Findings, quoted, shown
from config.reader import named
from config.table import EXCLUSIVE, EXTENDS, ROOT, SHORT_FOR

EXTENDS_NAME = "extends"
LAYERS_MAX = 32


class Layered(msgspec.Struct, frozen=True):
    """The tree of a file on all that it builds on, the files that were read, and what migrations changed in them."""

    root: Node
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def read_layered(path: Path, findings: Findings) -> Layered:
    """Read a file and all that it builds on. Raises OSError where the file itself cannot be read, and ConfigError."""
    layers = _Layers(findings)
    root = layers.read(path, findings, ())
    return Layered(root, tuple(dict.fromkeys(layers.files)), tuple(layers.notes))


class _Layers:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.files: list[Path] = []
        self.notes: list[str] = []

    def read(self, path: Path, findings: Findings, above: tuple[Path, ...]) -> Node:
        """One file on what it builds on; `above` are the files that lead here."""
        migrated = migrate(read_file(path, findings), findings)
        self.files.append(path)
        self.notes += migrated.notes
        root = migrated.root
        if not isinstance(root, MapNode) or EXTENDS_NAME not in root.entries:
            return root
        base: Node = MapNode({}, root.place)
        for node in self.names(root):
            base = merge(base, self.layer(path, node, (*above, path)), ROOT)
        own = {name: entry for name, entry in root.entries.items() if name != EXTENDS_NAME}
        return merge(base, MapNode(own, root.place), ROOT)

    def names(self, root: MapNode) -> list[ScalarNode]:
        """The values of `extends`, where they are right."""
        entry = root.entries[EXTENDS_NAME]
        node = entry.node
        items = node.items if isinstance(node, ListNode) else () if is_null(node) else (node,)
        found = [item for item in items if isinstance(item, ScalarNode) and item.form == "text" and _is_path(item.text)]
        if len(found) < len(items):
            wrong = next(item for item in items if item not in found)
            self.findings.add(
                entry.key_place, (EXTENDS_NAME,), f"{shown(wrong)} is not allowed; {allowed(EXTENDS)}"
            )  # fmt: skip
        return found

    def layer(self, path: Path, node: ScalarNode, above: tuple[Path, ...]) -> Node:
        """The tree of what `path` names as a base; an empty one, and a problem, where there is none to be had."""
        base = path.parent / node.text
        chain = [each.resolve() for each in above]
        text = ""
        if base.resolve() in chain:
            names = [str(each) for each in above[chain.index(base.resolve()) :]]
            text = f"{quoted(node.text)} builds on this file itself: {' > '.join([*names, str(base)])}"
        elif base.suffix.lower() not in FORMATS:
            text = f"{quoted(node.text)}: the ending {base.suffix!r} is not allowed; one of {', '.join(FORMATS)}"
        elif len(self.files) > LAYERS_MAX:
            self.findings.stop(node.place, (EXTENDS_NAME,), f"more than {LAYERS_MAX} layers")
        else:
            try:
                root = self.read(base, self.findings.at(str(base)), above)
            except OSError as error:
                text = f"{base} cannot be read: {error.strerror or error}; paths are relative to {path}"
            else:
                if isinstance(root, MapNode):
                    return root
                text = f"{base} is not a config but {shown(root)}"
        self.findings.add(node.place, (EXTENDS_NAME,), text)
        return MapNode({}, node.place)


def _is_path(text: str) -> bool:
    return 0 < len(text) <= 4096 and text.isprintable()


def merge(lower: Node, upper: Node, kind: Kind | None) -> Node:
    """`upper` laid over `lower`, both of `kind`."""
    if kind is ROOT:
        lower = _spelled_out(lower, upper)
        merged = _merged(lower, upper, kind)
        for first, second in EXCLUSIVE:
            for mine, other in ((first, second), (second, first)):
                if _given(upper, mine) and not _given(upper, other) and _given(lower, other):
                    merged = _without(merged, other)
        return merged
    return _merged(lower, upper, kind)


def _merged(lower: Node, upper: Node, kind: Kind | None) -> Node:
    if isinstance(kind, Named):
        lower, upper, kind = _section(lower), _section(upper), kind.section
        if _is_another(lower, upper):
            return upper
    if not isinstance(lower, MapNode) or not isinstance(upper, MapNode):
        return upper
    entries = dict(lower.entries)
    for name, entry in upper.entries.items():
        below = child(lower, name)
        if below is not None and is_null(entry.node):
            del entries[name]
            continue
        node = entry.node if below is None else _merged(below, entry.node, kind_below(kind, name))
        entries[name] = Entry(entry.key_place, node)
    return MapNode(entries, upper.place)


def _section(node: Node) -> Node:
    return named(node) if isinstance(node, ScalarNode) and node.form == "text" else node


def _is_another(lower: Node, upper: Node) -> bool:
    """Whether the upper of two strategies, entries or exits is not the lower one changed."""
    before, now = child(lower, "name"), child(upper, "name")
    if isinstance(now, ScalarNode):
        return not isinstance(before, ScalarNode) or before.text != now.text
    return before is not None and (child(upper, "entry") is not None or child(upper, "exit") is not None)


def _given(root: Node, path: Steps) -> bool:
    return not is_null(find(root, path))


def _spelled_out(lower: Node, upper: Node) -> Node:
    """`lower` with a short form in full, where `upper` changes a part of what it is short for."""
    for short, longs in SHORT_FOR.items():
        entry = lower.entries.get(short) if isinstance(lower, MapNode) else None
        others = [second for first, second in EXCLUSIVE if first == (short,)]
        if entry is None or is_null(entry.node) or not any(_given(upper, other) for other in others):
            continue
        lower = _without(lower, (short,))
        for section, name in longs:
            spelled = MapNode({section: Entry(entry.key_place, MapNode({name: entry}, entry.key_place))}, lower.place)
            lower = _merged(lower, spelled, ROOT)
    return lower


def _without(node: Node, path: Steps) -> Node:
    if not isinstance(node, MapNode) or path[0] not in node.entries:
        return node
    entries = dict(node.entries)
    name = str(path[0])
    entry = entries.pop(name)
    if len(path) > 1:
        entries[name] = Entry(entry.key_place, _without(entry.node, path[1:]))
    return MapNode(entries, node.place)
