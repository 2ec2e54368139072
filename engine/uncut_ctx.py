"""`ctx` for code that reads `close` at few of its bars: it is cut when it is read.

To cut a column takes as long as a short rule does. Whoever looks at `close` at every bar is better off with it cut
beforehand, as `Window` does: an attribute is read faster than a property.
"""

from __future__ import annotations

from engine.bars import Bars, FloatColumn
from engine.ctx import Context


class UncutContext(Context):
    """A ctx whose `close` is cut when it is read, once a bar."""

    __slots__ = ()

    @property
    def close(self) -> FloatColumn:
        """Closes up to the current bar."""
        shown = self._shown_close
        if shown is None:
            shown = self._shown_close = self._close[: self.stop]
        return shown

    @close.setter
    def close(self, shown: FloatColumn) -> None:
        self._shown_close = shown

    def show(self, stop: int, bars: Bars | None = None) -> None:
        """As the window's own."""
        if bars is not None:
            super().show(stop, bars)
            return
        self.stop = stop
        self._shown_close = None
        if self._frames:
            for frame in self._frames:
                frame.follow(stop)
