"""`tapewright run`: a paper session, from the feed to the store, until it is told to stop.

Nothing heavy is imported before the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    context: typer.Context,
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML, JSON or TOML.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Put a value in place of the file's: metrics.port=9464."),
    ] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="The strategy to run.")] = None,
    name: Annotated[str | None, typer.Option(help="What the session is called [the config file's name].")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop by itself after so long.", min=0.1)] = None,
) -> None:
    """Trade on paper: the live feed goes on a tape, through the engine, and what comes of it into SQLite.

    A session that ran before is taken up where it ended. SIGTERM or Ctrl-C drains it and stops.
    """
    from config.loader import load

    config = load(config_file, overrides=settings or (), strategy=strategy, mode="paper")
    import anyio

    from daemon.logs import configure_logs
    from daemon.memory import return_freed_memory
    from daemon.session.folder import SessionFolder
    from daemon.session.paper import run_paper, session_title
    from daemon.session.venue import secrets_of

    return_freed_memory()
    session = name or session_title(config)
    home: Path = context.obj.home
    secrets = secrets_of(home, config.daemon, SessionFolder(home, session))
    with configure_logs(
        config.daemon.logs, session=session, run=session, mode="paper", folder=home, secrets=secrets
    ):  # fmt: skip
        loop = {"use_uvloop": _has_uvloop()}
        anyio.run(lambda: run_paper(home, config, session, seconds=seconds), backend_options=loop)


def _has_uvloop() -> bool:
    import importlib.util

    return importlib.util.find_spec("uvloop") is not None
