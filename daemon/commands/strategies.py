"""`tapewright strategies`: which strategies there are, and what is wrong with a file.

The home folder comes in `Context.obj.home`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import EXIT_FINDINGS, InputMissingError

if TYPE_CHECKING:
    from engine.strategy import Input
    from strategies.registry import Listed, Registry

app = typer.Typer(help="List and check strategies, entries and exits.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_TITLES = {"strategy": "Strategies", "entry": "Entries", "exit": "Exits", "indicator": "Indicators"}


@app.command("list")
def list_(context: typer.Context, *, as_json: Json = False) -> None:
    """List every strategy, entry and exit; broken files with their reason."""
    from strategies.registry import Registry

    listed = Registry(context.obj.home).listing()
    if as_json:
        typer.echo(json.dumps({"strategies": [_described(found) for found in listed]}))
        return
    width = max((len(found.name) for found in listed), default=0)
    for kind, title in _TITLES.items():
        if kind == "indicator" and all(found.kind != kind for found in listed):
            continue  # none is shipped as a file
        typer.echo(f"{title}:")
        for found in listed:
            if found.kind == kind:
                typer.echo("\n".join(_lines(found, width)))


@app.command()
def check(
    context: typer.Context,
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|PATH]...", help="All files where none is given.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Tell every mistake of each file; ends with 1 where there is one."""
    from strategies.registry import Registry

    registry = Registry(context.obj.home)
    looked = [found for target in targets for found in _targets(registry, target)] if targets else registry.listing()
    broken = [found for found in looked if found.error]
    if as_json:
        typer.echo(json.dumps({"ok": not broken, "strategies": [_described(found) for found in looked]}))
    else:
        for found in looked:
            verdict = f"BROKEN\n  {found.error}\n  {found.remedy}" if found.error else "no mistakes"
            typer.echo(f"{found.file} ({found.kind}): {verdict}")
    if broken:
        raise typer.Exit(EXIT_FINDINGS)


def _targets(registry: Registry, target: str) -> list[Listed]:
    """What a name or path means: a file of its own, or every kind of that name, the one of each that runs."""
    from strategies.registry import KINDS

    if target.endswith(".py") or "/" in target:
        path = Path(target)
        if not path.is_file():
            raise InputMissingError(f"Strategy file not found: {target}", remedy=f"Create {target}")
        return [registry.look(path)]
    found = [paths[0] for kind in KINDS if (paths := registry.files(kind, target))]
    if not found:
        raise registry.not_found(target)
    return [registry.look(path) for path in found]


def _lines(found: Listed, width: int) -> list[str]:
    origin = "shipped" if found.is_shipped else found.file
    note = f"  (not used: {found.hidden_by} comes first)" if found.hidden_by else ""
    if found.error:
        reason = found.error.replace("\n", "\n    ")
        return [f"  {found.name:{width}}  BROKEN  {origin}{note}", f"    {reason}"]
    assert found.schema is not None
    version = f" {found.schema.version}" if found.schema.version else ""
    inputs = ", ".join(f"{spec.name}={_spelled(spec.default)}" for spec in found.schema.inputs)
    return [f"  {found.name:{width}}  {found.schema.name}{version}  [{origin}]{note}", f"  {'':{width}}  {inputs}"]


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(found: Listed) -> dict[str, Any]:
    described: dict[str, Any] = {
        "kind": found.kind,
        "id": found.name,
        "file": found.file,
        "shipped": found.is_shipped,
        "ok": not found.error,
        "hidden_by": found.hidden_by or None,
    }
    if found.schema is None:
        return described | {"error": found.error, "remedy": found.remedy}
    schema = found.schema
    return described | {
        "name": schema.name,
        "category": schema.category,
        "version": schema.version,
        "tags": list(schema.tags),
        "description": schema.description,
        "source_sha256": found.source_hash,
        "inputs": {spec.name: _input(spec) for spec in schema.inputs},
    }


def _input(spec: Input) -> dict[str, Any]:
    described: dict[str, Any] = {"type": spec.type, "default": spec.default}
    shown = {"min": spec.minimum, "max": spec.maximum, "options": list(spec.options), "label": spec.label}
    return described | {
        key: value for key, value in (shown | {"help": spec.help}).items() if value not in (None, "", [])
    }
