"""The decorators that compiled functions carry, and where their machine code is kept.

`_nrt=False` takes reference counting out of the kernels: nothing in them allocates, and small helpers are then as
fast as one long loop. It is an option internal to numba, so it stands here alone, and `tests/unit/test_compile.py`
fails when it stops working.

numba compiles a function once for every literal it is called with (`place(slot, 4)`, `place(slot, 5)`, ...). The
kernels are called with named constants everywhere: that made 267 functions of 95, and a minute of compiling. So
literals are taken as the integers they are; another internal handle, held by the same test.

numba optimises a function together with all that it calls, and each of those, before that, with all that it calls
itself: the same code many times over. An `inner` function that has brought together more than a few others is left as
it is, to be optimised within the kernel that calls it; that takes a sixth off the compiling of the core (25 to 21 s).
Small ones are still optimised first, so that they are small enough to be inlined.

numba checks a cached function against its own source file only, not against the functions it calls in other files:
after a change in one kernel another would run on with the old code inside. So the cache lies in a folder named by
the digest of all kernels' sources, and a change anywhere compiles anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.core.codegen import CPUCodeLibrary
from numba.extending import typeof_impl

_unliteral: Callable[[Any], Any] = types.unliteral
Function = TypeVar("Function", bound=Callable[..., Any])

# Only the tests set this: the whole suite runs once with every table access checked.
CHECK_BOUNDS = os.environ.get("TAPEWRIGHT_CHECK_BOUNDS", "") == "1"
_VERSIONS_KEPT = 4
_FUNCTIONS_OPTIMISED_MOST = 12  # that an `inner` function may bring together and still be optimised by itself
_is_inner: list[bool] = []  # the functions being compiled now, the innermost last: whether each is an `inner`


def _cache_home() -> Path:
    """TAPEWRIGHT_CACHE_DIR, or what systemd or the desktop name for caches."""
    own = os.environ.get("TAPEWRIGHT_CACHE_DIR") or os.environ.get("CACHE_DIRECTORY")
    if own:
        return Path(own.split(":")[0]) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(base) / "tapewright" / "kernels"


def _digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]} {CHECK_BOUNDS}".encode())
    folder = Path(__file__).parent
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.relative_to(folder).as_posix().encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _open_cache() -> Path | None:
    """Make the cache folder of these sources and forget the oldest others; None where nothing may be written."""
    home = _cache_home()
    folder = home / _digest()
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            others = [entry for entry in home.iterdir() if entry != folder]
            others.sort(key=lambda entry: entry.stat().st_mtime)
            for entry in others[: -(_VERSIONS_KEPT - 1)]:
                shutil.rmtree(entry, ignore_errors=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


CACHE_FOLDER = _open_cache()
if CACHE_FOLDER is not None:
    setattr(numba.config, "CACHE_DIR", str(CACHE_FOLDER))  # noqa: B010 - numba makes its settings at import


def is_compiled() -> bool:
    """Whether the core's machine code lies in the cache, so that a start is quick."""
    return CACHE_FOLDER is not None and any(CACHE_FOLDER.rglob("core.advance-*.nbc"))


_optimize_whole: Any = CPUCodeLibrary._optimize_final_module  # noqa: SLF001 - the only way in


def _optimize(library: Any) -> None:
    """What numba does with a function and its callees before machine code; see above for where it is left out."""
    if _is_inner and _is_inner[-1]:
        functions = library._final_module.functions  # noqa: SLF001
        if sum(not function.is_declaration for function in functions) > _FUNCTIONS_OPTIMISED_MOST:
            return
    _optimize_whole(library)


setattr(CPUCodeLibrary, "_optimize_final_module", _optimize)  # noqa: B010


def _compiled(function: Function, *, for_python: bool) -> Function:
    options: dict[str, Any] = {
        "_nrt": False,
        "nogil": True,
        "cache": CACHE_FOLDER is not None,
        "boundscheck": CHECK_BOUNDS,
        "no_cfunc_wrapper": True,
        "no_cpython_wrapper": not for_python,
    }
    compiled: Any = cast("Any", numba.njit)(**options)(function)
    resolve = compiled.get_call_template

    def without_literals(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        plain = {name: _unliteral(argument) for name, argument in keywords.items()}
        return resolve(tuple(_unliteral(argument) for argument in arguments), plain)

    compiled.get_call_template = without_literals
    compile_core = compiled._compiler._compile_core  # noqa: SLF001

    def compile_as(arguments: Any, return_type: Any) -> Any:
        _is_inner.append(not for_python)
        try:
            return compile_core(arguments, return_type)
        finally:
            _is_inner.pop()

    compiled._compiler._compile_core = compile_as  # noqa: SLF001
    if CACHE_FOLDER is not None:
        _load_without_registries(compiled)
    return cast("Function", compiled)


def _load_without_registries(compiled: Any) -> None:
    """Let machine code come from the cache without numba's registries: only compiling needs them (0.6 s a start)."""
    cache = compiled._cache  # noqa: SLF001

    def load_overload(signature: Any, target: Any) -> Any:
        with cache._guard_against_spurious_io_errors():  # noqa: SLF001
            return cache._load_overload(signature, target)  # noqa: SLF001

    cache.load_overload = load_overload


def kernel(function: Function) -> Function:
    """Compile a function on first use: no GIL, no allocation, cached on disk; Python can call it."""
    return _compiled(function, for_python=True)


class _Inner:
    """A function that compiled code calls: numba's own object of it is made when something that calls it compiles.

    Where all machine code lies in the cache that is never, and to make two hundred of them takes 0.07 s a start.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        functools.update_wrapper(self, function)

    @functools.cached_property
    def compiled(self) -> Any:
        return _compiled(self._function, for_python=False)

    def __call__(self, *_arguments: Any, **_keywords: Any) -> Any:
        raise TypeError(f"{self._function.__name__} is for compiled code: there is no way in from Python")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.compiled, name)


@typeof_impl.register(_Inner)
def _typeof_inner(value: _Inner, _context: Any) -> Any:
    """What numba takes such a function for where another one names it."""
    return types.Dispatcher(value.compiled)


def inner(function: Function) -> Function:
    """The same for a function that only compiled code calls: it compiles quicker without a way in from Python."""
    return cast("Function", _Inner(function))
