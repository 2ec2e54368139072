"""A RunConfig as the document that is stored with a run, and back.

Every field is written out, exact numbers as text, times as ISO text: equal configs give equal documents,
and a stored run does not change when a default does. What only a paper session reads is written with mode paper only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from config.loader import parse
from config.migrations import VERSION
from config.model import RunConfig, StrategyEntry
from config.scalars import moment_text, plain_text


def to_document(config: RunConfig) -> dict[str, Any]:
    """Return the canonical form: JSON-able, and itself a config file that loads to an equal RunConfig."""
    settings = _plain(config.settings)
    execution = settings["execution"]
    document = {
        "version": VERSION,
        "mode": config.mode,
        "source": config.source,
        "symbols": list(config.symbols) or None,
        "timeframe": config.timeframe,
        "start": None if config.start_ns is None else moment_text(config.start_ns),
        "end": None if config.end_ns is None else moment_text(config.end_ns),
        "strategies": [_strategy(entry) for entry in config.strategies] or None,
        "indicators": list(config.indicators),
        "fill_model": execution.pop("fill_model"),
        **settings,
        "funding": _plain(config.funding),
        "sizing": _plain(config.sizing),
        "instruments": _plain(config.instruments),
        "data": _plain(config.data),
        "journal": _plain(config.journal),
        "diagnostics": _plain(config.diagnostics),
        **(_plain(config.daemon) if config.mode == "paper" else {"store": _plain(config.daemon.store)}),
    }
    return {name: value for name, value in document.items() if value is not None}


def from_document(document: Mapping[str, Any], *, source: str = "stored config") -> RunConfig:
    """Return the RunConfig of a stored document, of this version or an earlier one. Raises ConfigError."""
    # It may be of a replay, whose tape names the symbols and whose start and end a paper session has not.
    return parse(json.dumps(document), "json", source=source, is_tape=True)


def _strategy(entry: StrategyEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"id": entry.id}
    if entry.entry is not None and entry.exit is not None:
        document |= {"entry": _plain(entry.entry), "exit": _plain(entry.exit)}
    else:
        document |= {"name": entry.name, "params": dict(entry.params)}
    if entry.symbols:
        document["symbols"] = list(entry.symbols)
    if entry.timeframe:
        document["timeframe"] = entry.timeframe
    return document


def _plain(value: Any) -> Any:
    """Structs to dicts without what is None, Decimals to text."""
    match value:
        case Decimal():
            return plain_text(value)
        case msgspec.Struct():
            return _plain(msgspec.structs.asdict(value))
        case dict():
            return {name: _plain(below) for name, below in value.items() if below is not None}
        case tuple() | list():
            return [_plain(below) for below in value]
        case _:
            return value
