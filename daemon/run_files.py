"""The files of a stored run under the home folder: its results, those of each of its symbols, its bar journals."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.errors import UsageError

_NAME = re.compile(r"[^/\x00]{1,255}")
_STAMP = re.compile(r"_\d{8}_\d{6}(_\d+)?$")
_METRICS = "metrics.json"


class _Facts(msgspec.Struct, frozen=True):
    """What a results folder says of the run that wrote it."""

    account: str = ""
    journals: dict[str, str] = {}
    journal: str | None = None


class _Metrics(msgspec.Struct, frozen=True):
    run: _Facts = _Facts()


def files_of(home: Path, name: str, symbols: list[str]) -> list[Path]:
    """The folders and files that a run of this name has written under `home`, those that are there.

    A folder or journal of one of its symbols counts where the run's own metrics.json, or the symbol's, names the other.
    """
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        return []
    results, journals = home / "results", home / "data" / "journals"
    found = dict.fromkeys(_own(home, results / name))
    found |= dict.fromkeys(each for each in [journals / f"{name}.parquet"] if each.is_file())
    stamp = _STAMP.search(name)
    if stamp is None or len(symbols) < 2:  # one symbol's folder is the run's own
        return list(found)
    for symbol in symbols:
        for folder in results.glob(f"{_escaped(symbol)}_*{stamp[0]}"):  # all of a run's folders end alike
            if folder.is_dir() and _facts(folder).account == name:
                found |= dict.fromkeys(_own(home, folder))
    return list(found)


def remove(path: Path) -> int:
    """Delete a folder or a file; returns how many bytes it held. Raises UsageError where that is not allowed."""
    try:
        if path.is_dir() and not path.is_symlink():
            size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
            shutil.rmtree(path)
        else:
            size = path.lstat().st_size
            path.unlink()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be removed: {error.strerror or error}", remedy="Remove it by hand; its rows are gone."
        ) from error
    return size


def _own(home: Path, folder: Path) -> Iterator[Path]:
    """A results folder and the journals that it names."""
    if not folder.is_dir():
        return
    facts = _facts(folder)
    yield folder
    for told in (*facts.journals.values(), *([facts.journal] if facts.journal else [])):
        path = home / told
        if path.parent == home / "data" / "journals" and path.is_file():  # never anything else, whatever stands there
            yield path


def _facts(folder: Path) -> _Facts:
    try:
        return msgspec.json.decode((folder / _METRICS).read_bytes(), type=_Metrics).run
    except (OSError, msgspec.DecodeError):
        return _Facts()


def _escaped(text: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", text)
