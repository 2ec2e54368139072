"""`tapewright config`: check a config file, show what it comes to, print the JSON Schema of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from config.loader import resolve
from config.model import RunConfig
from config.schema import json_schema
from engine.errors import EXIT_CONFIG, ConfigError

app = typer.Typer(no_args_is_help=True, help="Check config files, show what they come to.")

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Put a value in place of the file's, such as leverage=2."),
]
Strategy = Annotated[str | None, typer.Option(metavar="NAME", help="The strategy to run.")]


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, JSON or TOML, by its ending.")],
    *,
    settings: Settings = None,
    strategy: Strategy = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print {ok, problems} as JSON.")] = False,
) -> None:
    """Tell every problem of a config file at once; exit 78 where there is one."""
    try:
        resolved = resolve(file, overrides=settings or (), strategy=strategy)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"ok": False, "problems": list(error.problems)}, indent=2))
        raise typer.Exit(EXIT_CONFIG) from None
    if as_json:
        typer.echo(json.dumps({"ok": True, "problems": []}, indent=2))
    else:
        notes = "".join(f"\n  {note}" for note in resolved.notes)
        typer.echo(f"{file}: no problems\n  {summary(resolved.config)}{notes}")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, JSON or TOML, by its ending.")],
    *,
    settings: Settings = None,
    strategy: Strategy = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print {config, origins, files, migrated} as JSON.")] = False,
) -> None:
    """Print a config with all that it builds on, every field, and where each value comes from.

    What is printed is a config file that says the same.
    """
    from config.shown import shown_document, shown_lines

    resolved = resolve(file, overrides=settings or (), strategy=strategy)
    if as_json:
        typer.echo(json.dumps(shown_document(resolved), indent=2))
    else:
        typer.echo("\n".join([*(f"# {note}" for note in resolved.notes), *shown_lines(resolved)]))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a config file, for editors and other programs."""
    typer.echo(json.dumps(json_schema(), indent=2))


def summary(config: RunConfig) -> str:
    """Return what a config would run, in one line."""
    names = ", ".join(entry.id for entry in config.strategies)
    return (
        f"{config.mode} of {', '.join(config.symbols)} at {config.timeframe}:"
        f" {names or 'no strategy is named, so give --strategy NAME to run it'}"
    )
