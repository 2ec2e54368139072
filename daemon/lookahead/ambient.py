"""What a strategy's code reaches for outside of `ctx`: files, databases, the network, other processes.

Python tells of these through audit hooks. Libraries that open files in their own machine code do not, so the readers
of those that are known (polars, pandas, pyarrow, duckdb) are made to tell as well, before the strategy is loaded.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import msgspec

from engine.lookahead.decisions import Place

_OWN = Path(__file__).resolve().parents[2]
_OURS = tuple(f"{_OWN / name}{os.sep}" for name in ("engine", "adapters", "config", "daemon"))
_LIBRARIES = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_SYSTEM = ("/usr/share/zoneinfo/", "/etc/localtime", "/dev/", "/proc/", "/sys/")
_CODE = frozenset({".py", ".pyc", ".pyi", ".so", ".pyd", ".nbi", ".nbc", ".pth"})
_READERS: Mapping[str, tuple[str, ...]] = {
    "polars": ("read_", "scan_"),
    "pandas": ("read_",),
    "pyarrow.parquet": ("read_", "ParquetFile", "ParquetDataset"),
    "pyarrow.feather": ("read_",),
    "pyarrow.csv": ("read_", "open_"),
    "pyarrow.dataset": ("dataset",),
    "duckdb": ("connect", "read_", "query", "sql", "execute"),
}


class Reach(msgspec.Struct, frozen=True):
    """Something outside that a strategy's code reached for, and the line that did."""

    what: str
    place: Place


class Ambient:
    """While entered, hears what users' code reaches for outside; the first time from each line."""

    def __init__(self) -> None:
        self.found: list[Reach] = []
        self._lines: set[tuple[str, int, str]] = set()

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event."""
        what = _told(event, arguments)
        if not what:
            return
        place = _place()
        if place is not None and (place.path, place.line, what) not in self._lines:
            self._lines.add((place.path, place.line, what))
            self.found.append(Reach(what, place))


_listening: list[Ambient] = []  # Python's audit hooks cannot be taken away again, so there is one, and it looks here
_is_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event in _EVENTS:
        _listening[-1].hear(event, arguments)


@contextlib.contextmanager
def listening(ambient: Ambient) -> Iterator[None]:
    """Let it hear what happens inside."""
    if not _is_hooked:
        sys.addaudithook(_hook)
        _is_hooked.append(True)
    _listening.append(ambient)
    try:
        yield
    finally:
        _listening.remove(ambient)


@contextlib.contextmanager
def telling_readers(sources: Iterable[str]) -> Iterator[None]:
    """Let libraries that open files by themselves tell of it: polars, and those that these texts name."""
    text = "\n".join(sources)
    put_back: list[tuple[ModuleType, str, Any]] = []
    for name, readers in _READERS.items():
        if name != "polars" and name.partition(".")[0] not in text:
            continue
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            for each in dir(module):
                reader = getattr(module, each)
                if callable(reader) and not isinstance(reader, type) and each.startswith(readers):
                    put_back.append((module, each, reader))
                    setattr(module, each, _telling(reader))
    try:
        yield
    finally:
        for module, each, reader in put_back:
            setattr(module, each, reader)


def _telling(reader: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reader)
    def told(*arguments: Any, **keywords: Any) -> Any:
        source = next((each for each in (*arguments, *keywords.values()) if isinstance(each, str | Path)), None)
        if source is not None and _listening:
            _listening[-1].hear("open", (source, "r", 0))
        return reader(*arguments, **keywords)

    return told


def _opened(arguments: tuple[Any, ...]) -> str:
    name, mode, flags = (*arguments, None, None, None)[:3]
    if not isinstance(name, str | bytes | os.PathLike):
        return ""
    is_read = any(letter in mode for letter in "r+") if isinstance(mode, str) else not _is_write_only(flags)
    path = os.fsdecode(name)
    whole = str(Path(path).absolute())
    if not is_read or Path(path).suffix in _CODE or whole.startswith((*_SYSTEM, *_LIBRARIES)):
        return ""
    return f"reads the file {path}"


def _is_write_only(flags: object) -> bool:
    return isinstance(flags, int) and (flags & (os.O_WRONLY | os.O_RDWR)) == os.O_WRONLY


def _named(arguments: tuple[Any, ...], place: int) -> str:
    found = arguments[place] if len(arguments) > place else ""
    return os.fsdecode(found) if isinstance(found, str | bytes | os.PathLike) else str(found)


_EVENTS: Mapping[str, Callable[[tuple[Any, ...]], str]] = {
    "open": _opened,
    "sqlite3.connect": lambda arguments: f"opens the database {_named(arguments, 0)}",
    "socket.connect": lambda arguments: f"connects to {_named(arguments, 1)}",
    "socket.getaddrinfo": lambda arguments: f"looks up {_named(arguments, 0)}",
    "urllib.Request": lambda arguments: f"asks {_named(arguments, 0)}",
    "subprocess.Popen": lambda arguments: f"starts {_named(arguments, 0)}",
    "os.system": lambda arguments: f"starts {_named(arguments, 0)}",
    "os.posix_spawn": lambda arguments: f"starts {_named(arguments, 0)}",
    "os.exec": lambda arguments: f"starts {_named(arguments, 0)}",
}


def _told(event: str, arguments: tuple[Any, ...]) -> str:
    return _EVENTS[event](arguments)


def _place() -> Place | None:
    """The line of users' code that this comes from; None where our code or an import comes before it."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the only way to a caller's line
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return None
        if not name.startswith("<") and not name.startswith(_LIBRARIES) and name != __file__:
            return None if _is_ours(name) else Place(name, frame.f_lineno)
        frame = frame.f_back
    return None


def _is_ours(name: str) -> bool:
    """The program's own code; the strategies that are shipped are users' code like any other."""
    return name.startswith(_OURS) or Path(name).parent == _OWN / "strategies"
