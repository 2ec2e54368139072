"""Nodes against the table: values, and a problem for each that does not fit.

What comes out holds only what was given and is right, as Decimal, int, bool, str, list and dict.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, assert_never

from config import table
from config.kinds import (
    Choice,
    Field,
    Flag,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Moment,
    Named,
    Number,
    Params,
    Paths,
    Secret,
    Section,
    Text,
    allowed,
)
from config.nodes import Entry, ListNode, MapNode, Node, Path, Place, ScalarNode, dotted, is_null
from config.problems import Findings, quoted, shown, suggestion
from config.scalars import (
    DECIMALS_MAX,
    DIGITS_MAX,
    decimal_of,
    moment_ns_of,
    moment_ns_of_ms,
    plain_number_of,
    whole_of,
)

SECRETS_ONLY = (
    f"the environment is for secrets only ({', '.join(table.SECRETS)}), as a run must be told whole by its files and"
    " options; write the value itself, or give it with --set"
)


class Missing:
    """The value of what is not there or not right."""


MISSING = Missing()


def read(root: Node, findings: Findings) -> dict[str, Any]:
    """Return the values of a whole config; problems go to `findings`."""
    if not isinstance(root, MapNode):
        text = f"{shown(root)} is not allowed; a config is fields with values, such as timeframe: 1m"
        findings.stop(root.place, (), text)
    values = _Reader(findings).value(table.ROOT, root, (), root.place)
    assert isinstance(values, dict)
    return values


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.homes = table.homes()

    def refuse(self, kind: Kind, node: Node, path: Path, place: Place, more: str = "") -> Missing:
        what = "[hidden]" if isinstance(kind, Secret) else shown(node)
        text = f"{what} is not allowed; {allowed(kind)}"
        if isinstance(kind, Choice) and isinstance(node, ScalarNode):
            text += suggestion(node.text, kind.words)
        self.findings.add(place, path, text + more)
        return MISSING

    def value(self, kind: Kind, node: Node, path: Path, place: Place) -> Any:  # noqa: PLR0911  each kind its reader
        """Return the value of `node` as `kind`, or MISSING; `place` is where its key stands."""
        if refers_to_environment(node) and not isinstance(kind, Secret):
            self.findings.add(place, path, f"{shown(node)} is not allowed: {SECRETS_ONLY}")
            return MISSING
        match kind:
            case Number():
                return self.number(kind, node, path, place)
            case Integer():
                whole = whole_of(node.text) if isinstance(node, ScalarNode) and node.form == "number" else None
                if whole is None or not kind.minimum <= whole <= kind.maximum:
                    return self.refuse(kind, node, path, place)
                return whole
            case Flag():
                if isinstance(node, ScalarNode) and node.form == "flag":
                    return node.text.lower() == "true"
                return self.refuse(kind, node, path, place)
            case Choice():
                return self.text(kind, node, path, place, fits=lambda text: text in kind.words)
            case Text():
                return self.text(kind, node, path, place, fits=re.compile(kind.pattern).fullmatch)
            case Paths():
                return self.refuse(kind, node, path, place, "; only a file builds on others, so not here")
            case Moment():
                return self.moment(kind, node, path, place)
            case Params():
                return self.params(kind, node, path, place)
            case ListOf():
                return self.list(kind, node, path, place)
            case MapOf():
                return self.map(kind, node, path, place)
            case Section():
                return self.section(kind, node, path, place)
            case Named():
                if isinstance(node, ScalarNode) and node.form == "text":
                    node = named(node)
                elif not isinstance(node, MapNode):
                    return self.refuse(kind, node, path, place)
                return self.section(kind.section, node, path, place)
            case _:
                assert_never(kind)

    def number(self, kind: Number, node: Node, path: Path, place: Place) -> Decimal | Missing:
        # Text is taken too: JSON writers put exact numbers in quotes.
        if not isinstance(node, ScalarNode) or node.form not in {"number", "text"}:
            return self.refuse(kind, node, path, place)
        value = decimal_of(node.text)
        if value is None:
            beyond = f", of at most {DIGITS_MAX} digits, {DECIMALS_MAX} of them after the point"
            return self.refuse(kind, node, path, place, beyond if node.text.strip("+-")[:1].isdecimal() else "")
        low = kind.minimum is None or value >= kind.minimum
        above = kind.above is None or value > kind.above
        high = kind.maximum is None or value <= kind.maximum
        return value if low and above and high else self.refuse(kind, node, path, place)

    def text(self, kind: Choice | Text, node: Node, path: Path, place: Place, fits: Any) -> str | Missing:
        if isinstance(node, ScalarNode) and node.form == "text" and fits(node.text) and _storable(node.text):
            return node.text
        return self.refuse(kind, node, path, place)

    def moment(self, kind: Moment, node: Node, path: Path, place: Place) -> int | Missing:
        ts_ns: int | None = None
        if isinstance(node, ScalarNode) and node.form == "number":
            ts_ns = moment_ns_of_ms(node.text)
        elif isinstance(node, ScalarNode) and node.form == "text":
            ts_ns = moment_ns_of(node.text)
        return self.refuse(kind, node, path, place) if ts_ns is None else ts_ns

    def params(self, kind: Params, node: Node, path: Path, place: Place) -> dict[str, Any] | Missing:
        if not isinstance(node, MapNode):
            return {} if is_null(node) else self.refuse(kind, node, path, place)
        values: dict[str, Any] = {}
        for name, entry in node.entries.items():
            value: Any = None
            match entry.node:
                case ScalarNode(form="flag", text=text):
                    value = text.lower() == "true"
                case ScalarNode(form="number", text=text):
                    value = plain_number_of(text)
                case ScalarNode(form="text") if refers_to_environment(entry.node):
                    self.findings.add(
                        entry.key_place, (*path, name), f"{shown(entry.node)} is not allowed: {SECRETS_ONLY}"
                    )
                    continue
                case ScalarNode(form="text", text=text) if _storable(text):
                    value = text
            if value is None or not name or not _storable(name):
                text = f"{shown(entry.node)} is not allowed; a finite number, true or false, or text"
                self.findings.add(entry.key_place, (*path, name), text)
            else:
                values[name] = value
        return values

    def list(self, kind: ListOf, node: Node, path: Path, place: Place) -> list[Any] | Missing:
        if is_null(node) and not kind.count_min:
            return []
        if not isinstance(node, ListNode) or len(node.items) < kind.count_min:
            return self.refuse(kind, node, path, place, " (this one is empty)" if isinstance(node, ListNode) else "")
        values: list[Any] = []
        seen: set[Any] = set()
        for index, item in enumerate(node.items):
            value = self.value(kind.item, item, (*path, index), item.place)
            if kind.unique and value in seen:
                self.findings.add(item.place, (*path, index), f"{shown(item)} is given twice")
            elif value is not MISSING:
                values.append(value)
                if kind.unique:
                    seen.add(value)
        return values

    def map(self, kind: MapOf, node: Node, path: Path, place: Place) -> dict[str, Any] | Missing:
        if not isinstance(node, MapNode):
            return {} if is_null(node) else self.refuse(kind, node, path, place)
        values: dict[str, Any] = {}
        for name, entry in node.entries.items():
            below = (*path, name)
            if re.fullmatch(kind.key.pattern, name) is None:
                self.findings.add(entry.key_place, below, f"{quoted(name)} is not allowed; {kind.key.allowed}")
            else:
                values[name] = self.value(kind.item, entry.node, below, entry.key_place)
        return {name: value for name, value in values.items() if value is not MISSING}

    def section(self, kind: Section, node: Node, path: Path, place: Place) -> dict[str, Any] | Missing:
        if is_null(node):  # a section whose lines are all commented out
            node = MapNode({}, place)
        if not isinstance(node, MapNode):
            return self.refuse(kind, node, path, place)
        values: dict[str, Any] = {}
        for name, entry in node.entries.items():
            field = kind.field(name)
            if field is None:
                self.findings.add(entry.key_place, (*path, name), self.unknown(name, kind, path))
            elif not (field.nullable and is_null(entry.node)):
                values[name] = self.value(field.kind, entry.node, (*path, name), entry.key_place)
        for field in kind.fields:
            if field.required and field.name not in node.entries:
                self.findings.add(place, (*path, field.name), missing(field))
        return {name: value for name, value in values.items() if value is not MISSING}

    def unknown(self, name: str, kind: Section, path: Path) -> str:
        here = [field.name for field in kind.fields]
        elsewhere = [home for home in self.homes.get(name, ()) if home.rpartition(".")[0] != dotted(path)]
        near = suggestion(name, here)
        if len(elsewhere) == 1:
            return f"unknown field; it belongs at {quoted(elsewhere[0])}"
        return f"unknown field{near or '; known are ' + ', '.join(here)}"


def named(node: ScalarNode) -> MapNode:
    """Return the section that a bare name stands for."""
    return MapNode({"name": Entry(node.place, node)}, node.place)


def refers_to_environment(node: Node) -> bool:
    """Whether a value wants to be taken from the environment."""
    return isinstance(node, ScalarNode) and node.form == "text" and "${env:" in node.text


def missing(field: Field) -> str:
    """Return what is said of a field that must be there."""
    return f"missing; {allowed(field.kind)}"


def _storable(text: str) -> bool:
    """Whether text can be written as UTF-8 (escapes can make halves of characters that cannot)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
