"""`tapewright config`: check a config file, print the JSON Schema of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from config.loader import load
from config.model import RunConfig
from config.schema import json_schema
from engine.errors import EXIT_CONFIG, ConfigError

app = typer.Typer(no_args_is_help=True, help="Check config files.")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, JSON or TOML, by its ending.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Put a value in place of the file's, such as leverage=2."),
    ] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="The strategy to run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print {ok, problems} as JSON.")] = False,
) -> None:
    """Tell every problem of a config file at once; exit 78 where there is one."""
    try:
        config = load(file, overrides=settings or (), strategy=strategy)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"ok": False, "problems": list(error.problems)}, indent=2))
        raise typer.Exit(EXIT_CONFIG) from None
    if as_json:
        typer.echo(json.dumps({"ok": True, "problems": []}, indent=2))
    else:
        typer.echo(f"{file}: no problems\n  {summary(config)}")


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
