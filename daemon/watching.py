"""Files that are edited while the daemon runs: tells which of them have other content, once they are quiet.

The folders are watched, not the files: editors replace a file by renaming another over it, and a watch on the file
would die with the old one. watchfiles only wakes this up early. What counts is what lies there, looked at again every
second, so folders that come later, network file systems and a system without watches left work too, only later.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Paths = Callable[[], Collection[Path]]
# Modification time, size, number of the file; None: it is not there or cannot be read.
Look = tuple[int, int, int, int] | None

_LOOK_SECONDS = 1.0
_STEP_MS = 50
_GROUPED_MS = 100
_CHUNK_BYTES = 1 << 16


async def watch_files(paths: Paths, *, debounce_ms: int, changed: Callable[[frozenset[Path]], Awaitable[None]]) -> None:
    """Call `changed` with the files of `paths()` whose content is another, until cancelled.

    `paths` is asked again all the time; a file it names anew is taken as it is then. Changes are told when for
    `debounce_ms` nothing has happened to any of the files. A touch, or an edit taken back in that time, is none; a
    file that was deleted is one, and so is one that came. What happens while `changed` runs is told afterwards. What
    `changed` raises ends the watch, in an exception group.
    """
    wake, woken = anyio.create_memory_object_stream[None](1)
    stop = anyio.Event()
    with wake, woken:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_feel, paths, wake, stop)
            try:
                await _compare(paths, woken, debounce_ms / 1000, changed)
            finally:
                # The thread that waits inside watchfiles ends by this within a step, and by nothing else.
                stop.set()


async def _compare(
    paths: Paths, woken: MemoryObjectReceiveStream[None], quiet_seconds: float,
    changed: Callable[[frozenset[Path]], Awaitable[None]],
) -> None:  # fmt: skip
    looks = await _looks(paths())
    known = await _digests(looks)
    while True:
        with anyio.move_on_after(_LOOK_SECONDS):
            await woken.receive()
        now = await _looks(paths())
        for path in now.keys() - looks.keys():
            known |= await _digests({path: now[path]})
        if all(looks.get(path, look) == look for path, look in now.items()):
            looks = now
            continue
        looks = await _quiet(paths, now, woken, quiet_seconds)
        digests = await _digests(looks)
        different = frozenset(path for path, digest in digests.items() if known.get(path, digest) != digest)
        known = digests
        if different:
            await changed(different)


async def _quiet(
    paths: Paths, looks: dict[Path, Look], woken: MemoryObjectReceiveStream[None], quiet_seconds: float
) -> dict[Path, Look]:
    """Wait until nothing happens for long enough; what lies there then."""
    while True:
        was_woken = False
        with anyio.move_on_after(quiet_seconds):
            await woken.receive()
            was_woken = True
        now = await _looks(paths())
        if now == looks and not was_woken:
            return now
        looks = now


async def _feel(paths: Paths, wake: MemoryObjectSendStream[None], stop: anyio.Event) -> None:
    """Wake the comparison whenever something happens to one of the files or to a folder on the way to it."""
    from watchfiles import awatch
    from watchfiles._rust_notify import WatchfilesRustInternalError

    while not stop.is_set():
        named = frozenset(paths())
        folders = await anyio.to_thread.run_sync(_folders, named)
        wanted = frozenset(str(place) for path in named for place in (path.absolute(), *path.absolute().parents))
        # Folders vanish in between, and systems run out of watches: the look each second goes on alone until then.
        with contextlib.suppress(OSError, WatchfilesRustInternalError):
            changes = awatch(
                *folders, watch_filter=partial(_is_wanted, wanted), debounce=_GROUPED_MS,
                step=_STEP_MS, stop_event=stop, rust_timeout=round(_LOOK_SECONDS * 1000), yield_on_timeout=True,
                recursive=False, ignore_permission_denied=True,
            )  # fmt: skip
            async with contextlib.aclosing(changes):
                async for change in changes:
                    if change:
                        with contextlib.suppress(anyio.WouldBlock):
                            wake.send_nowait(None)
                    if frozenset(paths()) != named or await anyio.to_thread.run_sync(_folders, named) != folders:
                        break
            continue
        await anyio.sleep(_LOOK_SECONDS)


def _is_wanted(wanted: frozenset[str], _change: object, place: str) -> bool:
    return place in wanted


def _folders(paths: Collection[Path]) -> dict[Path, tuple[int, int]]:
    """The folders to watch: that of each file, or what is there of the way to it; each with its number on its disk."""
    found: dict[Path, tuple[int, int]] = {}
    for path in paths:
        for folder in path.absolute().parents:
            with contextlib.suppress(OSError):
                if folder.is_dir():
                    state = folder.stat()
                    found[folder] = (state.st_dev, state.st_ino)
                    break
    return found


async def _looks(paths: Collection[Path]) -> dict[Path, Look]:
    return await anyio.to_thread.run_sync(lambda: {path: _look(path) for path in paths})


def _look(path: Path) -> Look:
    try:
        state = path.stat()
    except OSError:
        return None
    return (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino)


async def _digests(paths: Collection[Path]) -> dict[Path, str]:
    return await anyio.to_thread.run_sync(lambda: {path: _digest(path) for path in paths})


def _digest(path: Path) -> str:
    """A hash of the content; empty where there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
