"""Captures written in tests as tables, and the records made of them as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.captures.importing import ImportOptions, TapeImport, open_captures
from adapters.captures.report import KIND_NAMES
from engine.kernels import layout

START_NS = 1_700_000_000_000_000_000
START_MS = START_NS // 10**6


def raw_capture(path: Path, table: str) -> Path:
    """Write a raw capture: each line `<receive ms> <JSON>`; times are ms after the start, `@5` in the JSON as well."""
    lines = []
    for line in table.strip().splitlines():
        receive, _, body = line.strip().partition(" ")
        parts = body.split("@@")
        body = parts[0] + "".join(str(START_MS + int(part[:4])) + part[4:] for part in parts[1:])
        lines.append(f"{START_NS + int(receive) * 10**6} {body}")
    path.write_text("\n".join(lines) + "\n")
    return path


def imported(*paths: Path, **options: Any) -> tuple[TapeImport, NDArray[Any]]:
    """Import files whole: the session and report, and all records."""
    opened = open_captures(list(paths), ImportOptions(**options))
    batches = list(opened.batches)
    return opened, np.concatenate(batches) if batches else np.zeros(0, layout.RECORD)


def rows_of(records: NDArray[Any]) -> list[str]:
    """Records as text: instrument, receive ms, exchange ms, kind, the five words, flags by name."""
    return [
        " ".join(
            (
                str(record["instrument"]),
                str((int(record["ts_receive_ns"]) - START_NS) // 10**6),
                str((int(record["ts_exchange_ns"]) - START_NS) // 10**6 if record["ts_exchange_ns"] else "-"),
                KIND_NAMES[int(record["kind"])],
                *(str(record[word]) for word in "abcde"),
                *_flag_names(int(record["flags"])),
            )
        )
        for record in records
    ]


def table_of(text: str) -> list[str]:
    """A table of records as a person writes it: without its comments (`#`) and the blanks that line it up."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [" ".join(cells) for cells in lines if cells]


def rejects_of(opened: TapeImport) -> dict[str, int]:
    """Rejects by reason."""
    return dict(opened.report.summary().rejects)


class NaiveBook:
    """A book as a dictionary: what LEVEL records say, message by message."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.update_id = 0
        self._is_inside = False

    def take(self, record: tuple[int, ...]) -> bool:
        """Take (flags, price, size, last id) of a LEVEL; whether the message ends with it."""
        flags, price, size, update_id = record
        if flags & layout.SNAPSHOT and not self._is_inside:
            self.bids.clear()
            self.asks.clear()
        self._is_inside = not flags & layout.LAST
        side = self.asks if flags & layout.SELL else self.bids
        if price and size:
            side[price] = size
        else:
            side.pop(price, None)
        self.update_id = update_id
        return bool(flags & layout.LAST)

    def best(self) -> tuple[int, int, int, int]:
        """Best bid and ask, price and size each; 0 where a side is empty."""
        bid, ask = max(self.bids, default=0), min(self.asks, default=0)
        return bid, self.bids.get(bid, 0), ask, self.asks.get(ask, 0)


def _flag_names(flags: int) -> list[str]:
    names = {layout.SNAPSHOT: "SNAPSHOT", layout.SELL: "SELL", layout.SIDE_UNKNOWN: "UNKNOWN", layout.LAST: "LAST"}
    return [name for flag, name in names.items() if flags & flag]
