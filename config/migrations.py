"""Documents of earlier versions as the newest version has them.

A document says its `version`; one that says none is of version 1, so that files of before keep their meaning. Each step
leads from one version to the next, in memory: no file is touched. Files, their layers and stored configs all come here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from config.nodes import Entry, MapNode, Node, Place, ScalarNode, child, place_of
from config.problems import Findings
from config.scalars import whole_of

Change: TypeAlias = Callable[[MapNode], tuple[MapNode, Sequence[tuple[Place, str]]]]

# Step n leads from version n to n + 1: what the document is then, and what was changed where.
STEPS: tuple[Change, ...] = ()
VERSION = 1 + len(STEPS)


class Migrated(msgspec.Struct, frozen=True):
    """A document of the newest version, and a line for each thing that was changed on the way to it."""

    root: Node
    notes: tuple[str, ...] = ()


def migrate(root: Node, findings: Findings, steps: Sequence[Change] = STEPS) -> Migrated:
    """Bring a document to the newest version. Raises ConfigError for one of a version that is not known yet.

    What is no document, or has no right version, is left to the reader, which tells it.
    """
    newest = 1 + len(steps)
    given = child(root, "version")
    is_number = isinstance(given, ScalarNode) and given.form == "number"
    version = whole_of(given.text) if isinstance(given, ScalarNode) and is_number else None
    if version is not None and version > newest:
        text = f"{version} is not allowed; {newest}, the newest that this Tapewright reads: update Tapewright"
        findings.stop(place_of(root, ("version",)), ("version",), text)
    if not isinstance(root, MapNode) or (given is not None and (version is None or version < 1)):
        return Migrated(root)
    notes: list[str] = []
    for number, step in enumerate(steps[(version or 1) - 1 :], start=version or 1):
        root, changed = step(root)
        notes += [f"{place.label()}: version {number} to {number + 1}: {text}" for place, text in changed]
    if version is not None and version < newest:
        place = root.entries["version"].key_place
        root = MapNode({**root.entries, "version": Entry(place, ScalarNode("number", str(newest), place))}, root.place)
    return Migrated(root, tuple(notes))
