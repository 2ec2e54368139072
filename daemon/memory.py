"""How the process keeps memory that it has freed, and how rarely a session looks for garbage."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # glibc's names for them: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
_LARGEST_KEPT_BYTES = 1 << 30
_LARGE_BYTES = 1 << 18
_YOUNG_OBJECTS_MAX = 20_000


def keep_freed_memory() -> None:
    """Let large arrays that were dropped be used again instead of going back to the system.

    A run makes and drops arrays of tens of megabytes, and the first touch of fresh pages costs more than the work on
    them: measured, a second `signals` run in a process takes 18 ms instead of 27, a single command 4 % less. For
    commands that end; a daemon gives its memory back. Does nothing where the C library has no `mallopt`.
    """
    _limit(_LARGEST_KEPT_BYTES, _LARGEST_KEPT_BYTES)


def return_freed_memory() -> None:
    """Let what is large go back to the system as soon as it is dropped, for as long as the process lives.

    A session's snapshots are some megabytes each minute. glibc raises its own limit when the first one is dropped, and
    puts the later ones between what stays: each minute the process then held 2 to 8 MB more. Does nothing where the C
    library has no `mallopt`.
    """
    _limit(_LARGE_BYTES, _LARGE_BYTES)


def _limit(mapped_bytes: int, trimmed_bytes: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, mapped_bytes)
        mallopt(_TRIM_THRESHOLD, trimmed_bytes)


@contextlib.contextmanager
def settled_objects() -> Iterator[None]:
    """Inside, the collector leaves alone what is there already, and looks at what is new more rarely than by itself.

    A depth message makes hundreds of objects that live for a moment. With Python's own limit of 700 each of a few of
    them set off a collection: a fifth of all that a message cost. The few cycles of a session wait a little longer.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
