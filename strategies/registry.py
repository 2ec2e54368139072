"""Which strategies there are: files found by path, the user's own before the shipped ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import InputMissingError, StrategyError, TapewrightError
from engine.settings import Sizing
from engine.strategy import InputValue, Schema, Strategy, resolve_params, source_digest
from strategies.entry_exit import join
from strategies.loading import load_strategy, read_source
from strategies.parts import Part, PartKind, load_part
from strategies.plugins import load_plugin

Kind = Literal["strategy", "entry", "exit", "indicator"]
KINDS: tuple[Kind, ...] = ("strategy", "entry", "exit", "indicator")
SHIPPED = Path(__file__).resolve().parent
_FOLDERS: dict[Kind, tuple[str, ...]] = {
    "strategy": ("custom", "builtins"),
    "entry": ("entry",),
    "exit": ("exit",),
    "indicator": ("indicators",),
}


class Listed(msgspec.Struct, frozen=True):
    """One file that was looked at. Broken: no schema, but the reason. Hidden: another file has its id or name."""

    kind: Kind
    name: str
    """The schema's id; the file's name where it is an entry, an exit, or broken."""
    file: str
    """The file as users know it, from `strategies/` on."""
    path: Path
    is_shipped: bool
    source_hash: str = ""
    schema: Schema | None = None
    error: str = ""
    remedy: str = ""
    hidden_by: str = ""


class Registry:
    """The strategies, entries and exits of a home folder, and the shipped ones. Nothing is kept between calls."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def load(self, name: str) -> Strategy:
        """Load a strategy by its file's name or its schema's id.

        Raises InputMissingError with the nearest name where there is none, StrategyError where its file is broken: a
        user's file that does not load must not leave its place to a shipped strategy of the same name.
        """
        for folder in self._folders("strategy"):
            if folder.parent == SHIPPED:
                self._refuse_misplaced(name)
            files = _files(folder)
            named = [path for path in files if path.stem == name]
            if named:
                return _loaded(named[0], name)
            # Only a file that has the id in its text is run, so that others cannot get in the way.
            for path in files:
                source = read_source(path) if path.is_file() else b""
                if name.encode() not in source:
                    continue
                strategy = _loaded(path, name) if _is_quoted(name, source) else _loaded_or_none(path)
                if strategy is not None and strategy.schema.id == name:
                    return strategy
        raise self._not_found("strategy", name)

    def load_entry(self, name: str, params: Mapping[str, object] | None = None) -> Part:
        """Load `strategies/entry/{name}.py` with these parameters; raises as `load` does."""
        return self._load_part("entry", name, {} if params is None else params)

    def load_exit(self, name: str, params: Mapping[str, object] | None = None) -> Part:
        """Load `strategies/exit/{name}.py` with these parameters; raises as `load` does."""
        return self._load_part("exit", name, {} if params is None else params)

    def build(self, name: str, params: Mapping[str, object] | None = None) -> tuple[Strategy, dict[str, InputValue]]:
        """Load a strategy and resolve its parameters."""
        strategy = self.load(name)
        return strategy, resolve_params(strategy.schema, {} if params is None else params)

    def build_entry_exit(
        self, entry: str, entry_params: Mapping[str, object], exit_name: str, exit_params: Mapping[str, object],
        sizing: Sizing, timeframes: tuple[str, str] = ("", ""),
    ) -> tuple[Strategy, dict[str, InputValue]]:  # fmt: skip
        """Load an entry and an exit as one strategy; its parameters are `entry_NAME` and `exit_NAME`."""
        return join(self.load_entry(entry, entry_params), self.load_exit(exit_name, exit_params), sizing, timeframes)

    def listing(self) -> list[Listed]:
        """Every file, strategies first, in the order in which they are looked for; broken ones with their reason."""
        listed = []
        for kind in KINDS:
            taken: dict[str, str] = {}
            for folder in self._folders(kind):
                for path in _files(folder):
                    found = self.look(path, kind)
                    names = [path.stem, *([found.name] if found.name != path.stem else [])]
                    hidden_by = next((taken[name] for name in names if name in taken), "")
                    for name in names:
                        taken.setdefault(name, found.file)
                    listed.append(msgspec.structs.replace(found, hidden_by=hidden_by))
        return listed

    def look(self, path: Path, kind: Kind | None = None) -> Listed:
        """Load one file and say what it is, or why it is broken. The folder's name tells an entry or exit."""
        kind = kind_of(path) if kind is None else kind
        found = Listed(kind, path.stem, self._shown(path), path, path.resolve().is_relative_to(SHIPPED))
        try:
            if kind == "strategy":
                strategy = load_strategy(path)
                schema, digest, name = strategy.schema, strategy.source_hash, strategy.schema.id
            elif kind == "indicator":
                plugin = load_plugin(path)
                schema, digest, name = plugin.schema, plugin.definition.source_hash, path.stem
            else:
                part = load_part(path, kind, None)
                schema, digest, name = part.schema, source_digest(part.source), part.name
        except TapewrightError as error:
            return msgspec.structs.replace(found, error=error.message, remedy=error.remedy)
        return msgspec.structs.replace(found, name=name, schema=schema, source_hash=digest)

    def files(self, kind: Kind, name: str) -> list[Path]:
        """Files of a kind by name or id, the one that runs first."""
        same = [each for each in self.listing() if each.kind == kind and name in {each.name, each.path.stem}]
        return [each.path for each in same]

    def not_found(self, name: str) -> InputMissingError:
        """The error for a name that is neither a strategy nor an entry nor an exit."""
        return self._not_found("strategy", name)

    def _refuse_misplaced(self, name: str) -> None:
        """Raise StrategyError where a shipped strategy would run, as the user's of that name lies a folder too high."""
        path = self.home / "strategies" / f"{name}.py"
        if _is_shipped(name) and path.is_file() and path.parent.resolve() != SHIPPED:
            raise StrategyError(
                f"{path} lies where no strategy is looked for, and there is a shipped one of its name",
                remedy=f"Move it to {path.parent / 'custom'}, or rename it so that the shipped {name} runs.",
            )

    def _load_part(self, kind: PartKind, name: str, params: Mapping[str, object]) -> Part:
        for folder in self._folders(kind):
            for path in _files(folder):
                if path.stem == name:
                    return load_part(path, kind, params)
        raise self._not_found(kind, name)

    def _folders(self, kind: Kind) -> Iterator[Path]:
        """Folders to look in, in order, each once (the home folder may be where the shipped files lie)."""
        seen = set()
        for root in (self.home / "strategies", SHIPPED):
            for name in _FOLDERS[kind]:
                folder = root / name
                if folder.is_dir() and folder.resolve() not in seen and (root is not SHIPPED or name != "custom"):
                    seen.add(folder.resolve())
                    yield folder

    def _shown(self, path: Path) -> str:
        for root in (self.home.resolve(), SHIPPED.parent):
            if path.resolve().is_relative_to(root):
                return path.resolve().relative_to(root).as_posix()
        return str(path)

    def _not_found(self, kind: Kind, name: str) -> InputMissingError:
        known = {each: [path.stem for folder in self._folders(each) for path in _files(folder)] for each in KINDS}
        near = difflib.get_close_matches(name, known[kind], n=1)
        guess = f' Did you mean "{near[0]}"?' if near else ""
        others = [each for each in KINDS if each != kind and name in known[each]]
        if others and not near:
            guess = f" There is an {others[0]} of that name."
        title = "Strategy" if kind == "strategy" else f"{kind.capitalize()} strategy"
        folder = "custom" if kind == "strategy" else kind
        plain = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name) or "my_idea"
        return InputMissingError(
            f'{title} not found: "{name}".{guess}', remedy=f"Create strategies/{folder}/{plain}.py"
        )


def kind_of(path: Path) -> Kind:
    """What a file is, by the folder that it lies in."""
    match path.resolve().parent.name:
        case "entry":
            return "entry"
        case "exit":
            return "exit"
        case "indicators":
            return "indicator"
        case _:
            return "strategy"


def _files(folder: Path) -> list[Path]:
    """Strategy files of a folder by name, links that lead nowhere too; those that start with _ or . are left out."""
    try:
        found = [path for path in folder.iterdir() if path.suffix == ".py" and path.name[0] not in "_."]
        return sorted(path for path in found if path.is_file() or path.is_symlink())
    except OSError as error:
        raise StrategyError(f"{folder} cannot be read: {error.strerror or error}", remedy="Check its rights.") from None


def _is_shipped(name: str) -> bool:
    """Whether a shipped strategy has this name."""
    return name in {path.stem for path in _files(SHIPPED / "builtins")}


def _loaded(path: Path, name: str) -> Strategy:
    """Load what is taken for the strategy `name`; an error says what else to do where a shipped one has that name."""
    try:
        return load_strategy(path)
    except TapewrightError as error:
        if _is_shipped(name):
            error.remedy = (
                f"Correct the file, or give it another name and id if the shipped {name} is to run,"
                " and run: tapewright strategies check"
            )
        raise


def _loaded_or_none(path: Path) -> Strategy | None:
    try:
        return load_strategy(path)
    except StrategyError:
        return None


def _is_quoted(name: str, source: bytes) -> bool:
    """Whether a name stands in quotes in a text, as a schema's id does: where the code does not run, this is known."""
    return any(quote + name.encode() + quote in source for quote in (b'"', b"'"))
