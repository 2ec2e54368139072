"""What must hold between fields. Each rule is a function that notes the problems it finds.

A rule looks only at values that are right by themselves, so that one mistake is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from config.daemon_model import Channel
from config.kinds import allowed
from config.nodes import Node, Path, dotted, find, is_null, place_of
from config.problems import Findings, quoted, suggestion
from config.scalars import INT64_MAX, moment_text, plain_text
from config.table import EXCLUSIVE, NAME, SYMBOL
from engine.settings import RunSettings, Sizing

MISSING_SYMBOLS = f"missing; {allowed(SYMBOL)}, or a list of them under symbols"
# Of these at least one tells what an order would fill at.
PRICE_CHANNELS: tuple[Channel, ...] = ("l2_book", "trades", "ticker")
# Models of slippage that stand for nothing without their own figure.
SLIPPAGE_NEEDS = {"ticks": "ticks", "atr": "atr_factor"}


class Sheet(msgspec.Struct, frozen=True):
    """A config as it was read: the values that are right, the tree with the places, the problems so far.

    `is_tape`: the run is on a tape, which names its symbols itself; what mode paper needs is not asked of it.
    """

    values: dict[str, Any]
    root: Node
    findings: Findings
    is_tape: bool = False

    def given(self, *path: str | int) -> bool:
        """Whether the config says something there, right or wrong."""
        return not is_null(find(self.root, path))

    def value(self, *path: str | int) -> Any:
        """Return the value there, or None where nothing or something wrong is given."""
        below: Any = self.values
        for step in path:
            try:
                below = below[step]
            except (KeyError, IndexError, TypeError):
                return None
        return below

    @property
    def is_live(self) -> bool:
        """Whether this is to be a paper session."""
        return self.value("mode") == "paper" and not self.is_tape

    def right(self, *path: str | int) -> bool:
        """Whether nothing is wrong there."""
        return not self.findings.touches(path)

    def note(self, path: Path, text: str) -> None:
        """Note a problem at a path."""
        self.findings.add(place_of(self.root, path), path, text)

    def strategies(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Each strategy that is right by itself, with its path."""
        if isinstance(self.value("strategy"), dict) and self.right("strategy"):
            yield ("strategy",), self.values["strategy"]
        if self.right("strategies"):
            for index, entry in enumerate(self.value("strategies") or ()):
                yield ("strategies", index), entry


def check(sheet: Sheet) -> None:
    """Note every problem between fields."""
    for rule in RULES:
        rule(sheet)


def exclusive(sheet: Sheet) -> None:
    """Of two fields that say the same, one is given."""
    for first, second in EXCLUSIVE:
        if sheet.given(*first) and sheet.given(*second):
            where, place = dotted(first), place_of(sheet.root, first)
            if place.line:
                is_here = place.origin == place_of(sheet.root, second).origin
                where += f" (line {place.line})" if is_here else f" ({place.label()})"
            sheet.note(second, f"given together with {where}, which says the same; give one of them")


def symbols(sheet: Sheet) -> None:
    """There is a symbol, or the run is on a tape, which has its own."""
    is_tape = sheet.is_tape or (sheet.given("book") and not sheet.is_live)
    if not is_tape and not sheet.given("symbol") and not sheet.given("symbols"):
        sheet.note(("symbols",), MISSING_SYMBOLS)


def period(sheet: Sheet) -> None:
    """Return the start is before the end."""
    start, end = sheet.value("start"), sheet.value("end")
    if start is not None and end is not None and start >= end:
        sheet.note(("end",), f"{moment_text(end)} is not allowed; a time after start ({moment_text(start)})")


def paper(sheet: Sheet) -> None:
    """A paper session begins now, and has prices to fill at."""
    if not sheet.is_live:
        return
    for name in ("start", "end"):
        if sheet.given(name):
            sheet.note((name,), "given with mode paper, which begins now and runs until it is stopped; leave it out")
    channels = sheet.value("feed", "channels")
    if channels is not None and sheet.right("feed", "channels") and not set(channels) & set(PRICE_CHANNELS):
        sheet.note(
            ("feed", "channels"), f"without prices; mode paper needs at least one of {', '.join(PRICE_CHANNELS)}"
        )


def ports(sheet: Sheet) -> None:
    """The daemon's two servers do not share a port."""
    port = sheet.value("metrics", "port")
    if port and port == sheet.value("control", "http_port"):
        sheet.note(("metrics", "port"), f"{port} is not allowed; a port other than control.http_port, or 0 for none")


def strategy_shape(sheet: Sheet) -> None:
    """Return a strategy is a name, or an entry with an exit."""
    for path, entry in sheet.strategies():
        parts = [part for part in ("entry", "exit") if part in entry]
        if "name" in entry and parts:
            sheet.note((*path, "name"), f"given together with {' and '.join(parts)}; give name, or entry and exit")
        elif "name" not in entry and not parts:
            sheet.note((*path, "name"), f"missing; {allowed(NAME)}, or give entry and exit")
        elif len(parts) == 1:
            other = "exit" if parts == ["entry"] else "entry"
            sheet.note((*path, other), f"missing; {parts[0]} needs it")
        elif parts and entry.get("params"):
            sheet.note((*path, "params"), "given together with entry and exit; give each its own params")


def _seconds(timeframe: str) -> int:
    # Not engine.bars' own: it brings numpy along, and reading a config needs none.
    return int(timeframe[:-1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[timeframe[-1]]


def part_timeframes(sheet: Sheet) -> None:
    """What an entry or exit looks at is made of the bars that its strategy steps through."""
    for path, entry in sheet.strategies():
        base = entry.get("timeframe") or sheet.value("timeframe")
        for part in ("entry", "exit"):
            frame = entry.get(part, {}).get("timeframe")
            if base and frame and _seconds(frame) % _seconds(base):
                sheet.note((*path, part, "timeframe"), f"{frame} is not allowed; a multiple of the bars' {base}")


def strategy_id(entry: dict[str, Any]) -> str:
    """Return what a strategy is called."""
    if "id" in entry:
        return str(entry["id"])
    if "name" in entry:
        return str(entry["name"])
    return f"{entry['entry']['name']}_{entry['exit']['name']}"


def strategy_ids(sheet: Sheet) -> None:
    """No two strategies have the same id."""
    first: dict[str, Path] = {}
    for path, entry in sheet.strategies():
        if not sheet.right(*path):
            continue
        name = strategy_id(entry)
        if name in first:
            text = f"{quoted(name)} is the id of {dotted(first[name])} already; give each an id of its own"
            sheet.note((*path, "id"), text)
        first.setdefault(name, path)


def known_symbols(sheet: Sheet) -> None:
    """Strategies and instruments name symbols of the run."""
    if not sheet.right("symbols") or not sheet.right("symbol"):
        return
    known = [sheet.values["symbol"]] if "symbol" in sheet.values else sheet.value("symbols") or []
    if not known:
        return  # the tape's own
    named: list[tuple[Path, str]] = [(("instruments", name), name) for name in sheet.value("instruments") or ()]
    for path, entry in sheet.strategies():
        named += [((*path, "symbols", index), name) for index, name in enumerate(entry.get("symbols", ()))]
    for path, name in named:
        if name not in known:
            more = suggestion(name, known) or f": {', '.join(known[:10])}"
            sheet.note(path, f"{quoted(name)} is none of the run's symbols{more}")


def sizing(sheet: Sheet) -> None:
    """Return the value of a size fits its type."""
    kind = sheet.value("sizing", "type") or ("" if sheet.given("sizing", "type") else Sizing().type)
    value = sheet.value("sizing", "value")
    path = ("sizing", "value")
    if kind in {"fixed", "risk"} and not sheet.given(*path):
        sheet.note(path, f"missing; sizing type {kind} needs it")
    if value is None:
        return
    leverage = sheet.value("leverage") or (None if sheet.given("leverage") else RunSettings().leverage)
    if kind == "percent_equity" and leverage is not None and value > leverage:
        most = f"a fraction of equity above 0 and at most leverage ({plain_text(leverage)}); 0.1 is 10 %"
        sheet.note(path, f"{plain_text(value)} is not allowed; {most}")
    if kind == "risk" and value > 1:
        sheet.note(
            path,
            f"{plain_text(value)} is not allowed; a fraction of equity above 0 and at most 1; 0.01 is 1 %",
        )


def slippage(sheet: Sheet) -> None:
    """Return a slippage model has the figure it goes by."""
    model = sheet.value("slippage", "model")
    needed = SLIPPAGE_NEEDS.get(model or "")
    if needed and not sheet.given("slippage", needed):
        sheet.note(("slippage", needed), f"missing; slippage model {model} needs it")


def latency(sheet: Sheet) -> None:
    """Latencies are told by a file or by constants."""
    if not sheet.value("book", "latency_file"):
        return
    for name in ("order_latency_ms", "response_latency_ms"):
        if sheet.value("book", name):
            sheet.note(("book", name), "given together with book.latency_file, which tells it; give one of them")


def bank(sheet: Sheet) -> None:
    """What is downloaded is stored under the home folder, and a bank is only read."""
    if sheet.value("data", "bank") and sheet.value("data", "download") == "missing":
        sheet.note(("data", "bank"), "given together with data.download, which stores under the home; give one of them")


def secrets(sheet: Sheet) -> None:
    """Secrets come from a file or from the environment, a key's two halves together."""
    for section, file, names in (("feed", "key_file", ("key_id", "key_secret")), ("control", "token_file", ("token",))):
        given = [name for name in names if sheet.value(section, name)]
        if given and sheet.value(section, file):
            sheet.note((section, given[0]), f"given together with {section}.{file}, which tells it; give one of them")
        elif given and len(given) < len(names) and sheet.right(section):
            lacks = next(name for name in names if name not in given)
            sheet.note((section, lacks), f"missing; {given[0]} needs it")


def tiers(sheet: Sheet) -> None:
    """Margin tiers begin at 0 and ascend."""
    for symbol, override in (sheet.value("instruments") or {}).items():
        path: Path = ("instruments", symbol, "tiers")
        if not sheet.right(*path):
            continue
        floor: Decimal | None = None
        for index, tier in enumerate(override.get("tiers", ())):
            given = tier["notional_floor"]
            if floor is None and given != 0:
                sheet.note(
                    (*path, index, "notional_floor"),
                    f"{plain_text(given)} is not allowed; the first tier begins at 0",
                )
            elif floor is not None and given <= floor:
                text = f"{plain_text(given)} is not allowed; more than the tier before ({plain_text(floor)})"
                sheet.note((*path, index, "notional_floor"), text)
            floor = given


def capacity(sheet: Sheet) -> None:
    """Return the cash fits 64 bits at the decimals chosen, and is a whole number of them."""
    if not sheet.right("initial_cash") or not sheet.right("cash_decimals"):
        return
    cash = sheet.values.get("initial_cash", RunSettings().initial_cash)
    decimals = sheet.values.get("cash_decimals", RunSettings().cash_decimals)
    # Whole numbers, not Decimal's 28 digits.
    numerator, denominator = cash.as_integer_ratio()
    units, rest = divmod(numerator * 10**decimals, denominator)
    if rest:
        sheet.note(
            ("initial_cash",),
            f"{plain_text(cash)} is not allowed; at most cash_decimals ({decimals}) decimals",
        )
    elif units > INT64_MAX:
        most = INT64_MAX // 10**decimals
        sheet.note(
            ("initial_cash",),
            f"{plain_text(cash)} is not allowed; at most {most} with cash_decimals {decimals}",
        )


RULES: tuple[Callable[[Sheet], None], ...] = (
    exclusive,
    symbols,
    period,
    strategy_shape,
    part_timeframes,
    strategy_ids,
    known_symbols,
    sizing,
    slippage,
    latency,
    bank,
    secrets,
    tiers,
    capacity,
    paper,
    ports,
)
