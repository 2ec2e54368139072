"""The tables of docs/configuration.md, made from the table of fields; a test compares the two.

`python -m config.reference` prints them.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

from config.daemon_sections import CONTROL, FEED, LOGS, METRICS, PAPER, RELOAD, STORE
from config.kinds import (
    Choice,
    Field,
    Flag,
    Integer,
    Kind,
    ListOf,
    MapOf,
    Moment,
    Named,
    Number,
    Params,
    Paths,
    Section,
    allowed,
)
from config.scalars import INT64_MAX, plain_text
from config.sections import (
    BOOK,
    COMMISSION,
    DATA,
    DIAGNOSTICS,
    EXECUTION,
    FUNDING,
    INSTRUMENT,
    JOURNAL,
    REPORT,
    RISK,
    SIZING,
    SLIPPAGE,
    TIER,
)
from config.table import PART, ROOT, STRATEGY

SECTIONS = (
    ("Top level", ROOT),
    ("`strategy`, and each of `strategies`", STRATEGY),
    ("`entry` and `exit` of a strategy", PART),
    ("`commission`", COMMISSION),
    ("`slippage`", SLIPPAGE),
    ("`funding`", FUNDING),
    ("`sizing`", SIZING),
    ("`risk`", RISK),
    ("`execution`", EXECUTION),
    ("`book`", BOOK),
    ("`instruments.SYMBOL`", INSTRUMENT),
    ("`instruments.SYMBOL.tiers[]`", TIER),
    ("`data`", DATA),
    ("`journal`", JOURNAL),
    ("`report`", REPORT),
    ("`diagnostics`", DIAGNOSTICS),
    ("`feed`", FEED),
    ("`paper`", PAPER),
    ("`store`", STORE),
    ("`control`", CONTROL),
    ("`metrics`", METRICS),
    ("`logs`", LOGS),
    ("`reload`", RELOAD),
)


def reference() -> str:
    """Markdown: a heading and a table for each section."""
    parts = [_section(title, section) for title, section in SECTIONS]
    return "\n".join(parts)


def _section(title: str, section: Section) -> str:
    lines = [
        f"### {title}",
        "",
        section.help,
        "",
        "| Field | Type | Default | Allowed | Example | Meaning |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(field) for field in section.fields]
    return "\n".join((*lines, ""))


def _row(field: Field) -> str:
    default = "required" if field.required else _default(field)
    example = f"`{field.example}`" if field.example else "below"
    cells = (f"`{field.name}`", _type(field.kind), default, _allowed(field.kind), example, field.help)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: Field) -> str:
    if isinstance(field.kind, Section | MapOf | Params):
        return "empty"
    if isinstance(field.kind, ListOf) and not field.default:
        return "none" if field.default is None else "empty"
    return "none" if field.default is None else f"`{_plain(field.default)}`" if field.default != "" else "empty"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return plain_text(value) if isinstance(value, Decimal) else str(value)


def _type(kind: Kind) -> str:
    match kind:
        case Number():
            return "number"
        case Integer():
            return "whole number"
        case Flag():
            return "flag"
        case Moment():
            return "time"
        case ListOf():
            return "list"
        case Paths():
            return "text or list"
        case Named():
            return "name or section"
        case Section() | MapOf() | Params():
            return "section"
        case _:
            return "text"


def _allowed(kind: Kind) -> str:
    match kind:
        case Integer() if kind.maximum == INT64_MAX:
            return f"a whole number from {kind.minimum} to 2**63 - 1"
        case Choice():
            return ", ".join(f"`{word}`" for word in kind.words)
        case Section() | Named():
            return "see below"
        case MapOf():
            return "a section for each symbol, see below"
        case ListOf(item=Section() | Named()):
            return "at least 1, see below" if kind.count_min else "see below"
        case _:
            return allowed(kind)


if __name__ == "__main__":
    sys.stdout.write(reference())
