"""The one tree of errors.

    TapewrightError            every expected trouble; carries a remedy and an exit code
    ├── UsageError        64   the command line does not make sense
    ├── DataError         65   a file's content is wrong
    ├── InputMissingError 66   a file that is needed is not there
    ├── StrategyError     65   a strategy file breaks the contract, or its code raised
    ├── ConfigError       78   a config file is wrong; carries every problem at once
    └── CapacityError     78   money or sizes do not fit the integers chosen for them

What is impossible is an assert, and ends as exit 70.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 64
EXIT_BAD_DATA = 65
EXIT_INPUT_MISSING = 66
EXIT_UNAVAILABLE = 69
EXIT_DEFECT = 70
EXIT_LOCKED = 75
EXIT_CONFIG = 78


class TapewrightError(Exception):
    """Expected trouble: what happened, and what to do about it."""

    exit_code = EXIT_DEFECT

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class UsageError(TapewrightError):
    """The command line does not make sense."""

    exit_code = EXIT_USAGE


class DataError(TapewrightError):
    """A file's content is wrong; the message names file, row or byte, and field."""

    exit_code = EXIT_BAD_DATA


class InputMissingError(TapewrightError):
    """Something that the run needs is not there; the remedy names the command that makes it."""

    exit_code = EXIT_INPUT_MISSING


class StrategyError(TapewrightError):
    """A strategy file breaks the contract, or its code raised."""

    exit_code = EXIT_BAD_DATA


class CapacityError(TapewrightError):
    """Money or sizes of this run do not fit the integers chosen for them."""

    exit_code = EXIT_CONFIG


class ConfigError(TapewrightError):
    """A config file is wrong. `problems` holds one line for each problem, all of the file at once."""

    exit_code = EXIT_CONFIG

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__("\n".join((message, *(f"  {problem}" for problem in problems))), remedy=remedy)
        self.problems = problems
