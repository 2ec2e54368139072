"""Two stored runs side by side: what was set otherwise, what came out, and what made the difference in money."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from adapters.store import RunRow, StoreReader
from adapters.store.comparing import Event, decisions, fills, money_of, shared_units
from adapters.tape.times import time_text
from config.document import from_document, to_document
from daemon.stored_figures import figures_of_stored
from engine.errors import ConfigError
from engine.figures.attribution import Attribution, Pair, Parts, TradeMoney, attribute
from engine.figures.metrics import as_json
from engine.figures.money import from_units, money_text

PAIRS_SHOWN = 5
_NOT_SETTINGS = ("source",)
_Events = Callable[[StoreReader, RunRow], Iterator[Event]]


class FieldDifference(msgspec.Struct, frozen=True):
    """A field of the configs that the runs do not share; None: it is not there."""

    path: str
    first: Any
    second: Any


class EventDifference(msgspec.Struct, frozen=True):
    """Where two runs stop doing the same: what each did then, at the earlier's time; None: nothing more."""

    time: str
    ts_ns: int
    strategy_id: str
    symbol: str
    first: Event | None
    second: Event | None

    def lines(self) -> list[str]:
        """It for people: what both share of it once, and what they do not."""
        if self.first is None or self.second is None or self._places(self.first) != self._places(self.second):
            return [f"{name}: {_event_text(event)}" for name, event in (("A", self.first), ("B", self.second))]
        names = dict.fromkeys((*self.first.what, *self.second.what))
        words = []
        for name in names:
            one, other = self.first.what.get(name, "none"), self.second.what.get(name, "none")
            words.append(one if one == other else f"{name} {one} (A), {other} (B)")
        return [f"{self.time} {self.strategy_id} {self.symbol}: {', '.join(words)}"]

    @staticmethod
    def _places(event: Event) -> tuple[int, str, str]:
        return event.ts_ns, event.strategy_id, event.symbol


class Comparison(msgspec.Struct, frozen=True):
    """Two runs, A and B. Money is in units of 10^-`cash_decimals`, differences are B less A."""

    first: RunRow
    second: RunRow
    cash_decimals: int
    config: tuple[FieldDifference, ...]
    code: tuple[str, ...]
    """Strategies of one id whose source is not the same."""
    figures: dict[str, tuple[Any, Any]]
    net: tuple[int, int]
    attribution: Attribution
    first_decision: EventDifference | None
    first_fill: EventDifference | None

    @property
    def is_equal(self) -> bool:
        """Whether the engine's chains are the same: every order, fill, payment and equity then is."""
        return self.first.hash is not None and self.first.hash == self.second.hash


def compare(path: Path, first: str, second: str) -> Comparison:
    """Compare two runs of a store, each a name, the beginning of one, a number, or its results folder.

    Raises InputMissingError where there is no such run, UsageError where several are meant.
    """
    with StoreReader(path) as reader, reader.at_one_moment():
        runs = find_run(reader, first), find_run(reader, second)
        shared = shared_units(reader, runs)
        money = [money_of(reader, run, shared) for run in runs]
        found = attribute(money[0].trades, money[1].trades, money[0].open, money[1].open)
        assert found.parts.total == money[1].net - money[0].net, "the parts are the whole"
        return Comparison(
            first=runs[0], second=runs[1], cash_decimals=shared.cash_decimals,
            config=tuple(config_differences(*(_as_written_today(run.config) for run in runs))),
            code=tuple(_other_code(reader, *runs)),
            figures=_figures(reader, runs), net=(money[0].net, money[1].net),
            attribution=found, first_decision=_first_difference(reader, runs, decisions),
            first_fill=_first_difference(reader, runs, fills),
        )  # fmt: skip


def find_run(reader: StoreReader, target: str) -> RunRow:
    """The run of a name, the beginning of one, a number, or a results folder (which bears the run's name)."""
    folder = Path(target)
    if len(folder.parts) > 1 and folder.is_dir():
        return reader.run(folder.resolve().name)
    return reader.find(target)


def _as_written_today(config: str) -> dict[str, Any]:
    """A stored config with the fields that have come since, at their defaults: they are no difference between runs."""
    document: dict[str, Any] = msgspec.json.decode(config)
    try:
        return to_document(from_document(document))
    except ConfigError:  # of a version that cannot be read here: what stands in it is compared
        return document


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[FieldDifference]:
    """The fields that two stored configs do not share, by path; where they were read from is not one."""
    one, other = (dict(_flattened(document)) for document in (first, second))
    for path in dict.fromkeys((*one, *other)):
        if path not in _NOT_SETTINGS and one.get(path) != other.get(path):
            yield FieldDifference(path, one.get(path), other.get(path))


def as_document(found: Comparison) -> dict[str, Any]:
    """The one object that `--json` prints: money as exact decimals in text."""
    decimals, parts = found.cash_decimals, found.attribution.parts

    def money(units: int) -> str:
        return money_text(from_units(units, decimals), decimals)

    def trade(each: TradeMoney) -> dict[str, Any]:
        return {
            "strategy_id": each.strategy, "symbol": each.symbol, "side": each.side,
            "entry_time": time_text(each.entry_ns), "exit_time": time_text(each.exit_ns), "pnl": money(each.net),
        }  # fmt: skip

    return {
        "first": _named(found.first),
        "second": _named(found.second),
        "hash_equal": found.is_equal,
        "config": [msgspec.to_builtins(each) for each in found.config],
        "code": list(found.code),
        "figures": {name: {"first": one, "second": other} for name, (one, other) in found.figures.items()},
        "net_profit": {"first": money(found.net[0]), "second": money(found.net[1]), "difference": money(parts.total)},
        "attribution": {name: money(getattr(parts, name)) for name in Parts.__struct_fields__},
        "trades": {
            "matched": len(found.attribution.pairs),
            "matched_unlike": sum(pair.parts != Parts() for pair in found.attribution.pairs),
            "only_first": [trade(each) for each in found.attribution.only_first],
            "only_second": [trade(each) for each in found.attribution.only_second],
            "largest_differences": [
                {
                    "first": trade(pair.first), "second": trade(pair.second), "difference": money(pair.parts.total),
                    "attribution": {name: money(getattr(pair.parts, name)) for name in Parts.__struct_fields__[:6]},
                }
                for pair in largest(found.attribution.pairs)
            ],
        },
        "first_decision": None if found.first_decision is None else msgspec.to_builtins(found.first_decision),
        "first_fill": None if found.first_fill is None else msgspec.to_builtins(found.first_fill),
    }  # fmt: skip


def largest(pairs: Sequence[Pair], count: int = PAIRS_SHOWN) -> list[Pair]:
    """The pairs that differ most, the most first."""
    unlike = [pair for pair in pairs if pair.parts.total]
    return sorted(unlike, key=lambda pair: (-abs(pair.parts.total), pair.first.entry_ns))[:count]


def _named(run: RunRow) -> dict[str, Any]:
    return {"run_id": run.run_id, "name": run.name, "mode": run.mode, "status": run.status, "hash": run.hash}


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by their paths; lists of plain values are leaves."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _flattened(below, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for place, below in enumerate(value):
            yield from _flattened(below, f"{path}[{place}]")
    else:
        yield path, value


def _other_code(reader: StoreReader, first: RunRow, second: RunRow) -> Iterator[str]:
    one, other = (
        {each.strategy_id: each.source_sha256 for each in reader.strategies(run.run_id)} for run in (first, second)
    )
    yield from (name for name in one if name in other and one[name] != other[name])


def _figures(reader: StoreReader, runs: Sequence[RunRow]) -> dict[str, tuple[Any, Any]]:
    both: list[dict[str, Any]] = []
    for run in runs:
        groups = as_json(figures_of_stored(reader, run))
        both.append({f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()})
    return {name: (value, both[1].get(name)) for name, value in both[0].items()}


def _first_difference(reader: StoreReader, runs: tuple[RunRow, RunRow], events: _Events) -> EventDifference | None:
    """Where two runs stop doing the same, in the strategies and symbols that both have (all, where none is shared)."""
    known = [{each.strategy_id for each in reader.strategies(run.run_id)} for run in runs]
    symbols = [{each.symbol for each in reader.instruments(run.run_id)} for run in runs]
    shared = (known[0] & known[1], symbols[0] & symbols[1])
    is_restricted = all(shared)

    def of(run: RunRow) -> Iterator[Event]:
        for event in events(reader, run):
            if not is_restricted or (event.strategy_id in shared[0] and event.symbol in shared[1]):
                yield event

    for one, other in zip_longest(of(runs[0]), of(runs[1])):
        if one is not None and other is not None and _facts(one) == _facts(other):
            continue
        earlier = min((each for each in (one, other) if each is not None), key=lambda each: each.ts_ns)
        return EventDifference(
            time_text(earlier.ts_ns), earlier.ts_ns, earlier.strategy_id, earlier.symbol, one, other
        )  # fmt: skip
    return None


def _facts(event: Event) -> tuple[Any, ...]:
    return event.ts_ns, event.strategy_id, event.symbol, event.what


def _event_text(event: Event | None) -> str:
    if event is None:
        return "nothing more"
    return f"{time_text(event.ts_ns)} {event.strategy_id} {event.symbol}: {', '.join(event.what.values())}"
