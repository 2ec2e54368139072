"""`tapewright lookahead`: whether a config's strategies decide with what they cannot know yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import EXIT_FINDINGS


def lookahead(
    context: typer.Context,
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML, JSON or TOML.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Put a value in place of the file's."),
    ] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="The strategy to check.")] = None,
    cuts: Annotated[int, typer.Option(help="How many moments to cut at; two runs each.", min=1, max=1_000)] = 12,
    seed: Annotated[int, typer.Option(help="Of the bars that are put in place of later ones.", min=0)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run a backtest again with later bars missing, or others in their place: no decision may move.

    Ends with 1 where one does, where code reads files or the network, or where a strategy decided nothing.
    """
    import msgspec

    from config.loader import load
    from daemon.memory import keep_freed_memory
    from daemon.stages import Quiet, Terminal

    keep_freed_memory()
    stages = Quiet() if as_json else Terminal()
    config = load(config_file, overrides=settings or (), strategy=strategy)
    from daemon.lookahead.checking import check_lookahead

    report = check_lookahead(context.obj.home, config, stages, cuts_most=cuts, seed=seed)
    typer.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(report.lines()))
    if not report.clean:
        raise typer.Exit(EXIT_FINDINGS)
