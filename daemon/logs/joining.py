"""Who logs through the pipeline: structlog, and every logger of the standard library, also those of libraries.

Handlers that a library gave its loggers are set aside, so that a line comes once; all is put back at the end.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from daemon.logs.pipeline import Pipeline

# What these say below the level is about themselves. watchfiles would tell of each change that we tell of.
_QUIET = {
    "aiohttp.access": logging.WARNING,
    "aiosqlite": logging.INFO,
    "asyncio": logging.INFO,
    "httpcore": logging.INFO,
    "numba": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "watchfiles": logging.WARNING,
    "websockets": logging.INFO,
}
_EXTRA_FIELDS = ("seq", "strategy", "symbol", "order", "exchange", "channel")


class NamedLogger:
    """What structlog binds to: a name; the pipeline writes."""

    def __init__(self, name: str = "") -> None:
        self.name = name


class PipelineHandler(logging.Handler):
    """Gives records of the standard library to the pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; one whose arguments do not fit its text is shown with both."""
        event: dict[str, Any] = {"event": _message(record), "exc_info": record.exc_info}
        event |= {name: value for name in _EXTRA_FIELDS if (value := record.__dict__.get(name)) is not None}
        self._pipeline.log(record.name, _level_name(record.levelno), event)


@contextlib.contextmanager
def joined_structlog(pipeline: Pipeline, level: int) -> Iterator[None]:
    """Loggers of structlog go to the pipeline; lines below the level cost next to nothing."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, pipeline],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=NamedLogger,
        # A kept logger would go on writing to the sinks of a session that has ended.
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)


@contextlib.contextmanager
def joined_libraries(pipeline: Pipeline, level: int) -> Iterator[None]:
    """The standard library's loggers and warnings go to the pipeline, and nowhere else."""
    root = logging.getLogger()
    with contextlib.ExitStack() as stack:
        for logger in _loggers():
            stack.callback(_put_back, logger, logger.handlers[:], logger.level, propagate=logger.propagate)
            if logger is not root and logger.handlers:
                logger.handlers, logger.propagate = [], True
                logger.setLevel(logging.NOTSET)
        root.handlers = [PipelineHandler(pipeline)]
        root.setLevel(level)
        for name, least in _QUIET.items():
            logging.getLogger(name).setLevel(max(least, level))
        logging.captureWarnings(True)  # noqa: FBT003 - the library's signature
        stack.callback(logging.captureWarnings, False)  # noqa: FBT003
        yield


def _loggers() -> list[logging.Logger]:
    """The root, the loggers that there are, and those that are to be quiet."""
    named = [logging.getLogger(name) for name in {*logging.root.manager.loggerDict, *_QUIET}]
    return [logging.getLogger(), *named]


def _put_back(logger: logging.Logger, handlers: list[logging.Handler], level: int, *, propagate: bool) -> None:
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return f"{record.msg} {record.args!r}"


def _level_name(number: int) -> str:
    names = (
        (logging.CRITICAL, "critical"),
        (logging.ERROR, "error"),
        (logging.WARNING, "warning"),
        (logging.INFO, "info"),
    )
    return next((name for least, name in names if number >= least), "debug")
