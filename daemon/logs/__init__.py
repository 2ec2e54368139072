"""Structured logs: one event, one line, as JSON for the journal or as text for a person.

`configure_logs` joins structlog and the standard library's logging (cryptofeed, websockets, aiohttp, uvicorn, asyncio)
in one pipeline: plain values, no secrets, bounded, repeated trouble counted (`pipeline`). What it makes goes to sinks
that never hold up who logs (`sinks`): a reader that stands still costs lines, and the lines lost are counted.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from daemon.logs.joining import joined_libraries, joined_structlog
from daemon.logs.pipeline import Pipeline, level_number, lost_line
from daemon.logs.rendering import json_line, text_line, wants_colour
from daemon.logs.sinks import LogCounts, RotatingFile, Sink, StreamTarget

if TYPE_CHECKING:
    from config.daemon_model import LogConfig

__all__ = ("LogCounts", "Logs", "configure_logs", "enter_line", "exit_line", "get_logger")

_BYTES_PER_MEGABYTE = 1_000_000


class Logs:
    """What is known of a process's logs while it runs."""

    def __init__(self, sinks: dict[str, Sink]) -> None:
        self._sinks = sinks

    def counts(self) -> dict[str, LogCounts]:
        """Lines written and lost so far, by sink: `stream`, and `file` where there is one."""
        return {name: sink.counts() for name, sink in self._sinks.items()}


@contextlib.contextmanager
def configure_logs(
    config: LogConfig, *, session: str, run: str, mode: str, stream: TextIO | None = None,
    folder: Path | None = None, secrets: Collection[str] = (),
) -> Iterator[Logs]:  # fmt: skip
    """Log as `config` says until the end of the block; then everything is written out and put back as it was.

    Every line carries `session`, `run` and `mode`. `stream` is standard output where it is not given. The log file is
    relative to `folder` [the working folder]. `secrets` are values that never appear, whatever they are called.
    Raises InputMissingError where the log file cannot be opened.
    """
    target = sys.stdout if stream is None else stream
    is_text = config.format == "text" or (config.format == "auto" and target.isatty())
    facts = {"session": session, "run": run, "mode": mode}
    sinks: dict[str, Sink] = {}
    render = text_line(colour=wants_colour(target)) if is_text else json_line
    outlets: list[tuple[Callable[[dict[str, Any]], bytes], Sink]] = []
    with contextlib.ExitStack() as stack:
        if config.file:
            path = (folder or Path()) / config.file
            bytes_max = config.file_megabytes_max * _BYTES_PER_MEGABYTE
            file = RotatingFile(path, bytes_max, config.files_kept)
            sinks["file"] = stack.enter_context(Sink(file, lost_line(json_line, facts)))
            outlets.append((json_line, sinks["file"]))
        sinks["stream"] = stack.enter_context(Sink(StreamTarget(target), lost_line(render, facts)))
        outlets.append((render, sinks["stream"]))
        pipeline = Pipeline(outlets, facts=facts, secrets=secrets)
        stack.callback(pipeline.flush)
        stack.enter_context(joined_structlog(pipeline, level_number(config.level)))
        stack.enter_context(joined_libraries(pipeline, level_number(config.level)))
        yield Logs(sinks)


def get_logger(name: str) -> Any:
    """A logger of that name: `log.warning("feed is stale", symbol="BTCUSDT", age_seconds=12)`; `bind` keeps fields."""
    return structlog.get_logger(name)


def enter_line(price: Decimal | float | str) -> str:
    """What is logged when a position opens: `ENTER at 64250.1`."""
    return f"ENTER at {_shown(price)}"


def exit_line(price: Decimal | float | str, pnl_percent: float) -> str:
    """What is logged when a position closes: `EXIT at 64312.4, P&L: 0.10%`."""
    return f"EXIT at {_shown(price)}, P&L: {round(pnl_percent, 2) + 0.0:.2f}%"


def _shown(price: Decimal | float | str) -> str:
    return price if isinstance(price, str) else f"{Decimal(str(price)):f}"
