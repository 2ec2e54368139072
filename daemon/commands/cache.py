"""`tapewright cache`: which indicators are kept from earlier runs, and away with them.

The home folder comes in `Context.obj.home`.
"""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
import typer

app = typer.Typer(help="Indicators kept from earlier backtests.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command("list")
def list_(context: typer.Context, *, as_json: Json = False) -> None:
    """List what is kept, with its size and whether it can be used; every entry is read and checked."""
    from adapters.indicator_cache import entries

    found = entries(context.obj.home)
    if as_json:
        typer.echo(json.dumps({"entries": msgspec.to_builtins(found), "bytes": sum(entry.bytes for entry in found)}))
        return
    for entry in found:
        note = f"  {entry.problem}" if entry.problem else ""
        typer.echo(
            f"{entry.symbol:12} {entry.spec:24} {entry.rows:>11,} rows {entry.bytes:>13,} bytes  {entry.state}{note}"
        )
    typer.echo(f"{len(found)} entries, {sum(entry.bytes for entry in found):,} bytes")
    if any(entry.state == "damaged" for entry in found):
        typer.echo("Remove what is damaged with: tapewright cache clean --unusable. Runs compute it again.")


@app.command()
def clean(
    context: typer.Context,
    *,
    unusable: Annotated[bool, typer.Option(help="Only what is damaged, or was made by other code.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what is kept. Runs compute it again."""
    from adapters.indicator_cache import clean as clean_cache

    removed, size = clean_cache(context.obj.home, only_unusable=unusable)
    if as_json:
        typer.echo(json.dumps({"removed": removed, "bytes": size}))
    else:
        typer.echo(f"Removed {removed} entries, {size:,} bytes")
