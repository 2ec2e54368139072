"""The kinds of value that a field can hold. The reader, the JSON Schema and the reference all follow them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias, assert_never

import msgspec

from config.scalars import plain_text


class Number(msgspec.Struct, frozen=True):
    """A Decimal from `minimum` (or above `above`) to `maximum`."""

    minimum: Decimal | None = None
    above: Decimal | None = None
    maximum: Decimal | None = None


class Integer(msgspec.Struct, frozen=True):
    """A whole number in a range, both ends included."""

    minimum: int
    maximum: int


class Flag(msgspec.Struct, frozen=True):
    """True or false."""


class Choice(msgspec.Struct, frozen=True):
    """One of some words."""

    words: tuple[str, ...]


class Text(msgspec.Struct, frozen=True):
    """Text that matches `pattern` as a whole; `allowed` says the same in words."""

    pattern: str
    allowed: str


class Secret(Text, frozen=True):
    """A reference to what no file may hold: `${env:NAME}`. The value itself is read where it is used."""


class Paths(msgspec.Struct, frozen=True):
    """A path, or a list of them."""


class Moment(msgspec.Struct, frozen=True):
    """A point in time: UTC milliseconds, or an ISO date or time."""


class Params(msgspec.Struct, frozen=True):
    """Values by name that only the strategy knows: numbers, true or false, text."""


class ListOf(msgspec.Struct, frozen=True):
    """Values of one kind in order."""

    item: Kind
    count_min: int = 0
    unique: bool = False


class MapOf(msgspec.Struct, frozen=True):
    """Sections by name."""

    key: Text
    item: Section


class Section(msgspec.Struct, frozen=True):
    """Named fields. `title` names the section in the JSON Schema and the reference."""

    title: str
    help: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """Return the field of that name, or None."""
        return next((field for field in self.fields if field.name == name), None)


class Named(msgspec.Struct, frozen=True):
    """A section that has a `name`; the bare name stands for the section."""

    section: Section


Kind: TypeAlias = Number | Integer | Flag | Choice | Text | Paths | Moment | Params | ListOf | MapOf | Section | Named


class Field(msgspec.Struct, frozen=True):
    """One field: what it is called, what it holds, what it means.

    Where the default is None and the field is not required, leaving it out is a state of its own (a guard
    that is off, a fact that is looked up elsewhere), and `null` says so.
    """

    name: str
    kind: Kind
    help: str
    example: str = ""
    default: Any = None
    required: bool = False

    @property
    def nullable(self) -> bool:
        """Whether `null` is a value of this field."""
        return self.default is None and not self.required


def section_of(
    struct: type[msgspec.Struct], title: str, help_text: str, *fields: Field, without: tuple[str, ...] = ()
) -> Section:
    """Return the section that fills `struct`: its fields, in full, with the struct's own defaults."""
    defaults = {field.name: field for field in msgspec.structs.fields(struct) if field.name not in without}
    assert list(defaults) == [field.name for field in fields], f"{struct.__name__}: {list(defaults)}"
    filled = []
    for field in fields:
        own = defaults[field.name]
        default = None if own.default is msgspec.NODEFAULT else own.default
        filled.append(msgspec.structs.replace(field, default=default, required=own.required))
    return Section(title, help_text, tuple(filled))


def allowed(kind: Kind) -> str:  # noqa: PLR0911  a line for each kind
    """Return what a field of this kind takes, in words that end a message."""
    match kind:
        case Number():
            return f"a number {_range(kind)}".rstrip()
        case Integer():
            if kind.minimum == kind.maximum:
                return str(kind.minimum)
            return f"a whole number from {kind.minimum} to {kind.maximum}"
        case Flag():
            return "true or false"
        case Choice():
            return f"one of {', '.join(kind.words)}"
        case Text():
            return kind.allowed
        case Paths():
            return "a path relative to this file, or a list of them"
        case Moment():
            return "UTC milliseconds such as 1700000000000, or an ISO date or time such as 2024-01-01T00:00:00Z"
        case Params():
            return "a section of numbers, true or false, and text"
        case ListOf():
            least = f"at least {kind.count_min} " if kind.count_min else ""
            return f"a list of {least}{'different ' if kind.unique else ''}values, each {allowed(kind.item)}"
        case MapOf():
            return "a section of sections by name"
        case Section():
            return f"a section with {', '.join(field.name for field in kind.fields)}"
        case Named():
            return f"a name, or {allowed(kind.section)}"
        case _:
            assert_never(kind)


def _range(number: Number) -> str:
    low = ""
    if number.minimum is not None and number.maximum is not None:
        return f"from {plain_text(number.minimum)} to {plain_text(number.maximum)}"
    if number.minimum is not None:
        low = f"of at least {plain_text(number.minimum)}"
    elif number.above is not None:
        low = f"above {plain_text(number.above)}"
    high = f"at most {plain_text(number.maximum)}" if number.maximum is not None else ""
    return " and ".join(part for part in (low, high) if part)


def kind_below(kind: Kind | None, name: str) -> Kind | None:
    """What stands under a name of a section or map; None where nothing is known of it."""
    match kind:
        case Section():
            field = kind.field(name)
            return field.kind if field else None
        case MapOf():
            return kind.item
        case _:
            return None
