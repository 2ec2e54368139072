"""The table of fields against what else says the same: the engine's structs, the JSON Schema, the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import config
from adapters.feeds.venues import VENUES
from config.daemon_model import (
    ControlConfig,
    DaemonConfig,
    Exchange,
    FeedConfig,
    LogConfig,
    MetricsConfig,
    PaperConfig,
    ReloadConfig,
    StoreConfig,
)
from config.daemon_sections import CONTROL, FEED, LOGS, METRICS, PAPER, RELOAD, STORE
from config.document import to_document
from config.kinds import Choice, Flag, Integer, ListOf, Number, Section, Text
from config.loader import load, parse
from config.model import DataConfig, InstrumentOverride
from config.reference import reference
from config.schema import json_schema
from config.sections import BOOK, COMMISSION, DATA, EXECUTION, FUNDING, INSTRUMENT, RISK, SIZING, SLIPPAGE, TIER
from config.table import ROOT, TIMEFRAME
from engine.bars import timeframe_ns
from engine.errors import ConfigError, UsageError
from engine.settings import (
    BookExecution,
    Commission,
    Execution,
    Funding,
    MarginTier,
    Risk,
    RunSettings,
    Sizing,
    Slippage,
)

TOP = Path(config.__file__).parent.parent
DEFAULTS = TOP / "config" / "defaults"

STRUCTS: list[tuple[Section, type[msgspec.Struct]]] = [
    (BOOK, BookExecution),
    (COMMISSION, Commission),
    (DATA, DataConfig),
    (CONTROL, ControlConfig),
    (EXECUTION, Execution),
    (FEED, FeedConfig),
    (FUNDING, Funding),
    (INSTRUMENT, InstrumentOverride),
    (LOGS, LogConfig),
    (METRICS, MetricsConfig),
    (PAPER, PaperConfig),
    (RELOAD, ReloadConfig),
    (RISK, Risk),
    (SIZING, Sizing),
    (SLIPPAGE, Slippage),
    (STORE, StoreConfig),
    (TIER, MarginTier),
]
KIND_OF = {Decimal: Number, int: Integer, bool: Flag, str: Text, tuple: ListOf, Literal: Choice}


def kind_of(annotation: Any) -> type:
    """Return the kind that stands for a type of a struct."""
    if isinstance(annotation, UnionType) or type(None) in get_args(annotation):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return KIND_OF[get_origin(annotation) or annotation]


@pytest.mark.parametrize(("section", "struct"), STRUCTS, ids=[struct.__name__ for _, struct in STRUCTS])
def test_sections_are_the_structs(section: Section, struct: type[msgspec.Struct]) -> None:
    hints = get_type_hints(struct)
    for field in section.fields:
        assert isinstance(field.kind, kind_of(hints[field.name])), field.name
        if isinstance(field.kind, Choice):
            parts = [hints[field.name], *get_args(hints[field.name])]
            words = {word for part in parts if get_origin(part) is Literal for word in get_args(part)}
            assert set(field.kind.words) == words
    assert {field.name for field in section.fields} == set(hints) - {"fill_model"}


def test_the_top_level_has_the_run_settings() -> None:
    plain = RunSettings()
    for name in set(RunSettings.__struct_fields__) - {"execution"}:
        field = ROOT.field(name)
        assert field is not None
        if not isinstance(field.kind, Section):
            assert field.default == getattr(plain, name)


def test_the_top_level_has_the_sections_of_a_paper_session() -> None:
    plain = DaemonConfig()
    for name in DaemonConfig.__struct_fields__:
        field = ROOT.field(name)
        assert field is not None
        assert isinstance(field.kind, Section)
        assert {inner.name: inner.default for inner in field.kind.fields} == msgspec.structs.asdict(
            getattr(plain, name)
        )


def test_the_exchanges_are_known_to_the_feed() -> None:
    assert {*get_args(Exchange)} <= {*VENUES}


@settings(deadline=None)
@given(text=st.from_regex(r"[0-9]{0,7}[smhdwMy]{0,2}", fullmatch=True) | st.text(max_size=4))
def test_timeframes_are_the_engines(text: str) -> None:
    try:
        timeframe_ns(text)
        known = True
    except UsageError:
        known = False
    assert (re.fullmatch(TIMEFRAME.pattern, text) is not None) == known


VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()
    assert set(json_schema()["properties"]) == {field.name for field in ROOT.fields}


def test_the_schema_takes_what_the_loader_takes() -> None:
    for path in sorted(DEFAULTS.glob("*.yaml")):
        VALIDATOR.validate(yaml.safe_load(path.read_text()))
        VALIDATOR.validate(to_document(load(path)))
    VALIDATOR.validate(
        json.loads(
            '{"symbol": "BTCUSDT", "timeframe": "15m", "start": 1700000000000, "end": 1701000000000,'
            ' "initial_cash": 10000, "leverage": 1, "fill_model": "close_to_open", "commission_bps": 4,'
            ' "slippage_bps": 2, "funding": {"enabled": true, "rate": 0.0},'
            ' "sizing": {"type": "percent_equity", "value": 0.1}}'
        )
    )
    VALIDATOR.validate(
        {
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "timeframe": "1m",
            "strategy": {
                "entry": {"name": "ema_cross", "params": {"fast": 20, "slow": 50}},
                "exit": {"name": "fixed_tp_sl", "params": {"tp": 0.05, "sl": 0.02}},
            },
            "indicators": ["sma_20_1m", "rsi_14_1m", "ema_50_4h"],
        }
    )


# No numbers as text: their ranges are beyond JSON Schema.
WHOLE = [0, 1, -1, 5, 2000, 10**13, 10**20]
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, *WHOLE, 0.5, "x", "", "A", "1m", "2024-01-01", [], ["A"], ["A", "A"], {}]
)
# What holds between fields the schema says only in part.
BETWEEN = re.compile(
    r"none of the run's|already; give each|needs it|give entry and exit|cash_decimals|leverage \(|only a file builds"
)


def test_the_schema_knows_what_mode_paper_needs() -> None:
    run = {"symbol": "A", "timeframe": "1m", "mode": "paper"}
    assert VALIDATOR.is_valid(run)
    assert not VALIDATOR.is_valid({**run, "start": "2024-01-01"})
    assert not VALIDATOR.is_valid({**run, "end": "2024-01-01"})
    assert not VALIDATOR.is_valid({"timeframe": "1m", "mode": "paper", "book": {}})
    assert VALIDATOR.is_valid({"timeframe": "1m", "book": {}, "start": "2024-01-01"})


@pytest.mark.parametrize("name", [field.name for field in ROOT.fields])
@settings(deadline=None, max_examples=60)
@given(value=JUNK, data=st.data())
def test_schema_and_loader_agree_field_by_field(name: str, value: Any, data: st.DataObject) -> None:
    field = ROOT.field(name)
    assert field is not None
    if isinstance(field.kind, Section):
        inner = data.draw(st.sampled_from([field.name for field in field.kind.fields]))
        value = {inner: value}
    document = {"symbols": ["A"], "timeframe": "1m", name: value}
    told: tuple[str, ...] = ()
    try:
        parse(json.dumps(document), "json", source="a")
    except ConfigError as error:
        told = error.problems
    if not any(BETWEEN.search(problem) for problem in told):
        assert VALIDATOR.is_valid(document) == (not told), told


def test_the_docs_have_the_tables() -> None:
    text = (TOP / "docs" / "configuration.md").read_text()
    between = text.partition("<!-- fields -->\n")[2].partition("<!-- end of fields -->")[0]
    assert between.strip() == reference().strip(), "put the output of `python -m config.reference` there"


def test_importing_is_light() -> None:
    code = (
        "import sys, config.loader, config.document, config.schema;"
        "print([name for name in ('numpy', 'rich', 'polars', 'numba', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert done.stdout.strip() == "[]"
