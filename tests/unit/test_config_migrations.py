"""Documents of other versions: brought to the newest in memory, or refused; by one way, whoever reads them.

There is one version so far; so the steps are the test's, taken through the function that files and stored configs take.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from config.document import from_document, to_document
from config.loader import load, parse, resolve
from config.migrations import STEPS, VERSION, migrate
from config.nodes import Entry, ListNode, MapNode, Node, Place, ScalarNode, child, place_of
from config.problems import Findings
from config.yaml_nodes import read_yaml
from engine.errors import ConfigError

RUN = "symbols: [BTCUSDT]\ntimeframe: 1m\n"


def cash_is_named(root: MapNode) -> tuple[MapNode, Sequence[tuple[Place, str]]]:
    """Version 1 to 2 of the test: `cash` is called `initial_cash`."""
    if "cash" not in root.entries:
        return root, ()
    entry = root.entries["cash"]
    entries = {("initial_cash" if name == "cash" else name): each for name, each in root.entries.items()}
    return MapNode(entries, root.place), [(entry.key_place, "`cash` is called `initial_cash`")]


def market_is_listed(root: MapNode) -> tuple[MapNode, Sequence[tuple[Place, str]]]:
    """Version 2 to 3 of the test: `market` is a list, `symbols`."""
    entries = dict(root.entries)
    entry = entries.pop("market", None)
    if entry is None:
        return root, ()
    entries["symbols"] = Entry(entry.key_place, ListNode((entry.node,), entry.node.place))
    return MapNode(entries, root.place), [(entry.key_place, "`market` is a list, `symbols`")]


STEPS_OF_TEST = (cash_is_named, market_is_listed)


def tree(text: str) -> Node:
    return read_yaml(text, Findings("old.yaml"))


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (
            "market: A\ncash: 5\n",
            (
                "old.yaml:2: version 1 to 2: `cash` is called `initial_cash`",
                "old.yaml:1: version 2 to 3: `market` is a list, `symbols`",
            ),
        ),
        ("version: 2\nmarket: A\n", ("old.yaml:2: version 2 to 3: `market` is a list, `symbols`",)),
        ("version: 3\nsymbols: [A]\n", ()),
        ("symbols: [A]\n", ()),
    ],
)
def test_each_step_from_its_version_on(text: str, notes: tuple[str, ...]) -> None:
    migrated = migrate(tree(text), Findings("old.yaml"), STEPS_OF_TEST)
    assert migrated.notes == notes
    symbols = child(migrated.root, "symbols")
    assert isinstance(symbols, ListNode)
    assert [item.text for item in symbols.items if isinstance(item, ScalarNode)] == ["A"]
    given = child(migrated.root, "version")
    assert given is None or (isinstance(given, ScalarNode) and given.text == "3")


def test_values_keep_their_places() -> None:
    migrated = migrate(tree("version: 1\nmarket: A\ncash: 5\n"), Findings("old.yaml"), STEPS_OF_TEST)
    assert place_of(migrated.root, ("initial_cash",)).label() == "old.yaml:3"
    assert place_of(migrated.root, ("symbols", 0)).label() == "old.yaml:2"
    assert place_of(migrated.root, ("version",)).label() == "old.yaml:1"


def test_a_document_is_left_to_the_reader_where_its_version_is_none() -> None:
    for text in ("version: x\nmarket: A\n", "version: 0\nmarket: A\n", "version:\nmarket: A\n", "[1]"):
        root = tree(text)
        assert migrate(root, Findings("old.yaml"), STEPS_OF_TEST).root == root


def test_the_newest_version_is_the_steps_end() -> None:
    assert len(STEPS) + 1 == VERSION
    document = to_document(parse(RUN, "yaml", source="x"))
    assert document["version"] == VERSION


NEWER = f"version: {VERSION + 1} is not allowed; {VERSION}, the newest that this Tapewright reads: update Tapewright"


def test_a_newer_version_is_refused_by_everyone_who_reads(tmp_path: Path) -> None:
    """What else stands in it is not told: a newer version may mean other things by it."""
    text = f"{RUN}version: {VERSION + 1}\nwhatever: 1\n"
    (tmp_path / "new.yaml").write_text(text)
    (tmp_path / "top.yaml").write_text("extends: new.yaml\n")
    document = {**to_document(parse(RUN, "yaml", source="x")), "version": VERSION + 1}
    for read in (
        lambda: load(tmp_path / "new.yaml"),
        lambda: resolve(tmp_path / "top.yaml"),
        lambda: from_document(json.loads(json.dumps(document))),
        lambda: parse(text, "yaml", source="x"),
    ):
        with pytest.raises(ConfigError) as caught:
            read()
        assert [problem.partition(": ")[2] for problem in caught.value.problems] == [NEWER]
