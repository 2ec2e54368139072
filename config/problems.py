"""Problems of a config: collected while it is read, told all at once, each on one line.

ema.yaml:7: fill_model: "close_to_opne" is not allowed; one of close_to_open, close_to_close; did you ...
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import NoReturn

import msgspec

from config.nodes import ListNode, MapNode, Node, Path, Place, ScalarNode, dotted
from engine.errors import ConfigError

REMEDY = "All fields are listed in docs/configuration.md and printed by `tapewright config schema`."
QUOTE_LENGTH_MAX = 60
PROBLEMS_MAX = 200


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    place: Place
    path: str
    text: str

    def line(self) -> str:
        """Return the problem as the user reads it."""
        if self.path and self.path != self.place.path:
            return f"{self.place.label()}: {self.path}: {self.text}"
        return f"{self.place.label()}: {self.text}"


class Findings:
    """All problems of one config, file by file in their order; options of the command line come last."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._title = origin
        self._problems: dict[Problem, None] = {}

    def at(self, origin: str) -> Findings:
        """Return the same findings for one more file: what is noted there is told with the rest."""
        part = Findings(origin)
        part._title, part._problems = self._title, self._problems
        return part

    def add(self, place: Place, path: Path, text: str) -> None:
        """Note a problem; the same one is kept once. Where there are too many, raise what there is."""
        if len(self._problems) >= PROBLEMS_MAX:
            raise self.error()
        name = dotted(path)
        shown = name if name.isprintable() else quoted(name)[1:-1]
        self._problems[Problem(place, shown, text)] = None

    def stop(self, place: Place, path: Path, text: str) -> NoReturn:
        """Note a problem after which nothing more can be read."""
        self.add(place, path, text)
        raise self.error()

    def touches(self, path: Path) -> bool:
        """Whether something at or below `path` is wrong already."""
        name = dotted(path)
        return any(
            problem.path == name or problem.path.startswith((f"{name}.", f"{name}[")) for problem in self._problems
        )

    def lines(self) -> tuple[str, ...]:
        """One line for each problem."""
        ranks = {self._title: 0}
        for problem in self._problems:
            ranks.setdefault(problem.place.origin, len(ranks))
        ordered = sorted(
            self._problems, key=lambda each: (each.place.line == 0, ranks[each.place.origin], each.place.line)
        )
        lines = [problem.line() for problem in ordered]
        if len(ordered) >= PROBLEMS_MAX:
            lines.append(f"{self._title}: too many problems; what comes after these was not read")
        return tuple(lines)

    def error(self) -> ConfigError:
        """Return the error that carries them all."""
        count = len(self._problems)
        title = f"{self._title}: {count} problem{'s' if count != 1 else ''}"
        return ConfigError(title, problems=self.lines(), remedy=REMEDY)

    def raise_if_any(self) -> None:
        """Raise ConfigError where something is wrong."""
        if self._problems:
            raise self.error()


def quoted(text: str) -> str:
    """Text in double quotes, cut to a readable length, on one line whatever it holds."""
    cut = text if len(text) <= QUOTE_LENGTH_MAX else f"{text[: QUOTE_LENGTH_MAX - 1]}…"
    return f'"{cut}"' if cut.isprintable() else json.dumps(cut)


def shown(node: Node) -> str:
    """Return the value given, as a message quotes it."""
    match node:
        case ScalarNode(form="text"):
            return quoted(node.text)
        case ScalarNode(form="null"):
            return "null"
        case ScalarNode():
            return quoted(node.text)[1:-1]
        case ListNode():
            return "a list"
        case MapNode():
            return "a section"


def suggestion(word: str, names: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known name, or nothing."""
    known = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word[:QUOTE_LENGTH_MAX].lower(), list(known), n=1)
    return f"; did you mean {quoted(known[near[0]])}?" if near else ""
