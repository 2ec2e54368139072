"""The stored document: canonical, JSON-able, and a config that loads to the same."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config
from config.daemon_model import DaemonConfig
from config.document import from_document, to_document
from config.kinds import Choice, Flag, Integer, Kind, ListOf, Moment, Number, Params, Section, Text
from config.loader import load, parse
from config.scalars import plain_text
from config.sections import INSTRUMENT
from config.table import ROOT

DEFAULTS = Path(config.__file__).parent / "defaults"
DAEMON = DaemonConfig.__struct_fields__
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)


def decimals(kind: Number) -> st.SearchStrategy[str]:
    """Return numbers of at most eight decimals in the kind's range, as text."""
    low = kind.minimum if kind.minimum is not None else (kind.above or Decimal(0)) + Decimal("0.00000001")
    high = kind.maximum if kind.maximum is not None else Decimal(1_000_000)
    return st.decimals(low, high, places=8, allow_nan=False, allow_infinity=False).map(str)


def values(kind: Kind) -> st.SearchStrategy[Any]:
    """Return what a field of this kind can be, as JSON has it."""
    match kind:
        case Number():
            return decimals(kind)
        case Integer():
            return st.integers(kind.minimum, kind.maximum)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from(kind.words)
        case Params():
            scalars = st.integers(-(2**62), 2**62) | st.booleans() | st.text(st.characters(codec="utf-8"), max_size=5)
            floats = st.floats(allow_nan=False, allow_infinity=False)
            return st.dictionaries(NAMES, scalars | floats, max_size=3)
        case Section():
            return sections(kind)
        case Text():
            examples = ("data/x.parquet", "http://127.0.0.1:8080/a", "wss://[::1]", "")
            return st.sampled_from([text for text in examples if re.fullmatch(kind.pattern, text)])
        case ListOf(item=Choice(words=words)):
            return st.lists(st.sampled_from(words), min_size=kind.count_min, unique=True)
        case ListOf() | Moment() | _:
            raise AssertionError(kind)


def sections(kind: Section, *, without: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Return sections with any of their fields."""
    required = {f.name: values(f.kind) for f in kind.fields if f.required}
    optional = {f.name: values(f.kind) for f in kind.fields if not f.required and f.name not in without}
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a config with any of all fields, right by itself and between fields."""
    fields = {field.name: field for field in ROOT.fields}
    simple = ("mode", "cash_decimals", "margin", "liquidation_fee_bps", "fill_model", "close_at_end", "seed")
    parts = ("commission", "slippage", "funding", "risk", "execution", "book", *DAEMON)
    document = draw(st.fixed_dictionaries({}, optional={name: values(fields[name].kind) for name in (*simple, *parts)}))
    symbols = draw(st.lists(NAMES.filter(lambda name: name[0] != "_"), min_size=1, max_size=4, unique=True))
    document |= {"symbols": symbols, "timeframe": draw(st.sampled_from(["1m", "15m", "4h", "1d"]))}
    document["initial_cash"] = str(draw(st.integers(1, 9_000_000)))
    if document.get("mode") != "paper" and draw(st.booleans()):
        start = draw(st.integers(10**11, 4 * 10**12))
        document |= {"start": start, "end": start + draw(st.integers(1, 10**12))}
    if document.get("slippage", {}).get("model") in {"ticks", "atr"}:
        document["slippage"] |= {"ticks": 3, "atr_factor": "0.5"}
    if document.get("book", {}).get("latency_file"):
        document["book"] |= {"order_latency_ms": 0, "response_latency_ms": 0}
    if "channels" in document.get("feed", {}):
        document["feed"]["channels"] = draw(st.permutations(["trades", "funding"]))
    if "port" in document.get("metrics", {}):
        document["metrics"]["port"] = 0
    document["sizing"] = {"type": draw(st.sampled_from(["fixed", "risk", "percent_equity"])), "value": "0.25"}
    part = st.fixed_dictionaries({"name": NAMES, "params": values(Params())})
    shape = st.fixed_dictionaries({"name": NAMES}, optional={"params": values(Params())})
    pair = st.fixed_dictionaries({"entry": NAMES | part, "exit": NAMES | part})
    entries = draw(st.lists(shape | pair, max_size=3))
    if entries:
        document["strategies"] = [{**entry, "id": f"s{index}"} for index, entry in enumerate(entries)]
        document["strategies"][0]["symbols"] = symbols[:1]
    override = draw(sections(INSTRUMENT, without=("tiers",)))
    override["tiers"] = [
        {"notional_floor": str(step), "maintenance_rate": "0.01"} for step in range(draw(st.integers(0, 3)))
    ]
    document["instruments"] = {symbols[-1]: override}
    return document


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=configs())
def test_round_trip(document: dict[str, Any]) -> None:
    run = parse(json.dumps(document), "json", source="run.json")
    stored = to_document(run)
    again = from_document(json.loads(json.dumps(stored)))
    assert again == run
    assert to_document(again) == stored


def test_what_is_loaded_from_a_file_of_it_is_equal(tmp_path: Path) -> None:
    for path in sorted(DEFAULTS.glob("*.yaml")):
        run = load(path)
        stored = tmp_path / "stored.json"
        stored.write_text(json.dumps(to_document(run)))
        assert load(stored) == run
        stored.rename(tmp_path / "stored.yaml")  # JSON is YAML
        assert load(tmp_path / "stored.yaml") == run


def test_equal_configs_have_equal_documents() -> None:
    texts = ("initial_cash: 10_000.00\nstrategy: a", "initial_cash: 1e4\nstrategies: [{name: a, params: {}}]")
    first, second = (parse(f"symbol: A\ntimeframe: 1m\n{text}", "yaml", source="x") for text in texts)
    assert to_document(first) == to_document(second)
    assert to_document(first)["initial_cash"] == "10000"


def test_numbers_as_text() -> None:
    for text, plain in (("0", "0"), ("-0.0", "0"), ("1E+3", "1000"), ("0.10", "0.1"), ("1e-8", "0.00000001")):
        assert plain_text(Decimal(text)) == plain
