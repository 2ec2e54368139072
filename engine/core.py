"""The engine as Python holds it: the compiled core with its state, its room for outputs, its snapshots."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import CapacityError, DataError, StrategyError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.kernels.calm import calm_until as calm_until_kernel
from engine.kernels.core import advance as advance_kernel
from engine.kernels.core import submit as submit_kernel
from engine.settings import RunSettings
from engine.state import new_state

NO_REQUESTS = np.zeros(0, dtype=layout.REQUEST)
_OUTPUTS_EACH = 8
_SAMPLE_WORDS = 4
_NO_SAMPLES = np.zeros((0, _SAMPLE_WORDS), dtype=np.int64)
_WELL_FILLED = 4  # a quarter
# Places of figures read for each order, in the CORE record seen as int64 words.
_LIVE_ORDERS, _OUTPUT_COUNT, _SAMPLE_COUNT, _ORDER_COUNT, _DEFECT, _WAKE, _OPEN_LEDGERS, _ROOM_NEEDED, _OUTPUT_BASE = (
    layout.FIGURES.index(name)
    for name in (
        "live_orders", "output_count", "sample_count", "order_count", "defect", "wake", "open_ledgers", "room_needed",
        "output_base",
    )
)  # fmt: skip
_STEP = layout.FIGURES.index("step")
_WAKE_ON_UPDATE = len(layout.FIGURES) + layout.SETTINGS.index("wake_on_update")
_SNAPSHOT_MAGIC = "tapewright-core-1"
_STORED = ("core", *(name for name in layout.TABLES if name not in {"outputs", "samples"}))


class Engine:
    """A deterministic state machine: records in, outputs out, all of it in arrays."""

    def __init__(
        self,
        settings: RunSettings,
        instruments: Sequence[Instrument],
        strategies: int = 1,
        *,
        samples: int = 4096,
        orders: int = 256,
    ) -> None:
        self.settings = settings
        self.instruments = tuple(instruments)
        self.state = new_state(settings, instruments, strategies, orders=orders, samples=samples)
        self._figures = self.state.core.view(np.int64)
        self._outputs: list[NDArray[np.int64]] = []
        self._samples: list[NDArray[np.int64]] = []

    @property
    def hash(self) -> int:
        """The chain over everything said so far, as an unsigned 64-bit number."""
        return int(self.state.core["hash"][0]) & (2**64 - 1)

    def advance(
        self, events: NDArray[Any], start: int, stop: int, requests: NDArray[Any] = NO_REQUESTS
    ) -> tuple[int, int]:
        """Consume records [start, stop); returns the next index and the wake (DONE, STEP or UPDATE).

        Makes room as needed. Raises DataError on a record that makes no sense, CapacityError where a price
        would overflow the integers.
        """
        position = start
        while True:
            position = advance_kernel(self.state.core, events, position, stop, requests)
            wake = int(self._figures[_WAKE])
            if wake in (layout.WAKE_DONE, layout.WAKE_STEP, layout.WAKE_UPDATE):
                return position, wake
            self._relieve(wake, events, position)

    def wake_on_updates(self) -> None:
        """Let `advance` come back after each step in which the core has said something."""
        self._figures[_WAKE_ON_UPDATE] = 1

    def is_moving(self, with_positions: bool) -> bool:  # noqa: FBT001
        """Whether an order works or is on its way (or, if asked, a position is open)."""
        return bool(self._figures[_LIVE_ORDERS]) or (with_positions and bool(self._figures[_OPEN_LEDGERS]))

    def calm_until(self, events: NDArray[Any], start: int, stop: int) -> int:
        """The first record in [start, stop) that the core has to consume before strategies may see it.

        `start` is the next record to consume, and no order works.
        """
        return calm_until_kernel(self.state.core, events, start, stop)

    def _relieve(self, wake: int, events: NDArray[Any], position: int) -> None:
        match wake:
            case layout.WAKE_OUTPUTS_FULL:
                self._make_output_room(int(self._figures[_ROOM_NEEDED]))
            case layout.WAKE_SAMPLES_FULL:
                self._flush_samples()
            case layout.WAKE_ORDERS_FULL:
                self.state.grow_orders(2 * int(self._figures[_ROOM_NEEDED]))
            case layout.WAKE_CAPACITY:
                symbol = self.instruments[int(events["instrument"][position])].symbol
                raise CapacityError(
                    f"{symbol}: the price in record {position} times the position does not fit 64-bit integers",
                    remedy="Lower cash_decimals, or trade smaller sizes.",
                )
            case layout.WAKE_BAD_RECORD:
                raise DataError(
                    f"record {position} makes no sense: {events[position]}",
                    remedy="Check the data with: tapewright data check",
                )
            case _:
                self._raise_defect()

    def _raise_defect(self) -> None:
        if self._figures[_DEFECT] == layout.OVERFLOWN:
            raise CapacityError(
                "what one trade has bought and sold does not fit 64-bit integers",
                remedy="Lower cash_decimals, or trade smaller sizes.",
            )
        if self._figures[_DEFECT] == layout.TOO_MANY_ASKED:
            raise StrategyError(
                "a compiled strategy has sent more requests in one call than the core keeps",
                remedy="Send fewer orders and cancels in one call of a compiled callback.",
            )
        if self._figures[_DEFECT] == layout.COMPILED_RAISED:
            raise StrategyError(
                "a compiled callback has raised an error, such as a division by zero",
                remedy="Guard against it; try the callback without @compiled, on plain numbers, to find the line.",
            )
        raise AssertionError("the core refused an order's change of state")

    def _flush_outputs(self) -> None:
        count = int(self._figures[_OUTPUT_COUNT])
        if count:
            self._outputs.append(self._taken("outputs", count))
            self._figures[_OUTPUT_COUNT] = 0
            self._figures[_OUTPUT_BASE] += count

    def _flush_samples(self) -> None:
        count = int(self._figures[_SAMPLE_COUNT])
        if count:
            self._samples.append(self._taken("samples", count))
            self._figures[_SAMPLE_COUNT] = 0

    def _taken(self, name: str, count: int) -> NDArray[np.int64]:
        """The first rows of a table: a copy of few; a table that is well filled is handed on and replaced."""
        table: NDArray[np.int64] = getattr(self.state, name)
        if count * _WELL_FILLED < len(table):
            return table[:count].copy()
        setattr(self.state, name, np.empty_like(table))
        self.state.bind()
        return table[:count]

    def _make_output_room(self, needed: int) -> None:
        self._flush_outputs()
        if needed > len(self.state.outputs):
            self.state.grow_outputs(2 * needed)

    def submit(self, requests: NDArray[Any]) -> int:
        """Carry out requests now, at the end of the step last consumed; returns the id of the first new order."""
        figures, ledgers = self._figures, len(self.state.ledgers)
        live = int(figures[_LIVE_ORDERS]) + len(requests) + ledgers
        if live >= len(self.state.orders):
            self.state.grow_orders(2 * live)
        needed = _OUTPUTS_EACH * (live + ledgers) + 16
        if figures[_OUTPUT_COUNT] + needed > len(self.state.outputs):
            self._make_output_room(needed)
        first = int(figures[_ORDER_COUNT]) + 1
        submit_kernel(self.state.core, requests)
        if figures[_DEFECT]:
            self._raise_defect()
        return first

    @property
    def step_count(self) -> int:
        """Samples that were taken since the run's start."""
        return self._figures.item(_STEP)

    def has_outputs(self) -> bool:
        """Whether `outputs` would give any."""
        return bool(self._figures[_OUTPUT_COUNT]) or bool(self._outputs)

    def reserve(self, outputs: int) -> None:
        """Make room for so many outputs beforehand, so that they are written where they stay."""
        self._make_output_room(outputs // 2)

    def outputs(self) -> NDArray[np.int64]:
        """All outputs since the last call, (n, 16); see `engine.kernels.layout` for the views."""
        self._flush_outputs()
        parts, self._outputs = self._outputs, []
        return _joined(parts, layout.OUTPUT_WORDS)

    def samples(self) -> NDArray[np.int64]:
        """All samples since the last call, (n, 4): ts ns, equity, exposure, margin."""
        if not (self._samples or self._figures.item(_SAMPLE_COUNT)):
            return _NO_SAMPLES
        self._flush_samples()
        parts, self._samples = self._samples, []
        return _joined(parts, _SAMPLE_WORDS)

    def samples_after(self, count: int) -> NDArray[np.int64]:
        """Those that `samples` would give from the `count`th on, without taking them."""
        unread = self.state.samples[: int(self._figures[_SAMPLE_COUNT])]
        return np.concatenate([*self._samples, unread])[count:] if self._samples else unread[count:]

    def snapshot(self) -> bytes:
        """Everything the core knows, outputs and samples not yet read included."""
        self._flush_outputs()
        self._flush_samples()
        arrays = {name: getattr(self.state, name) for name in _STORED}
        arrays["core"] = self.state.core.copy()
        for name in (*layout.TABLES, "address"):
            arrays["core"][name] = 0  # addresses of this process mean nothing to another
        arrays["pending_outputs"] = (
            np.concatenate(self._outputs) if self._outputs else np.zeros((0, layout.OUTPUT_WORDS), dtype=np.int64)
        )
        arrays["pending_samples"] = np.concatenate(self._samples) if self._samples else np.zeros((0, 4), dtype=np.int64)
        buffer = io.BytesIO()
        np.savez(buffer, magic=np.array(_SNAPSHOT_MAGIC), **arrays)
        return buffer.getvalue()

    def restore(self, snapshot: bytes) -> None:
        """Become what a snapshot says; raises DataError where it is none, or of another shape of run."""
        try:
            with np.load(io.BytesIO(snapshot), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"not a snapshot: {error}", remedy="Start from the tape instead.") from error
        if str(arrays.pop("magic", "")) != _SNAPSHOT_MAGIC:
            raise DataError("a snapshot of another version of the core", remedy="Start from the tape instead.")
        pending_outputs, pending_samples = arrays.pop("pending_outputs"), arrays.pop("pending_samples")
        for name in ("core", "instruments", "strategies", "ledgers", "tiers"):
            own = getattr(self.state, name)
            if arrays[name].shape != own.shape or arrays[name].dtype != own.dtype:
                raise DataError(
                    f"a snapshot of another run: its {name} are {arrays[name].shape}",
                    remedy="Restore with the settings, instruments and strategies that wrote it.",
                )
        for name, array in arrays.items():
            setattr(self.state, name, np.ascontiguousarray(array))
        self._outputs = [pending_outputs] if len(pending_outputs) else []
        self._samples = [pending_samples] if len(pending_samples) else []
        self.state.bind()
        self._figures = self.state.core.view(np.int64)
        self._make_output_room(_OUTPUTS_EACH * (len(self.state.orders) + 2 * len(self.state.ledgers)) + 64)


def _joined(parts: list[NDArray[np.int64]], words: int) -> NDArray[np.int64]:
    """The parts as one table; a single part is not copied."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros((0, words), dtype=np.int64)
