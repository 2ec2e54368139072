"""What can go wrong between a daemon and those who control it, beside what a command itself is refused for."""

from __future__ import annotations

from engine.errors import EXIT_LOCKED, TapewrightError


class BusyError(TapewrightError):
    """What is asked for is taken, or there are too many of it: another instance, too many clients or readers."""

    exit_code = EXIT_LOCKED


class RefusedError(TapewrightError):
    """The daemon's own words on a request that it refused, as its client raises them; with the error's exit code."""

    def __init__(self, message: str, *, remedy: str = "", exit_code: int) -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = exit_code
