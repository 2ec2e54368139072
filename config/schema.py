"""The JSON Schema of a config file (draft 2020-12), made from the table."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_never

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
    Text,
)
from config.scalars import MOMENT, MOMENT_MS_MAX, MOMENT_MS_MIN, NUMBER, plain_text
from config.table import EXCLUSIVE, ROOT


def json_schema() -> dict[str, Any]:
    """Return the schema. It says only in part what holds between fields; `load` checks it all."""
    definitions: dict[str, Any] = {}
    root = _section(ROOT, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tapewright run config",
        **root,
        "anyOf": [_given("symbol"), _given("symbols"), _given("book")],
        "allOf": [{"not": {"allOf": [_given(*first), _given(*second)]}} for first, second in EXCLUSIVE],
        "if": {"required": ["mode"], "properties": {"mode": {"const": "paper"}}},
        "then": {
            "anyOf": [_given("symbol"), _given("symbols")],
            "not": {"anyOf": [_given("start"), _given("end")]},
        },
        "$defs": definitions,
    }


def _given(name: str, *rest: str) -> dict[str, Any]:
    """Return what holds where a field is there and not null."""
    below = {"type": "object", **_given(*rest)} if rest else {"not": {"type": "null"}}
    return {"required": [name], "properties": {name: below}}


def _field(field: Field, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _kind(field.kind, definitions)
    is_empty_null = isinstance(field.kind, Section | MapOf | Params) or (
        isinstance(field.kind, ListOf) and not field.kind.count_min
    )
    if field.nullable or is_empty_null:
        schema = {"anyOf": [schema, {"type": "null"}]}
    schema["description"] = field.help
    if field.default is not None and not isinstance(field.kind, Section):
        schema["default"] = _plain(field.default)
    return schema


def _section(section: Section, definitions: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "description": section.help,
        "type": "object",
        "properties": {field.name: _field(field, definitions) for field in section.fields},
        "additionalProperties": False,
    }
    if required := [field.name for field in section.fields if field.required]:
        schema["required"] = required
    return schema


def _kind(kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: PLR0911  a schema for each kind
    match kind:
        case Number():
            bounds = {"minimum": kind.minimum, "exclusiveMinimum": kind.above, "maximum": kind.maximum}
            limits = {name: _plain(bound) for name, bound in bounds.items() if bound is not None}
            # Exact numbers may come as text, as a stored config writes them.
            return {"type": ["number", "string"], "pattern": f"^{NUMBER}$", **limits}
        case Integer():
            return {"type": "integer", "minimum": kind.minimum, "maximum": kind.maximum}
        case Flag():
            return {"type": "boolean"}
        case Choice():
            return {"type": "string", "enum": list(kind.words)}
        case Text():
            return {"type": "string", "pattern": f"^(?:{kind.pattern})$"}
        case Paths():
            path = {"type": "string", "minLength": 1, "maxLength": 4096}
            return {"anyOf": [path, {"type": "array", "items": path}]}
        case Moment():
            whole = {"type": "integer", "minimum": MOMENT_MS_MIN, "maximum": MOMENT_MS_MAX}
            return {"anyOf": [whole, {"type": "string", "pattern": f"^{MOMENT}$"}]}
        case Params():
            return {"type": "object", "additionalProperties": {"type": ["number", "boolean", "string"]}}
        case ListOf():
            return {
                "type": "array",
                "items": _kind(kind.item, definitions),
                **({"minItems": kind.count_min} if kind.count_min else {}),
                **({"uniqueItems": True} if kind.unique else {}),
            }
        case MapOf():
            names = _kind(kind.key, definitions)
            item = {"anyOf": [_kind(kind.item, definitions), {"type": "null"}]}
            return {"type": "object", "propertyNames": names, "additionalProperties": item}
        case Section():
            if kind.title not in definitions:
                definitions[kind.title] = _section(kind, definitions)
            return {"$ref": f"#/$defs/{kind.title}"}
        case Named():
            name = kind.section.field("name")
            assert name is not None
            return {"anyOf": [_kind(name.kind, definitions), _kind(kind.section, definitions)]}
        case _:
            assert_never(kind)


def _plain(value: Any) -> Any:
    """Return a default or bound as JSON has it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(plain_text(value))
    return list(value) if isinstance(value, tuple) else value
