"""The strategy boundary: what a strategy's code raises becomes an error that says where, and what to do.

What it says becomes text that every log, store and socket can take.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import StrategyError, TapewrightError

TEXT_CHARS_MAX = 10_000


@contextmanager
def strategy_boundary(name: str, path: str, symbol: str, where: str) -> Iterator[None]:
    """Run a strategy's code; `where` is the callback, `path` the strategy's file.

    A StrategyError of ours gets the strategy's name and the place; anything else that the code raises becomes a
    StrategyError with its line.
    """
    try:
        yield
    except StrategyError as error:
        if error.message.startswith(f"{name}: "):
            raise
        raise StrategyError(f"{name}: {where}: {error.message}", remedy=error.remedy) from error
    except TapewrightError:
        raise
    except (Exception, SystemExit) as error:
        raise StrategyError(
            f"{name}: {where} on {symbol}: {type(error).__name__}: {_shown(error)}\n  {_place_of(error, path)}",
            remedy="Correct the strategy and run again.",
        ) from error


def told_text(value: object) -> str:
    """A value's text, cut to TEXT_CHARS_MAX, with what UTF-8 cannot hold as escapes."""
    text = str(value)[:TEXT_CHARS_MAX]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _shown(error: BaseException) -> str:
    """An exception's text, also where its own code is broken."""
    try:
        return told_text(error)
    except (Exception, SystemExit) as broken:
        return f"its text raised {type(broken).__name__}"


def _place_of(error: BaseException, path: str) -> str:
    """The strategy's own line that the error came through, with its text."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if not lines:
        return path
    return f"{path}:{lines[-1].lineno}" + (f"\n    {lines[-1].line}" if lines[-1].line else "")
